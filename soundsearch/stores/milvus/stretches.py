"""The pooled vectors of clips in Milvus: one row for each stretch, under its clip's edition.

They are written with a clip, before its row makes it visible. What an older version did not write,
or a rebuild finds missing, is pooled from the segments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..pooling import pieces, pool, stretch_counts, stretch_length
from ..records import NewClip
from .client import Row
from .rows import SEGMENT_FIELDS, segment_ids, segments_of
from .tables import Tables

__all__ = ["pooled_rows", "stretch_ids", "stretch_rows", "without_all", "write_stretches"]

# Segments that are read together, and clips whose stretches are.
_TOGETHER = 8192
_CLIPS = 256


def stretch_ids(edition: int, segments: int, length: int) -> NDArray[np.int64]:
    """The ids of the stretches of a clip of so many segments, int64 [n]."""
    return segment_ids(edition, 0, int(stretch_counts(np.array([segments]), length)[0]))


def stretch_rows(
    vectors: NDArray[np.float32],
    segments: NDArray[np.void],
    length: int,
    clip: int,
    edition: int,
    first: int = 0,
) -> list[Row]:
    """The rows of the stretches of a clip's segments, numbered from `first`."""
    pooled = pool(vectors, segments["level"], np.array([len(vectors)]), length)
    ids = segment_ids(edition, first, first + len(pooled)).tolist()
    return [
        {"id": id, "clip": clip, "vector": vector} for id, vector in zip(ids, pooled, strict=True)
    ]


def pooled_rows(clips: Iterable[tuple[NewClip, int, int]], length: int) -> Iterator[list[Row]]:
    """The rows of the stretches of clips, each with its id and edition: of many clips at a time."""
    part: list[tuple[NewClip, int, int]] = []
    waiting = 0
    for each in clips:
        part.append(each)
        waiting += len(each[0].embeddings)
        if waiting >= _TOGETHER:
            yield _pooled(part, length)
            part, waiting = [], 0
    if part:
        yield _pooled(part, length)


def _pooled(clips: Sequence[tuple[NewClip, int, int]], length: int) -> list[Row]:
    counts = np.array([len(clip.embeddings) for clip, _, _ in clips], np.int64)
    vectors = np.concatenate([clip.embeddings for clip, _, _ in clips])
    levels = np.concatenate([clip.segments["level"] for clip, _, _ in clips])
    pooled = iter(pool(np.asarray(vectors, np.float32), levels, counts, length))
    return [
        {"id": id, "clip": clip_id, "vector": vector}
        for (_, clip_id, edition), count in zip(
            clips, stretch_counts(counts, length).tolist(), strict=True
        )
        for id, vector in zip(segment_ids(edition, 0, count).tolist(), pooled, strict=False)
    ]


def write_stretches(tables: Tables, clips: Iterable[Row], check: Callable[[], None]) -> None:
    """Pool the stretches of clips, given by their rows, from their segments, and write them.

    `check` is called before each write: it raises where the lease is lost. Where segments are
    missing, no stretches are written.
    """
    length = stretch_length(tables.settings)
    parts: list[_Part] = []
    waiting = 0
    for clip in clips:
        number = 0
        for begin, end in pieces(clip["segments"], length, _TOGETHER):
            parts.append(_Part(clip["id"], clip["edition"], begin, end, number))
            number += int(stretch_counts(np.array([end - begin]), length)[0])
            waiting += end - begin
            if waiting >= _TOGETHER:
                _write(tables, parts, length, check)
                parts, waiting = [], 0
    _write(tables, parts, length, check)


class _Part(NamedTuple):
    """Segments `begin` to `end` - 1 of a clip, whose first stretch has this number in the clip."""

    clip: int
    edition: int
    begin: int
    end: int
    number: int


def _write(tables: Tables, parts: Sequence[_Part], length: int, check: Callable[[], None]) -> None:
    wanted = [segment_ids(part.edition, part.begin, part.end).tolist() for part in parts]
    read = tables.by_ids(tables.segments, chain(*wanted), SEGMENT_FIELDS, "Strong")
    there = {row["id"]: row for row in read}
    rows: list[Row] = []
    for part, ids in zip(parts, wanted, strict=True):
        if all(id in there for id in ids):
            found = segments_of([there[id] for id in ids], tables.settings.dimension)
            rows += stretch_rows(*found, length, part.clip, part.edition, part.number)
    limit = tables.segments_per_batch
    for begin in range(0, len(rows), limit):
        check()
        tables.client.upsert(tables.stretches, rows[begin : begin + limit])


def without_all(tables: Tables, clips: Sequence[Row], level: str | None = None) -> Iterator[Row]:
    """Those of these clips, given by their rows, that lack stretches."""
    length = stretch_length(tables.settings)
    for begin in range(0, len(clips), _CLIPS):
        part = clips[begin : begin + _CLIPS]
        wanted = [stretch_ids(clip["edition"], clip["segments"], length).tolist() for clip in part]
        found = tables.by_ids(tables.stretches, chain(*wanted), ["id"], level)
        there = {row["id"] for row in found}
        for clip, ids in zip(part, wanted, strict=True):
            if not there.issuperset(ids):
                yield clip
