"""Cosine search over stored vectors: exact while that is fast, then approximate.

A `SegmentIndex` serves one snapshot of a local library. The rows that an approximate index on
disk covers are searched there and its candidates re-scored exactly from the stored vectors; the
rows after them (all of them, in a small library) are searched exactly. So a reader's answer is
complete also when the index on disk is old or missing.

A search among some of the rows is one in other parts, made by `SegmentIndex.among`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.products import product

from ...vectors import unit
from ..records import Tuning
from .rows import Rows

__all__ = [
    "BLOCK",
    "EXACT_ROWS",
    "Part",
    "SegmentIndex",
    "cells_holding",
    "exact_scores",
    "load_faiss",
    "most_cells",
    "open_index",
]

Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]

# Up to here an exact search of 128-d vectors takes less than about 2 ms on one core.
EXACT_ROWS = 125_000
# Candidates taken from an approximate index for each result wanted, at least; and altogether, of
# an index that is not tuned, which version 0.1.0 made.
_CANDIDATES_PER_RESULT = 5
_UNTUNED_CANDIDATES = 200
# Rows that are read, or pairs that are scored, at a time; queries that are searched for.
BLOCK = 1 << 16
_QUERIES = 256
# From so many queries on, they are searched for on all cores.
_MANY = 64
# Up to here NumPy answers before FAISS is imported, and a search among rows is exact.
_FEW_ROWS = 20_000


def load_faiss() -> Any:
    """FAISS, imported where it is used; its type hints change from release to release."""
    import faiss

    return faiss


def open_index(path: Path) -> Any:
    """A FAISS index on disk, mapped into memory."""
    return load_faiss().read_index(str(path), load_faiss().IO_FLAG_MMAP_IFC)


def most_cells(cells: int) -> int:
    """How many of its cells an approximate index may visit: with more, it is none."""
    return max(1, cells // 8)


def cells_holding(candidates: int, cells: int, rows: int) -> int:
    """How many of the cells hold twice as many rows as candidates are wanted, on average."""
    return int(np.ceil(2 * candidates * cells / rows))


class Part(Protocol):
    """Some rows that can be searched."""

    def search(self, queries: Vectors, k: int) -> tuple[Ints, Vectors]:
        """The best of them for each query: rows, -1 where there are fewer, and cosines."""
        ...

    def among(self, rows: Ints) -> Part:
        """A search among these rows only, ascending, which are of the part."""
        ...


class SegmentIndex:
    """Search over rows of a vector file; safe in threads.

    Parameters
    ----------
    vectors : float32 [rows, d]
        Stored vectors, typically mapped from a file.
    live : int64 [n]
        The rows that belong to a clip, ascending.
    path : Path or None
        The approximate index on disk, which covers the first rows.
    tuning : Tuning, optional
        Of that index.
    """

    def __init__(
        self, vectors: Rows, live: Ints, path: Path | None, tuning: Tuning | None = None
    ) -> None:
        self._vectors = vectors
        self._covered = 0
        self._parts: list[tuple[bool, Part]] = []
        if path is not None:
            index = open_index(path)
            if not isinstance(index, load_faiss().IndexIVF) or index.d != vectors.shape[1]:
                raise ValueError(f"{path}: is not the index of these vectors")
            self._covered = index.ntotal
            indexed, live = self._split(live)
            if len(indexed):
                whole = len(indexed) == self._covered
                approximate = _Approximate(index, vectors, None if whole else indexed, tuning)
                self._parts.append((True, approximate))
        if len(live):
            self._parts.append((False, _exact(vectors, live)))

    def _split(self, rows: Ints) -> tuple[Ints, Ints]:
        """Those that the index on disk covers, and the others."""
        middle = np.searchsorted(rows, self._covered)
        return rows[:middle], rows[middle:]

    def among(self, rows: Ints) -> Sequence[Part]:
        """A search among some live rows, ascending, for `search`."""
        if len(rows) <= _FEW_ROWS:
            return [_exact(self._vectors, rows)] if len(rows) else []
        covered, others = self._split(rows)
        return [
            part.among(covered if is_covered else others)
            for is_covered, part in self._parts
            if len(covered if is_covered else others)
        ]

    def search(
        self, queries: Vectors, k: int, parts: Sequence[Part] | None = None
    ) -> tuple[Ints, Vectors]:
        """Rows with the highest cosine to each query.

        Parameters
        ----------
        queries : float32 [n, d]
            Unit length.
        k : int
        parts : sequence of Part, optional
            Of `among`.

        Returns
        -------
        rows : int64 [n, m]
            Nearest first, -1 where there are fewer.
        scores : float32 [n, m]
            Cosines, exact.
        """
        if parts is None:
            parts = [part for _, part in self._parts]
        blocks = [
            _best(queries[begin : begin + _QUERIES], k, parts)
            for begin in range(0, max(len(queries), 1), _QUERIES)
        ]
        if len(blocks) == 1:
            return blocks[0]
        return np.concatenate([rows for rows, _ in blocks]), np.concatenate([s for _, s in blocks])


def _best(queries: Vectors, k: int, parts: Sequence[Part]) -> tuple[Ints, Vectors]:
    if not parts:
        return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
    found = [part.search(queries, k) for part in parts]
    rows, scores = found[0]
    if len(found) > 1:
        rows, scores = (np.hstack(column) for column in zip(*found, strict=True))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)


def _exact(vectors: Rows, rows: Ints) -> Part:
    """An exact search of rows, by NumPy if they are few and FAISS has not been imported yet.

    NumPy's threads wait for each other where the cores are busy, so FAISS is better if it is there.
    """
    if len(rows) <= _FEW_ROWS and "faiss" not in sys.modules:
        return _Few(vectors, rows)
    return _Flat(_flat_index(vectors, rows), vectors, rows)


class _Few:
    """An exact search that does not wait for FAISS to be imported."""

    def __init__(self, vectors: Rows, rows: Ints) -> None:
        self._source = vectors
        self._rows = rows
        self._vectors = unit(np.asarray(vectors[rows]))

    def search(self, queries: Vectors, k: int) -> tuple[Ints, Vectors]:
        k = min(k, len(self._rows))
        scores = product(self._vectors, np.ascontiguousarray(queries.T))
        scores = np.ascontiguousarray(scores.T)
        best = np.sort(np.argpartition(scores, -k, axis=1)[:, -k:], axis=1)
        scores = np.take_along_axis(scores, best, 1)
        order = np.argsort(-scores, axis=1, kind="stable")
        rows = self._rows[np.take_along_axis(best, order, 1)]
        return rows, np.take_along_axis(scores, order, 1)

    def among(self, rows: Ints) -> Part:
        return _Few(self._source, rows)


class _Flat:
    """An exact FAISS index of rows, of which all or some count.

    Parameters
    ----------
    index : faiss.Index
        See `_flat_index`.
    vectors : float32 [rows, d]
    rows : int64 [n]
        Those in the index, ascending.
    chosen : int64 [m], optional
        Where those that count are among them.
    """

    def __init__(self, index: Any, vectors: Rows, rows: Ints, chosen: Ints | None = None) -> None:
        self._index = index
        self._vectors = vectors
        self._rows = rows
        self._count = len(rows if chosen is None else chosen)
        self._bitmap = None if chosen is None else _Bitmap(chosen, len(rows))

    def search(self, queries: Vectors, k: int) -> tuple[Ints, Vectors]:
        options = {}
        if self._bitmap:
            options["params"] = load_faiss().SearchParameters(sel=self._bitmap.selector)
        _choose_threads(queries)
        scores, places = self._index.search(queries, min(k, self._count), **options)
        there = places >= 0
        return np.where(there, self._rows[places], -1), np.where(there, scores, -np.inf)

    def among(self, rows: Ints) -> Part:
        # An index on a GPU takes no selector.
        if len(rows) <= _FEW_ROWS or load_faiss().get_num_gpus() > 0:
            return _exact(self._vectors, rows)
        return _Flat(self._index, self._vectors, self._rows, np.searchsorted(self._rows, rows))


def _choose_threads(queries: Vectors) -> None:
    """Single queries on one thread: threads on busy cores wait for each other."""
    load_faiss().omp_set_num_threads(1 if len(queries) < _MANY else os.cpu_count() or 1)


def _flat_index(vectors: Rows, rows: Ints) -> Any:
    """An exact FAISS index of rows, on the GPU where FAISS reports one."""
    faiss = load_faiss()
    index = faiss.IndexFlatIP(vectors.shape[1])
    if faiss.get_num_gpus() > 0:
        index = faiss.index_cpu_to_all_gpus(index)
    for begin in range(0, len(rows), BLOCK):
        index.add(unit(np.asarray(vectors[rows[begin : begin + BLOCK]])))
    return index


class _Bitmap:
    """A FAISS selector of some numbers below `size`."""

    def __init__(self, numbers: Ints, size: int) -> None:
        self.mask = np.zeros(size, np.bool_)
        self.mask[numbers] = True
        self._bits = np.packbits(self.mask, bitorder="little")  # the selector keeps a pointer
        self.selector = load_faiss().IDSelectorBitmap(self._bits)


class _Approximate:
    """An inverted file on disk, its candidates re-scored from the stored vectors.

    Parameters
    ----------
    index : faiss.IndexIVF
    vectors : float32 [rows, d]
    live : int64 [n] or None
        The rows of it that are live, if not all are.
    tuning : Tuning or None
    """

    def __init__(self, index: Any, vectors: Rows, live: Ints | None, tuning: Tuning | None) -> None:
        self._index = index
        self._tuning = tuning
        self._vectors = vectors
        self._count = index.ntotal if live is None else len(live)
        self._bitmap = None if live is None else _Bitmap(live, index.ntotal)
        # The cells to choose from, all of them if None, and how many are visited.
        self._cells: _Bitmap | None = None
        self._cell_count = index.nlist
        if tuning is not None:
            self._visited, self._candidates = tuning.cells, tuning.candidates
        else:  # version 0.1.0 tuned the cells alone, and visited all where that could not help
            self._visited = min(index.nprobe, most_cells(index.nlist))
            self._candidates = _UNTUNED_CANDIDATES
        self._made: dict[int, Any] = {}

    def search(self, queries: Vectors, k: int) -> tuple[Ints, Vectors]:
        wanted = int(min(max(self._candidates, _CANDIDATES_PER_RESULT * k), self._count))
        # As many cells as hold the candidates, should more be wanted than it was tuned for.
        enough = cells_holding(wanted, self._cell_count, self._count)
        visited = min(max(self._visited, enough), self._cell_count)
        _choose_threads(queries)
        _, found = self._index.search(queries, wanted, params=self._parameters(visited))
        return found, exact_scores(self._vectors, queries, found)

    def _parameters(self, visited: int) -> Any:
        """FAISS's parameters; the usual ones are kept, as making them takes a while."""
        if visited in self._made:
            return self._made[visited]
        faiss = load_faiss()
        options: dict[str, Any] = {"nprobe": visited}
        if self._bitmap:
            options["sel"] = self._bitmap.selector
        if self._cells:
            options["quantizer_params"] = faiss.SearchParameters(sel=self._cells.selector)
        made = faiss.SearchParametersIVF(**options)
        if visited == self._visited:
            self._made[visited] = made
        return made

    def among(self, rows: Ints) -> Part:
        return _SomeCells(self._index, self._vectors, rows, self._tuning)


class _SomeCells(_Approximate):
    """An inverted file of which only some rows count.

    Cells that hold none of them are passed over, and as many others visited as it takes to see
    as many rows that count as an unfiltered search sees rows: the narrower the filter, the more
    cells, so that recall does not suffer, also when what is asked for lies far from the query.
    """

    def __init__(self, index: Any, vectors: Rows, rows: Ints, tuning: Tuning | None) -> None:
        super().__init__(index, vectors, rows, tuning)
        assert self._bitmap is not None
        cells = _cells_with(index, self._bitmap.mask)
        self._cells = _Bitmap(cells, index.nlist)
        self._cell_count = len(cells)
        share = len(rows) / len(cells) * index.nlist / index.ntotal
        self._visited = int(np.ceil(self._visited / min(share, 1)))


def exact_scores(vectors: Rows, queries: Vectors, rows: Ints) -> Vectors:
    """Cosines of rows with their query, from the stored vectors; -inf where the row is -1.

    Parameters
    ----------
    vectors : float32 [any, d]
    queries : float32 [n, d]
        Unit length.
    rows : int64 [n, m]

    Returns
    -------
    float32 [n, m]
    """
    scores = np.empty(rows.shape, np.float32)
    together = max(1, BLOCK // max(1, rows.shape[1]))
    for first in range(0, len(rows), together):
        for begin in range(0, rows.shape[1], BLOCK):
            place = np.s_[first : first + together, begin : begin + BLOCK]
            stored = np.asarray(vectors[rows[place].ravel()])
            with np.errstate(over="ignore", invalid="ignore"):  # vectors that a disk damaged
                norms = np.sqrt(np.einsum("rd,rd->r", stored, stored)).reshape(rows[place].shape)
                stored = stored.reshape(*rows[place].shape, -1)
                products = np.einsum("nd,nmd->nm", queries[place[0]], stored)
                scores[place] = products / np.where(norms > 0, norms, 1)
    scores[rows < 0] = -np.inf
    return scores


def _cells_with(index: Any, mask: NDArray[np.bool_]) -> Ints:
    """The cells of an inverted file that hold one of some rows."""
    faiss, lists = load_faiss(), index.invlists
    sizes = [lists.list_size(cell) for cell in range(index.nlist)]
    found = [
        cell
        for cell, size in enumerate(sizes)
        if size and mask[faiss.rev_swig_ptr(lists.get_ids(cell), size)].any()
    ]
    return np.array(found, np.int64)
