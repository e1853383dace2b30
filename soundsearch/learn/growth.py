"""Whether more labels would help: how well models do that were trained with fewer clips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .bags import Bags
from .fitting import Recipe, validated
from .folds import dealt
from .rehearing import Reheard
from .report import held_out, measures

__all__ = ["growth"]

Ints = NDArray[np.int64]

_PARTS = 8
_TAKEN = (1, 2, 4)
# Segments times classes above which it is left out, as it doubles the time of a training.
_MOST = 2_000_000


def growth(
    recipe: Recipe,
    bags: Bags,
    folds: Ints,
    groups: Ints,
    on_step: Callable[[str], None],
    heard: Reheard | None = None,
) -> tuple[list[tuple[int, dict[str, float]]], bool]:
    """Train with an eighth, a quarter and half of the clips, and measure with the same folds.

    Each part has whole groups and its share of every class, and is in the next larger one; a class
    of few clips may have none in the smallest.

    Parameters
    ----------
    recipe, bags, folds, on_step, heard
        See `soundsearch.learn.fitting.validated`.
    groups : int64 [clips]
        Numbered from 0.

    Returns
    -------
    list of (int, dict)
        How many clips models were trained with, on average over the folds, and their
        `soundsearch.learn.report.measures`. Empty where segments times classes are above two
        millions. A part of fewer clips than classes is left out.
    bool
        Whether a Ctrl-C ended it.
    """
    found: list[tuple[int, dict[str, float]]] = []
    if len(bags.vectors) * bags.targets.shape[1] > _MOST:
        return found, False
    parts = dealt(bags.targets, groups, _PARTS, recipe.seed + 1)
    for taken in _TAKEN:
        kept = parts < taken
        counts = [int((kept & (folds != fold)).sum()) for fold in range(int(folds.max()) + 1)]
        if min(counts) < bags.targets.shape[1]:
            continue
        try:
            on_step(f"with {taken} of {_PARTS} parts of the clips, to compare")
            fitted, held = validated(recipe, bags, folds, on_step, heard, kept)
        except KeyboardInterrupt:
            return found, True
        if fitted[-1].was_stopped:
            return found, True
        scored, _ = held_out(fitted, held)
        clips = round(float(np.mean(counts)))
        found.append((clips, measures(scored, one_label=recipe.output == "softmax")))
    return found, False
