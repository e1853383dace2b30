"""Chooses how much of an approximate index a search looks at, by measured recall.

Two numbers make a search cheap or thorough: the cells that it visits, and the candidates from
them that are re-scored exactly. More of one does not make up for too few of the other: where
thousands of segments are nearly alike, the 8 bits of the cells cannot tell which ten are the
nearest, and every cell may be visited in vain. So both are chosen together, and what cannot be
had at a fair price is left.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.logmel import SILENT

from ...vectors import unit
from ..records import Tuning
from .index import cells_holding, exact_scores
from .rows import Rows
from .shards import Shards, load_faiss, most_cells

__all__ = ["tuned"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# Enough, of the ten nearest of each query.
_TARGET = 0.99
_RECALL_AT = 10
# Queries of each kind, see `_queries`.
_QUERIES = 400
_CANDIDATES = (50, 100, 200, 400)
# A candidate that is kept and re-scored takes about as long as this many rows that are scanned.
_ROWS_PER_CANDIDATE = 32
# What a search may cost in any case to find that much, in rows: about a millisecond.
_FAIR_COST = 50_000
# Twice the cost pays off if it takes away a quarter of what is missed.
_PAYS_OFF = 0.75
_HARDLY = 1.1
# Twice the cells are tried unless the last doubling found less than this more; and, around the
# best of them, so many steps to each of its neighbours.
_LITTLE = 0.001
_STEPS = 4
# Rows that all queries are compared with at a time: the scores stay in the processor's cache.
_COMPARED = 1 << 12
# Scores of the same pair differ by less, and count as equal.
_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class _Setting:
    """Cells and candidates; what they find, and what they cost in rows scanned."""

    cells: int
    candidates: int
    recall: float
    cost: float


def tuned(shards: Shards, vectors: Rows, levels: Floats) -> Tuning:
    """The cheapest setting that finds .99 of the ten nearest, if that is to be had.

    If it is not, or only for more than a millisecond and than twice the cost at which the curve of
    recall against cost bends, then the setting there. Costs are counted, not timed: the same index
    is always tuned alike.

    Parameters
    ----------
    shards : Shards
        Of the first rows.
    vectors : float32 [rows, d]
    levels : float32 [rows]
        In dB.
    """
    load_faiss().omp_set_num_threads(os.cpu_count() or 1)
    queries, own = _queries(vectors, levels, shards.rows, np.random.default_rng(0))
    chosen = _chosen(_measured(shards, vectors, queries, own))
    return Tuning(
        cells=chosen.cells,
        all_cells=shards.cells,
        candidates=chosen.candidates,
        recall=round(chosen.recall, 4),
        queries=len(queries),
        rows=shards.rows,
    )


def _measured(shards: Shards, vectors: Rows, queries: Floats, own: Ints) -> list[_Setting]:
    """Settings of ever twice as many cells, up to where more only cost more, and around the best.

    Parameters
    ----------
    shards : Shards
    vectors : float32 [rows, d]
    queries, own : float32 [n, d], int64 [n]
        Of `_queries`.
    """
    most = most_cells(shards.cells)
    scanned = shards.sizes[shards.nearest_cells(queries, most)[0]].cumsum(axis=1).mean(axis=0)
    nearest = _nearest(queries, vectors, shards.rows)
    # Counting by score, not by row, so that copies of a sound count as each other.
    enough = np.take_along_axis(nearest, own[:, None] + _RECALL_AT - 1, 1) - _ROUNDING
    settings: list[_Setting] = []

    def cost(cells: int, candidates: int) -> float:
        rows = float(scanned[cells - 1]) + _ROWS_PER_CANDIDATE * candidates
        return shards.middles_compared(cells) + rows

    def may_be_cheapest(cells: int) -> bool:
        reaching = [setting.cost for setting in settings if setting.recall >= _TARGET]
        return cost(cells, min(_CANDIDATES)) < min(reaching, default=np.inf)

    def measure(cells: int) -> float:
        recall = 0.0
        visited = shards.nearest_cells(queries, cells)
        found = shards.search(queries, max(_CANDIDATES), *visited)
        is_near = exact_scores(vectors, queries, found) >= enough
        for candidates in _CANDIDATES:
            hits = is_near[:, :candidates].sum(axis=1) - own
            recalls = np.clip(hits / _RECALL_AT, 0, 1)
            # What is asked may be of either kind.
            recall = min(_likely(recalls[own == kind]) for kind in (0, 1))
            # With fewer cells, the search would visit more.
            if cells >= min(cells_holding(candidates, shards.cells, shards.rows), most):
                settings.append(_Setting(cells, candidates, recall, cost(cells, candidates)))
        return recall  # with the most candidates

    recall = 0.0
    for cells in [*(1 << n for n in range((most - 1).bit_length())), most]:
        if not may_be_cheapest(cells):
            break
        before, recall = recall, measure(cells)
        if settings and recall > 0.5 and recall - before < _LITTLE:
            break
    best = _chosen(settings).cells
    between = {round(best * 2 ** (step / _STEPS)) for step in range(1 - _STEPS, _STEPS)}
    for cells in sorted(between - {0, best}):
        if cells <= most and may_be_cheapest(cells):
            measure(cells)
    return settings


def _likely(recalls: NDArray[np.float64]) -> float:
    """What other queries will find at least, more likely than not: the mean less its error."""
    return max(0.0, float(recalls.mean() - recalls.std() / np.sqrt(len(recalls))))


def _chosen(settings: list[_Setting]) -> _Setting:
    bend = _bend(settings)
    reaching = [setting for setting in settings if setting.recall >= _TARGET]
    cheapest = min(reaching, key=lambda setting: setting.cost, default=bend)
    return cheapest if cheapest.cost <= max(2 * bend.cost, _FAIR_COST) else bend


def _bend(settings: list[_Setting]) -> _Setting:
    """Where the curve of recall against cost bends: before it, twice the cost pays off."""
    bend = _best(settings)
    while cheaper := [setting for setting in settings if setting.cost <= bend.cost / 2]:
        best = _best(cheaper)
        if 1 - bend.recall < _PAYS_OFF * (1 - best.recall):
            break
        bend = best
    return bend


def _best(settings: list[_Setting]) -> _Setting:
    """The cheapest of those that miss hardly more than any must."""
    fewest_missed = 1 - max(setting.recall for setting in settings)
    good = [setting for setting in settings if 1 - setting.recall <= _HARDLY * fewest_missed]
    return min(good, key=lambda setting: setting.cost)


def _queries(
    vectors: Rows, levels: Floats, rows: int, rng: np.random.Generator
) -> tuple[Floats, Ints]:
    """What is searched for, float32 [n, d], and which of it are rows, which find themselves.

    Half are rows of the library: what `similar` asks, and a recording made twice. The other half
    are mixed of two rows each. A new recording is like that: its sound comes with others beside
    it, so it lies between the rows, farther from all of them and from the middle of any cell.
    Rows that are near silence are not asked for: a query drops them.
    """
    drawn = np.sort(rng.choice(rows, min(rows, 4 * _QUERIES), replace=False))
    sounding = drawn[np.asarray(levels[drawn]) >= SILENT]
    stored = unit(np.asarray(vectors[sounding if len(sounding) > 1 else drawn]))
    rng.shuffle(stored)
    whole, main = stored[:_QUERIES], stored[-_QUERIES:]
    share = rng.uniform(0.5, 1, (len(main), 1)).astype(np.float32)
    mixed = unit(share * main + (1 - share) * np.roll(main, 1, axis=0))
    return np.concatenate((whole, mixed)), np.repeat([1, 0], [len(whole), len(mixed)])


def _nearest(queries: Floats, vectors: Rows, rows: int) -> Floats:
    """The highest cosines to each query, of an exact search, float32 [n, 11]."""
    count = _RECALL_AT + 1
    nearest = np.full((len(queries), count), -np.inf, np.float32)
    for begin in range(0, rows, _COMPARED):
        block = unit(np.asarray(vectors[begin : min(begin + _COMPARED, rows)]))
        scores = queries @ block.T
        # Soon a block has nothing better for most of the queries.
        better = np.flatnonzero(scores.max(axis=1) > nearest[:, -1])
        both = np.hstack((nearest[better], scores[better]))
        nearest[better] = -np.sort(np.partition(-both, count - 1, axis=1)[:, :count], axis=1)
    return nearest
