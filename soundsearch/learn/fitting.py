"""Training: models ever closer to the clips, stopped where held-back clips are known best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.extras import needs

from ..errors import ArgumentError
from .augment import AUGMENTATIONS, augmented
from .bags import Bags, joined
from .calibrate import tempered_losses
from .linear import STRENGTHS, regressions
from .models import Model
from .network import EPOCHS, networks
from .rehearing import Reheard
from .sounds import CHANGES, check_changes

__all__ = ["KINDS", "MODELS", "POOLINGS", "Fitted", "Recipe", "common_step", "fit", "validated"]

Ints = NDArray[np.int64]

MODELS = ("logistic", "network")
POOLINGS = ("mean", "max", "attention")
# Of augmentation: made of embeddings, or of sound that is heard again.
KINDS = (*AUGMENTATIONS, *CHANGES)

# Where no clip is held back, the step of each model that did well on ESC-50.
_BLIND = {"logistic": 4, "network": 40}
# Clips whose loss the curve of those trained with is made of.
_SHOWN = 2000
# Steps without a better one after which training ends.
_PATIENCE = {"logistic": 2, "network": 15}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How models are trained.

    Attributes
    ----------
    output : str
        ``softmax`` for one label a clip, ``sigmoid`` for several.
    model : str
        Of `MODELS`.
    pooling : str
        Of `POOLINGS`.
    augment : tuple of str
        Of `KINDS`.
    seed : int

    Raises
    ------
    ArgumentError
        There is no such thing, or they do not fit each other.
    MissingExtra
        The model needs scikit-learn, or a kind of augmentation audiomentations, which is not
        installed.
    """

    output: str
    model: str = "logistic"
    pooling: str = "mean"
    augment: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for what, given, known in (
            ("model", [self.model], MODELS),
            ("pooling", [self.pooling], POOLINGS),
            ("augment", self.augment, KINDS),
        ):
            if wrong := [each for each in given if each not in known]:
                raise ArgumentError(f"{what}: expected {' or '.join(known)}, got {wrong[0]!r}")
        if self.model == "network":
            if self.pooling != "mean":
                raise ArgumentError(
                    f"pooling: expected mean with a network, got {self.pooling!r}, which is for "
                    "logistic regression"
                )
            needs("sklearn", "learn")
        check_changes(self.augment)

    @property
    def normalised(self) -> bool:
        """Whether embeddings are scaled to length 1, which does more with few examples.

        With several labels they stay as they are, so that a library can be searched along the
        directions of classes.
        """
        return self.output == "softmax"

    @property
    def whole(self) -> bool:
        """Whether it is enough to know the mean embedding of each clip."""
        return self.pooling == "mean" and not {"shuffle", "drop"} & set(self.augment)

    def prepared(self, bags: Bags) -> Bags:
        """The clips as the models see them: attention itself says how much a segment counts."""
        if self.pooling == "attention":
            return bags.evened()
        return bags.collapsed() if self.whole else bags

    @property
    def settings(self) -> tuple[float, ...]:
        """What the steps are called: the penalty's strength, or the epoch."""
        return STRENGTHS if self.model == "logistic" else tuple(range(1, EPOCHS + 1))

    def models(self, bags: Bags, more: Bags | None = None) -> Iterable[Model]:
        """Models that fit clips, `prepared`, ever more closely; `more` are made of their sound."""
        bags = augmented(bags, self.augment, self.seed)
        if more is not None:
            bags = joined([bags, more])
        if self.pooling == "mean":
            bags = bags.collapsed()
        if self.model == "network":
            return networks(bags, self.output, self.seed)
        return regressions(bags, self.output, self.pooling)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The best of several models.

    Attributes
    ----------
    model : Model
    step : int
        Which it was, from 0.
    curve : list of (float, float)
        The losses of each on the clips that it was trained with and on those held back.
    was_stopped : bool
        Whether a Ctrl-C ended the training.
    """

    model: Model
    step: int
    curve: list[tuple[float, float]]
    was_stopped: bool = False


def fit(
    recipe: Recipe,
    bags: Bags,
    held: Bags | None,
    last: int | None = None,
    more: Bags | None = None,
) -> Fitted:
    """Train until clips that are held back are known no better, or up to a step.

    A Ctrl-C ends it too, and the best model so far is kept; the first one has to be there.

    Parameters
    ----------
    recipe : Recipe
    bags : Bags
        To train with.
    held : Bags or None
        By whose loss, at the best temperature, the best model is chosen. If None, it is the one
        after step `last`.
    last : int, optional
        By default that of a recipe that can hold nothing back.
    more : Bags, optional
        To train with as well, made of the sound of those.
    """
    best: tuple[float, int, Model] | None = None
    curve: list[tuple[float, float]] = []
    last = _BLIND[recipe.model] if held is None and last is None else last
    stopped = False
    shown = bags.take(np.unique(np.linspace(0, len(bags) - 1, _SHOWN).astype(np.int64)))
    try:
        for step, model in enumerate(recipe.models(bags, more)):
            if held is None:
                best = (0.0, step, model)
            else:
                known, loss = tempered_losses(model, held, shown)
                curve.append((known, loss))
                if best is None or loss < best[0]:
                    best = (loss, step, model)
                if step - best[1] >= _PATIENCE[recipe.model]:
                    break
            if step == last:
                break
    except KeyboardInterrupt:
        if best is None:
            raise
        stopped = True
    if best is None:
        raise AssertionError("a recipe has at least one model")
    return Fitted(best[2], best[1], curve, stopped)


def validated(
    recipe: Recipe,
    bags: Bags,
    folds: Ints,
    on_step: Callable[[str], None],
    heard: Reheard | None = None,
    kept: NDArray[np.bool_] | None = None,
) -> tuple[list[Fitted], list[Bags]]:
    """A model for each fold, trained with the others, and the clips of the fold.

    `heard` has more clips, which are trained with where their originals are; `kept`, bool [clips],
    says which to train with at all. After a Ctrl-C, the models until then.
    """
    fitted: list[Fitted] = []
    held: list[Bags] = []
    for fold in range(int(folds.max()) + 1):
        try:
            on_step(f"fold {fold + 1} of {int(folds.max()) + 1}")
            others = np.flatnonzero((folds != fold) & (True if kept is None else kept))
            part = bags.take(np.flatnonzero(folds == fold))
            more = None if heard is None else heard.of(bags, others)
            fitted.append(fit(recipe, bags.take(others), part, more=more))
            held.append(part)
        except KeyboardInterrupt:
            if not fitted:
                raise
            fitted[-1] = Fitted(fitted[-1].model, fitted[-1].step, fitted[-1].curve, True)
        if fitted[-1].was_stopped:
            break
    return fitted, held


def common_step(fitted: Sequence[Fitted]) -> int:
    """The step at which a model of all clips is to stop: the middle one of those of the folds."""
    return int(np.median([each.step for each in fitted]))
