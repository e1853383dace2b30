"""Fit the head's scores to the teacher's, and to sounds whose label is beyond doubt."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import scipy.fft
import torch
import torch.nn.functional as func
from numpy.typing import NDArray
from soundsearch_ingest.decode import SAMPLE_RATE
from soundsearch_ingest.logmel import PATCH_FRAMES as PATCH
from soundsearch_ingest.logmel import mel_magnitudes
from torch import Tensor

from .mels import open_store
from .mixing import Mixer, heard, known_classes
from .model import Student
from .teacher import Teacher
from .whiten import embed

PURE = ("Sine wave", "White noise", "Pink noise")
EPOCHS, BATCH = 8, 1024


def calibrate(
    student: Student,
    work: Path,
    yamnet: Path,
    classes: list[str],
    seed: int = 99,
    count: int = 61440,
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
        Scratch folder with the mel store.
    yamnet : Path
        The teacher's TFLite file.
    classes : list of str
        Display names of the 521 classes, in the teacher's order.
    seed, count : int
        Of the mixes that are used.

    Returns
    -------
    Student
    """
    store = open_store(work)
    mixer = Mixer(store, seed, classes=known_classes(work, store))
    teacher = Teacher(yamnet, torch.bfloat16)
    random = torch.Generator().manual_seed(seed)
    embeddings, scores = [], []
    for _ in range(max(1, count // BATCH)):
        mel = torch.from_numpy(mixer.mixes(BATCH))
        embeddings.append(_embed(student, heard(mel, random)))
        scores.append(torch.sigmoid(teacher(mel)[1]))
    mixes, wanted = torch.cat(embeddings), torch.cat(scores)
    other = copy.deepcopy(student)
    weight, bias = tempered(other.head.weight, other.head.bias, mixes, wanted)
    rows = [classes.index(name) for name in PURE]
    pure, labels = pure_sounds(np.random.default_rng(seed), max(1, count // 40))
    every = torch.cat([mixes, _embed(student, pure)])
    weight[rows], bias[rows] = fitted(
        weight[rows], bias[rows], every, torch.cat([wanted[:, rows], labels]), seed
    )
    with torch.no_grad():
        other.head.weight.copy_(weight)
        other.head.bias.copy_(bias)
    return other


def tempered(
    weight: Tensor, bias: Tensor, embeddings: Tensor, scores: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the head [521, 128], [521] with the factor and shift that fit the scores best."""
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
    """Return mel magnitudes [3 x count, 96, 64] of sines, white and pink noise, and labels.

    The labels are [3 x count, 3], in the order of `PURE`; levels from -35 to -1 dBFS.
    """
    length = SAMPLE_RATE
    time = np.arange(length) / SAMPLE_RATE
    pinker = np.sqrt(np.maximum(np.arange(length // 2 + 1), 10))
    patches = []
    for kind in range(len(PURE)):
        for _ in range(count):
            if kind == 0:
                pitch = np.exp(random.uniform(np.log(100), np.log(7000)))
                sound = np.sin(2 * np.pi * pitch * time + random.uniform(0, 2 * np.pi))
            else:
                spectrum = scipy.fft.rfft(random.normal(size=length))
                sound = scipy.fft.irfft(spectrum / pinker if kind == 2 else spectrum, length)
                sound /= 3 * sound.std()
            sound *= 10 ** (random.uniform(-35, -1) / 20)
            mel = mel_magnitudes(sound.astype(np.float32), scipy.fft.rfft)
            patches.append(mel[:PATCH].astype(np.float32))
    labels = torch.eye(len(PURE)).repeat_interleave(count, 0)
    return torch.from_numpy(np.stack(patches)), labels


def _embed(student: Student, mel: Tensor) -> Tensor:
    found: NDArray[np.float64] = embed(student, mel)
    return torch.from_numpy(found).float()
