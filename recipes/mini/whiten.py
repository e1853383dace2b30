"""Whiten the student's own embedding and fold that into its last layer and its head."""

from __future__ import annotations

import copy
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from soundsearch_ingest.logmel import LOG_OFFSET, PATCH_FRAMES, mel_magnitudes
from torch import Tensor, nn

from .mixing import Mixer, heard, known_classes, samples_of
from .model import SIZE, Student, read_shape
from .waves import Store, open_store

POWER = 0.25
# Segments in a sound that is measured.
LENGTH = 5


@torch.no_grad()
def embed(student: Student, mel: Tensor, batch: int = 64) -> NDArray[np.float64]:
    """Return the embeddings of mel magnitudes [n, 96 k, 64], float64 [n, k, 128]."""
    parts = [student(torch.log(part + LOG_OFFSET)) for part in mel.split(batch)]
    found: NDArray[np.float64] = torch.cat(parts).double().numpy()
    return found


def magnitudes(sounds: list[NDArray[np.float32]], segments: int) -> Tensor:
    """Return the mel magnitudes of sounds of so many segments, [n, 96 segments, 64]."""
    mel = [mel_magnitudes(x)[: segments * PATCH_FRAMES] for x in sounds]
    return torch.from_numpy(np.stack(mel))


def statistics(
    student: Student, store: Store, classes: NDArray[np.int64] | None, seed: int, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the embedding's mean, its covariance, and its covariance within a sound.

    Two cuts of each drawn sound, their place, level, equaliser and noise drawn anew, differ by
    what should not matter; the covariance of these differences is what is whitened.
    """
    mixer = Mixer(store, seed, classes=classes)
    random = torch.Generator().manual_seed(seed)
    need = samples_of(LENGTH)
    seen: list[NDArray[np.float64]] = []
    differences = []
    for _ in range(max(1, count // 64)):
        files = [mixer.file() for _ in range(64)]
        first = magnitudes([mixer.single(file, need) for file in files], LENGTH)
        second = magnitudes([mixer.coloured(mixer.single(file, need)) for file in files], LENGTH)
        a, b = (embed(student, heard(mel, random)).mean(1) for mel in (first, second))
        seen += [a, b]
        differences.append(a - b)
    every, difference = np.concatenate(seen), np.concatenate(differences)
    return every.mean(0), np.cov(every.T), difference.T @ difference / (2 * len(difference))


def whiten(
    student: Student,
    work: Path,
    seed: int = 77,
    count: int = 4096,
    power: float = POWER,
    within: bool = True,
) -> Student:
    """Return a student whose embedding is white; its scores are the same.

    Parameters
    ----------
    student : Student
        For inference, batch norms folded.
    work : Path
        Scratch folder with the wave store.
    seed, count : int
        Of the sounds that are measured.
    power : float
        1 whitens; less leaves part of the variance.
    within : bool
        Whiten what differs between cuts of one sound, not what differs between any.

    Returns
    -------
    Student
    """
    store = open_store(work)
    mean, spread, inner = statistics(student, store, known_classes(work, store), seed, count)
    values, vectors = np.linalg.eigh(inner if within else spread)
    order = np.argsort(values)[::-1]
    values, vectors = np.maximum(values[order], 1e-9), vectors[:, order]
    forward = (vectors / values ** (power / 2)).T
    unit = np.sqrt(np.trace(forward @ spread @ forward.T) / SIZE)
    forward, backward = forward / unit, vectors * values ** (power / 2) * unit
    other = copy.deepcopy(student)
    with torch.no_grad():
        weight = other.projection.weight.numpy().astype(np.float64)
        bias = other.projection.bias.numpy().astype(np.float64)
        head = other.head.weight.numpy().astype(np.float64)
        other.projection.weight = _parameter(forward @ weight)
        other.projection.bias = _parameter(forward @ (bias - mean))
        other.head.bias = _parameter(other.head.bias.numpy() + head @ mean)
        other.head.weight = _parameter(head @ backward)
    return other


def save(student: Student, path: Path, checkpoint: Path) -> None:
    """Write a student for inference, with the plan of its checkpoint and the segments it saw."""
    held = torch.load(checkpoint, map_location="cpu", weights_only=True)
    facts = {key: held[key] for key in ("plan", "seen")}
    temporary = path.with_suffix(".tmp")
    torch.save({"shape": asdict(student.shape), "state": student.state_dict(), **facts}, temporary)
    os.replace(temporary, path)


def load(path: Path) -> Student:
    """Read a student for inference."""
    held = torch.load(path, weights_only=True)
    student = Student(read_shape(held["shape"])).folded()
    student.load_state_dict(held["state"])
    return student


def _parameter(values: NDArray[np.float64]) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(values.astype(np.float32)), requires_grad=False)
