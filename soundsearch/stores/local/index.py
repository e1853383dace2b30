"""Cosine search over stored vectors: exact while that is fast, then approximate.

A `SegmentIndex` serves one snapshot of a local library. The rows that the shards on disk cover
are searched there and the candidates re-scored exactly from the stored vectors; the rows after
them (all of them, in a small library) are searched exactly. So a reader's answer is complete also
when the shards are old or missing.

A search among some of the rows is one in other parts, made by `SegmentIndex.among`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.products import product

from ...vectors import unit
from ..records import Tuning
from .live import Live
from .rows import Rows
from .shards import Bitmap, Shards, load_faiss, most_cells

__all__ = [
    "BLOCK",
    "EXACT_ROWS",
    "Part",
    "SegmentIndex",
    "cells_holding",
    "exact_scores",
]

Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]

# Up to here an exact search of 128-d vectors takes less than about 2 ms on one core.
EXACT_ROWS = 125_000
# Candidates taken from an approximate index for each result wanted, at least, which hold all but
# one in 3000 of these; and altogether, of an index that is not tuned, which version 0.1.0 made.
_CANDIDATES_PER_RESULT = 3
_UNTUNED_CANDIDATES = 200
# Rows that are read, or pairs that are scored, at a time: with eight times as many, they leave the
# processor's cache between one step and the next, and each row takes three times as long.
BLOCK = 1 << 13
# Rows that are searched exactly are kept in blocks of so many, of which full ones are kept when
# rows are added.
_TAIL = 1 << 13
# From so many on they are not kept in memory, but read for each search.
_MOST_KEPT = 1 << 20
# Queries that are searched for at a time.
_QUERIES = 256
# From so many queries on, they are searched for on all cores.
_MANY = 64
# Up to here NumPy answers before FAISS is imported.
_FEW_ROWS = 20_000
# Up to here a search among rows is exact: it takes no longer than an index would, and where a
# filter lets through what lies far from a query, an index finds less.
_FEW_CHOSEN = 40_000
# From this share on, rows that count are found among all, of which so many times more are asked for
# than it takes on average.
_MOST = 0.5
_ROOM = 1.5
# A filter thins cells alike if, where its rows are, it lets through hardly more than elsewhere.
_EVEN = 1.2


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
    live : Live
        The rows that belong to a clip.
    shards : Shards or None
        Those on disk, which cover the first rows.
    tuning : Tuning, optional
        Of these.
    earlier : SegmentIndex, optional
        Of fewer rows of the same vectors: what it searches exactly is not read again.
    """

    def __init__(
        self,
        vectors: Rows,
        live: Live,
        shards: Shards | None,
        tuning: Tuning | None = None,
        earlier: SegmentIndex | None = None,
    ) -> None:
        self._vectors = vectors
        self._covered = 0
        self._indexed: _Approximate | None = None
        if shards is not None:
            self._covered = shards.rows
            if live.count(0, self._covered):
                self._indexed = _Approximate(shards, vectors, live.mask(self._covered), tuning)
        self._tail: dict[int, _Block] = {}
        if live.count(self._covered) > _MOST_KEPT:
            rows = live.numbers(self._covered)
            self._tail[self._covered] = _Block(rows, _Scanned(vectors, rows))
            return
        known = {} if earlier is None else earlier._tail
        for begin in range(self._covered, len(vectors), _TAIL):
            rows = live.numbers(begin, min(begin + _TAIL, len(vectors)))
            block = known.get(begin)
            if block is None or not np.array_equal(block.rows, rows):
                block = _Block(rows, _exact(vectors, rows)) if len(rows) else None
            if block is not None:
                self._tail[begin] = block

    def among(self, rows: Ints) -> Sequence[Part]:
        """A search among some live rows, ascending, for `search`."""
        if len(rows) <= _FEW_CHOSEN:
            return [_exact(self._vectors, rows)] if len(rows) else []
        middle = np.searchsorted(rows, self._covered)
        parts: list[Part] = []
        if self._indexed is not None and middle:
            parts.append(self._indexed.among(rows[:middle]))
        begins = list(self._tail)
        for block, own in zip(
            self._tail.values(),
            np.split(rows[middle:], np.searchsorted(rows[middle:], begins[1:])),
            strict=False,
        ):
            if len(own):
                parts.append(block.part.among(own))
        return parts

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
            parts = [block.part for block in self._tail.values()]
            if self._indexed is not None:
                parts.insert(0, self._indexed)
        blocks = [
            _best(queries[begin : begin + _QUERIES], k, parts)
            for begin in range(0, max(len(queries), 1), _QUERIES)
        ]
        rows, scores = (np.concatenate(column) for column in zip(*blocks, strict=True))
        return rows, scores


class _Block(NamedTuple):
    """Rows that are searched exactly, and how."""

    rows: Ints
    part: Part


def _best(queries: Vectors, k: int, parts: Sequence[Part]) -> tuple[Ints, Vectors]:
    if not parts:
        return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
    return _together([part.search(queries, k) for part in parts], k)


def _together(found: Sequence[tuple[Ints, Vectors]], k: int) -> tuple[Ints, Vectors]:
    """The k best of what several searches found."""
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
    if len(rows) > _MOST_KEPT:
        return _Scanned(vectors, rows)
    return _Flat(*_flat(vectors, rows))


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


class _Scanned:
    """An exact search that reads all rows each time: where no index is, and memory would not do."""

    def __init__(self, vectors: Rows, rows: Ints) -> None:
        self._vectors = vectors
        self._rows = rows

    def search(self, queries: Vectors, k: int) -> tuple[Ints, Vectors]:
        best = _best(queries, k, [])
        for begin in range(0, len(self._rows), BLOCK):
            part = _Flat(*_flat(self._vectors, self._rows[begin : begin + BLOCK]))
            best = _together([best, part.search(queries, k)], k)
        return best

    def among(self, rows: Ints) -> Part:
        return _exact(self._vectors, rows)


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
        self._bitmap = None if chosen is None else Bitmap(_mask_of(chosen, len(rows)))

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


def _flat(vectors: Rows, rows: Ints) -> tuple[Any, Rows, Ints]:
    """An exact FAISS index of rows, on the GPU where FAISS reports one, and what it is of."""
    faiss = load_faiss()
    index = faiss.IndexFlatIP(vectors.shape[1])
    if faiss.get_num_gpus() > 0:
        index = faiss.index_cpu_to_all_gpus(index)
    for begin in range(0, len(rows), BLOCK):
        index.add(unit(np.asarray(vectors[rows[begin : begin + BLOCK]])))
    return index, vectors, rows


def _mask_of(numbers: Ints, size: int) -> NDArray[np.bool_]:
    mask = np.zeros(size, np.bool_)
    mask[numbers] = True
    return mask


class _Approximate:
    """Shards, their candidates re-scored from the stored vectors.

    Parameters
    ----------
    shards : Shards
    vectors : float32 [rows, d]
    mask : bool [n] or None
        Which of the rows in them are live, if not all are.
    tuning : Tuning or None
    """

    def __init__(
        self,
        shards: Shards,
        vectors: Rows,
        mask: NDArray[np.bool_] | None,
        tuning: Tuning | None,
    ) -> None:
        self._shards = shards
        self._tuning = tuning
        self._vectors = vectors
        self._mask = mask
        self._count = shards.rows if mask is None else int(np.count_nonzero(mask))
        # The cells to choose from, all of them if None, and how many are visited.
        self._allowed: Bitmap | None = None
        self._cell_count = shards.cells
        if tuning is not None:
            self._visited, self._candidates = tuning.cells, tuning.candidates
        else:  # until it is tuned
            self._visited = min(shards.indexes[0].nprobe, most_cells(shards.cells))
            self._candidates = _UNTUNED_CANDIDATES

    def search(self, queries: Vectors, k: int) -> tuple[Ints, Vectors]:
        wanted = int(min(max(self._candidates, _CANDIDATES_PER_RESULT * k), self._count))
        # As many cells as hold the candidates, should more be wanted than it was tuned for.
        enough = cells_holding(wanted, self._cell_count, self._count)
        visited = min(max(self._visited, enough), self._cell_count)
        _choose_threads(queries)
        cells, scores = self._shards.nearest_cells(queries, visited, self._allowed)
        found = self._candidates_in(queries, wanted, cells, scores)
        return found, exact_scores(self._vectors, queries, found)

    def _candidates_in(self, queries: Vectors, wanted: int, cells: Ints, scores: Vectors) -> Ints:
        """The rows in some cells that seem nearest and count, int64 [n, wanted]; -1 for none.

        To look up whether a row counts takes several times as long as to compare it. Where most
        do, the others are left out of some more rows; where too many are left out, as they are
        many just here, all are looked up.
        """
        if self._mask is None or (share := self._count / len(self._mask)) < _MOST:
            return self._shards.search(queries, wanted, cells, scores, self._selectors)
        some = self._shards.search(queries, int(_ROOM * wanted / share), cells, scores)
        counts = (some < 0) | self._mask[some]
        order = np.argsort(~counts, axis=1, kind="stable")[:, :wanted]
        found = np.take_along_axis(some, order, 1)
        short = np.flatnonzero(counts.sum(axis=1) < wanted)
        if len(short):
            asked = queries[short], wanted, cells[short], scores[short]
            found[short] = self._shards.search(*asked, self._selectors)
        return found

    @cached_property
    def _selectors(self) -> list[Bitmap] | None:
        return None if self._mask is None else self._shards.selectors(self._mask)

    def among(self, rows: Ints) -> Part:
        return _SomeCells(self._shards, self._vectors, rows, self._tuning)


class _SomeCells(_Approximate):
    """Shards of which only some rows count.

    Cells that hold none of them are passed over, and as many others visited as it takes to see
    as many rows that count as an unfiltered search sees rows: the narrower the filter, the more
    cells, so that recall does not suffer, also when what is asked for lies far from the query.

    A filter that has nothing to do with the sound thins all cells alike. Then the nearest are in
    the same cells as without it, and the square root of as many more is plenty: of 200 000 rows
    recall@10 is .9955 without a filter, .9975 among half of them and .9955 among an eighth.
    """

    def __init__(self, shards: Shards, vectors: Rows, rows: Ints, tuning: Tuning | None) -> None:
        mask = _mask_of(rows, shards.rows)
        super().__init__(shards, vectors, mask, tuning)
        counts = _counted(shards, mask)
        cells = np.flatnonzero(counts)
        self._allowed = Bitmap(counts > 0)
        self._cell_count = len(cells)
        share = min(1.0, len(rows) / len(cells) * shards.cells / shards.rows)
        # Among the rows that count, the share of those that do in the cell of each.
        beside = (counts[cells] ** 2 / shards.sizes[cells]).sum() / len(rows)
        is_even = beside < _EVEN * len(rows) / shards.rows
        self._visited = int(np.ceil(self._visited / (share**0.5 if is_even else share)))


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


def _counted(shards: Shards, mask: NDArray[np.bool_]) -> Ints:
    """How many of the rows in a mask each cell holds."""
    counts = np.zeros(shards.cells, np.int64)
    for shard, part in enumerate(shards.split(mask)):
        counts += [np.count_nonzero(part[rows]) for rows in shards.rows_by_cell(shard)]
    return counts
