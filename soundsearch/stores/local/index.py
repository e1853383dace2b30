"""Cosine search over stored vectors: exact while that is fast, then approximate.

A `SegmentIndex` serves one snapshot of a local library. The rows that an approximate index on
disk covers are searched there and its candidates re-scored exactly from the stored vectors; the
rows after them (all of them, in a small library) are searched exactly. So a reader's answer is
complete also when the index on disk is old or missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rows import Rows

__all__ = ["EXACT_ROWS", "SegmentIndex", "build", "extend", "unit"]

Vectors = NDArray[np.float32]

# Up to here an exact search of 128-d vectors takes less than about 2 ms on one core.
EXACT_ROWS = 125_000
# Candidates taken from an approximate index for each result wanted, and at least.
_CANDIDATES_PER_RESULT = 5
_CANDIDATES = 50
# What the approximate search is tuned for, on vectors of the library itself.
_RECALL = 0.995
_RECALL_AT = 10
_TUNING_QUERIES = 400
_TRAINING_ROWS_PER_CELL = 64
_BLOCK = 1 << 16
# Up to here NumPy answers before FAISS is imported.
_FEW_ROWS = 20_000


def unit(vectors: Vectors) -> Vectors:
    """Vectors scaled to length 1; a zero vector stays zero. float32 [n, d]."""
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    scaled: Vectors = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32, copy=False)
    return scaled


def _faiss() -> Any:
    """FAISS, imported where it is used; its type hints change from release to release."""
    import faiss

    return faiss


class SegmentIndex:
    """Search over rows of a vector file.

    Parameters
    ----------
    vectors : float32 [rows, d]
        Stored vectors, typically mapped from a file.
    live : int64 [n]
        The rows that belong to a clip, ascending.
    path : Path or None
        The approximate index on disk, which covers the first rows.
    """

    def __init__(self, vectors: Rows, live: NDArray[np.int64], path: Path | None) -> None:
        self._vectors = vectors
        self._ivf: Any = None
        self._selector: Any = None
        covered = 0
        if path is not None:
            faiss = _faiss()
            self._ivf = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
            covered = self._ivf.ntotal
            indexed = live[: np.searchsorted(live, covered)]
            if len(indexed) < covered:
                alive = np.zeros(covered, np.bool_)
                alive[indexed] = True
                self._alive = np.packbits(alive, bitorder="little")  # the selector keeps a pointer
                self._selector = faiss.IDSelectorBitmap(self._alive)
        self._flat_rows = live[np.searchsorted(live, covered) :]
        few = len(self._flat_rows) <= _FEW_ROWS
        self._flat = _Few(vectors.shape[1]) if few else _flat_index(vectors.shape[1])
        for begin in range(0, len(self._flat_rows), _BLOCK):
            self._flat.add(unit(vectors[self._flat_rows[begin : begin + _BLOCK]]))

    def search(self, queries: Vectors, k: int) -> tuple[NDArray[np.int64], Vectors]:
        """Rows with the highest cosine to each query.

        Parameters
        ----------
        queries : float32 [n, d]
            Unit length.
        k : int

        Returns
        -------
        rows : int64 [n, m]
            Nearest first, -1 where there are fewer.
        scores : float32 [n, m]
            Cosines, exact.
        """
        rows: list[NDArray[np.int64]] = []
        scores: list[Vectors] = []
        if len(self._flat_rows):
            found_scores, found = self._flat.search(queries, min(k, len(self._flat_rows)))
            rows.append(self._flat_rows[found])
            scores.append(found_scores)
        if self._ivf is not None:
            wanted = max(_CANDIDATES, _CANDIDATES_PER_RESULT * k)
            faiss = _faiss()
            parameters = faiss.SearchParametersIVF(nprobe=self._ivf.nprobe, sel=self._selector)
            faiss.omp_set_num_threads(1)
            _, found = self._ivf.search(queries, min(wanted, self._ivf.ntotal), params=parameters)
            rows.append(found)
            scores.append(self._exact(queries, found))
        if not rows:
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        all_rows, all_scores = np.hstack(rows), np.hstack(scores)
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(all_rows, order, 1), np.take_along_axis(all_scores, order, 1)

    def _exact(self, queries: Vectors, rows: NDArray[np.int64]) -> Vectors:
        """Cosines of the candidates from the stored vectors; -inf where there is none."""
        stored = unit(self._vectors[rows.ravel()].reshape(-1, queries.shape[1]))
        cosines = np.einsum("nd,nmd->nm", queries, stored.reshape(*rows.shape, -1))
        return np.where(rows >= 0, cosines, -np.inf).astype(np.float32)


class _Few:
    """An exact search with FAISS's methods that does not wait for FAISS to be imported."""

    def __init__(self, dimension: int) -> None:
        self._vectors = np.empty((0, dimension), np.float32)

    def add(self, vectors: Vectors) -> None:
        self._vectors = np.concatenate((self._vectors, vectors))

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        scores = queries @ self._vectors.T
        best = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
        scores = np.take_along_axis(scores, best, 1)
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, 1), np.take_along_axis(best, order, 1)


def _flat_index(dimension: int) -> Any:
    """An exact FAISS index, on the GPU where FAISS reports one.

    It searches on one thread: for single queries, threads on busy cores wait for each other.
    """
    faiss = _faiss()
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(dimension)
    return index if faiss.get_num_gpus() == 0 else faiss.index_cpu_to_all_gpus(index)


def build(vectors: Rows, path: Path, on_progress: Callable[[str], None]) -> None:
    """Write an approximate index of all rows to `path`, tuned by measured recall.

    An inverted file with 8-bit cells: a quarter of the vectors' size, and the loss of the
    8 bits goes away when the candidates are re-scored.

    Parameters
    ----------
    vectors : float32 [rows, d]
    path : Path
        Written under another name first and moved into place.
    on_progress : callable
        Told in words what is being done.
    """
    faiss = _faiss()
    rows, dimension = vectors.shape
    cells = int(2 ** np.round(np.log2(4 * np.sqrt(rows))))
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    index = faiss.index_factory(dimension, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.spherical = True
    on_progress(f"training an index of {cells} cells for {rows} segments")
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(rows, min(rows, cells * _TRAINING_ROWS_PER_CELL), replace=False))
    if faiss.get_num_gpus() > 0:
        index.clustering_index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(dimension))
    index.train(unit(vectors[sample]))
    on_progress(f"adding {rows} segments to the index")
    _add(index, vectors)
    on_progress("tuning the index")
    index.nprobe = _tuned_nprobe(index, vectors, rng)
    _write(index, path)


def extend(vectors: Rows, old: Path, path: Path) -> None:
    """Write the index `old` with the rows added that it lacks to `path`."""
    faiss = _faiss()
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    index = faiss.read_index(str(old))
    _add(index, vectors)
    _write(index, path)


def _add(index: Any, vectors: Rows) -> None:
    for begin in range(index.ntotal, len(vectors), _BLOCK):
        index.add(unit(vectors[begin : begin + _BLOCK]))


def _write(index: Any, path: Path) -> None:
    faiss = _faiss()
    temporary = path.with_suffix(".tmp")
    faiss.write_index(index, str(temporary))
    os.replace(temporary, path)


def _tuned_nprobe(index: Any, vectors: Rows, rng: np.random.Generator) -> int:
    """The fewest cells to visit for the wanted recall after exact re-scoring.

    Queries are rows of the library; each finds itself, which says nothing and is left out.
    """
    faiss = _faiss()
    queries = unit(vectors[np.sort(rng.choice(len(vectors), _TUNING_QUERIES, replace=False))])
    exact_scores = np.full((len(queries), _RECALL_AT + 1), -np.inf, np.float32)
    for begin in range(0, len(vectors), _BLOCK):
        block, _ = faiss.knn(
            queries,
            unit(vectors[begin : begin + _BLOCK]),
            min(_RECALL_AT + 1, len(vectors) - begin),
            metric=faiss.METRIC_INNER_PRODUCT,
        )
        exact_scores = -np.sort(-np.hstack((exact_scores, block)), axis=1)[:, : _RECALL_AT + 1]
    nprobe = 4
    while nprobe < index.nlist:
        index.nprobe = nprobe
        _, found = index.search(queries, _CANDIDATES)
        stored = unit(vectors[found.ravel()]).reshape(*found.shape, -1)
        cosines = np.where(found >= 0, np.einsum("nd,nmd->nm", queries, stored), -np.inf)
        # Counting by score, not by row, so that copies of a sound count as each other.
        enough = exact_scores[:, -1:] - 1e-6
        hits = np.minimum((cosines >= enough).sum(axis=1), _RECALL_AT + 1) - 1
        if hits.mean() / _RECALL_AT >= _RECALL:
            return nprobe
        nprobe = int(np.ceil(nprobe * 1.5))
    return int(index.nlist)
