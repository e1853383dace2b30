"""The demo, and that its sounds are what they are called."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from soundsearch import demo_sounds


def spectrum(sound):
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    return np.fft.rfftfreq(len(sound), 1 / demo_sounds.SAMPLE_RATE), power


@pytest.mark.parametrize("kind", demo_sounds.KINDS)
def test_every_kind(kind):
    first, again, second = (demo_sounds.make(kind, n) for n in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float32
    assert 2.9 <= len(first) / demo_sounds.SAMPLE_RATE <= 6.1
    assert 0.25 < np.abs(first).max() <= 0.8
    assert np.isfinite(first).all()
    length = min(len(first), len(second))
    assert abs(np.corrcoef(first[:length], second[:length])[0, 1]) < 0.9


def test_dial_tone_is_350_and_440_hertz():
    hertz, power = spectrum(demo_sounds.make("dial tone", 3))
    strongest = sorted(hertz[power > 0.05 * power.max()])
    assert strongest[0] == pytest.approx(350, abs=2)
    assert strongest[-1] == pytest.approx(440, abs=2)


def test_siren_sweeps():
    sound = demo_sounds.make("siren", 0)
    pitches = []
    for part in np.array_split(sound, 40):
        hertz, power = spectrum(part)
        pitches.append(hertz[power.argmax()])
    assert max(pitches) > 1.6 * min(pitches)


def test_recording_holds_what_it_says():
    sound, events = demo_sounds.recording()
    quiet = np.abs(sound[: 5 * demo_sounds.SAMPLE_RATE]).max()
    assert len(events) >= 8
    for _, start, end in events:
        begin, stop = (int(moment * demo_sounds.SAMPLE_RATE) for moment in (start, end))
        assert np.abs(sound[begin:stop]).max() > 10 * quiet


def test_demo(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "soundsearch", "demo", "--folder", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    right = re.search(r"for (\d+) of them \((\d+)%\)", done.stdout)
    assert int(right[2]) >= 80
    moments = re.search(r"(\d+) of (\d+) moments were right", done.stdout)
    assert int(moments[1]) >= 0.6 * int(moments[2])
    assert "soundsearch ingest" in done.stdout
