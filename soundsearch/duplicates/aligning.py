"""Whether one sound is in another, where, and how it was changed.

The picture of the shorter one, stretched by -4 % to 4 % and moved along frequency by up to a
semitone, is slid along that of the longer one; the sounds are the same where the two correlate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from .pictures import BANDS_PER_OCTAVE, sketch

__all__ = ["Alignment", "align", "elsewhere", "is_promising", "placed", "threshold"]

Floats = NDArray[np.float32]

# Speeds and shifts along frequency, in bands, that are tried first, on sketches.
_SPEEDS = tuple(1 + step / 100 for step in range(-4, 5, 2))
_MOST = 4
_SHIFTS = range(-_MOST, _MOST + 1)
# What is tried around the best of these, on pictures: steps of the speed, bands, and frames.
_FINER = (
    ((-0.01, -0.005, 0.0, 0.005, 0.01), (-0.5, 0.0, 0.5), 2),
    ((-0.0025, 0.0, 0.0025), (0.0,), 1),
)
# What is best at the end of what is tried would be better beyond it: it is by chance.
_FARTHEST = (0.043, 1.25)
# How much of a picture must lie on the other, and with how much of its energy.
_OVERLAP = 0.5
_LEAST = 2
_ENERGY = 0.3
# Below this root mean square, what a picture shows is rounding.
_ROUNDING = 0.01
# Below this, a first look is not worth a second.
_PROMISING = 0.22
# Nearly as good, a sound that was not changed is the simpler finding.
_AS_GOOD = 0.02
# Frames from the best place on that count as another place.
_AWAY = 8
# Frames that are compared by themselves, one such block in every half, to tell how much of a sound
# is in the other.
_BLOCK = 32


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a sound lies on another one.

    Attributes
    ----------
    score : float
        The correlation of the pictures, -1 to 1.
    shift : float
        The frame of the longer one at which the shorter one begins.
    speed : float
        How many times as long the shorter one's time takes in the longer one.
    pitch : float
        How many semitones the longer one is higher.
    share : float
        How much of the sound in the overlap is in both, 0 to 1.
    frames : int
        How long the overlap is.
    """

    score: float
    shift: float
    speed: float = 1.0
    pitch: float = 0.0
    share: float = 0.0
    frames: int = 0

    @property
    def is_changed(self) -> bool:
        """Whether the speed or the pitch is not the same."""
        return self.speed != 1 or self.pitch != 0

    @property
    def is_farthest(self) -> bool:
        """Whether it is at the end of what is tried, and would be better beyond: by chance."""
        return abs(self.speed - 1) > _FARTHEST[0] or abs(self.pitch) > _FARTHEST[1]


def threshold(found: Alignment) -> float:
    """The correlation that different sounds do not reach in an overlap that is so long.

    Short ones have less to tell by; and where speed and pitch are free, more is tried, and a call
    that glides comes near to another one.
    """
    return (0.42 if found.is_changed else 0.36) + 6.0 / max(found.frames, 10)


def is_promising(shorter: Floats, longer: Floats) -> bool:
    """Whether sounds whose `sketch` these are are worth reading again to be aligned.

    Parameters
    ----------
    shorter, longer : float32 [frames, bands]
    """
    if len(shorter) < _LEAST or len(longer) < _LEAST:
        return False
    return _first_look(shorter, longer).score >= _PROMISING


def align(shorter: Floats, longer: Floats) -> Alignment | None:
    """Find the best place of a picture on another one.

    Parameters
    ----------
    shorter, longer : float32 [frames, bands]

    Returns
    -------
    Alignment or None
        None where nothing comes near.
    """
    if len(shorter) < 2 * _LEAST or len(longer) < 2 * _LEAST:
        return None
    best = _first_look(sketch(shorter), sketch(longer))
    if best.score < _PROMISING:
        return None
    best = replace(best, score=-1.0)
    for steps, moves, around in _FINER:
        first = best
        for step in steps:
            stretched = _stretched(shorter, first.speed + step)
            for move in moves:
                bands = first.pitch / 12 * BANDS_PER_OCTAVE + move
                moved = _moved(stretched, bands)
                for shift in range(round(first.shift) - around, round(first.shift) + around + 1):
                    score = _score(moved, longer, shift)
                    if score > best.score:
                        pitch = bands * 12 / BANDS_PER_OCTAVE
                        best = Alignment(score, shift, first.speed + step, pitch)
    middle = round(best.shift + (best.speed - 1) * len(shorter) / 2)
    for shift in range(middle - 2, middle + 3):
        score = _score(shorter, longer, shift)
        if score >= best.score - _AS_GOOD:
            best = Alignment(score, shift)
    moved = _moved(_stretched(shorter, best.speed), best.pitch / 12 * BANDS_PER_OCTAVE)
    share, frames = _extent(moved, longer, round(best.shift))
    return replace(best, share=share, frames=frames)


def placed(shorter: Floats, longer: Floats, shift: float) -> Alignment:
    """A picture at a place on another one, unchanged."""
    whole = round(shift)
    share, frames = _extent(shorter, longer, whole)
    return Alignment(_score(shorter, longer, whole), shift, share=share, frames=frames)


def elsewhere(shorter: Floats, longer: Floats, found: Alignment) -> float:
    """The best correlation at any other place, of a picture that is changed as it was found to be.

    What repeats itself, as the beeps of a clock do, lies about as well on the next beep, and on
    those of another clock.
    """
    moved = _moved(_stretched(shorter, found.speed), found.pitch / 12 * BANDS_PER_OCTAVE)
    here = round(found.shift)
    shifts = [shift for shift in range(-len(moved), len(longer)) if abs(shift - here) >= _AWAY]
    return max((_score(moved, longer, shift) for shift in shifts), default=-1.0)


def _first_look(shorter: Floats, longer: Floats) -> Alignment:
    """The best of a few speeds, all shifts along frequency, and all places, of two sketches."""
    stretched = [_stretched(shorter, speed) for speed in _SPEEDS]
    count = fft.next_fast_len(max(map(len, stretched)) + len(longer), real=True)
    others = fft.rfft(longer, count, axis=0)
    padded = np.pad(others, ((0, 0), (_MOST, _MOST)))
    moved = np.lib.stride_tricks.sliding_window_view(padded, others.shape[1], axis=1)
    owns = np.stack([fft.rfft(each, count, axis=0) for each in stretched], axis=1)
    products = np.matmul(np.conj(owns), moved.transpose(0, 2, 1))
    scores = fft.irfft(products, count, axis=0)
    energies = _energies(longer)
    best = Alignment(-1.0, 0.0)
    for number, speed in enumerate(_SPEEDS):
        own = stretched[number]
        least = max(_LEAST, int(_OVERLAP * min(len(own), len(longer))))
        shifts = np.arange(least - len(own), len(longer) - least + 1)
        scale = _scale(_energies(own), energies, shifts, own.shape[1])
        found = scores[shifts % count, number] * scale[:, None]
        place, row = divmod(int(found.argmax()), len(_SHIFTS))
        if found[place, row] > best.score:
            pitch = _SHIFTS[row] * 12 / BANDS_PER_OCTAVE
            best = Alignment(float(found[place, row]), 2 * float(shifts[place]), speed, pitch)
    return best


def _energies(shown: Floats) -> NDArray[np.float64]:
    """The energy before each frame, float64 [frames + 1]."""
    energy = np.einsum("fb,fb->f", shown, shown, dtype=np.float64)
    return np.concatenate(([0.0], np.cumsum(energy)))


def _scale(
    here: NDArray[np.float64],
    there: NDArray[np.float64],
    shifts: NDArray[np.int64],
    bands: int,
) -> NDArray[np.float64]:
    """What makes a correlation of the products at some shifts; 0 where too little overlaps."""
    first = np.maximum(0, -shifts)
    last = np.minimum(len(here) - 1, len(there) - 1 - shifts)
    own, other = here[last] - here[first], there[last + shifts] - there[first + shifts]
    rounding = (last - first) * bands * _ROUNDING**2
    energy = np.sqrt((own + rounding) * (other + rounding))
    enough = own >= _ENERGY * min(here[-1], there[-1])
    scale: NDArray[np.float64] = np.where(enough, 1 / np.maximum(energy, 1e-9), 0)
    return scale


def _overlapping(here: Floats, there: Floats, shift: int) -> tuple[Floats, Floats]:
    first, last = max(0, -shift), min(len(here), len(there) - shift)
    return here[first:last], there[first + shift : last + shift]


def _score(here: Floats, there: Floats, shift: int) -> float:
    own, other = _overlapping(here, there, shift)
    if len(own) < max(4, _OVERLAP * min(len(here), len(there))):
        return -1.0
    return _correlation(own, other)


def _correlation(own: Floats, other: Floats) -> float:
    rounding = own.size * _ROUNDING**2
    energy = (np.vdot(own, own) + rounding) * (np.vdot(other, other) + rounding)
    return float(np.vdot(own, other) / np.sqrt(energy))


def _extent(here: Floats, there: Floats, shift: int) -> tuple[float, int]:
    """How long the overlap is, and how much of the sound in it is in both."""
    own, other = _overlapping(here, there, shift)
    same = all = 0.0
    for begin in range(0, max(1, len(own) - _BLOCK // 2), _BLOCK // 2):
        part = own[begin : begin + _BLOCK], other[begin : begin + _BLOCK]
        energy = max(float(np.vdot(each, each)) for each in part)
        all += energy
        if _correlation(*part) >= 0.2:
            same += energy
    return same / all if all else 0.0, len(own)


def _stretched(shown: Floats, speed: float) -> Floats:
    """A picture that takes so many times as long."""
    if speed == 1:
        return shown
    times = np.arange(max(2, round(len(shown) * speed))) / speed
    below = np.clip(times.astype(np.int64), 0, len(shown) - 2)
    share = np.clip(times - below, 0, 1).astype(np.float32)[:, None]
    return shown[below] * (1 - share) + shown[below + 1] * share


def _moved(shown: Floats, bands: float) -> Floats:
    """A picture that is moved up by so many bands."""
    if bands == 0:
        return shown
    whole = int(np.floor(bands))
    share = np.float32(bands - whole)
    return _rolled(shown, whole) * (1 - share) + _rolled(shown, whole + 1) * share


def _rolled(shown: Floats, bands: int) -> Floats:
    out = np.zeros_like(shown)
    if bands >= 0:
        out[:, bands:] = shown[:, : shown.shape[1] - bands]
    else:
        out[:, :bands] = shown[:, -bands:]
    return out
