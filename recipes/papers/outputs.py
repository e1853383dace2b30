"""Aziz's network with an output for every class: why its precision was low, and what works.

One network of 1280-100-1000 learns several labels a clip in several formulations. What they answer
is measured as it is used, as the labels over a threshold, and as a ranking.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import AudioSet, Seconds, audioset
from .job import Job, interval, table
from .measures import mean_average_precision
from .training import device, fit, keras

__all__ = ["FORMULATIONS", "Formulation", "answered", "best_threshold", "network", "run"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Formulation:
    """How the outputs are computed, learned and read.

    Attributes
    ----------
    title, output, loss : str
        Keras's names of the last activation and of the cross-entropy.
    scaled : bool
        Bytes are divided by 255.
    logits : bool
        The cross-entropy is computed from what goes into the activation, so that no output can be
        stuck: Keras clips what comes out of it, and what is clipped has no gradient.
    chosen : bool
        The threshold is that of the best F1 on a validation part; otherwise it is .5.
    """

    title: str
    output: str
    loss: str
    scaled: bool = True
    logits: bool = False
    chosen: bool = False


FORMULATIONS = (
    Formulation("softmax, categorical", "softmax", "categorical"),
    Formulation("softmax, binary", "softmax", "binary"),
    Formulation("sigmoid, categorical", "sigmoid", "categorical"),
    Formulation("sigmoid, binary, bytes not divided", "sigmoid", "binary", scaled=False),
    Formulation("the same, from logits", "sigmoid", "binary", scaled=False, logits=True),
    Formulation("sigmoid, binary", "sigmoid", "binary"),
    Formulation(
        "sigmoid, binary from logits, threshold chosen",
        "sigmoid",
        "binary",
        logits=True,
        chosen=True,
    ),
)
REPORTED = "about 0.015"
_MEASURES = {
    "precision": "precision",
    "recall": "recall",
    "F1": "F1",
    "over": "labels over the threshold, a clip",
    "first": "first is right",
    "mAP": "mAP",
}


def run(job: Job) -> str:
    """Train every formulation on AudioSet's features or made-up ones."""
    clips = audioset(job, *((800, 300) if job.quick else (8_000, 4_000)))
    seeds = job.seeds(3)
    rows: list[tuple[object, ...]] = [("Aziz's, as reported", REPORTED, *[""] * 5)]
    for way in FORMULATIONS:
        found = [_measured(job, way, clips, seed) for seed in seeds]
        rows.append((way.title, *(interval(one[name] for one in found) for name in _MEASURES)))
    labels = clips.test.labels
    return (
        "# Aziz: an output for every class\n\n"
        f"{clips.origin}. {labels.shape[1]} outputs, {labels.sum(1).mean():.2f} labels a clip: who "
        f"answers with every class has a precision of {labels.mean():.4f}. {len(seeds)} seeds; "
        f"{device()}.\n\n" + table(("output, cross-entropy", *_MEASURES.values()), rows)
    )


def answered(truth: Bools, scores: Floats, threshold: float) -> dict[str, float]:
    """Precision and recall over all clips and classes, and others of `_MEASURES`.

    Parameters
    ----------
    truth, scores : bool and float32 [clips, classes]
    threshold : float
        Nothing over it counts as a precision of 0.
    """
    over = scores > threshold
    hits = float((over & truth).sum())
    best = scores.argmax(1)
    return {
        "precision": hits / max(1.0, float(over.sum())),
        "recall": hits / float(truth.sum()),
        "F1": 2 * hits / float(over.sum() + truth.sum()),
        "over": float(over.sum(1).mean()),
        "first": float(truth[np.arange(len(truth)), best].mean()),
        "mAP": mean_average_precision(truth, scores),
    }


def best_threshold(truth: Bools, scores: Floats) -> float:
    """The threshold with the highest F1 over all clips and classes, of those just below a score."""
    order = np.argsort(-scores, axis=None)
    hits = np.cumsum(truth.ravel()[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + truth.sum())
    lowest = np.float32(scores.ravel()[order[f1.argmax()]])
    return float(np.nextafter(lowest, np.float32(-1)))


def _measured(job: Job, way: Formulation, clips: AudioSet, seed: int) -> dict[str, float]:
    def make(folder: Path) -> dict[str, float]:
        part = np.random.default_rng(seed).random(len(clips.train.labels)) < 0.1
        known, held = _rows(clips.train, ~part), _rows(clips.train, part)
        model = network(way, known, seed)

        def scores(features: NDArray[np.uint8]) -> Floats:
            found = model.predict(features, batch_size=256, verbose=0)
            return keras().ops.convert_to_numpy(keras().ops.sigmoid(found)) if way.logits else found

        fit(
            model,
            known.features,
            known.labels.astype(np.float32),
            epochs=3 if job.quick else 20,
            batch=64,
            seed=seed,
            folder=folder,
        )
        threshold = 0.5
        if way.chosen:
            threshold = best_threshold(held.labels, scores(held.features))
        return answered(clips.test.labels, scores(clips.test.features), threshold)

    return job.trial(f"{way.title}, seed {seed}", make)


def network(way: Formulation, known: Seconds, seed: int) -> Any:
    """A compiled network, uint8 [n, 10, 128] to scores or logits, for the classes of `known`."""
    k = keras()
    k.utils.set_random_seed(seed)
    layers = k.layers
    activation = None if way.logits else way.output
    model = k.Sequential(
        [
            layers.Input((10, 128), dtype="uint8"),
            layers.Rescaling(1 / 255 if way.scaled else 1.0),
            layers.Flatten(),
            layers.Dense(100, activation="relu"),
            layers.Dense(1000, activation="relu"),
            layers.Dense(known.labels.shape[1], activation=activation),
        ]
    )
    losses = {
        "binary": k.losses.BinaryCrossentropy,
        "categorical": k.losses.CategoricalCrossentropy,
    }
    model.compile(k.optimizers.Adam(1e-3), losses[way.loss](from_logits=way.logits))
    return model


def _rows(clips: Seconds, rows: Bools) -> Seconds:
    return Seconds(clips.features[rows], clips.labels[rows])
