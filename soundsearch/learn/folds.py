"""Parts of the clips to hold back in turn: no group, such as a recording, is in two of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError

__all__ = ["check_folds", "dealt"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NAMED = 3


def dealt(targets: Floats, groups: Ints, count: int, seed: int) -> Ints:
    """Deal whole groups into folds, so that each has its share of every class.

    The largest groups first, each into the fold that has the least of its classes.

    Parameters
    ----------
    targets : float64 [clips, classes]
    groups : int64 [clips]
        Numbered from 0.
    count : int
        Of folds, at least 2.
    seed : int

    Returns
    -------
    int64 [clips]
        The fold of each clip, from 0.
    """
    sums = np.zeros((int(groups.max()) + 1, targets.shape[1]))
    np.add.at(sums, groups, targets)
    sizes = np.bincount(groups)
    shuffled = np.random.default_rng(seed).permutation(len(sums))
    rarity = 1 / np.maximum(targets.sum(0), 1)
    inside, filled = np.zeros((count, targets.shape[1])), np.zeros(count)
    fold_of = np.zeros(len(sums), np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        classes = np.flatnonzero(sums[group])
        adds = sums[group, classes]
        crowding = (inside[:, classes] * adds * rarity[classes]).sum(1)
        # Of folds that are alike in this, the one with the fewest clips.
        fold = np.lexsort((filled, np.round(crowding, 9)))[0]
        inside[fold, classes] += adds
        filled[fold] += sizes[group]
        fold_of[group] = fold
    return fold_of[groups]


def check_folds(
    targets: Floats,
    groups: Ints,
    folds: Ints,
    *,
    classes: Sequence[str],
    group_names: Sequence[str],
    fold_names: Sequence[str],
) -> None:
    """Check folds that were given: no group in two, no class in one alone.

    Raises
    ------
    ArgumentError
        Which are, by name.
    """
    if len(fold_names) < 2:
        raise ArgumentError(
            f"folds: expected at least two, as one is held back in turn, got {fold_names[0]!r} "
            "for every clip"
        )
    pairs = np.unique(np.stack([groups, folds], axis=1), axis=0)
    twice = np.flatnonzero(np.bincount(pairs[:, 0]) > 1)
    if len(twice):
        first = [fold_names[fold] for group, fold in pairs.tolist() if group == twice[0]]
        raise ArgumentError(
            f"folds: expected each group in one fold, got {group_names[twice[0]]!r} in "
            f"{', '.join(map(repr, first[:_NAMED]))} ({len(twice)} of {len(group_names)} groups "
            "are in several); a recording would help to recognise itself: give all clips of a "
            "group the same fold"
        )
    for column, name in enumerate(classes):
        there = np.unique(folds[targets[:, column] > 0])
        if len(there) < 2:
            raise ArgumentError(
                f"folds: expected clips of every class in at least two folds, got those of "
                f"{name!r} in {fold_names[there[0]]!r} alone: nothing is left to learn it from "
                "while that fold is held back"
            )
