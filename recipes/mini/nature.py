"""Sounds made by formula: weather, water, animals, people and things that are struck."""

from __future__ import annotations

import numpy as np
from scipy import signal

from .formula import (
    RATE,
    SIGNALS,
    Maker,
    Random,
    Sound,
    band,
    clock,
    curve,
    events,
    noise,
    pulses,
    ring,
    room,
    thump,
    wander,
    wave,
)

__all__ = ["SIGNALS"]

VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480),
          (570, 840, 2410), (660, 1720, 2410), (440, 1020, 2240), (490, 1350, 1690))  # fmt: skip


def _always(sound: Sound) -> Maker:
    return lambda _random: sound


def voice(r: Random, f0: Sound, breath: float, size: float = 1.0) -> Sound:
    """Return a voiced sound with a gliding vowel; `size` scales the vocal tract."""
    n = len(f0)
    source = wave(f0, 0.85 ** np.arange(40)) + breath * r.normal(size=n)
    out = np.zeros(n)
    first, last = VOWELS[int(r.integers(8))], VOWELS[int(r.integers(8))]
    for formants, fade in ((first, curve(n, [1, 0])), (last, curve(n, [0, 1]))):
        for formant, gain in zip(formants, (1.0, 0.6, 0.3), strict=True):
            f = min(formant / size, 7000.0)
            b, a = signal.iirpeak(f, max(1.0, f / (80 + 0.05 * f)), fs=RATE)
            out += gain * fade * signal.lfilter(b, a, source)
    out *= np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.02 * RATE))
    return out / (np.abs(out).max() + 1e-9)


def call(
    low: float, high: float, seconds: tuple[float, float], rate: tuple[float, float],
    breath: float = 0.1, size: float = 1.0, tremolo: float = 0.0, arch: float = 0.4,
) -> Maker:  # fmt: skip
    """Return a maker of repeated calls: pitch range, length, calls a second, roughness."""

    def make(r: Random) -> Sound:
        base = np.exp(r.uniform(np.log(low), np.log(high)))
        shape = list(2 ** r.uniform(-arch, arch, 5))
        tract = size * np.exp(0.2 * r.normal())
        air = breath * np.exp(0.5 * r.normal())
        pace = r.uniform(*rate)

        def one(q: Random) -> Sound:
            n = int(q.uniform(*seconds) * RATE)
            f0 = base * curve(n, shape) * np.exp(0.08 * q.normal()) * wander(q, n, 12, 0.02)
            x = voice(q, f0, air, tract)
            if tremolo:
                beat = np.sin(2 * np.pi * q.uniform(0.7, 1.3) * tremolo * np.arange(n) / RATE)
                x = x * (1 + 0.8 * beat)
            return x

        return room(r, events(r, 5, pace, one, 0.5)) + r.uniform(0, 0.03) * noise(r, 5, 1)

    return make


def _bird(r: Random) -> Sound:
    base, pace = r.uniform(1500, 5500), r.uniform(1, 12)
    shape = list(2 ** r.uniform(-0.5, 0.5, int(r.integers(2, 7))))
    length = r.uniform(0.03, 0.35)

    def chirp(q: Random) -> Sound:
        n = int(length * np.exp(0.2 * q.normal()) * RATE) + 100
        f = base * curve(n, shape) * np.exp(0.05 * q.normal())
        warble = 1 + r.uniform(0, 0.1) * np.sin(2 * np.pi * q.uniform(15, 60) * np.arange(n) / RATE)
        return wave(f * warble, np.array([1, 0.15])) * np.hanning(n)

    return room(r, events(r, 5, pace, chirp, 0.6, 0.5)) + r.uniform(0, 0.1) * noise(r, 5, 1)


def _hoot(r: Random) -> Sound:
    f = r.uniform(220, 700)

    def hoot(q: Random) -> Sound:
        n = int(q.uniform(0.15, 0.6) * RATE)
        return wave(f * curve(n, [0.95, 1, 0.93]), np.array([1, 0.1, 0.05])) * np.hanning(n)

    return room(r, events(r, 6, r.uniform(0.5, 3), hoot, 0.5)) + r.uniform(0, 0.03) * noise(r, 6, 1)


def _insect(r: Random) -> Sound:
    f, trill, song = r.uniform(2200, 7000), r.uniform(15, 90), r.uniform(0.5, 6)
    t = clock(5)
    x = wave(f * np.ones(len(t)), np.ones(1)) * (0.5 + 0.5 * np.sin(2 * np.pi * trill * t)) ** 2
    x = x + r.uniform(0, 1) * band(r.normal(size=len(t)), f * 0.8, f * 1.2)
    gate = (t * song % 1) < r.uniform(0.2, 1.3)
    return x * signal.lfilter([0.01], [1, -0.99], gate) + r.uniform(0, 0.2) * noise(r, 5, 1)


def _buzz(r: Random) -> Sound:
    n = 5 * RATE
    f = np.exp(r.uniform(np.log(120), np.log(750)))
    near = wander(r, n, 1.5, 0.7)
    return wave(f * wander(r, n, 3, 0.04), 0.75 ** np.arange(20)) * near + 0.02 * noise(r, 5)


def _croak(r: Random) -> Sound:
    low = r.uniform(300, 2200)

    def croak(q: Random) -> Sound:
        n = int(q.uniform(0.08, 0.7) * RATE)
        x = pulses(q, np.full(n, q.uniform(15, 130)), 0.3, low, low * 2.2)
        return x / (np.abs(x).max() + 1e-9) * np.hanning(n)

    return room(r, events(r, 5, r.uniform(0.7, 5), croak, 0.5)) + r.uniform(0, 0.05) * noise(r, 5)


def _snore(r: Random) -> Sound:
    n, t = 6 * RATE, clock(6)
    breath = np.maximum(0, np.sin(2 * np.pi * r.uniform(0.2, 0.5) * t + r.uniform(0, 6))) ** 0.7
    x = pulses(r, r.uniform(20, 90) * wander(r, n, 3, 0.2), 0.5, 80, r.uniform(400, 1500))
    x = x / (np.abs(x).max() + 1e-9) * r.uniform(0, 1)
    return breath * (x + r.uniform(0.05, 0.7) * band(noise(r, 6, 0.5), 200, r.uniform(1200, 6000)))


def _burst(r: Random) -> Sound:
    low = r.uniform(200, 1200)

    def cough(q: Random) -> Sound:
        n = int(q.uniform(0.1, 0.5) * RATE)
        x = voice(q, q.uniform(110, 350) * curve(n, [1.2, 1, 0.7]), 1.5) + 0.7 * band(
            q.normal(size=n), low, low * 6
        )
        return x * curve(n, [0.2, 1, 0.5, 0.2, 0])

    return room(r, events(r, 4, r.uniform(0.5, 2.5), cough, 0.6))


def _wind(r: Random) -> Sound:
    x = noise(r, 6, r.uniform(0.8, 2)) * 2
    f = r.uniform(200, 1200)
    gust = wander(r, len(x), 0.7, 0.6)
    return (x + r.uniform(0, 2) * band(noise(r, 6), f, f * 1.5)) * gust


def _rain(r: Random) -> Sound:
    high = r.uniform(3000, 7600)
    hiss = band(noise(r, 5, r.uniform(-0.5, 1)), r.uniform(200, 1500), high)
    life = r.uniform(0.0008, 0.004)
    drops = events(r, 5, r.uniform(15, 120), lambda q: thump(q, 800, 7000, life), 1, 1)
    return hiss * r.uniform(0.2, 1.5) + drops * r.uniform(0.1, 1)


def _thunder(r: Random) -> Sound:
    n = 7 * RATE
    x = band(noise(r, 7, 1.5), 25, r.uniform(150, 900)) * wander(r, n, 4, 0.8)
    x *= np.exp(-clock(7) / r.uniform(1, 4)) * np.minimum(
        1, np.arange(n) / RATE / r.uniform(0.01, 1)
    )
    return x / np.abs(x).max() + r.uniform(0, 0.15) * _rain(r)[:1].mean() + 0.05 * noise(r, 7, 1)


def _waves(r: Random) -> Sound:
    t = clock(8)
    swell = (0.5 + 0.5 * np.sin(2 * np.pi * r.uniform(0.08, 0.3) * t + r.uniform(0, 6))) ** 2
    return noise(r, 8, r.uniform(0.6, 1.6)) * (0.2 + swell) + 0.3 * swell * noise(r, 8, 0)


def _bubbles(r: Random) -> Sound:
    low, high = r.uniform(250, 900), r.uniform(1000, 3500)

    def bubble(q: Random) -> Sound:
        life = q.uniform(0.005, 0.04)
        n = int(6 * life * RATE)
        f = np.exp(q.uniform(np.log(low), np.log(high)))
        return wave(f * (1 + 0.4 * np.arange(n) / n), np.ones(1)) * np.exp(-6 * np.arange(n) / n)

    pace = np.exp(r.uniform(np.log(1), np.log(150)))
    x = events(r, 5, pace, bubble, 1, 0.7)
    return room(r, x) + r.uniform(0, 0.5) * band(noise(r, 5, 0.5), 300, 6000)


def _fire(r: Random) -> Sound:
    low = r.uniform(500, 2500)
    x = events(
        r, 5, r.uniform(3, 40), lambda q: thump(q, low, 7000, q.uniform(0.0005, 0.006)), 1, 1
    )
    return x + r.uniform(0.02, 0.4) * noise(r, 5, r.uniform(0.8, 2))


def _knock(r: Random) -> Sound:
    low = np.exp(r.uniform(np.log(60), np.log(900)))
    high, life = low * r.uniform(2, 8), np.exp(r.uniform(np.log(0.006), np.log(0.08)))
    rate = np.exp(r.uniform(np.log(0.7), np.log(9)))
    return room(r, events(r, 4, rate, lambda q: thump(q, low, high, life), r.uniform(0, 0.5)))


def _click(r: Random) -> Sound:
    low, life = r.uniform(700, 4000), r.uniform(0.0006, 0.006)

    def click(q: Random) -> Sound:
        a = thump(q, low, min(low * 3, 7700), life)
        return np.concatenate((a, np.zeros(int(q.uniform(0.01, 0.08) * RATE)), 0.5 * a))

    x = events(r, 5, np.exp(r.uniform(np.log(0.8), np.log(14))), click, r.uniform(0, 1), 0.4)
    return x + r.uniform(0, 0.01) * noise(r, 5, 1)


def _clock_tick(r: Random) -> Sound:
    modes = np.sort(np.exp(r.uniform(np.log(900), np.log(7000), 5)))
    a, b = (ring(r, modes * k, 0.008, 0.1) for k in (1.0, r.uniform(0.8, 1.2)))
    flip = [0]

    def tick(_: Random) -> Sound:
        flip[0] ^= 1
        return a if flip[0] else b

    x = events(r, 5, float(r.choice([1, 2, 4, 5])), tick, 0, 0.1)
    return room(r, x) + r.uniform(0, 0.01) * noise(r, 5, 1)


def _metal(r: Random) -> Sound:
    modes = np.sort(np.exp(r.uniform(np.log(300), np.log(7000), int(r.integers(4, 14)))))
    life = np.exp(r.uniform(np.log(0.02), np.log(0.6)))
    rate = np.exp(r.uniform(np.log(0.5), np.log(12)))

    def clink(q: Random) -> Sound:
        x = ring(q, np.sort(modes * np.exp(0.1 * q.normal(size=len(modes)))), life, 1.5)
        return x * 0.8 + np.pad(thump(q, 500, 7000, 0.004), (0, len(x)))[: len(x)] * 0.5

    return room(r, events(r, 4, rate, clink, 0.8, 0.5))


def _shatter(r: Random) -> Sound:
    x = np.zeros(4 * RATE)
    for at in np.cumsum(r.exponential(0.02, int(r.integers(10, 60)))):
        i = int(at * RATE)
        shard = ring(r, np.sort(r.uniform(1500, 7500, 5)), r.uniform(0.01, 0.12), 0.4)
        shard = shard[: max(0, len(x) - i)]
        x[i : i + len(shard)] += shard * np.exp(0.7 * r.normal() - at)
    hit = thump(r, 300, 7000, 0.03)
    x[: len(hit)] += 2 * hit
    return room(r, x)


def _clap(r: Random) -> Sound:
    people = int(np.exp(r.uniform(0, np.log(60))))
    out = np.zeros(5 * RATE)
    for _ in range(people):
        low, rate = r.uniform(500, 1500), r.uniform(2, 5.5)
        life = r.uniform(0.003, 0.012)
        clap = thump(r, low, low * 4, life)
        out += r.uniform(0.3, 1) * events(r, 5, rate, _always(clap), 0.1)
    return room(r, out)


def _blast(r: Random) -> Sound:
    rate = np.exp(r.uniform(np.log(0.3), np.log(12)))
    low, high = r.uniform(25, 120), r.uniform(400, 6000)
    life = np.exp(r.uniform(np.log(0.02), np.log(0.7)))

    def blast(q: Random) -> Sound:
        x = thump(q, low, high, life)
        crack = thump(q, 800, 7500, 0.006)
        x[: len(crack)] += crack[: len(x)] * q.uniform(0, 1.5)
        return np.tanh(2 * x)

    return room(r, events(r, 5, rate, blast, r.choice([0.05, 0.9])))


def _firework(r: Random) -> Sound:
    x = _blast(r)
    n = RATE
    rise = wave(curve(n, [r.uniform(1000, 2500), r.uniform(2500, 5000)]), np.ones(2)) * np.hanning(
        n
    )
    x[:n] += r.uniform(0, 0.5) * rise
    crackle = events(r, 3, r.uniform(20, 90), lambda q: thump(q, 1000, 7500, 0.002), 1, 0.8)
    x[2 * RATE :] += crackle[: len(x) - 2 * RATE] * r.uniform(0, 1)
    return x


def _creak(r: Random) -> Sound:
    n = int(r.uniform(1, 4) * RATE)
    f0 = r.uniform(15, 250) * wander(r, n, 5, 0.5)
    low = r.uniform(200, 1500)
    x = pulses(r, f0, 0.4, low, low * 3) * wander(r, n, 3, 0.6)
    return room(r, x)


def _flush(r: Random) -> Sound:
    swell = curve(8 * RATE, [0, 1, 1, 0.9, 0.6, 0.3, 0.15, 0.1])
    x = band(noise(r, 8, r.uniform(0, 1)), r.uniform(100, 500), r.uniform(2500, 7500)) * swell
    gurgle = _bubbles(r)
    x[-len(gurgle) :] += gurgle * r.uniform(0, 0.5)
    return x


def _steps(r: Random) -> Sound:
    low, grit = r.uniform(60, 500), r.uniform(0, 1)

    def step(q: Random) -> Sound:
        a = thump(q, low, low * 5, q.uniform(0.01, 0.04))
        b = thump(q, 1000, 7000, q.uniform(0.02, 0.07)) * grit
        out = np.zeros(max(len(a), len(b) + 600))
        out[: len(a)] += a
        out[600 : 600 + len(b)] += b
        return out

    return room(r, events(r, 5, r.uniform(1.2, 4), step, 0.1))


def _crumple(r: Random) -> Sound:
    low = r.uniform(800, 3500)
    x = events(
        r, 5, r.uniform(20, 120), lambda q: thump(q, low, 7600, q.uniform(0.0008, 0.01)), 1, 1
    )
    return x * wander(r, len(x), 3, 0.8)


def _flap(r: Random) -> Sound:
    low = r.uniform(60, 500)
    return events(
        r, 4, r.uniform(4, 16), lambda q: thump(q, low, low * 8, 0.02), 0.1
    ) + 0.05 * noise(r, 4, 1)


def _silence(r: Random) -> Sound:
    return noise(r, 3, r.uniform(0, 2)) * 10 ** r.uniform(-4, -2)


SIGNALS["synth-animals"] = {
    "bird": (_bird, 160), "hoot": (_hoot, 50), "insect": (_insect, 100), "buzz": (_buzz, 50),
    "croak": (_croak, 70), "bark": (call(300, 900, (0.08, 0.25), (0.8, 4), 0.6, 1.0), 100),
    "meow": (call(350, 900, (0.4, 1.2), (0.4, 1), 0.05, 0.7), 80),
    "moo": (call(80, 250, (0.8, 2.2), (0.3, 0.5), 0.15, 1.4), 50),
    "baa": (call(180, 500, (0.5, 1.4), (0.4, 1), 0.2, 0.9, 8), 60),
    "crow": (call(250, 700, (0.15, 0.5), (0.7, 2.5), 1.0, 0.8, 45), 60),
    "cluck": (call(350, 900, (0.05, 0.3), (1, 6), 0.5, 0.6), 60),
    "cockcrow": (call(350, 800, (0.9, 2.0), (0.3, 0.5), 0.25, 0.6, 0, 1.0), 50),
    "grunt": (call(40, 160, (0.1, 0.5), (0.7, 3), 1.5, 1.2, 30), 60),
    "howl": (call(250, 700, (1.5, 4), (0.2, 0.4), 0.05, 1.0), 30),
    "roar": (call(40, 150, (0.8, 2.5), (0.3, 0.6), 1.5, 1.6, 25), 40),
}  # fmt: skip
SIGNALS["synth-people"] = {
    "cry": (call(320, 620, (0.5, 1.4), (0.5, 1.1), 0.1, 0.7, 0, 0.3), 120),
    "laugh": (call(120, 450, (0.06, 0.2), (3.5, 7), 0.5), 120),
    "scream": (call(500, 1500, (0.5, 2.5), (0.3, 0.8), 0.3, 0.8, 60), 60),
    "shout": (call(150, 450, (0.2, 0.9), (0.5, 1.5), 0.2), 60),
    "hum": (call(80, 400, (0.8, 3), (0.3, 0.6), 0.02), 40),
    "snore": (_snore, 120), "cough": (_burst, 120), "clap": (_clap, 120), "steps": (_steps, 120),
}  # fmt: skip
SIGNALS["synth-weather"] = {
    "wind": (_wind, 100), "rain": (_rain, 120), "thunder": (_thunder, 80), "waves": (_waves, 90),
    "bubbles": (_bubbles, 200), "fire": (_fire, 100), "flush": (_flush, 60),
}  # fmt: skip
SIGNALS["synth-impacts"] = {
    "knock": (_knock, 140), "click": (_click, 120), "clock": (_clock_tick, 120),
    "metal": (_metal, 120), "shatter": (_shatter, 90), "blast": (_blast, 120),
    "firework": (_firework, 80), "creak": (_creak, 80), "crumple": (_crumple, 60),
    "flap": (_flap, 30), "silence": (_silence, 20),
}  # fmt: skip
