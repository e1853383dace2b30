"""Writing to a library in Milvus, by the holder of its lease.

Milvus has no transactions; the order of writes keeps clips whole. A clip's segments and stretches
are written first, under an edition that no clip has yet; one upsert of clip rows then makes all
clips of an `add` visible at once; last, the replaced editions are deleted. Only clip rows count for
readers: they ignore segments of an edition that no clip row names. A killed writer leaves such
segments in the editions that it had reserved, and the next writer starts by deleting them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count as counted_from

import numpy as np

from ...errors import LibraryDamaged
from ..base import OnStep
from ..pooling import stretch_counts, stretch_length
from ..records import ClipRecord, FailureRecord, NewClip
from .client import MilvusClient, Row
from .collections import NUMBERS, choose_index, ensure_index, state_collection, state_of
from .inserting import Numbers, insert, record_row
from .inventory import Inventory
from .lease import Lease
from .reader import newest
from .rows import (
    CLIP_FIELDS,
    SEEN_FIELDS,
    SEGMENTS_PER_EDITION,
    failure_row,
    packed_uri,
    segment_ids,
    state_row,
)
from .stretches import stretch_ids, without_all, write_stretches
from .tables import LIMIT, Tables
from .uri import MilvusUri

__all__ = ["Counters", "Writer"]

# How many ids or editions a writer reserves at a time.
_RESERVE = 1024
# How many clip rows fit one message: what `amend` changes at once.
_ROWS = 4096
_KNOWN = ("id", "uri", "digest")


class Counters:
    """The next free id and edition, reserved in advance in the library's state.

    Parameters
    ----------
    client : MilvusClient
    uri : MilvusUri
    blocks : iterable of (int, int)
        Ranges of editions, without their ends, that others left unfinished.
    """

    def __init__(
        self, client: MilvusClient, uri: MilvusUri, blocks: Iterable[tuple[int, int]] = ()
    ) -> None:
        self._client = client
        self._state = state_collection(uri)
        numbers = state_of(client, self._state, NUMBERS)
        if numbers is None:
            raise LibraryDamaged(
                f"{uri}: the collection {self._state} lacks the row with the counters"
            )
        self._next = {"id": numbers["id"], "edition": numbers["edition"]}
        self._reserved = dict(self._next)
        # Ranges of editions, without their ends, that killed writers may have left unfinished.
        self.unfinished = [*blocks, (numbers["from"], numbers["edition"])]

    @property
    def edition(self) -> int:
        """The next edition."""
        edition: int = self._next["edition"]
        return edition

    def new(self, name: str, count: int) -> int:
        """Draw `count` new ids or editions; return the first."""
        first: int = self._next[name]
        if first + count > self._reserved[name]:
            self._reserved[name] = first + max(count, _RESERVE)
            # Editions from here on belong to clips that are not complete yet.
            self._write(self._reserved)
        self._next[name] = first + count
        return first

    def finished(self) -> None:
        """What killed writers began is cleaned up."""
        self.unfinished = []

    def give_back(self) -> None:
        """Return unused reservations: everything that was begun is complete."""
        self._write(self._next)

    def _write(self, numbers: Mapping[str, int]) -> None:
        row = {**numbers, "from": self._next["edition"]}
        self._client.upsert(self._state, [state_row(NUMBERS, row)])


class Writer:
    """The writes of a store, while it holds the lease.

    Parameters
    ----------
    tables : Tables
    lease : Lease
        Must be held.
    counters : Counters
    id_of : callable
        Maps a packed uri to the id that a clip new to these tables keeps; None to draw one.
    """

    def __init__(
        self,
        tables: Tables,
        lease: Lease,
        counters: Counters,
        id_of: Callable[[str], int | None] = lambda _uri: None,
    ) -> None:
        self.lease = lease
        self.counters = counters
        self.clips = Inventory(tables.clip_rows)
        self.failures = Inventory(tables.clip_rows)
        self._tables = tables
        self._id_of = id_of
        # Reads must see what others wrote and deleted, too.
        for collection in (tables.clips, tables.segments, tables.stretches):
            tables.note_deletion(collection)
        self._recover()

    def _recover(self) -> None:
        """Read what the library holds, and finish what a killed writer began."""
        tables = self._tables
        duplicates: list[Row] = []
        for rows in tables.clip_pages(_KNOWN, 8192):
            for row in rows:
                if self.clips.has(row["uri"]):
                    duplicates.append(row)
                else:
                    self.clips.add(row)
        for rows in tables.failure_pages(_KNOWN):
            for row in rows:
                self.failures.add(row)
        for (
            row
        ) in duplicates:  # a clip moved to this uri, and the one it replaced was not yet removed
            expression = f'id > 0 and uri == "{row["uri"]}"'
            rows = tables.query(tables.clips, expression, CLIP_FIELDS)
            kept = newest(rows)
            older = [each for each in rows if kept is None or each["id"] != kept["id"]]
            for old in older:
                self.clips.discard(old)
            if kept is not None:
                self.clips.add(kept)
            self._delete_clips(older)
        for first, end in self.counters.unfinished:
            if first < end:
                tables.is_written_out = False
                self._delete_invisible(first, end)
        self.counters.finished()

    def add(self, clips: Sequence[NewClip]) -> None:
        """Store clips, all or none; see `Store.add`."""
        if not clips:
            return
        by_uri = {clip.record.uri: clip for clip in clips}
        numbers = self.draw(list(by_uri))
        self._tables.is_written_out = False
        pairs = list(zip(by_uri.values(), numbers, strict=True))
        self.settle(insert(self._tables, pairs, self.lease.check))

    def draw(self, uris: Sequence[str]) -> list[Numbers]:
        """The numbers under which to insert clips at these uris: a clip there keeps its id."""
        self.lease.check()  # to draw writes the counters
        ids = [self._id_at(packed_uri(uri)) for uri in uris]
        new = counted_from(self.counters.new("id", ids.count(None)))
        # After the ids, as whoever draws says that all earlier editions are complete.
        edition = self.counters.new("edition", len(uris))
        return [Numbers(next(new) if id is None else id, edition + n) for n, id in enumerate(ids)]

    def _id_at(self, uri: str) -> int | None:
        """The id that a clip at this packed uri has, or keeps; None for a new one."""
        row = self.clips.at(uri)
        return self._id_of(uri) if row is None else int(row["id"])

    def settle(self, rows: Sequence[Row]) -> None:
        """Finish what inserted rows replace: earlier segments and failures at their uris."""
        replaced = [old for row in rows if (old := self.clips.at(row["uri"])) is not None]
        for row in replaced:
            self.clips.discard(row)
        for row in rows:
            self.clips.add(row)
        self._forget(row["uri"] for row in rows)
        self._delete_segments(replaced)

    def amend(self, records: Mapping[int, ClipRecord]) -> None:
        """Replace the records of clips; see `Store.amend`.

        Atomic for up to 4096 clips, which fit one message; more are written 4096 at a time.
        """
        ids = sorted(records)
        for begin in range(0, len(ids), _ROWS):
            self._amend({id: records[id] for id in ids[begin : begin + _ROWS]})

    def _amend(self, records: Mapping[int, ClipRecord]) -> None:
        tables = self._tables
        fields = (*_KNOWN, *SEEN_FIELDS[1:])
        wanted = [id for id in records if id > 0]
        old = {row["id"]: row for row in tables.by_ids(tables.clips, wanted, fields)}
        if not old:
            return
        self.lease.check()
        revision = self.counters.new("edition", len(old))
        # By uri: if several clips get the same uri, the last one keeps it.
        rows = {}
        for n, (id, was) in enumerate(sorted(old.items())):
            row = record_row(tables, id, records[id], was["segments"], was["edition"], revision + n)
            rows[row["uri"]] = row
        kept = {row["id"] for row in rows.values()}
        in_the_way = [
            there for uri in rows if (there := self.clips.at(uri)) and there["id"] not in old
        ]
        in_the_way += [row for id, row in old.items() if id not in kept]
        self.lease.check()
        tables.client.upsert(tables.clips, list(rows.values()))
        for row in (*old.values(), *in_the_way):
            self.clips.discard(row)
        self._delete_clips(in_the_way)
        for row in rows.values():
            self.clips.add(row)
        self._forget(rows)

    def fail(self, failures: Sequence[FailureRecord]) -> None:
        """Remember files that failed."""
        tables = self._tables
        rows = {each.file.uri: failure_row(each, tables.uri.lite) for each in failures}
        if rows:
            self.lease.check()
            tables.client.upsert(tables.clips, list(rows.values()))
        for row in rows.values():
            if (old := self.failures.at(row["uri"])) is not None:
                self.failures.discard(old)
            self.failures.add(row)

    def remove(self, clip_ids: Sequence[int]) -> None:
        """Remove clips."""
        tables = self._tables
        self.lease.check()
        wanted = [id for id in clip_ids if id > 0]
        rows = tables.by_ids(tables.clips, wanted, (*_KNOWN, *SEEN_FIELDS[1:]))
        for row in rows:
            self.clips.discard(row)
        self._delete_clips(rows)

    def forget_failures(self, uris: Sequence[str]) -> None:
        """Forget the failures at these uris."""
        self._forget(map(packed_uri, uris))

    def _forget(self, uris: Iterable[str]) -> None:
        rows = [row for uri in uris if (row := self.failures.at(uri)) is not None]
        self._tables.delete(self._tables.clips, [row["id"] for row in rows])
        for row in rows:
            self.failures.discard(row)

    def _delete_clips(self, rows: Sequence[Row]) -> None:
        self._tables.delete(self._tables.clips, [row["id"] for row in rows])
        self._delete_segments(rows)

    def _delete_segments(self, rows: Iterable[Row]) -> None:
        """Delete the segments of clips whose rows were deleted or name another edition."""
        tables = self._tables
        length = stretch_length(tables.settings)
        for row in rows:
            ids = segment_ids(row["edition"], 0, row["segments"]).tolist()
            tables.delete(tables.segments, ids)
            ids = stretch_ids(row["edition"], row["segments"], length).tolist()
            tables.delete(tables.stretches, ids)

    def _delete_invisible(self, first: int, last: int) -> None:
        """Delete the segments in editions `first` to `last` - 1 that no clip row names."""
        window = f"edition >= {first} and edition < {last}"
        tables = self._tables
        rows = tables.query(tables.clips, window, ["edition"], limit=None)
        self._delete_others((row["edition"] for row in rows), first, last)

    def _delete_others(self, kept: Iterable[int], first: int, last: int) -> None:
        """Delete the segments in editions `first` to `last` - 1, except those kept."""
        for edition in (*sorted(kept), last):
            if edition > first:
                self._delete_range(first, edition)
            first = edition + 1

    def _delete_range(self, first: int, last: int) -> None:
        window = f"id >= {first * SEGMENTS_PER_EDITION} and id < {last * SEGMENTS_PER_EDITION}"
        tables = self._tables
        for collection in (tables.segments, tables.stretches):
            while rows := tables.query(collection, window, ["id"]):
                tables.delete(collection, [row["id"] for row in rows])

    def optimise(self, on_step: OnStep = lambda _text: None) -> None:
        """Flush what was added, and build the index that suits the number of segments.

        See `choose_index`. Rows that are not flushed are searched without the index, ten times as
        slowly: on a server for about ten minutes, in Lite until its memory is full.
        """
        tables = self._tables
        if not tables.is_written_out:
            for name in (tables.clips, tables.segments, tables.stretches):
                tables.client.flush(name)
            tables.is_written_out = True
        segments = stretches = 0
        if not tables.uri.index:
            length = stretch_length(tables.settings)
            for rows in tables.clip_pages(["segments"], LIMIT):
                counts = np.array([row["segments"] for row in rows], np.int64)
                segments += int(counts.sum())
                stretches += int(stretch_counts(counts, length).sum())
        for name, count in ((tables.segments, segments), (tables.stretches, stretches)):
            wanted = choose_index(tables.uri, count)
            if wanted != tables.indexes[name]:
                on_step(f"building an index {wanted}; searches wait until it is done")
                ensure_index(tables.client, tables.uri, name, wanted, count)
                tables.indexes[name] = wanted

    def rebuild(self, on_step: OnStep = lambda _text: None) -> int:
        """Delete segments without a clip and clips with missing segments, then compact."""
        on_step("checking that clips and segments match")
        tables = self._tables
        rows = [row for rows in tables.clip_pages(SEEN_FIELDS) for row in rows]
        self._delete_others((row["edition"] for row in rows), 1, self.counters.edition)
        lost = [
            row["id"]
            for row in rows
            if self._count(row["edition"], row["segments"]) != row["segments"]
        ]
        self.remove(lost)
        gone = set(lost)
        kept = [row for row in rows if row["id"] not in gone]
        write_stretches(tables, without_all(tables, kept), self.lease.check)
        for collection in (tables.segments, tables.stretches):
            tables.client.compact(collection)
        self.optimise(on_step)
        return len(lost)

    def _count(self, edition: int, count: int) -> int:
        """How many of an edition's segments exist; in 2.3, count(*) includes deleted rows."""
        tables = self._tables
        found = 0
        base = edition * SEGMENTS_PER_EDITION
        for begin in range(0, count, LIMIT):
            window = f"id >= {base + begin} and id < {base + min(begin + LIMIT, count)}"
            found += len(tables.query(tables.segments, window, ["id"]))
        return found
