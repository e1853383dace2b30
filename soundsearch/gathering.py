"""Many clips at once, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .labels.vocabulary import Vocabulary
from .stores.base import Reading
from .stores.records import StoredClip
from .vectors import loudness_weights

__all__ = ["label_scores", "pooled", "portions"]

# Segments that are in memory at a time, unless one clip has more; and clips.
_SEGMENTS = 16_384
_CLIPS = 4096


def portions(clips: Sequence[StoredClip]) -> Iterator[Sequence[StoredClip]]:
    """Clips, in order, in parts whose segments fit the memory."""
    begin = segments = 0
    for end, clip in enumerate(clips):
        segments += clip.count
        if end > begin and (segments > _SEGMENTS or end - begin >= _CLIPS):
            yield clips[begin:end]
            begin, segments = end, clip.count
    if begin < len(clips):
        yield clips[begin:]


def pooled(reading: Reading, clips: Sequence[StoredClip], dimension: int) -> NDArray[np.float32]:
    """The mean embedding of each clip, its segments weighted by level, float32 [n, dimension]."""
    out = np.empty((len(clips), dimension), np.float32)
    done = 0
    for part in portions(clips):
        vectors, segments = reading.rows([(clip.id, 0, clip.count) for clip in part])
        counts = np.array([clip.count for clip in part])
        starts = np.cumsum(counts) - counts
        weights = loudness_weights(segments["level"])
        weights /= np.repeat(np.add.reduceat(weights, starts), counts)
        out[done : done + len(part)] = np.add.reduceat(vectors * weights[:, None], starts)
        done += len(part)
    return out


def label_scores(clips: Sequence[StoredClip], vocabulary: Vocabulary) -> NDArray[np.float32]:
    """What is known of each class, as filters take it, float32 [n, classes]: see `Clips.labels`."""
    rows, classes, scores = [], [], []
    for row, clip in enumerate(clips):
        known = [
            *clip.record.labels.tolist(),
            *((index, 1.0) for index in clip.record.human_labels),
        ]
        for index, score in known:
            if index < len(vocabulary):
                rows.append(row)
                classes.append(index)
                scores.append(score)
    out = np.zeros((len(clips), len(vocabulary)), np.float32)
    # Each label counts for its own class and for those above it.
    reaches = vocabulary.reached()
    labels, reached = np.nonzero(reaches[:, np.array(classes, np.int64)].T)
    places = np.array(rows, np.int64)[labels], reached
    np.maximum.at(out, places, np.array(scores, np.float32)[labels])
    return out
