"""Two sounds: whether the one is in the other, and what was done to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from soundsearch_ingest.decode import SAMPLE_RATE

from .aligning import Alignment, align, elsewhere, is_promising, placed, threshold
from .hearing import ALIKE, Voice, Voices
from .pictures import FRAME, magnitudes, picture

__all__ = ["Match", "compare"]

Floats = NDArray[np.float32]

# Seconds of the shorter sound that are looked for in the longer one; a longer one is compared by
# several such parts.
_PROBE = 10.0
_PROBES = 5
# How far beside the expected place is looked.
_BESIDE = 1.5
# Pairs of prints whose places are tried, and how many prints of the shorter one are looked at.
_HINTS = 3
_ASKED = 64
# Of the prints so many seconds around such a place, the two most alike must be alike in the mean;
# those count that begin within half a second of each other.
_AROUND = 2.5
_ASIDE = 0.5
# Pictures that correlate so well are the same, whatever the waves say: a tape that ran a thousandth
# too fast has the same picture and other waves.
_CERTAIN = 0.6
# And so much better than anywhere else.
_BETTER = 0.1
# Where the waves are the same, pictures need not correlate as well as those of a changed sound do:
# a frame may begin between two of the other one.
_NEARLY = 0.1
# Whitened waves of different sounds do not correlate so, nor as sharply: with nothing beside the
# peak that is so high. What hums has lower peaks beside it.
_COHERENT = ((0.1, 0.35), (0.3, 0.7))
# A peak that is lower must also be higher than any other: a clock's beeps keep their phases, and
# lie about as well on those of another recording, whichever begins with which.
_STRONG, _REPEATED = 0.3, 0.8
_WHITE = 1024
# In bins of these: how wide a cliff may be, and up to where sounds are compared (7.4 kHz).
_CLIFF = 26
_TOP = 474
# So much of the energy of either is what a filter makes of the other: 0.61 or more where a copy is
# encoded, clipped or of 8 kHz, and 0.5 where another sound as loud lies over it.
_ALONE = 0.6
# So much of the shorter one must lie in the longer one, and be the same, for it to hold no more; of
# a long one less, as there may be nothing to see in one of its parts.
_WHOLE = 0.9
_SAME, _SAME_LONG = 0.9, 0.75
# How much longer a clip may be than its copy, in seconds and as a share: what encoders add.
_LONGER = (0.3, 0.05)


@dataclass(frozen=True, slots=True)
class Match:
    """A sound that was found in another one, at least as long.

    Attributes
    ----------
    score : float
        How well their pictures correlate, 0 to 1.
    offset : float
        Where the shorter one begins in the longer one, seconds; below 0 where it began before.
    seconds : float
        How long both sound the same.
    is_within : bool
        Whether the shorter one holds nothing but what the longer one holds.
    is_whole : bool
        Whether it also is as long.
    speed : float
        How many times as long the shorter one's time takes in the longer one.
    pitch : float
        How many semitones the longer one is higher.
    level : float
        How much louder the longer one is, dB.
    bandwidth : tuple of float, or None
        Up to which frequency each has sound, Hz; None where they do not differ.
    """

    score: float
    offset: float
    seconds: float
    is_within: bool
    is_whole: bool
    speed: float
    pitch: float
    level: float
    bandwidth: tuple[float, float] | None

    def turned(self) -> Match:
        """How the other sound lies on this one, where they are the same as a whole."""
        return replace(
            self,
            offset=-self.offset / self.speed,
            speed=1 / self.speed,
            pitch=-self.pitch,
            level=-self.level,
            bandwidth=None if self.bandwidth is None else self.bandwidth[::-1],
        )


@dataclass(frozen=True, slots=True)
class _Probe:
    """A part of the shorter sound that was found: where it begins in both."""

    found: Alignment
    start: float
    at: float
    level: float
    bandwidth: tuple[float, float] | None


def compare(voices: Voices, own: tuple[str, Voice], other: tuple[str, Voice]) -> Match | None:
    """Find a sound in another one, which is at least as long.

    Parameters
    ----------
    voices : Voices
    own, other : (uri, Voice)

    Returns
    -------
    Match or None
        None where they are not the same, or nothing in them tells.

    Raises
    ------
    Unheard
        One of them cannot be read.
    """
    for start, at in _hints(own[1], other[1]):
        if (first := _probe(voices, own, other, start, at)) is not None:
            return _matched(first, voices, own, other)
    return None


def _hints(own: Voice, other: Voice) -> list[tuple[float, float]]:
    """Seconds in both that may be the same moment, the likeliest first."""
    if not len(own.prints) or not len(other.prints):
        return []
    rows = own.telling()
    rows = rows[:: -(-len(rows) // _ASKED)]
    alike = own.likeness(rows, other)
    hints: list[tuple[float, float]] = []
    for place in np.argsort(-alike, axis=None, kind="stable")[: 4 * _HINTS].tolist():
        row, column = divmod(place, alike.shape[1])
        if alike[row, column] < ALIKE:
            break
        start, at = float(own.seconds[rows[row]]), float(other.seconds[column])
        is_new = all(abs((at - start) - (b - a)) > 2 for a, b in hints)
        if is_new and _alike_around(own, other, start, at):
            hints.append((start, at))
    is_short = own.duration <= _PROBE and other.duration <= 2 * _PROBE
    return hints[: 1 if is_short else _HINTS]


def _alike_around(own: Voice, other: Voice, start: float, at: float) -> bool:
    """Whether the prints around a moment are those around one of another sound."""
    rows = np.flatnonzero(np.abs(own.seconds - start) <= _AROUND)
    apart = np.abs(other.seconds[:, None] - (own.seconds[rows] + np.float32(at - start)))
    others = apart.argmin(axis=0)
    fits = apart[others, np.arange(len(rows))] <= _ASIDE
    rows, others = rows[fits], others[fits]
    alike = np.sort(own.paired(rows, other, others))
    return float(alike[-2:].mean()) >= ALIKE


def _probe(
    voices: Voices, own: tuple[str, Voice], other: tuple[str, Voice], start: float, at: float
) -> _Probe | None:
    """Look for the part of a sound around a moment near a moment of another one."""
    looked = _looked_at(own[1], other[1], start, at)
    sketch, other_sketch = (
        voices.sketch(voice, *part) for (_, voice), part in zip((own, other), looked, strict=True)
    )
    if sketch is not None and other_sketch is not None and not is_promising(sketch, other_sketch):
        return None
    here, begin = voices.part(own[0], *looked[0])
    there, first = voices.part(other[0], *looked[1])
    bands = magnitudes(here), magnitudes(there)
    shown = picture(bands[0]), picture(bands[1])
    found = align(*shown)
    if found is None:
        return None
    offset = found.shift * FRAME
    # Where the sound is short, speed and offset are not told well, but its middle is.
    middle = offset + (found.speed - 1) * len(here) / SAMPLE_RATE / 2
    is_coherent, precise = _coherence(here, there, middle)
    same = placed(*shown, precise / FRAME)
    is_same = is_coherent and same.score >= found.score - _NEARLY
    is_told = not is_same and _is_told(found, shown)
    if not is_coherent and not is_told:
        return None
    if not is_told:
        offset, found = precise, same
        if (shared := _shared(here, there, precise)) < _ALONE:
            found = replace(found, share=min(found.share, shared))
    level, bandwidth = _changes(here, there, bands, found)
    return _Probe(found, begin, first + offset, level, bandwidth)


def _is_told(found: Alignment, shown: tuple[Floats, Floats]) -> bool:
    """Whether pictures tell by themselves that two sounds are the same."""
    least = threshold(found) if found.is_changed else max(_CERTAIN, threshold(found))
    if found.is_farthest or found.score < least:
        return False
    return found.score >= elsewhere(*shown, found) + _BETTER


def _looked_at(
    own: Voice, other: Voice, start: float, at: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Seconds from and to, of a sound around a moment and of another one where that would be."""
    begin = 0.0 if own.duration <= _PROBE else max(0.0, min(start, own.duration - _PROBE))
    if other.duration <= 2 * _PROBE:
        return (begin, begin + _PROBE), (0.0, 2 * _PROBE)
    first = at - (start - begin) - _BESIDE
    last = at - (start - begin) + min(_PROBE, own.duration - begin) + _BESIDE
    return (begin, begin + _PROBE), (max(0.0, first), last)


def _matched(
    first: _Probe, voices: Voices, own: tuple[str, Voice], other: tuple[str, Voice]
) -> Match:
    """All of a sound beside another one in which a part of it was found."""
    speed = first.found.speed
    offset = first.at - first.start * speed
    share, least = first.found.share, _SAME
    if own[1].duration > _PROBE:
        found, tried = [first], 1
        for start in _spread(own[1], first.start):
            at = offset + start * speed
            if not -_PROBE / 2 < at < other[1].duration - _PROBE / 2:
                continue
            tried += 1
            probe = _probe(voices, own, other, start, at)
            if probe is not None and abs(probe.at - probe.start * speed - offset) < _BESIDE:
                found.append(probe)
        share, least = sum(probe.found.share for probe in found) / tried, _SAME_LONG
        if len(found) > 2:
            speed, offset = np.polyfit(
                [probe.start for probe in found], [probe.at for probe in found], 1
            ).tolist()
            if abs(speed - 1) < 5e-4 and first.found.speed == 1:
                speed, offset = 1.0, first.at - first.start
    length = own[1].duration * speed
    seconds = min(offset + length, other[1].duration) - max(offset, 0.0)
    is_within = seconds >= _WHOLE * length and share >= least
    longer = other[1].duration - length
    return Match(
        score=first.found.score,
        offset=offset,
        seconds=max(0.0, seconds) * (share if share < least else 1.0),
        is_within=is_within,
        is_whole=is_within and longer <= max(_LONGER[0], _LONGER[1] * length),
        speed=speed,
        pitch=first.found.pitch,
        level=first.level,
        bandwidth=first.bandwidth,
    )


def _spread(voice: Voice, but: float) -> list[float]:
    """Moments of a long sound, evenly spread over where there is something to see."""
    places = np.linspace(0, len(voice.seconds) - 1, _PROBES + 1).round().astype(int)
    starts = [
        min(float(start), voice.duration - _PROBE)
        for start in voice.seconds[np.unique(places)].tolist()
    ]
    return [start for start in starts if abs(start - but) > _PROBE / 2]


def _coherence(here: Floats, there: Floats, offset: float) -> tuple[bool, float]:
    """Whether the whitened waves correlate near an offset, and where they do so best.

    Sounds that were only encoded, filtered or made louder keep their phases.
    """
    reach = round(0.1 * SAMPLE_RATE)
    begin = round(offset * SAMPLE_RATE) - reach
    first, last = max(0, begin), min(len(there), begin + len(here) + 2 * reach)
    own, other = _whitened(here), _whitened(there[first:last])
    if not len(own) or not len(other):
        return False, offset
    correlations = _correlations(own, other, np.arange(2 * reach + 1) + begin - first)
    best = int(correlations.argmax())
    beside = np.concatenate((correlations[: max(0, best - 160)], correlations[best + 161 :]))
    peak, side = float(correlations[best]), float(beside.max(initial=0))
    is_sharp = any(peak >= least and side <= most * peak for least, most in _COHERENT)
    if is_sharp and peak < _STRONG:
        half = min(len(own), len(there)) // 2
        shifts = np.arange(half - len(own), len(there) - half + 1)
        shifts = shifts[(shifts < begin) | (shifts > begin + 2 * reach)]
        repeated = _correlations(own, _whitened(there), shifts).max(initial=0)
        is_sharp = bool(repeated <= _REPEATED * peak)
    return is_sharp, (begin + best) / SAMPLE_RATE


def _correlations(own: Floats, other: Floats, shifts: NDArray[np.int64]) -> NDArray[np.float64]:
    """How well waves correlate where the first is shifted along the other, of either sign."""
    count = fft.next_fast_len(len(own) + len(other), real=True)
    product = fft.irfft(np.conj(fft.rfft(own, count)) * fft.rfft(other, count), count)
    low = np.clip(-shifts, 0, len(own))
    high = np.maximum(low, np.minimum(len(own), len(other) - shifts))
    here, there = (
        np.concatenate(([0.0], np.cumsum(np.square(each, dtype=np.float64))))
        for each in (own, other)
    )
    energy = (here[high] - here[low]) * (there[high + shifts] - there[low + shifts])
    found: NDArray[np.float64] = np.abs(product[shifts % count]) / np.sqrt(
        np.maximum(energy, 1e-12)
    )
    return found


def _shared(here: Floats, there: Floats, offset: float) -> float:
    """How much of the energy of two sounds a filter makes of the other: of both, the less, 0 to 1.

    That is their magnitude-squared coherence in windows of 64 ms, weighted by energy,
    up to where both have sound.
    """
    shift = round(offset * SAMPLE_RATE)
    first, last = max(0, -shift), min(len(here), len(there) - shift)
    if last - first < 4 * _WHITE:
        return 1.0
    parts = here[first:last], there[first + shift : last + shift]
    edges = _edges(*parts)
    top = _WHITE if edges is None else round(min(edges) * _WHITE / SAMPLE_RATE)
    own, other = (_spectra(part)[:, :top] for part in parts)
    both = np.square(np.abs(np.einsum("fb,fb->b", own.conj(), other)))
    powers = [np.square(np.abs(each)).sum(axis=0) + 1e-9 for each in (own, other)]
    return min(float((both / one).sum() / two.sum()) for one, two in (powers, powers[::-1]))


def _whitened(samples: Floats) -> Floats:
    """A sound whose spectrum is flat at every moment: its phases alone."""
    hop = _WHITE // 2
    count = len(samples) // hop + 1
    padded = np.zeros((count + 1) * hop, np.float32)
    padded[hop : hop + len(samples)] = samples[: count * hop]
    window = np.sqrt(np.hanning(_WHITE + 1)[:-1]).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WHITE)[::hop] * window
    spectra = fft.rfft(frames, axis=1)
    sizes = np.abs(spectra)
    spectra /= sizes + (1e-3 * np.sqrt(np.mean(np.square(sizes))) + 1e-7)
    white = fft.irfft(spectra, axis=1).astype(np.float32) * window
    out = np.zeros_like(padded)
    for half in (0, 1):
        part = white[half::2].ravel()
        out[half * hop : half * hop + len(part)] += part
    return out[hop : hop + len(samples)]


def _changes(
    here: Floats, there: Floats, bands: tuple[Floats, Floats], found: Alignment
) -> tuple[float, tuple[float, float] | None]:
    """How much louder the second sound is, dB, and up to where each has sound if they differ."""
    shift = round(found.shift)
    first = max(0, -shift)
    places = np.arange(first, len(bands[0]))
    others = np.rint(places * found.speed).astype(int) + shift
    fits = (others >= 0) & (others < len(bands[1]))
    # The means over time, as the frames of both need not begin at the same moment.
    own, other = (part.mean(axis=0) for part in (bands[0][places[fits]], bands[1][others[fits]]))
    strong = own >= np.quantile(own, 0.5)
    level = 20 * float(np.median(np.log10((other[strong] + 1e-9) / (own[strong] + 1e-9))))
    part = round(max(0.0, found.shift * FRAME) * SAMPLE_RATE)
    return level, _edges(here, there[part : part + len(here)])


def _edges(here: Floats, there: Floats) -> tuple[float, float] | None:
    """Up to which frequencies two sounds that are the same have sound, Hz; None if no matter.

    One that is band-limited has a cliff, above which the other one has 15 dB more, up to the end.
    """
    if min(len(here), len(there)) < 4 * _WHITE:
        return None
    own, other = _spectrum(here), _spectrum(there)
    apart = 10 * np.log10(own / other)
    apart -= np.median(apart[_CLIFF:_TOP])
    for sign, power in ((-1, own), (1, other)):
        less = np.flatnonzero(sign * apart[:_TOP] < 15)
        edge = int(less[-1]) + 1 if len(less) else 0
        if not _CLIFF < edge < _TOP - _CLIFF:
            continue
        below, above = power[edge - _CLIFF : edge - 6], power[edge + 6 : edge + _CLIFF]
        if below.mean() > 100 * above.mean():
            hertz = edge * SAMPLE_RATE / _WHITE
            whole = SAMPLE_RATE / 2
            return (hertz, whole) if sign < 0 else (whole, hertz)
    return None


def _spectrum(samples: Floats) -> NDArray[np.float64]:
    """The mean power of a sound in bins of 16 Hz, smoothed over nine."""
    power = np.square(np.abs(_spectra(samples))).mean(axis=0) + 1e-10
    return np.convolve(power, np.ones(9) / 9, "same")


def _spectra(samples: Floats) -> NDArray[np.complex64]:
    """The spectra of windows of a sound, complex64 [windows, bins]."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WHITE)[:: _WHITE // 2]
    spectra: NDArray[np.complex64] = fft.rfft(
        frames * np.hanning(_WHITE).astype(np.float32), axis=1
    )
    return spectra
