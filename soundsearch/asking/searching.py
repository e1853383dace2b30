"""A query's embeddings -> the clips of a store that are nearest, best first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..labels.head import given, named
from ..loudness import weights
from ..results import Hit
from ..stores.base import Store
from .ranking import RANKINGS, pool_query, spans

__all__ = ["find_hits"]

# Segments fetched for each segment of the query, and how many times more when they belong to
# too few clips.
_SEGMENTS_PER_CLIP = 5
_SEGMENTS = 50
_WIDEN = 4
# A longer query looks for candidates with this many of its segments; all of them rank.
_SEARCH_SEGMENTS = 64
# Candidate clips scored exactly for each one wanted, and at least.
_CLIPS_PER_RESULT = 5
_CLIPS = 100


def find_hits(
    store: Store,
    query: NDArray[np.float32],
    query_levels: NDArray[np.float32],
    k: int,
    ranking: str,
) -> list[Hit]:
    """Find the clips nearest to a query; each candidate is scored exactly from stored vectors.

    Parameters
    ----------
    store : Store
    query : float32 [m, dimension]
    query_levels : float32 [m]
        dB.
    k : int
    ranking : str
        One of `RANKINGS`.

    Raises
    ------
    KeyError
        A clip was removed or replaced between two steps: ask again.
    """
    candidates = _candidates(store, query, query_levels, k)
    lengths = store.lengths(np.fromiter(candidates, np.int64, len(candidates)))
    stretches = [
        (clip_id, first, last)
        for (clip_id, hits), count in zip(candidates.items(), lengths.tolist(), strict=True)
        for first, last in spans(hits, len(query) - 1, count)
    ]
    if not stretches:
        return []
    vectors, segments = store.rows(stretches)
    starts = np.cumsum([0] + [last - first for _, first, last in stretches[:-1]])
    scores, moments = RANKINGS[ranking](
        query, weights(query_levels), vectors, weights(segments["level"]), starts
    )
    best: dict[int, tuple[float, int, int]] = {}
    rows = zip(stretches, scores.tolist(), moments.tolist(), starts.tolist(), strict=True)
    for (clip_id, first, _), score, row, begin in rows:
        if clip_id not in best or score > best[clip_id][0]:
            best[clip_id] = (score, first + row - begin, row)
    # By score; equals by id, so that their order never changes.
    order = sorted(best, key=lambda clip_id: (-best[clip_id][0], clip_id))[:k]
    clips = store.clips_by_id(order)
    hits: list[Hit] = []
    for clip_id in order:
        score, moment, row = best[clip_id]
        clip = clips[clip_id]
        start = moment * store.settings.hop
        end = min(start + store.settings.segment_seconds, clip.duration)
        labels = named(segments["labels"][row])
        said = given(clip.human)
        hits.append(Hit(len(hits) + 1, score, clip.file.uri, start, end, labels, clip_id, said))
    return hits


def _candidates(
    store: Store, query: NDArray[np.float32], levels: NDArray[np.float32], k: int
) -> dict[int, list[int]]:
    """Clips near a query, each with its segments that are, widened until there are `k`.

    Those with the best segments are kept, some times more than wanted: the order among them
    is settled by scores of whole clips.
    """
    chosen = query
    if len(query) > _SEARCH_SEGMENTS:
        chosen = query[np.linspace(0, len(query) - 1, _SEARCH_SEGMENTS).astype(int)]
    searched = np.concatenate((chosen, pool_query(query, weights(levels))))
    wanted = max(_SEGMENTS, _SEGMENTS_PER_CLIP * k)
    while True:
        clip_ids, numbers, scores = store.search(searched, wanted)
        found = len(set(clip_ids[clip_ids >= 0].tolist()))
        if found >= k:
            break
        clips, segments, _ = store.counts()  # not for nothing in every store
        if found >= clips or wanted >= segments:
            break
        wanted *= _WIDEN
    limit = max(_CLIPS, _CLIPS_PER_RESULT * k)
    candidates: dict[int, list[int]] = {}
    order = np.argsort(-scores, axis=None, kind="stable")
    for clip_id, number in zip(
        clip_ids.ravel()[order].tolist(), numbers.ravel()[order].tolist(), strict=True
    ):
        if clip_id in candidates:
            candidates[clip_id].append(number)
        elif clip_id >= 0 and len(candidates) < limit:
            candidates[clip_id] = [number]
    return candidates
