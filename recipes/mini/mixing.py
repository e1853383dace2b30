"""Fresh mixes of the mel store: what the teacher hears, and what the student hears of it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from soundsearch_ingest.logmel import BANDS
from soundsearch_ingest.logmel import PATCH_FRAMES as PATCH
from torch import Tensor

from .mels import Store

Floats = NDArray[np.float32]
# Logarithms of the levels between which the teacher hears mixes.
LEVELS = (math.log(0.5), math.log(7.0))


def level(mel: Tensor) -> Tensor:
    """Return the level of patches [n, 96, 64]: root mean square of their loudest quarter."""
    power = mel.square().mean(2)
    return power.sort(1).values[:, -PATCH // 4 :].mean(1).sqrt()


def loudness(mel: Floats) -> Floats:
    """Return `level` of an array."""
    levels: Floats = level(torch.from_numpy(mel)).numpy()
    return levels


def level_ok(mel: Floats) -> NDArray[np.bool_]:
    """Return which patches [n, 96, 64] hold sound."""
    return mel.max((1, 2)) > 0.05


def known_classes(work: Path, store: Store) -> NDArray[np.int64] | None:
    """Return the teacher's first class of each file, if it was computed for this store."""
    path = work / "classes.npz"
    if not path.exists():
        return None
    with np.load(path) as held:
        classes: NDArray[np.int64] = held["classes"]
    return classes if len(classes) == len(store.lengths) else None


def file_weights(store: Store, classes: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Return how often each file is drawn.

    A package gets its weight, its files a share by the root of their length. Where the
    teacher's first class of each file is known, classes that are common in the corpus
    (speech, music) give way to rare ones: a class keeps the 0.4th power of its share.
    """
    length = np.sqrt(np.minimum(store.lengths, 3000))
    weight = length / np.bincount(store.groups, length, len(store.names))[store.groups]
    weight *= store.weights()[store.groups]
    if classes is not None:
        share = np.bincount(classes, weight)
        weight *= np.maximum(share, 0.0015)[classes] ** -0.6
    return weight / weight.sum()


class Mixer:
    """Draws patches from a mel store and mixes them.

    Parameters
    ----------
    store : Store
    seed : int
    background : str
        Packages whose name starts so are used as soft backgrounds too.
    classes : int64 [files], optional
        The teacher's first class of each file, to draw rare classes more often.
    """

    def __init__(
        self,
        store: Store,
        seed: int,
        background: str = "synth-noise",
        classes: NDArray[np.int64] | None = None,
    ) -> None:
        self.store = store
        self.random = np.random.default_rng(seed)
        self.cdf = np.cumsum(file_weights(store, classes))
        noisy = [i for i, name in enumerate(store.names) if name.startswith(background)]
        self.noises = np.flatnonzero(np.isin(store.groups, noisy))

    def file(self) -> int:
        """Draw a file."""
        return min(int(np.searchsorted(self.cdf, self.random.random())), len(self.cdf) - 1)

    def patch(self, file: int) -> Floats:
        """Return one random patch of a file, float32 [96, 64]."""
        random = self.random
        start, length = int(self.store.starts[file]), int(self.store.lengths[file])
        frames = self.store.frames[start : start + length]
        speed = np.exp(random.uniform(-0.25, 0.25)) if random.random() < 0.25 else 1.0
        need = int(np.ceil(PATCH * speed)) + 1
        if length >= need:
            at = int(random.integers(0, length - need + 1))
            cut = frames[at : at + need].astype(np.float32)
        elif random.random() < 0.4:
            at = int(random.integers(0, length))
            gap = int(random.integers(0, 30))
            looped = np.concatenate((frames, np.zeros((gap, BANDS), np.float16)))
            cut = looped[(np.arange(need) + at) % len(looped)].astype(np.float32)
        else:
            cut = np.zeros((need, BANDS), np.float32)
            room = need - length
            at = int(random.integers(-min(length // 4, 20), room + min(length // 4, 20) + 1))
            low, high = max(at, 0), min(at + length, need)
            cut[low:high] = frames[low - at : high - at]
        if speed != 1.0:
            cut = cut[(np.arange(PATCH) * speed).astype(np.int64)]
        cut = cut[:PATCH]
        if random.random() < 0.2:
            cut = shifted(cut, int(random.integers(-4, 5)))
        return cut

    def mixes(self, count: int) -> Floats:
        """Return `count` mixes at the level at which the teacher hears them.

        Parameters
        ----------
        count : int

        Returns
        -------
        float32 [count, 96, 64]
            Mel magnitudes; some patches are silent.
        """
        random = self.random
        sources = random.choice(4, count, p=[0.02, 0.58, 0.28, 0.12])
        out = np.zeros((count, PATCH, BANDS), np.float32)
        for layer in range(3):
            rows = np.flatnonzero(sources > layer)
            if not len(rows):
                break
            mel = np.stack([self.patch(self.file()) for _ in rows])
            loud = np.maximum(loudness(mel), 1e-4)
            share = 10 ** (random.uniform(-20, 6, len(rows)) / 20) if layer else 1.0
            mel *= self.curves(len(rows)) * (share / loud)[:, None, None]
            out[rows] = np.sqrt(np.square(out[rows]) + np.square(mel))
        rows = np.flatnonzero((random.random(count) < 0.15) & (sources > 0))
        if len(self.noises) and len(rows):
            mel = np.stack([self.patch(int(random.choice(self.noises))) for _ in rows])
            share = 10 ** (random.uniform(-45, -14, len(rows)) / 20)
            mel *= (share / np.maximum(loudness(mel), 1e-4))[:, None, None]
            out[rows] = np.sqrt(np.square(out[rows]) + np.square(mel))
        loud = np.exp(random.uniform(*LEVELS, count)).astype(np.float32)
        faint = random.random(count) < 0.02
        loud[faint] = 10 ** random.uniform(-5, -2.6, int(faint.sum()))
        out *= (loud / np.maximum(loudness(out), 1e-6))[:, None, None]
        out[sources == 0] = 0.0
        return out

    def singles(self, count: int, files: list[int] | None = None) -> Floats:
        """Return `count` patches of one sound each (of these files), at the teacher's levels."""
        files = files or [self.file() for _ in range(count)]
        mel = np.stack([self.patch(file) for file in files])
        loud = np.exp(self.random.uniform(*LEVELS, count)).astype(np.float32)
        mel *= (loud / np.maximum(loudness(mel), 1e-4))[:, None, None]
        return mel

    def curves(self, count: int) -> Floats:
        """Return equaliser curves over bands, float32 [count, 1, 64]; six in ten are flat."""
        knots = self.random.normal(0.0, 5.0, (count, 5))
        knots[self.random.random(count) < 0.6] = 0.0
        at = np.linspace(0, 4, BANDS)
        low = np.minimum(at.astype(np.int64), 3)
        part = at - low
        curve = knots[:, low] * (1 - part) + knots[:, low + 1] * part
        return (10 ** (curve / 20)).astype(np.float32)[:, None]


def heard(mel: Tensor, random: torch.Generator) -> Tensor:
    """Return mixes as the student hears them: other level, perhaps a little noise.

    The teacher's answer stays the one for `mel`, so the student learns that neither
    matters. Patches too faint to be told from silence keep their level.

    Parameters
    ----------
    mel : float32 [n, 96, 64]
        Mel magnitudes.
    random : torch.Generator
        On the device of `mel`.

    Returns
    -------
    float32 [n, 96, 64]
    """
    count = len(mel)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=random, device=mel.device) * (high - low) + low

    loud = level(mel)
    gain = 10 ** (uniform(-20, 8, count) / 20)
    gain[(uniform(0, 1, count) < 0.25) | (loud < 0.02)] = 1.0
    out = mel * gain[:, None, None]
    rows = torch.nonzero((uniform(0, 1, count) < 0.25) & (loud > 0.02))[:, 0]
    rayleigh = 0.8 * torch.sqrt(-2 * torch.log1p(-uniform(0, 1, len(rows), PATCH, BANDS)))
    bands = torch.linspace(-1, 1, BANDS, device=mel.device)
    slope = torch.exp(uniform(-1.2, 1.2, len(rows), 1, 1) * bands)
    share = 10 ** (uniform(-45, -14, len(rows)) / 20) * loud[rows] * gain[rows]
    out[rows] = torch.hypot(out[rows], rayleigh * slope * share[:, None, None])
    return out


def shifted(mel: Floats, bands: int) -> Floats:
    """Move a patch up or down by whole mel bands; the edge band fills the gap, faded."""
    if not bands:
        return mel
    out = np.roll(mel, bands, 1)
    if bands > 0:
        out[:, :bands] = mel[:, :1] * 0.5
    else:
        out[:, bands:] = mel[:, -1:] * 0.5
    return out
