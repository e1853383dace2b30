"""Whiten the student's own embedding and fold that into its last layer and its head."""

from __future__ import annotations

import copy
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from soundsearch_ingest.logmel import LOG_OFFSET
from torch import Tensor, nn

from .mels import Store, open_store
from .mixing import Mixer, heard, known_classes, level_ok
from .model import SIZE, Student
from .train import read_shape

POWER = 1.0


@torch.no_grad()
def embed(student: Student, mel: Tensor, batch: int = 256) -> NDArray[np.float64]:
    """Return the embeddings of mel magnitudes [n, 96, 64], float64 [n, 128]."""
    parts = [student(torch.log(part + LOG_OFFSET)) for part in mel.split(batch)]
    found: NDArray[np.float64] = torch.cat(parts).double().numpy()
    return found


def statistics(
    student: Student, store: Store, classes: NDArray[np.int64] | None, seed: int, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the embedding's mean, its covariance, and its covariance within a file.

    Two patches of each drawn file, their level, equaliser and noise drawn anew, differ by
    what should not matter; the covariance of these differences is what is whitened.
    """
    mixer = Mixer(store, seed, classes=classes)
    random = torch.Generator().manual_seed(seed)
    seen: list[NDArray[np.float64]] = []
    differences = []
    for _ in range(max(1, count // 1024)):
        files = [mixer.file() for _ in range(512)]
        first, second = (mixer.singles(512, files) for _ in range(2))
        keep = level_ok(first) & level_ok(second)
        second *= mixer.curves(512)
        a, b = (
            embed(student, heard(torch.from_numpy(mel[keep]), random)) for mel in (first, second)
        )
        seen += [a, b]
        differences.append(a - b)
    every, difference = np.concatenate(seen), np.concatenate(differences)
    return every.mean(0), np.cov(every.T), difference.T @ difference / (2 * len(difference))


def whiten(
    student: Student,
    work: Path,
    seed: int = 77,
    count: int = 16384,
    power: float = POWER,
    within: bool = True,
) -> Student:
    """Return a student whose embedding is white; its scores are the same.

    Parameters
    ----------
    student : Student
        For inference, batch norms folded.
    work : Path
        Scratch folder with the mel store.
    seed, count : int
        Of the sounds that are measured.
    power : float
        1 whitens; less leaves part of the variance.
    within : bool
        Whiten what differs between patches of one file, not what differs between any.

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
    """Write a student for inference, with the plan of its checkpoint and the patches it saw."""
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
