"""A network of one hidden layer on the mean embeddings of clips: scikit-learn's MLPClassifier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.extras import needs

from .bags import Bags
from .linear import standard
from .models import Model

__all__ = ["EPOCHS", "networks"]

Floats = NDArray[np.float64]

EPOCHS = 200
_HIDDEN = 128
_RATE = 1e-3
_DECAY = 1e-2
# Of scikit-learn's, at least; a batch is a sixteenth of the clips where these are few.
_SMALLEST, _LARGEST = 16, 200


def networks(bags: Bags, output: str, seed: int) -> Iterator[Model]:
    """Dense(128)-ReLU networks after each epoch of Adam: Kingma and Ba (2014).

    Raises
    ------
    MissingExtra
        scikit-learn is not installed.
    """
    classifier = needs("sklearn.neural_network", "learn").MLPClassifier(
        (_HIDDEN,),
        alpha=_DECAY,
        learning_rate_init=_RATE,
        batch_size=1,  # set below, for the rows of an epoch
        random_state=seed,
    )
    mean, deviation = standard(bags)
    rows, answers, weights = _rows(bags, output)
    inputs = ((bags.means() - mean) / deviation)[rows]
    classifier.batch_size = int(np.clip(len(rows) // 16, min(_SMALLEST, len(rows)), _LARGEST))
    known = np.arange(bags.targets.shape[1])
    random = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        order = random.permutation(len(rows))
        classifier.partial_fit(
            inputs[order], answers[order], classes=known, sample_weight=weights[order]
        )
        layers = _layers(classifier, output)
        yield Model(layers, output, "mean").reading(np.diag(1 / deviation), -mean / deviation)


def _rows(bags: Bags, output: str) -> tuple[NDArray[np.int64], NDArray[Any], Floats]:
    """Which clips are shown, as what, and how much each counts.

    A clip that is partly of a class is shown as what it is partly, and counts so much: the loss
    is the same.
    """
    whole = bags.weights.mean(1)
    if output == "softmax":
        clips, classes = np.nonzero(bags.targets)
        weights = whole[clips] * bags.targets[clips, classes]
        return clips, classes, weights / weights.mean()
    # Two clips that were mixed are partly of a class in two ways at most.
    partly = (bags.targets > 0) & (bags.targets < 1)
    low = np.where(partly, bags.targets, 1).min(1)
    high = np.where(partly, bags.targets, 0).max(1)
    shares = np.concatenate([np.where(high > 0, low, 0), np.maximum(high - low, 0), 1 - high])
    answers = np.concatenate(
        [bags.targets > 0, bags.targets >= np.where(high > 0, high, 1)[:, None], bags.targets == 1]
    )
    weights = np.tile(whole, 3) * shares
    shown = np.flatnonzero(weights > 0)
    weights = weights[shown]
    return shown % len(bags), answers[shown].astype(np.int64), weights / weights.mean()


def _layers(classifier: Any, output: str) -> tuple[tuple[Floats, Floats], ...]:
    *hidden, last = [
        (np.array(weight.T, np.float64), np.array(bias, np.float64))
        for weight, bias in zip(classifier.coefs_, classifier.intercepts_, strict=True)
    ]
    if output == "softmax" and len(last[1]) == 1:  # of two classes, it has the second one only
        weight, bias = last
        last = (
            np.concatenate([np.zeros_like(weight), weight]),
            np.concatenate([np.zeros_like(bias), bias]),
        )
    return (*hidden, last)
