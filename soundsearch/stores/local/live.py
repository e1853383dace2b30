"""Which rows of a local library belong to clips: all, or all but those of clips that are gone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .rows import ranges

__all__ = ["Live"]

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Live:
    """Rows that count.

    Parameters
    ----------
    rows : int
        How many there are, from 0 on.
    mask : bool [rows], optional
        Which of them count; without it, all do.
    """

    def __init__(self, rows: int, mask: Mask | None = None) -> None:
        self._rows = rows
        self._mask = mask

    @classmethod
    def of(cls, first_rows: Ints, counts: Ints, rows: int) -> Live:
        """Those of clips, given by ascending first rows."""
        if int(counts.sum()) == rows:
            return cls(rows)
        # Before each clip, and behind the last.
        begins = np.concatenate(([0], first_rows + counts))
        gaps = np.concatenate((first_rows, [rows])) - begins
        there = np.flatnonzero(gaps > 0)
        mask = np.ones(rows, np.bool_)
        mask[ranges(begins[there], gaps[there])] = False
        return cls(rows, mask)

    def count(self, begin: int = 0, end: int | None = None) -> int:
        """How many of the rows from `begin` to `end` count."""
        end = self._rows if end is None else end
        if self._mask is None:
            return max(0, end - begin)
        return int(np.count_nonzero(self._mask[begin:end]))

    def numbers(self, begin: int = 0, end: int | None = None) -> Ints:
        """Those of the rows from `begin` to `end` that count, ascending."""
        end = self._rows if end is None else end
        if self._mask is None:
            return np.arange(begin, end)
        return begin + np.flatnonzero(self._mask[begin:end])

    def mask(self, end: int) -> Mask | None:
        """Which of the rows before `end` count, None where all do."""
        if self._mask is None or self._mask[:end].all():
            return None
        return self._mask[:end]
