"""What an approximate index misses: the ten nearest segments against an exact search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.logmel import SILENT
from soundsearch_ingest.products import product

from .clips import Clips
from .gathering import portions
from .stores.base import Reading, Span
from .stores.records import StoredClip
from .vectors import unit

__all__ = ["IndexRecall", "index_recall"]

Floats = NDArray[np.float32]

_NEAREST = 10
# Queries of each kind, and pairs that are compared at most, with 20 queries at least.
_QUERIES = 200
_FEWEST = 20
_PAIRS = 400_000_000
# Scores of the same pair differ by less, and count as equal.
_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class IndexRecall:
    """The share of the ten nearest segments that searches find.

    Attributes
    ----------
    of_rows : float
        Asked with segments of the library, which do not count themselves.
    of_others : float
        Asked with what lies between two of them, as a new sound does.
    queries : int
        Of each kind.
    """

    of_rows: float
    of_others: float
    queries: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def index_recall(clips: Clips) -> IndexRecall | None:
    """Compare searches of a library, or of a selection of one, with an exact search.

    Reads all its vectors once. The same at each call, as long as the library is the same.

    Returns
    -------
    IndexRecall or None
        None where there is nothing to measure: the search is exact, or there are hardly any
        segments that sound.
    """
    store = clips._session.store
    if store.is_exact():
        return None
    there = list(store.clips(clips._filter_of(store)))
    return clips._read(lambda reading: _measured(reading, there, clips))


def _measured(reading: Reading, there: Sequence[StoredClip], clips: Clips) -> IndexRecall | None:
    known = reading.clips_by_id([clip.id for clip in there])
    there = list(known.values())
    segments = sum(clip.count for clip in there)
    wanted = min(_QUERIES, max(_FEWEST, _PAIRS // (2 * max(1, segments))))
    vectors, levels = reading.rows(_drawn(there, 4 * wanted))
    sounding = unit(vectors[levels["level"] >= SILENT])
    count = min(wanted, len(sounding))
    if segments <= _NEAREST or count < 2:
        return None
    rows, main = sounding[:count], sounding[-count:]
    share = np.random.default_rng(1).uniform(0.5, 1, (count, 1)).astype(np.float32)
    queries = np.concatenate((rows, unit(share * main + (1 - share) * np.roll(main, 1, axis=0))))
    nearest = _exact(reading, there, queries)
    _, _, scores = reading.search(queries, _NEAREST + 1, clips._filter_of(reading))
    own = np.repeat([1, 0], count)
    least = nearest[np.arange(len(queries)), _NEAREST - 1 + own] - _ROUNDING
    hits = np.clip((scores >= least[:, None]).sum(axis=1) - own, 0, _NEAREST)
    found = hits.reshape(2, count).mean(axis=1) / _NEAREST
    return IndexRecall(round(float(found[0]), 4), round(float(found[1]), 4), count)


def _drawn(clips: Sequence[StoredClip], count: int) -> list[Span]:
    """Segments of the clips, drawn at random, in random order."""
    ends = np.cumsum([clip.count for clip in clips])
    if not len(ends):
        return []
    random = np.random.default_rng(0)
    drawn = random.choice(ends[-1], min(count, int(ends[-1])), replace=False)
    owners = np.searchsorted(ends, drawn, side="right")
    numbers = drawn - ends[owners]
    spans = []
    for owner, behind in zip(owners.tolist(), numbers.tolist(), strict=True):
        number = clips[owner].count + behind
        spans.append((clips[owner].id, number, number + 1))
    return spans


def _exact(reading: Reading, clips: Sequence[StoredClip], queries: Floats) -> Floats:
    """The highest cosines to each query, float32 [n, 11]."""
    best = np.full((len(queries), _NEAREST + 1), -np.inf, np.float32)
    for part in portions(clips):
        vectors, _ = reading.rows([(clip.id, 0, clip.count) for clip in part])
        scores = np.hstack((best, product(queries, np.ascontiguousarray(unit(vectors).T))))
        best = -np.partition(-scores, _NEAREST, axis=1)[:, : _NEAREST + 1]
    return -np.sort(-best, axis=1)
