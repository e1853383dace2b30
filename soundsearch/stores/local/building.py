"""Writes the approximate index of a local library: trained and filled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ...vectors import unit
from ..base import OnStep
from .index import BLOCK, load_faiss, most_cells
from .rows import Rows

__all__ = ["build", "extend"]

_TRAINING_ROWS_PER_CELL = 64


def build(vectors: Rows, path: Path, on_step: OnStep, what: str = "segments") -> None:
    """Write an approximate index of all rows to `path`.

    An inverted file with 8-bit cells: a quarter of the vectors' size, and the loss of the
    8 bits goes away when the candidates are re-scored.

    Parameters
    ----------
    vectors : float32 [rows, d]
    path : Path
        Written under another name first and moved into place.
    on_step : callable
        Called with a description of each step.
    what : str
        What the rows are, for these descriptions.
    """
    faiss = load_faiss()
    rows, dimension = vectors.shape
    cells = int(2 ** np.round(np.log2(4 * np.sqrt(rows))))
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    index = faiss.index_factory(dimension, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.spherical = True
    on_step(f"training an index of {cells} cells for {rows} {what}")
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(rows, min(rows, cells * _TRAINING_ROWS_PER_CELL), replace=False))
    if faiss.get_num_gpus() > 0:
        index.clustering_index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(dimension))
    index.train(unit(vectors[sample]))
    on_step(f"adding {rows} {what} to the index")
    _add(index, vectors)
    index.nprobe = most_cells(cells)  # until it is tuned
    _write(index, path)


def extend(vectors: Rows, old: Path, path: Path) -> None:
    """Write the index `old` to `path`, with the rows added that it lacks."""
    faiss = load_faiss()
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    index = faiss.read_index(str(old))
    _add(index, vectors)
    _write(index, path)


def _add(index: Any, vectors: Rows) -> None:
    for begin in range(index.ntotal, len(vectors), BLOCK):
        index.add(unit(vectors[begin : begin + BLOCK]))


def _write(index: Any, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    load_faiss().write_index(index, str(temporary))
    os.replace(temporary, path)
