"""Recommending: several tastes, each with its own clips, in turn and unlike each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..vectors import unit

__all__ = ["diverse", "tastes", "turns"]

Floats = NDArray[np.float32]

# At most so many tastes; two are one where their cosine is at least this.
_TASTES, _ALIKE = 8, 0.4
# Of more clips than this, those that count most make the tastes, and the others join them.
_LIKED = 200


def tastes(liked: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """What clips have in common, where they have: the nearest two are merged, again and again.

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
    sums, counts = weights[first, None] * liked[first], weights[first].copy()
    while len(sums) > 1:
        cosines = unit(sums) @ unit(sums).T
        np.fill_diagonal(cosines, -2)
        one, other = sorted(divmod(int(cosines.argmax()), len(sums)))
        if cosines[one, other] < _ALIKE and len(sums) <= _TASTES:
            break
        sums[one] += sums[other]
        counts[one] += counts[other]
        sums, counts = np.delete(sums, other, axis=0), np.delete(counts, other)
    nearest = (liked[others] @ unit(sums).T).argmax(axis=1)
    np.add.at(sums, nearest, weights[others, None] * liked[others])
    np.add.at(counts, nearest, weights[others])
    return unit(sums), counts


def turns(weights: Floats) -> Iterator[int]:
    """Whose turn it is, in proportion to the weights: Sainte-Laguë's method, without end."""
    had = np.zeros(len(weights))
    while True:
        turn = int((weights / (2 * had + 1)).argmax())
        had[turn] += 1
        yield turn


def diverse(
    scores: Floats, vectors: Floats, weights: Floats, count: int, diversity: float
) -> list[tuple[int, int]]:
    """Choose clips for each taste in turn, each unlike those that were chosen before.

    By maximal marginal relevance: the next is the clip with the highest ``(1 - diversity) * score -
    diversity * nearest``, where `nearest` is its highest cosine to a chosen one. Carbonell and
    Goldstein, The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing
    Summaries (1998), where lambda is 1 - diversity.

    Parameters
    ----------
    scores : float32 [t, n]
        Of each clip for each taste; -inf for a clip that is none for it.
    vectors : float32 [n, d]
        Of unit length.
    weights : float32 [t]
        How often it is a taste's turn.
    count : int
    diversity : float
        From 0 to 1.

    Returns
    -------
    list of (taste, clip)
        At most `count`, each clip once.
    """
    left = scores.copy()
    nearest = np.zeros(len(vectors), np.float32)
    chosen: list[tuple[int, int]] = []
    for taste in turns(weights):
        if len(chosen) == count or not (left > -np.inf).any():
            break
        if not (left[taste] > -np.inf).any():
            continue
        clip = int(((1 - diversity) * left[taste] - diversity * nearest).argmax())
        chosen.append((taste, clip))
        left[:, clip] = -np.inf
        nearest = np.maximum(nearest, vectors @ vectors[clip])
    return chosen
