"""Search by inner product over stored vectors, whose lengths count: exact, or along cells.

The cells of the approximate index hold vectors of about the same direction, and of each vector the
length is known. Its product is estimated from that and from its cell, a little high, so that those
are not missed that lie nearer than their cell's middle; where the estimates are highest, products
are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.products import product

from ...vectors import Directions, scores_along
from .cells import known_cells
from .index import BLOCK
from .live import Live
from .rows import Rows, ranges
from .shards import Shards

__all__ = ["Chosen", "CoveredRows", "ProductSearch"]

Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]

# How many products are exact at most, unless so many for each result are more; in how many steps,
# as it ends when no estimate is as high as the results; how many are estimated for one that may be
# exact, and by which factor more cells are visited while a filter leaves fewer; and by how many
# standard deviations in a cell they are estimated high. Measured with
# `benchmarks.labels`.
_SCORED = 16_000
_SCORED_PER_RESULT = 40
_STEPS = 8
_ESTIMATED = 3
_MORE = 2
_HIGH = 2.0


class Chosen:
    """Live rows to search among: those that shards cover, as a mask (None: all), and the others."""

    def __init__(self, mask: NDArray[np.bool_] | None, count: int, others: Ints) -> None:
        self.mask = mask
        self.count = count
        self.others = others

    @classmethod
    def of(cls, rows: Ints, covered: int) -> Chosen:
        """Some rows, ascending."""
        middle = int(np.searchsorted(rows, covered))
        mask = np.zeros(covered, np.bool_)
        mask[rows[:middle]] = True
        return cls(mask, middle, rows[middle:])


class CoveredRows:
    """What is known of the rows that shards cover, by cells.

    Parameters
    ----------
    shards : Shards
    sums : sequence
        See `known_cells`.
    vectors : float32 [rows, d]
    """

    def __init__(self, shards: Shards, sums: Sequence[Sequence[int] | None], vectors: Rows) -> None:
        self.count = shards.rows
        self.cells = known_cells(shards, sums, vectors)
        lists = [shards.rows_by_cell(shard) for shard in range(len(shards.indexes))]
        self.middles = shards.middles()
        of_shards = [
            np.concatenate(rows) + begin
            for rows, begin in zip(lists, shards.bounds[:-1], strict=True)
        ]
        sizes = np.array([list(map(len, rows)) for rows in lists], np.int64)
        rows = np.concatenate(of_shards).astype(np.min_scalar_type(shards.rows))
        if len(lists) > 1:  # by cell, then by shard
            starts = (np.cumsum(sizes) - sizes.ravel()).reshape(sizes.shape)
            rows = rows[ranges(starts.T.ravel(), sizes.T.ravel())]
        self.rows = rows
        self.norms = self.cells.norms[rows]
        self.sizes = sizes.sum(axis=0)
        self.starts = np.cumsum(self.sizes) - self.sizes


class ProductSearch:
    """Search by inner product over the rows of a vector file.

    Parameters
    ----------
    vectors : float32 [rows, d]
    live : Live
        The rows that belong to a clip.
    covered : CoveredRows or None
        The first rows, where shards cover any.
    """

    def __init__(self, vectors: Rows, live: Live, covered: CoveredRows | None) -> None:
        self._vectors = vectors
        self.covered = covered
        count = 0 if covered is None else covered.count
        self._all = Chosen(live.mask(count), live.count(0, count), live.numbers(count))

    def among(self, rows: Ints) -> Chosen:
        """A search among some live rows, ascending, for `search`."""
        return Chosen.of(rows, 0 if self.covered is None else self.covered.count)

    def search(self, along: Directions, k: int, chosen: Chosen | None) -> Ints:
        """The rows with the highest scores, best first; see `Directions`."""
        chosen = chosen or self._all
        wanted = max(_SCORED, _SCORED_PER_RESULT * k)
        best = [self._best(chosen.others, along, k)]
        if self.covered is not None and chosen.count <= wanted:
            mask = np.ones(self.covered.count, np.bool_) if chosen.mask is None else chosen.mask
            best.append(self._best(np.flatnonzero(mask), along, k))
        elif self.covered is not None:
            best.append(self._best_estimated(self.covered, along, k, wanted, chosen.mask))
        rows, scores = (np.concatenate(column) for column in zip(*best, strict=True))
        order = np.lexsort((rows, -scores))[:k]
        found: Ints = rows[order]
        return found

    def _best_estimated(
        self,
        covered: CoveredRows,
        along: Directions,
        k: int,
        wanted: int,
        mask: NDArray[np.bool_] | None,
    ) -> tuple[Ints, Vectors]:
        """The best of the rows with the highest estimates, in no order."""
        steep = [_steepness(covered, weights) for weights, _ in along]
        bounds = [
            covered.cells.reach(each) + biases
            for each, (_, biases) in zip(steep, along, strict=True)
        ]
        highest = np.min([bound.max(axis=1) for bound in bounds], axis=0)
        cells, places = _visited(covered, highest, _ESTIMATED * wanted, mask)
        norms = covered.norms[places]
        estimates = np.full(len(places), np.inf, np.float32)
        for each, bound, (_, biases) in zip(steep, bounds, along, strict=True):
            leading = bound.argmax(axis=1)  # the direction with the highest bound in a cell
            slopes = each[np.arange(len(each)), leading][cells]
            np.minimum(estimates, slopes * norms + biases[leading][cells], out=estimates)
        wanted = min(wanted, len(places))
        step = max(1, wanted // _STEPS)
        # After a first short one, of many directions few still count.
        ends = [max(1, step // _STEPS), *range(step, wanted - _STEPS, step), wanted]
        order = np.argpartition(-estimates, [end - 1 for end in ends])
        found, scores = np.empty(0, np.int64), np.empty(0, np.float32)
        for begin, end in zip([0, *ends], ends, strict=False):
            part = order[begin:end]
            highest, least = estimates[part].max(), estimates[part].min()
            if len(scores) == k:
                if highest < scores.min():
                    break
                least = max(least, scores.min())
            counting = _counting(along, bounds, np.unique(cells[part]), least)
            rows = np.sort(covered.rows[places[part]]).astype(np.int64)
            more = self._best(rows, counting, k)
            found, scores = np.concatenate((found, more[0])), np.concatenate((scores, more[1]))
            found, scores = _highest(found, scores, k)
        return found, scores

    def _best(self, rows: Ints, along: Directions, k: int) -> tuple[Ints, Vectors]:
        """The best of some rows, in no order."""
        kept_rows, kept = rows[:0], np.empty(0, np.float32)
        for begin in range(0, len(rows), BLOCK):
            block = rows[begin : begin + BLOCK]
            vectors = np.asarray(self._vectors[_as_slice(block)])
            scores = scores_along(vectors, along)
            scores = np.where(np.isfinite(scores), scores, -np.inf)  # what a disk damaged
            kept_rows, kept = np.concatenate((kept_rows, block)), np.concatenate((kept, scores))
            kept_rows, kept = _highest(kept_rows, kept, k)
        return kept_rows, kept


def _steepness(covered: CoveredRows, weights: Vectors) -> Vectors:
    """The highest products to be expected in each cell with vectors of length 1."""
    columns = np.ascontiguousarray(weights.T)
    high = _HIGH * np.sqrt(np.einsum("dm,dm->m", columns, columns))
    found: Vectors = product(covered.middles, columns) + covered.cells.spread[:, None] * high
    return found


def _visited(
    covered: CoveredRows, best: Vectors, wanted: int, mask: NDArray[np.bool_] | None
) -> tuple[Ints, Ints]:
    """The cells of the best that hold enough rows: places of these by cells, and their cells."""
    order = np.argsort(-best, kind="stable")
    count = int(np.searchsorted(np.cumsum(covered.sizes[order]), wanted)) + 1
    while True:
        visited = order[:count]
        sizes = covered.sizes[visited]
        places, cells = ranges(covered.starts[visited], sizes), np.repeat(visited, sizes)
        if mask is None:
            return cells, places
        kept = mask[covered.rows[places]]
        if np.count_nonzero(kept) >= wanted or count >= len(order):
            return cells[kept], places[kept]
        count *= _MORE


def _highest(rows: Ints, scores: Vectors, k: int) -> tuple[Ints, Vectors]:
    """The k best of some rows, in no order."""
    if len(scores) <= k:
        return rows, scores
    places = np.argpartition(-scores, k - 1)[:k]
    return rows[places], scores[places]


def _counting(
    along: Directions, bounds: Sequence[Vectors], cells: Ints, least: float
) -> Directions:
    """Those directions along which something in the cells may reach so much, one at least.

    Of many, most promise less everywhere.
    """
    counting = []
    for bound, (weights, biases) in zip(bounds, along, strict=True):
        reach = bound[cells].max(axis=0)
        keep = reach >= min(least, reach.max())
        counting.append((weights[keep], biases[keep]))
    return counting


def _as_slice(rows: Ints) -> Any:
    """Rows that follow each other are read where they are."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows
