"""Which clips to ask about: those whose answers would help most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["asked_first", "asked_next", "farthest_first"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# The most uncertain clips, for each that is asked about: among these the most unlike.
_CANDIDATES = 4


def asked_next(units: Floats, logits: NDArray[np.float64], rows: Ints, count: int) -> Ints:
    """The clips that a model is least certain of, and of these such as are unlike each other.

    Uncertainty sampling: Lewis and Gale, A Sequential Algorithm for Training Text Classifiers
    (1994).

    Parameters
    ----------
    units : float32 [clips, dimension]
        Their mean embeddings, of length 1.
    logits : float64 [clips]
        Of the model: 0 where it does not know.
    rows : int64 [n]
        The clips that may be asked about.
    count : int
        How many are wanted.

    Returns
    -------
    int64 [m]
        m is `count`, or n where there are no more; the most uncertain first.
    """
    order = np.argsort(np.abs(logits[rows]), kind="stable")
    return farthest_first(units, rows[order[: _CANDIDATES * count]], count)


def asked_first(
    units: Floats, likeness: NDArray[np.float64] | None, yes: Ints, no: Ints, rows: Ints, count: int
) -> Ints:
    """The clips to ask about while there is no answer of one kind.

    Until one of them is of the class, half of them are the likeliest. The others are as unlike as
    can be to those that were answered: most of them will not be of it.

    Parameters
    ----------
    units, rows, count
        See `asked_next`.
    likeness : float64 [clips] or None
        How likely each is of the class, if anything is known of that.
    yes, no : int64 [n]
        The clips that were answered.
    """
    likely = np.empty(0, np.int64)
    if likeness is not None and not len(yes):
        likely = rows[np.argsort(-likeness[rows], kind="stable")][: (count + 1) // 2]
    known = np.concatenate([yes, no, likely])
    others = rows[~np.isin(rows, likely)]
    if not len(known) and len(others):  # a common clip first, as all are unlike to nothing
        central = others[np.argmax(units[others] @ units[others].mean(0))]
        others = np.concatenate([[central], others[others != central]])
    return np.concatenate([likely, farthest_first(units, others, count - len(likely), known)])


def farthest_first(units: Floats, rows: Ints, count: int, known: Ints | None = None) -> Ints:
    """Clips each of which is as unlike as can be to all before it, by cosine.

    Gonzalez, Clustering to Minimize the Maximum Intercluster Distance (1985).

    Parameters
    ----------
    units, count
        See `asked_next`.
    rows : int64 [n]
        Among which; without `known`, the first one is taken first.
    known : int64 [m], optional
        Clips that they are to be unlike to as well.
    """
    nearest = np.full(len(rows), -np.inf)
    for row in () if known is None else known:
        nearest = np.maximum(nearest, units[rows] @ units[row])
    chosen = np.zeros(0, np.int64)
    for _ in range(min(count, len(rows))):
        place = int(nearest.argmin())
        chosen = np.append(chosen, rows[place])
        nearest = np.maximum(nearest, units[rows] @ units[rows[place]])
        nearest[place] = np.inf
    return chosen
