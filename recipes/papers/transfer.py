"""Transfer learning on VGGish features: three layers, AdaGrad, and the number of classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .data import Embedded, embedded, unseen
from .job import Job, interval, table
from .measures import accuracy
from .training import device, fit, keras

__all__ = ["run"]

WIDTHS = (256, 128)
SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Way:
    """How a column of the table is made: AdaGrad's rate, and what the 80/20 split keeps whole."""

    title: str
    rate: float
    by_source: bool


WAYS = (
    Way("80/20 by clip", 0.05, False),
    Way("80/20 by source recording", 0.05, True),
    Way("by source, rate .001 (Keras's default)", 0.001, True),
)


def run(job: Job) -> str:
    """Measure accuracy for several numbers of classes, each seed with classes of its own choice."""
    clips = embedded(job, 10 if job.quick else None)
    counts = [n for n in ((10,) if job.quick else (5, 10, 20, 30, 40, 50)) if n <= len(clips.names)]
    epochs = 10 if job.quick else 100
    seeds = job.seeds(5)

    def one(count: int, way: Way, seed: int) -> float:
        return job.trial(
            f"{count} classes, {way.title}, seed {seed}",
            lambda folder: _trained(clips, count, way, epochs, seed, folder),
        )

    rows = [
        (
            count,
            *(interval(one(count, way, seed) for seed in seeds) for way in WAYS),
            f"{1 / count:.3f}",
        )
        for count in counts
    ]
    header = ("classes", *(way.title for way in WAYS), "chance")
    return (
        "# Three layers on VGGish features: accuracy against the number of classes\n\n"
        f"{clips.origin}. Layers of {WIDTHS[0]}, {WIDTHS[1]} and softmax, categorical "
        f"cross-entropy, AdaGrad with rate {WAYS[0].rate}, {epochs} epochs in batches of 32; "
        f"{len(seeds)} seeds, which choose classes, split and weights; {device()}.\n\n"
        + table(header, rows)
    )


def _trained(clips: Embedded, count: int, way: Way, epochs: int, seed: int, folder: Path) -> float:
    k = keras()
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(clips.names))[:count])
    rows = np.flatnonzero(np.isin(clips.classes, chosen))
    classes: NDArray[np.intp] = np.searchsorted(chosen, clips.classes[rows])
    test = unseen(clips.sources[rows] if way.by_source else rows, SHARE, seed)
    x = clips.pooled[rows]
    x = (x - x[~test].mean(0)) / x[~test].std(0)
    k.utils.set_random_seed(seed)
    layers = [k.layers.Input((x.shape[1],))]
    layers += [k.layers.Dense(width, activation="relu") for width in WIDTHS]
    model = k.Sequential([*layers, k.layers.Dense(count, activation="softmax")])
    model.compile(k.optimizers.Adagrad(way.rate), "categorical_crossentropy")
    y = np.eye(count, dtype=np.float32)[classes]
    fit(model, x[~test], y[~test], epochs=epochs, batch=32, seed=seed, folder=folder)
    return accuracy(classes[test], model.predict(x[test], verbose=0))
