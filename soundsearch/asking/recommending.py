"""Recommending: several tastes, each with its own clips, in turn and unlike each other.

``python -m benchmarks.recommending`` compares this with one direction for all that is liked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.products import product

from ..errors import ArgumentError
from ..results import Hit
from ..stores.base import Reading
from ..stores.filters import Filter
from ..stores.records import ClipName, Key, Settings
from ..vectors import unit
from .questions import is_number
from .related import HEAD, best_stretches, hits_of, nearest, reranked

__all__ = ["AGAINST", "Likes", "diverse", "find_recommended", "tasted", "tastes"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# At most so many tastes; two are one where their cosine is at least this.
_TASTES, _ALIKE = 8, 0.4
# Of more clips than this, those that count most make the tastes, and the others join them.
_LIKED = 200
# How much of the cosine to the nearest of what is disliked is taken from a score.
AGAINST = 0.5
# Lower weights, of what was liked long ago, are as good as none.
_LEAST = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Likes:
    """What is liked and what is not; see `Clips.recommend`.

    Attributes
    ----------
    liked, disliked, exclude : tuple of clips
        Uris, ids or Keys.
    weights : float32 [liked]
        How much each of `liked` counts, the highest being 1.
    diversity : float

    Raises
    ------
    ArgumentError
        An argument cannot be.
    """

    liked: Any
    disliked: Any = ()
    exclude: Any = ()
    weights: Any = None
    half_life: Any = None
    diversity: Any = 0.3

    def __post_init__(self) -> None:
        for what in ("liked", "disliked", "exclude"):
            object.__setattr__(self, what, _clips(getattr(self, what), what))
        if not self.liked:
            raise ArgumentError("liked: expected at least one clip, got none")
        weights = np.ones(len(self.liked))
        if self.weights is not None:
            weights = _weights(self.weights, len(self.liked))
        if self.half_life is not None:
            past = np.arange(len(self.liked))[::-1]
            past = np.maximum(past - past[weights > 0].min(), 0)  # the latest that counts is whole
            weights = weights * 0.5 ** (past / _positive(self.half_life, "half_life"))
        weights = (weights / weights.max()).astype(np.float32)
        object.__setattr__(self, "weights", weights)
        if not is_number(self.diversity) or not 0 <= self.diversity <= 1:
            raise ArgumentError(f"diversity: expected a number from 0 to 1, got {self.diversity!r}")


def _clips(given: Any, what: str) -> tuple[ClipName, ...]:
    if isinstance(given, (str, os.PathLike)) or not isinstance(given, Iterable):
        given = (given,)
    clips = tuple(given)
    for clip in clips:
        right = isinstance(clip, (str, os.PathLike, int, np.integer, Key))
        if not right or isinstance(clip, (bool, np.bool_)):
            raise ArgumentError(f"{what}: expected uris, ids or Keys of clips, got {clip!r:.100}")
    return tuple(int(clip) if isinstance(clip, np.integer) else clip for clip in clips)


def _weights(given: Any, count: int) -> NDArray[np.float64]:
    try:
        weights = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(f"weights: expected numbers, got {given!r:.100}") from None
    if weights.shape != (count,):
        raise ArgumentError(
            f"weights: expected {count}, one for each liked clip, got {list(weights.shape)}"
        )
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ArgumentError(
            f"weights: expected finite numbers of at least 0, not all 0, got {given!r:.100}"
        )
    return weights


def _positive(value: Any, what: str) -> float:
    if not is_number(value) or value <= 0:
        raise ArgumentError(f"{what}: expected a number above 0, or None, got {value!r}")
    return float(value)


def tasted(reading: Reading, clip_ids: Sequence[int]) -> Floats:
    """One vector for each clip, the mean of its stretches: float32 [n, d], unit length or zero.

    Raises
    ------
    ClipChanged
    """
    owners, vectors = reading.pooled(np.array(clip_ids, np.int64))
    sums = np.zeros((len(clip_ids), vectors.shape[1]), np.float32)
    np.add.at(sums, owners, vectors)
    return unit(sums)


def tastes(liked: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """What clips have in common, where they do: the two nearest are merged, again and again.

    Parameters
    ----------
    liked : float32 [n, d]
        Of unit length.
    weights : float32 [n]
        How much each counts, above 0.

    Returns
    -------
    vectors : float32 [t, d]
        Of unit length, `t` at most `_TASTES`.
    weights : float32 [t]
        The sums of the clips' weights.
    """
    heavy = np.argsort(-weights, kind="stable")
    first, others = heavy[:_LIKED], heavy[_LIKED:]
    sums, counts = weights[first, None] * liked[first], weights[first]
    there = np.ones(len(sums), np.bool_)
    units = unit(sums)
    cosines = product(units, units.T)
    np.fill_diagonal(cosines, -2)
    for left in range(len(sums), 1, -1):
        one, other = sorted(divmod(int(cosines.argmax()), len(sums)))
        if cosines[one, other] < _ALIKE and left <= _TASTES:
            break
        sums[one] += sums[other]
        counts[one] += counts[other]
        there[other] = False
        units[one] = unit(sums[one : one + 1])[0]
        merged = np.where(there, units @ units[one], -2)
        merged[one] = -2
        cosines[one], cosines[:, one] = merged, merged
        cosines[other], cosines[:, other] = -2, -2
    sums, counts = sums[there], counts[there]
    nearest = product(liked[others], unit(sums).T).argmax(axis=1)
    np.add.at(sums, nearest, weights[others, None] * liked[others])
    np.add.at(counts, nearest, weights[others])
    return unit(sums), counts


def diverse(
    scores: Floats, vectors: Floats, weights: Floats, count: int, diversity: float
) -> list[tuple[int, int]]:
    """Choose clips for each taste in turn, each unlike those that were chosen before.

    Turns are in proportion to the weights, by Sainte-Laguë's method. A taste chooses by maximal
    marginal relevance: the clip with the highest ``(1 - diversity) * score - diversity * nearest``,
    where `nearest` is its highest cosine to a chosen clip, at least 0. Carbonell and Goldstein, The
    Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing Summaries (1998);
    their lambda is 1 - diversity.

    Parameters
    ----------
    scores : float32 [t, n]
        Of each clip for each taste; -inf for a clip that is none for it.
    vectors : float32 [n, d]
        Of unit length.
    weights : float32 [t]
    count : int
    diversity : float
        From 0 to 1.

    Returns
    -------
    list of (taste, clip)
        At most `count`, each clip once.
    """
    left = scores > -np.inf
    gains = np.where(left, (1 - diversity) * np.where(left, scores, 0), -np.inf)
    costs = np.zeros(len(vectors), np.float32)
    had = np.zeros(len(weights))
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count and left.any():
        taste = int(np.where(left.any(axis=1), weights / (2 * had + 1), -1).argmax())
        had[taste] += 1
        clip = int((gains[taste] - diversity * costs).argmax())
        chosen.append((taste, clip))
        left[:, clip] = False
        gains[:, clip] = -np.inf
        np.maximum(costs, product(vectors, vectors[clip][:, None])[:, 0], out=costs)
    return chosen


def find_recommended(
    reading: Reading,
    settings: Settings,
    likes: Likes,
    liked: Sequence[int],
    disliked: Sequence[int],
    k: int,
    filter: Filter | None,
    *,
    exclude: Iterable[int] = (),
    offset: int = 0,
    min_score: float = -np.inf,
) -> list[Hit]:
    """Recommend clips; see `Clips.recommend`.

    All clips are ids, `liked` and `disliked` those of `likes`.

    Raises
    ------
    ArgumentError
        A clip is liked and disliked, by two names, or nothing that is liked has a direction.
    ClipChanged
    """
    without = frozenset((*liked, *disliked, *exclude))
    both = set(liked) & set(disliked)
    if both:
        raise ArgumentError(f"expected no clip liked and disliked at once, got clip {min(both)}")
    wanted = tasted(reading, liked)
    counted = wanted.any(axis=1) & (likes.weights >= _LEAST)
    if not counted.any():
        raise ArgumentError("liked: expected clips with a sound, got none that has a direction")
    along, weights = tastes(wanted[counted], likes.weights[counted])
    found = nearest(reading, along, max(HEAD, offset + k), filter, without)
    heads = np.unique(np.concatenate([ids[:HEAD] for ids, _ in found]))
    if not len(heads):
        return []
    vectors = best_stretches(reading, heads, along)
    scores = np.full((len(along), len(heads)), -np.inf, np.float32)
    for taste, (ids, _) in enumerate(found):
        places = np.searchsorted(heads, ids[:HEAD])
        scores[taste, places] = reranked(along[taste], vectors[places])
    if disliked:
        unwanted = tasted(reading, disliked)
        nearness = product(vectors, unwanted.T).max(axis=1)
        scores -= np.float32(AGAINST) * np.maximum(nearness, 0)
    chosen = diverse(scores, vectors, weights, offset + k, likes.diversity)
    order = heads[[clip for _, clip in chosen]]
    worth = np.array([scores[place] for place in chosen], np.float32)
    if len(order) < offset + k:
        more, cosines = _rest(found, heads)
        order = np.concatenate([order, more])
        worth = np.concatenate([worth, np.minimum(cosines, worth.min())])
    order, worth = order[offset : offset + k], worth[offset : offset + k]
    kept = worth >= min_score
    even = np.ones(len(along), np.float32)
    return hits_of(reading, settings, along, even, order[kept], worth[kept], "best-pair", offset)


def _rest(found: Sequence[tuple[Ints, Floats]], heads: Ints) -> tuple[Ints, Floats]:
    """The clips that are not among the heads, as near as they are to a taste, and their cosines."""
    ids = np.concatenate([ids[HEAD:] for ids, _ in found])
    cosines = np.concatenate([cosines[HEAD:] for _, cosines in found])
    order = np.lexsort((ids, -cosines))
    ids, cosines = ids[order], cosines[order]
    _, first = np.unique(ids, return_index=True)
    first = np.sort(first)
    first = first[~np.isin(ids[first], heads)]
    return ids[first], cosines[first]
