"""Attention over the seconds of a clip, at one level or several: Kong et al., Yu et al.

"Audio Set classification with attention model: a probabilistic perspective" (ICASSP 2018) and
"Multi-level attention model for weakly supervised audio classification" (DCASE 2018): three dense
layers for each second, then a score and an attention for each class and second; the clip's score is
the mean of the scores that attention weighs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.postprocess import dequantise

from .data import Embedded, audioset, embedded
from .job import Job, interval, table
from .measures import area_under_roc, d_prime, mean_average_precision
from .training import device, fit, keras

__all__ = ["NETWORKS", "Task", "build", "run"]

Floats = NDArray[np.float32]

# Name, and the mAP that was published for AudioSet's evaluation clips.
NETWORKS = {
    "average pooling": "0.300",
    "max pooling": "",
    "single attention": "0.327",
    "multi-level attention": "0.360",
    "feature-level attention": "0.369",
}
PUBLISHED = {"Google's baseline": "0.314"}
# As the original code has it, so that no weight is 0.
_LEAST = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What to learn and with how large a network.

    Attributes
    ----------
    name, origin : str
    train, test : tuple
        Seconds, uint8 or float32 [clips, seconds, 128], and labels bool [clips, classes].
    width, batch, epochs : int
    draws : int
        Clips an epoch, drawn so that each class has its turn.
    """

    name: str
    origin: str
    train: tuple[NDArray[Any], NDArray[np.bool_]]
    test: tuple[NDArray[Any], NDArray[np.bool_]]
    width: int
    batch: int
    epochs: int
    draws: int


def run(job: Job) -> str:
    """Train each network on AudioSet's features or made-up ones, and on pairs of ESC-50 clips."""
    tasks = [_audioset_task(job), _pairs_task(job)]
    sections = [
        "# Attention over the seconds of a clip\n\n"
        f"Adam, rate .001; batches in which each class has its turn; {device()}.\n"
    ]
    for task in tasks:
        seeds = job.seeds(3)
        rows = []
        for network, published in list(NETWORKS.items())[-2 if job.quick else 0 :]:
            found = [_measured(job, task, network, seed) for seed in seeds]
            cells = [interval(one[measure] for one in found) for measure in ("mAP", "AUC", "d'")]
            rows.append((network, published, *cells))
        rows += [(name, value, "", "", "") for name, value in PUBLISHED.items()]
        sections.append(
            f"\n## {task.name}\n\n{task.origin}; layers of {task.width}, {task.epochs} epochs of "
            f"{task.draws:,} clips in batches of {task.batch}; {len(seeds)} seeds.\n\n"
            + table(("network", "published mAP (AudioSet)", "mAP", "AUC", "d'"), rows)
        )
    return "".join(sections)


def build(network: str, shape: tuple[int, int], classes: int, width: int, seed: int) -> Any:
    """A network, not compiled: float32 [n, seconds, size] to scores [n, classes] in [0, 1].

    Parameters
    ----------
    network : str
        A key of `NETWORKS`.
    shape : (int, int)
        Seconds and the size of an embedding.
    classes, width, seed : int
    """
    k = keras()
    k.utils.set_random_seed(seed)
    layers, ops = k.layers, k.ops

    def hidden(x: Any) -> Any:
        x = layers.BatchNormalization()(x)
        return layers.Dropout(0.5)(layers.Activation("relu")(x))

    def attended(values: Any, weights: Any) -> Any:
        weights = ops.clip(weights, _LEAST, 1 - _LEAST)
        return ops.sum(values * weights, 1) / ops.sum(weights, 1)

    def scores(x: Any) -> Any:
        return layers.Dense(classes, activation="sigmoid")(x)

    def by_class(x: Any) -> Any:
        return attended(scores(x), layers.Dense(classes, activation="softmax")(x))

    inputs = layers.Input(shape)
    levels = [inputs]
    for _ in range(3):
        levels.append(hidden(layers.Dense(width)(levels[-1])))
    last = levels[-1]
    if network == "average pooling":
        outputs = ops.mean(scores(last), 1)
    elif network == "max pooling":
        outputs = ops.max(scores(last), 1)
    elif network == "single attention":
        outputs = by_class(last)
    elif network == "multi-level attention":
        outputs = scores(layers.Concatenate()([by_class(level) for level in levels[-2:]]))
    else:
        weights = layers.Dense(width, activation="sigmoid")(last)
        outputs = scores(hidden(attended(layers.Dense(width)(last), weights)))
    return k.Model(inputs, outputs)


def balanced(labels: NDArray[np.bool_], draws: int, seed: int) -> Callable[[int], NDArray[np.intp]]:
    """The rows of an epoch: every class has its turn, and one of its clips is drawn."""
    members = [np.flatnonzero(column) for column in labels.T if column.any()]

    def rows(epoch: int) -> NDArray[np.intp]:
        rng = np.random.default_rng([seed, epoch])
        turns = np.resize(np.arange(len(members)), draws)
        found = [rng.choice(members[turn]) for turn in turns]
        return rng.permutation(np.array(found, np.intp))

    return rows


def _measured(job: Job, task: Task, network: str, seed: int) -> dict[str, float]:
    def make(folder: Path) -> dict[str, float]:
        x, y = task.train
        model = build(network, (x.shape[1], x.shape[2]), y.shape[1], task.width, seed)
        model.compile(keras().optimizers.Adam(1e-3), "binary_crossentropy")
        fit(
            model,
            x,
            y,
            epochs=task.epochs,
            batch=task.batch,
            seed=seed,
            folder=folder,
            order=balanced(y, task.draws, seed),
            convert=_floats,
        )
        sounds, truth = task.test
        blocks = range(0, len(sounds), 4096)
        found = [model.predict(_floats(sounds[i : i + 4096]), verbose=0) for i in blocks]
        scores = np.concatenate(found)
        area = area_under_roc(truth, scores)
        precision = mean_average_precision(truth, scores)
        return {"mAP": precision, "AUC": area, "d'": d_prime(area)}

    return job.trial(f"{task.name}, {network}, seed {seed}", make)


def _floats(features: NDArray[Any]) -> Floats:
    return dequantise(features) if features.dtype == np.uint8 else features


def _audioset_task(job: Job) -> Task:
    found = audioset(job, *((1_500, 500) if job.quick else (8_000, 4_000)))
    train, test = found.train, found.test
    parts = [(part.features, part.labels) for part in (train, test)]
    if found.real and not job.quick:
        return Task("AudioSet", found.origin, parts[0], parts[1], 1024, 500, 100, 100_000)
    # The commonest classes: others have a handful of clips here.
    common = np.sort(np.argsort(-train.labels.sum(0), kind="stable")[: 20 if job.quick else 100])
    parts = [(x, y[:, common]) for x, y in parts]
    return Task(
        "AudioSet" if found.real else "Made-up features in AudioSet's form",
        f"{found.origin}; the {len(common)} commonest classes",
        parts[0],
        parts[1],
        **_sizes(job, 8_000),
    )


def _sizes(job: Job, draws: int) -> dict[str, int]:
    if job.quick:
        return {"width": 32, "batch": 50, "epochs": 2, "draws": 500}
    return {"width": 128, "batch": 100, "epochs": 8, "draws": draws}


def _pairs_task(job: Job) -> Task:
    """Clips of two classes, one after the other: real sound whose labels do not tell when."""
    clips = embedded(job, 10 if job.quick else None)
    test = clips.folds == clips.folds.max()
    counts = (300, 200) if job.quick else (4_000, 1_500)
    rng = np.random.default_rng(job.seed)
    parts = [
        _joined(clips, np.flatnonzero(rows), count, rng)
        for rows, count in zip((~test, test), counts, strict=True)
    ]
    mean, deviation = (f(parts[0][0], axis=(0, 1)) for f in (np.mean, np.std))
    parts = [(((x - mean) / deviation).astype(np.float32), y) for x, y in parts]
    origin = (
        f"{clips.origin}; {counts[0]:,} pairs of clips one after the other to train on, "
        f"{counts[1]:,} of the last fold to evaluate on"
    )
    name = "Two clips, one after the other"
    return Task(name, origin, parts[0], parts[1], **_sizes(job, counts[0]))


def _joined(
    clips: Embedded, rows: NDArray[np.intp], count: int, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.bool_]]:
    pairs = rng.choice(rows, (2 * count, 2))
    pairs = pairs[clips.classes[pairs[:, 0]] != clips.classes[pairs[:, 1]]][:count]
    labels = np.zeros((len(pairs), len(clips.names)), np.bool_)
    for column in pairs.T:
        labels[np.arange(len(pairs)), clips.classes[column]] = True
    return np.concatenate([clips.segments[column] for column in pairs.T], 1), labels
