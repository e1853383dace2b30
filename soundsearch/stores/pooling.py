"""One vector for each stretch of a clip: by these, clips are compared as wholes, many at once.

A stretch is about ten seconds, and a shorter clip is one stretch. Longer clips have several, each
half over the next, so that what is heard for a moment is not drowned in an hour, and lies whole in
one of them unless it takes longer than five seconds. A stretch's vector is the mean of its
segments' vectors, weighted by loudness, as the default ranking pools.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..vectors import loudness_weights, unit
from .records import Settings

__all__ = ["nearest_clips", "pieces", "pool", "stretch_counts", "stretch_length"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_SECONDS = 10.0
_LONGEST = 1 << 20


def stretch_length(settings: Settings) -> int:
    """How many segments a stretch has: as many as a clip of ten seconds."""
    return min(_LONGEST, math.ceil(round(_SECONDS / settings.hop, 6)))


def stretch_counts(counts: Ints, length: int) -> Ints:
    """How many stretches clips of so many segments have, int64 [n]."""
    more: Ints = np.maximum(0, -((length - counts) // _step(length)))
    return 1 + more


def _step(length: int) -> int:
    return -(-length // 2)


def pieces(count: int, length: int, most: int) -> Iterator[tuple[int, int]]:
    """Parts of a clip of `count` segments, first and last: their stretches are the clip's.

    Each has about `most` segments, unless a stretch is longer.
    """
    step = _step(length)
    stretches = max(2, most // step)
    begin = 0
    # The last part keeps two stretches, as a single one might begin too late.
    while stretch_counts(np.array([count - begin]), length)[0] > stretches + 1:
        yield begin, begin + (stretches - 1) * step + length
        begin += stretches * step
    yield begin, count


def pool(vectors: Floats, levels: Floats, counts: Ints, length: int) -> Floats:
    """The vectors of the stretches of clips, one clip after the other.

    Parameters
    ----------
    vectors : float32 [n, d]
        Of all segments of the clips, as the encoder gave them.
    levels : float32 [n]
        In dB.
    counts : int64 [clips]
        How many segments each clip has; their sum is n.
    length : int
        Of a stretch, in segments.

    Returns
    -------
    float32 [m, d]
        Unit length; zero where a segment is damaged, or where they cancel out.
    """
    if not len(counts):
        return np.empty((0, vectors.shape[1]), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # vectors that a disk damaged
        weighted = vectors * loudness_weights(levels)[:, None]
        begins, widths = _stretches(counts, length)
        offsets = np.cumsum(widths) - widths
        if len(begins) > len(counts):  # they overlap
            weighted = weighted[np.arange(widths.sum()) + np.repeat(begins - offsets, widths)]
        pooled = unit(np.add.reduceat(weighted, offsets, axis=0))
    pooled[~np.isfinite(pooled).all(axis=1)] = 0
    return pooled


def _stretches(counts: Ints, length: int) -> tuple[Ints, Ints]:
    """Where each stretch begins among the segments of all clips, and how many it has."""
    numbers = stretch_counts(counts, length)
    clips = np.repeat(np.arange(len(counts)), numbers)
    number = np.arange(len(clips)) - (np.cumsum(numbers) - numbers)[clips]
    widths = np.minimum(counts, length)[clips]
    # The last one ends where the clip ends.
    begins = np.minimum(number * _step(length), counts[clips] - widths)
    return begins + (np.cumsum(counts) - counts)[clips], widths


def nearest_clips(
    questions: Ints, clip_ids: Ints, scores: Floats, count: int, k: int
) -> tuple[Ints, Floats]:
    """The clips nearest to each of `count` questions, each clip once by its best score.

    Parameters
    ----------
    questions, clip_ids : int64 [n]
        Which clip was found for which question; those with an id of -1 are passed over.
    scores : float32 [n]
    count, k : int

    Returns
    -------
    clip_ids : int64 [count, m]
        Nearest first, ties by id, m <= k; padded with -1.
    scores : float32 [count, m]
        Padded with -inf.
    """
    found = clip_ids >= 0
    questions, clip_ids, scores = questions[found], clip_ids[found], scores[found]
    order = np.lexsort((-scores, clip_ids, questions))
    questions, clip_ids, scores = questions[order], clip_ids[order], scores[order]
    is_best = np.ones(len(order), np.bool_)
    is_best[1:] = (questions[1:] != questions[:-1]) | (clip_ids[1:] != clip_ids[:-1])
    questions, clip_ids, scores = questions[is_best], clip_ids[is_best], scores[is_best]
    order = np.lexsort((clip_ids, -scores, questions))
    questions, clip_ids, scores = questions[order], clip_ids[order], scores[order]
    per_question = np.bincount(questions, minlength=count)
    rank = np.arange(len(order)) - (np.cumsum(per_question) - per_question)[questions]
    width = min(k, int(per_question.max(initial=0)))
    kept = rank < width
    ids = np.full((count, width), -1, np.int64)
    best = np.full((count, width), -np.inf, np.float32)
    ids[questions[kept], rank[kept]] = clip_ids[kept]
    best[questions[kept], rank[kept]] = scores[kept]
    return ids, best
