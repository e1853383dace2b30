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

from ..base import OnStep
from ..pooling import stretch_length
from ..records import ClipRecord, FailureRecord, NewClip
from .client import MilvusClient, Row
from .collections import NUMBERS, choose_index, ensure_index, numbers_of, state_collection
from .inserting import Numbers, insert, record_row
from .lease import Lease
from .lookups import Lookups, newest, rows_with
from .rows import (
    SEEN_FIELDS,
    SEGMENTS_PER_EDITION,
    failure_row,
    packed_uri,
    segment_ids,
    short_hash,
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

# The ids, by their packed uris, that clips new to these tables keep.
KeptIds = Callable[[Sequence[str]], Mapping[str, int]]


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
        numbers = numbers_of(client, uri)
        self._next = {"id": numbers["id"], "edition": numbers["edition"]}
        self._reserved = dict(self._next)
        # Ranges of editions, without their ends, that killed writers may have left unfinished.
        self.unfinished = [*blocks, (numbers["from"], numbers["edition"])]
        # Editions that were drawn and are not complete.
        self.open: set[int] = set()

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
        """What killed writers began is cleaned up in some tables; others are to be, too."""

    def give_back(self) -> None:
        """Return unused reservations."""
        self._write(self._next)

    def _write(self, numbers: Mapping[str, int]) -> None:
        row = {**numbers, "from": min(self.open, default=self._next["edition"])}
        self._client.upsert(self._state, [state_row(NUMBERS, row)])


class Writer:
    """The writes of a store, while it holds the lease.

    Parameters
    ----------
    tables : Tables
    lease : Lease
        Must be held.
    counters : Counters
    kept_ids : callable
        Maps packed uris to the ids that clips new to these tables keep, where they are to.
    """

    def __init__(
        self,
        tables: Tables,
        lease: Lease,
        counters: Counters,
        kept_ids: KeptIds = lambda _uris: {},
    ) -> None:
        self.lease = lease
        self.counters = counters
        self.lookups = Lookups(tables)
        self._tables = tables
        self._kept_ids = kept_ids
        # The clips and failures that those with drawn editions replace.
        self._replaced: dict[int, list[Row]] = {}
        # Reads must see what others wrote and deleted, too.
        for collection in (tables.clips, tables.segments, tables.stretches):
            tables.note_deletion(collection)
        for first, last in counters.unfinished:
            if first < last:
                self._recover(first, last)
        counters.finished()

    def _recover(self, first: int, last: int) -> None:
        """Finish what a writer began that was killed with editions `first` to `last` - 1."""
        tables = self._tables
        tables.is_written_out = False
        window = f"revision >= {first} and revision < {last}"
        rows = tables.query(tables.clips, window, ["uri"], limit=None)
        at: dict[str, list[Row]] = {}
        for row in rows_with(tables, "uri", [row["uri"] for row in rows]):
            if row["id"] > 0:
                at.setdefault(row["uri"], []).append(row)
        # A clip moved to this uri, and the one that it replaced was not yet removed.
        self._delete_clips([row for each in at.values() for row in each if row != newest(each)])
        self._delete_invisible(first, last)

    def add(self, clips: Sequence[NewClip]) -> None:
        """Store clips, all or none; see `Store.add`."""
        if not clips:
            return
        by_uri = {clip.record.uri: clip for clip in clips}
        numbers = self.draw(list(by_uri))
        pairs = list(zip(by_uri.values(), numbers, strict=True))
        self.settle(insert(self._tables, pairs, self.lease.check, fresh=True))

    def draw(self, uris: Sequence[str]) -> list[Numbers]:
        """The numbers under which to insert clips at these uris: a clip there keeps its id.

        Each is to be given to `settle`, in a row that was inserted, or to `give_up`.
        """
        packed = list(map(packed_uri, uris))
        clips, failures = self.lookups.at(packed)
        known = {uri: int(row["id"]) for uri, row in clips.items()}
        ids = {**self._kept_ids([uri for uri in packed if uri not in known]), **known}
        self.lease.check()  # to draw writes the counters
        new = counted_from(self.counters.new("id", sum(uri not in ids for uri in packed)))
        # After the ids, as whoever draws says that all earlier editions are complete.
        edition = self.counters.new("edition", len(uris))
        drawn = []
        for number, uri in enumerate(packed, edition):
            self.counters.open.add(number)
            # Kept now: once the new row is there, it is what a look at the uri gives.
            there = (clips.get(uri), failures.get(uri))
            self._replaced[number] = [row for row in there if row is not None]
            drawn.append(Numbers(ids[uri] if uri in ids else next(new), number))
        return drawn

    def give_up(self, numbers: Iterable[Numbers]) -> None:
        """Let numbers go under which nothing was, or will be, inserted."""
        for each in numbers:
            self.counters.open.discard(each.edition)
            self._replaced.pop(each.edition, None)

    def settle(self, rows: Sequence[Row], by_others: bool = False) -> None:
        """Finish what inserted rows replace: earlier segments and failures at their uris.

        `by_others` says that another process inserted them, whose writes this one does not see at
        once.
        """
        self._tables.is_written_out = False
        if by_others and rows:
            self._tables.note_deletion(self._tables.clips)
        editions = {row["id"]: row["edition"] for row in rows}
        failures = [-1 - short_hash(row["uri"]) for row in rows]
        before = self.lookups.remembered([*editions, *failures])
        before += (old for row in rows for old in self._replaced.pop(row["edition"], ()))
        self.lookups.wrote(rows)
        self._delete_rows([old for old in before if old["id"] < 0])
        self._delete_segments(
            old for old in before if old["edition"] != editions.get(old["id"], old["edition"])
        )
        self.counters.open.difference_update(row["edition"] for row in rows)

    def amend(self, records: Mapping[int, ClipRecord]) -> None:
        """Replace the records of clips; see `Store.amend`.

        Atomic for up to 4096 clips, which fit one message; more are written 4096 at a time.
        """
        ids = sorted(records)
        for begin in range(0, len(ids), _ROWS):
            self._amend({id: records[id] for id in ids[begin : begin + _ROWS]})

    def _amend(self, records: Mapping[int, ClipRecord]) -> None:
        tables = self._tables
        fields = (*SEEN_FIELDS, "uri")
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
        clips, failures = self.lookups.at(list(rows))
        in_the_way = [there for there in clips.values() if there["id"] not in old]
        in_the_way += [row for id, row in old.items() if id not in kept]
        self.lease.check()
        tables.client.upsert(tables.clips, list(rows.values()))
        self.lookups.wrote(rows.values())
        self._delete_clips(in_the_way)
        # A clip that stays where it is may be one whose file has failed since.
        moved = [row["uri"] for row in rows.values() if row["uri"] != old[row["id"]]["uri"]]
        self._delete_rows([failures[uri] for uri in moved if uri in failures])

    def fail(self, failures: Sequence[FailureRecord]) -> None:
        """Remember files that failed."""
        tables = self._tables
        rows = {each.file.uri: failure_row(each, tables.uri.lite) for each in failures}
        if rows:
            self.lease.check()
            tables.client.upsert(tables.clips, list(rows.values()))
        self.lookups.wrote(rows.values())

    def remove(self, clip_ids: Sequence[int]) -> None:
        """Remove clips."""
        tables = self._tables
        self.lease.check()
        wanted = [id for id in clip_ids if id > 0]
        self._delete_clips(tables.by_ids(tables.clips, wanted, SEEN_FIELDS))

    def forget_failures(self, uris: Sequence[str]) -> None:
        """Forget the failures at these uris."""
        _, failures = self.lookups.at(list(map(packed_uri, uris)))
        self._delete_rows(list(failures.values()))

    def _delete_clips(self, rows: Sequence[Row]) -> None:
        self._delete_rows(rows)
        self._delete_segments(rows)

    def _delete_rows(self, rows: Sequence[Row]) -> None:
        """Delete rows of clips and failures."""
        ids = [row["id"] for row in rows]
        self._tables.delete(self._tables.clips, ids)
        self.lookups.deleted(ids)

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
        for name in (tables.segments, tables.stretches):
            count = tables.client.count(name)
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
