"""Recognisable synthetic sounds, so that a first search needs no recordings.

Pitch, tempo, level and timbre are random. The formulas are short; their constants are chosen so
that a classifier trained on recordings recognises the sounds.

References
----------
Karplus, K., and Strong, A. (1983). Digital synthesis of plucked-string and drum timbres.
    Computer Music Journal 7(2). The plucked string.
Risset, J.-C. (1969). An introductory catalogue of computer synthesized sounds. Bell
    Laboratories. A bell as inharmonic partials, each with its own decay.
Precise Tone Plan. Dial tone 350 and 440 Hz, busy tone 480 and 620 Hz.
ISO 8201. The three pulses of a smoke alarm.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

__all__ = ["KINDS", "SAMPLE_RATE", "kind_of", "make", "queries", "recording", "write_collection"]

SAMPLE_RATE = 22050
RECORDING_NAME = "an-afternoon.flac"

Signal = NDArray[np.float64]
Sound = NDArray[np.float32]
Shape = Callable[[Generator, Signal], Signal]

KINDS: dict[str, Callable[[Generator], Sound]] = {}
"""Functions that make one variation of a kind: mono, peak 0.35 to 0.75, 4 to 6 s."""

_QUERY_VARIATION, _RECORDED_VARIATION = 1000, 2000


# ---- building blocks: `t` is a time axis in seconds; every signal has its length ---------


def _time(seconds: float) -> Signal:
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def _tone(hertz: Signal | float, t: Signal, levels: Iterable[float] = (1,)) -> Signal:
    """Harmonics of a frequency that may vary; none above 0.45 of the sample rate."""
    curve = np.broadcast_to(hertz, t.shape)
    phase, total = 2 * np.pi * np.cumsum(curve) / SAMPLE_RATE, np.zeros_like(t)
    for n, level in enumerate(levels, start=1):
        total += level * np.where(n * curve < 0.45 * SAMPLE_RATE, np.sin(n * phase), 0)
    return total


def _band(x: Signal, low: float, high: float, order: int = 2) -> Signal:
    return np.asarray(sosfilt(_sections(low, min(high, 10900), order), x))


@lru_cache(maxsize=256)
def _sections(low: float, high: float, order: int) -> Signal:
    return np.asarray(butter(order, [low, high], "bandpass", fs=SAMPLE_RATE, output="sos"))


def _noise(rng: Generator, t: Signal, low: float, high: float) -> Signal:
    """Band-limited noise of unit standard deviation."""
    x = _band(rng.standard_normal(t.size), low, high)
    return np.asarray(x / x.std())


def _coloured(rng: Generator, t: Signal, slope: float) -> Signal:
    """Noise of unit standard deviation whose amplitude falls with frequency ** `slope`."""
    size = 2 ** int(np.ceil(np.log2(t.size)))
    hertz = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 30)
    x = np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * hertz**-slope)[: t.size]
    return np.asarray(x / x.std())


def _wander(rng: Generator, t: Signal, hertz: float) -> Signal:
    """A smooth random curve, zero mean, unit standard deviation, `hertz` turns per second."""
    knots = rng.standard_normal(int(t[-1] * hertz) + 3)
    place = t * hertz + rng.uniform()
    left = place.astype(np.int64)
    part = (1 - np.cos(np.pi * (place - left))) / 2
    x = knots[left] * (1 - part) + knots[left + 1] * part
    return np.asarray((x - x.mean()) / (x.std() + 1e-9))


def _beats(rng: Generator, t: Signal, period: float, jitter: float = 0.01) -> Signal:
    times = np.arange(rng.uniform(0.02, 0.3) * min(period, 1), t[-1], period)
    return np.clip(times + jitter * period * rng.standard_normal(times.size), 0, t[-1])


def _at(t: Signal, times: Iterable[float], hits: Iterable[Signal]) -> Signal:
    """Add each hit at its time, cut off at the end."""
    total = np.zeros_like(t)
    for start, hit in zip(times, hits, strict=True):
        first = round(start * SAMPLE_RATE)
        total[first : first + hit.size] += hit[: max(0, t.size - first)]
    return total


def _gate(t: Signal, on: float, period: float, shift: float = 0.0) -> Signal:
    """1 for `on` seconds of every `period`, else 0, with 5 ms edges."""
    window = np.hanning(round(0.005 * SAMPLE_RATE))
    return np.convolve((t + shift) % period < on, window / window.sum(), "same")


def _ring(x: Signal, modes: Iterable[tuple[float, float, float]]) -> Signal:
    """The sum of two-pole resonators (hertz, decay in seconds, gain) struck by `x`."""
    total = np.zeros_like(x)
    for hertz, decay, gain in modes:
        radius, angle = np.exp(-1 / (decay * SAMPLE_RATE)), 2 * np.pi * hertz / SAMPLE_RATE
        poles = [1.0, -2 * radius * np.cos(angle), radius**2]
        total += gain * np.asarray(lfilter([np.sin(angle)], poles, x))
    return total


def _room(rng: Generator, x: Signal, decay: float, wet: float) -> Signal:
    """`x` with reverberation: a room's diffuse tail is decaying noise."""
    t = _time(decay * 4)
    tail = _band(rng.standard_normal(t.size), 150, 6000) * np.exp(-t / decay)
    return x + wet * np.asarray(fftconvolve(x, tail / np.linalg.norm(tail)))[: x.size]


def _kind(
    name: str, room: tuple[float, float] = (0.1, 0.0), air: float = 0.002
) -> Callable[[Shape], Shape]:
    """Register a kind: its shape in a room (decay, wet), with background noise of level `air`."""

    def register(shape: Shape) -> Shape:
        def sound(rng: Generator) -> Sound:
            t = _time(rng.uniform(4.0, 5.9))
            decay, wet = np.array(room) * rng.uniform(0.8, 1.25, 2)
            x = _room(rng, shape(rng, t), decay, wet) if wet else shape(rng, t)
            x = x / np.abs(x).max() + air * rng.uniform(0.6, 1.4) * _coloured(rng, t, 0.9)
            x *= rng.uniform(0.35, 0.75) / np.abs(x).max()
            fade = np.minimum(1, np.minimum(t, t[::-1]) / 0.02)
            return np.asarray(x * np.sin(np.pi / 2 * fade) ** 2, np.float32)

        KINDS[name] = sound
        return shape

    return register


# ---- the kinds ---------------------------------------------------------------------------


def _pluck(rng: Generator, hertz: float) -> Signal:
    """Karplus and Strong: a noise burst circulates in a delay line with a low-pass filter.

    The line is one period long, so a whole period is computed at a time. Its three taps combine
    the paper's two-point average, weighted, with interpolation for the fraction of the period.
    """
    period = SAMPLE_RATE / hertz - 0.25
    whole, loss = int(period), 0.5 ** (1 / hertz / rng.uniform(0.8, 1.2))
    taps = loss * np.convolve([1 - period % 1, period % 1], [0.75, 0.25])
    first, string = whole + 2, np.zeros(2 * SAMPLE_RATE)
    burst = np.asarray(lfilter([0.4], [1, -0.6], rng.uniform(-1, 1, whole)))
    string[first : first + whole] = burst - np.roll(burst, int(whole * rng.uniform(0.12, 0.3)))
    for start in range(first + whole, string.size, whole):
        turn = np.convolve(string[start - first : start], taps, "valid")
        string[start : start + whole] = turn[: string.size - start]
    string[-400:] *= np.linspace(1, 0, 400)
    return np.asarray(string[first:] / np.abs(string).max() * rng.uniform(0.7, 1))


@_kind("plucked string", room=(0.2, 0.05))
def _plucked_string(rng: Generator, t: Signal) -> Signal:
    """Chords on six strings, strummed down and up."""
    frets, barre = np.array([0, 7, 12, 16, 19, 24]), rng.permutation([0, 5, 7])
    open_string, apart, x = rng.uniform(78, 124), rng.uniform(0.012, 0.028), np.zeros_like(t)
    for i, beat in enumerate(_beats(rng, t, rng.uniform(0.55, 1.0))):
        strum = open_string * 2 ** ((frets + barre[i // 2 % 3]) / 12)[:: (1, -1)[i % 2]]
        times = beat + apart * np.arange(6)
        x += _at(t, times[times < t[-1]], [_pluck(rng, h) for h in strum[times < t[-1]]])
    return x + 0.02 * _ring(x, [(105, 0.02, 1), (210, 0.015, 1), (420, 0.01, 0.6)])


@_kind("church bell", room=(0.5, 0.4))
def _bell(rng: Generator, t: Signal) -> Signal:
    """Hum, prime, tierce, quint, nominal and higher partials, each beating slowly."""
    ratios = (0.5, 1, 1.2, 1.5, 2, 2.5, 2.67, 3.01, 4.16, 5.43, 6.79, 8.21)
    levels = (0.5, 0.7, 0.8, 0.35, 1, 0.3, 0.35, 0.5, 0.45, 0.3, 0.2, 0.15)
    decays = (5, 3, 2.4, 1.6, 1.5, 0.8, 0.8, 0.7, 0.5, 0.35, 0.25, 0.2)
    prime, hit = rng.uniform(330, 560), np.zeros_like(t)
    for ratio, level, decay in zip(ratios, levels, decays, strict=True):
        beating = 1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.8, 3) * t)
        partial = _tone(prime * ratio, t) * beating * np.exp(-t / (decay * rng.uniform(0.8, 1.3)))
        hit += level * rng.uniform(0.7, 1.3) * partial
    hit = hit * (1 - np.exp(-t / 0.001)) + 0.4 * _noise(rng, t, 1500, 7000) * np.exp(-t / 0.006)
    times = _beats(rng, t, rng.uniform(1.2, 2.0))
    return _at(t, times, [hit * rng.uniform(0.7, 1) for _ in times])


@_kind("siren", room=(0.35, 0.5), air=0.015)
def _siren(rng: Generator, t: Signal) -> Signal:
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * (t / rng.uniform(1.8, 3.6) + rng.uniform()))
    hertz = rng.uniform(520, 700) * rng.uniform(2.0, 2.6) ** swing
    return _band(_tone(hertz, t, (1, 0.5, 0.45, 0.25, 0.2, 0.1, 0.08)), 400, 5000, 1)


@_kind("dial tone")
def _dial_tone(rng: Generator, t: Signal) -> Signal:
    hiss = 10 ** rng.uniform(-1.9, -1.3) * _noise(rng, t, 300, 3400)
    low, high = np.sin(2 * np.pi * (np.outer((350, 440), t) + rng.random((2, 1))))
    return np.asarray(low + rng.uniform(0.5, 1.5) * high + hiss)


@_kind("busy tone")
def _busy_tone(rng: Generator, t: Signal) -> Signal:
    gate = _gate(t, (on := rng.uniform(0.25, 0.5)), 2 * on, rng.uniform())
    return gate * (_tone(480, t) + rng.uniform(0.6, 1.2) * _tone(620, t))


@_kind("ringing telephone", room=(0.15, 0.4))
def _telephone(rng: Generator, t: Signal) -> Signal:
    """A clapper between two gongs, in two-second bursts."""
    times = np.arange(0, t[-1], 1 / rng.uniform(18, 26))
    struck = (times + rng.uniform(0, 1.5)) % rng.uniform(2.6, 3.2) < 2.0
    strikes, hertz, x = np.zeros((2, t.size)), rng.uniform(1150, 1500), np.zeros_like(t)
    strikes[np.arange(times.size) % 2, (times * SAMPLE_RATE).astype(np.int64)] = struck
    for gong, tuned in zip(strikes, (hertz, hertz * rng.uniform(1.12, 1.3)), strict=True):
        modes = ((1, 0.35, 0.6), (2.4, 0.2, 1), (2.9, 0.15, 0.7), (4.3, 0.1, 0.7), (6.1, 0.06, 0.4))
        x += _ring(gong, [(tuned * ratio, decay, gain) for ratio, decay, gain in modes])
    return x


@_kind("engine", air=0.07)
def _engine(rng: Generator, t: Signal) -> Signal:
    """Firing pulses, uneven across cylinders, through resonant pipes, plus clatter."""
    cylinders = int(rng.choice([4, 6]))
    rate = rng.uniform(900, 1300) / 60 * cylinders / 2 * (1 + 0.02 * _wander(rng, t, 3))
    firing = np.flatnonzero(np.diff(np.floor(np.cumsum(rate) / SAMPLE_RATE)) > 0)
    pulses = np.zeros_like(t)
    uneven = np.resize(rng.uniform(0.9, 1, cylinders), firing.size)
    pulses[firing] = uneven * rng.uniform(0.9, 1.1, firing.size)
    decay = np.exp(-_time(0.1) / rng.uniform(0.013, 0.02))
    burst = np.asarray(fftconvolve(pulses, decay))[: t.size]
    pipes = ((66, 2.0), (120, 2.0), (230, 1.2), (440, 0.8), (880, 0.4))
    modes = [(h * rng.uniform(0.85, 1.2), rng.uniform(0.006, 0.015), gain) for h, gain in pipes]
    x = _ring(burst * (1 + 0.5 * rng.standard_normal(t.size)) - burst.mean(), modes)
    clatter = _noise(rng, t, 800, 6000) * (0.3 + burst)
    return _band(x / x.std() + rng.uniform(0.1, 0.2) * clatter / clatter.std(), 30, 5000, 1)


@_kind("helicopter", air=0.08)
def _helicopter(rng: Generator, t: Signal) -> Signal:
    phase = (rng.uniform(10, 16) * t + 0.02 * _wander(rng, t, 1)) % 1
    blade = np.exp(-(((phase - 0.3) / 0.12) ** 2))
    x = _noise(rng, t, 50, 400) * blade + 0.35 * _noise(rng, t, 400, 2500) * (0.25 + blade)
    return x * (1 + 0.2 * _wander(rng, t, 0.5)) + 0.02 * _tone(rng.uniform(900, 1400), t)


@_kind("rain")
def _rain(rng: Generator, t: Signal) -> Signal:
    """A hiss of distant drops, and near drops, few of them loud, each a short ring."""
    drops, many = np.zeros_like(t), rng.integers(0, t.size, int(t[-1] * rng.uniform(1500, 6000)))
    np.add.at(drops, many, rng.exponential(1.0, many.size) ** 3 * rng.choice([-1, 1], many.size))
    patter = _ring(drops, [(h, 0.0008, 1) for h in rng.uniform(1500, 8000, 8)])
    hiss = _band(_coloured(rng, t, rng.uniform(0.15, 0.35)), 1000, 10900, 1)
    return np.asarray(hiss / hiss.std() + rng.uniform(0.35, 0.6) * patter / patter.std())


@_kind("wind")
def _wind(rng: Generator, t: Signal) -> Signal:
    """Low broadband noise in gusts, and a howling edge: a narrow band that follows the gust."""
    turn, low = _wander(rng, t, rng.uniform(0.7, 1.4)), _band(_coloured(rng, t, 1.15), 150, 1500, 1)
    x = low / low.std() + 0.05 * rng.standard_normal(t.size)
    for i, centre in enumerate(np.geomspace(150, 900, 7) * rng.uniform(0.8, 1.25)):
        howl = _noise(rng, t, centre * 0.9, centre * 1.1)
        x += rng.uniform(0.4, 0.8) * howl * np.exp(-((i - 3 - 1.6 * turn) ** 2))
    return np.asarray(x * np.exp(rng.uniform(0.35, 0.55) * turn))


@_kind("ocean waves")
def _ocean(rng: Generator, t: Signal) -> Signal:
    phase = (t / rng.uniform(2.8, 4.2) + rng.uniform()) % 1
    swell = np.where(phase < 0.35, (phase / 0.35) ** 2, np.exp(-(phase - 0.35) * 4))
    wash = 0.6 * _noise(rng, t, 700, 8000) * np.roll(swell, SAMPLE_RATE // 7) ** 1.5
    return wash + _coloured(rng, t, 0.9) * (0.3 + 0.9 * swell) + 0.05 * _coloured(rng, t, 0.4)


@_kind("clock", room=(0.05, 0.4), air=0.05)
def _clock(rng: Generator, t: Signal) -> Signal:
    """A tooth hits the pallet, slides and falls: three bursts, each of tooth and case."""
    u, slide, pair = _time(0.15), rng.uniform(0.007, 0.010), []
    for centre in rng.uniform(2300, 3700, 2):
        pair.append(np.zeros_like(u))
        for late, gain in ((0.0, 1.0), (slide, 0.2), (2.2 * slide, 0.1)):
            since = np.where(u >= late, u - late, np.inf)
            pair[-1] += gain * np.exp(-since / 0.0047) * _noise(rng, u, centre * 0.7, centre * 1.4)
            pair[-1] += 0.35 * gain * np.exp(-since / 0.03) * _noise(rng, u, 300, 1500)
    times = _beats(rng, t, rng.uniform(0.45, 0.55), 0.002)
    return _at(t, times, [pair[i % 2] * rng.uniform(0.85, 1) for i in range(times.size)])


def _clap(rng: Generator, centre: float) -> Signal:
    """Two palms that meet three times within 20 ms; the last time they stay together."""
    t, again = _time(0.15), 0.009 * rng.uniform(0.8, 1.2)
    x = 0.65 * _noise(rng, t, 2000, 9000) * np.exp(-t / 0.005)
    for late, decay in ((0.0, 0.003), (again, 0.003), (2 * again, 0.024)):
        since = np.where(t >= late, t - late, np.inf)
        x += _noise(rng, t, centre * 0.6, centre * 1.8) * np.exp(-since / decay)
    return x * rng.uniform(0.6, 1)


@_kind("hand claps", room=(0.28, 0.25), air=0.001)
def _hand_claps(rng: Generator, t: Signal) -> Signal:
    """A few people clapping, nearly together."""
    period, x = rng.uniform(0.31, 0.38), np.zeros_like(t)
    for centre in rng.uniform(1200, 1900, rng.integers(4, 8)):
        times = _beats(rng, t, period * rng.uniform(0.97, 1.03), 0.04)
        claps = [_clap(rng, centre) for _ in range(6)]
        x += _at(t, times, [claps[i % 6] for i in range(times.size)])
    return x


@_kind("whistling", room=(0.35, 0.25), air=0.012)
def _whistling(rng: Generator, t: Signal) -> Signal:
    """A whistled tune: a sliding, nearly pure tone with breath noise."""
    scale, note = np.array([0, 2, 4, 5, 7, 9, 11, 12]), rng.uniform(0.38, 0.48)
    walk = np.cumsum(rng.integers(-2, 3, int(t[-1] / note) + 1))
    tune, now, into = scale[np.clip(walk + 3, 0, 7)], (t / note).astype(np.int64), t % note
    before = tune[np.maximum(now - 1, 0)]
    slide = (1 - np.cos(np.pi * np.minimum(into / rng.uniform(0.06, 0.17), 1))) / 2
    semitones = before + (tune[now] - before) * slide + 0.1 * _wander(rng, t, 8)
    semitones += 0.15 * np.sin(2 * np.pi * rng.uniform(5, 6) * t)
    blown = np.where(rng.random(walk.size) < 0.2, 0.02, 1)[now]
    swell = blown * (0.4 + 0.6 * np.sin(np.pi * into / note))
    swell = np.convolve(swell, np.ones(500) / 500, "same")
    hertz = rng.uniform(1150, 1600) * 2 ** (semitones / 12)
    return swell * (_tone(hertz, t, (1, 0.02)) + 0.03 * _noise(rng, t, 1000, 6000))


@_kind("smoke alarm", room=(0.2, 0.5))
def _smoke_alarm(rng: Generator, t: Signal) -> Signal:
    pulse = rng.uniform(0.4, 0.5)
    since = (t + rng.uniform()) % (pulse * 6.5)
    gate = _gate(since, pulse, 2 * pulse) * (since < pulse * 6)
    return gate * _tone(rng.uniform(2900, 3400), t, (1, 0.25, 0.15))


@_kind("crickets", room=(0.1, 0.2), air=0.004)
def _crickets(rng: Generator, t: Signal) -> Signal:
    """Two or three insects, each a series of short, nearly pure tone pulses."""
    x, hertz = 0.01 * _coloured(rng, t, 0.4), rng.uniform(4500, 5000)
    for _ in range(int(rng.integers(2, 4))):
        since, pulse = (t + rng.uniform()) % rng.uniform(0.43, 0.52), rng.uniform(0.0155, 0.019)
        part = since / pulse % 1
        chirp = np.sin(np.pi * part) ** 2 * (since < rng.integers(4, 7) * pulse)
        pitch = hertz * rng.uniform(0.95, 1.05) * (1 - 0.1 * part)
        x += rng.uniform(0.4, 1) * chirp * _tone(pitch, t)
    return x


# ---- the collection ----------------------------------------------------------------------


def make(kind: str, variation: int) -> Sound:
    """Make one sound of a kind, float32 [n] at `SAMPLE_RATE`; deterministic."""
    return KINDS[kind](np.random.default_rng([zlib.crc32(kind.encode()), variation]))


def queries(each: int = 2) -> list[tuple[str, int]]:
    """(kind, variation) of `each` sounds per kind that the collection does not hold."""
    return [(kind, _QUERY_VARIATION + n) for kind in KINDS for n in range(each)]


def kind_of(path: Path) -> str | None:
    """The kind of a file in the collection, from its name; None for the long recording."""
    return next((k for k in KINDS if k == path.stem.rpartition("-")[0].replace("-", " ")), None)


def recording() -> tuple[Sound, list[tuple[str, float, float]]]:
    """Three minutes of faint background with twelve sounds, at (kind, start, end) in seconds."""
    rng = np.random.default_rng(zlib.crc32(RECORDING_NAME.encode()))
    t, events = _time(180), []
    x = 0.002 * _coloured(rng, t, 0.8)
    for i, kind in enumerate(rng.permutation(list(KINDS))[:12].tolist()):
        sound, start = make(kind, _RECORDED_VARIATION), 15 * i + round(rng.uniform(0.5, 8.5), 2)
        x += _at(t, [start], [rng.uniform(0.5, 0.9) * sound.astype(np.float64)])
        events.append((kind, start, round(start + sound.size / SAMPLE_RATE, 2)))
    return x.astype(np.float32), events


def write_collection(folder: Path, variations: int = 8) -> list[Path]:
    """Write `variations` sounds per kind as `<kind>-<number>.flac`, then the long recording."""
    sounds = [(kind, n) for kind in KINDS for n in range(variations)]
    paths = [folder / f"{kind.replace(' ', '-')}-{n + 1}.flac" for kind, n in sounds]
    for path, (kind, n) in zip(paths, sounds, strict=True):
        soundfile.write(path, make(kind, n), SAMPLE_RATE)
    soundfile.write(folder / RECORDING_NAME, recording()[0], SAMPLE_RATE)
    return [*paths, folder / RECORDING_NAME]
