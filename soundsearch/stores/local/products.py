"""Search by inner product over stored vectors, whose lengths count: exact, or along cells.

The cells of the approximate index hold vectors of about the same direction. A product with one is
at most about the length of the cell's longest vector times the product with its middle; so the
cells are visited from the most promising on, until enough vectors were seen, each of which is
scored exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.products import product

from ...vectors import Directions, scores_along
from .index import BLOCK, load_faiss, open_index
from .rows import Rows

__all__ = ["Chosen", "ProductSearch", "longest_in_cells"]

Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]

# How many rows are scored at least, and for each that is wanted.
_SCORED = 30_000
_SCORED_PER_RESULT = 40


class Chosen:
    """Live rows to search among: those that the index covers, as a mask, and the others."""

    def __init__(self, rows: Ints, covered: int) -> None:
        middle = int(np.searchsorted(rows, covered))
        self.covered, self.others = rows[:middle], rows[middle:]
        self.mask: NDArray[np.bool_] | None = None
        if middle < covered:
            self.mask = np.zeros(covered, np.bool_)
            self.mask[self.covered] = True


class ProductSearch:
    """Search by inner product over the rows of a vector file.

    Parameters
    ----------
    vectors : float32 [rows, d]
    live : int64 [n]
        The rows that belong to a clip, ascending.
    path : Path or None
        The approximate index on disk, which covers the first rows.
    lengths : sequence of float or None
        Of the longest vector in each of its cells; found out here where they are not known.
    """

    def __init__(
        self, vectors: Rows, live: Ints, path: Path | None, lengths: Sequence[float] | None
    ) -> None:
        self._vectors = vectors
        self._index: Any = None
        covered = 0
        if path is not None:
            self._index = open_index(path)
            covered = self._index.ntotal
            cells = self._index.nlist
            if lengths is None or len(lengths) != cells:
                lengths = longest_in_cells(self._index, vectors)
            self._lengths = np.asarray(lengths, np.float32)[:, None]
            self._middles = self._index.quantizer.reconstruct_n(0, cells)
        self._covered = covered
        self._all = Chosen(live, covered)

    def among(self, rows: Ints) -> Chosen:
        """A search among some live rows, ascending, for `search`."""
        return Chosen(rows, self._covered)

    def search(self, along: Directions, k: int, chosen: Chosen | None) -> Ints:
        """The rows with the highest scores, best first; see `Directions`."""
        chosen = chosen or self._all
        wanted = max(_SCORED, _SCORED_PER_RESULT * k)
        parts = [(chosen.others, along)]
        if len(chosen.covered) <= wanted:
            parts.append((chosen.covered, along))
        else:
            parts.append(self._promising(along, wanted, chosen.mask))
        best = [self._best(rows, directions, k) for rows, directions in parts]
        rows, scores = (np.concatenate(column) for column in zip(*best, strict=True))
        order = np.lexsort((rows, -scores))[:k]
        found: Ints = rows[order]
        return found

    def _promising(
        self, along: Directions, wanted: int, mask: NDArray[np.bool_] | None
    ) -> tuple[Ints, Directions]:
        """Rows of the most promising cells, and the directions that count there."""
        bounds = [
            product(self._middles, np.ascontiguousarray(weights.T)) * self._lengths + biases
            for weights, biases in along
        ]
        best = np.min([bound.max(axis=1) for bound in bounds], axis=0)
        faiss, lists = load_faiss(), self._index.invlists
        found: list[Ints] = []
        cells: list[int] = []
        seen = 0
        for cell in np.argsort(-best, kind="stable").tolist():
            size = lists.list_size(cell)
            if not size:
                continue
            rows = faiss.rev_swig_ptr(lists.get_ids(cell), size)
            rows = rows[mask[rows]] if mask is not None else rows
            if len(rows):
                cells.append(cell)
                found.append(rows)
                seen += len(rows)
            if seen >= wanted:
                break
        # Of many directions, most promise less everywhere than what was not visited for that.
        least = best[cells[-1]]
        kept = [(bound[cells] >= least).any(axis=0) for bound in bounds]
        counting = [
            (weights[keep], biases[keep])
            for (weights, biases), keep in zip(along, kept, strict=True)
        ]
        return np.sort(np.concatenate(found)), counting

    def _best(self, rows: Ints, along: Directions, k: int) -> tuple[Ints, Vectors]:
        """The best of some rows, in no order."""
        kept_rows, kept = rows[:0], np.empty(0, np.float32)
        for begin in range(0, len(rows), BLOCK):
            block = rows[begin : begin + BLOCK]
            vectors = np.asarray(self._vectors[_as_slice(block)])
            scores = scores_along(vectors, along)
            scores = np.where(np.isfinite(scores), scores, -np.inf)  # what a disk damaged
            kept_rows, kept = np.concatenate((kept_rows, block)), np.concatenate((kept, scores))
            if len(kept) > k:
                places = np.argpartition(-kept, k - 1)[:k]
                kept_rows, kept = kept_rows[places], kept[places]
        return kept_rows, kept


def _as_slice(rows: Ints) -> Any:
    """Rows that follow each other are read where they are."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows


def longest_in_cells(index: Any, vectors: Rows) -> list[float]:
    """The length of the longest vector in each cell of an index over the first rows."""
    norms = np.empty(index.ntotal, np.float32)
    for begin in range(0, index.ntotal, BLOCK):
        block = np.asarray(vectors[begin : min(begin + BLOCK, index.ntotal)])
        norms[begin : begin + BLOCK] = np.sqrt(np.einsum("nd,nd->n", block, block))
    norms[~np.isfinite(norms)] = 0  # what a disk damaged
    faiss, lists = load_faiss(), index.invlists
    return [
        float(norms[faiss.rev_swig_ptr(lists.get_ids(cell), size)].max()) if size else 0.0
        for cell in range(index.nlist)
        for size in (lists.list_size(cell),)
    ]
