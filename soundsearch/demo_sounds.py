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
    """A smooth random curve of zero mean and unit deviation changing `hertz` times a second."""
    knots = rng.standard_normal(int(t[-1] * hertz) + 4)
    x = np.interp(t * hertz, np.arange(knots.size), knots)
    width = max(3, int(SAMPLE_RATE / hertz / 2))
    x = np.convolve(np.pad(x, width, "edge")[:: width // 3 or 1], np.ones(3) / 3, "same")
    x = np.interp(t, (np.arange(x.size) * (width // 3 or 1) - width) / SAMPLE_RATE, x)
    return (x - x.mean()) / (x.std() + 1e-9)


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


def _pluck(rng: Generator, hertz: float, seconds: float) -> Signal:
    """Karplus and Strong: a burst of noise runs round a delay line through a low-pass."""
    period = SAMPLE_RATE / hertz - 0.5
    whole = int(period)
    part = period - whole
    burst = np.zeros(round(seconds * SAMPLE_RATE))
    burst[: whole + 1] = rng.uniform(-1, 1, whole + 1)
    burst = np.asarray(lfilter([0.6], [1, -0.4], burst))
    pick = max(1, int(whole * rng.uniform(0.12, 0.25)))
    burst[pick:] -= burst[:-pick]
    loss = 0.5 ** (1 / (hertz * rng.uniform(0.5, 0.8)))
    loop = np.zeros(whole + 3)
    loop[0] = 1.0
    loop[whole : whole + 3] -= loss * np.array([(1 - part) / 2, 0.5, part / 2])
    return np.asarray(lfilter([1.0], loop, burst))


def _plucked_string(rng: Generator) -> Sound:
    t = _length(rng)
    times = _beats(rng, t, rng.uniform(0.22, 0.45), 0.02)
    chord = rng.uniform(98, 165) * 2 ** (np.array([0, 7, 12, 16, 19, 24]) / 12)
    order = np.concatenate([np.arange(6), [4, 3, 2, 1]])
    notes = [_pluck(rng, chord[order[i % 10]], 2.0) for i in range(times.size)]
    x = _at(t, times, notes)
    x = x + 0.02 * _resonances(x, [(105, 0.02, 1), (210, 0.015, 1), (420, 0.01, 0.6)])
    return _finish(rng, _room(rng, x, 0.12, 0.3))


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
    gate = _cadence(t, 2.0, rng.uniform(2.6, 3.4), rng.uniform(0, 1.5))
    return _line(rng, gate * (_sine(440.0, t) + rng.uniform(0.6, 1.2) * _sine(480.0, t)), t)


def _busy_tone(rng: Generator) -> Sound:
    t = _length(rng)
    period = rng.uniform(0.5, 1.0)
    gate = _cadence(t, period / 2, period, rng.uniform(0, period))
    return _line(rng, gate * (_sine(480.0, t) + rng.uniform(0.6, 1.2) * _sine(620.0, t)), t)


def _push_button_dialling(rng: Generator) -> Sound:
    t = _length(rng)
    period = rng.uniform(0.16, 0.32)
    press = _time(period * rng.uniform(0.45, 0.65))
    ramp = np.minimum(1, np.minimum(np.arange(press.size), np.arange(press.size)[::-1]) / 60)
    rows, columns = (697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0)
    times = _beats(rng, t, period, 0.03)
    hits = [
        ramp * (_sine(rng.choice(rows), press) + _sine(rng.choice(columns), press)) for _ in times
    ]
    return _line(rng, _at(t, times, hits), t)


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
    """Firing pulses of an idling four-stroke, uneven from cylinder to cylinder, and its pipes."""
    t = _length(rng)
    rpm, cylinders = rng.uniform(650, 1000), int(rng.choice([3, 4, 6]))
    rate = rpm / 60 * cylinders / 2 * (1 + 0.02 * _wander(rng, t, 3))
    phase = np.cumsum(rate) / SAMPLE_RATE
    firing = np.flatnonzero(np.diff(np.floor(phase)) > 0)
    strength = np.tile(rng.uniform(0.6, 1, cylinders), firing.size // cylinders + 1)
    pulses = np.zeros_like(t)
    pulses[firing] = strength[: firing.size] * rng.uniform(0.8, 1.2, firing.size)
    burst = _time(0.03)
    shape = np.exp(-burst / 0.006) * (1 + 0.7 * rng.standard_normal(burst.size))
    x = np.asarray(fftconvolve(pulses, shape))[: t.size]
    modes = [(h, rng.uniform(0.008, 0.02), g) for h, g in ((55, 2), (95, 2), (180, 1), (320, 0.6))]
    x = _resonances(x, [(h * rng.uniform(0.8, 1.25), d, g) for h, d, g in modes])
    clatter = (
        _noise(rng, t, 800, 5000)
        * np.asarray(fftconvolve(pulses, np.exp(-_time(0.04) / 0.008)))[: t.size]
    )
    return _finish(rng, x / x.std() + 0.12 * clatter + 0.1 * _coloured(rng, t, 0.7))


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
    t = _length(rng)
    drops = np.zeros(t.size)
    many = rng.integers(0, t.size, int(t[-1] * rng.uniform(300, 900)))
    np.add.at(drops, many, rng.exponential(1.0, many.size) ** 1.5)
    drops *= rng.choice([-1, 1], t.size)
    modes = [(h, 0.0015, 1) for h in rng.uniform(900, 8000, 8)]
    patter = _resonances(drops, modes)
    hiss = _coloured(rng, t, 0.25) * (1 + 0.06 * _wander(rng, t, 1))
    return _finish(rng, hiss + rng.uniform(0.3, 0.7) * patter / patter.std())


def _wind(rng: Generator) -> Sound:
    """Broad low noise in gusts, and the howl of an edge: a narrow band that follows the gust."""
    t = _length(rng)
    gust = np.exp(0.5 * _wander(rng, t, 1.0))
    low = _coloured(rng, t, 1.2) * gust
    centres = np.geomspace(250, 900, 7) * rng.uniform(0.8, 1.2)
    place = 3 + 1.6 * np.log(gust) / 0.5
    howl = np.zeros_like(t)
    for i, centre in enumerate(centres):
        howl += _noise(rng, t, centre * 0.93, centre * 1.07) * np.exp(-((i - place) ** 2))
    return _finish(rng, low + rng.uniform(0.2, 0.6) * howl * gust)


def _ocean(rng: Generator) -> Sound:
    t = _length(rng)
    period = rng.uniform(2.8, 4.2)
    phase = (t / period + rng.uniform()) % 1
    swell = np.where(phase < 0.35, (phase / 0.35) ** 2, np.exp(-(phase - 0.35) * 4))
    low, wash = _coloured(rng, t, 0.9), _noise(rng, t, 700, 8000)
    x = low * (0.3 + 0.9 * swell) + 0.6 * wash * np.roll(swell, int(0.15 * SAMPLE_RATE)) ** 1.5
    return _finish(rng, x + 0.05 * _coloured(rng, t, 0.4))


def _clock(rng: Generator) -> Sound:
    t = _length(rng)
    period = rng.choice([0.25, 0.5, 0.5, 1.0]) * rng.uniform(0.97, 1.03)
    times = _beats(rng, t, period, 0.003)
    tones = rng.uniform(1800, 3600, 2)
    click = np.zeros(round(0.1 * SAMPLE_RATE))
    click[:8] = rng.uniform(0.5, 1, 8)
    click[200:206] = rng.uniform(0.1, 0.5, 6)
    hits = []
    for i in range(times.size):
        modes = [
            (tones[i % 2] * r, 0.004, g) for r, g in ((0.4, 0.6), (1, 1), (1.7, 0.5), (2.3, 0.3))
        ]
        hits.append(_resonances(click, modes) * rng.uniform(0.85, 1))
    return _finish(rng, _room(rng, _at(t, times, hits), 0.08, 0.3))


def _clap(rng: Generator) -> Signal:
    t = _time(0.12)
    centre = rng.uniform(900, 1800)
    x = _noise(rng, t, centre * 0.5, centre * 2.2) * np.exp(-t / rng.uniform(0.006, 0.012))
    x += 0.3 * _noise(rng, t, 2000, 8000) * np.exp(-t / 0.003)
    return x * rng.uniform(0.6, 1)


def _hand_claps(rng: Generator) -> Sound:
    t = _length(rng)
    times, hits = [], []
    period = rng.uniform(0.35, 0.6)
    for _ in range(int(rng.integers(1, 4))):
        person = _beats(rng, t, period, 0.03)
        times.extend(person)
        hits.extend(_clap(rng) for _ in person)
    return _finish(rng, _room(rng, _at(t, times, hits), 0.12, 0.6))


def _applause(rng: Generator) -> Sound:
    t = _length(rng)
    kinds = [_clap(rng) for _ in range(40)]
    times = rng.uniform(0, t[-1], int(t[-1] * rng.uniform(90, 200)))
    hits = (kinds[i] * rng.uniform(0.2, 1) for i in rng.integers(0, 40, times.size))
    return _finish(rng, _room(rng, _at(t, times, hits), 0.3, 0.8))


def _whistling(rng: Generator) -> Sound:
    """A tune on the lips: a sliding, nearly pure tone and the breath around it."""
    t = _length(rng)
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12])
    knots = np.arange(0, t[-1] + 1, rng.uniform(0.28, 0.5))
    steps = scale[np.clip(np.cumsum(rng.integers(-2, 3, knots.size)) + 3, 0, 7)]
    which = np.searchsorted(knots, t, "right") - 1
    into = np.clip((t - knots[which]) / 0.07, 0, 1)
    before = steps[np.maximum(which - 1, 0)]
    glide = before + (steps[which] - before) * into**2 * (3 - 2 * into)
    vibrato = 0.25 * np.sin(2 * np.pi * rng.uniform(5, 6.5) * t)
    hertz = rng.uniform(900, 1300) * 2 ** ((glide + vibrato) / 12)
    rest = np.where(rng.random(knots.size) < 0.15, 0.02, 1.0)[which]
    swell = (0.55 + 0.45 * np.sin(np.pi * np.clip((t - knots[which]) / 0.4, 0, 1))) * rest
    swell = np.convolve(swell, np.ones(400) / 400, "same")
    breath = _noise(rng, t, 900, 4000) * 0.03
    x = swell * (_harmonics(hertz, [1, 0.05, 0.015], t) + breath)
    return _finish(rng, _room(rng, x, 0.12, 0.25))


def _smoke_alarm(rng: Generator) -> Sound:
    t = _length(rng)
    pulse = rng.uniform(0.4, 0.5)
    group = (t + rng.uniform(0, 1)) % (pulse * 6.5)
    gate = _cadence(group, pulse, 2 * pulse) * (group < pulse * 6)
    x = _harmonics(rng.uniform(2900, 3400), [1, 0.25, 0.15], t) * gate
    return _finish(rng, _room(rng, x, 0.2, 0.5))


def _chirp(rng: Generator, centre: float) -> Signal:
    t = _time(rng.uniform(0.05, 0.14))
    u = t / t[-1]
    curve = centre * (
        1 + rng.uniform(-0.25, 0.25) * (u - 0.5) + rng.uniform(0.05, 0.2) * np.sin(np.pi * u)
    )
    return np.sin(np.pi * u) ** 0.8 * _harmonics(curve, [1, 0.08], t)


def _birdsong(rng: Generator) -> Sound:
    t = _length(rng)
    times: list[float] = []
    hits: list[Signal] = []
    start = rng.uniform(0, 0.3)
    while start < t[-1]:
        chirp, gap = _chirp(rng, rng.uniform(3000, 5200)), rng.uniform(0.08, 0.18)
        for i in range(int(rng.integers(2, 7))):
            times.append(start + i * gap)
            hits.append(chirp * rng.uniform(0.7, 1))
        start = times[-1] + rng.uniform(0.2, 0.6)
    x = _room(rng, _at(t, times, hits), 0.3, 0.3)
    return _finish(rng, x + 0.004 * _coloured(rng, t, 0.8))


def _heartbeat(rng: Generator) -> Sound:
    t = _length(rng)
    period = 60 / rng.uniform(60, 105)
    first = _beats(rng, t, period, 0.01)
    beat = _time(0.25)
    lub = _sine(rng.uniform(45, 60) * np.exp(-beat * 2), beat) * beat * np.exp(-beat / 0.035)
    dub = _sine(rng.uniform(60, 80) * np.exp(-beat * 2), beat) * beat * np.exp(-beat / 0.022)
    lub, dub = lub / np.abs(lub).max(), 0.7 * dub / np.abs(dub).max()
    x = _at(t, first, [lub] * first.size)
    x += _at(t, first + 0.33 * period**0.5, [dub] * first.size)
    return _finish(rng, x + 0.02 * _noise(rng, t, 30, 250))


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
    t = _length(rng)
    x = np.zeros_like(t)
    for _ in range(int(rng.integers(1, 4))):
        period, pulse = rng.uniform(0.35, 0.6), rng.uniform(0.028, 0.04)
        shift, many = rng.uniform(0, period), int(rng.integers(3, 5))
        group = (t + shift) % period
        env = np.sin(np.pi * (group / pulse % 1)) ** 2 * (group < many * pulse)
        x += rng.uniform(0.4, 1) * env * _harmonics(rng.uniform(4200, 5000), [1, 0.05], t)
    return _finish(rng, _room(rng, x, 0.1, 0.2) + 0.01 * _coloured(rng, t, 0.6))


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
