"""Sounds made by formula: building blocks, tones, signals, machines and noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

RATE = 16000
Sound = NDArray[np.float64]
Random = np.random.Generator
Maker = Callable[[Random], Sound]


def clock(seconds: float) -> Sound:
    """Return the sample times of a sound."""
    return np.arange(int(seconds * RATE)) / RATE


def noise(r: Random, seconds: float, slope: float = 0.0) -> Sound:
    """Return noise whose power falls by `slope` x 3 dB an octave: 0 white, 1 pink, 2 brown."""
    n = int(seconds * RATE)
    spectrum = np.fft.rfft(r.normal(size=n))
    spectrum *= np.maximum(np.arange(len(spectrum)), n / 800) ** (-slope / 2)
    x = np.fft.irfft(spectrum, n)
    return x / (np.abs(x).max() + 1e-9)


def band(x: Sound, low: float, high: float, order: int = 2) -> Sound:
    """Band-pass a sound."""
    edges = [max(low, 20.0), min(high, 7800.0)]
    return signal.sosfilt(signal.butter(order, edges, "band", fs=RATE, output="sos"), x)


def wave(f0: Sound, amplitudes: NDArray[np.floating[Any]], shape: str = "sum") -> Sound:
    """Return a harmonic tone whose pitch follows `f0`."""
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    if shape == "square":
        return np.sign(np.sin(phase))
    if shape == "saw":
        return signal.sawtooth(phase)
    out = np.zeros(len(f0))
    for k, a in enumerate(amplitudes, 1):
        out += a * np.sin(k * phase) * (k * f0 < 7600)
    return out / (np.abs(amplitudes).sum() + 1e-9)


def curve(n: int, points: list[float]) -> Sound:
    """Return `n` values that run through evenly spaced points."""
    return np.interp(np.linspace(0, len(points) - 1, n), np.arange(len(points)), points)


def wander(r: Random, n: int, rate: float, depth: float) -> Sound:
    """Return a slow random factor about 1, `rate` turns a second."""
    knots = max(3, int(n / RATE * rate) + 2)
    return np.exp(depth * curve(n, list(r.normal(size=knots))))


def ring(r: Random, partials: Sound, decay: float, seconds: float) -> Sound:
    """Return struck modes at `partials` Hz, the higher ones shorter."""
    t = clock(seconds)
    out = np.zeros(len(t))
    for f in partials[partials < 7600]:
        life = decay * (partials[0] / f) ** 0.6
        out += r.uniform(0.2, 1) * np.sin(2 * np.pi * f * t + r.uniform(0, 6)) * np.exp(-t / life)
    return out / (np.abs(out).max() + 1e-9)


def thump(r: Random, low: float, high: float, decay: float) -> Sound:
    """Return a burst of band-limited noise that dies away."""
    t = clock(min(8 * decay + 0.02, 3.0))
    x = band(r.normal(size=len(t)), low, high) * np.exp(-t / decay)
    return x / (np.abs(x).max() + 1e-9)


def events(
    r: Random, seconds: float, rate: float, make: Maker, jitter: float = 0.05, spread: float = 0.3
) -> Sound:
    """Place events about `rate` times a second; `jitter` 1 makes them random in time."""
    out = np.zeros(int(seconds * RATE))
    at = r.uniform(0, min(1 / rate, seconds / 3))
    while at < seconds:
        x = make(r) * np.exp(spread * r.normal())
        i = int(at * RATE)
        x = x[: len(out) - i]
        out[i : i + len(x)] += x
        random = r.exponential(1 / rate)
        at += max(0.003, (1 - jitter) / rate + jitter * random)
    return out


def room(r: Random, x: Sound) -> Sound:
    """Add a random reverberation to four sounds in ten."""
    if r.random() > 0.4:
        return x
    t = clock(r.uniform(0.1, 1.5))
    tail = r.normal(size=len(t)) * np.exp(-t / (len(t) / RATE / 5))
    wet = signal.fftconvolve(x, tail)[: len(x)]
    wet *= np.abs(x).max() / (np.abs(wet).max() + 1e-9)
    return x + r.uniform(0.1, 0.8) * wet


def pulses(r: Random, f0: Sound, jitter: float, low: float, high: float) -> Sound:
    """Return firing pulses at `f0`, each a little different: engines, motors, grunts."""
    phase = np.cumsum(f0) / RATE
    hits = np.flatnonzero(np.diff(np.floor(phase)) > 0)
    out = np.zeros(len(f0))
    out[hits] = np.exp(jitter * r.normal(size=len(hits)))
    body = thump(r, low, high, float(r.uniform(0.002, 0.012)))
    return signal.fftconvolve(out, body)[: len(out)]


def _tone(r: Random) -> Sound:
    n = int(r.uniform(3, 5) * RATE)
    f = float(np.exp(r.uniform(np.log(60), np.log(6500))))
    glide = curve(n, [f, f * 2 ** r.uniform(-2, 2)]) if r.random() < 0.3 else np.full(n, f)
    shape = str(r.choice(["sum", "sum", "square", "saw", "pure"]))
    amplitudes = np.ones(1) if shape == "pure" else r.random(12) / np.arange(1, 13)
    x = wave(np.clip(glide, 40, 7000), amplitudes, shape)
    if r.random() < 0.3:
        x *= 1 + r.uniform(0.2, 1) * np.sin(2 * np.pi * r.uniform(1, 12) * np.arange(n) / RATE)
    return x


def _pair(r: Random, pairs: list[tuple[float, float]], on: float, off: float) -> Sound:
    parts = []
    for _ in range(int(r.integers(4, 14))):
        a, b = pairs[int(r.integers(len(pairs)))]
        t = clock(on)
        parts += [np.sin(2 * np.pi * a * t) + np.sin(2 * np.pi * b * t), np.zeros(int(off * RATE))]
    return np.concatenate(parts)[: 6 * RATE]


def _dtmf(r: Random) -> Sound:
    keys = [(a, b) for a in (697.0, 770.0, 852.0, 941.0) for b in (1209.0, 1336.0, 1477.0, 1633.0)]
    return _pair(r, keys, r.uniform(0.06, 0.3), r.uniform(0.03, 0.2))


def _telephone(r: Random) -> Sound:
    kinds = [
        ([(350.0, 440.0)], 4.0, 0.0),
        ([(425.0, 425.0)], 4.0, 0.0),
        ([(480.0, 620.0)], 0.5, 0.5),
        ([(425.0, 425.0)], 0.25, 0.25),
        ([(440.0, 480.0)], 2.0, 2.0),
    ]
    return _pair(r, *kinds[int(r.integers(len(kinds)))])


def _bellring(r: Random) -> Sound:
    base = r.uniform(900, 2200)
    hit = ring(r, base * np.array([1, 1.26, 2.4, 3.1, 4.3]), 0.15, 0.4)
    x = events(r, 5, r.uniform(14, 28), lambda _: hit, 0.02, 0.1)
    t = np.arange(len(x)) / RATE
    return x * ((t % r.uniform(2, 4)) < r.uniform(1, 2))


def _beeps(r: Random) -> Sound:
    f, on = r.uniform(600, 4200), r.uniform(0.04, 0.5)
    n = int(on * RATE)
    amplitudes = 1 / np.arange(1, 6) ** r.uniform(0.5, 3)
    beep = wave(np.full(n, f), amplitudes) * np.minimum(1, np.arange(n)[::-1] / 80)
    return events(r, 5, 1 / (on * r.uniform(1.3, 4)), lambda _: beep, 0, 0)


def _siren(r: Random) -> Sound:
    n = 6 * RATE
    t = np.arange(n) / RATE
    low, high, rate = r.uniform(300, 800), r.uniform(900, 1800), r.uniform(0.1, 5)
    kind = int(r.integers(4))
    swing = [
        0.5 - 0.5 * np.cos(2 * np.pi * rate * t),
        (t * rate) % 1,
        (np.sin(2 * np.pi * rate * 0.4 * t) > 0) * 0.4,
        np.minimum(1, t / 3) * (t < 4.5) + (t >= 4.5) * np.exp(4.5 - t),
    ][kind]
    f0 = low + (high - low) * swing
    x = wave(f0, r.random(8) / np.arange(1, 9), str(r.choice(["sum", "square", "sum"])))
    return room(r, x + r.uniform(0, 0.2) * noise(r, 6, 1))


def _horn(r: Random) -> Sound:
    n = int(r.uniform(0.3, 3) * RATE)
    base = np.exp(r.uniform(np.log(90), np.log(700)))
    chords = ((1, 1.26), (1, 1.19, 1.5), (1,), (1, 1.26, 1.5, 1.78))
    x = np.zeros(n)
    for ratio in chords[int(r.integers(4))]:
        x += wave(base * ratio * np.ones(n) * wander(r, n, 3, 0.003), 0.8 ** np.arange(16))
    edge = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / 600)
    hit = np.asarray(x) * edge
    return room(r, events(r, 5, 1 / (n / RATE + r.uniform(0.2, 2)), lambda _: hit, 0.2, 0.1))


def _buzzer(r: Random) -> Sound:
    n = 4 * RATE
    x = wave(np.full(n, r.uniform(80, 500)), np.ones(1), str(r.choice(["square", "saw"])))
    t = np.arange(n) / RATE
    return x * ((t % r.uniform(0.5, 3)) < r.uniform(0.3, 2)) + 0.02 * noise(r, 4)


def _whistle(r: Random) -> Sound:
    n = int(r.uniform(0.3, 3) * RATE)
    f = r.uniform(700, 4000)
    pitch = f * curve(n, list(2 ** r.uniform(-0.4, 0.4, int(r.integers(2, 7)))))
    if r.random() < 0.5:
        pitch *= 1 + 0.04 * np.sign(np.sin(2 * np.pi * r.uniform(15, 50) * np.arange(n) / RATE))
    x = wave(pitch, np.array([1, r.uniform(0, 0.3), r.uniform(0, 0.1)]))
    x = x + r.uniform(0.02, 0.4) * band(noise(r, n / RATE), f * 0.7, f * 1.6)[:n]
    x *= np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / 900)
    return room(r, events(r, 5, 1 / (n / RATE + 0.3), lambda _: x, 0.3, 0.2))


def _bell(r: Random) -> Sound:
    base = np.exp(r.uniform(np.log(150), np.log(3000)))
    modes = base * np.array([1, 2, 2.4, 3, 4.07, 5.1, 6.7]) * np.exp(0.05 * r.normal(size=7))
    life = r.uniform(0.1, 2.5)
    rate = r.uniform(0.3, 4)
    return room(r, events(r, 6, rate, lambda q: ring(q, np.sort(modes), life, 3), 0.2, 0.3))


def _chime(r: Random) -> Sound:
    base = r.uniform(500, 1500)
    notes = base * 2 ** (r.choice([0, 2, 4, 7, 9, 12, -4], 5) / 12)
    return room(r, events(r, 5, r.uniform(0.7, 8), lambda q: ring(
        q, q.choice(notes) * np.array([1, 2.76, 5.4]), q.uniform(0.2, 1.2), 2), 0.7))  # fmt: skip


def _morse(r: Random) -> Sound:
    f, unit = r.uniform(400, 1200), r.uniform(0.04, 0.1)
    parts = []
    for _ in range(60):
        t = clock(unit * int(r.choice([1, 3])))
        parts += [np.sin(2 * np.pi * f * t), np.zeros(int(unit * RATE * r.choice([1, 1, 1, 3])))]
    return np.concatenate(parts)[: 5 * RATE] + r.uniform(0, 0.2) * noise(r, 9)[: 5 * RATE]


def _video_game(r: Random) -> Sound:
    def blip(q: Random) -> Sound:
        n = int(q.uniform(0.05, 0.4) * RATE)
        f = q.uniform(150, 1500)
        return wave(curve(n, [f, f * 2 ** q.uniform(-2, 2)]), np.ones(1), "square") * curve(
            n, [1, 0.3, 0]
        )

    return events(r, 5, r.uniform(1, 6), blip, 0.6)


def _engine(r: Random) -> Sound:
    n = 6 * RATE
    f = np.exp(r.uniform(np.log(14), np.log(160)))
    kind = r.random()
    rev = wander(r, n, 0.6, 0.05) if kind < 0.5 else curve(n, list(2 ** r.uniform(-0.6, 1.2, 5)))
    low, high = r.uniform(30, 150), r.uniform(300, 3500)
    x = pulses(r, f * rev, r.uniform(0.05, 0.6), low, high)
    x /= np.abs(x).max() + 1e-9
    x = np.tanh(x * r.uniform(0.5, 4))
    hum = wave(f * rev * r.integers(1, 4), r.random(20) / np.arange(1, 21) ** 0.7)
    x = x + r.uniform(0, 1) * hum
    grit = band(noise(r, 6, r.uniform(0, 1.5)), 80, r.uniform(1000, 7000))
    return room(r, x + r.uniform(0.02, 0.8) * grit * wander(r, n, 1, 0.2))


def _motor(r: Random) -> Sound:
    n = 6 * RATE
    f = r.uniform(80, 900)
    spin = np.minimum(1, 0.1 + np.arange(n) / RATE * r.uniform(0.3, 9))
    if r.random() < 0.3:
        spin = spin * curve(n, list(r.uniform(0.5, 1, 8)))
    whine = wave(f * spin * wander(r, n, 2, 0.01), r.random(16) / np.arange(1, 17) ** 0.5)
    air = band(noise(r, 6, r.uniform(0, 1.2)), r.uniform(80, 400), r.uniform(2000, 7600))
    return room(r, r.uniform(0.05, 1) * whine + r.uniform(0.2, 1.5) * air * spin)


def _rotor(r: Random) -> Sound:
    low, high = r.uniform(30, 80), r.uniform(200, 2500)
    blade = r.uniform(0.01, 0.05)
    x = events(r, 6, r.uniform(8, 28), lambda q: thump(q, low, high, blade), 0.01, 0.1)
    return x + r.uniform(0.05, 0.5) * noise(r, 6, 1.2) * 3 * wander(r, len(x), 0.5, 0.3)


def _jet(r: Random) -> Sound:
    n = 8 * RATE
    rise = curve(n, [0.1, 0.5, 1, 0.6, 0.2]) if r.random() < 0.5 else np.ones(n)
    x = noise(r, 8, r.uniform(0.5, 1.8)) * rise * 3
    f = r.uniform(800, 4000)
    return x + r.uniform(0, 0.2) * wave(f * curve(n, [1.1, 1, 0.85]), np.ones(2)) * rise


def _cycle(r: Random) -> Sound:
    n = 6 * RATE
    rate = r.uniform(0.5, 12)
    phase = np.arange(n) / RATE * rate + 0.1 * wander(r, n, 2, 0.5)
    stroke = np.abs(np.sin(np.pi * phase)) ** r.uniform(0.5, 5)
    low = np.exp(r.uniform(np.log(100), np.log(3500)))
    return room(r, band(noise(r, 6), low, low * r.uniform(1.5, 6)) * stroke)


def _rattle(r: Random) -> Sound:
    low = np.exp(r.uniform(np.log(200), np.log(4000)))
    life = np.exp(r.uniform(np.log(0.002), np.log(0.03)))
    x = events(r, 6, r.uniform(5, 45), lambda q: thump(q, low, low * 3, life), r.uniform(0, 0.6))
    hum = wave(np.full(len(x), r.choice([50.0, 60.0, 100.0, 120.0])), r.random(10))
    return room(r, x + r.uniform(0, 0.4) * hum + r.uniform(0, 0.2) * noise(r, 6, 0.5))


def _hum(r: Random) -> Sound:
    n = 5 * RATE
    x = wave(np.full(n, r.choice([50.0, 60.0, 100.0, 120.0])), r.random(30) ** 3)
    return x + r.uniform(0, 0.3) * noise(r, 5, r.uniform(0, 2))


def _train(r: Random) -> Sound:
    def clack(q: Random) -> Sound:
        a = thump(q, 100, 2500, 0.02)
        return np.concatenate((a, np.zeros(int(0.08 * RATE)), a * 0.8))

    x = events(r, 6, r.uniform(0.8, 3), clack, 0.05, 0.2)
    return x + r.uniform(0.1, 1) * noise(r, 6, r.uniform(0.8, 1.8)) * 2


def _traffic(r: Random) -> Sound:
    out = 0.4 * noise(r, 8, 1.3)
    for _ in range(int(r.integers(1, 6))):
        at, width = r.uniform(0, 8), r.uniform(0.4, 1.5)
        swell = np.exp(-(((clock(8) - at) / width) ** 2))
        out = out + r.uniform(0.3, 1.5) * swell * band(noise(r, 8, 0.6), 60, r.uniform(900, 4000))
        rumble = _engine(r)
        out[: len(rumble)] += 0.2 * r.random() * rumble * swell[: len(rumble)]
    return out


def _noise(r: Random) -> Sound:
    x = noise(r, 4, r.uniform(-1.5, 2.2))
    if r.random() < 0.4:
        low = np.exp(r.uniform(np.log(60), np.log(3000)))
        x = band(x, low, low * np.exp(r.uniform(0.4, 3)))
    return x * (wander(r, len(x), 1, 0.3) if r.random() < 0.2 else 1.0)


def _plain_noise(r: Random) -> Sound:
    return noise(r, 4, float(r.choice([0.0, 1.0, 2.0, -1.0])))


SIGNALS: dict[str, dict[str, tuple[Maker, int]]] = {
    "synth-tones": {"tone": (_tone, 120), "morse": (_morse, 20), "game": (_video_game, 60)},
    "synth-signals": {
        "dtmf": (_dtmf, 40),
        "telephone": (_telephone, 30),
        "bellring": (_bellring, 50),
        "beeps": (_beeps, 80),
        "siren": (_siren, 120),
        "horn": (_horn, 90),
        "buzzer": (_buzzer, 40),
        "whistle": (_whistle, 60),
        "bell": (_bell, 120),
        "chime": (_chime, 80),
    },
    "synth-machines": {
        "engine": (_engine, 220),
        "motor": (_motor, 160),
        "rotor": (_rotor, 70),
        "jet": (_jet, 60),
        "cycle": (_cycle, 100),
        "rattle": (_rattle, 100),
        "hum": (_hum, 40),
        "train": (_train, 60),
        "traffic": (_traffic, 80),
    },
    "synth-noise": {"noise": (_noise, 160), "plain": (_plain_noise, 60)},
}
