"""What is known of a trained head: how well it does with clips that were held back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bags import Bags
from .calibrate import Calibration, calibration
from .fitting import Fitted
from .measures import (
    Reliability,
    area_under_curve,
    average_precisions,
    confusions,
    d_prime,
    pairs,
    reliability,
)

__all__ = ["ClassReport", "HeldOut", "Report", "held_out", "measures", "report"]

Floats = NDArray[np.float64]

_LIKELY = 0.5
_CONFUSED = 50


@dataclass(frozen=True, slots=True)
class ClassReport:
    """How well one class is known.

    Attributes
    ----------
    name : str
    clips : int
    average_precision, area, d_prime : float or None
        None where no clip held back was of the class, or all were.
    precision, recall : float or None
        Of what is chosen: the class with the highest score, or each with a score above 0.5. None
        where nothing was chosen, or nothing was there.
    """

    name: str
    clips: int
    average_precision: float | None
    area: float | None
    d_prime: float | None
    precision: float | None
    recall: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HeldOut:
    """Scores of clips, each by a model that was trained without it.

    Attributes
    ----------
    scores, targets : float64 [clips, classes]
        Calibrated with the clips of the other folds.
    before, after : Reliability
        Without calibration and with it.
    """

    scores: Floats
    targets: Floats
    before: Reliability
    after: Reliability

    def __repr__(self) -> str:
        return f"<HeldOut, {len(self.scores)} clips>"


def held_out(fitted: Sequence[Fitted], held: Sequence[Bags]) -> tuple[HeldOut, Calibration]:
    """What the models of folds say of the clips that were held back, and a calibration by all."""
    models = [each.model for each in fitted]
    calibrated = []
    for number, (model, bags) in enumerate(zip(models, held, strict=True)):
        others = [place for place in range(len(models)) if place != number] or [number]
        by_others = calibration([models[o] for o in others], [held[o] for o in others])
        calibrated.append(by_others.of(model).probabilities(bags))
    targets = np.concatenate([bags.targets for bags in held])
    one_label = models[0].output == "softmax"
    raw = np.concatenate([m.probabilities(b) for m, b in zip(models, held, strict=True)])
    scores = np.concatenate(calibrated)
    before = reliability(raw, targets, one_label=one_label)
    after = reliability(scores, targets, one_label=one_label)
    return HeldOut(scores, targets, before, after), calibration(models, held)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Report:
    """How well a head does with clips that were held back.

    Attributes
    ----------
    measures : dict of str to float
        ``accuracy`` where a clip has one label; ``mAP`` and ``AUC``, means over classes; ``d'`` of
        the mean AUC, as AudioSet's authors give it; the expected calibration errors.
    classes : list of ClassReport
        In the order of the head.
    confused : list of (str, str, int)
        What clips are, what they were taken for, and how many, most first.
    confusion : int64 [classes, classes]
        Rows are what clips are.
    before, after : Reliability
        Without calibration and with it.
    curve : list of (float, float)
        At each step the mean losses on clips that were trained with and on those held back.
    steps : list of float
        The setting of each step: the penalty, or the epoch.
    best_step : int
        At which the head's training stopped.
    by_clips : list of (int, dict of str to float)
        The measures by how many clips models were trained with, fewest first; the last ones are
        `measures`. Empty where there are too few clips or too many; see
        `soundsearch.learn.growth`.
    """

    measures: dict[str, float]
    classes: list[ClassReport]
    confused: list[tuple[str, str, int]]
    confusion: NDArray[np.int64]
    before: Reliability
    after: Reliability
    curve: list[tuple[float, float]]
    steps: list[float]
    best_step: int
    by_clips: list[tuple[int, dict[str, float]]]

    def __repr__(self) -> str:
        means = ", ".join(f"{name} {value:.3f}" for name, value in self.measures.items())
        return f"<Report: {means}>"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "measures": self.measures,
            "classes": [each.to_dict() for each in self.classes],
            "confused": [list(each) for each in self.confused],
            "reliability": {"before": self.before.to_dict(), "after": self.after.to_dict()},
            "curve": [
                {"step": step, "trained": trained, "held_back": held}
                for step, (trained, held) in zip(self.steps, self.curve, strict=True)
            ],
            "best_step": self.steps[self.best_step],
            "by_clips": [{"clips": clips, **values} for clips, values in self.by_clips],
        }


def measures(found: HeldOut, *, one_label: bool) -> dict[str, float]:
    """The means of `Report.measures`."""
    scores, targets = found.scores, found.targets
    area = float(np.nanmean(area_under_curve(scores, targets)))
    values = {
        "mAP": float(np.nanmean(average_precisions(scores, targets))),
        "AUC": area,
        "d'": float(d_prime(area, float(pairs(targets).sum()))),
        "calibration error before": found.before.error,
        "calibration error": found.after.error,
    }
    if one_label:
        right = scores.argmax(1) == targets.argmax(1)
        values = {"accuracy": float(right.mean()), **values}
    return values


def report(
    found: HeldOut,
    classes: Sequence[str],
    fitted: Sequence[Fitted],
    steps: Sequence[float],
    best_step: int,
    fewer: Sequence[tuple[int, dict[str, float]]] = (),
    *,
    one_label: bool,
) -> Report:
    """Sum up what is known of the clips that were held back.

    Parameters
    ----------
    found : HeldOut
    classes : sequence of str
    fitted : sequence of Fitted
        Whose curves are averaged, as far as all of them go.
    steps : sequence of float
        What each step is called.
    best_step : int
    fewer : sequence of (int, dict)
        Measures of models that were trained with fewer clips.
    one_label : bool
    """
    scores, targets = found.scores, found.targets
    chosen = scores > _LIKELY
    if one_label:
        chosen = scores.argmax(1)[:, None] == np.arange(scores.shape[1])
    confusion = confusions(chosen, targets)
    length = min(len(each.curve) for each in fitted)
    curve = np.mean([each.curve[:length] for each in fitted], axis=0).tolist()
    values = measures(found, one_label=one_label)
    trained_with = round(len(targets) * (1 - 1 / len(fitted)))
    return Report(
        values,
        _by_class(classes, scores, targets, chosen),
        _confused(classes, confusion),
        confusion,
        found.before,
        found.after,
        [(trained, held) for trained, held in curve],
        list(steps[:length]),
        best_step,
        [*fewer, (trained_with, values)] if fewer else [],
    )


def _by_class(
    classes: Sequence[str], scores: Floats, targets: Floats, chosen: NDArray[np.bool_]
) -> list[ClassReport]:
    areas = area_under_curve(scores, targets)
    right = (chosen * targets).sum(0)
    columns = (
        average_precisions(scores, targets),
        areas,
        d_prime(areas, pairs(targets)),
        _shares(right, chosen.sum(0)),
        _shares(right, targets.sum(0)),
    )
    rows = zip(classes, targets.sum(0), zip(*columns, strict=True), strict=True)
    return [
        ClassReport(name, int(clips), *(None if np.isnan(x) else float(x) for x in values))
        for name, clips, values in rows
    ]


def _shares(part: Floats, whole: NDArray[Any]) -> Floats:
    shares: Floats = np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
    return shares


def _confused(classes: Sequence[str], confusion: NDArray[np.int64]) -> list[tuple[str, str, int]]:
    wrong = confusion * (1 - np.eye(len(confusion), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSED]
    pairs_of = zip(*np.unravel_index(order, wrong.shape), strict=True)
    return [
        (classes[is_], classes[taken], int(wrong[is_, taken]))
        for is_, taken in pairs_of
        if wrong[is_, taken]
    ]
