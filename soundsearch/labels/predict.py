"""Labels of segments and clips, predicted from embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.logmel import SILENT

from ..stores.records import LABEL
from ..vectors import loudness_weights
from .head import ClipPool, Head, best_labels, silence

__all__ = ["predict"]

# How many rows are scored at a time: some megabytes of scores.
_ROWS = 1024


def predict(
    head: Head,
    clips: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    per_segment: int,
    per_clip: int,
) -> list[tuple[NDArray[np.void], NDArray[np.void]]]:
    """Predict the labels of several clips at once.

    Parameters
    ----------
    head : Head
    clips : sequence of (float32 [n, dimension], float32 [n])
        Embeddings and levels in dB of a clip's n segments. Near-silent segments get only the
        label Silence, and count for the clip only if there are no others; of the others,
        louder ones count more where the head's pooling says so.
    per_segment, per_clip : int
        The most labels to keep.

    Returns
    -------
    list of (LABEL [n, per_segment], LABEL [per_clip])
        Best first.
    """
    if not clips:
        return []
    levels = np.concatenate([loudness for _, loudness in clips])
    lengths = [len(loudness) for _, loudness in clips]
    silent, shares = levels < SILENT, loudness_weights(levels)
    owner = np.repeat(np.arange(len(clips)), lengths)
    segment_labels = np.empty((len(silent), per_segment), LABEL)
    segment_labels[silent] = silence(per_segment)
    embeddings = np.concatenate([vectors for vectors, _ in clips])
    sounding = np.flatnonzero(~silent)
    audible = np.flatnonzero(np.bincount(owner[sounding], minlength=len(clips)))
    clip_labels = np.tile(silence(per_clip), (len(clips), 1))
    pool = ClipPool(head, len(clips))
    for begin in range(0, len(sounding), _ROWS):
        rows = sounding[begin : begin + _ROWS]
        scores = head.scores(embeddings[rows])
        segment_labels[rows] = best_labels(scores, per_segment)
        if head.pools_scores:
            pool.add(scores, shares[rows], owner[rows])
    if len(audible):
        if head.pools_scores:
            scores = pool.pooled()[audible].astype(np.float32)
        else:
            starts = np.searchsorted(owner[sounding], audible)
            scores = head.clip_scores(embeddings[sounding], shares[sounding], starts)
        clip_labels[audible] = best_labels(scores, per_clip)
    ends = np.cumsum(lengths)
    return [
        (segment_labels[end - length : end], labels)
        for end, length, labels in zip(ends, lengths, clip_labels, strict=True)
    ]
