"""Reading a library in Milvus: clips by their rows, segments by takes, searches re-scored."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import LibraryDamaged, LibraryError, LibraryNotFound, LibraryVersion
from ..base import Settings, Span, StoredClip, StoredFailure
from ..local.index import unit
from .client import MilvusClient, MilvusUri
from .collections import (
    CLIP_FIELDS,
    SEGMENT_FIELDS,
    SEGMENTS_PER_TAKE,
    STATE_FIELDS,
    Row,
    check_ours,
    clip_of,
    failure_id,
    failure_of,
    index_type,
    is_lossy,
    packed_uri,
    search_parameters,
    segment_ids,
    segments_of,
)
from .known import Known
from .lease import Lease

__all__ = [
    "BATCH_BYTES",
    "BATCH_IDS",
    "LIMIT",
    "NOTHING_FOUND",
    "NUMBERS",
    "SETTINGS",
    "SUCCESSOR",
    "VERSION",
    "MilvusReader",
    "collections_of",
    "revision_of",
    "state_of",
]

VERSION = 1
# Rows of the state.
SETTINGS, NUMBERS, SUCCESSOR = 0, 1, 3

# gRPC refuses messages of 64 MB.
BATCH_BYTES = 8 << 20
BATCH_IDS = 4096
# Rows that one question may give, and one search.
LIMIT = 16_384
_PAGE = 1024
# For how long a search's takes serve the steps after it, and what there is before.
_RECENT_SECONDS = 1.0
NOTHING_FOUND: tuple[float, dict[int, tuple[int, int]]] = (0.0, {})


class MilvusReader:
    """What a library in Milvus holds; `MilvusStore` also writes.

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

    def __init__(self, uri: MilvusUri | str, *, _parent: MilvusReader | None = None) -> None:
        self._uri = MilvusUri.parse(uri) if isinstance(uri, str) else uri
        self.where = str(self._uri)
        self._state = f"{self._uri.name}_state"
        self._parent = _parent
        self._level = "Bounded"
        self._deleted_from: set[str] = set()
        self._writing: tuple[Lease, Known, Known] | None = None
        self._numbers: dict[str, int] = {}
        self._reserved = {"id": 0, "take": 0}
        self._found = NOTHING_FOUND
        self._is_written_out = True
        if self._uri.lite and not Path(self._uri.address).exists():
            raise self._not_found()
        self._client = MilvusClient(self._uri)
        try:
            self._open()
        except BaseException:
            self._client.close()
            raise

    def _open(self) -> None:
        row = None
        if self._client.has_collection(self._state):
            check_ours(self._client, self._uri, self._state, STATE_FIELDS)
            self._client.load_collection(self._state, timeout=600)
            which = SETTINGS if self._parent is None else SUCCESSOR
            row = state_of(self._client, self._state, which)
        elif self._uri.database:
            self._client.list_collections()  # raises where there is no such database
        if row is None:
            raise self._not_found()
        if row.get("schema") != VERSION:
            raise LibraryVersion(
                f"{self.where}: its schema has version {row.get('schema')}, this soundsearch knows "
                f"{VERSION}; upgrade with: pip install --upgrade soundsearch"
            )
        self._use(row)

    def _not_found(self) -> LibraryNotFound:
        return LibraryNotFound(
            f"{self.where}: there is no library here; make one with: soundsearch ingest FOLDER"
        )

    def _use(self, row: dict[str, Any]) -> None:
        self.settings = Settings(**{key: row[key] for key in Settings.__slots__})
        self._generation: int = row["generation"]
        self._clips, self._segments = collections_of(self._uri, self._generation)
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
                limit=LIMIT,
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

    @property
    def _vectors_a_batch(self) -> int:
        """How many segments with their vectors one message may have."""
        return max(1, BATCH_BYTES // (4 * self.settings.dimension + 64))

    def _by_ids(
        self, collection: str, ids: Iterable[int], fields: Sequence[str], level: str | None = None
    ) -> list[Row]:
        """The rows with these ids that are there, in no order."""
        batch = BATCH_IDS
        if "vector" in fields:
            batch = min(batch, self._vectors_a_batch)
        wanted = sorted(set(ids))
        rows: list[Row] = []
        for begin in range(0, len(wanted), batch):
            where = f"id in {wanted[begin : begin + batch]}"
            rows += self._ask(collection, where, fields, level)
        return rows

    def _clip_rows(self, first: int, last: int) -> list[Row]:
        """Clips with ids from `first` up to `last`, at most `LIMIT` of them."""
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
            if len(rows) < LIMIT // 2:
                yield rows
            else:
                middle = (first + last) // 2
                yield from part(first, middle)
                yield from part(middle, last)

        return part(0, 1 << 62)

    def _read_numbers(self, level: str) -> dict[str, int]:
        numbers = state_of(self._client, self._state, NUMBERS, level)
        if numbers is None:
            raise LibraryDamaged(f"{self.where}: its collection {self._state} lacks a row")
        return numbers

    def counts(self) -> tuple[int, int, int]:
        """Clips, segments, failures."""
        clips = segments = 0
        for rows in self._pages(["count"], LIMIT):
            clips += len(rows)
            segments += sum(row["count"] for row in rows)
        return clips, segments, sum(len(rows) for rows in self._failure_pages(["id"]))

    def clips(self) -> Iterator[StoredClip]:
        """Every clip, in the order of ids."""
        return (clip_of(row) for rows in self._pages(CLIP_FIELDS) for row in rows)

    def clips_by_id(self, clip_ids: Sequence[int]) -> dict[int, StoredClip]:
        """Those of these clips that are there, by their ids."""
        rows = self._by_ids(self._clips, clip_ids, CLIP_FIELDS)
        return {row["id"]: clip_of(row) for row in rows if row["id"] > 0}

    def clip_at(self, uri: str) -> StoredClip | None:
        """The clip at this uri."""
        row = self._row_at(packed_uri(uri))
        return None if row is None else clip_of(row)

    def _row_at(self, uri: str) -> Row | None:
        if self._writing is not None:
            return self._writing[1].at(uri)
        rows = self._ask(self._clips, f'id > 0 and uri == "{uri}"', CLIP_FIELDS)
        return max(rows, key=revision_of, default=None)

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

    def _takes(
        self, clip_ids: Iterable[int], level: str | None = None
    ) -> dict[int, tuple[int, int]]:
        """Take and number of segments of those of these clips that are there."""
        rows = self._by_ids(self._clips, clip_ids, ["id", "take", "count"], level)
        return {row["id"]: (row["take"], row["count"]) for row in rows}

    def _recent_takes(self, clip_ids: Iterable[int]) -> dict[int, tuple[int, int]]:
        """As `_takes`, without asking again just after a search that found all these clips.

        A query's next steps come then, and would wait for an answer that is here. Takes that were
        replaced meanwhile are noticed where their segments are read.
        """
        wanted = set(clip_ids)
        until, found = self._found
        if self._writing is None and time.monotonic() < until and wanted <= found.keys():
            return {id: found[id] for id in wanted}
        return self._takes(wanted)

    def lengths(self, clip_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many segments these clips have, int64 [n]; 0 for a clip that is not there."""
        takes = self._recent_takes(clip_ids.tolist())
        return np.array([takes.get(id, (0, 0))[1] for id in clip_ids.tolist()], np.int64)

    def rows(self, spans: Sequence[Span]) -> tuple[NDArray[np.float32], NDArray[np.void]]:
        """What is stored of stretches of clips, one after the other; see `Store.rows`."""
        takes = self._recent_takes(clip_id for clip_id, _, _ in spans)
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
            self._found = NOTHING_FOUND
            if self._takes(takes, "Strong") != takes:
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
        k = min(k, LIMIT)
        wanted = min(max(64, 2 * k), LIMIT) if is_lossy(self._index) else k
        while True:
            found, full = self._search(queries, wanted)
            short = full and any(len(ids) < k for ids, _, _ in found)
            if not short or wanted == LIMIT:
                break
            wanted = min(2 * wanted, LIMIT)
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
        batch = max(1, self._vectors_a_batch // wanted)
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
        self._found = time.monotonic() + _RECENT_SECONDS, takes
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

    def close(self) -> None:
        """Close the connection; the store cannot be used any more."""
        self._client.close()


def collections_of(uri: MilvusUri, generation: int) -> tuple[str, str]:
    suffix = "" if generation == 1 else f"_{generation}"
    return f"{uri.name}_clips{suffix}", f"{uri.name}_segments{suffix}"


def state_of(
    client: MilvusClient, state: str, id: int, level: str = "Strong"
) -> dict[str, Any] | None:
    rows = client.query(
        state, filter=f"id == {id}", output_fields=["data"], consistency_level=level
    )
    if not rows:
        return None
    data: dict[str, Any] = json.loads(rows[0]["data"])
    return data


def revision_of(row: Row) -> int:
    revision: int = json.loads(row["data"])["revision"]
    return revision
