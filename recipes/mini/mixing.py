"""Fresh mixes of the wave store: what the teacher hears, and what the student hears of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
import soxr
import torch
from numpy.typing import NDArray
from soundsearch_ingest.logmel import BANDS, HOP, PATCH_FRAMES, WINDOW, mel_magnitudes
from torch import Tensor

from .sounds import RATE
from .waves import Store

Floats = NDArray[np.float32]

# Segments in a row of the pool, and how a row is divided: whole, halves, fifths, tenths.
ROW = 10
PIECES, PIECE_SHARES = (10, 5, 2, 1), (0.5, 0.3, 0.1, 0.1)
# Root mean squares between which the teacher hears mixes, dBFS.
LEVELS = (-38.0, -16.0)


def samples_of(segments: int) -> int:
    """Return how many samples give exactly so many segments."""
    return (segments * PATCH_FRAMES - 1) * HOP + WINDOW


def loudness(sound: Floats) -> float:
    """Return the root mean square of the loudest quarter of a sound, in parts of 32 ms."""
    size = 512
    parts = np.square(np.pad(sound, (0, -len(sound) % size))).reshape(-1, size).mean(1)
    loudest = np.sort(parts)[-max(1, len(parts) // 4) :]
    return float(np.sqrt(loudest.mean()))


def known_classes(work: Path, store: Store) -> NDArray[np.int64] | None:
    """Return the teacher's first class of each sound, if it was computed for this store."""
    path = work / "classes.npz"
    if not path.exists():
        return None
    with np.load(path) as held:
        classes: NDArray[np.int64] = held["classes"]
    return classes if len(classes) == len(store.lengths) else None


def file_weights(store: Store, classes: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Return how often each sound is drawn.

    A package gets its weight, its sounds a share by the root of their length. Where the
    teacher's first class of each sound is known, classes that are common in the corpus
    (speech, music) give way to rare ones: a class keeps the 0.4th power of its share.
    """
    length = np.sqrt(np.minimum(store.lengths, 30 * RATE))
    weight = length / np.bincount(store.groups, length, len(store.names))[store.groups]
    weight *= store.weights()[store.groups]
    if classes is not None:
        share = np.bincount(classes, weight)
        weight *= np.maximum(share, 0.0015)[classes] ** -0.6
    return weight / weight.sum()


@dataclass(frozen=True)
class Mix:
    """One row of the pool.

    Attributes
    ----------
    piece : int
        Segments in each of its pieces, which are sounds of their own; one of `PIECES`.
    clean : float32 [10 / piece, samples]
        What the teacher hears.
    mel : float16 [10 / piece, 96 piece, 64]
        Mel magnitudes of what the student hears: the same, perhaps through a narrow channel.
    """

    piece: int
    clean: Floats
    mel: NDArray[np.float16]


class Mixer:
    """Draws sounds from a wave store and mixes them.

    Parameters
    ----------
    store : Store
    seed : int
    background : tuple of str
        Packages whose names start so are used as soft backgrounds too.
    classes : int64 [sounds], optional
        The teacher's first class of each sound, to draw rare classes more often.
    """

    def __init__(
        self,
        store: Store,
        seed: int,
        background: tuple[str, ...] = ("synth-noise", "synth-weather", "synth-crowd"),
        classes: NDArray[np.int64] | None = None,
    ) -> None:
        self.store = store
        self.random = np.random.default_rng(seed)
        self.cdf = np.cumsum(file_weights(store, classes))
        noisy = [i for i, name in enumerate(store.names) if name.startswith(background)]
        self.noises = np.flatnonzero(np.isin(store.groups, noisy))

    def chance(self, share: float) -> bool:
        """Return True so often."""
        return bool(self.random.random() < share)

    def file(self) -> int:
        """Draw a sound."""
        return min(int(np.searchsorted(self.cdf, self.random.random())), len(self.cdf) - 1)

    def cut(self, sound: int, need: int) -> Floats:
        """Return at most `need` samples of a sound, at times at another speed and pitch."""
        speed = np.exp(self.random.uniform(-0.25, 0.25)) if self.chance(0.25) else 1.0
        want, length = int(need * speed) + 64, int(self.store.lengths[sound])
        at = int(self.random.integers(0, length - want + 1)) if length > want else 0
        x = self.store.read(sound, at, want)
        if speed != 1.0:
            x = soxr.resample(x, RATE * speed, RATE, "LQ")
        return x[:need]

    def layer(self, sound: int, need: int) -> Floats:
        """Return `need` samples in which a sound goes on, comes back or comes once."""
        random, out = self.random, np.zeros(need, np.float32)
        x = self.cut(sound, need)
        if len(x) > 0.8 * need:
            if self.chance(0.15):  # only a part of it is there
                begin, end = np.sort(random.integers(0, len(x), 2))
                x[: begin // 2] = 0
                x[end + (len(x) - end) // 2 :] = 0
            out[: len(x)] = x
            return out
        kind = random.random()
        if kind < 0.4:
            at = int(random.integers(-min(len(x) // 4, 3200), need - len(x) + 1))
        else:
            at = int(random.integers(-len(x) // 2, max(1, min(need // 3, 2 * len(x)))))
        gap = np.exp(random.uniform(np.log(0.02), np.log(2.0))) * RATE
        while at < need:
            low, high = max(at, 0), min(at + len(x), need)
            if high > low:
                out[low:high] += x[low - at : high - at] * np.float32(np.exp(random.normal(0, 0.2)))
            if kind < 0.4:
                break
            at += len(x) + int(gap * random.uniform(0.6, 1.5))
        return out

    def coloured(self, x: Floats) -> Floats:
        """Return a sound through a random equaliser and a random room, each at times."""
        equalised, roomy = self.chance(0.4), self.chance(0.2)
        if not (equalised or roomy):
            return x
        size = scipy.fft.next_fast_len(len(x) + (RATE if roomy else 0), real=True)
        spectrum = scipy.fft.rfft(x, size)
        if equalised:
            spectrum *= self.equaliser(len(spectrum))
        if roomy:
            spectrum *= scipy.fft.rfft(self.room(), size)
        wet: Floats = scipy.fft.irfft(spectrum, size)[: len(x)].astype(np.float32)
        return wet

    def equaliser(self, bins: int) -> Floats:
        """Return gains for the bins of a spectrum: a curve through five random points."""
        at = np.log(np.linspace(60, RATE / 2, bins))
        knots = np.linspace(np.log(60), np.log(RATE / 2), 5)
        curve = np.interp(at, knots, self.random.normal(0.0, 5.0, 5))
        return (10 ** (curve / 20)).astype(np.float32)

    def room(self) -> Floats:
        """Return a random impulse response: the direct sound, a few echoes, a tail."""
        random = self.random
        life = np.exp(random.uniform(np.log(0.1), np.log(1.0)))
        n = int(min(life, 0.95) * RATE)
        t = np.arange(n) / RATE
        tail = random.normal(size=n) * 10 ** (-3 * t / life)
        tail[: int(random.uniform(0.002, 0.02) * RATE)] = 0
        tail *= np.exp(random.uniform(np.log(0.1), np.log(1.5))) / np.sqrt(np.square(tail).sum())
        echoes = random.integers(30, max(31, min(n, 1200)), 6)
        tail[echoes] += random.normal(0, 0.2, 6)
        tail[0] = 1.0
        return tail.astype(np.float32)

    def mixed(self, need: int) -> Floats:
        """Return a mix at the level at which the teacher hears it; some are silent."""
        random = self.random
        count = int(random.choice(4, p=[0.015, 0.585, 0.28, 0.12]))
        out = np.zeros(need, np.float32)
        for layer in range(count):
            x = self.coloured(self.layer(self.file(), need))
            share = 10 ** (random.uniform(-20, 6) / 20) if layer else 1.0
            out += x * np.float32(share / max(loudness(x), 1e-5))
        if count and len(self.noises) and self.chance(0.15):
            x = self.layer(int(random.choice(self.noises)), need)
            out += x * np.float32(10 ** (random.uniform(-45, -14) / 20) / max(loudness(x), 1e-5))
        level = random.uniform(-100, -65) if self.chance(0.02) else random.uniform(*LEVELS)
        out *= np.float32(10 ** (level / 20) / max(loudness(out), 1e-5))
        return np.clip(out, -1, 1)

    def single(self, sound: int, need: int) -> Floats:
        """Return one sound alone, at a usual level."""
        x = self.layer(sound, need)
        level = 10 ** (self.random.uniform(*LEVELS) / 20)
        return np.clip(x * np.float32(level / max(loudness(x), 1e-5)), -1, 1)

    def channel(self, x: Floats) -> Floats:
        """Return a sound as a poor channel leaves it: few frequencies, few bits."""
        kind = self.random.random()
        if kind < 0.5:
            top = np.exp(self.random.uniform(np.log(2500), np.log(7000)))
            spectrum = scipy.fft.rfft(x)
            hertz = np.linspace(0, RATE / 2, len(spectrum))
            spectrum *= 1 / (1 + (hertz / top) ** 16)
            if kind < 0.2:
                spectrum *= 1 - 1 / (1 + (hertz / self.random.uniform(100, 400)) ** 8)
            narrow: Floats = scipy.fft.irfft(spectrum, len(x)).astype(np.float32)
            return narrow
        if kind < 0.75:
            peak = np.abs(x).max() + 1e-6
            scaled = np.sign(x) * np.log1p(255 * np.abs(x) / peak) / np.log(256)
            scaled = np.round(scaled * 127) / 127
            return np.sign(scaled) * np.expm1(np.abs(scaled) * np.log(256)) * np.float32(peak / 255)
        drive = np.float32(self.random.uniform(1.5, 4) / (np.abs(x).max() + 1e-6))
        return np.tanh(x * drive) / drive

    def row(self, piece: int = 0) -> Mix:
        """Return a fresh row of the pool, of pieces of this many segments (0: as drawn)."""
        piece = piece or int(self.random.choice(PIECES, p=PIECE_SHARES))
        need = samples_of(piece)
        clean = np.stack([self.mixed(need) for _ in range(ROW // piece)])
        if piece == 1:
            for x in clean:  # what is shorter than a segment is followed by zeros
                if self.chance(0.25):
                    x[int(self.random.uniform(0.2, 0.9) * need) :] = 0
        mel = np.empty((len(clean), piece * PATCH_FRAMES, BANDS), np.float16)
        for i, x in enumerate(clean):
            heard = self.channel(x) if self.chance(0.15) else x
            mel[i] = np.minimum(mel_magnitudes(heard), 60000)
        return Mix(piece, clean, mel)


def heard(mel: Tensor, random: torch.Generator) -> Tensor:
    """Return mixes as the student hears them: other level, perhaps a little noise.

    The teacher's answer stays the one for `mel`, so the student learns that neither
    matters. What is too faint to be told from silence keeps its level.

    Parameters
    ----------
    mel : float32 [n, frames, 64]
        Mel magnitudes.
    random : torch.Generator
        On the device of `mel`.

    Returns
    -------
    float32 [n, frames, 64]
    """
    count, frames = mel.shape[:2]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=random, device=mel.device) * (high - low) + low

    loud = mel.square().mean(2).topk(frames // 4, 1).values.mean(1).sqrt()
    gain = 10 ** (uniform(-20, 8, count) / 20)
    gain[(uniform(0, 1, count) < 0.25) | (loud < 0.02)] = 1.0
    out = mel * gain[:, None, None]
    rows = torch.nonzero((uniform(0, 1, count) < 0.25) & (loud > 0.02))[:, 0]
    rayleigh = 0.8 * torch.sqrt(-2 * torch.log1p(-uniform(0, 1, len(rows), frames, BANDS)))
    bands = torch.linspace(-1, 1, BANDS, device=mel.device)
    slope = torch.exp(uniform(-1.2, 1.2, len(rows), 1, 1) * bands)
    share = 10 ** (uniform(-45, -14, len(rows)) / 20) * loud[rows] * gain[rows]
    out[rows] = torch.hypot(out[rows], rayleigh * slope * share[:, None, None])
    return out
