"""New clips on a map that is there: what is on it stays where it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .methods import nearest, one_thread

__all__ = ["beside"]

Floats = NDArray[np.float32]

# Of the clips on the map, so many decide where a new one goes.
_NEAREST = 3


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
