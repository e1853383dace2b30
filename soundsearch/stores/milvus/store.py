"""The store for more than one machine: collections of a Milvus server, or of Milvus Lite.

Milvus has no transactions, so that the order of writes keeps clips whole. A clip's segments are
written first, under a take that no clip has yet; one upsert of clip rows then makes them visible,
all clips of an `add` at once; last, the takes that were replaced are deleted. Readers believe clip
rows only: segments of a take that no clip row names are not there. A writer that was killed leaves
such segments in the takes that it had reserved, and the next writer deletes those first.

Consistency levels, and what they cost on a server of 2.3 (Milvus Lite is always up to date):

===========================================  ==========  =================================
what                                         level       costs
===========================================  ==========  =================================
settings, lease, what a writer starts from,  Strong      200 to 400 ms a call, a few calls
the first read after a deletion, segments
that a clip row names and that are not seen
reading and searching, in a store that       Session     nothing when idle; up to 300 ms
wrote: it sees its own writes                            just after a write
reading and searching, in one that did not   Bounded     nothing; some 0.2 to 0.4 s behind
                                                         (Milvus allows 5 s)
===========================================  ==========  =================================

A reader may for that moment miss a clip that is being replaced; it never sees parts of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from soundsearch_ingest.discover import AudioFile

from ...errors import LibraryError
from ..base import NewClip, Settings, Store, StoredClip, StoredFailure
from .client import MilvusClient, MilvusUri
from .collections import (
    CLIP_FIELDS,
    SEGMENTS_PER_TAKE,
    Row,
    check_ours,
    choose_index,
    clip_of,
    clip_row,
    clips_schema,
    ensure_index,
    failure_row,
    make_collection,
    packed_uri,
    segment_ids,
    segment_rows,
    segments_schema,
    state_row,
    state_schema,
)
from .known import Known
from .lease import Lease
from .reader import (
    BATCH_IDS,
    LIMIT,
    NOTHING_FOUND,
    NUMBERS,
    SETTINGS,
    SUCCESSOR,
    VERSION,
    MilvusReader,
    collections_of,
    revision_of,
    state_of,
)

__all__ = ["MilvusStore"]

# Ids and takes that a writer reserves at a time.
_RESERVE = 1024

_FLUSH_SECONDS = 600


class MilvusStore(MilvusReader):
    """A library in Milvus, made by `create`; opened, and refused, as `MilvusReader` says."""

    _parent: MilvusStore | None

    @classmethod
    def create(cls, uri: MilvusUri | str, settings: Settings) -> MilvusStore:
        """Make a library where there is none; one that is there is opened."""
        where = MilvusUri.parse(uri) if isinstance(uri, str) else uri
        choose_index(where, 0)
        if where.lite:
            try:
                Path(where.address).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LibraryError(f"{where}: cannot make a library here: {error}") from error
        client = MilvusClient(where)
        try:
            for name, fields in zip(
                collections_of(where, 1), (clips_schema(), segments_schema(8)), strict=True
            ):
                if client.has_collection(name):
                    check_ours(client, where, name, [field.name for field in fields.fields])
            state = f"{where.name}_state"
            make_collection(client, where, state, state_schema(), "FLAT")
            lease = Lease(client, where, state)
            lease.take()
            try:
                if state_of(client, state, SETTINGS) is None:
                    _make(client, where, settings, 1)
                    client.upsert(state, [state_row(NUMBERS, {"id": 1, "take": 1, "from": 1})])
                    client.upsert(state, [state_row(SETTINGS, settings_row(settings, 1))])
            finally:
                lease.release()
            return cls(where)
        finally:
            client.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the library for writing; raises LibraryBusy when another process does."""
        lease = Lease(self._client, self._uri, self._state)
        if self._parent is None:
            lease.take()
        else:
            lease = self._parent._held[0]
        clean = False
        try:
            self._level = "Session"
            if self._parent is None:
                self._numbers = self._read_numbers("Strong")
                self._reserved = dict(self._numbers)
            known = Known(self._clip_rows), Known(self._failure_rows)
            self._writing = (lease, *known)
            self._recover()
            yield
            clean = True
        finally:
            self._writing = None
            self._found = NOTHING_FOUND
            if self._parent is None:
                if clean:
                    with suppress(LibraryError):  # the next writer then looks for leftovers
                        self._write_numbers(self._numbers, self._numbers["take"])
                lease.release()

    @property
    def _held(self) -> tuple[Lease, Known, Known]:
        if self._writing is None:
            raise RuntimeError("writing to a store needs `with store.writing():` around it")
        return self._writing

    def _failure_rows(self, first: int, last: int) -> list[Row]:
        return self._ask(self._clips, f"id >= {first} and id < {last}", CLIP_FIELDS)

    def _recover(self) -> None:
        """Learn what is there, and finish what a killed writer began."""
        _, clips, failures = self._held
        # What others wrote and deleted must be seen too.
        self._deleted_from = {self._clips, self._segments}
        double: list[Row] = []
        for rows in self._pages(["id", "uri", "digest"], 8192):
            for row in rows:
                if clips.has(row["uri"]):
                    double.append(row)
                else:
                    clips.add(row)
        for rows in self._failure_pages(["id", "uri", "digest"]):
            for row in rows:
                failures.add(row)
        for row in double:  # a clip was moved here, and the one in its place not yet removed
            where = f'id > 0 and uri == "{row["uri"]}"'
            *older, newest = sorted(self._ask(self._clips, where, CLIP_FIELDS), key=revision_of)
            for old in older:
                clips.discard(old)
            clips.add(newest)
            self._delete_clips(older)
        numbers = self._root._numbers
        if numbers["from"] < numbers["take"]:
            self._is_written_out = False
            self._delete_invisible(numbers["from"], numbers["take"])
        if self._generation > 1 and self._parent is None:
            for name in collections_of(self._uri, self._generation - 1):
                if self._client.has_collection(name):
                    self._client.drop_collection(name)

    @property
    def _root(self) -> MilvusStore:
        return self if self._parent is None else self._parent

    def _take_numbers(self, name: str, count: int) -> int:
        """The first of `count` new ids or takes."""
        root = self._root
        first = root._numbers[name]
        if first + count > root._reserved[name]:
            root._reserved[name] = first + max(count, _RESERVE)
            # Takes from here on are of clips that are not whole yet.
            self._write_numbers(root._reserved, root._numbers["take"])
        root._numbers[name] = first + count
        return first

    def _write_numbers(self, numbers: dict[str, int], begun: int) -> None:
        row = {"id": numbers["id"], "take": numbers["take"], "from": begun}
        self._client.upsert(self._state, [state_row(NUMBERS, row)])

    def add(self, clips: Sequence[NewClip]) -> None:
        """Store clips, all or none; durable when it returns. See `Store.add`."""
        lease, known, _ = self._held
        if not clips:
            return
        by_uri = {packed_uri(clip.file.uri): clip for clip in clips}
        replaced = {uri: row for uri in by_uri if (row := known.at(uri)) is not None}
        new = [uri for uri in by_uri if uri not in replaced]
        ids = {uri: row["id"] for uri, row in replaced.items()}
        if self._parent is not None:  # a clip that is embedded anew keeps its id
            for uri in new:
                if (row := self._parent._row_at(uri)) is not None:
                    ids[uri] = row["id"]
            new = [uri for uri in new if uri not in ids]
        take = self._take_numbers("take", len(by_uri))
        ids.update(zip(new, range(self._take_numbers("id", len(new)), 1 << 62), strict=False))
        try:
            rows = [
                clip_row(_stored(clip, ids[uri]), take + n, take + n)
                for n, (uri, clip) in enumerate(by_uri.items())
            ]
        except (TypeError, ValueError) as error:
            raise LibraryError(f"{self.where}: a clip cannot be stored: {error}") from error
        lease.check()
        self._is_written_out = False
        batch: list[Row] = []
        limit = self._vectors_a_batch
        for n, (uri, clip) in enumerate(by_uri.items()):
            for begin in range(0, len(clip.embeddings), limit):
                batch += segment_rows(clip, ids[uri], take + n, begin, begin + limit)
                while len(batch) >= limit:
                    self._client.upsert(self._segments, batch[:limit])
                    del batch[:limit]
        if batch:
            self._client.upsert(self._segments, batch)
        lease.check()
        self._client.upsert(self._clips, rows)  # now they are there
        for row in replaced.values():
            known.discard(row)
        for row in rows:
            known.add(row)
        self._forget(by_uri)
        self._delete_segments(replaced.values())

    def fail(self, failures: Sequence[StoredFailure]) -> None:
        """Remember files that failed."""
        lease, _, known = self._held
        rows = {failure.file.uri: failure_row(failure) for failure in failures}
        if rows:
            lease.check()
            self._client.upsert(self._clips, list(rows.values()))
        for row in rows.values():
            if (old := known.at(row["uri"])) is not None:
                known.discard(old)
            known.add(row)

    def move(self, clip_id: int, file: AudioFile) -> None:
        """Give a clip another file: a new uri, or a new time for the same content."""
        lease, known, _ = self._held
        row = next(iter(self._by_ids(self._clips, [clip_id], CLIP_FIELDS)), None)
        if row is None:
            return
        uri = packed_uri(file.uri)
        in_the_way = known.at(uri)
        revision = self._take_numbers("take", 1)
        moved = clip_row(replace(clip_of(row), file=file), row["take"], revision)
        lease.check()
        self._client.upsert(self._clips, [moved])
        known.discard(row)
        if in_the_way is not None and in_the_way["id"] != clip_id:
            known.discard(in_the_way)
            self._delete_clips([in_the_way])
        known.add(moved)
        self._forget([uri])

    def remove(self, clip_ids: Sequence[int]) -> None:
        """Take clips out."""
        lease, known, _ = self._held
        lease.check()
        rows = self._by_ids(self._clips, [id for id in clip_ids if id > 0], CLIP_FIELDS)
        for row in rows:
            known.discard(row)
        self._delete_clips(rows)

    def forget_failures(self, uris: Sequence[str]) -> None:
        """Forget what failed at these uris."""
        self._forget(map(packed_uri, uris))

    def _forget(self, uris: Iterable[str]) -> None:
        known = self._held[2]
        rows = [row for uri in uris if (row := known.at(uri)) is not None]
        self._delete(self._clips, [row["id"] for row in rows])
        for row in rows:
            known.discard(row)

    def _delete_clips(self, rows: Sequence[Row]) -> None:
        self._delete(self._clips, [row["id"] for row in rows])
        self._delete_segments(rows)

    def _delete_segments(self, rows: Iterable[Row]) -> None:
        """The segments of clips whose rows are gone or name another take."""
        for row in rows:
            self._delete(self._segments, segment_ids(row["take"], 0, row["count"]).tolist())

    def _delete(self, collection: str, ids: list[int]) -> None:
        for begin in range(0, len(ids), BATCH_IDS):
            self._client.delete(collection, ids=ids[begin : begin + BATCH_IDS])
            self._deleted_from.add(collection)

    def _delete_invisible(self, first: int, last: int) -> None:
        """Delete the segments in takes from `first` up to `last` that no clip row names."""
        where = f"take >= {first} and take < {last}"
        visible = (row["take"] for row in self._ask(self._clips, where, ["take"]))
        self._delete_others(visible, first, last)

    def _delete_others(self, kept: Iterable[int], first: int, last: int) -> None:
        """Delete the segments in takes from `first` up to `last`, but for the kept takes."""
        for take in (*sorted(kept), last):
            if take > first:
                self._delete_range(first, take)
            first = take + 1

    def _delete_range(self, first: int, last: int) -> None:
        where = f"id >= {first * SEGMENTS_PER_TAKE} and id < {last * SEGMENTS_PER_TAKE}"
        while rows := self._ask(self._segments, where, ["id"]):
            self._delete(self._segments, [row["id"] for row in rows])

    def optimise(self, on_progress: Callable[[str], None] = lambda _text: None) -> None:
        """Have what was added written out, and indexed as the number of segments asks for.

        See `choose_index`. Rows that are not written out are searched without the index: for
        about ten minutes by a server, by Lite until its memory is full, ten times as slowly.
        """
        if not self._is_written_out:
            for name in (self._clips, self._segments):
                self._client.flush(name, timeout=_FLUSH_SECONDS)
            self._is_written_out = True
        if self._uri.index:
            segments = 0
        else:
            segments = sum(row["count"] for rows in self._pages(["count"], LIMIT) for row in rows)
        wanted = choose_index(self._uri, segments)
        if wanted != self._index:
            on_progress(f"making an index {wanted}; searches wait until it is done")
            ensure_index(self._client, self._uri, self._segments, wanted, segments)
            self._index = wanted

    def rebuild(self, on_progress: Callable[[str], None] = lambda _text: None) -> int:
        """Delete segments without a clip and clips that lack some, and let Milvus compact."""
        on_progress("comparing segments with clips")
        rows = [row for rows in self._pages(["id", "take", "count"]) for row in rows]
        self._delete_others((row["take"] for row in rows), 1, self._root._numbers["take"])
        lost = [row["id"] for row in rows if self._count(row["take"], row["count"]) != row["count"]]
        self.remove(lost)
        self._client.compact(self._segments)
        self.optimise(on_progress)
        return len(lost)

    def _count(self, take: int, count: int) -> int:
        """How many of a take's segments are there. count(*) counts deleted rows too in 2.3."""
        found = 0
        for begin in range(0, count, LIMIT):
            first, last = take * SEGMENTS_PER_TAKE + begin, min(begin + LIMIT, count)
            where = f"id >= {first} and id < {take * SEGMENTS_PER_TAKE + last}"
            found += len(self._ask(self._segments, where, ["id"]))
        return found

    def successor(self, settings: Settings) -> MilvusStore:
        """The library's next generation, in collections of its own; see `Store.successor`."""
        row = settings_row(settings, self._generation + 1)
        if state_of(self._client, self._state, SUCCESSOR) != row:
            for name in collections_of(self._uri, self._generation + 1):
                if self._client.has_collection(name):
                    self._client.drop_collection(name)
            _make(self._client, self._uri, settings, self._generation + 1)
            self._client.upsert(self._state, [state_row(SUCCESSOR, row)])
        return MilvusStore(self._uri, _parent=self)

    def adopt(self, successor: Store) -> None:
        """Take over a successor: one row says which generation counts. See `Store.adopt`."""
        assert isinstance(successor, MilvusStore)
        lease = self._held[0]
        row = settings_row(successor.settings, successor._generation)
        with successor.writing():
            successor.fail(
                [
                    failure
                    for failure in self.failures()
                    if successor.clip_at(failure.file.uri) is None
                    and successor.failure_at(failure.file.uri) is None
                ]
            )
        lease.check()
        self._client.upsert(self._state, [state_row(SETTINGS, row)])
        self._client.delete(self._state, ids=[SUCCESSOR])
        self._use(row)
        self._writing = (lease, Known(self._clip_rows), Known(self._failure_rows))
        self._is_written_out = False
        self._recover()  # also drops the old collections


def _make(client: MilvusClient, uri: MilvusUri, settings: Settings, generation: int) -> None:
    clips, segments = collections_of(uri, generation)
    make_collection(client, uri, clips, clips_schema(), "FLAT")
    schema = segments_schema(settings.dimension)
    make_collection(client, uri, segments, schema, choose_index(uri, 0), uri.shards)


def settings_row(settings: Settings, generation: int) -> dict[str, Any]:
    return {"schema": VERSION, "generation": generation, **asdict(settings)}


def _stored(clip: NewClip, clip_id: int) -> StoredClip:
    return StoredClip(
        clip_id,
        clip.file,
        clip.digest,
        clip.duration,
        clip.padded,
        clip.warning,
        len(clip.embeddings),
        clip.labels,
        clip.human,
    )
