"""Searching a store for the clips nearest to a query."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..deadlines import check_time
from ..labels.kept import vocabulary_of
from ..results import Hit
from ..stores.base import ClipChanged, Reading, Span
from ..stores.filters import Filter
from ..stores.records import SEGMENT, Settings
from ..vectors import loudness_weights
from .ranking import RANKINGS, pool_query, span_blocks, spans, window

__all__ = [
    "Moment",
    "OnCompared",
    "best_moments",
    "candidates_near",
    "find_hits",
    "find_segments",
    "moment_hits",
    "not_told",
    "shown_hits",
]

# How many segments are fetched for each segment of the query, and the factor by which the number
# grows while they belong to too few clips.
_SEGMENTS_PER_CLIP = 5
_SEGMENTS = 50
_WIDEN = 4
# A longer query searches with only this many of its segments, but is ranked with all of them.
_SEARCH_SEGMENTS = 64
# How many candidate clips are scored exactly: for each clip wanted, and at least.
_CLIPS_PER_RESULT = 5
_CLIPS = 100
# Near segments that are gone through before it is looked whether there is time.
_ROWS = 65_536

Floats = NDArray[np.float32]
# Told how many segments of clips were compared, of how many.
OnCompared = Callable[[int, int], None]


def not_told(_done: int, _total: int) -> None:
    """Ignore how far a search has come."""


def find_hits(
    reading: Reading,
    settings: Settings,
    query: Floats,
    levels: Floats,
    k: int,
    ranking: str,
    filter: Filter | None = None,
    *,
    offset: int = 0,
    min_score: float = -np.inf,
    without: frozenset[int] = frozenset(),
    on_compared: OnCompared = not_told,
) -> list[Hit]:
    """Find the clips nearest to a query; each candidate is scored exactly from stored vectors.

    Parameters
    ----------
    reading : Reading
    settings : Settings
        Settings of the store.
    query : float32 [m, dimension]
    levels : float32 [m]
        In dB.
    k : int
    ranking : str
        One of `RANKINGS`.
    filter : Filter, optional
        Search only the clips that it lets through.
    offset : int
        How many of the nearest clips are passed over.
    min_score : float
        Clips with a lower score are left out.
    without : frozenset of int
        The ids of clips that are no hits: those that are asked with.
    on_compared : callable
        See `Clips.query`.

    Raises
    ------
    ClipChanged
        A clip was removed or replaced between two steps; use another reading.
    """
    candidates = candidates_near(reading, query, levels, offset + k + len(without), filter)
    for clip_id in without:
        candidates.pop(clip_id, None)
    lengths = reading.lengths(np.fromiter(candidates, np.int64, len(candidates)))
    reach = window(len(query)) - 1
    clip_spans = [
        (clip_id, first, last)
        for (clip_id, hits), count in zip(candidates.items(), lengths.tolist(), strict=True)
        for first, last in spans(hits, reach, count)
    ]
    weights = loudness_weights(levels)
    best = best_moments(reading, query, weights, clip_spans, ranking, on_compared)
    # By score, ties by id, so that their order is stable.
    order = sorted(best, key=lambda clip_id: (-best[clip_id].score, clip_id))[offset : offset + k]
    order = [clip_id for clip_id in order if best[clip_id].score >= min_score]
    scores = [best[clip_id].score for clip_id in order]
    return moment_hits(reading, settings, order, scores, best, offset)


class Moment(NamedTuple):
    """Where a clip matches best: its score, the number of the segment and what is kept of it."""

    score: float
    number: int
    segment: np.void


def best_moments(
    reading: Reading,
    query: Floats,
    weights: Floats,
    clip_spans: Sequence[Span],
    ranking: str,
    on_compared: OnCompared = not_told,
) -> dict[int, Moment]:
    """The best moment of each clip, by its id, within some spans of it.

    Parameters
    ----------
    reading : Reading
    query : float32 [m, dimension]
    weights : float32 [m]
    clip_spans : sequence of (clip_id, first, last)
    ranking : str
    on_compared : callable
        See `Clips.query`.

    Raises
    ------
    ClipChanged
    """
    best: dict[int, Moment] = {}
    done, total = 0, sum(last - first for _, first, last in clip_spans)
    for block in span_blocks(clip_spans, window(len(query))):
        vectors, segments = reading.rows(block)
        done += len(vectors)
        starts = np.cumsum([0] + [last - first for _, first, last in block[:-1]])
        scores, rows = RANKINGS[ranking](
            query, weights, vectors, loudness_weights(segments["level"]), starts
        )
        columns = zip(block, scores.tolist(), (rows - starts).tolist(), rows, strict=True)
        for (clip_id, first, _), score, number, row in columns:
            if clip_id not in best or score > best[clip_id].score:
                best[clip_id] = Moment(score, first + number, segments[row])
        on_compared(min(done, total), total)  # parts of a long span overlap
    return best


def moment_hits(
    reading: Reading,
    settings: Settings,
    clip_ids: Sequence[int],
    scores: Sequence[float],
    best: Mapping[int, Moment],
    offset: int,
) -> list[Hit]:
    """Hits of clips with these scores, each with its best moment."""
    if not clip_ids:
        return []
    moments = [best[clip_id] for clip_id in clip_ids]
    places = [
        (clip_id, moment.number, score, row)
        for row, (clip_id, moment, score) in enumerate(zip(clip_ids, moments, scores, strict=True))
    ]
    # Without a type it would be found by comparing those of all.
    segments = np.array([moment.segment for moment in moments], SEGMENT)
    return shown_hits(reading, settings, places, segments, offset)


def find_segments(
    reading: Reading,
    settings: Settings,
    query: Floats,
    levels: Floats,
    k: int,
    filter: Filter | None = None,
    *,
    offset: int = 0,
    min_score: float = -np.inf,
    without: frozenset[int] = frozenset(),
) -> list[Hit]:
    """Find the segments nearest to the pooled query, of one clip or of many; see `find_hits`."""
    pooled = pool_query(query, loudness_weights(levels))
    wanted = offset + k
    while True:
        found = (column[0] for column in reading.search(pooled, wanted, filter))
        rows = zip(*(column.tolist() for column in found), strict=True)
        near = [row for row in rows if row[0] >= 0]
        kept = [row for row in near if row[0] not in without]
        if len(kept) >= offset + k or len(near) < wanted:
            break
        wanted *= _WIDEN  # segments of clips that are asked with were in the way
    kept = sorted(kept, key=lambda row: (-row[2], row[0], row[1]))[offset : offset + k]
    kept = [row for row in kept if row[2] >= min_score]
    if not kept:
        return []
    _, segments = reading.rows([(clip_id, number, number + 1) for clip_id, number, _ in kept])
    places = [(*row, place) for place, row in enumerate(kept)]
    return shown_hits(reading, settings, places, segments, offset)


def shown_hits(
    reading: Reading,
    settings: Settings,
    places: list[tuple[int, int, float, int]],
    segments: NDArray[np.void],
    offset: int,
) -> list[Hit]:
    """Hits of clips, of the number of a segment in each, the score, and its row in `segments`."""
    clips = reading.clips_by_id(list(dict.fromkeys(clip_id for clip_id, *_ in places)))
    vocabulary = vocabulary_of(reading)
    hits: list[Hit] = []
    for rank, (clip_id, number, score, row) in enumerate(places, offset + 1):
        if clip_id not in clips:
            raise ClipChanged(f"clip {clip_id} was removed")
        record = clips[clip_id].record
        start = number * settings.hop
        hits.append(
            Hit(
                rank=rank,
                score=score,
                uri=record.uri,
                start=start,
                end=min(start + settings.segment_seconds, record.duration),
                labels=vocabulary.named(segments["labels"][row]),
                clip_id=clip_id,
                human_labels=vocabulary.given(record.human_labels),
                tags=dict(record.tags),
                warning=record.warning,
                digest=record.digest,
            )
        )
    return hits


def candidates_near(
    reading: Reading, query: Floats, levels: Floats, k: int, filter: Filter | None
) -> dict[int, list[int]]:
    """Find clips near a query, with their near segments; widen the search until there are `k`.

    Several times `k` clips are kept, those with the segments nearest to one of the query's and
    those with the nearest to its whole; exact scores then order them.
    """
    chosen = query
    if len(query) > _SEARCH_SEGMENTS:
        chosen = query[np.linspace(0, len(query) - 1, _SEARCH_SEGMENTS).astype(int)]
    searched = np.concatenate((chosen, pool_query(query, loudness_weights(levels))))
    if (query == query[0]).all():  # one place, asked with over a stretch
        searched = query[:1]
    wanted = max(_SEGMENTS, _SEGMENTS_PER_CLIP * k)
    while True:
        clip_ids, numbers, scores = reading.search(searched, wanted, filter)
        found = len(set(clip_ids[clip_ids >= 0].tolist()))
        if found >= k:
            break
        counts = reading.counts(filter)  # some stores must count
        if found >= counts.clips or wanted >= counts.segments:
            break
        wanted *= _WIDEN
    limit = max(_CLIPS, _CLIPS_PER_RESULT * k)
    candidates: dict[int, list[int]] = {}
    order = np.argsort(-scores, axis=None, kind="stable")
    if len(searched) > 1:
        # In turn with those near the whole: so many are near one of many segments, nothing else is.
        whole = np.arange(scores.size - scores.shape[1], scores.size)
        order = np.insert(order, np.arange(len(whole)), whole)
    for begin in range(0, len(order), _ROWS):
        check_time()  # of a page deep in the list there are millions
        rows = order[begin : begin + _ROWS]
        for clip_id, number in zip(
            clip_ids.ravel()[rows].tolist(), numbers.ravel()[rows].tolist(), strict=True
        ):
            if clip_id in candidates:
                candidates[clip_id].append(number)
            elif clip_id >= 0 and len(candidates) < limit:
                candidates[clip_id] = [number]
    return candidates
