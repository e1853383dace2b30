"""Writes shards of the approximate index of a local library: trained, filled, merged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...vectors import unit
from ..base import OnStep
from .index import BLOCK
from .rows import Rows
from .shards import load_faiss, most_cells

__all__ = ["build", "emptied", "extend", "fill", "merged", "train", "write"]

_TRAINING_ROWS_PER_CELL = 64
# Neighbours of a cell's middle in the graph that finds the cells: with 32, .98 of them are those of
# an exact search, in a third of its time. In training, where the middles still move, fewer do.
_NEIGHBOURS = 32
_NEIGHBOURS_IN_TRAINING = 16


def train(vectors: Rows, on_step: OnStep, what: str = "segments") -> Any:
    """An inverted file that holds nothing, with cells for so many rows.

    Its 8-bit cells take a quarter of the vectors' size; the loss of the 8 bits goes away when
    candidates are re-scored.

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
    cells = int(2 ** np.round(np.log2(4 * np.sqrt(rows))))
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    index = faiss.index_factory(
        dimension, f"IVF{cells}_HNSW{_NEIGHBOURS},SQ8", faiss.METRIC_INNER_PRODUCT
    )
    index.cp.spherical = True
    if faiss.get_num_gpus() > 0:
        assigner = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(dimension))
    else:
        metric = faiss.METRIC_INNER_PRODUCT
        assigner = faiss.IndexHNSWFlat(dimension, _NEIGHBOURS_IN_TRAINING, metric)
    index.clustering_index = assigner
    on_step(f"training an index of {cells} cells for {rows} {what}")
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(rows, min(rows, cells * _TRAINING_ROWS_PER_CELL), replace=False))
    index.train(unit(vectors[sample]))
    index.nprobe = most_cells(cells)  # until it is tuned
    return index


def fill(index: Any, vectors: Rows, begin: int, end: int) -> None:
    """Add the rows from `begin` to `end`."""
    load_faiss().omp_set_num_threads(os.cpu_count() or 1)
    for first in range(begin, end, BLOCK):
        index.add(unit(vectors[first : min(first + BLOCK, end)]))


def emptied(path: Path) -> Any:
    """An index with the cells of a shard, which holds nothing."""
    index = load_faiss().read_index(str(path))
    index.reset()
    return index


def merged(paths: Sequence[Path]) -> Any:
    """An index with the rows of shards that follow each other."""
    faiss = load_faiss()
    index = faiss.read_index(str(paths[0]))
    for path in paths[1:]:
        index.merge_from(faiss.read_index(str(path)), index.ntotal)
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
