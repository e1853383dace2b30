"""Recognisable sounds made by formula, so that a first search needs no recordings.

Every kind is a function of a random generator: pitch, tempo, level and timbre vary, the kind
stays. Nothing here is meant for music; each formula is the shortest that a listener, and a
classifier trained on recordings, takes for the real thing.

References
----------
Karplus, K., and Strong, A. (1983). Digital synthesis of plucked-string and drum timbres.
    Computer Music Journal 7(2).
Risset, J.-C. (1969). An introductory catalogue of computer synthesized sounds. Bell Labs.
ITU-T Q.23: the pairs of frequencies of push-button dialling.
Precise Tone Plan: 350+440 Hz dial tone, 440+480 Hz ringing, 480+620 Hz busy.
ISO 8201: the three-pulse evacuation signal of smoke alarms.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

__all__ = [
    "KINDS",
    "SAMPLE_RATE",
    "kind_of",
    "make",
    "queries",
    "recording",
    "write_collection",
]

SAMPLE_RATE = 22050
RECORDING_NAME = "an-afternoon.flac"

Signal = NDArray[np.float64]
Sound = NDArray[np.float32]

_RECORDING_SECONDS = 180.0
_RECORDED_VARIATION = 1000
_QUERY_VARIATION = 2000
_FADE_SECONDS = 0.02


# ---- building blocks ---------------------------------------------------------------------


def _time(seconds: float) -> Signal:
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def _length(rng: Generator) -> Signal:
    """The time axis of a whole sound, 4 to 6 s."""
    return _time(rng.uniform(4.0, 5.9))


def _sine(hertz: Signal | float, t: Signal) -> Signal:
    """A sine whose frequency may move; what would lie above 0.45 of the rate is left out."""
    curve = np.broadcast_to(np.asarray(hertz, dtype=np.float64), t.shape)
    phase = 2 * np.pi * np.cumsum(curve) / SAMPLE_RATE
    return np.where(curve < 0.45 * SAMPLE_RATE, np.sin(phase), 0.0)


def _harmonics(hertz: Signal | float, amplitudes: Iterable[float], t: Signal) -> Signal:
    total = np.zeros_like(t)
    for n, amplitude in enumerate(amplitudes, start=1):
        total += amplitude * _sine(n * np.asarray(hertz), t)
    return total


def _band(x: Signal, low: float, high: float, order: int = 2) -> Signal:
    nyquist = SAMPLE_RATE / 2
    sos = butter(order, [low / nyquist, min(high / nyquist, 0.99)], "band", output="sos")
    return np.asarray(sosfilt(sos, x))


def _noise(rng: Generator, t: Signal, low: float = 20.0, high: float = 10900.0) -> Signal:
    """Noise of unit deviation in a band."""
    x = _band(rng.standard_normal(t.size), low, high)
    return x / x.std()


def _coloured(rng: Generator, t: Signal, slope: float) -> Signal:
    """Noise of unit deviation whose amplitude falls as frequency to the power of `slope`."""
    spectrum = np.fft.rfft(rng.standard_normal(t.size))
    hertz = np.fft.rfftfreq(t.size, 1 / SAMPLE_RATE)
    x = np.fft.irfft(spectrum * np.maximum(hertz, 30.0) ** -slope, t.size)
    return x / x.std()


def _wander(rng: Generator, t: Signal, hertz: float) -> Signal:
    """A smooth random curve of zero mean and unit deviation, with `hertz` turns a second."""
    knots = rng.standard_normal(int(t[-1] * hertz) + 3)
    place = t * hertz + rng.uniform()
    left = place.astype(np.int64)
    part = (1 - np.cos(np.pi * (place - left))) / 2
    x = knots[left] * (1 - part) + knots[left + 1] * part
    return np.asarray((x - x.mean()) / (x.std() + 1e-9))


def _at(t: Signal, times: Iterable[float], hits: Iterable[Signal]) -> Signal:
    """Each hit added at its time; what runs past the end is cut."""
    total = np.zeros_like(t)
    for start, hit in zip(times, hits, strict=False):
        first = round(start * SAMPLE_RATE)
        piece = hit[: max(0, t.size - first)]
        total[first : first + piece.size] += piece
    return total


def _beats(rng: Generator, t: Signal, period: float, jitter: float = 0.0) -> Signal:
    """Times about `period` seconds apart from near the start to the end."""
    times = np.arange(rng.uniform(0.02, 0.3) * min(period, 1.0), t[-1], period)
    return np.clip(times + jitter * period * rng.standard_normal(times.size), 0.0, t[-1])


def _resonances(x: Signal, modes: Iterable[tuple[float, float, float]]) -> Signal:
    """The sum of two-pole resonators (hertz, decay seconds, gain) excited by `x`."""
    total = np.zeros_like(x)
    for hertz, decay, gain in modes:
        radius, angle = np.exp(-1 / (decay * SAMPLE_RATE)), 2 * np.pi * hertz / SAMPLE_RATE
        poles = [1.0, -2 * radius * np.cos(angle), radius**2]
        total += gain * np.asarray(lfilter([np.sin(angle)], poles, x))
    return total


def _room(rng: Generator, x: Signal, decay: float, wet: float) -> Signal:
    """`x` with the diffuse tail of a room, as noise that dies away in `decay` seconds."""
    t = _time(decay * 4)
    tail = _band(rng.standard_normal(t.size), 150, 6000) * np.exp(-t / decay)
    tail *= wet / np.sqrt(np.sum(tail**2))
    return x + np.asarray(fftconvolve(x, tail))[: x.size]


def _finish(rng: Generator, x: Signal) -> Sound:
    """Level drawn at random, a breath of hiss as of any microphone, both ends faded."""
    x = x / np.abs(x).max() * rng.uniform(0.35, 0.75)
    x = x + 10 ** rng.uniform(-3.6, -3.0) * rng.standard_normal(x.size)
    ramp = np.sin(np.linspace(0, np.pi / 2, round(_FADE_SECONDS * SAMPLE_RATE))) ** 2
    x[: ramp.size] *= ramp
    x[-ramp.size :] *= ramp[::-1]
    return x.astype(np.float32)


# ---- the kinds ---------------------------------------------------------------------------


def _pluck(rng: Generator, hertz: float, seconds: float = 2.0) -> Signal:
    """Karplus and Strong: a burst of noise runs round a delay line through a low-pass.

    The loop is one period long, so a whole period is computed at a time. Its three taps are
    the two-point average of the paper, weighted, and the interpolation of the period's fraction.
    """
    soft, ring = 0.25, rng.uniform(0.8, 1.2)
    period = SAMPLE_RATE / hertz - soft
    whole = int(period)
    taps = np.convolve([1 - period % 1, period % 1], [1 - soft, soft]) * 0.5 ** (1 / hertz / ring)
    string = np.zeros(round(seconds * SAMPLE_RATE))
    burst = np.asarray(lfilter([0.4], [1, -0.6], rng.uniform(-1, 1, whole)))
    burst -= np.roll(burst, int(whole * rng.uniform(0.12, 0.3)))
    first = whole + 2
    string[first : first + whole] = burst
    for start in range(first + whole, string.size, whole):
        turn = np.convolve(string[start - first : start], taps, "valid")
        string[start : start + whole] = turn[: string.size - start]
    string[-400:] *= np.linspace(1, 0, 400)
    return string[first:] / np.abs(string).max()


def _plucked_string(rng: Generator) -> Sound:
    """Chords strummed down and up on six strings."""
    t = _length(rng)
    root, between = rng.uniform(78, 124), rng.uniform(0.012, 0.028)
    chords = ([0, 7, 12, 16, 19, 24], [5, 12, 17, 21, 24, 29], [7, 14, 19, 23, 26, 31])
    shift = int(rng.integers(3))
    times, hits = [], []
    for i, beat in enumerate(_beats(rng, t, rng.uniform(0.55, 1.0), 0.02)):
        chord = chords[(i // 2 + shift) % 3]
        for j, semitones in enumerate(chord if i % 2 == 0 else chord[:1:-1]):
            times.append(beat + j * between)
            hits.append(_pluck(rng, root * 2 ** (semitones / 12)) * rng.uniform(0.7, 1))
    x = _at(t, times, hits)
    x = x + 0.02 * _resonances(x, [(105, 0.02, 1), (210, 0.015, 1), (420, 0.01, 0.6)])
    return _finish(rng, _room(rng, x, 0.2, 0.05))


def _bell(rng: Generator) -> Sound:
    """The partials of a tuned church bell: hum, prime, tierce, quint, nominal and above."""
    t = _length(rng)
    ratios = np.array([0.5, 1, 1.2, 1.5, 2, 2.5, 2.67, 3.01, 4.16, 5.43, 6.79, 8.21])
    levels = np.array([0.5, 0.7, 0.8, 0.35, 1, 0.3, 0.35, 0.5, 0.45, 0.3, 0.2, 0.15])
    decays = np.array([5, 3, 2.4, 1.6, 1.5, 0.8, 0.8, 0.7, 0.5, 0.35, 0.25, 0.2])
    prime = rng.uniform(330, 560)
    levels = levels * rng.uniform(0.7, 1.3, levels.size)
    hit = np.zeros_like(t)
    for ratio, level, decay in zip(ratios, levels, decays * rng.uniform(0.8, 1.3), strict=True):
        beat = 1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.8, 3) * t)
        hit += level * beat * np.exp(-t / decay) * _sine(prime * ratio, t)
    hit *= 1 - np.exp(-t / 0.001)
    hit += 0.4 * _noise(rng, t, 1500, 7000) * np.exp(-t / 0.006)
    times = _beats(rng, t, rng.uniform(1.2, 2.0), 0.01)
    hits = [hit * rng.uniform(0.7, 1.0) for _ in times]
    return _finish(rng, _room(rng, _at(t, times, hits), 0.5, 0.4))


def _siren(rng: Generator) -> Sound:
    t = _length(rng)
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * (t / rng.uniform(1.8, 3.6) + rng.uniform()))
    low = rng.uniform(520, 700)
    hertz = low * rng.uniform(2.0, 2.6) ** swing
    x = _harmonics(hertz, [1, 0.5, 0.45, 0.25, 0.2, 0.1, 0.08], t)
    x = _room(rng, _band(x, 400, 5000, 1), 0.35, 0.5)
    return _finish(rng, x / x.std() + 0.06 * _coloured(rng, t, 0.8))


def _line(rng: Generator, x: Signal, t: Signal) -> Sound:
    """As a telephone line carries it: 300 to 3400 Hz over faint hum and hiss."""
    x = _band(x, 300, 3400) + rng.uniform(0.002, 0.01) * _noise(rng, t, 300, 3400)
    return _finish(rng, x)


def _cadence(t: Signal, on: float, period: float, shift: float = 0.0) -> Signal:
    """A gate open for `on` seconds of every `period`, its edges softened over 4 ms."""
    gate = ((t + shift) % period < on).astype(np.float64)
    width = round(0.004 * SAMPLE_RATE)
    return np.convolve(gate, np.hanning(width) / np.hanning(width).sum(), "same")


def _dial_tone(rng: Generator) -> Sound:
    t = _length(rng)
    return _line(rng, _sine(350.0, t) + rng.uniform(0.6, 1.2) * _sine(440.0, t), t)


def _ringing_tone(rng: Generator) -> Sound:
    t = _length(rng)
    period = rng.uniform(1.6, 2.2)
    gate = _cadence(t, 0.5 * period, period, rng.uniform(0, period))
    return _line(rng, gate * (_sine(440.0, t) + rng.uniform(0.6, 1.2) * _sine(480.0, t)), t)


def _busy_tone(rng: Generator) -> Sound:
    t = _length(rng)
    period = rng.uniform(0.5, 1.0)
    gate = _cadence(t, period / 2, period, rng.uniform(0, period))
    return _line(rng, gate * (_sine(480.0, t) + rng.uniform(0.6, 1.2) * _sine(620.0, t)), t)


def _push_button_dialling(rng: Generator) -> Sound:
    t = _length(rng)
    period = rng.uniform(0.24, 0.42)
    press = _time(period * rng.uniform(0.35, 0.6))
    ramp = np.minimum(1, np.minimum(np.arange(press.size), np.arange(press.size)[::-1]) / 60)
    rows, columns = (697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0)
    times = _beats(rng, t, period, 0.05)
    hits = [
        ramp * (_sine(rng.choice(rows), press) + _sine(rng.choice(columns), press)) for _ in times
    ]
    return _line(rng, _at(t, times, hits) + 0.03 * _noise(rng, t, 300, 3400), t)


def _telephone_bell(rng: Generator) -> Sound:
    """A clapper between two gongs, in bursts of the ringing cadence."""
    t = _length(rng)
    rate, low = rng.uniform(18, 26), rng.uniform(1150, 1500)
    times = np.arange(0, t[-1], 1 / rate)
    gate = _cadence(t, 2.0, rng.uniform(2.6, 3.2), rng.uniform(0, 1.5))
    strikes = np.zeros((2, t.size))
    for i, start in enumerate(times):
        at = int(start * SAMPLE_RATE)
        strikes[i % 2, at] = rng.uniform(0.7, 1.0) * gate[at]
    x = np.zeros_like(t)
    for gong, hertz in zip(strikes, (low, low * rng.uniform(1.12, 1.3)), strict=True):
        ratios = [
            (1, 0.35, 0.6),
            (2.4, 0.2, 1),
            (2.9, 0.15, 0.7),
            (4.3, 0.1, 0.7),
            (6.1, 0.06, 0.4),
        ]
        x += _resonances(gong, [(hertz * r, d, g) for r, d, g in ratios if hertz * r < 9000])
    return _finish(rng, _room(rng, x, 0.15, 0.4))


def _engine(rng: Generator) -> Sound:
    """Firing pulses, uneven from cylinder to cylinder, through resonant pipes, and clatter."""
    t = _length(rng)
    cylinders = int(rng.choice([4, 6]))
    rate = rng.uniform(900, 1300) / 60 * cylinders / 2 * (1 + 0.02 * _wander(rng, t, 3))
    firing = np.flatnonzero(np.diff(np.floor(np.cumsum(rate) / SAMPLE_RATE)) > 0)
    pulses = np.zeros_like(t)
    pulses[firing] = np.resize(rng.uniform(0.9, 1, cylinders), firing.size)
    pulses[firing] *= rng.uniform(0.9, 1.1, firing.size)
    burst = np.asarray(fftconvolve(pulses, np.exp(-_time(0.1) / rng.uniform(0.013, 0.02))))
    burst = burst[: t.size]
    x = burst * (1 + rng.uniform(0.4, 0.9) * rng.standard_normal(t.size))
    pipes = ((66, 2.0), (120, 2.0), (230, 1.2), (440, 0.8), (880, 0.4))
    modes = [(h * rng.uniform(0.85, 1.2), rng.uniform(0.006, 0.015), gain) for h, gain in pipes]
    x = _resonances(x - x.mean(), modes)
    clatter = _noise(rng, t, 800, 6000) * (0.3 + burst)
    x = x / x.std() + rng.uniform(0.14, 0.3) * clatter / clatter.std()
    return _finish(rng, _band(x + rng.uniform(0.05, 0.3) * _coloured(rng, t, 1.2), 30, 5000, 1))


def _helicopter(rng: Generator) -> Sound:
    t = _length(rng)
    rate = rng.uniform(10, 16)
    phase = (rate * t + 0.02 * _wander(rng, t, 1)) % 1
    blade = np.exp(-(((phase - 0.3) / 0.12) ** 2))
    thump = _noise(rng, t, 50, 400) * blade
    swish = _noise(rng, t, 400, 2500) * (0.25 + blade)
    turbine = _harmonics(rng.uniform(900, 1400), [1, 0.4], t)
    x = thump + 0.35 * swish + 0.02 * turbine + 0.3 * _coloured(rng, t, 0.8)
    return _finish(rng, x * (1 + 0.2 * _wander(rng, t, 0.5)))


def _rain(rng: Generator) -> Sound:
    """A hiss of far drops, and near ones, few of them loud, each a short ring."""
    t = _length(rng)
    drops = np.zeros(t.size)
    many = rng.integers(0, t.size, int(t[-1] * rng.uniform(2500, 4500)))
    np.add.at(drops, many, rng.exponential(1.0, many.size) ** 3 * rng.choice([-1, 1], many.size))
    patter = _resonances(drops, [(h, 0.001, 1) for h in rng.uniform(2000, 8000, 8)])
    hiss = _band(_coloured(rng, t, rng.uniform(0.15, 0.35)), 1000, 10900, 1)
    hiss = hiss / hiss.std() * (1 + 0.07 * _wander(rng, t, 1))
    return _finish(rng, hiss + rng.uniform(0.6, 0.9) * patter / patter.std())


def _wind(rng: Generator) -> Sound:
    """Broad low noise in gusts, and the howl of an edge: a narrow band that follows the gust."""
    t = _length(rng)
    turn = _wander(rng, t, rng.uniform(0.7, 1.4))
    low = _band(_coloured(rng, t, 1.15), 150, 1500, 1)
    howl = np.zeros_like(t)
    for i, centre in enumerate(np.geomspace(150, 900, 7) * rng.uniform(0.8, 1.25)):
        band = _noise(rng, t, centre * 0.9, centre * 1.1)
        howl += band * np.exp(-((i - 3 - 1.6 * turn) ** 2))
    x = (low / low.std() + rng.uniform(0.4, 0.8) * howl) * np.exp(rng.uniform(0.35, 0.55) * turn)
    return _finish(rng, x + 0.05 * rng.standard_normal(t.size))


def _ocean(rng: Generator) -> Sound:
    t = _length(rng)
    period = rng.uniform(2.8, 4.2)
    phase = (t / period + rng.uniform()) % 1
    swell = np.where(phase < 0.35, (phase / 0.35) ** 2, np.exp(-(phase - 0.35) * 4))
    low, wash = _coloured(rng, t, 0.9), _noise(rng, t, 700, 8000)
    x = low * (0.3 + 0.9 * swell) + 0.6 * wash * np.roll(swell, int(0.15 * SAMPLE_RATE)) ** 1.5
    return _finish(rng, x + 0.05 * _coloured(rng, t, 0.4))


def _tick(rng: Generator, centre: float) -> Signal:
    """The wheel's tooth meets the pallet, slides and falls: three short bursts on a thin case."""
    t = _time(0.15)
    total = np.zeros_like(t)
    slide = rng.uniform(0.007, 0.010)
    for late, gain in ((0.0, 1.0), (slide, 0.3), (2.2 * slide, 0.2)):
        since = np.where(t >= late, t - late, np.inf)
        total += gain * np.exp(-since / 0.003) * _noise(rng, t, centre * 0.7, centre * 1.4)
        total += 0.6 * gain * np.exp(-since / 0.008) * _noise(rng, t, 300, 1500)
    return total


def _clock(rng: Generator) -> Sound:
    t = _length(rng)
    times = _beats(rng, t, rng.choice([0.4, 0.5, 0.5]) * rng.uniform(0.9, 1.1), 0.002)
    pair = [0.75 * _tick(rng, rng.uniform(3400, 5000)), _tick(rng, rng.uniform(4500, 6600))]
    x = _at(t, times, [pair[i % 2] * rng.uniform(0.85, 1) for i in range(times.size)])
    x = _room(rng, x / np.abs(x).max(), 0.05, 0.3)
    return _finish(rng, x + rng.uniform(0.02, 0.045) * _coloured(rng, t, 0.8))


def _clap(rng: Generator, centre: float) -> Signal:
    """Two palms that meet twice within 10 ms, the second time for good."""
    t = _time(0.15)
    again = 0.009 * rng.uniform(0.8, 1.2)
    x = _noise(rng, t, centre * 0.6, centre * 1.8) * np.exp(-t / 0.003)
    late = np.where(t >= again, t - again, np.inf)
    x += _noise(rng, t, centre * 0.6, centre * 1.8) * np.exp(-late / 0.022)
    x += 0.6 * _noise(rng, t, 2000, 9000) * np.exp(-t / 0.004)
    return x * rng.uniform(0.6, 1)


def _hand_claps(rng: Generator) -> Sound:
    """A few people clapping in time, nearly."""
    t = _length(rng)
    times: list[float] = []
    hits: list[Signal] = []
    period = rng.uniform(0.32, 0.44)
    for _ in range(int(rng.integers(3, 6))):
        centre = rng.uniform(650, 1900)
        person = _beats(rng, t, period * rng.uniform(0.97, 1.03), 0.03)
        times.extend(person)
        hits.extend(_clap(rng, centre) for _ in person)
    x = _room(rng, _at(t, times, hits), 0.24, rng.uniform(0.2, 0.5))
    return _finish(rng, x + 0.005 * _coloured(rng, t, 0.8))


def _applause(rng: Generator) -> Sound:
    """Claps of a whole hall, each its own time, over the murmur of those far away."""
    t = _length(rng)
    u = _time(0.1)
    claps = []
    for centre in rng.uniform(1200, 1800, 60):
        clap = _noise(rng, u, centre * 0.6, centre * 1.8) * np.exp(-u / 0.012)
        claps.append(clap + 0.3 * _noise(rng, u, 2000, 9000) * np.exp(-u / 0.006))
    times = rng.uniform(0, t[-1], int(t[-1] * rng.uniform(90, 180)))
    hits = (claps[i] * rng.uniform(0.1, 1) for i in rng.integers(0, 60, times.size))
    x = _room(rng, _at(t, times, hits), rng.uniform(0.35, 0.5), rng.uniform(0.7, 1.1))
    return _finish(rng, x / x.std() + 0.2 * _band(_coloured(rng, t, 0.8), 300, 6000))


def _whistling(rng: Generator) -> Sound:
    """A tune on the lips: a sliding, nearly pure tone and the breath around it."""
    t = _length(rng)
    scale, note = np.array([0, 2, 4, 5, 7, 9, 11, 12]), rng.uniform(0.38, 0.48)
    many = int(t[-1] / note) + 1
    tune = scale[np.clip(np.cumsum(rng.integers(-2, 3, many)) + 3, 0, 7)]
    now = (t / note).astype(np.int64)
    into, glide = t % note, rng.uniform(0.06, 0.17)
    before = tune[np.maximum(now - 1, 0)]
    semitones = (
        before + (tune[now] - before) * (1 - np.cos(np.pi * np.clip(into / glide, 0, 1))) / 2
    )
    semitones = semitones + 0.15 * np.sin(2 * np.pi * rng.uniform(5, 6) * t)
    hertz = rng.uniform(1150, 1600) * 2 ** ((semitones + 0.1 * _wander(rng, t, 8)) / 12)
    blown = np.where(rng.random(many) < 0.25, 0.02, 1.0)[now]
    swell = np.convolve(
        blown * (0.4 + 0.6 * np.sin(np.pi * into / note)), np.ones(500) / 500, "same"
    )
    x = swell * (_harmonics(hertz, [1, 0.02], t) + 0.03 * _noise(rng, t, 1000, 6000))
    return _finish(rng, _room(rng, x, 0.35, rng.uniform(0.15, 0.4)) + 0.01 * _coloured(rng, t, 0.8))


def _smoke_alarm(rng: Generator) -> Sound:
    t = _length(rng)
    pulse = rng.uniform(0.4, 0.5)
    group = (t + rng.uniform(0, 1)) % (pulse * 6.5)
    gate = _cadence(group, pulse, 2 * pulse) * (group < pulse * 6)
    x = _harmonics(rng.uniform(2900, 3400), [1, 0.25, 0.15], t) * gate
    return _finish(rng, _room(rng, x, 0.2, 0.5))


def _chirp(rng: Generator, centre: float, seconds: float) -> Signal:
    t = _time(seconds * rng.uniform(0.6, 1.4))
    u = t / t[-1]
    slide = 0.7 * rng.uniform(-1, 1) * (u - 0.5) + 0.1 * np.sin(np.pi * u)
    trill = 0.05 * np.sin(2 * np.pi * rng.uniform(20, 60) * t)
    tone = _harmonics(centre * rng.uniform(0.8, 1.2) * (1 + slide + trill), [1, 0.08], t)
    return np.sin(np.pi * u) ** 0.8 * tone


def _birdsong(rng: Generator) -> Sound:
    """Phrases of a chirp said a few times, each phrase another chirp."""
    t = _length(rng)
    times: list[float] = []
    hits: list[Signal] = []
    centre, seconds, start = rng.uniform(4200, 5000), rng.uniform(0.08, 0.14), 0.05
    while start < t[-1]:
        chirp = _chirp(rng, centre, seconds)
        for _ in range(int(rng.integers(1, 4))):
            times.append(start)
            hits.append(chirp * rng.uniform(0.6, 1))
            start += chirp.size / SAMPLE_RATE + rng.uniform(0.03, 0.1)
        start += rng.uniform(0.08, 0.25)
    x = _room(rng, _at(t, times, hits), 0.35, rng.uniform(0.05, 0.25))
    return _finish(rng, x + rng.uniform(0.01, 0.03) * _coloured(rng, t, 0.9))


def _thud(rng: Generator, hertz: float, decay: float) -> Signal:
    t = _time(0.3)
    x = _sine(hertz * np.exp(-2 * t), t) + 0.8 * _noise(rng, t, hertz, 4 * hertz)
    x = x * t * np.exp(-t / decay)
    return x / np.abs(x).max()


def _heartbeat(rng: Generator) -> Sound:
    """Two thuds a beat, as a stethoscope hears them."""
    t = _length(rng)
    first = _beats(rng, t, rng.uniform(0.62, 0.85), 0.01)
    lub, dub = _thud(rng, rng.uniform(58, 78), 0.018), _thud(rng, rng.uniform(85, 112), 0.025)
    second = first + rng.uniform(0.25, 0.33)
    x = _at(t, first, [lub] * first.size) + _at(t, second, [0.7 * dub] * first.size)
    return _finish(rng, x + 0.005 * _noise(rng, t, 30, 2000))


def _drums(rng: Generator) -> Sound:
    """Bass drum, snare and hi-hat in a plain beat."""
    t = _length(rng)
    step = 60 / rng.uniform(85, 130) / 2
    d = _time(0.35)
    kick = 1.2 * _sine(50 + 120 * np.exp(-d / 0.02), d) * np.exp(-d / 0.1)
    shell = _sine(rng.uniform(170, 220), d) * np.exp(-d / 0.05)
    snare = 0.6 * shell + 0.35 * _noise(rng, d, 1200, 9000) * np.exp(-d / rng.uniform(0.05, 0.1))
    hat = 0.15 * _noise(rng, d, 7000, 10900) * np.exp(-d / rng.uniform(0.02, 0.05))
    times = np.arange(0.02, t[-1], step)
    bar = [kick, None, snare, None, kick, kick, snare, None]
    x = _at(t, times, [hat * rng.uniform(0.7, 1) for _ in times])
    struck = [(s, bar[i % 8]) for i, s in enumerate(times)]
    x += _at(t, [s for s, h in struck if h is not None], [h for _, h in struck if h is not None])
    return _finish(rng, _room(rng, x, 0.08, 0.2))


def _organ(rng: Generator) -> Sound:
    """Ranks of pipes at 8', 4', 2 2/3' and 2' on slowly changing chords, in a large room."""
    t = _length(rng)
    root, bar = rng.uniform(130, 200), rng.uniform(1.0, 1.8)
    ranks = [1, 0.25, 0.12, 0.3, 0.05, 0.12, 0.03, 0.15]
    chords = ((0, 4, 7, 12), (5, 9, 12, 17), (7, 11, 14, 19), (-3, 4, 9, 12))
    x = np.zeros_like(t)
    note = _time(bar + 0.15)
    env = np.minimum(1, note / 0.05) * np.clip((bar + 0.12 - note) / 0.1, 0, 1)
    for start in np.arange(0, t[-1], bar):
        for semitones in chords[rng.integers(4)]:
            hertz = root * 2 ** ((semitones + rng.normal(0, 0.03)) / 12)
            x += _at(t, [start], [env * _harmonics(hertz, ranks, note)])
    return _finish(rng, _room(rng, x, 0.7, 0.6) + 0.02 * _noise(rng, t, 300, 3000))


def _white_noise(rng: Generator) -> Sound:
    t = _length(rng)
    return _finish(rng, rng.standard_normal(t.size))


def _crickets(rng: Generator) -> Sound:
    """Two or three insects, each a row of short pulses of a nearly pure tone."""
    t = _length(rng)
    x = np.zeros_like(t)
    for _ in range(int(rng.integers(2, 4))):
        period, pulse = rng.uniform(0.45, 0.62), rng.uniform(0.0125, 0.018)
        since = (t + rng.uniform(0, period)) % period
        part = since / pulse % 1
        chirp = np.sin(np.pi * part) ** 2 * (since < rng.integers(3, 7) * pulse)
        hertz = rng.uniform(4350, 4900) * (1 - 0.05 * part)
        x += rng.uniform(0.4, 1) * chirp * _harmonics(hertz, [1, 0.03], t)
    return _finish(rng, _room(rng, x, 0.1, 0.2) + 0.008 * _coloured(rng, t, 0.6))


KINDS: dict[str, Callable[[Generator], Sound]] = {
    "plucked string": _plucked_string,
    "church bell": _bell,
    "siren": _siren,
    "dial tone": _dial_tone,
    "ringing tone": _ringing_tone,
    "busy tone": _busy_tone,
    "push-button dialling": _push_button_dialling,
    "telephone bell": _telephone_bell,
    "engine": _engine,
    "helicopter": _helicopter,
    "rain": _rain,
    "wind": _wind,
    "ocean waves": _ocean,
    "clock": _clock,
    "hand claps": _hand_claps,
    "applause": _applause,
    "whistling": _whistling,
    "smoke alarm": _smoke_alarm,
    "birdsong": _birdsong,
    "crickets": _crickets,
    "heartbeat": _heartbeat,
    "drums": _drums,
    "organ": _organ,
    "white noise": _white_noise,
}
"""Kind in plain words -> the function that makes one variation: mono, -1 to 1, 4 to 6 s."""


# ---- the collection ----------------------------------------------------------------------


def make(kind: str, variation: int) -> Sound:
    """One sound, the same on every call.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    variation : int
        Any number from 0; another number gives another pitch, tempo, level and timbre.

    Returns
    -------
    float32 [samples]
        Mono, at `SAMPLE_RATE`.
    """
    return KINDS[kind](np.random.default_rng([zlib.crc32(kind.encode()), variation]))


def queries(each: int = 2) -> list[tuple[str, int]]:
    """(kind, variation) of `each` sounds a kind that are not in the collection."""
    return [(kind, _QUERY_VARIATION + n) for kind in KINDS for n in range(each)]


def kind_of(path: Path) -> str | None:
    """The kind of a file of the collection by its name; None for the long recording."""
    slug = path.stem.rpartition("-")[0]
    return next((kind for kind in KINDS if _slug(kind) == slug), None)


def recording() -> tuple[Sound, list[tuple[str, float, float]]]:
    """Three minutes of faint background in which a sound of every second kind occurs.

    Returns
    -------
    float32 [samples]
        The recording at `SAMPLE_RATE`.
    list of (kind, start, end)
        What occurs in it and when, in seconds, by time.
    """
    rng = np.random.default_rng(zlib.crc32(RECORDING_NAME.encode()))
    t = _time(_RECORDING_SECONDS)
    x = 0.002 * _coloured(rng, t, 0.8)
    kinds = list(rng.permutation(list(KINDS)))[:12]
    slot = _RECORDING_SECONDS / len(kinds)
    events = []
    for i, kind in enumerate(kinds):
        sound = make(kind, _RECORDED_VARIATION)
        start = round(i * slot + rng.uniform(0.5, slot - 7), 2)
        first = round(start * SAMPLE_RATE)
        x[first : first + sound.size] += rng.uniform(0.5, 0.9) * sound
        events.append((str(kind), start, round(start + sound.size / SAMPLE_RATE, 2)))
    return x.astype(np.float32), events


def write_collection(folder: Path, variations: int = 8) -> list[Path]:
    """Write every kind in several variations, and the long recording, as FLAC.

    Parameters
    ----------
    folder : Path
        An existing folder; the files are `<kind>-<number>.flac`, numbers from 1, and
        `an-afternoon.flac`.
    variations : int
        Files a kind.

    Returns
    -------
    list of Path
        The files written, the recording last.
    """
    written = []
    for kind in KINDS:
        for n in range(variations):
            written.append(folder / f"{_slug(kind)}-{n + 1}.flac")
            soundfile.write(written[-1], make(kind, n), SAMPLE_RATE)
    written.append(folder / RECORDING_NAME)
    soundfile.write(written[-1], recording()[0], SAMPLE_RATE)
    return written


def _slug(kind: str) -> str:
    return kind.replace(" ", "-")
