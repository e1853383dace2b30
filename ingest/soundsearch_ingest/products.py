"""Matrix products on the calling thread alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["product"]

# Multiply-adds for which BLAS (OpenBLAS, in NumPy's wheels) starts no threads.
_ALONE = 400_000
# Columns at a time: of a wide matrix, a block would have too few rows to be fast.
_COLUMNS = 256


def product(
    rows: NDArray[np.float32],
    matrix: NDArray[np.float32],
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """``rows @ matrix``, in blocks that are too small for BLAS to use threads.

    Its threads wait for each other wherever the cores are busy, which makes a product of a
    millisecond take twenty, and several products at once one after the other.

    Parameters
    ----------
    rows : float32 [n, k]
    matrix : float32 [k, m]
    out : float32 [n, m], optional
        Where to put the result.
    """
    if out is None:
        out = np.empty((len(rows), matrix.shape[1]), np.float32)
    for first in range(0, matrix.shape[1], _COLUMNS):
        columns = np.s_[first : first + _COLUMNS]
        part = matrix[:, columns]
        block = max(1, _ALONE // max(1, part.size))
        for begin in range(0, len(rows), block):
            end = begin + block
            np.matmul(rows[begin:end], part, out=out[begin:end, columns])
    return out
