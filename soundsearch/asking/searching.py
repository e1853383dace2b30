"""A query's embeddings -> the clips of a store that are nearest, best first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..labels.head import given, named
from ..results import Hit
from ..stores.base import ClipChanged, Reading
from ..stores.filters import Filter
from ..stores.records import Settings
from ..vectors import loudness_weights
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

Floats = NDArray[np.float32]


def find_hits(
    reading: Reading,
    settings: Settings,
    query: Floats,
    levels: Floats,
    k: int,
    ranking: str,
    filter: Filter | None = None,
) -> list[Hit]:
    """Find the clips nearest to a query; each candidate is scored exactly from stored vectors.

    Parameters
    ----------
    reading : Reading
    settings : Settings
        Of the store that is read.
    query : float32 [m, dimension]
    levels : float32 [m]
        dB.
    k : int
    ranking : str
        One of `RANKINGS`.
    filter : Filter, optional
        Which clips may be found.

    Raises
    ------
    ClipChanged
        A clip was removed or replaced between two steps: ask another reading.
    """
    candidates = _candidates(reading, query, levels, k, filter)
    lengths = reading.lengths(np.fromiter(candidates, np.int64, len(candidates)))
    stretches = [
        (clip_id, first, last)
        for (clip_id, hits), count in zip(candidates.items(), lengths.tolist(), strict=True)
        for first, last in spans(hits, len(query) - 1, count)
    ]
    if not stretches:
        return []
    vectors, segments = reading.rows(stretches)
    starts = np.cumsum([0] + [last - first for _, first, last in stretches[:-1]])
    scores, moments = RANKINGS[ranking](
        query, loudness_weights(levels), vectors, loudness_weights(segments["level"]), starts
    )
    best: dict[int, tuple[float, int, int]] = {}
    rows = zip(stretches, scores.tolist(), moments.tolist(), starts.tolist(), strict=True)
    for (clip_id, first, _), score, row, begin in rows:
        if clip_id not in best or score > best[clip_id][0]:
            best[clip_id] = (score, first + row - begin, row)
    # By score; equals by id, so that their order never changes.
    order = sorted(best, key=lambda clip_id: (-best[clip_id][0], clip_id))[:k]
    clips = reading.clips_by_id(order)
    hits: list[Hit] = []
    for rank, clip_id in enumerate(order, 1):
        score, moment, row = best[clip_id]
        if clip_id not in clips:
            raise ClipChanged(f"clip {clip_id} was removed")
        record = clips[clip_id].record
        start = moment * settings.hop
        hits.append(
            Hit(
                rank=rank,
                score=score,
                uri=record.uri,
                start=start,
                end=min(start + settings.segment_seconds, record.duration),
                labels=named(segments["labels"][row]),
                clip_id=clip_id,
                human_labels=given(record.human_labels),
                tags=dict(record.tags),
                warning=record.warning,
            )
        )
    return hits


def _candidates(
    reading: Reading, query: Floats, levels: Floats, k: int, filter: Filter | None
) -> dict[int, list[int]]:
    """Clips near a query, each with its segments that are, widened until there are `k`.

    Those with the best segments are kept, some times more than wanted: the order among them
    is settled by scores of whole clips.
    """
    chosen = query
    if len(query) > _SEARCH_SEGMENTS:
        chosen = query[np.linspace(0, len(query) - 1, _SEARCH_SEGMENTS).astype(int)]
    searched = np.concatenate((chosen, pool_query(query, loudness_weights(levels))))
    wanted = max(_SEGMENTS, _SEGMENTS_PER_CLIP * k)
    while True:
        clip_ids, numbers, scores = reading.search(searched, wanted, filter)
        found = len(set(clip_ids[clip_ids >= 0].tolist()))
        if found >= k:
            break
        counts = reading.counts(filter)  # not for nothing in every store
        if found >= counts.clips or wanted >= counts.segments:
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
