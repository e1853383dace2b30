"""New clips on a map that is there: what is on it stays where it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .methods import nearest, one_thread

__all__ = ["OldMap", "beside"]

Floats = NDArray[np.float32]

# Of the clips on the map, so many decide where a new one goes.
_NEAREST = 3


@dataclass(frozen=True, eq=False)
class OldMap:
    """Where clips are on a map, by `marks_of` the digests of their content.

    Attributes
    ----------
    name : str
        What it is called in messages.
    space, method : str
    marks : uint64 [n]
        Ascending, each once.
    places : float32 [n, 2]
    """

    name: str
    space: str
    method: str
    marks: NDArray[np.uint64]
    places: Floats

    @classmethod
    def of(
        cls, name: str, space: str, method: str, marks: NDArray[np.uint64], places: Floats
    ) -> OldMap:
        """A map of clips with these marks at these places; of those with one mark, the first."""
        different, first = np.unique(marks, return_index=True)
        return cls(name, space, method, different, places[first])

    def __len__(self) -> int:
        return len(self.marks)

    def found(self, marks: NDArray[np.uint64]) -> tuple[Floats, NDArray[np.bool_]]:
        """The places of clips, float32 [n, 2], and whether they are on the map, bool [n]."""
        if not len(self):
            return np.zeros((len(marks), 2), np.float32), np.zeros(len(marks), np.bool_)
        at = np.minimum(np.searchsorted(self.marks, marks), len(self) - 1)
        is_there = self.marks[at] == marks
        places: Floats = np.where(is_there[:, None], self.places[at], 0).astype(np.float32)
        return places, is_there


def beside(known: Floats, places: Floats, asked: Floats, k: int = _NEAREST) -> Floats:
    """Places of new vectors among those that are nearest to them.

    Each goes to the median of the places of its nearest (Poličar, Stražar and Zupan, Embedding to
    reference t-SNE space addresses batch effects in single-cell classification, 2023): unlike a
    mean, it lies with the most of them where they lie apart.

    Parameters
    ----------
    known : float32 [n, d]
        Unit length, or zero; at least one.
    places : float32 [n, 2]
    asked : float32 [m, d]
    k : int
        How many of the known ones count.

    Returns
    -------
    float32 [m, 2]
    """
    with one_thread():
        ids, _ = nearest(known, asked, k)
    found: Floats = np.median(places[ids], axis=1).astype(np.float32)
    return found
