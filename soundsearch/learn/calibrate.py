"""Scores that can be believed: a temperature, or Platt's scaling of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bags import Bags
from .models import Model, log_softmax, losses, sigmoid

__all__ = ["Calibration", "calibration", "tempered_losses"]

Floats = NDArray[np.float64]

_HOTTEST = 5.0  # the logarithm of the factor on logits, either way
_NEWTON_STEPS = 50
# A class whose scores say nothing, or the opposite, keeps its order all the same.
_LEAST_SCALE = 1e-2
_CERTAIN = 1e-12
# Classes that are scaled at once.
_AT_ONCE = 32
# Segments that are scored at once.
_SEGMENTS = 8192


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What logits are multiplied with, and what is added.

    Attributes
    ----------
    kind : str
        ``temperature`` or ``Platt``.
    scale, shift : float64 [classes]
    """

    kind: str
    scale: Floats
    shift: Floats

    def of(self, model: Model) -> Model:
        """The model, calibrated: folded into its last layer."""
        return model.scaled(self.scale, self.shift)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"kind": self.kind, "scale": self.scale.tolist(), "shift": self.shift.tolist()}


def calibration(models: Sequence[Model], held: Sequence[Bags]) -> Calibration:
    """Fit the calibration of a kind of model on clips that the models were not trained with.

    Of one label a clip, one temperature for all classes: Guo, Pleiss, Sun and Weinberger, On
    Calibration of Modern Neural Networks (2017). Of several, a scale and a shift of each class:
    Platt, Probabilistic Outputs for Support Vector Machines (1999). All clips count alike.

    Parameters
    ----------
    models : sequence of Model
    held : sequence of Bags
        What each of them was not trained with.
    """
    output, pooling = models[0].output, models[0].pooling
    bags = [replace(each, weights=np.ones((len(each), 1))) for each in held]
    logits = [_logits(model, each) for model, each in zip(models, bags, strict=True)]
    classes = bags[0].targets.shape[1]
    if output == "softmax":
        log_scale, _ = _tempered(logits, bags, output, pooling)
        return Calibration("temperature", np.full(classes, np.exp(log_scale)), np.zeros(classes))
    targets = np.concatenate([each.targets for each in bags])
    parts = [
        _platt(np.concatenate([rows[:, some] for rows in logits]), targets[:, some])
        for some in (slice(at, at + _AT_ONCE) for at in range(0, classes, _AT_ONCE))
    ]
    scale, shift = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Calibration("Platt", scale, shift)


def _logits(model: Model, bags: Bags) -> Floats:
    """The logits that are scaled: of several labels, a clip's highest stays so at every scale."""
    if model.output == "softmax" or model.pooling != "max":
        return model.logits(bags)
    parts = bags.blocks(_SEGMENTS)
    return np.concatenate(
        [np.maximum.reduceat(model.logits(part), part.starts, axis=0) for part in parts]
    )


def tempered_losses(model: Model, held: Bags, trained: Bags) -> tuple[float, float]:
    """The mean losses of clips that were trained with, and of others that were held back.

    Both at the temperature that is best for these: what calibration can mend is no fault.
    """
    rows = [_logits(model, held)]
    log_scale, loss = _tempered(rows, [held], model.output, model.pooling)
    scale = np.full(held.targets.shape[1], np.exp(log_scale))
    return model.scaled(scale, np.zeros_like(scale)).loss(trained), loss


def _tempered(
    logits: Sequence[Floats], held: Sequence[Bags], output: str, pooling: str
) -> tuple[float, float]:
    """The logarithm of the best factor on logits, and the mean loss with it."""
    from scipy.optimize import minimize_scalar

    total = sum(bags.weights.mean(1).sum() for bags in held)
    if output == "sigmoid":  # pooled by `_logits`
        pooling = "mean"

    def loss(log_scale: float) -> float:
        scale = np.exp(log_scale)
        each = (
            (_losses(rows * scale, bags, output, pooling) * bags.weights).sum()
            for rows, bags in zip(logits, held, strict=True)
        )
        return float(sum(each) / total)

    found = minimize_scalar(
        loss, bounds=(-_HOTTEST, _HOTTEST), method="bounded", options={"xatol": 1e-3}
    )
    return float(found.x), float(found.fun)


def _losses(logits: Floats, held: Bags, output: str, pooling: str) -> Floats:
    """The losses of clips by their scores, float64 [clips, 1] or [clips, classes]."""
    if pooling != "max" or output != "softmax":
        return losses(logits, held, output, pooling)[0]
    # The highest shares of segments do not sum to 1: each is right or wrong by itself.
    scores = np.maximum.reduceat(np.exp(log_softmax(logits)), held.starts, axis=0)
    scores = np.clip(scores, _CERTAIN, 1 - _CERTAIN)
    right = np.where(held.targets > 0, np.log(scores), np.log1p(-scores))
    summed: Floats = -right.sum(1, keepdims=True)
    return summed


def _platt(logits: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Scale and shift of each class by Newton's method, with Platt's targets.

    The targets are those of a uniform prior on either side, so that few clips do not lead to
    certainty.
    """
    positive = targets.sum(0)
    negative = len(targets) - positive
    wanted = np.where(targets > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))
    spread = np.maximum(logits.std(0), 1e-12)
    centre = logits.mean(0)
    inputs = (logits - centre) / spread
    scale = np.ones(logits.shape[1])
    shift = np.log((positive + 1) / (negative + 1))
    for _ in range(_NEWTON_STEPS):
        scores = sigmoid(inputs * scale + shift)
        slope, curve = scores - wanted, np.maximum(scores * (1 - scores), 1e-9)
        by_scale, by_shift = (slope * inputs).sum(0), slope.sum(0)
        a = (curve * inputs**2).sum(0) + 1e-6
        b, c = (curve * inputs).sum(0), curve.sum(0) + 1e-6
        determinant = a * c - b**2
        step_scale = (c * by_scale - b * by_shift) / determinant
        step_shift = (a * by_shift - b * by_scale) / determinant
        longest = np.maximum(np.abs(step_scale), np.abs(step_shift))
        damped = np.minimum(1, 2 / np.maximum(longest, 1e-12))
        scale, shift = scale - damped * step_scale, shift - damped * step_shift
        if longest.max() < 1e-8:
            break
    scale = np.maximum(scale / spread, _LEAST_SCALE / spread)
    return scale, shift - scale * centre
