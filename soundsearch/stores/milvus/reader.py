"""One consistent view of a library in Milvus.

A query waits for the server three times:

1. with a filter, for the clips that it lets through: ids, editions, revisions, segment counts;
2. for the nearest segments, with a filter only those of these clips;
3. without a filter, for the clips found, those that are shown among them;
4. for the vectors of the segments that are compared exactly, and with a filter, at the same time,
   for the clips that these belong to.

One that asks with a clip of the library reads that clip and its vectors first. Once a second, a
store looks at its settings, too.

A segment's row holds only the id of its clip, so a filtered search lists ids: ``clip in [...]``,
or those left out if they are fewer, with runs of ids as ranges. Measured with 100 000 clips of two
segments, 64-d, 4 queries at a time, ids drawn at random, on 2 busy cores:

==================  ===========================  ===========================
clips let through   server 2.3.5, HNSW           Milvus Lite 3.2, FLAT
==================  ===========================  ===========================
all, no filter      7 ms                         170 to 260 ms
100                 7 ms                         170 ms
1 000               12 ms                        180 ms
10 000              42 ms                        275 ms
50 000              190 to 240 ms                370 ms
99 000              11 ms (``not in``)           260 ms
==================  ===========================  ===========================

That is 4 us per id. A copy of a clip's fields in each of its segments would avoid this cost, but
every new tag would rewrite vectors. Lists of more than 50 000 ids are split and searched one part
after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ...errors import LibraryDamaged
from ...hints import command
from ...vectors import Directions, scores_along, unit
from ..base import ClipChanged, Span
from ..filters import Filter, OneOf, Tag
from ..keyed import by_key, declared
from ..pooling import nearest_clips, pool, stretch_counts, stretch_length
from ..records import Counts, Key, StoredClip
from .client import Row
from .collections import is_lossy
from .expressions import compile_filter
from .lookups import newest
from .rows import (
    CLIP_FIELDS,
    SEEN_FIELDS,
    SEGMENT_FIELDS,
    SEGMENTS_PER_EDITION,
    clip_of,
    packed_uri,
    segment_ids,
    segments_of,
)
from .selecting import Seen, Selection, select
from .stretches import stretch_ids
from .tables import LIMIT, Tables

__all__ = ["MilvusReading"]

_Hits = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]

# How many rows are read at a time where a filter must be checked here.
_WHOLE_PAGE = 4096
# How many segments are scored along directions: for all together, and for each that is wanted.
_SCORED = 4096
_SCORED_PER_RESULT = 4
# How many keys one request looks for.
_KEYS = 100
# The most clips that are read whole before it is known which are shown.
_SHOWN = 512


class MilvusReading:
    """The view of a library for one answer; see `soundsearch.stores.base.Reading`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._seen: dict[int, Seen | None] = {}
        # The rows of clips that were read whole, and clips.
        self._rows: dict[int, Row] = {}
        self._clips: dict[int, StoredClip] = {}
        self._selections: dict[str, Selection] = {}
        self._counts: Counts | None = None

    def head_digest(self) -> str | None:
        """Which head the labels are of; see `Store.head_digest`."""
        return self._tables.head_digest

    def head(self) -> bytes:
        """The file of that head."""
        return self._tables.head()

    def counts(self, filter: Filter | None = None) -> Counts:
        """How many clips and segments a filter lets through, and how many failures there are."""
        if self._counts is None or filter is not None:
            failures = sum(len(rows) for rows in self._tables.failure_pages(["id"]))
            if filter is not None:
                selection = self._select(filter)
                return Counts(len(selection.ids), int(selection.segments.sum()), failures)
            clips = segments = 0
            for rows in self._tables.clip_pages(["segments"], LIMIT):
                clips += len(rows)
                segments += sum(row["segments"] for row in rows)
            self._counts = Counts(clips, segments, failures)
        return self._counts

    def clip_at(self, uri: str) -> StoredClip | None:
        """The clip at this uri."""
        expression = f'id > 0 and uri == "{packed_uri(uri)}"'
        row = newest(self._tables.query(self._tables.clips, expression, CLIP_FIELDS))
        return None if row is None else self._keep(row)

    def clips_keyed(self, keys: Sequence[Key]) -> dict[Key, StoredClip]:
        """The clips that have these keys; see `Reading.clips_keyed`."""
        tables = self._tables
        address = str(tables.uri)
        tag = declared(tables.key(), address)
        found: dict[str, Row] = {}
        for begin in range(0, len(keys), _KEYS):
            values = tuple(v for key in keys[begin : begin + _KEYS] for v in key.values)
            compiled = compile_filter(OneOf(Tag(tag), values), tables.uri.lite)
            if compiled.exact and compiled.text:  # one request
                pages = iter([tables.query(tables.clips, compiled.text, CLIP_FIELDS)])
            else:
                pages = tables.all_clips(CLIP_FIELDS, _WHOLE_PAGE, compiled.text or "")
            for row in (row for rows in pages for row in rows):
                uri = row["uri"]
                found[uri] = newest([row, *filter(None, [found.get(uri)])]) or row
        return by_key(map(self._keep, found.values()), tag, keys, address)

    def clips_by_id(self, clip_ids: Sequence[int]) -> dict[int, StoredClip]:
        """Those of these clips that exist, by id."""
        self._read(clip_ids)
        return {id: self._clip(id) for id in dict.fromkeys(clip_ids) if id in self._rows}

    def _read(self, clip_ids: Iterable[int]) -> None:
        """Read the rows of clips, unless it is known that there are none."""
        unknown = [
            id
            for id in dict.fromkeys(clip_ids)
            if id > 0 and id not in self._rows and self._seen.get(id, 0) is not None
        ]
        rows = self._tables.by_ids(self._tables.clips, unknown, CLIP_FIELDS)
        for row in rows:
            self._note(row)
        there = {row["id"] for row in rows}
        for id in unknown:
            if id not in there:
                if self._seen.get(id) is not None:
                    raise self._changed(id)
                self._seen[id] = None

    def _note(self, row: Row) -> None:
        """Keep a row; raises `ClipChanged` if this reading saw its clip in another state."""
        id = row["id"]
        now = Seen(row["edition"], row["revision"], row["segments"])
        if self._seen.setdefault(id, now) != now:
            raise self._changed(id)
        self._rows.setdefault(id, row)

    def _keep(self, row: Row) -> StoredClip:
        """The clip of a row; raises `ClipChanged` as `_note` does."""
        self._note(row)
        return self._clip(row["id"])

    def _clip(self, id: int) -> StoredClip:
        """The clip of a row that was read: of many, few are shown."""
        if id not in self._clips:
            self._clips[id] = clip_of(self._rows[id])
        return self._clips[id]

    def _changed(self, clip_id: int) -> ClipChanged:
        return ClipChanged(f"{self._tables.uri}: clip {clip_id} was removed or replaced")

    def _see(self, clip_ids: Iterable[int]) -> dict[int, Seen]:
        """The states in which this reading saw those of these clips that existed."""
        wanted = set(clip_ids)
        unknown = [id for id in wanted if id not in self._seen]
        # Few may be shown next, and are read whole.
        fields = CLIP_FIELDS if len(unknown) <= _SHOWN else SEEN_FIELDS
        rows = self._tables.by_ids(self._tables.clips, unknown, fields)
        self._seen.update(dict.fromkeys(unknown))
        for row in rows:
            self._seen[row["id"]] = Seen(row["edition"], row["revision"], row["segments"])
            if "data" in row:
                self._rows[row["id"]] = row
        found = ((id, self._seen[id]) for id in wanted)
        return {id: seen for id, seen in found if seen is not None}

    def lengths(self, clip_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many segments these clips have, int64 [n]; 0 for a clip that does not exist."""
        seen = self._see(clip_ids.tolist())
        counts = [seen[id].segments if id in seen else 0 for id in clip_ids.tolist()]
        return np.array(counts, np.int64)

    def rows(self, spans: Sequence[Span]) -> tuple[NDArray[np.float32], NDArray[np.void]]:
        """The stored rows of spans of clips, concatenated; see `Reading.rows`."""
        seen = self._see(clip_id for clip_id, _, _ in spans)
        wanted = [np.empty(0, np.int64)]
        for clip_id, first, last in spans:
            if clip_id not in seen or last > seen[clip_id].segments:
                raise self._changed(clip_id)
            wanted.append(segment_ids(seen[clip_id].edition, first, last))
        ids, inverse = np.unique(np.concatenate(wanted), return_inverse=True)
        tables = self._tables
        # Of a filter's clips only the states are known, and some of these are shown next.
        shown = list(seen) if self._selections and len(seen) <= _SHOWN else []
        with ThreadPoolExecutor(1) as pool:
            clips = pool.submit(self._read, shown)
            found = tables.by_ids(tables.segments, ids.tolist(), SEGMENT_FIELDS)
            clips.result()
        if len(found) < len(ids):  # not yet visible, replaced meanwhile, or lost
            found = tables.by_ids(tables.segments, ids.tolist(), SEGMENT_FIELDS, "Strong")
        if len(found) < len(ids):
            now = {
                row["id"]: row["edition"]
                for row in tables.by_ids(tables.clips, seen, SEEN_FIELDS, "Strong")
            }
            for clip_id, was in seen.items():
                if now.get(clip_id) != was.edition:
                    raise self._changed(clip_id)
            raise LibraryDamaged(
                f"{tables.uri}: {len(ids) - len(found)} segments of its clips are missing; remove "
                f"the damaged clips with: {command('rebuild', tables.uri)}"
            )
        found.sort(key=lambda row: int(row["id"]))
        vectors, segments = segments_of(found, tables.settings.dimension)
        return vectors[inverse], segments[inverse]

    def search(
        self, queries: NDArray[np.float32], k: int, filter: Filter | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The segments with the highest cosine to each query; see `Reading.search`.

        At most 16 384 a query, the limit of Milvus. The scores are computed here from the vectors
        that Milvus found: its `distance` is a similarity in some releases and a distance in
        others, and not exact with every index.
        """
        k = min(k, LIMIT)
        found = self._found(unit(queries), k, filter, is_scored=True)
        width = max((min(k, len(ids)) for ids, _, _ in found), default=0)
        clip_ids = np.full((len(queries), width), -1, np.int64)
        numbers = np.full((len(queries), width), -1, np.int64)
        scores = np.full((len(queries), width), -np.inf, np.float32)
        for row, (ids, owners, cosines) in enumerate(found):
            best = np.lexsort((ids, -cosines))[:width]
            clip_ids[row, : len(best)] = owners[best]
            numbers[row, : len(best)] = ids[best] % SEGMENTS_PER_EDITION
            scores[row, : len(best)] = cosines[best]
        return clip_ids, numbers, scores

    def _found(
        self, queries: NDArray[np.float32], k: int, filter: Filter | None, is_scored: bool
    ) -> list[_Hits]:
        """For each query `k` visible segments or more, if there are so many; see `_visible`."""
        selection = None if filter is None else self._select(filter)
        segments = self._tables.segments
        wanted = self._wanted(segments, k)
        while True:
            found, full = self._visible(segments, queries, wanted, selection, is_scored)
            short = full and any(len(ids) < k for ids, _, _ in found)
            if not short or wanted == LIMIT:
                return found
            wanted = min(2 * wanted, LIMIT)

    def _wanted(self, collection: str, k: int) -> int:
        """How many are asked for to find `k`."""
        return min(max(64, 2 * k), LIMIT) if is_lossy(self._tables.indexes[collection]) else k

    def ids(self, filter: Filter | None = None) -> NDArray[np.int64]:
        """The clips that a filter lets through, ascending."""
        if filter is not None:
            return self._select(filter).ids
        pages = self._tables.clip_pages(["id"], LIMIT)
        return np.array(sorted(row["id"] for rows in pages for row in rows), np.int64)

    def pooled(self, clip_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The vectors of clips' stretches; see `Reading.pooled`."""
        tables = self._tables
        length = stretch_length(tables.settings)
        seen = self._see(clip_ids.tolist())
        wanted = [np.empty(0, np.int64)]
        for clip_id in clip_ids.tolist():
            if clip_id not in seen:
                raise self._changed(clip_id)
            wanted.append(stretch_ids(seen[clip_id].edition, seen[clip_id].segments, length))
        owners = np.repeat(np.arange(len(clip_ids)), [len(ids) for ids in wanted[1:]])
        ids, inverse = np.unique(np.concatenate(wanted), return_inverse=True)
        found = tables.by_ids(tables.stretches, ids.tolist(), ("id", "vector"))
        if len(found) < len(ids):  # not yet visible, replaced meanwhile, or lost
            found = tables.by_ids(tables.stretches, ids.tolist(), ("id", "vector"), "Strong")
        if len(found) < len(ids):
            return self._pooled_now(clip_ids, length)
        found.sort(key=lambda row: int(row["id"]))
        vectors = np.array([row["vector"] for row in found], np.float32)
        return owners, vectors.reshape(-1, tables.settings.dimension)[inverse]

    def _pooled_now(
        self, clip_ids: NDArray[np.int64], length: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The vectors of clips' stretches, pooled from their segments."""
        counts = self.lengths(clip_ids)
        spans = [(id, 0, n) for id, n in zip(clip_ids.tolist(), counts.tolist(), strict=True)]
        vectors, segments = self.rows(spans)
        owners = np.repeat(np.arange(len(clip_ids)), stretch_counts(counts, length))
        return owners, pool(vectors, segments["level"], counts, length)

    def search_pooled(
        self, queries: NDArray[np.float32], k: int, filter: Filter | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The clips with the nearest stretches; see `Reading.search_pooled`."""
        queries = unit(queries)
        k = min(k, LIMIT)
        stretches = self._tables.stretches
        selection = None if filter is None else self._select(filter)
        wanted = self._wanted(stretches, k)
        while True:
            found, full = self._visible(stretches, queries, wanted, selection, is_scored=True)
            questions = np.repeat(np.arange(len(queries)), [len(ids) for ids, _, _ in found])
            owners = np.concatenate([np.empty(0, np.int64), *(each for _, each, _ in found)])
            scores = np.concatenate([np.empty(0, np.float32), *(each for _, _, each in found)])
            near = nearest_clips(questions, owners, scores, len(queries), k)
            is_short = near[0].shape[1] < k or bool((near[0] < 0).any())
            if not (full and is_short) or wanted == LIMIT:
                return near
            wanted = min(2 * wanted, LIMIT)

    def highest(
        self, along: Directions, k: int, filter: Filter | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The segments with the highest scores along directions; see `Reading.highest`.

        Those that are the nearest by cosine are scored.
        """
        directions = unit(np.concatenate([weights for weights, _ in along]))
        wanted = min(max(_SCORED // len(directions), _SCORED_PER_RESULT * k), LIMIT)
        # Each is near many directions, and its vector is fetched once.
        near = self._found(directions, wanted, filter, is_scored=False)
        clip_ids = np.concatenate([owners for _, owners, _ in near])
        numbers = np.concatenate([ids for ids, _, _ in near]) % SEGMENTS_PER_EDITION
        found = np.unique(np.stack([clip_ids, numbers], axis=1), axis=0)
        vectors, _ = self.rows([(clip, number, number + 1) for clip, number in found.tolist()])
        best = np.argsort(-scores_along(vectors, along), kind="stable")[:k]
        return found[best, 0], found[best, 1]

    def _select(self, filter: Filter) -> Selection:
        """The clips that a filter lets through; read once."""
        name = repr(filter)  # filters that differ only in 1.0 and true compare equal
        if name not in self._selections:
            self._selections[name] = select(self._tables, filter)
        return self._selections[name]

    def _visible(
        self,
        collection: str,
        queries: NDArray[np.float32],
        wanted: int,
        selection: Selection | None,
        is_scored: bool,
    ) -> tuple[list[_Hits], bool]:
        """For each query the ids, clips and cosines of visible segments, or stretches; and
        whether Milvus may have more. Where they are not scored, their cosines are 0."""
        tables = self._tables
        expressions = [""] if selection is None else selection.expressions()
        clips = None if selection is None else len(selection.ids)
        batch = max(1, tables.segments_per_batch // wanted)
        fields = ["clip", "vector"] if is_scored else ["clip"]
        found: list[_Hits] = []
        full = False
        for begin in range(0, len(queries), batch):
            part = queries[begin : begin + batch]
            answers = [
                tables.nearest(collection, part, wanted, fields, text, clips)
                for text in expressions
            ]
            full = full or any(len(hits) == wanted for answer in answers for hits in answer)
            for n, query in enumerate(part):
                hits = [hit for answer in answers for hit in answer[n]]
                ids = np.array([hit["id"] for hit in hits], np.int64)
                owners = np.array([hit["entity"]["clip"] for hit in hits], np.int64)
                cosines = np.zeros(len(hits), np.float32)
                if is_scored and hits:
                    vectors = np.array([hit["entity"]["vector"] for hit in hits], np.float32)
                    cosines = unit(vectors) @ query
                found.append((ids, owners, cosines))
        owning = {id for _, owners, _ in found for id in owners.tolist()}
        if selection is not None:
            for id, then in selection.seen(owning).items():
                if self._seen.setdefault(id, then) != then:
                    raise self._changed(id)
        seen = self._see(owning)
        visible = []
        for ids, owners, cosines in found:
            own = [seen[id].edition if id in seen else 0 for id in owners.tolist()]
            is_visible = ids // SEGMENTS_PER_EDITION == np.array(own, np.int64)
            visible.append((ids[is_visible], owners[is_visible], cosines[is_visible]))
        return visible, full
