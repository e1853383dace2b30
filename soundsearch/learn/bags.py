"""Clips as training sees them: bags of the embeddings of their segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bags", "balanced_weights", "joined"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Bags:
    """Clips, each with the embeddings of its segments and what it is.

    Attributes
    ----------
    vectors : float64 [n, dimension]
        Embeddings of the segments of all clips, one clip after the other.
    shares : float64 [n]
        How much a segment counts in its clip, above 0; of each clip they sum to 1.
    starts : int64 [clips]
        Where each clip begins; none is without segments.
    targets : float64 [clips, classes]
        How true each class is of each clip, in [0, 1]. Where a clip has one label, rows sum to 1.
    weights : float64 [clips, 1] or [clips, classes]
        How much each clip counts, or each of its answers.
    """

    vectors: Floats
    shares: Floats
    starts: Ints
    targets: Floats
    weights: Floats

    def __repr__(self) -> str:
        return f"<Bags, {len(self)} clips, {len(self.vectors)} segments>"

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Ints:
        """How many segments each clip has, int64 [clips]."""
        return np.diff(self.starts, append=len(self.vectors))

    def take(self, clips: Ints) -> Bags:
        """Some of the clips, in any order, a clip once or more often."""
        lengths = self.lengths[clips]
        starts = np.cumsum(lengths) - lengths
        rows = np.arange(lengths.sum()) + np.repeat(self.starts[clips] - starts, lengths)
        return Bags(
            self.vectors[rows], self.shares[rows], starts, self.targets[clips], self.weights[clips]
        )

    def blocks(self, most: int) -> Iterator[Bags]:
        """The clips in order, of at most so many segments each unless a clip has more; views."""
        ends = np.append(self.starts[1:], len(self.vectors))
        first = 0
        while first < len(self):
            begin = self.starts[first]
            last = max(first + 1, int(np.searchsorted(ends, begin + most, side="right")))
            yield Bags(
                self.vectors[begin : ends[last - 1]],
                self.shares[begin : ends[last - 1]],
                self.starts[first:last] - begin,
                self.targets[first:last],
                self.weights[first:last],
            )
            first = last

    def means(self) -> Floats:
        """The mean embedding of each clip, its segments weighted by their shares."""
        means: Floats = np.add.reduceat(self.vectors * self.shares[:, None], self.starts, axis=0)
        return means

    def collapsed(self) -> Bags:
        """Each clip with its mean embedding as its only segment."""
        count = len(self)
        return replace(self, vectors=self.means(), shares=np.ones(count), starts=np.arange(count))

    def unit(self) -> Bags:
        """The embeddings of segments scaled to length 1."""
        lengths = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        return replace(self, vectors=self.vectors / np.where(lengths > 0, lengths, 1))

    def evened(self) -> Bags:
        """Each segment of a clip with the same share."""
        return replace(self, shares=np.repeat(1 / self.lengths, self.lengths))


def joined(parts: Sequence[Bags]) -> Bags:
    """The clips of several, one after the other."""
    if len(parts) == 1:
        return parts[0]
    ahead = np.cumsum([0, *(len(part.vectors) for part in parts[:-1])])
    starts = [part.starts + first for part, first in zip(parts, ahead, strict=True)]
    return Bags(
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.shares for part in parts]),
        np.concatenate(starts),
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.weights for part in parts]),
    )


def balanced_weights(targets: Floats, *, one_label: bool) -> Floats:
    """Weights with which every class counts as much as another, whatever its number of clips.

    Of several labels a clip, those of and against a class count as much as each other: King and
    Zeng, Logistic Regression in Rare Events Data (2001).

    Parameters
    ----------
    targets : float64 [clips, classes]
        0 or 1.
    one_label : bool

    Returns
    -------
    float64 [clips, 1] if `one_label`, else [clips, classes]
        Their mean is 1.
    """
    count, classes = targets.shape
    positive = np.maximum(targets.sum(0), 1)
    if one_label:
        weights: Floats = (targets @ (count / (classes * positive)))[:, None]
        return weights
    negative = np.maximum(count - targets.sum(0), 1)
    both: Floats = np.where(targets > 0, count / (2 * positive), count / (2 * negative))
    return both
