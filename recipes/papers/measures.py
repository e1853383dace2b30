"""Measures of several labels a clip, as AudioSet's papers give them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soundsearch.learn.measures import area_under_curve, average_precisions

__all__ = ["accuracy", "area_under_roc", "d_prime", "mean_average_precision"]


def mean_average_precision(truth: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    """The mean of average precision over the classes that some clip has.

    Parameters
    ----------
    truth, scores : bool and float [clips, classes]
    """
    return float(
        np.nanmean(average_precisions(scores.astype(np.float64), truth.astype(np.float64)))
    )


def area_under_roc(truth: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    """The mean area under the ROC curve over the classes that some clips have and some lack."""
    return float(np.nanmean(area_under_curve(scores.astype(np.float64), truth.astype(np.float64))))


def d_prime(area: float) -> float:
    """The distance of two unit normal distributions with this area: sqrt(2) times its probit."""
    from scipy.stats import norm

    return float(np.sqrt(2) * norm.ppf(area))


def accuracy(truth: NDArray[np.intp], scores: NDArray[np.float32]) -> float:
    """The share of clips whose class (int [clips]) has the highest score ([clips, classes])."""
    return float((scores.argmax(1) == truth).mean())
