"""The front end against golden values of the reference code, and its framing rules."""

from __future__ import annotations

import numpy as np
import pytest
from soundsearch_ingest.logmel import (
    SILENT,
    levels,
    levels_at,
    log_mel,
    mel_magnitudes,
    mel_matrix,
    patches,
)

SINE = np.sin(2 * np.pi * 1000 * np.arange(0, 3, 1 / 16000)).astype(np.float32)


def test_golden_sine():
    frames = log_mel(SINE)
    assert frames.shape == (298, 64)
    assert frames.dtype == np.float32
    golden = [-4.48313, -4.27083, -4.17064, -4.23771, -4.47502, -4.14559, -3.94365, -4.03889]
    np.testing.assert_allclose(frames[0, :8], golden, atol=2e-4)
    examples = patches(frames)
    assert examples.shape == (3, 96, 64)
    assert examples.mean() == pytest.approx(-3.429619, abs=1e-4)
    assert examples.std() == pytest.approx(2.126577, abs=1e-4)
    # The smallest magnitudes carry the rounding of a float32 FFT.
    assert examples.min() == pytest.approx(-4.601163, abs=5e-4)
    assert examples.max() == pytest.approx(4.811118, abs=1e-4)
    assert (examples.mean(axis=(0, 1)).argmax()) == 19


def test_golden_zeros_and_noise():
    np.testing.assert_allclose(log_mel(np.zeros(16000, np.float32)), -4.605170, atol=1e-5)
    noise = np.random.RandomState(0).uniform(-1, 1, 48000).astype(np.float32)
    examples = patches(log_mel(noise))
    assert examples.mean() == pytest.approx(2.838894, abs=1e-4)
    assert examples.std() == pytest.approx(0.801535, abs=1e-4)


def test_golden_mel_matrix():
    weights = mel_matrix()
    assert weights.shape == (257, 64)
    assert weights.sum() == pytest.approx(230.9136, abs=1e-3)
    filled = (weights > 0).sum(axis=0)
    assert (filled.min(), filled.max()) == (1, 17)
    assert not weights[0].any()


@pytest.mark.parametrize(
    ("samples", "examples"),
    [(399, 0), (15_360, 0), (15_599, 0), (15_600, 1), (30_959, 1), (30_960, 2), (160_000, 10)],
)
def test_length_edges(samples, examples):
    assert len(patches(log_mel(np.zeros(samples, np.float32)))) == examples


def test_levels():
    noise = np.random.default_rng(2).normal(0, 1, 15_600).astype(np.float32)
    batch = np.concatenate(
        [patches(log_mel(noise * np.float32(level))) for level in (0, 1e-5, 1e-2)]
    )
    assert (levels(batch) < SILENT).tolist() == [True, True, False]
    assert levels(batch)[0] == -80
    louder = patches(log_mel(noise * np.float32(1e-1)))
    assert levels(louder)[0] - levels(batch)[2] == pytest.approx(20, abs=0.01)
    # The threshold in the docstring, for a tone: about -80 dBFS.
    tone = SINE[:15_600]
    quiet, heard = (patches(log_mel(tone * np.float32(10 ** (db / 20)))) for db in (-90, -70))
    assert levels(quiet)[0] < SILENT < levels(heard)[0]


def test_levels_of_places_are_those_of_patches():
    noise = np.random.default_rng(3).normal(0, 0.1, 60_000).astype(np.float32)
    frames = log_mel(noise * np.linspace(0, 1, len(noise), dtype=np.float32) ** 4)
    starts = np.array([0, 17, 96, len(frames) - 96])
    batch = np.stack([frames[start : start + 96] for start in starts])
    np.testing.assert_array_equal(levels_at(frames, starts), levels(batch))


def test_the_mel_product_in_blocks_is_the_whole_one():
    noise = np.random.default_rng(4).normal(0, 0.1, 16_000).astype(np.float32)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.lib.stride_tricks.sliding_window_view(noise.astype(np.float64), 400)[::160]
    expected = np.abs(np.fft.rfft(frames * window, 512)) @ mel_matrix().astype(np.float64)
    np.testing.assert_allclose(mel_magnitudes(noise), expected, rtol=1e-5, atol=1e-6)
