"""What is known of the cells of a shard and of the lengths of its vectors: a file beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .files import open_own
from .index import BLOCK
from .rows import Rows
from .shards import Shards
from .sums import are_finite, block_sums, read_whole

__all__ = ["Cells", "cells_file", "known_cells", "write_cells"]

Floats = NDArray[np.float32]
_OF_A_CELL = 3


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Of vectors that shards hold, and of their cells.

    Attributes
    ----------
    longest, shortest : float32 [cells]
        The lengths of vectors in each cell; 0 and infinite where there are none.
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
        shortest = np.where(np.isfinite(self.shortest), self.shortest, np.float32(0))
        found: Floats = np.maximum(steep * self.longest[:, None], steep * shortest[:, None])
        return found


def _cells_of(shards: Shards, shard: int, vectors: Rows, first: int) -> Cells:
    """Find out about a shard, which holds rows of `vectors` from `first` on."""
    count = shards.cells
    rows_there = shards.bounds[shard + 1] - shards.bounds[shard]
    owner = np.zeros(rows_there, np.int64)
    for cell, rows in enumerate(shards.rows_by_cell(shard)):
        owner[rows] = cell
    middles = shards.middles()
    norms = np.empty(rows_there, np.float32)
    squares = np.zeros(count)
    longest, shortest = np.zeros(count, np.float32), np.full(count, np.inf, np.float32)
    for begin in range(0, rows_there, BLOCK):
        end = min(begin + BLOCK, rows_there)
        block, cells = np.asarray(vectors[first + begin : first + end]), owner[begin:end]
        own = np.sqrt(np.einsum("nd,nd->n", block, block))
        damaged = ~np.isfinite(own)  # by a disk
        own[damaged] = 0
        norms[begin:end] = own
        apart = block / np.where(own > 0, own, 1)[:, None] - middles[cells]
        apart[damaged] = 0
        squares += np.bincount(cells, np.einsum("nd,nd->n", apart, apart), count)
        np.maximum.at(longest, cells, own)
        np.minimum.at(shortest, cells, own)
    sizes = np.maximum(1, np.bincount(owner, minlength=count)) * middles.shape[1]
    return Cells(longest, shortest, np.sqrt(squares / sizes).astype(np.float32), norms)


def cells_file(index: Path) -> Path:
    """Where it is kept what is known of the cells of a shard."""
    return index.with_suffix(".cells")


def write_cells(path: Path, cells: Cells) -> list[int]:
    """Write a file, and return its checksums."""
    with open_own(path, new=True) as file:
        for part in (cells.longest, cells.shortest, cells.spread, cells.norms):
            file.write(part.astype("<f4").tobytes())
        file.flush()
        os.fsync(file.fileno())
    return block_sums(path)


def known_cells(
    shards: Shards, sums: Sequence[Sequence[int] | None], vectors: Rows, first: int = 0
) -> Cells:
    """What is known of all shards.

    Parameters
    ----------
    shards : Shards
    sums : sequence
        The checksums of the file beside each shard. What is not as it was written, or not known
        to be, is found out again.
    vectors : float32 [rows, d]
    first : int
        Which of them is the first that the shards hold.
    """
    parts = []
    for shard, path in enumerate(shards.paths):
        begin, end = shards.bounds[shard : shard + 2]
        found = _read(path, sums[shard], shards.cells, end - begin)
        parts.append(found or _cells_of(shards, shard, vectors, first + begin))
    if len(parts) == 1:
        return parts[0]
    sizes = np.stack([shards.sizes_of(shard) for shard in range(len(parts))])
    squares = np.stack([part.spread for part in parts]) ** 2
    spread = np.sqrt((sizes * squares).sum(axis=0) / np.maximum(1, sizes.sum(axis=0)))
    return Cells(
        np.max([part.longest for part in parts], axis=0),
        np.min([part.shortest for part in parts], axis=0),
        spread.astype(np.float32),
        np.concatenate([part.norms for part in parts]),
    )


def _read(path: Path, sums: Sequence[int] | None, count: int, rows: int) -> Cells | None:
    data = read_whole(cells_file(path), sums)
    if data is None or len(data) != 4 * (_OF_A_CELL * count + rows):
        return None
    values = np.frombuffer(data, "<f4").astype(np.float32, copy=False)
    longest, shortest, spread = values[: _OF_A_CELL * count].reshape(_OF_A_CELL, count)
    norms = values[_OF_A_CELL * count :]
    if not all(map(are_finite, (longest, spread, norms))) or not (shortest >= 0).all():
        return None
    return Cells(longest, shortest, spread, norms)
