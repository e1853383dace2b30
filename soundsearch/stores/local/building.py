"""Writes shards of the approximate index of a local library: trained, filled, merged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...vectors import unit
from ..base import OnStep
from .index import BLOCK
from .residuals import are_whole, choose_step, numbers_of
from .rows import Rows
from .shards import load_faiss, most_cells, open_index

__all__ = ["build", "emptied", "extend", "fill", "merged", "train", "write"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# So many times the root of the rows: 12 000 for a million, 36 000 for 9 million. Of 21 million,
# twice as many cells held what is near in hardly fewer rows, and took twice as long to be filled.
_CELLS = 12
_TRAINING_ROWS_PER_CELL = 40
# As many as take a gigabyte.
_MOST_TRAINING_ROWS = 1 << 21
_TRAINING_STEPS = 10
# Rows by which it is known how far rows lie from the middles of their cells.
_MEASURED_ROWS = 1 << 16
# Groups of cells in which a row's own is looked for: .99 of the rows come into the nearest.
_ASSIGNED_GROUPS = 4
# Cells that are visited until it is tuned.
_UNTUNED_CELLS = 64


def train(vectors: Rows, on_step: OnStep, what: str = "segments") -> Any:
    """An inverted file that holds nothing, with cells for so many rows.

    It takes a quarter of the vectors' size; what its 8 bits lose goes away when candidates are
    re-scored.

    Parameters
    ----------
    vectors : float32 [rows, d]
    on_step : callable
        Called with a description of the step.
    what : str
        What the rows are, for this description.
    """
    faiss = load_faiss()
    rows, dimension = vectors.shape
    cells = min(rows, int(_CELLS * rows**0.5))
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    on_step(f"training an index of {cells} cells for {rows} {what}")
    rng = np.random.default_rng(0)
    trained = min(rows, cells * _TRAINING_ROWS_PER_CELL, _MOST_TRAINING_ROWS)
    chosen = np.sort(rng.choice(rows, trained, replace=False))
    sample = np.empty((len(chosen), dimension), np.float32)
    for begin in range(0, len(chosen), BLOCK):
        sample[begin : begin + BLOCK] = unit(vectors[chosen[begin : begin + BLOCK]])
    groups, middles = _grouped(sample, cells)
    index = faiss.IndexIVFScalarQuantizer(
        _quantizer(groups, middles),
        dimension,
        cells,
        faiss.ScalarQuantizer.QT_8bit_direct_signed,
        faiss.METRIC_INNER_PRODUCT,
        False,
    )
    index.train(sample)
    index.by_residual = True  # not before: whole numbers need no training
    some = np.ascontiguousarray(sample[:: -(-len(sample) // _MEASURED_ROWS)])
    choose_step(index, some - middles[_cells_for(index, some)])
    index.nprobe = min(_UNTUNED_CELLS, most_cells(cells))
    return index


def _grouped(sample: Floats, cells: int) -> tuple[Floats, Floats]:
    """The middles of groups of cells, and those of all cells, by k-means on two levels.

    Of 16 384 cells for a million vectors, it takes a quarter of the time that k-means on one level
    does, and as much is found in as many of them.
    """
    groups = _middles(sample, int(np.round(np.sqrt(cells))))
    nearest = load_faiss().knn(sample, groups, 1, metric=load_faiss().METRIC_INNER_PRODUCT)[1][:, 0]
    sizes = np.bincount(nearest, minlength=len(groups))
    shares = sizes * cells / len(sample)
    counts = np.floor(shares).astype(np.int64)
    counts[np.argsort(counts - shares, kind="stable")[: cells - counts.sum()]] += 1
    order = np.argsort(nearest, kind="stable")
    parts = np.split(order, np.cumsum(sizes)[:-1])
    found = [
        _middles(sample[part], count)
        for part, count in zip(parts, counts.tolist(), strict=True)
        if count
    ]
    return groups, np.concatenate(found)


def _quantizer(groups: Floats, middles: Floats) -> Any:
    """Finds the nearest cells, by their middles, in the groups that are nearest.

    Groups without cells are left out: a row whose nearest groups are such would come into no cell,
    and not be found. Where nearly all is one sound, those of rare other sounds may have none.
    """
    faiss = load_faiss()
    dimension = middles.shape[1]
    while True:
        of_groups = faiss.IndexFlatIP(dimension)
        of_groups.add(groups)
        quantizer = faiss.IndexIVFFlat(
            of_groups, dimension, len(groups), faiss.METRIC_INNER_PRODUCT
        )
        quantizer.train(middles)
        quantizer.add(middles)
        quantizer.nprobe = _ASSIGNED_GROUPS
        sizes = [quantizer.invlists.list_size(group) for group in range(len(groups))]
        if all(sizes):
            return quantizer
        # Again, as groups that are nearly alike may be told apart otherwise in a smaller index.
        groups = groups[np.array(sizes) > 0]


def _middles(sample: Floats, count: int) -> Floats:
    """Of so many clusters, float32 [count, d], of length 1."""
    faiss = load_faiss()
    clusters = faiss.Kmeans(
        sample.shape[1],
        count,
        niter=_TRAINING_STEPS,
        spherical=True,
        min_points_per_centroid=1,
        gpu=faiss.get_num_gpus() > 0,
    )
    clusters.train(sample)
    middles: Floats = clusters.centroids
    return middles


def fill(index: Any, vectors: Rows, begin: int, end: int) -> None:
    """Add the rows from `begin` to `end`."""
    faiss = load_faiss()
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    middles = index.quantizer.reconstruct_n(0, index.nlist) if are_whole(index) else None
    for first in range(begin, end, BLOCK):
        block = unit(vectors[first : min(first + BLOCK, end)])
        if middles is None:  # of an earlier version
            index.add(block)
        else:
            _add(index, block, middles)


def _add(index: Any, vectors: Floats, middles: Floats) -> None:
    faiss = load_faiss()
    cells = _cells_for(index, vectors)
    numbers = numbers_of(index, vectors, middles[cells])
    index.by_residual = False  # what is between is worked out already
    try:
        index.add_core(len(vectors), faiss.swig_ptr(numbers), None, faiss.swig_ptr(cells))
    finally:
        index.by_residual = True


def _cells_for(index: Any, vectors: Floats) -> Ints:
    """The cell that each vector comes into, int64 [n]."""
    found: Ints = index.quantizer.search(vectors, 1)[1][:, 0]
    return found


def emptied(path: Path) -> Any:
    """An index with the cells of a shard, which holds nothing; the shard's rows are not read."""
    index = open_index(path)
    lists = load_faiss().ArrayInvertedLists(index.nlist, index.code_size)
    index.replace_invlists(lists, True)
    lists.this.disown()  # the index's from now on
    index.ntotal = 0
    return index


def merged(paths: Sequence[Path], last: Any) -> Any:
    """An index with the rows of shards that follow each other and of `last`, which loses them."""
    if not paths:
        return last
    faiss = load_faiss()
    index = faiss.read_index(str(paths[0]))
    others = (faiss.read_index(str(path)) for path in paths[1:])  # one in memory at a time
    for more in chain(others, [last]):
        # Not by the index's own merge, which compares all middles: they are known to be the same.
        index.invlists.merge_from(more.invlists, index.ntotal)
        index.ntotal += more.ntotal
    return index


def write(index: Any, path: Path) -> None:
    """Write an index under another name first, then move it into place."""
    temporary = path.with_suffix(".tmp")
    load_faiss().write_index(index, str(temporary))
    os.replace(temporary, path)


def build(vectors: Rows, path: Path, on_step: OnStep, what: str = "segments") -> None:
    """Write an approximate index of all rows to `path`; see `train`."""
    index = train(vectors, on_step, what)
    on_step(f"adding {len(vectors)} {what} to the index")
    fill(index, vectors, 0, len(vectors))
    write(index, path)


def extend(vectors: Rows, old: Path, path: Path) -> None:
    """Write the index `old` to `path`, with the rows added that it lacks."""
    index = load_faiss().read_index(str(old))
    fill(index, vectors, index.ntotal, len(vectors))
    write(index, path)
