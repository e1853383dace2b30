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

__all__ = ["FORMULATIONS", "Formulation", "answered", "best_threshold", "run"]

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
    informed : bool
        Outputs begin at how frequent their classes are, inputs are standardised, the best epoch is
        kept and the threshold chosen: both on a validation part. Otherwise the threshold is .5.
    """

    title: str
    output: str
    loss: str
    scaled: bool = True
    informed: bool = False


FORMULATIONS = (
    Formulation("softmax, categorical", "softmax", "categorical"),
    Formulation("softmax, binary", "softmax", "binary"),
    Formulation("sigmoid, categorical", "sigmoid", "categorical"),
    Formulation("sigmoid, binary, bytes not divided", "sigmoid", "binary", scaled=False),
    Formulation("sigmoid, binary", "sigmoid", "binary"),
    Formulation("sigmoid, binary, informed", "sigmoid", "binary", informed=True),
)
_MEASURES = {
    "precision": "precision",
    "recall": "recall",
    "over": "labels over the threshold, a clip",
    "first": "first is right",
    "mAP": "mAP",
}


def run(job: Job) -> str:
    """Train every formulation on AudioSet's features or made-up ones."""
    clips = audioset(job, *((800, 300) if job.quick else (8_000, 4_000)))
    seeds = job.seeds(3)
    rows = []
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
        model = _network(way, known, seed)

        def score(model: Any) -> float:
            found = model.predict(held.features, batch_size=256, verbose=0)
            return mean_average_precision(held.labels, found)

        fit(
            model,
            known.features,
            known.labels.astype(np.float32),
            epochs=3 if job.quick else 20,
            batch=64,
            seed=seed,
            folder=folder,
            score=score if way.informed else None,
        )
        threshold = 0.5
        if way.informed:
            threshold = best_threshold(held.labels, model.predict(held.features, verbose=0))
        scores = model.predict(clips.test.features, batch_size=256, verbose=0)
        return answered(clips.test.labels, scores, threshold)

    return job.trial(f"{way.title}, seed {seed}", make)


def _network(way: Formulation, known: Seconds, seed: int) -> Any:
    k = keras()
    k.utils.set_random_seed(seed)
    layers = k.layers
    shares = np.clip(known.labels.mean(0), 1e-5, 0.5)
    steps: list[Any] = [layers.Input((10, 128), dtype="uint8")]
    if way.informed:
        mean, spread = known.features.mean((0, 1)), known.features.std((0, 1))
        steps.append(layers.Normalization(mean=mean, variance=spread**2 + 1))
    else:
        steps.append(layers.Rescaling(1 / 255 if way.scaled else 1.0))
    steps.append(layers.Flatten())
    for width in (100, 1000):
        steps.append(layers.Dense(width, activation="relu"))
        if way.informed:
            steps.append(layers.Dropout(0.5))
    odds = np.log(shares / (1 - shares)).astype(np.float32)
    start = k.initializers.Constant(odds) if way.informed else "zeros"
    size = known.labels.shape[1]
    model = k.Sequential(
        [*steps, layers.Dense(size, activation=way.output, bias_initializer=start)]
    )
    model.compile(k.optimizers.Adam(1e-3), f"{way.loss}_crossentropy")
    return model


def _rows(clips: Seconds, rows: Bools) -> Seconds:
    return Seconds(clips.features[rows], clips.labels[rows])
