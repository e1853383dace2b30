"""Fit the head's scores to the teacher's, and to sounds whose label is beyond doubt."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import scipy.fft
import torch
import torch.nn.functional as func
from numpy.typing import NDArray
from torch import Tensor

from .mixing import ROW, Mixer, known_classes, samples_of
from .model import SIZE, Student
from .sounds import RATE
from .teacher import CLASSES, Projection, Teacher
from .train import Pool
from .waves import open_store
from .whiten import LENGTH, embed, magnitudes

PURE = ("Sine wave", "White noise", "Pink noise")
EPOCHS, BATCH = 8, 1024


def calibrate(
    student: Student,
    work: Path,
    mn04: Path,
    projection: Projection,
    classes: list[str],
    seed: int = 99,
    rows: int = 3000,
) -> Student:
    """Return a student with another head; its embedding is the same.

    The loss that weights present classes more makes all scores too high: one factor and one
    shift of all logits, which change no ranking, bring them to the teacher's on mixes. Then the
    three rows of `PURE` are fitted again, with sines and noises that are labelled as what they
    are: the teacher takes them for a beep and for waterfalls.

    Parameters
    ----------
    student : Student
        For inference, batch norms folded, whitened.
    work : Path
        Scratch folder with the wave store.
    mn04 : Path
        The teacher's ONNX file.
    projection : Projection
    classes : list of str
        Display names of the 527 classes.
    seed, rows : int
        Of the mixes that are used.

    Returns
    -------
    Student
    """
    store = open_store(work)
    mixer = Mixer(store, seed, classes=known_classes(work, store))
    pool = Pool(rows, mixer, Teacher(mn04), projection, 0.0, seed)
    pool.refresh(rows)
    embeddings, scores = [], []
    for _ in range(max(1, rows // 25)):
        batch = pool.draw(25)
        with torch.no_grad():
            embeddings.append(student(batch.mel).reshape(-1, SIZE))
        scores.append(batch.scores.reshape(-1, CLASSES))
    mixes, wanted = torch.cat(embeddings), torch.cat(scores)
    other = copy.deepcopy(student)
    weight, bias = tempered(other.head.weight, other.head.bias, mixes, wanted)
    names = [classes.index(name) for name in PURE]
    pure, labels = pure_sounds(np.random.default_rng(seed), max(1, rows * ROW // 200))
    heard = torch.from_numpy(embed(student, pure).reshape(-1, SIZE)).float()
    every = torch.cat([mixes, heard])
    weight[names], bias[names] = fitted(
        weight[names], bias[names], every, torch.cat([wanted[:, names], labels]), seed
    )
    with torch.no_grad():
        other.head.weight.copy_(weight)
        other.head.bias.copy_(bias)
    return other


def tempered(
    weight: Tensor, bias: Tensor, embeddings: Tensor, scores: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the head [527, 128], [527] with the factor and shift that fit the scores best."""
    logits = func.linear(embeddings, weight, bias).detach()
    scale = torch.tensor([1.0, 0.0], requires_grad=True)
    optimiser = torch.optim.LBFGS([scale], max_iter=30)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = func.binary_cross_entropy_with_logits(logits * scale[0] + scale[1], scores)
        loss.backward()
        return loss

    optimiser.step(closure)
    factor, shift = scale.detach()
    return (weight * factor).detach(), (bias * factor + shift).detach()


def fitted(
    weight: Tensor, bias: Tensor, embeddings: Tensor, scores: Tensor, seed: int
) -> tuple[Tensor, Tensor]:
    """Return rows of the head [k, 128], [k], fitted to scores [n, k] from where they are."""
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    optimiser = torch.optim.Adam([weight, bias], 3e-3)
    random = torch.Generator().manual_seed(seed)
    steps = EPOCHS * -(-len(embeddings) // BATCH)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(embeddings), generator=random).split(BATCH):
            logits = func.linear(embeddings[rows], weight, bias)
            loss = func.binary_cross_entropy_with_logits(logits, scores[rows], reduction="none")
            optimiser.zero_grad()
            loss.sum(1).mean().backward()
            optimiser.step()
            schedule.step()
    return weight.detach(), bias.detach()


def pure_sounds(random: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Return mel magnitudes [3 count, 480, 64] of sines, white and pink noise, and labels.

    The labels are those of the segments, [15 count, 3], in the order of `PURE`; levels from -35
    to -1 dBFS.
    """
    length = samples_of(LENGTH)
    time = np.arange(length) / RATE
    pinker = np.sqrt(np.maximum(np.arange(length // 2 + 1), 50))
    sounds: list[NDArray[np.float32]] = []
    for kind in range(len(PURE)):
        for _ in range(count):
            if kind == 0:
                pitch = np.exp(random.uniform(np.log(100), np.log(7000)))
                sound = np.sin(2 * np.pi * pitch * time + random.uniform(0, 2 * np.pi))
            else:
                spectrum = scipy.fft.rfft(random.normal(size=length))
                sound = scipy.fft.irfft(spectrum / pinker if kind == 2 else spectrum, length)
                sound /= 3 * sound.std()
            sounds.append((sound * 10 ** (random.uniform(-35, -1) / 20)).astype(np.float32))
    labels = torch.eye(len(PURE)).repeat_interleave(count * LENGTH, 0)
    return magnitudes(sounds, LENGTH), labels
