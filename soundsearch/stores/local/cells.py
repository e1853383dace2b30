"""What is known of the cells of an approximate index and of the lengths of its vectors: a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import open_own
from .index import BLOCK, load_faiss
from .rows import Rows
from .sums import are_finite, block_sums, read_whole

__all__ = ["Cells", "cells_file", "cells_of", "read_cells", "rows_by_cell", "write_cells"]

Floats = NDArray[np.float32]
_OF_A_CELL = 3


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Of vectors that an index holds, and of its cells.

    Attributes
    ----------
    longest, shortest : float32 [cells]
        The lengths of vectors in each cell.
    spread : float32 [cells]
        How far vectors of length 1 lie from the middle of their cell along any axis: the root of
        the mean square.
    norms : float32 [rows]
        The length of each vector.
    """

    longest: Floats
    shortest: Floats
    spread: Floats
    norms: Floats

    def reach(self, steep: Floats) -> Floats:
        """The highest values in each cell of what rises so with length, float32 [cells, m]."""
        found: Floats = np.maximum(steep * self.longest[:, None], steep * self.shortest[:, None])
        return found


def rows_by_cell(index: Any) -> list[NDArray[np.int64]]:
    """The rows in each cell of an index, where it keeps them."""
    faiss, lists = load_faiss(), index.invlists
    sizes = map(lists.list_size, range(index.nlist))
    return [
        faiss.rev_swig_ptr(lists.get_ids(cell), size) if size else np.empty(0, np.int64)
        for cell, size in enumerate(sizes)
    ]


def cells_of(index: Any, vectors: Rows) -> Cells:
    """Find out about an index over the first rows of `vectors`."""
    count = index.nlist
    owner = np.zeros(index.ntotal, np.int64)
    for cell, rows in enumerate(rows_by_cell(index)):
        owner[rows] = cell
    middles = index.quantizer.reconstruct_n(0, count)
    norms = np.empty(index.ntotal, np.float32)
    squares = np.zeros(count)
    longest, shortest = np.zeros(count, np.float32), np.full(count, np.inf, np.float32)
    for begin in range(0, index.ntotal, BLOCK):
        end = min(begin + BLOCK, index.ntotal)
        block, cells = np.asarray(vectors[begin:end]), owner[begin:end]
        own = np.sqrt(np.einsum("nd,nd->n", block, block))
        damaged = ~np.isfinite(own)  # by a disk
        own[damaged] = 0
        norms[begin:end] = own
        apart = block / np.where(own > 0, own, 1)[:, None] - middles[cells]
        apart[damaged] = 0
        squares += np.bincount(cells, np.einsum("nd,nd->n", apart, apart), count)
        np.maximum.at(longest, cells, own)
        np.minimum.at(shortest, cells, own)
    sizes = np.maximum(1, np.bincount(owner, minlength=count)) * index.d
    shortest[~np.isfinite(shortest)] = 0
    return Cells(longest, shortest, np.sqrt(squares / sizes).astype(np.float32), norms)


def cells_file(index: Path) -> Path:
    """Where it is kept what is known of the cells of an index."""
    return index.with_suffix(".cells")


def write_cells(path: Path, cells: Cells) -> list[int]:
    """Write a file, and return its checksums."""
    with open_own(path, new=True) as file:
        for part in (cells.longest, cells.shortest, cells.spread, cells.norms):
            file.write(part.astype("<f4").tobytes())
        file.flush()
        os.fsync(file.fileno())
    return block_sums(path)


def read_cells(index: Path, sums: Sequence[int] | None, count: int, rows: int) -> Cells | None:
    """What is known of the cells of an index; None if the file is not as it was written."""
    data = read_whole(cells_file(index), sums)
    if data is None or len(data) != 4 * (_OF_A_CELL * count + rows):
        return None
    values = np.frombuffer(data, "<f4").astype(np.float32, copy=False)
    if not are_finite(values):
        return None
    longest, shortest, spread = values[: _OF_A_CELL * count].reshape(_OF_A_CELL, count)
    return Cells(longest, shortest, spread, values[_OF_A_CELL * count :])
