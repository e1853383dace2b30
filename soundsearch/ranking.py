"""Segment vectors of a query and of a clip -> the clip's score and the moment that matched.

Pure functions on arrays. Vectors come as the encoder gave them: a mean of raw vectors gives
loud, clear segments their weight, which a mean of unit vectors would take away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from .stores.index import unit

__all__ = ["DEFAULT_RANKING", "RANKINGS", "Ranking", "pool_query", "spans"]

Vectors = NDArray[np.float32]
Ranking = Callable[[Vectors, Vectors, NDArray[np.bool_]], tuple[float, int]]


def pool_query(query: Vectors) -> Vectors:
    """The mean of a query's raw segment vectors, float32 [1, d]."""
    mean: Vectors = query.mean(axis=0, keepdims=True)
    return mean


def _pooled(query: Vectors, clip: Vectors, silent: NDArray[np.bool_]) -> tuple[float, int]:
    """Cosine of mean-pooled vectors, over the clip's best window as long as the query.

    A clip no longer than the query is pooled whole; in a longer one, pooling over everything
    would drown a short event. Near-silent segments do not count where there are others.
    """
    weights = np.ones(len(clip)) if silent.all() else (~silent).astype(np.float64)
    sums = np.zeros((len(clip) + 1, clip.shape[1]))
    np.cumsum(clip * weights[:, None], axis=0, out=sums[1:])
    length = min(len(query), len(clip))
    windows = (sums[length:] - sums[:-length]).astype(np.float32)
    scores = (unit(windows) @ unit(pool_query(query)).T)[:, 0]
    best = int(np.argmax(scores))
    pairs = unit(clip[best : best + length]) @ unit(query).T
    return float(scores[best]), best + int(np.argmax(pairs.max(axis=1)))


def _mean_best(query: Vectors, clip: Vectors, silent: NDArray[np.bool_]) -> tuple[float, int]:
    """Mean over the query's segments of the best match anywhere in the clip."""
    pairs = unit(clip) @ unit(query).T
    return float(pairs.max(axis=0).mean()), int(np.argmax(pairs.max(axis=1)))


def _best_pair(query: Vectors, clip: Vectors, silent: NDArray[np.bool_]) -> tuple[float, int]:
    """The nearest pair of segments: finds one sound inside another."""
    pairs = (unit(clip) @ unit(query).T).max(axis=1)
    best = int(np.argmax(pairs))
    return float(pairs[best]), best


# Each takes the query's vectors [m, d], the clip's [n, d] and which of those are near-silent
# [n], and gives a score (cosine, -1 to 1) and the number of the segment that matched best.
RANKINGS: dict[str, Ranking] = {
    "pooled": _pooled,
    "mean-best": _mean_best,
    "best-pair": _best_pair,
}
DEFAULT_RANKING = "pooled"


def spans(hits: Iterable[int], reach: int, count: int) -> list[tuple[int, int]]:
    """Stretches of a clip around the segments that were hit.

    Parameters
    ----------
    hits : iterable of int
        Segment numbers.
    reach : int
        How far a window that holds a hit can extend to either side, in segments.
    count : int
        Segments in the clip.

    Returns
    -------
    list of (first, last)
        Ascending, disjoint, half-open; together they hold every window that holds a hit.
    """
    merged: list[tuple[int, int]] = []
    for hit in sorted(set(hits)):
        first, last = max(0, hit - reach), min(count, hit + reach + 1)
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged
