"""Sounds made by formula: household, tools, traffic and crowds."""

from __future__ import annotations

import numpy as np
from scipy import signal

from .formula import (
    RATE,
    SIGNALS,
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
from .nature import call

__all__ = ["SIGNALS"]


def _strokes(
    r: Random, rate: tuple[float, float], low: tuple[float, float], sharp: float, grit: float
) -> Sound:
    """Noise to and fro, the way there a little other than the way back."""
    n = 6 * RATE
    phase = np.cumsum(r.uniform(*rate) * wander(r, n, 1.5, 0.1)) / RATE
    there, back = (
        np.maximum(0, np.sin(np.pi * 2 * phase)),
        np.maximum(0, -np.sin(np.pi * 2 * phase)),
    )
    f = np.exp(r.uniform(np.log(low[0]), np.log(low[1])))
    width = r.uniform(2, 5)
    x = there**sharp * band(noise(r, 6), f, f * width)
    x = x + r.uniform(0.2, 1) * back**sharp * band(noise(r, 6), f * 1.2, f * 1.3 * width)
    teeth = pulses(r, 20 + r.uniform(150, 700) * (there + 0.7 * back), 0.6, f * 0.5, f * 3)
    return x / np.abs(x).max() + grit * r.uniform(0.3, 1) * teeth / (np.abs(teeth).max() + 1e-9)


def _toothbrush(r: Random) -> Sound:
    if r.random() < 0.25:  # an electric one
        n = 6 * RATE
        hum = wave(r.uniform(120, 300) * wander(r, n, 2, 0.02), 0.7 ** np.arange(24))
        return hum + r.uniform(0.2, 1) * band(noise(r, 6), 1500, 7000) * wander(r, n, 3, 0.5)
    return room(r, _strokes(r, (1.8, 5), (1200, 3500), r.uniform(0.4, 1.5), 0.1))


def _handsaw(r: Random) -> Sound:
    return room(r, _strokes(r, (0.7, 2.5), (400, 2200), r.uniform(0.3, 1), 0.8))


def _rub(r: Random) -> Sound:
    return room(r, _strokes(r, (0.4, 4), (300, 4500), r.uniform(0.4, 3), 0.2))


def _crickets(r: Random) -> Sound:
    t = clock(6)
    out = 0.02 * noise(r, 6, 1)
    for _ in range(int(r.integers(1, 8))):
        f, trill = r.uniform(2300, 6500), r.uniform(25, 80)
        chirps, share = r.uniform(0.8, 6), r.uniform(0.2, 0.7)
        open_ = ((t * chirps + r.random()) % 1 < share) if r.random() < 0.8 else np.ones(len(t))
        gate = signal.lfilter([0.02], [1, -0.98], open_.astype(float))
        tooth = np.maximum(0, np.sin(2 * np.pi * trill * t + r.uniform(0, 6))) ** r.uniform(1, 4)
        tone = np.sin(2 * np.pi * f * t) + 0.1 * np.sin(4 * np.pi * f * t)
        out = out + r.uniform(0.1, 1) * gate * tooth * tone
    return room(r, out)


def _door(r: Random) -> Sound:
    n = int(r.uniform(1, 4) * RATE)
    slip = r.uniform(20, 160) * wander(r, n, 4, 0.5) * curve(n, list(r.uniform(0.4, 1.6, 5)))
    x = pulses(r, slip, 0.3, r.uniform(150, 500), r.uniform(900, 3000))
    for _ in range(int(r.integers(1, 4))):  # the wood sings along
        f = r.uniform(250, 2500)
        b, a = signal.iirpeak(f, r.uniform(8, 40), fs=RATE)
        x = x + r.uniform(1, 4) * signal.lfilter(b, a, x)
    x = x / (np.abs(x).max() + 1e-9) * wander(r, n, 3, 0.5)
    if r.random() < 0.4:
        x = np.concatenate((x, thump(r, 60, 1200, 0.06) * r.uniform(0.5, 2)))
    return room(r, x)


def _walk(r: Random) -> Sound:
    ground = r.random()
    low, high = r.uniform(60, 300), r.uniform(700, 7000)
    life = r.uniform(0.006, 0.05)

    def step(q: Random) -> Sound:
        heel, toe = thump(q, low, high, life), thump(q, low * 2, high, life * 0.7)
        x = np.zeros(int(0.35 * RATE))
        x[: len(heel)] += heel[: len(x)]
        at = int(q.uniform(0.05, 0.13) * RATE)
        x[at : at + len(toe)] += q.uniform(0.2, 0.9) * toe[: len(x) - at]
        if ground < 0.4:  # gravel, leaves, snow
            grains = events(q, 0.3, 150, lambda p: thump(p, 1200, 7500, 0.002), 1, 0.8)
            x[: len(grains)] += r.uniform(0.2, 1) * grains * np.hanning(len(grains))
        return x

    return room(r, events(r, 6, r.uniform(1.2, 3.2), step, 0.08, 0.2)) + 0.01 * noise(r, 6, 1)


def _typing(r: Random) -> Sound:
    low, life = r.uniform(500, 2500), r.uniform(0.001, 0.008)

    def key(q: Random) -> Sound:
        down, up = thump(q, low, low * 4, life), thump(q, low * 1.5, low * 5, life * 0.6)
        gap = np.zeros(int(q.uniform(0.04, 0.12) * RATE))
        body = thump(q, 100, 500, 0.01) * r.uniform(0, 0.5)
        x = np.concatenate((down, gap, q.uniform(0.2, 0.7) * up))
        x[: len(body)] += body[: len(x)]
        return x

    burst = wander(r, 6 * RATE, 0.8, 0.5)
    return room(r, events(r, 6, r.uniform(3, 12), key, 0.6, 0.4) * np.minimum(burst, 2))


def _appliance(r: Random) -> Sound:
    """A vacuum cleaner, dryer, fan, mixer or washing machine."""
    n = 8 * RATE
    load = wander(r, n, r.uniform(0.2, 2), r.uniform(0.01, 0.1))
    start = np.minimum(1, 0.02 + np.arange(n) / RATE / r.uniform(0.2, 2)) if r.random() < 0.3 else 1
    f = np.exp(r.uniform(np.log(45), np.log(1200)))
    whine = wave(f * load * start, r.random(20) / np.arange(1, 21) ** r.uniform(0.3, 1.2))
    mains = wave(np.full(n, r.choice([100.0, 120.0])), r.random(12) ** 2)
    air = band(noise(r, 8, r.uniform(0, 1.5)), r.uniform(60, 500), r.uniform(2000, 7700))
    x = r.uniform(0, 1) * whine + r.uniform(0, 0.3) * mains + r.uniform(0.2, 3) * air * load * start
    if r.random() < 0.3:  # something turns over in it
        x = x + r.uniform(0.2, 1) * events(
            r, 8, r.uniform(0.5, 3), lambda q: thump(q, 60, 900, 0.08)
        )
    return room(r, x)


def _tool(r: Random) -> Sound:
    """A drill, saw or mower, that is loaded and let go."""
    n = 6 * RATE
    load = curve(n, list(r.uniform(0.5, 1.1, int(r.integers(3, 9)))))
    f = np.exp(r.uniform(np.log(30), np.log(500)))
    x = pulses(r, f * load * wander(r, n, 8, 0.03), r.uniform(0.05, 0.5), 60, r.uniform(1500, 7000))
    x = np.tanh(x / (np.abs(x).max() + 1e-9) * r.uniform(1, 6))
    whine = wave(f * r.integers(2, 9) * load, r.random(12))
    bite = band(noise(r, 6), r.uniform(800, 2500), 7500) * np.maximum(0, 1.05 - load) * 2
    return room(r, x + r.uniform(0, 0.8) * whine + r.uniform(0.1, 1) * bite)


def _pour(r: Random) -> Sound:
    n = 5 * RATE
    f = r.uniform(250, 900) * curve(n, [1, 1.3, r.uniform(1.5, 3.5)])
    drops = events(r, 5, r.uniform(60, 300), lambda q: _plop(q, 500, 3000), 1, 0.7)
    body = wave(f * wander(r, n, 9, 0.1), np.array([1.0, 0.3])) * wander(r, n, 15, 0.7)
    hiss = band(noise(r, 5), r.uniform(500, 1500), 7000)
    return room(r, drops + r.uniform(0, 0.5) * body + r.uniform(0.1, 1) * hiss)


def _plop(r: Random, low: float, high: float) -> Sound:
    n = int(r.uniform(0.01, 0.08) * RATE)
    f = np.exp(r.uniform(np.log(low), np.log(high)))
    fall = np.exp(-5 * np.arange(n) / n)
    return wave(f * (1 + r.uniform(0, 0.8) * np.arange(n) / n), np.ones(1)) * fall


def _drip(r: Random) -> Sound:
    x = events(r, 6, r.uniform(0.5, 6), lambda q: _plop(q, 600, 2500), r.uniform(0, 0.5), 0.3)
    return room(r, x) + r.uniform(0, 0.02) * noise(r, 6, 1)


def _sizzle(r: Random) -> Sound:
    crackle = events(r, 5, r.uniform(40, 300), lambda q: thump(q, 1500, 7700, 0.001), 1, 1)
    return crackle * r.uniform(0.3, 1) + r.uniform(0.1, 1) * band(noise(r, 5, -0.5), 1500, 7700)


def _zip(r: Random) -> Sound:
    def one(q: Random) -> Sound:
        n = int(q.uniform(0.2, 0.9) * RATE)
        rate = q.uniform(60, 250) * curve(n, [0.5, 1, 1.3, 0.8])
        x = pulses(q, rate, 0.3, 1200, 7000)
        return x / (np.abs(x).max() + 1e-9) + 0.03 * band(q.normal(size=n), 2000, 7500)

    return room(r, events(r, 4, r.uniform(0.5, 1.5), one, 0.5))


def _bounce(r: Random) -> Sound:
    out = np.zeros(4 * RATE)
    at, gap = r.uniform(0, 0.5), r.uniform(0.3, 0.9)
    hollow = np.sort(np.exp(r.uniform(np.log(120), np.log(1500), 3)))
    level = 1.0
    while at < 3.8 and gap > 0.02:
        hit = thump(r, 60, r.uniform(600, 4000), 0.02)
        tone = ring(r, hollow, 0.05, 0.3)
        x = np.zeros(max(len(hit), len(tone)))
        x[: len(hit)] += hit
        x[: len(tone)] += 0.5 * tone
        i = int(at * RATE)
        out[i : i + len(x)] += level * x[: len(out) - i]
        at, gap, level = at + gap, gap * r.uniform(0.7, 0.95), level * 0.8
    return room(r, out)


def _jingle(r: Random) -> Sound:
    """Keys, coins, dishes, cutlery."""
    low = r.uniform(700, 3500)
    life = r.uniform(0.01, 0.2)

    def clink(q: Random) -> Sound:
        modes = np.sort(low * np.exp(q.uniform(0, 1.5, 5)))
        return ring(q, modes, life * np.exp(0.4 * q.normal()), 0.6)

    shaken = 1 + 0.9 * np.sin(2 * np.pi * r.uniform(0.5, 6) * clock(5))
    return room(r, events(r, 5, r.uniform(2, 30), clink, 1, 0.8) * shaken)


def _pass_by(r: Random) -> Sound:
    """Something on wheels comes and goes, its pitch falling."""
    n = 8 * RATE
    t = clock(8) - r.uniform(2, 6)
    near = r.uniform(0.3, 1.5)
    level = 1 / (1 + (t / near) ** 2)
    pitch = 1 - r.uniform(0.02, 0.12) * t / np.sqrt(t**2 + near**2)
    f = np.exp(r.uniform(np.log(25), np.log(180)))
    x = pulses(r, f * pitch * wander(r, n, 1, 0.02), 0.3, 40, r.uniform(400, 2500))
    x = np.tanh(2 * x / (np.abs(x).max() + 1e-9))
    tyres = band(noise(r, 8, r.uniform(0.2, 1)), 200, r.uniform(1500, 6000))
    return level * (r.uniform(0.1, 1) * x + r.uniform(0.3, 2) * tyres) + 0.03 * noise(r, 8, 1.3)


def _brakes(r: Random) -> Sound:
    n = int(r.uniform(0.8, 3) * RATE)
    f = r.uniform(900, 4000) * wander(r, n, 4, 0.03) * curve(n, [1, 1.02, 0.9])
    squeal = wave(f, np.array([1, 0.4, 0.2])) * wander(r, n, 12, 0.4) * np.hanning(n) ** 0.5
    hiss = band(noise(r, 1.5), 1500, 7700)
    hiss *= np.exp(-clock(1.5) / r.uniform(0.1, 0.6)) * r.uniform(0, 1)
    return room(r, np.concatenate((squeal, hiss))) + 0.05 * noise(r, 9, 1.3)[: n + len(hiss)]


def _cheer(r: Random) -> Sound:
    n = 6 * RATE
    out = np.zeros(n)
    for _ in range(int(r.integers(3, 9))):
        cry = call(180, 900, (0.3, 2.0), (0.3, 1.2), 0.6, 0.9, 0, 0.4)(r)[:n]
        out[: len(cry)] += r.uniform(0.1, 1) * cry / (np.abs(cry).max() + 1e-9)
    roar = band(noise(r, 6, 0.7), 300, r.uniform(2500, 6000)) * wander(r, n, 0.7, 0.4)
    claps = events(r, 6, r.uniform(30, 200), lambda q: thump(q, 700, 5000, 0.004), 1, 0.6)
    return room(r, out + r.uniform(0.5, 4) * roar + r.uniform(0, 1) * claps)


def _breath(r: Random) -> Sound:
    t = clock(6)
    rate, low = r.uniform(0.25, 1.5), r.uniform(300, 1800)
    inward = np.maximum(0, np.sin(2 * np.pi * rate * t)) ** r.uniform(0.6, 2)
    outward = np.maximum(0, -np.sin(2 * np.pi * rate * t)) ** r.uniform(0.6, 2)
    x = inward * band(noise(r, 6), low * 1.3, low * 5) * r.uniform(0.3, 1)
    return room(r, x + outward * band(noise(r, 6, 0.5), low, low * 4)) + 0.005 * noise(r, 6, 1)


def _sneeze(r: Random) -> Sound:
    def one(q: Random) -> Sound:
        n, m = int(q.uniform(0.2, 0.6) * RATE), int(q.uniform(0.12, 0.35) * RATE)
        inward = 0.3 * band(q.normal(size=n), 600, 4000) * curve(n, [0, 0.3, 0.5])
        pitch = q.uniform(180, 500) * curve(m, [1, 1.3, 0.7])
        burst = band(q.normal(size=m), 900, 7000) * curve(m, [1, 0.8, 0.3, 0.1])
        voiced = wave(pitch, 0.8 ** np.arange(25)) * curve(m, [0.3, 1, 0.4, 0])
        return np.concatenate((inward * 0.3, burst + q.uniform(0.3, 1.5) * voiced))

    return room(r, events(r, 4, r.uniform(0.3, 1), one, 0.5))


def _heart(r: Random) -> Sound:
    def beat(q: Random) -> Sound:
        a, b = thump(q, 25, 110, 0.03), thump(q, 30, 150, 0.02)
        return np.concatenate((a[:2400], np.zeros(1600), 0.7 * b))

    return events(r, 6, r.uniform(0.8, 2.2), beat, 0.05, 0.1) + 0.01 * noise(r, 6, 1)


SIGNALS["synth-household"] = {
    "toothbrush": (_toothbrush, 120), "handsaw": (_handsaw, 120), "rub": (_rub, 100),
    "crickets": (_crickets, 120), "door": (_door, 120), "walk": (_walk, 140),
    "typing": (_typing, 100), "appliance": (_appliance, 160), "tool": (_tool, 140),
    "pour": (_pour, 100), "drip": (_drip, 80), "sizzle": (_sizzle, 60), "zip": (_zip, 50),
    "bounce": (_bounce, 60), "jingle": (_jingle, 100), "pass": (_pass_by, 120),
    "brakes": (_brakes, 60), "cheer": (_cheer, 50), "breath": (_breath, 100),
    "sneeze": (_sneeze, 80), "heart": (_heart, 40),
}  # fmt: skip
