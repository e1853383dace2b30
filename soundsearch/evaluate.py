"""How well a library finds: retrieval metrics as trec_eval defines them, and comparisons.

Every query is a clip whose class is known; what is found is relevant where it has that class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .asking.ranking import DEFAULT_RANKING
from .clips import Clips
from .errors import ArgumentError

__all__ = [
    "MEASURES",
    "Change",
    "Retrieval",
    "average_precision",
    "evaluate",
    "ndcg_at",
    "precision_at",
    "r_precision",
    "reciprocal_rank",
    "retrieval",
]

Flags = NDArray[np.bool_]
Values = NDArray[np.float64]

# Of one query; in trec_eval's words P_1, P_5, Rprec, map, recip_rank and ndcg_cut_10.
MEASURES = ("P@1", "P@5", "R-precision", "mAP", "MRR", "nDCG@10")

_RESAMPLED = 2_000
_FLIPPED = 10_000
# Groups that are resampled or flipped at a time: together with the rounds, some 100 MB.
_CELLS = 1 << 23


@dataclass(frozen=True, slots=True)
class Change:
    """How a measure differs between two ways of asking.

    Attributes
    ----------
    difference : float
        The other's mean less this one's.
    p : float
        How often a difference at least as large would come by chance if both were alike: of a
        two-sided sign-flip test over groups, in (0, 1].
    """

    difference: float
    p: float


@dataclass(frozen=True, eq=False, repr=False)
class Retrieval:
    """Retrieval metrics of some queries.

    Attributes
    ----------
    names : tuple of str
        Of the queries that counted: those with at least one relevant item.
    classes : str [n]
        The class of each.
    groups : int64 [n]
        The group of each, numbered.
    values : float64 [n, 6]
        Of each query, each of `MEASURES`, in [0, 1].
    """

    names: tuple[str, ...]
    classes: NDArray[np.str_]
    groups: NDArray[np.int64]
    values: Values

    def __repr__(self) -> str:
        means = ", ".join(f"{name} {value:.3f}" for name, value in self.means().items())
        return f"<Retrieval, {self.queries} queries: {means}>"

    @property
    def queries(self) -> int:
        """How many queries counted."""
        return len(self.names)

    def means(self) -> dict[str, float]:
        """The mean of each measure over the queries."""
        return _named(self.values.mean(0))

    def by_class(self) -> dict[str, dict[str, float]]:
        """The means for the queries of each class, ordered by its name."""
        return {
            str(name): _named(self.values[self.classes == name].mean(0))
            for name in np.unique(self.classes)
        }

    def intervals(self, confidence: float = 0.95) -> dict[str, tuple[float, float]]:
        """Where the means would lie had other groups been asked with.

        Percentiles of means over groups drawn with replacement, as queries of one group are not
        independent: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

        Returns
        -------
        dict of str to (low, high)
            The same at each call.
        """
        sums, counts = self._by_group
        random = np.random.default_rng(0)
        alike = np.full(len(sums), 1 / len(sums))
        means = []
        for rounds in _rounds(_RESAMPLED, len(sums)):
            drawn = random.multinomial(len(sums), alike, rounds)
            means.append(drawn @ sums / (drawn @ counts)[:, None])
        side = (1 - confidence) / 2
        low, high = np.quantile(np.concatenate(means), [side, 1 - side], axis=0)
        return {name: (float(a), float(b)) for name, a, b in zip(MEASURES, low, high, strict=True)}

    def changes(self, other: Retrieval) -> dict[str, Change]:
        """How another way of asking does with the same queries.

        A randomisation test with pairs: Smucker, Allan and Carterette, A Comparison of Statistical
        Significance Tests for Information Retrieval Evaluation (2007). The signs of whole groups
        are flipped.

        Raises
        ------
        ArgumentError
            The queries are not the same.
        """
        if self.names != other.names or (self.groups != other.groups).any():
            missing = sorted(set(self.names) ^ set(other.names))
            what = (
                f"{len(missing)} on one only, such as {missing[0]}" if missing else "other groups"
            )
            raise ArgumentError(f"expected the same queries on both sides, got {what}")
        differences = _summed(other.values - self.values, self.groups)
        observed = np.abs(differences.sum(0))
        random = np.random.default_rng(0)
        as_large = np.zeros(len(MEASURES), np.int64)
        for rounds in _rounds(_FLIPPED, len(differences)):
            signs = random.integers(0, 2, (rounds, len(differences)), np.int8) * 2.0 - 1
            as_large += (np.abs(signs @ differences) >= observed - 1e-9).sum(0)
        means = (other.values - self.values).mean(0)
        chances = (1 + as_large) / (1 + _FLIPPED)
        return {
            name: Change(float(mean), float(p))
            for name, mean, p in zip(MEASURES, means, chances, strict=True)
        }

    @cached_property
    def _by_group(self) -> tuple[Values, Values]:
        """The sums of the measures over each group, and its number of queries."""
        return _summed(self.values, self.groups), np.bincount(self.groups).astype(np.float64)


def _rounds(total: int, groups: int) -> Iterable[int]:
    """A number of rounds in parts that fit the memory."""
    at_once = max(1, _CELLS // groups)
    return [min(at_once, total - done) for done in range(0, total, at_once)]


def _summed(values: Values, groups: NDArray[np.int64]) -> Values:
    sums = np.zeros((int(groups.max()) + 1, values.shape[1]))
    np.add.at(sums, groups, values)
    return sums


def _named(means: Values) -> dict[str, float]:
    return dict(zip(MEASURES, means.tolist(), strict=True))


def precision_at(relevant: ArrayLike, k: int) -> float:
    """Share of the first k items that are relevant: trec_eval's ``P_k``.

    Parameters
    ----------
    relevant : bool [n]
        Whether each item is relevant, nearest first.
    k : int
        At least 1. If fewer items were found, the missing ones count as not relevant.

    Returns
    -------
    float
        In [0, 1].
    """
    _check_depth(k)
    return float(np.count_nonzero(_as_flags(relevant)[:k]) / k)


def average_precision(
    relevant: ArrayLike, *, total: int | None = None, depth: int | None = None
) -> float:
    """Mean of the precisions at the ranks of the relevant items: trec_eval's ``map``.

    Parameters
    ----------
    relevant : bool [n]
        Whether each item is relevant, nearest first.
    total : int, optional
        How many relevant items exist; those that were not found count as 0. Default: the number
        found.
    depth : int, optional
        Only the first `depth` items count as found: trec_eval's ``map_cut``.

    Returns
    -------
    float
        In [0, 1]; 0 if nothing is relevant.

    Raises
    ------
    ArgumentError
        More than `total` items are relevant, or `depth` is below 1.
    """
    flags = _as_flags(relevant)
    total = _total(flags, total)
    if depth is not None:
        _check_depth(depth)
        flags = flags[:depth]
    ranks = np.flatnonzero(flags) + 1
    if total == 0:
        return 0.0
    return float(np.sum(np.arange(1, len(ranks) + 1) / ranks) / total)


def r_precision(relevant: ArrayLike, *, total: int | None = None) -> float:
    """Precision at as many items as are relevant: trec_eval's ``Rprec``.

    Parameters are those of `average_precision`.
    """
    flags = _as_flags(relevant)
    total = _total(flags, total)
    return precision_at(flags, total) if total else 0.0


def reciprocal_rank(relevant: ArrayLike) -> float:
    """One over the rank of the first relevant item, 0 without one: trec_eval's ``recip_rank``."""
    ranks = np.flatnonzero(_as_flags(relevant)) + 1
    return 1 / int(ranks[0]) if len(ranks) else 0.0


def ndcg_at(relevant: ArrayLike, k: int, *, total: int | None = None) -> float:
    """Discounted gain of the first k items, of the best possible: trec_eval's ``ndcg_cut_k``.

    An item is relevant or not, and counts 1 / log2(rank + 1): Järvelin and Kekäläinen (2002).
    """
    _check_depth(k)
    flags = _as_flags(relevant)
    best = min(k, _total(flags, total))
    weights = 1 / np.log2(np.arange(2, k + 2))
    return float(weights[: len(flags)][flags[:k]].sum() / weights[:best].sum()) if best else 0.0


def _measured(relevant: Flags, total: int, depth: int | None) -> list[float]:
    """`MEASURES` of one query of which at most `depth` items count as found."""
    found = relevant[:depth]
    return [
        precision_at(found, 1),
        precision_at(found, 5),
        r_precision(found, total=total),
        average_precision(found, total=total),
        reciprocal_rank(found),
        ndcg_at(found, 10, total=total),
    ]


def retrieval(
    scores: Iterable[ArrayLike],
    classes: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    depth: int | None = None,
) -> Retrieval:
    """Retrieval metrics of a collection that is queried with each of its items.

    An item is relevant if it has the class of the query. Items of the query's group, the query
    itself included, are left out of its ranking. Items with equal scores keep their order.

    Parameters
    ----------
    scores : iterable of n arrays, float [n]
        One array for each item as the query, in order: how near every item is to it; higher is
        nearer.
    classes : [n]
        The class of each item.
    groups : [n], optional
        What each item was cut from, such as its recording. Default: each item is its own group.
    depth : int, optional
        Only the first `depth` items of a ranking count as found; see `average_precision`.

    Returns
    -------
    Retrieval
        Queries without a relevant item in another group do not count. Names are item numbers.

    Raises
    ------
    ArgumentError
        Lengths do not match, a score is NaN, or no query has a relevant item.
    """
    kinds = np.asarray(classes)
    sources = np.arange(len(kinds)) if groups is None else np.asarray(groups)
    if kinds.ndim != 1 or sources.shape != kinds.shape:
        raise ArgumentError(
            f"expected classes [n] and groups [n], got {list(kinds.shape)} and "
            f"{list(sources.shape)}"
        )
    if depth is not None:
        _check_depth(depth)
    number = 0
    rows: dict[int, list[float]] = {}
    for number, row in enumerate(scores, 1):
        near = np.asarray(row)
        if number > len(kinds) or near.shape != kinds.shape or np.isnan(near).any():
            raise ArgumentError(
                f"scores: expected {len(kinds)} rows of {len(kinds)} numbers, got "
                f"{list(near.shape)} as row {number}, or NaN in it"
            )
        others = np.flatnonzero(sources != sources[number - 1])
        order = others[np.argsort(-near[others], kind="stable")]
        relevant = kinds[order] == kinds[number - 1]
        if relevant.any():
            rows[number - 1] = _measured(relevant, int(np.count_nonzero(relevant)), depth)
    if number != len(kinds):
        raise ArgumentError(f"scores: expected {len(kinds)} rows, got {number}")
    chosen = np.fromiter(rows, np.int64, len(rows))
    return _gathered([str(item) for item in rows], kinds[chosen], sources[chosen], rows.values())


def evaluate(
    clips: Clips,
    classes: Mapping[str, Any],
    groups: Mapping[str, Any] | None = None,
    *,
    ranking: str = DEFAULT_RANKING,
    depth: int = 50,
    on_clip: Callable[[str], None] = lambda _uri: None,
) -> Retrieval:
    """Ask a library with each of its clips whose class is known, and measure what it finds.

    A clip is relevant if it has the class of the query. Clips of the query's group, and those
    whose class is not known, are left out of what is found.

    Parameters
    ----------
    clips : Clips
        A library or a selection of one, from which is asked and in which is searched.
    classes : mapping of uri to class
        Those that are not among the clips are ignored.
    groups : mapping of uri to group, optional
        What a clip was cut from, such as its recording. A clip without one is its own group.
    ranking : str
        See `Clips.query`.
    depth : int
        How many clips count as found, for each query.
    on_clip : callable
        Called with the uri of each query that was asked.

    Returns
    -------
    Retrieval
        Queries without a relevant clip in another group do not count.

    Raises
    ------
    ArgumentError
        No query has a relevant clip, or `depth` is below 1.
    """
    _check_depth(depth)
    kinds = {clip.uri: str(classes[clip.uri]) for clip in clips if clip.uri in classes}
    own = groups or {}
    # A group that was given has another name than any that a clip is by itself.
    sources = {uri: ("given", own[uri]) if uri in own else ("own", uri) for uri in kinds}
    of_class = Counter(kinds.values())
    of_both = Counter((kinds[uri], sources[uri]) for uri in kinds)
    of_group = Counter(sources.values())
    rows: dict[str, list[float]] = {}
    for uri in sorted(kinds):  # the same order in another library of these clips
        kind = kinds[uri]
        total = of_class[kind] - of_both[kind, sources[uri]]
        if total:
            found = _found(clips, uri, sources, depth, of_group[sources[uri]] - 1, ranking)
            relevant = np.array([kinds[other] == kind for other in found], bool)
            rows[uri] = _measured(relevant, total, depth)
        on_clip(uri)
    numbers = {source: number for number, source in enumerate(map(sources.get, rows))}
    return _gathered(
        list(rows),
        np.array([kinds[uri] for uri in rows], str),
        np.array([numbers[sources[uri]] for uri in rows], np.int64),
        rows.values(),
    )


def _found(
    clips: Clips, uri: str, sources: Mapping[str, Any], depth: int, of_group: int, ranking: str
) -> list[str]:
    """The first `depth` clips near one that are of known class and of another group."""
    wanted = depth + of_group
    while True:
        hits = clips.similar(uri, wanted, ranking=ranking)
        found = [hit.uri for hit in hits if sources.get(hit.uri, sources[uri]) != sources[uri]]
        if len(found) >= depth or len(hits) < wanted:
            return found[:depth]
        wanted *= 4  # clips of unknown class were in the way


def _gathered(
    names: list[str], classes: NDArray[Any], groups: NDArray[Any], rows: Iterable[list[float]]
) -> Retrieval:
    values = np.array(list(rows), np.float64)
    if not len(values):
        raise ArgumentError("no item has another of its class in another group: nothing to find")
    numbered = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    return Retrieval(tuple(names), classes.astype(str), numbered, values)


def _total(flags: Flags, total: int | None) -> int:
    found = int(np.count_nonzero(flags))
    if total is None:
        return found
    if total < found:
        raise ArgumentError(f"total: expected at least the {found} relevant items, got {total}")
    return total


def _as_flags(relevant: ArrayLike) -> Flags:
    flags = np.asarray(relevant, bool)
    if flags.ndim != 1:
        raise ArgumentError(f"relevant: expected a truth value per item, got {list(flags.shape)}")
    return flags


def _check_depth(depth: int) -> None:
    if depth < 1:
        raise ArgumentError(f"expected a depth of at least 1, got {depth}")
