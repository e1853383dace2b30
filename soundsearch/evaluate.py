"""Retrieval metrics, as trec_eval defines them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ArgumentError

__all__ = ["Retrieval", "average_precision", "precision_at", "retrieval"]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Retrieval metrics, averaged over queries.

    Attributes
    ----------
    queries : int
        How many queries counted: those with at least one relevant item.
    precision_at_1 : float
        Share of queries whose nearest item is relevant, in [0, 1].
    mean_average_precision : float
        In [0, 1].
    """

    queries: int
    precision_at_1: float
    mean_average_precision: float


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
    found = int(np.count_nonzero(flags))
    if total is None:
        total = found
    if total < found:
        raise ArgumentError(f"total: expected at least the {found} relevant items, got {total}")
    if depth is not None:
        _check_depth(depth)
        flags = flags[:depth]
    ranks = np.flatnonzero(flags) + 1
    if total == 0:
        return 0.0
    return float(np.sum(np.arange(1, len(ranks) + 1) / ranks) / total)


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
        Queries without a relevant item in another group do not count.

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
    number = 0
    firsts, means = [], []
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
            firsts.append(precision_at(relevant, 1))
            means.append(average_precision(relevant, depth=depth))
    if number != len(kinds):
        raise ArgumentError(f"scores: expected {len(kinds)} rows, got {number}")
    if not firsts:
        raise ArgumentError("no item has another of its class in another group: nothing to find")
    return Retrieval(len(firsts), float(np.mean(firsts)), float(np.mean(means)))


def _as_flags(relevant: ArrayLike) -> NDArray[np.bool_]:
    flags = np.asarray(relevant, bool)
    if flags.ndim != 1:
        raise ArgumentError(f"relevant: expected a truth value per item, got {list(flags.shape)}")
    return flags


def _check_depth(depth: int) -> None:
    if depth < 1:
        raise ArgumentError(f"expected a depth of at least 1, got {depth}")
