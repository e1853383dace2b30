"""Writes the approximate index of a local library: trained, filled, tuned by measured recall."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ...vectors import unit
from ..base import OnStep
from .index import BLOCK, CANDIDATES, load_faiss
from .rows import Rows

__all__ = ["build", "extend"]

# What the approximate search is tuned for, on vectors of the library itself.
_RECALL = 0.995
_RECALL_AT = 10
_TUNING_QUERIES = 400
_TRAINING_ROWS_PER_CELL = 64


def build(vectors: Rows, path: Path, on_step: OnStep) -> None:
    """Write an approximate index of all rows to `path`, tuned by measured recall.

    An inverted file with 8-bit cells: a quarter of the vectors' size, and the loss of the
    8 bits goes away when the candidates are re-scored.

    Parameters
    ----------
    vectors : float32 [rows, d]
    path : Path
        Written under another name first and moved into place.
    on_step : callable
        Called with a description of each step.
    """
    faiss = load_faiss()
    rows, dimension = vectors.shape
    cells = int(2 ** np.round(np.log2(4 * np.sqrt(rows))))
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    index = faiss.index_factory(dimension, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.spherical = True
    on_step(f"training an index of {cells} cells for {rows} segments")
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(rows, min(rows, cells * _TRAINING_ROWS_PER_CELL), replace=False))
    if faiss.get_num_gpus() > 0:
        index.clustering_index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(dimension))
    index.train(unit(vectors[sample]))
    on_step(f"adding {rows} segments to the index")
    _add(index, vectors)
    on_step("tuning the index")
    index.nprobe = _tuned_nprobe(index, vectors, rng)
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


def _tuned_nprobe(index: Any, vectors: Rows, rng: np.random.Generator) -> int:
    """The fewest cells to visit for the wanted recall after exact re-scoring.

    Queries are rows of the library; each finds itself, which says nothing and is left out.
    """
    faiss = load_faiss()
    queries = unit(vectors[np.sort(rng.choice(len(vectors), _TUNING_QUERIES, replace=False))])
    exact_scores = np.full((len(queries), _RECALL_AT + 1), -np.inf, np.float32)
    for begin in range(0, len(vectors), BLOCK):
        block, _ = faiss.knn(
            queries,
            unit(vectors[begin : begin + BLOCK]),
            min(_RECALL_AT + 1, len(vectors) - begin),
            metric=faiss.METRIC_INNER_PRODUCT,
        )
        exact_scores = -np.sort(-np.hstack((exact_scores, block)), axis=1)[:, : _RECALL_AT + 1]
    nprobe = 4
    while nprobe < index.nlist:
        index.nprobe = nprobe
        _, found = index.search(queries, CANDIDATES)
        stored = unit(vectors[found.ravel()]).reshape(*found.shape, -1)
        cosines = np.where(found >= 0, np.einsum("nd,nmd->nm", queries, stored), -np.inf)
        # Counting by score, not by row, so that copies of a sound count as each other.
        enough = exact_scores[:, -1:] - 1e-6
        hits = np.minimum((cosines >= enough).sum(axis=1), _RECALL_AT + 1) - 1
        if hits.mean() / _RECALL_AT >= _RECALL:
            return nprobe
        nprobe = int(np.ceil(nprobe * 1.5))
    return int(index.nlist)
