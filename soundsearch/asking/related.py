"""Ranking by the company a clip keeps.

A clip is moved towards those nearest to it, and so is the question; how near they are then tells
more than how near they were. No graph is kept for it: the company is looked for among the clips
nearest to the question, which on ESC-50 folds 1-3 finds as much as the company among all
(``python -m benchmarks.ranking``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.products import product

from ..results import Hit
from ..stores.base import Reading
from ..stores.filters import Filter
from ..stores.records import Settings
from ..vectors import loudness_weights, unit
from .ranking import pool_query
from .searching import OnCompared, best_moments, moment_hits, not_told

__all__ = [
    "HEAD",
    "best_stretches",
    "find_related",
    "hits_of",
    "moved",
    "nearest",
    "reranked",
]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# How many of the nearest clips move a clip, each by the cube of its cosine.
COMPANY = 6
# How many of the clips nearest to a question are ranked by their company. The rest follow as near
# as they are; always the same number, so that pages are parts of one list.
HEAD = 200
_WIDEN = 4


def reranked(along: Floats, near: Floats) -> Floats:
    """How near clips are to a question when each of them has been moved towards its company.

    Parameters
    ----------
    along : float32 [d]
        The question, of unit length.
    near : float32 [n, d]
        The clips nearest to it, of unit length; each other's company, and the question's.

    Returns
    -------
    float32 [n]
        Cosines.
    """
    together = np.concatenate([along[None], near])
    company = moved(together, product(together, together.T))
    scores: Floats = company[1:] @ company[0]
    return scores


def moved(vectors: Floats, cosines: Floats) -> Floats:
    """Move each vector towards its company among the others.

    Parameters
    ----------
    vectors : float32 [n, d]
        Of unit length.
    cosines : float32 [n, n]
        Of each to each; below 0 where two are to be no company.

    Returns
    -------
    float32 [n, d]
        Of unit length.
    """
    count = min(COMPANY + 1, len(vectors))  # the nearest is the vector itself
    least = np.partition(cosines, -count, axis=1)[:, -count, None]
    weights = np.where(cosines >= least, np.maximum(cosines, 0) ** 3, 0)
    return unit(product(weights, vectors))


def nearest(
    reading: Reading, along: Floats, wanted: int, filter: Filter | None, without: frozenset[int]
) -> list[tuple[Ints, Floats]]:
    """The ids of the clips nearest to each of some vectors, and their cosines.

    At least as many as are wanted, if there are, without some; see `Reading.search_pooled`.
    """
    left_out = np.fromiter(without, np.int64, len(without))
    count = wanted + min(wanted, len(left_out))
    while True:
        ids, cosines = reading.search_pooled(along, count, filter)
        kept = (ids >= 0) & ~np.isin(ids, left_out)
        if ids.shape[1] < count or kept.sum(axis=1).min(initial=count) >= wanted:
            return [(ids[row, each], cosines[row, each]) for row, each in enumerate(kept)]
        count *= _WIDEN


def best_stretches(reading: Reading, clip_ids: Ints, along: Floats) -> Floats:
    """For each clip the vector of its stretch that is nearest to one of some vectors.

    Raises
    ------
    ClipChanged
    """
    owners, vectors = reading.pooled(clip_ids)
    if len(owners) == len(clip_ids):
        return vectors
    cosines = product(vectors, along.T).max(axis=1)
    order = np.lexsort((-cosines, owners))
    return vectors[order[np.searchsorted(owners, np.arange(len(clip_ids)))]]


def find_related(
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
    on_compared: OnCompared = not_told,
) -> list[Hit]:
    """Find the clips nearest to a query by the company that they keep; see `find_hits`."""
    weights = loudness_weights(levels)
    along = unit(pool_query(query, weights))
    [(ids, scores)] = nearest(reading, along, max(HEAD, offset + k), filter, without)
    if not len(ids):
        return []
    near = reranked(along[0], best_stretches(reading, ids[:HEAD], along))
    order = np.lexsort((ids[:HEAD], -near))
    ids = np.concatenate([ids[:HEAD][order], ids[HEAD:]])
    scores = np.concatenate([near[order], np.minimum(scores[HEAD:], near.min())])
    shown = slice(offset, offset + k)
    ids, scores = ids[shown], scores[shown]
    kept = scores >= min_score
    found = ids[kept], scores[kept], "pooled", offset
    return hits_of(reading, settings, query, weights, *found, on_compared)


def hits_of(
    reading: Reading,
    settings: Settings,
    query: Floats,
    weights: Floats,
    clip_ids: Ints,
    scores: Floats,
    ranking: str,
    offset: int,
    on_compared: OnCompared = not_told,
) -> list[Hit]:
    """Hits of clips with these scores, each with the moment that a ranking names.

    Raises
    ------
    ClipChanged
    """
    counts, ids = reading.lengths(clip_ids).tolist(), clip_ids.tolist()
    whole = [(clip_id, 0, count) for clip_id, count in zip(ids, counts, strict=True)]
    best = best_moments(reading, query, weights, whole, ranking, on_compared)
    return moment_hits(reading, settings, ids, scores.tolist(), best, offset)
