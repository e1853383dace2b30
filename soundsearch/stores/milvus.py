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
the first read after a deletion
reading and searching, in a store that       Session     nothing when idle; up to 300 ms
wrote: it sees its own writes                            just after a write
reading and searching, in one that did not   Bounded     nothing; some 0.2 to 0.4 s behind
                                                         (Milvus allows 5 s)
===========================================  ==========  =================================

A reader may for that moment miss a clip that is being replaced; it never sees parts of one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.discover import AudioFile

from ..errors import LibraryDamaged, LibraryError, LibraryNotFound, LibraryVersion
from .base import NewClip, Settings, Span, Store, StoredClip, StoredFailure
from .index import unit
from .milvus_client import MilvusClient, MilvusUri
from .milvus_known import Known
from .milvus_lease import Lease
from .milvus_schema import (
    CLIP_FIELDS,
    SEGMENT_FIELDS,
    SEGMENTS_PER_TAKE,
    STATE_FIELDS,
    Row,
    check_ours,
    choose_index,
    clip_of,
    clip_row,
    clips_schema,
    ensure_index,
    failure_id,
    failure_of,
    failure_row,
    index_type,
    make_collection,
    packed_uri,
    search_parameters,
    segment_ids,
    segment_rows,
    segments_of,
    segments_schema,
    state_row,
    state_schema,
)

__all__ = ["MilvusStore"]

_VERSION = 1
# Rows of the state.
_SETTINGS, _NUMBERS, _SUCCESSOR = 0, 1, 3

# gRPC refuses messages of 64 MB.
_BATCH_BYTES = 8 << 20
_BATCH_IDS = 4096
# Rows that one question may give, and one search.
_LIMIT = 16_384
_PAGE = 1024
# Ids and takes that a writer reserves at a time.
_RESERVE = 1024


class MilvusStore:
    """A library in Milvus.

    Parameters
    ----------
    uri : MilvusUri or str
        See `MilvusUri.parse`; made by `create`.

    Raises
    ------
    LibraryNotFound, LibraryVersion, LibraryBusy, MissingExtra
    LibraryError
        No server answers, it does not accept the token, or the name is somebody else's.
    """

    def __init__(self, uri: MilvusUri | str, *, _parent: MilvusStore | None = None) -> None:
        self._uri = MilvusUri.parse(uri) if isinstance(uri, str) else uri
        self.where = str(self._uri)
        self._state = f"{self._uri.name}_state"
        self._parent = _parent
        self._level = "Bounded"
        self._deleted_from: set[str] = set()
        self._writing: tuple[Lease, Known, Known] | None = None
        self._numbers: dict[str, int] = {}
        self._reserved = {"id": 0, "take": 0}
        self._lock = threading.RLock()
        if self._uri.lite and not Path(self._uri.address).exists():
            raise LibraryNotFound(
                f"{self.where}: there is no library here; make one with: soundsearch ingest FOLDER"
            )
        self._client = MilvusClient(self._uri)
        try:
            self._open()
        except BaseException:
            self._client.close()
            raise

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
                _collections(where, 1), (clips_schema(), segments_schema(8)), strict=True
            ):
                if client.has_collection(name):
                    check_ours(client, where, name, [field.name for field in fields.fields])
            state = f"{where.name}_state"
            make_collection(client, where, state, state_schema(), "FLAT")
            lease = Lease(client, where, state)
            lease.take()
            try:
                if _state_row(client, state, _SETTINGS) is None:
                    _make(client, where, settings, 1)
                    client.upsert(state, [state_row(_NUMBERS, {"id": 1, "take": 1, "from": 1})])
                    client.upsert(state, [state_row(_SETTINGS, _settings_row(settings, 1))])
            finally:
                lease.release()
            return cls(where)
        finally:
            client.close()

    def _open(self) -> None:
        row = None
        if self._client.has_collection(self._state):
            check_ours(self._client, self._uri, self._state, STATE_FIELDS)
            self._client.load_collection(self._state, timeout=600)
            which = _SETTINGS if self._parent is None else _SUCCESSOR
            row = _state_row(self._client, self._state, which)
        if row is None:
            raise LibraryNotFound(
                f"{self.where}: there is no library here; make one with: soundsearch ingest FOLDER"
            )
        if row.get("schema") != _VERSION:
            raise LibraryVersion(
                f"{self.where}: its schema has version {row.get('schema')}, this soundsearch knows "
                f"{_VERSION}; upgrade with: pip install --upgrade soundsearch"
            )
        self._use(row)

    def _use(self, row: dict[str, Any]) -> None:
        self.settings = Settings(**{key: row[key] for key in Settings.__slots__})
        self._generation: int = row["generation"]
        self._clips, self._segments = _collections(self._uri, self._generation)
        for name in (self._clips, self._segments):
            self._client.load_collection(name, timeout=600)
        self._index = index_type(self._client, self._segments) or "FLAT"

    # Reading

    def _ask(
        self, collection: str, where: str, fields: Sequence[str], level: str | None = None
    ) -> list[Row]:
        return list(
            self._client.query(
                collection,
                filter=where,
                output_fields=list(fields),
                consistency_level=level or self._level_for(collection),
                limit=_LIMIT,
            )
        )

    def _level_for(self, collection: str) -> str:
        """The level of a read, so that it sees what this store wrote.

        With a server of 2.3 Session waits for upserts, but not for deletions. One strong read
        after those brings the server's view up to date, and it never goes back.
        """
        if collection in self._deleted_from:
            self._deleted_from.discard(collection)
            return "Strong"
        return self._level

    def _by_ids(
        self, collection: str, ids: Iterable[int], fields: Sequence[str], level: str | None = None
    ) -> list[Row]:
        """The rows with these ids that are there, in no order."""
        batch = _BATCH_IDS
        if "vector" in fields:
            batch = max(1, min(batch, _BATCH_BYTES // (4 * self.settings.dimension + 64)))
        wanted = sorted(set(ids))
        rows: list[Row] = []
        for begin in range(0, len(wanted), batch):
            where = f"id in {wanted[begin : begin + batch]}"
            rows += self._ask(collection, where, fields, level)
        return rows

    def _clip_rows(self, first: int, last: int) -> list[Row]:
        """Clips with ids from `first` up to `last`, at most `_LIMIT` of them."""
        where = f"id >= {first} and id < {last}"
        return sorted(self._ask(self._clips, where, CLIP_FIELDS), key=lambda row: int(row["id"]))

    def _pages(self, fields: Sequence[str], page: int = _PAGE) -> Iterator[list[Row]]:
        end = self._read_numbers(self._level)["id"]
        for first in range(1, end, page):
            where = f"id >= {first} and id < {first + page}"
            yield sorted(self._ask(self._clips, where, fields), key=lambda row: int(row["id"]))

    def _failure_pages(self, fields: Sequence[str]) -> Iterator[list[Row]]:
        """All failures; their ids are hashes, so that parts of their range are of one size."""

        def part(first: int, last: int) -> Iterator[list[Row]]:
            where = f"id <= {-1 - first} and id > {-1 - last}"
            rows = self._ask(self._clips, where, fields)
            if len(rows) < _LIMIT // 2:
                yield rows
            else:
                middle = (first + last) // 2
                yield from part(first, middle)
                yield from part(middle, last)

        return part(0, 1 << 62)

    def _read_numbers(self, level: str) -> dict[str, int]:
        numbers = _state_row(self._client, self._state, _NUMBERS, level)
        if numbers is None:
            raise LibraryDamaged(f"{self.where}: its collection {self._state} lacks a row")
        return numbers

    def counts(self) -> tuple[int, int, int]:
        """Clips, segments, failures."""
        clips = segments = 0
        for rows in self._pages(["count"], _LIMIT):
            clips += len(rows)
            segments += sum(row["count"] for row in rows)
        return clips, segments, sum(len(rows) for rows in self._failure_pages(["id"]))

    def clips(self) -> Iterator[StoredClip]:
        """Every clip, in the order of ids."""
        return (clip_of(row) for rows in self._pages(CLIP_FIELDS) for row in rows)

    def clip(self, clip_id: int) -> StoredClip | None:
        """The clip with this id."""
        rows = self._by_ids(self._clips, [int(clip_id)], CLIP_FIELDS) if clip_id > 0 else []
        return clip_of(rows[0]) if rows else None

    def clip_at(self, uri: str) -> StoredClip | None:
        """The clip at this uri."""
        row = self._row_at(packed_uri(uri))
        return None if row is None else clip_of(row)

    def _row_at(self, uri: str) -> Row | None:
        if self._writing is not None:
            return self._writing[1].at(uri)
        rows = self._ask(self._clips, f'id > 0 and uri == "{uri}"', CLIP_FIELDS)
        return max(rows, key=_revision, default=None)

    def clips_with(self, digest: bytes) -> list[StoredClip]:
        """The clips with this content."""
        if self._writing is not None:
            rows = self._writing[1].having(digest.hex())
        else:
            rows = self._ask(self._clips, f'id > 0 and digest == "{digest.hex()}"', CLIP_FIELDS)
        return [clip_of(row) for row in sorted(rows, key=lambda row: int(row["id"]))]

    def failures(self) -> Iterator[StoredFailure]:
        """Every failure, in the order of uris."""
        rows = [row for rows in self._failure_pages(CLIP_FIELDS) for row in rows]
        return map(failure_of, sorted(rows, key=lambda row: str(row["uri"])))

    def failure_at(self, uri: str) -> StoredFailure | None:
        """What failed at this uri."""
        if self._writing is not None:
            row = self._writing[2].at(packed_uri(uri))
            return None if row is None else failure_of(row)
        rows = self._by_ids(self._clips, [failure_id(uri)], CLIP_FIELDS)
        return failure_of(rows[0]) if rows else None

    def failure_with(self, digest: bytes) -> StoredFailure | None:
        """A failure of this content."""
        if self._writing is not None:
            rows = self._writing[2].having(digest.hex())
        else:
            rows = self._ask(self._clips, f'id < 0 and digest == "{digest.hex()}"', CLIP_FIELDS)
        return failure_of(rows[0]) if rows else None

    def _takes(self, clip_ids: Iterable[int]) -> dict[int, tuple[int, int]]:
        """Take and number of segments of those of these clips that are there."""
        rows = self._by_ids(self._clips, clip_ids, ["id", "take", "count"])
        return {row["id"]: (row["take"], row["count"]) for row in rows}

    def lengths(self, clip_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many segments these clips have, int64 [n]; 0 for a clip that is not there."""
        takes = self._takes(clip_ids.tolist())
        return np.array([takes.get(id, (0, 0))[1] for id in clip_ids.tolist()], np.int64)

    def rows(self, spans: Sequence[Span]) -> tuple[NDArray[np.float32], NDArray[np.void]]:
        """What is stored of stretches of clips, one after the other; see `Store.rows`."""
        takes = self._takes(clip_id for clip_id, _, _ in spans)
        wanted = [np.empty(0, np.int64)]
        for clip_id, first, last in spans:
            take, count = takes.get(clip_id, (0, 0))
            if last > count:
                raise KeyError(f"{self.where}: a clip was removed or replaced")
            wanted.append(segment_ids(take, first, last))
        ids, inverse = np.unique(np.concatenate(wanted), return_inverse=True)
        found = self._by_ids(self._segments, ids.tolist(), SEGMENT_FIELDS)
        if len(found) < len(ids):  # behind the clip rows, replaced meanwhile, or lost
            found = self._by_ids(self._segments, ids.tolist(), SEGMENT_FIELDS, "Strong")
        if len(found) < len(ids):
            if self._takes(takes) != takes:
                raise KeyError(f"{self.where}: a clip was removed or replaced")
            raise LibraryDamaged(
                f"{self.where}: {len(ids) - len(found)} segments of its clips are missing; "
                "let those clips go with: soundsearch rebuild"
            )
        found.sort(key=lambda row: int(row["id"]))
        vectors, segments = segments_of(found, self.settings.dimension)
        return vectors[inverse], segments[inverse]

    def search(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The segments with the highest cosine to each query; see `Store.search`.

        At most 16 384 a query, which is all that Milvus gives. The scores are computed here from
        the vectors that Milvus found: what it calls distance is a similarity in some releases
        and a distance in others, and not exact with every index.
        """
        queries = unit(queries)
        k = min(k, _LIMIT)
        wanted = k if self._index == "FLAT" else min(max(64, 2 * k), _LIMIT)
        while True:
            found, full = self._search(queries, wanted)
            short = full and any(len(ids) < k for ids, _, _ in found)
            if not short or wanted == _LIMIT:
                break
            wanted = min(2 * wanted, _LIMIT)
        width = max((min(k, len(ids)) for ids, _, _ in found), default=0)
        clip_ids = np.full((len(queries), width), -1, np.int64)
        numbers = np.full((len(queries), width), -1, np.int64)
        scores = np.full((len(queries), width), -np.inf, np.float32)
        for row, (ids, owners, cosines) in enumerate(found):
            best = np.lexsort((ids, -cosines))[:width]
            clip_ids[row, : len(best)] = owners[best]
            numbers[row, : len(best)] = ids[best] % SEGMENTS_PER_TAKE
            scores[row, : len(best)] = cosines[best]
        return clip_ids, numbers, scores

    def _search(
        self, queries: NDArray[np.float32], wanted: int
    ) -> tuple[list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]], bool]:
        """For each query ids, clips and cosines of visible segments, and whether Milvus may
        have more."""
        row_bytes = 4 * self.settings.dimension + 64
        batch = max(1, _BATCH_BYTES // (wanted * row_bytes))
        found = []
        full = False
        for begin in range(0, len(queries), batch):
            part = queries[begin : begin + batch]
            for query, hits in zip(part, self._nearest(part, wanted), strict=True):
                full = full or len(hits) == wanted
                ids = np.array([hit["id"] for hit in hits], np.int64)
                owners = np.array([hit["entity"]["clip"] for hit in hits], np.int64)
                vectors = np.array([hit["entity"]["vector"] for hit in hits], np.float32)
                cosines = unit(vectors.reshape(len(hits), -1)) @ query if len(hits) else ids * 0.0
                found.append((ids, owners, np.asarray(cosines, np.float32)))
        takes = self._takes({id for _, owners, _ in found for id in owners.tolist()})
        visible = []
        for ids, owners, cosines in found:
            own = np.array([takes.get(id, (0, 0))[0] for id in owners.tolist()], np.int64)
            is_visible = ids // SEGMENTS_PER_TAKE == own
            visible.append((ids[is_visible], owners[is_visible], cosines[is_visible]))
        return visible, full

    def _nearest(self, queries: NDArray[np.float32], limit: int) -> Any:
        for attempt in (1, 2):
            try:
                return self._client.search(
                    self._segments,
                    data=list(queries),
                    anns_field="vector",
                    limit=limit,
                    output_fields=["clip", "vector"],
                    search_params=search_parameters(self._index, limit),
                    consistency_level=self._level_for(self._segments),
                )
            except LibraryError:
                index = index_type(self._client, self._segments)
                if attempt == 2 or index is None or index == self._index:
                    raise
                self._index = index  # another process changed it
        raise AssertionError

    # Writing

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
            *older, newest = sorted(self._ask(self._clips, where, CLIP_FIELDS), key=_revision)
            for old in older:
                clips.discard(old)
            clips.add(newest)
            self._delete_clips(older)
        numbers = self._root._numbers
        if numbers["from"] < numbers["take"]:
            self._delete_invisible(numbers["from"], numbers["take"])
        if self._generation > 1 and self._parent is None:
            for name in _collections(self._uri, self._generation - 1):
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
        self._client.upsert(self._state, [state_row(_NUMBERS, row)])

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
        batch: list[Row] = []
        limit = max(1, _BATCH_BYTES // (4 * self.settings.dimension + 64))
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
        for begin in range(0, len(ids), _BATCH_IDS):
            self._client.delete(collection, ids=ids[begin : begin + _BATCH_IDS])
            self._deleted_from.add(collection)

    def _delete_invisible(self, first: int, last: int) -> None:
        """Delete the segments in takes from `first` up to `last` that no clip row names."""
        where = f"take >= {first} and take < {last}"
        visible = sorted(row["take"] for row in self._ask(self._clips, where, ["take"]))
        begin = first
        for take in (*visible, last):
            if take > begin:
                self._delete_range(begin, take)
            begin = take + 1

    def _delete_range(self, first: int, last: int) -> None:
        where = f"id >= {first * SEGMENTS_PER_TAKE} and id < {last * SEGMENTS_PER_TAKE}"
        while rows := self._ask(self._segments, where, ["id"]):
            self._delete(self._segments, [row["id"] for row in rows])

    def optimise(self, on_progress: Callable[[str], None] = lambda _text: None) -> None:
        """Give the segments the index that their number asks for, see `choose_index`."""
        if self._uri.index:
            segments = 0
        else:
            segments = sum(row["count"] for rows in self._pages(["count"], _LIMIT) for row in rows)
        wanted = choose_index(self._uri, segments)
        if wanted != self._index:
            on_progress(f"making an index {wanted}; searches wait until it is done")
            ensure_index(self._client, self._uri, self._segments, wanted, segments)
            self._index = wanted

    def rebuild(self, on_progress: Callable[[str], None] = lambda _text: None) -> int:
        """Delete segments without a clip and clips that lack some, and let Milvus compact."""
        on_progress("comparing segments with clips")
        lost: list[int] = []
        expected = {}
        for rows in self._pages(["id", "take", "count"]):
            expected.update({row["take"]: (row["id"], row["count"]) for row in rows})
        begin = 1
        for take in (*sorted(expected), self._root._numbers["take"]):
            if take > begin:
                self._delete_range(begin, take)
            begin = take + 1
            if take in expected:
                clip_id, count = expected[take]
                if self._count(take, count) != count:
                    lost.append(clip_id)
        self.remove(lost)
        self._client.compact(self._segments)
        self.optimise(on_progress)
        return len(lost)

    def _count(self, take: int, count: int) -> int:
        """How many of a take's segments are there. count(*) counts deleted rows too in 2.3."""
        found = 0
        for begin in range(0, count, _LIMIT):
            first, last = take * SEGMENTS_PER_TAKE + begin, min(begin + _LIMIT, count)
            where = f"id >= {first} and id < {take * SEGMENTS_PER_TAKE + last}"
            found += len(self._ask(self._segments, where, ["id"]))
        return found

    def successor(self, settings: Settings) -> MilvusStore:
        """The library's next generation, in collections of its own; see `Store.successor`."""
        row = _settings_row(settings, self._generation + 1)
        if _state_row(self._client, self._state, _SUCCESSOR) != row:
            for name in _collections(self._uri, self._generation + 1):
                if self._client.has_collection(name):
                    self._client.drop_collection(name)
            _make(self._client, self._uri, settings, self._generation + 1)
            self._client.upsert(self._state, [state_row(_SUCCESSOR, row)])
        return MilvusStore(self._uri, _parent=self)

    def adopt(self, successor: Store) -> None:
        """Take over a successor: one row says which generation counts. See `Store.adopt`."""
        assert isinstance(successor, MilvusStore)
        lease = self._held[0]
        row = _settings_row(successor.settings, successor._generation)
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
        self._client.upsert(self._state, [state_row(_SETTINGS, row)])
        self._client.delete(self._state, ids=[_SUCCESSOR])
        self._use(row)
        self._writing = (lease, Known(self._clip_rows), Known(self._failure_rows))
        self._recover()  # also drops the old collections

    def close(self) -> None:
        """Close the connection; the store cannot be used any more."""
        self._client.close()


def _collections(uri: MilvusUri, generation: int) -> tuple[str, str]:
    suffix = "" if generation == 1 else f"_{generation}"
    return f"{uri.name}_clips{suffix}", f"{uri.name}_segments{suffix}"


def _make(client: MilvusClient, uri: MilvusUri, settings: Settings, generation: int) -> None:
    clips, segments = _collections(uri, generation)
    make_collection(client, uri, clips, clips_schema(), "FLAT")
    schema = segments_schema(settings.dimension)
    make_collection(client, uri, segments, schema, choose_index(uri, 0), uri.shards)


def _settings_row(settings: Settings, generation: int) -> dict[str, Any]:
    return {"schema": _VERSION, "generation": generation, **asdict(settings)}


def _state_row(
    client: MilvusClient, state: str, id: int, level: str = "Strong"
) -> dict[str, Any] | None:
    rows = client.query(
        state, filter=f"id == {id}", output_fields=["data"], consistency_level=level
    )
    if not rows:
        return None
    data: dict[str, Any] = json.loads(rows[0]["data"])
    return data


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


def _revision(row: Row) -> int:
    revision: int = json.loads(row["data"])["revision"]
    return revision
