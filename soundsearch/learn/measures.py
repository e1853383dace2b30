"""How well scores fit labels: of each class, of all, and whether scores can be believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Reliability",
    "area_under_curve",
    "average_precisions",
    "confusions",
    "d_prime",
    "pairs",
    "reliability",
]

Floats = NDArray[np.float64]

_BINS = 15


def average_precisions(scores: Floats, targets: Floats) -> Floats:
    """The average precision of each class, as scikit-learn's average_precision_score.

    Clips with equal scores are found together.

    Parameters
    ----------
    scores, targets : float64 [clips, classes]
        Targets are 0 or 1.

    Returns
    -------
    float64 [classes]
        In [0, 1]; NaN for a class without a clip.
    """
    found = np.full(scores.shape[1], np.nan)
    for column, (of_class, true) in enumerate(zip(scores.T, targets.T, strict=True)):
        order = np.argsort(-of_class, kind="stable")
        hits = np.cumsum(true[order])
        ends = np.flatnonzero(np.append(np.diff(of_class[order]) != 0, True))
        if hits[-1] > 0:
            gained = np.diff(hits[ends], prepend=0)
            found[column] = (gained * hits[ends] / (ends + 1)).sum() / hits[-1]
    return found


def area_under_curve(scores: Floats, targets: Floats) -> Floats:
    """The area under the ROC curve of each class: how often a clip of it is above another.

    Mann and Whitney's statistic, equal scores counting half; NaN where all clips are of the class
    or none is. Parameters as in `average_precisions`; float64 [classes].
    """
    from scipy.stats import rankdata

    positive, compared = targets.sum(0), pairs(targets)
    above = (rankdata(scores, axis=0) * targets).sum(0) - positive * (positive + 1) / 2
    areas: Floats = np.where(compared > 0, above / np.maximum(compared, 1), np.nan)
    return areas


def pairs(targets: Floats) -> Floats:
    """How many pairs of a clip of a class and another there are, float64 [classes]."""
    positive: Floats = targets.sum(0)
    return positive * (len(targets) - positive)


def d_prime(areas: Floats | float, pairs: Floats | float) -> Floats:
    """How far two normal distributions of deviation 1 are apart that have such areas.

    sqrt(2) times the normal quantile of the area: Hershey et al., CNN Architectures for
    Large-Scale Audio Classification (2017), section 4.1. An area of 1 or 0 counts as half a pair
    away from that, so that it is finite.

    Parameters
    ----------
    areas : float64 [classes] or float
    pairs : float64 [classes] or float
        How many each area is a share of.

    Returns
    -------
    float64 [classes] or float
    """
    from scipy.special import ndtri

    margin = 0.5 / np.maximum(pairs, 1)
    distances: Floats = np.sqrt(2) * ndtri(np.clip(areas, margin, 1 - margin))
    return distances


def confusions(chosen: NDArray[np.bool_], targets: Floats) -> NDArray[np.int64]:
    """How many clips of each class were taken for each class, int64 [classes, classes].

    Rows are what clips are, columns what they were taken for. Of several labels a clip, each that
    it has counts with each that it was given.

    Parameters
    ----------
    chosen : bool [clips, classes]
    targets : float64 [clips, classes]
    """
    return (targets.T @ chosen).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """How often what has a score is true.

    Attributes
    ----------
    error : float
        The expected calibration error: the mean distance between both, by how many scores there
        are, in [0, 1]. Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks
        (2017), with 15 bins.
    scores, shares : float64 [bins]
        The mean score, and how many of these were true, in each bin that is not empty.
    counts : int64 [bins]
    """

    error: float
    scores: Floats
    shares: Floats
    counts: NDArray[np.int64]

    def to_dict(self) -> dict[str, object]:
        """As JSON."""
        return {
            "error": self.error,
            "scores": self.scores.tolist(),
            "shares": self.shares.tolist(),
            "counts": self.counts.tolist(),
        }


def reliability(scores: Floats, targets: Floats, *, one_label: bool) -> Reliability:
    """Whether scores can be believed.

    Parameters
    ----------
    scores, targets : float64 [clips, classes]
    one_label : bool
        Whether only the highest score of each clip counts, or all.
    """
    if one_label:
        best = scores.argmax(1)[:, None]
        said = np.take_along_axis(scores, best, 1).ravel()
        true = np.take_along_axis(targets, best, 1).ravel()
    else:
        said, true = scores.ravel(), targets.ravel()
    bins = np.minimum((said * _BINS).astype(np.int64), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    there = counts > 0
    means = np.bincount(bins, said, _BINS)[there] / counts[there]
    shares = np.bincount(bins, true, _BINS)[there] / counts[there]
    error = float((np.abs(means - shares) * counts[there]).sum() / len(said))
    return Reliability(error, means, shares, counts[there])
