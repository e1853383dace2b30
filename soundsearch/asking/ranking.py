"""Scoring clips against a query, and finding the moments that match.

Pure functions on arrays. Vectors are as the encoder gave them, and are weighted by loudness: the
sound of a clip is in its loud segments; the others hold room and noise. On ESC-50 folds 1-3 this
raises the mean average precision from 0.62, with silence left out, to 0.64
(``python -m benchmarks.ranking``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.products import product

from ..vectors import unit

__all__ = ["DEFAULT_RANKING", "RANKINGS", "RELATED", "Ranking", "pool_query", "spans"]

Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]
Ranking = Callable[[Vectors, Vectors, Vectors, Vectors, Ints], tuple[Vectors, Ints]]


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
    sums = np.zeros((len(vectors) + 1, vectors.shape[1]))
    np.cumsum(vectors * weights[:, None], axis=0, dtype=np.float64, out=sums[1:])
    widths = np.minimum(len(query), lengths)
    counts = lengths - widths + 1
    first_windows = np.cumsum(counts) - counts
    begins = np.arange(counts.sum()) + np.repeat(starts - first_windows, counts)
    ends = begins + np.repeat(widths, counts)
    windows = (sums[ends] - sums[begins]).astype(np.float32)
    scores = product(unit(windows), unit(pool_query(query, query_weights)).T)[:, 0]
    best = _first_best(scores, first_windows)
    pairs = product(unit(vectors), unit(query).T).max(axis=1)
    offsets = np.cumsum(widths) - widths
    within = np.arange(widths.sum()) + np.repeat(begins[best] - offsets, widths)
    return scores[best], within[_first_best(pairs[within], offsets)]


def _mean_best(
    query: Vectors, query_weights: Vectors, vectors: Vectors, weights: Vectors, starts: Ints
) -> tuple[Vectors, Ints]:
    """Mean, over the query's segments, of the best match anywhere in the span."""
    pairs = product(unit(vectors), unit(query).T)
    means = np.maximum.reduceat(pairs, starts, axis=0) @ (query_weights / query_weights.sum())
    return means, _first_best(pairs.max(axis=1), starts)


def _best_pair(
    query: Vectors, query_weights: Vectors, vectors: Vectors, weights: Vectors, starts: Ints
) -> tuple[Vectors, Ints]:
    """Cosine of the nearest pair of segments: finds one sound inside another."""
    pairs = product(unit(vectors), unit(query).T).max(axis=1)
    best = _first_best(pairs, starts)
    return pairs[best], best


def _first_best(scores: Vectors, starts: Ints) -> Ints:
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
