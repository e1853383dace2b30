"""How shards keep vectors: as whole numbers of 8 bits of what lies between them and their cells.

Products of whole numbers take half the time that FAISS needs for its other 8-bit kinds, which make
floats of them, and what is between is small, so that less is lost. An index of an earlier version
keeps the vectors themselves, and is asked for them as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["are_whole", "choose_step", "kinds_of", "numbers_of", "question_of"]

Floats = NDArray[np.float32]

_HIGHEST = np.float32(127)


def are_whole(index: Any) -> bool:
    """Whether an index keeps such numbers; those of earlier versions do not."""
    import faiss

    whole: bool = index.sq.qtype == faiss.ScalarQuantizer.QT_8bit_direct_signed
    return whole


def choose_step(index: Any, between: Floats) -> None:
    """Have an index keep, of such differences, float32 [n, d], the largest as 127."""
    # FAISS has no use for this field of whole numbers, and stores it.
    index.sq.rangestat_arg = float(np.abs(between).max(initial=0)) or 1.0


def kinds_of(index: Any) -> tuple[bool, int, float]:
    """What indexes have in common that can be asked as one."""
    return index.by_residual, index.sq.qtype, index.sq.rangestat_arg


def numbers_of(index: Any, vectors: Floats, middles: Floats) -> Floats:
    """What an index keeps of vectors, each beside the middle of its cell, float32 [n, d]."""
    numbers = vectors - middles
    numbers *= _HIGHEST / np.float32(index.sq.rangestat_arg)
    np.clip(np.rint(numbers, out=numbers), -_HIGHEST, _HIGHEST, out=numbers)
    return numbers


def question_of(index: Any, queries: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """What an index is asked for queries and their cosines to the middles of cells.

    Parameters
    ----------
    index : faiss.IndexIVFScalarQuantizer
    queries : float32 [n, d]
        Of any length.
    scores : float32 [n, m]
    """
    if not are_whole(index):
        return queries, scores
    largest = np.abs(queries).max(axis=1, keepdims=True)
    largest[largest == 0] = 1
    scale = _HIGHEST / largest
    numbers: Floats = np.rint(queries * scale)
    return numbers, scores * (scale * (_HIGHEST / index.sq.rangestat_arg))
