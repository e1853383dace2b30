"""Scoring clips against a query, and finding the moments that match.

Pure functions on arrays. Vectors are as the encoder gave them, and are weighted by loudness: the
sound of a clip is in its loud segments; the others hold room and noise. On ESC-50 folds 1-3 this
raises the mean average precision from 0.62, with silence left out, to 0.64
(``python -m benchmarks.ranking``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.products import product

from ..stores.base import Span
from ..vectors import unit

__all__ = [
    "DEFAULT_RANKING",
    "RANKINGS",
    "RELATED",
    "Ranking",
    "first_best",
    "pool_query",
    "span_blocks",
    "spans",
    "window",
]

Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]
Ranking = Callable[[Vectors, Vectors, Vectors, Vectors, Ints], tuple[Vectors, Ints]]

# A longer query is compared one by one with this many of its segments, which takes a second where
# all would take minutes; what is pooled of it is pooled of all. 16 minutes at 0.96 s. Measured with
# `benchmarks.long`.
_ONE_BY_ONE = 1024
# A window of a clip is no longer than this, so that memory is bounded: 35 hours at 0.96 s.
_WIDEST = 1 << 17
# Rows that are scored at a time, and cosines that are held at a time.
_ROWS = 1 << 15
# Windows of up to so many segments are added up one by one, which takes a fifth of the time.
_NARROW = 16
_PAIRS = 1 << 22


def pool_query(query: Vectors, query_weights: Vectors) -> Vectors:
    """The weighted mean of a query's raw segment vectors, float32 [1, d]."""
    mean: Vectors = query_weights[None] @ query / query_weights.sum()
    return mean


def _pooled(
    query: Vectors, query_weights: Vectors, vectors: Vectors, weights: Vectors, starts: Ints
) -> tuple[Vectors, Ints]:
    """Cosine of mean-pooled vectors, in the best window of the query's length.

    A span no longer than the query is pooled whole; pooling all of a longer one would drown a
    short event.
    """
    lengths = np.diff(starts, append=len(vectors))
    widths = np.minimum(window(len(query)), lengths)
    counts = lengths - widths + 1
    first_windows = np.cumsum(counts) - counts
    begins = np.arange(counts.sum()) + np.repeat(starts - first_windows, counts)
    ends = begins + np.repeat(widths, counts)
    scores = _window_scores(unit(pool_query(query, query_weights)), vectors, weights, begins, ends)
    best = first_best(scores, first_windows)
    offsets = np.cumsum(widths) - widths
    within = np.arange(widths.sum()) + np.repeat(begins[best] - offsets, widths)
    nearest = np.empty(len(within), np.float32)
    for rows, pairs in _pairs(query[_compared(len(query))], vectors, within):
        nearest[rows] = pairs.max(axis=1)
    return scores[best], within[first_best(nearest, offsets)]


def _window_scores(
    along: Vectors, vectors: Vectors, weights: Vectors, begins: Ints, ends: Ints
) -> Vectors:
    """Cosines of the sums of windows, which begin in ascending order, to a unit vector [1, d]."""
    lengths = ends - begins
    if len(begins) <= _ROWS and lengths.max() <= _NARROW:
        weighted = vectors * weights[:, None]
        sums_of_few = np.zeros((len(begins), vectors.shape[1]), np.float32)
        for offset in range(lengths.max()):
            there = np.flatnonzero(lengths > offset)
            sums_of_few[there] += weighted[begins[there] + offset]
        return product(unit(sums_of_few), along.T)[:, 0]
    scores = np.empty(len(begins), np.float32)
    first = 0
    while first < len(begins):
        begin = begins[first]
        last = int(np.searchsorted(begins, begin + _ROWS))
        rows = slice(begin, ends[last - 1])
        sums = np.zeros((rows.stop - begin + 1, vectors.shape[1]))
        np.multiply(vectors[rows], weights[rows, None], out=sums[1:])
        np.cumsum(sums[1:], axis=0, out=sums[1:])
        windows = sums[ends[first:last] - begin] - sums[begins[first:last] - begin]
        scores[first:last] = product(unit(windows.astype(np.float32)), along.T)[:, 0]
        first = last
    return scores


def _mean_best(
    query: Vectors, query_weights: Vectors, vectors: Vectors, weights: Vectors, starts: Ints
) -> tuple[Vectors, Ints]:
    """Mean, over the query's segments, of the best match anywhere in the span."""
    compared = _compared(len(query))
    nearest = np.empty(len(vectors), np.float32)
    best = np.full((len(starts), len(compared)), -np.inf, np.float32)
    for rows, pairs in _pairs(query[compared], vectors):
        nearest[rows] = pairs.max(axis=1)
        first = int(np.searchsorted(starts, rows.start, side="right")) - 1
        edges = np.append(starts[first : np.searchsorted(starts, rows.stop)], rows.stop)
        for span, part in enumerate(pairwise((edges - rows.start).tolist()), first):
            own = pairs[max(0, part[0]) : part[1]]  # reduceat takes ten times as long
            np.maximum(best[span], own.max(axis=0), out=best[span])
    shares = query_weights[compared]
    return best @ (shares / shares.sum()), first_best(nearest, starts)


def _best_pair(
    query: Vectors, query_weights: Vectors, vectors: Vectors, weights: Vectors, starts: Ints
) -> tuple[Vectors, Ints]:
    """Cosine of the nearest pair of segments: finds one sound inside another."""
    nearest = np.empty(len(vectors), np.float32)
    for rows, pairs in _pairs(query[_compared(len(query))], vectors):
        nearest[rows] = pairs.max(axis=1)
    best = first_best(nearest, starts)
    return nearest[best], best


def window(count: int) -> int:
    """How many segments of a clip are compared at once with a query of so many."""
    return min(count, _WIDEST)


def _compared(count: int) -> Ints:
    """Which of a query's segments are compared one by one, of a long one evenly spread."""
    if count <= _ONE_BY_ONE:
        return np.arange(count)
    return np.linspace(0, count - 1, _ONE_BY_ONE).astype(np.int64)


def _pairs(
    query: Vectors, vectors: Vectors, chosen: Ints | None = None
) -> Iterator[tuple[slice, Vectors]]:
    """Cosines of vectors, all or some rows of them, to each of the query's, a block at a time."""
    columns = np.ascontiguousarray(unit(query).T)
    count = len(vectors) if chosen is None else len(chosen)
    step = max(1, _PAIRS // len(query))
    for begin in range(0, count, step):
        rows = slice(begin, min(count, begin + step))
        yield rows, product(unit(vectors[rows if chosen is None else chosen[rows]]), columns)


def first_best(scores: Vectors, starts: Ints) -> Ints:
    """The index of the highest score in each group; groups begin at `starts`."""
    lengths = np.diff(starts, append=len(scores))
    highest = np.repeat(np.maximum.reduceat(scores, starts), lengths)
    places = np.where(scores == highest, np.arange(len(scores)), len(scores))
    first: Ints = np.minimum.reduceat(places, starts)
    return first


# Arguments: the query's vectors [m, d] and weights [m], the concatenated vectors of spans of clips
# [n, d], their weights [n], and the row where each span begins [s]. Returns: each span's score
# (cosine, -1 to 1) and the row of its best-matching segment [s].
RANKINGS: dict[str, Ranking] = {
    "pooled": _pooled,
    "mean-best": _mean_best,
    "best-pair": _best_pair,
}
DEFAULT_RANKING = "pooled"
# By the company that clips keep, which is no score of one clip by itself: see `related`.
RELATED = "related"


def spans(hits: Iterable[int], reach: int, count: int) -> list[tuple[int, int]]:
    """Spans of a clip around the segments that were hit.

    Parameters
    ----------
    hits : iterable of int
        Segment numbers.
    reach : int
        How far a window with a hit may extend to either side, in segments.
    count : int
        The number of segments in the clip.

    Returns
    -------
    list of (first, last)
        Ascending, disjoint, half-open; together they cover every window with a hit.
    """
    if count <= reach + 1:
        return [(0, count)]
    merged: list[tuple[int, int]] = []
    for hit in sorted(set(hits)):
        first, last = max(0, hit - reach), min(count, hit + reach + 1)
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged


def span_blocks(found: Sequence[Span], width: int) -> Iterator[list[Span]]:
    """Spans of clips in blocks that fit into memory, each of which can be scored by itself.

    Parameters
    ----------
    found : sequence of (clip_id, first, last)
    width : int
        Segments that a window has at most: see `window`.

    Yields
    ------
    list of (clip_id, first, last)
        In the same order. A span with more windows than the widest is long is cut into parts, in
        one of which each window lies whole.
    """
    block: list[Span] = []
    held = 0
    for clip_id, first, last in found:
        # A part has so many windows; the next one begins with the window after them.
        for begin in range(first, max(first + 1, last - width + 1), _WIDEST):
            end = min(last, begin + _WIDEST + width - 1)
            if block and held + end - begin > _ROWS:
                yield block
                block, held = [], 0
            block.append((clip_id, begin, end))
            held += end - begin
    if block:
        yield block
