"""One direction to search along, from examples for and against.

With fewer than `FEW` examples it is the mean of those for, less a share of the mean of those
against; from then on a linear model that tells those for from those against and from a sample of
the library. ``python -m benchmarks.examples`` compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError
from ..results import Label
from ..stores.base import Reading
from ..vectors import loudness_weights, unit
from .ranking import pool_query

__all__ = ["FEW", "Asked", "direction", "nothing_asked", "sample", "together"]

Floats = NDArray[np.float32]

# From so many examples on, a linear model finds more than a mean does.
FEW = 3
# How much of the mean of those against is taken from the mean of those for: Rocchio's formula,
# with the share that finds most.
_AGAINST = 0.25
# The linear model: the ridge on unit vectors, and how much of what is not wanted are the examples
# against, the rest being the sample.
_RIDGE = 0.06
_SHARE_AGAINST = 1 / 6
# The sample: the nearest segments to random directions, which every store finds quickly.
_DIRECTIONS, _NEAREST = 64, 8
# A direction shorter than this is what rounding leaves of nothing.
_NOTHING = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a question asks the store.

    Attributes
    ----------
    vectors : float32 [n, dimension]
        Embeddings.
    levels : float32 [n]
        How loud each is, dB.
    labels : tuple of Label
        Of what is asked with.
    warning : str or None
        Why there may be less sound than promised.
    clips : frozenset of int
        The clips of the library that are asked with, by id.
    """

    vectors: Floats
    levels: Floats
    labels: tuple[Label, ...] = ()
    warning: str | None = None
    clips: frozenset[int] = frozenset()


def nothing_asked(dimension: int) -> Asked:
    """No sound: what a question by label alone asks."""
    return Asked(np.zeros((0, dimension), np.float32), np.zeros(0, np.float32))


def together(
    like: Sequence[Asked],
    weights: Floats,
    unlike: Sequence[Asked],
    background: Callable[[], Floats],
) -> Asked:
    """One question from examples for and against.

    It is as long as the examples for are in the middle, so that as much of a clip is compared.

    Parameters
    ----------
    like, unlike : sequence of Asked
        At least one is to be like.
    weights : float32 [like]
    background : callable
        Gives some of the library, see `direction`; called if that is needed.

    Raises
    ------
    ArgumentError
        A clip is for and against, or the examples cancel each other out.
    """
    own = frozenset[int]().union(*(asked.clips for asked in like))
    others = frozenset[int]().union(*(asked.clips for asked in unlike))
    if own & others:
        raise ArgumentError(
            f"expected no example for and against at once, got clip {min(own & others)}"
        )
    enough = len(like) + len(unlike) >= FEW
    wanted, unwanted = _pooled(like), _pooled(unlike)
    none = np.zeros((0, wanted.shape[1]), np.float32)
    along = direction(
        wanted, weights, unwanted if len(unlike) else none, background() if enough else none
    )
    if not np.linalg.norm(along) > _NOTHING:
        raise ArgumentError("expected examples that leave something to be like, got none that do")
    count = int(np.median([len(asked.vectors) for asked in like]))
    warnings = [asked.warning for asked in (*like, *unlike) if asked.warning]
    return Asked(
        np.repeat(along[None], count, axis=0),
        np.zeros(count, np.float32),
        warning="; ".join(warnings) or None,
        clips=own | others,
    )


def _pooled(asked: Sequence[Asked]) -> Floats:
    """One unit vector for each example, pooled as the default ranking does."""
    pooled = [pool_query(each.vectors, loudness_weights(each.levels)) for each in asked]
    return unit(np.concatenate(pooled)) if pooled else np.zeros((0, 0), np.float32)


def direction(like: Floats, weights: Floats, unlike: Floats, background: Floats) -> Floats:
    """Where what is wanted lies.

    Parameters
    ----------
    like : float32 [n, d]
        Unit vectors of the examples for, n >= 1.
    weights : float32 [n]
        How much each of them counts; not all zero.
    unlike : float32 [m, d]
        Unit vectors of those against; m may be 0.
    background : float32 [b, d]
        Unit vectors of anything; b may be 0.

    Returns
    -------
    float32 [d]
        Of any length; zero where the examples cancel each other out.
    """
    share = (weights / weights.sum()).astype(np.float64)
    if len(like) + len(unlike) < FEW or not len(background):
        mean: Floats = (share @ like).astype(np.float32)
        return mean - np.float32(_AGAINST) * unlike.mean(0) if len(unlike) else mean
    against = _SHARE_AGAINST if len(unlike) else 0.0
    vectors = np.concatenate([like, unlike, background]).astype(np.float64)
    target = np.concatenate([np.ones(len(like)), -np.ones(len(unlike) + len(background))])
    # What is wanted and what is not count the same, however many there are of each.
    counts = 0.5 * np.concatenate(
        [
            share,
            np.full(len(unlike), against / max(1, len(unlike))),
            np.full(len(background), (1 - against) / len(background)),
        ]
    )
    vectors -= counts @ vectors
    target -= counts @ target
    weighted = vectors * counts[:, None]
    ridge = _RIDGE * np.eye(vectors.shape[1])
    found: Floats = np.linalg.solve(weighted.T @ vectors + ridge, weighted.T @ target)
    return found.astype(np.float32)


def sample(reading: Reading, dimension: int) -> Floats:
    """Some segments of a library, all over its space: unit vectors, float32 [b, dimension]."""
    random = np.random.default_rng(0)
    queries = unit(random.normal(size=(_DIRECTIONS, dimension)).astype(np.float32))
    clip_ids, numbers, _ = reading.search(queries, _NEAREST)
    found = np.stack([clip_ids.ravel(), numbers.ravel()], axis=1)
    found = np.unique(found[found[:, 0] >= 0], axis=0)
    if not len(found):
        return np.zeros((0, dimension), np.float32)
    vectors, _ = reading.rows([(clip, number, number + 1) for clip, number in found.tolist()])
    return unit(vectors)
