"""Aziz: ten seconds of AudioSet's features as an image of 10 x 128, and a small CNN.

Four classes; the network, the loss, the size of batches and the scale of the input are varied one
at a time. Small classes are enlarged by copies of their clips with the seconds in another order,
before the split as in the original, and after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.postprocess import quantise

from benchmarks.encoder import RIGHT
from soundsearch.labels.ontology import ontology

from .data import audioset, embedded, unseen
from .job import Job, interval, table
from .measures import accuracy
from .training import device, fit, keras

__all__ = ["WAYS", "Images", "Setting", "network", "parted", "run", "shuffled_copies"]

Bytes = NDArray[np.uint8]
FOUR = ("Speech", "Animal", "Music", "Vehicle")
# What ESC-50 has four of, by the ontology.
OF_ESC50 = ("Human sounds", "Animal", "Natural sounds", "Vehicle")
WAYS = ("no copies", "copies after the split", "copies before the split")
CNN, CNN_WIDE, DENSE = "CNN, three max-pools", "CNN, no last max-pool", "1280-100-1000"
LOSSES = {
    "binary": "sigmoid",
    "categorical": "softmax",
    "sparse categorical": "softmax",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One network and how it is trained; the defaults are what the others are compared with."""

    network: str = CNN
    loss: str = "categorical"
    batch: int = 16
    scaled: bool = True

    def __str__(self) -> str:
        scale = "divided by 255" if self.scaled else "not divided"
        return f"{self.network}, {self.loss}, batches of {self.batch}, {scale}"


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Clips of one class each.

    Attributes
    ----------
    features : uint8 [clips, 10, 128]
    classes, sources : int [clips]
    names : tuple of str
    title, origin : str
    """

    features: Bytes
    classes: NDArray[np.intp]
    sources: NDArray[np.intp]
    names: tuple[str, ...]
    title: str
    origin: str

    def __getitem__(self, rows: NDArray[Any]) -> Images:
        """The clips of some rows."""
        return replace(
            self,
            features=self.features[rows],
            classes=self.classes[rows],
            sources=self.sources[rows],
        )


def run(job: Job) -> str:
    """Vary the settings, then show what copies made before the split do to the accuracy."""
    sets = [_of_audioset(job)]
    if (job.data / "esc50" / "labels.csv").exists() and not job.quick:
        sets.append(_of_esc50(job))
    seeds = job.seeds(3)
    text = "# Aziz: ten seconds as an image of 10 x 128\n\n"
    text += f"{_epochs(job)} epochs, {len(seeds)} seeds; {device()}.\n"
    for images in sets:
        counts = np.bincount(images.classes, minlength=len(images.names))
        each = ", ".join(f"{n} {name}" for n, name in zip(counts, images.names, strict=True))
        text += f"\n## {images.title}\n\n{images.origin}: {each}.\n\n"
        text += _settings(job, images, seeds)
    # On sound where there is any, as made-up clips differ in no other way than their seconds.
    return text + "\n" + _leak(job, sets[-1], seeds)


def network(setting: Setting, classes: int, seed: int) -> Any:
    """A compiled network: uint8 [n, 10, 128] to [n, classes]."""
    k = keras()
    k.utils.set_random_seed(seed)
    layers = k.layers
    steps: list[Any] = [layers.Input((10, 128), dtype="uint8")]
    # Rescaling by 1 makes floats of the bytes.
    steps += [layers.Rescaling(1 / 255 if setting.scaled else 1.0), layers.Reshape((10, 128, 1))]
    if setting.network == DENSE:
        steps += [layers.Flatten()]
        steps += [layers.Dense(width, activation="relu") for width in (100, 1000)]
    else:
        for number, filters in enumerate((16, 32, 32)):
            steps.append(layers.Conv2D(filters, (1, 6), padding="same", activation="relu"))
            if number < 2 or setting.network == CNN:
                steps.append(layers.MaxPooling2D((1, 2)))
        steps += [layers.Flatten()]
    steps.append(layers.Dense(classes, activation=LOSSES[setting.loss]))
    model = k.Sequential(steps)
    loss = setting.loss.replace(" ", "_") + "_crossentropy"
    model.compile(k.optimizers.Adam(1e-3), loss)
    return model


def shuffled_copies(images: Images, seed: int) -> Images:
    """Bring each class to the size of the largest by copies with the seconds in another order."""
    rng = np.random.default_rng(seed)
    counts = np.bincount(images.classes)
    added = [
        rng.choice(np.flatnonzero(images.classes == number), counts.max() - count)
        for number, count in enumerate(counts)
        if count
    ]
    copies = images[np.concatenate(added)]
    orders = np.argsort(rng.random(copies.features.shape[:2]), axis=1)
    features = np.take_along_axis(copies.features, orders[..., None], 1)
    return replace(
        images,
        features=np.concatenate([images.features, features]),
        classes=np.concatenate([images.classes, copies.classes]),
        sources=np.concatenate([images.sources, copies.sources]),
    )


def _trained(job: Job, setting: Setting, images: Images, seed: int, folder: Path) -> Any:
    model = network(setting, len(images.names), seed)
    fit(
        model,
        images.features,
        _targets(setting, images),
        epochs=_epochs(job),
        batch=setting.batch,
        seed=seed,
        folder=folder,
    )
    return model


def _epochs(job: Job) -> int:
    return 2 if job.quick else 10


def _targets(setting: Setting, images: Images) -> NDArray[Any]:
    if setting.loss.startswith("sparse"):
        return images.classes
    return np.eye(len(images.names), dtype=np.float32)[images.classes]


def _settings(job: Job, images: Images, seeds: list[int]) -> str:
    usual = Setting()
    varied: dict[str, list[Setting]] = {
        "": [usual],
        "network": [replace(usual, network=name) for name in (CNN_WIDE, DENSE)],
        "loss": [replace(usual, loss=name) for name in LOSSES if name != usual.loss],
        "batches": [replace(usual, batch=size) for size in (8, 64)],
        "scale": [replace(usual, scaled=False), replace(usual, network=DENSE, scaled=False)],
    }
    if job.quick:
        varied = {what: settings[:1] for what, settings in varied.items() if what != "batches"}
    elif images.names != FOUR:
        del varied["batches"], varied["loss"]
    rows = []
    for what, settings in varied.items():
        for setting in settings:
            found = [_measured(job, setting, images, seed) for seed in seeds]
            cells = [interval(one[name] for one in found) for name in ("accuracy", "outputs")]
            rows.append((what, str(setting), *cells))
    return table(("varied", "setting", "accuracy", "outputs right at .5"), rows)


def _measured(job: Job, setting: Setting, images: Images, seed: int) -> dict[str, float]:
    def make(folder: Path) -> dict[str, float]:
        test = unseen(images.sources, 0.2, seed)
        model = _trained(job, setting, images[~test], seed, folder)
        held = images[test]
        scores = model.predict(held.features, verbose=0)
        right = (scores > 0.5) == np.eye(len(images.names), dtype=np.bool_)[held.classes]
        return {"accuracy": accuracy(held.classes, scores), "outputs": float(right.mean())}

    return job.trial(f"{images.title}, {setting}, seed {seed}", make)


def _leak(job: Job, images: Images, seeds: list[int]) -> str:
    rows = []
    for way in WAYS:
        found = [_copied(job, way, images, seed) for seed in seeds]
        rows.append((way, *(interval(one[name] for one in found) for name in found[0])))
    header = ("small classes", "accuracy, own test part", "accuracy, other recordings")
    more = ("small classes, own test part", "small classes, other recordings")
    return table((*header, *more), rows)


def parted(images: Images, way: str, seed: int) -> tuple[Images, Images, Images]:
    """Clips to learn, the test part of the same split, and clips of other recordings.

    Parameters
    ----------
    images : Images
    way : str
        One of `WAYS`: whether small classes get copies, before the split or after it.
    seed : int
    """
    away = unseen(images.sources, 0.2, seed)
    rest, others = images[~away], images[away]
    if way == WAYS[2]:
        rest = shuffled_copies(rest, seed)
        # By row, as a clip and its copies are rows of their own.
        test = unseen(np.arange(len(rest.classes)), 0.2, seed)
    else:
        test = unseen(rest.sources, 0.2, seed)
    learned = rest[~test]
    return shuffled_copies(learned, seed) if way == WAYS[1] else learned, rest[test], others


def _copied(job: Job, way: str, images: Images, seed: int) -> dict[str, float]:
    """Accuracy on the test part of a split, and on recordings that no part of it has."""

    def make(folder: Path) -> dict[str, float]:
        learned, own, others = parted(images, way, seed)
        counts = np.bincount(images.classes)
        small = np.flatnonzero(counts < counts.max() / 2)
        model = _trained(job, Setting(), learned, seed, folder)
        found = []
        for part in (own, others):
            right = model.predict(part.features, verbose=0).argmax(1) == part.classes
            found += [float(right.mean()), float(right[np.isin(part.classes, small)].mean())]
        return {
            "own": found[0],
            "other": found[2],
            "own, small": found[1],
            "other, small": found[3],
        }

    return job.trial(f"{images.title}, {way}, seed {seed}", make)


def _of_audioset(job: Job) -> Images:
    """The clips with labels at or below exactly one of the four classes."""
    found = audioset(job, *((600, 200) if job.quick else (1_500, 500)))
    features = np.concatenate([found.train.features, found.test.features])
    labels = np.concatenate([found.train.labels, found.test.labels])
    below = [sorted(ontology().classes_below(name)) for name in FOUR]
    has = np.stack([labels[:, indices].any(1) for indices in below], 1)
    rows = np.flatnonzero(has.sum(1) == 1)
    title = "AudioSet" if found.real else "Made-up features in AudioSet's form"
    return Images(features[rows], has[rows].argmax(1), rows, FOUR, title, f"Of {found.origin}")


def _of_esc50(job: Job) -> Images:
    """ESC-50's clips by what their class is in the ontology; five seconds, twice over."""
    clips = embedded(job)
    above = []
    for name in clips.names:
        # The obvious AudioSet class, where there is one.
        wanted = RIGHT.get(name, "Silence").split("|")[0]
        path = next(ontology().path(n.mid) for n in ontology().classes if n.name == wanted)
        above.append(next((i for i, group in enumerate(OF_ESC50) if group in path), -1))
    groups = np.array(above)[clips.classes]
    rows = np.flatnonzero(groups >= 0)
    x = clips.segments[rows]
    codes = quantise((x - x.mean((0, 1))) / x.std((0, 1)))
    return Images(
        np.concatenate([codes, codes], 1),
        groups[rows],
        clips.sources[rows],
        OF_ESC50,
        "ESC-50",
        f"{clips.origin}, standardised and in 8 bits, five seconds twice over; of these",
    )
