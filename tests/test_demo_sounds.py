"""The sounds of the demo: their properties, and their places in the recording."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
import soundfile

from soundsearch import demo_sounds
from soundsearch.demo_sounds import KINDS, SAMPLE_RATE, kind_of, make, queries

made = functools.cache(make)
recorded = functools.cache(demo_sounds.recording)


def spectrum(sound, start=0.0, seconds=None):
    """Frequencies and magnitudes of a windowed part of a sound."""
    first = round(start * SAMPLE_RATE)
    part = sound[first:] if seconds is None else sound[first : first + round(seconds * SAMPLE_RATE)]
    return np.fft.rfftfreq(part.size, 1 / SAMPLE_RATE), np.abs(
        np.fft.rfft(part * np.hanning(part.size))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound(kind):
    sound, other = made(kind, 0), made(kind, 1)
    np.testing.assert_array_equal(sound, make(kind, 0))
    assert sound.dtype == np.float32 and sound.ndim == 1
    assert np.isfinite(sound).all()
    assert 3 * SAMPLE_RATE <= sound.size <= 6 * SAMPLE_RATE
    assert 0.3 <= np.abs(sound).max() <= 0.8
    assert sound[0] == 0 and abs(sound[-1]) < 1e-3
    assert abs(sound.mean()) < 0.01
    shorter = min(sound.size, other.size)
    assert np.abs(sound[:shorter] - other[:shorter]).max() > 0.05


def test_kinds_are_enough():
    assert len(KINDS) >= 14
    assert all(re.fullmatch("[a-z]+( [a-z]+)*", kind) for kind in KINDS)


@pytest.mark.parametrize(("kind", "tones"), [("dial tone", (350, 440)), ("busy tone", (480, 620))])
def test_telephone_tones(kind, tones):
    hertz, level = spectrum(made(kind, 0))
    for tone in tones:
        near = np.abs(hertz - tone) < 30
        assert hertz[near][np.argmax(level[near])] == pytest.approx(tone, abs=1)
    power = level**2
    around = np.min([np.abs(hertz - tone) for tone in tones], axis=0) < 30
    assert power[around].sum() > 0.9 * power.sum()


def test_dial_tone_lasts_and_busy_tone_does_not():
    blocks = {}
    for kind in ("dial tone", "busy tone"):
        part = made(kind, 0)[SAMPLE_RATE // 2 :][: 60 * 1100].reshape(60, 1100)
        blocks[kind] = np.sqrt(np.mean(part**2, axis=1))
    assert blocks["dial tone"].min() > 0.5 * blocks["dial tone"].max()
    assert blocks["busy tone"].min() < 0.1 * blocks["busy tone"].max()


def test_siren_wails():
    sound = made("siren", 0)
    pitches = []
    for start in np.arange(0.2, 3.6, 0.1):
        hertz, level = spectrum(sound, start, 0.1)
        wail = (hertz > 450) & (hertz < 2000)
        pitches.append(hertz[wail][np.argmax(level[wail])])
    assert max(pitches) > 1.6 * min(pitches)


def test_queries_are_not_in_the_collection(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_sounds, "make", made)
    monkeypatch.setattr(demo_sounds, "recording", recorded)
    paths = demo_sounds.write_collection(tmp_path, variations=1)
    assert sorted(paths) == sorted(tmp_path.iterdir())
    assert [kind_of(path) for path in paths] == [*KINDS, None]
    assert {kind for kind, _ in queries(each=2)} == set(KINDS)
    assert len(set(queries(each=2))) == 2 * len(KINDS)
    assert min(variation for _, variation in queries()) >= 8
    stored, rate = soundfile.read(paths[0], dtype="float32")
    assert rate == SAMPLE_RATE
    np.testing.assert_allclose(stored, made(kind_of(paths[0]), 0), atol=1e-4)


def test_recording_holds_its_events():
    sound, events = recorded()
    assert sound.size == 180 * SAMPLE_RATE
    assert np.isfinite(sound).all() and np.abs(sound).max() <= 1
    assert len(events) >= 10 and len({kind for kind, _, _ in events}) == len(events)
    quiet = np.ones(sound.size, dtype=bool)
    for _, start, end in events:
        quiet[round(start * SAMPLE_RATE) - 1 : round(end * SAMPLE_RATE) + 200] = False
    background = np.sqrt(np.mean(sound[quiet] ** 2))
    assert 0 < background < 0.005
    for (_, start, end), (_, following, _) in zip(
        events, [*events[1:], ("", 180.0, 0)], strict=True
    ):
        assert 0 <= start < end <= following
        part = sound[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
        assert np.sqrt(np.mean(part**2)) > 3 * background
    assert not set(events) & set(queries())
