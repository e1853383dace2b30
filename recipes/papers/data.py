"""What the systems learn from: AudioSet's features or made-up ones, and ESC-50's embeddings."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import encoders, pipeline
from soundsearch_ingest.audioset import read_records, write_records
from soundsearch_ingest.decode import read
from soundsearch_ingest.postprocess import dequantise

from soundsearch.errors import SoundsearchError
from soundsearch.labels.ontology import CLASSES, ontology
from soundsearch.vectors import loudness_weights

from .job import Job
from .synthetic import SECONDS, drawn_labels, listed_labels, records

__all__ = ["AudioSet", "Embedded", "Seconds", "audioset", "embedded", "read_seconds", "unseen"]

Floats = NDArray[np.float32]
TRAIN, EVAL = ("bal_train", "unbal_train"), ("eval",)
_LISTS = {"bal_train": "balanced_train_segments.csv", "eval": "eval_segments.csv"}


@dataclass(frozen=True, slots=True, eq=False)
class Seconds:
    """Clips as AudioSet's features.

    Attributes
    ----------
    features : uint8 [clips, 10, 128]
        A clip of fewer seconds is repeated from its start.
    labels : bool [clips, 527]
    """

    features: NDArray[np.uint8]
    labels: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class AudioSet:
    """Training and evaluation clips.

    Attributes
    ----------
    train, test : Seconds
    real : bool
        Whether they are AudioSet's.
    origin : str
        Where they come from, as a report says it.
    """

    train: Seconds
    test: Seconds
    real: bool
    origin: str


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Clips of one class each, as embeddings of a frozen network.

    Attributes
    ----------
    segments : float32 [clips, segments, 128]
    pooled : float32 [clips, 128]
        Means of the segments, weighted by level as in a library.
    classes : int [clips]
    names : list of str
        Of the classes.
    folds, sources : int [clips]
        Clips of one source were cut from one recording, and are in one fold.
    origin : str
        Where they come from, as a report says it.
    """

    segments: Floats
    pooled: Floats
    classes: NDArray[np.intp]
    names: list[str]
    folds: NDArray[np.intp]
    sources: NDArray[np.intp]
    origin: str


def audioset(job: Job, train: int, test: int) -> AudioSet:
    """AudioSet's clips if the data folder has TFRecord files, else that many made-up ones.

    Real files are in folders named ``bal_train``, ``unbal_train`` and ``eval``, as released; a
    miniature takes the first clips of them.

    Raises
    ------
    SoundsearchError
        There are TFRecord files, but none to train on or none to evaluate on.
    AudioError
        A file is damaged.
    """
    files = sorted(job.data.rglob("*.tfrecord"))
    if files:
        learned = read_seconds(_below(job.data, files, TRAIN), train if job.quick else None)
        asked = read_seconds(_below(job.data, files, EVAL), test if job.quick else None)
        origin = f"AudioSet's features, {len(learned.labels):,} clips to train on and "
        return AudioSet(learned, asked, True, f"{origin}{len(asked.labels):,} to evaluate on")
    learned, asked = _made_up(job, "bal_train", train), _made_up(job, "eval", test)
    labels = "the first clips of AudioSet's lists" if _list(job, "eval").exists() else "no list"
    return AudioSet(
        learned,
        asked,
        False,
        f"made-up features, labels of {labels}, {len(learned.labels):,} clips to train on and "
        f"{len(asked.labels):,} to evaluate on: they show how methods compare, not how well they "
        "do on sound",
    )


def _below(data: Path, files: list[Path], folders: tuple[str, ...]) -> list[Path]:
    found = [path for path in files if not {*folders}.isdisjoint(path.relative_to(data).parts)]
    if not found:
        raise SoundsearchError(
            f"{data}: expected TFRecord files in a folder {' or '.join(folders)}, got {len(files)} "
            "files elsewhere"
        )
    return found


def read_seconds(files: Iterable[Path], most: int | None = None) -> Seconds:
    """Read the clips of TFRecord files, at most `most`; those without features are left out."""
    features: list[NDArray[np.uint8]] = []
    rows: list[list[int]] = []
    for path in files:
        for record in read_records(path):
            if len(rows) == most:
                break
            if len(record.features):
                features.append(np.resize(record.features, (SECONDS, record.features.shape[1])))
                rows.append([index for index in record.labels if index < CLASSES])
    labels = np.zeros((len(rows), CLASSES), np.bool_)
    for row, indices in zip(labels, rows, strict=True):
        row[indices] = True
    return Seconds(np.stack(features), labels)


def embedded(job: Job, classes: int | None = None) -> Embedded:
    """Clips of one class each: AudioSet's, ESC-50 through the bundled encoder, or made-up ones.

    Whichever the data folder has first; of AudioSet, the clips with a single label of the 50
    classes that have most of these.

    Parameters
    ----------
    job : Job
        ESC-50's embeddings are kept in its folder.
    classes : int, optional
        Take the first so many classes only.
    """
    if any(job.data.rglob("*.tfrecord")):
        found = audioset(job, 4_000, 1_000)
        both = (found.train, found.test)
        merged = [
            np.concatenate([getattr(part, k) for part in both]) for k in ("features", "labels")
        ]
        return _single(Seconds(*merged), classes or 50, "AudioSet's features")
    if (job.data / "esc50" / "labels.csv").exists():
        return _esc50(job, classes)
    # Without children: they differ as much as made-up classes do.
    lowest = np.flatnonzero(~ontology().above.any(1))[: classes or 50]
    labels = [(int(index),) for index in np.repeat(lowest, 24)]
    path = job.out / "made-up" / "classes.tfrecord"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_records(path, records(labels, job.seed, "classes"))
    return _single(
        read_seconds([path]), classes or 50, "made-up features, which tell nothing of sound"
    )


def unseen(sources: NDArray[np.intp], share: float, seed: int) -> NDArray[np.bool_]:
    """Choose about a share of the clips, bool [clips], so that no source is on both sides."""
    unique = np.unique(sources)
    chosen = np.random.default_rng(seed).permutation(unique)[: round(len(unique) * share)]
    return np.isin(sources, chosen)


def _single(clips: Seconds, most: int, origin: str) -> Embedded:
    alone = clips.labels.sum(1) == 1
    counts = clips.labels[alone].sum(0)
    chosen = np.flatnonzero(counts)[np.argsort(-counts[counts > 0], kind="stable")[:most]]
    rows = np.flatnonzero(alone & clips.labels[:, chosen].any(1))
    segments = dequantise(clips.features[rows])
    names = [ontology().classes[index].name for index in chosen]
    return Embedded(
        segments,
        segments.mean(1),
        clips.labels[np.ix_(rows, chosen)].argmax(1),
        names,
        np.arange(len(rows)) % 3 + 1,
        rows,
        f"{origin}, {len(rows):,} clips of {len(names)} classes",
    )


def _esc50(job: Job, classes: int | None) -> Embedded:
    path = job.out / "esc50.npz"
    if not path.exists():
        _embed(job.data / "esc50", path)
    with np.load(path) as kept:
        found = {name: kept[name] for name in kept.files}
    names = sorted(set(found["names"].tolist()))[:classes]
    rows = np.isin(found["names"], names)
    return Embedded(
        found["segments"][rows],
        found["pooled"][rows],
        np.searchsorted(names, found["names"][rows]),
        names,
        found["folds"][rows],
        found["sources"][rows],
        f"ESC-50, {rows.sum():,} clips of {len(names)} classes, through the bundled encoder "
        f"({encoders.load(encoders.BUNDLED).space})",
    )


def _embed(folder: Path, path: Path) -> None:
    encoder = encoders.load(encoders.BUNDLED)
    with open(folder / "labels.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    segments, pooled = [], []
    for row in rows:
        sound = read(folder / "audio" / row["filename"])
        found, levels, _ = pipeline.embed_sound([sound], encoder, encoder.segment_seconds)
        weights = loudness_weights(levels)
        segments.append(np.resize(found, (SECONDS // 2, found.shape[1])))
        pooled.append(weights @ found / weights.sum())
    temporary = path.with_name("esc50.new.npz")
    np.savez(
        temporary,
        segments=np.stack(segments),
        pooled=np.stack(pooled),
        names=np.array([row["category"] for row in rows]),
        folds=np.array([int(row["fold"]) for row in rows]),
        sources=np.array([int(row["source"]) for row in rows]),
    )
    temporary.replace(path)


def _list(job: Job, split: str) -> Path:
    return job.data / "audioset" / _LISTS[split]


def _made_up(job: Job, split: str, clips: int) -> Seconds:
    # Through a file, so that the reader of AudioSet's is what is used.
    path = job.out / "made-up" / split / "00.tfrecord"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        listed = _list(job, split)
        labels = listed_labels(listed) if listed.exists() else drawn_labels(clips, job.seed)
        write_records(path, records(labels[:clips], job.seed, split))
    return read_seconds([path])
