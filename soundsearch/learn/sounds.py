"""Sound as another recording of the same might have it: noise, gain, stretch, pitch, reverb."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.decode import SAMPLE_RATE
from soundsearch_ingest.extras import needs

__all__ = ["CHANGES", "changed", "check_changes"]

Floats = NDArray[np.float32]
Change = Callable[[Floats], Floats]
Random = np.random.Generator

# Longer sound is changed in pieces, each as the others: so much is in memory, seconds.
_PIECE = 60
_EXTRA = "augment"

_NOISE_RATIOS = 5.0, 30.0  # of sound to noise, dB
_GAINS = -6.0, 6.0  # dB
_RATES = 0.8, 1.25
_SEMITONES = -2.0, 2.0
_DECAYS = 0.2, 1.5  # until a room is 60 dB quieter, seconds
_ROOM_RATIOS = -5.0, 15.0  # of direct sound to that of the room, dB


def changed(blocks: Iterable[Floats], kind: str, seed: Sequence[int]) -> Iterator[Floats]:
    """Change a sound; the same seed changes the same sound in the same way.

    Levels are kept as they come out: samples may lie beyond [-1, 1].

    Parameters
    ----------
    blocks : iterable of float32 [n]
        Mono 16 kHz sound.
    kind : str
        Of `CHANGES`: ``noise``, white, 5 to 30 dB below the sound; ``gain``, 6 dB either way;
        ``stretch``, 0.8 to 1.25 times as fast at the same pitch; ``pitch``, two semitones either
        way at the same speed; ``reverb``, a room. All are drawn evenly within these.
    seed : sequence of int

    Yields
    ------
    float32 [n]

    Raises
    ------
    MissingExtra
        audiomentations is not installed, which does all but ``reverb``.
    """
    change = CHANGES[kind](np.random.default_rng(seed))
    for piece in _pieces(blocks):
        yield change(piece)


def check_changes(kinds: Collection[str]) -> None:
    """Raise MissingExtra where a package for one of these is not installed."""
    if {*kinds} & {*CHANGES} - {"reverb"}:
        needs("audiomentations", _EXTRA)


def _pieces(blocks: Iterable[Floats]) -> Iterator[Floats]:
    parts: list[Floats] = []
    for block in blocks:
        parts.append(block)
        if sum(map(len, parts)) >= _PIECE * SAMPLE_RATE:
            yield np.concatenate(parts)
            parts = []
    if parts:
        yield np.concatenate(parts)


def _noise(drawn: Random) -> Change:
    ratio = drawn.uniform(*_NOISE_RATIOS)
    return _by_library("AddGaussianSNR", drawn, min_snr_db=ratio, max_snr_db=ratio)


def _gain(drawn: Random) -> Change:
    gain = drawn.uniform(*_GAINS)
    return _by_library("Gain", drawn, min_gain_db=gain, max_gain_db=gain)


def _stretch(drawn: Random) -> Change:
    rate = drawn.uniform(*_RATES)
    return _by_library(
        "TimeStretch", drawn, min_rate=rate, max_rate=rate, leave_length_unchanged=False
    )


def _pitch(drawn: Random) -> Change:
    semitones = drawn.uniform(*_SEMITONES)
    return _by_library("PitchShift", drawn, min_semitones=semitones, max_semitones=semitones)


def _by_library(name: str, drawn: Random, **options: Any) -> Change:
    """A transform of audiomentations, which draws from the random numbers of the process."""
    transform = getattr(needs("audiomentations", _EXTRA), name)(p=1.0, **options)

    def change(piece: Floats) -> Floats:
        others = random.getstate(), np.random.get_state()  # noqa: NPY002
        try:
            np.random.seed(int(drawn.integers(1 << 32)))  # noqa: NPY002
            found: Floats = transform(piece, SAMPLE_RATE)
            return found
        finally:
            random.setstate(others[0])
            np.random.set_state(others[1])  # noqa: NPY002

    return change


def _reverb(drawn: Random) -> Change:
    """A room: white noise that decays exponentially, after the direct sound.

    Moorer, About This Reverberation Business (1979): what a hall's impulse response sounds like.
    """
    from scipy.signal import fftconvolve

    count = int(drawn.uniform(*_DECAYS) * SAMPLE_RATE)
    ratio = drawn.uniform(*_ROOM_RATIOS)
    room = drawn.normal(size=count) * 10 ** (-3 * np.arange(count) / count)
    room *= 10 ** (-ratio / 20) / np.sqrt((room**2).sum())
    room[0] += 1
    rest = np.zeros(count - 1)

    def change(piece: Floats) -> Floats:
        nonlocal rest
        heard = fftconvolve(piece, room)
        heard[: count - 1] += rest
        rest = heard[len(piece) :]
        found: Floats = heard[: len(piece)].astype(np.float32)
        return found

    return change


CHANGES: dict[str, Callable[[Random], Change]] = {
    "noise": _noise,
    "gain": _gain,
    "stretch": _stretch,
    "pitch": _pitch,
    "reverb": _reverb,
}
