"""The VGGish front end: mono 16 kHz sound -> log-mel patches.

All constants are those of the reference (tensorflow/models, research/audioset/vggish,
``vggish_params.py`` and ``mel_features.py``): magnitude spectrum of 25 ms periodic Hann frames
every 10 ms, 64 HTK mel bands from 125 to 7500 Hz, ``ln(mel + 0.01)``. A patch is 96 frames, about
0.96 s.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .decode import SAMPLE_RATE
from .products import product

__all__ = [
    "BANDS",
    "FRAME_SECONDS",
    "LOG_OFFSET",
    "PATCH_FRAMES",
    "SILENT",
    "levels",
    "levels_at",
    "log_mel",
    "mel_magnitudes",
    "mel_matrix",
    "patches",
    "segments_in",
]

WINDOW = 400
HOP = 160
FFT = 512
BANDS = 64
LOW_HZ = 125.0
HIGH_HZ = 7500.0
LOG_OFFSET = 0.01
SILENT = -40.0  # dB, see `levels`
PATCH_FRAMES = 96
FRAME_SECONDS = HOP / SAMPLE_RATE

Array = NDArray[np.float32]

# How many frames are transformed at a time: their spectra fit a core's cache.
_CHUNK = 256
# Bands whose products are taken together: fewer have fewer zeros, but more products.
_BLOCK = 16


@cache
def mel_matrix() -> Array:
    """Weights from FFT bins to mel bands.

    Returns
    -------
    float32 [257, 64]
        Triangles that are linear in HTK mel (1127 ln(1 + f / 700)), not in hertz, without
        area normalisation; the row of the DC bin is zero.
    """

    def mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127.0 * np.log1p(hertz / 700.0)

    bins = mel(np.linspace(0.0, SAMPLE_RATE / 2, FFT // 2 + 1))[:, None]
    low, high = mel(np.array([LOW_HZ, HIGH_HZ]))
    edges = np.linspace(low, high, BANDS + 2)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    single: Array = weights.astype(np.float32)
    return single


@cache
def _mel_blocks() -> list[tuple[slice, slice, Array]]:
    """The mel matrix without most of its zeros: neighbouring bands, and the bins under them.

    Times 512, as the spectra are divided by the length of the FFT: without that norm, `np.fft.rfft`
    takes seven times as long, as it converts to float64. A power of two costs no exactness.
    """
    blocks = []
    for begin in range(0, BANDS, _BLOCK):
        bands = slice(begin, begin + _BLOCK)
        filled = np.flatnonzero(mel_matrix()[:, bands].any(axis=1))
        bins = slice(int(filled[0]), int(filled[-1]) + 1)
        blocks.append((bins, bands, mel_matrix()[bins, bands] * np.float32(FFT)))
    return blocks


@cache
def _window() -> Array:
    """The periodic Hann window, float32 [400]."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


def mel_magnitudes(samples: Array) -> Array:
    """Compute the mel magnitude spectrogram of mono 16 kHz sound.

    Parameters
    ----------
    samples : float32 [n]
        Sound in [-1, 1]; its level is never normalised.

    Returns
    -------
    float32 [1 + (n - 400) // 160, 64]
        No padding and no partial frames; fewer than 400 samples give 0 frames.
    """
    if len(samples) < WINDOW:
        return np.empty((0, BANDS), np.float32)
    frames = sliding_window_view(samples, WINDOW)[::HOP]
    out = np.empty((len(frames), BANDS), np.float32)
    padded = np.zeros((min(len(frames), _CHUNK), FFT), np.float32)
    for begin in range(0, len(frames), _CHUNK):
        chunk = frames[begin : begin + _CHUNK]
        np.multiply(chunk, _window(), out=padded[: len(chunk), :WINDOW])
        magnitudes = np.abs(np.fft.rfft(padded[: len(chunk)], norm="forward"))
        for bins, bands, weights in _mel_blocks():
            product(magnitudes[:, bins], weights, out[begin : begin + _CHUNK, bands])
    return out


def log_mel(samples: Array) -> Array:
    """Compute ``ln(mel + 0.01)`` of `mel_magnitudes`, float32 [frames, 64]."""
    out = mel_magnitudes(samples)
    out += np.float32(LOG_OFFSET)
    return np.log(out, out=out)


def patches(frames: Array, hop_frames: int = PATCH_FRAMES) -> Array:
    """Cut a spectrogram into patches; an incomplete tail is dropped.

    Parameters
    ----------
    frames : float32 [n, 64]
    hop_frames : int
        Frames from the start of one patch to the start of the next.

    Returns
    -------
    float32 [max(0, 1 + (n - 96) // hop_frames), 96, 64]
    """
    if len(frames) < PATCH_FRAMES:
        return np.empty((0, PATCH_FRAMES, BANDS), np.float32)
    windows = sliding_window_view(frames, PATCH_FRAMES, axis=0)[::hop_frames]
    return np.ascontiguousarray(windows.transpose(0, 2, 1))


def levels(batch: Array) -> Array:
    """Return the level of each patch: its highest mel magnitude, in dB.

    Parameters
    ----------
    batch : float32 [n, 96, 64]

    Returns
    -------
    float32 [n]
        At least -80. Below `SILENT`, no mel magnitude reaches the log offset 0.01, below which
        the logarithm flattens out: the front end cannot tell the patch from silence. That
        corresponds to about -80 dBFS for a tone and -70 dBFS for noise.
    """
    return _decibels(batch.max(axis=(1, 2)))


def levels_at(frames: Array, starts: NDArray[np.int_]) -> Array:
    """Return the `levels` of the patches that start at some frames of a spectrogram.

    Parameters
    ----------
    frames : float32 [n, 64]
    starts : int [k]
        At most n - 96.

    Returns
    -------
    float32 [k]
    """
    return _decibels(sliding_window_view(frames.max(axis=1), PATCH_FRAMES)[starts].max(axis=1))


def _decibels(logarithms: Array) -> Array:
    """The levels of values of a log-mel spectrogram."""
    loudest = np.exp(logarithms) - np.float32(LOG_OFFSET)
    decibels: Array = 20 * np.log10(np.maximum(loudest, np.float32(1e-4)))
    return decibels


def segments_in(samples: int, hop_frames: int = PATCH_FRAMES) -> int:
    """Return how many patches this many samples give."""
    frames = 1 + (samples - WINDOW) // HOP
    return max(0, 1 + (frames - PATCH_FRAMES) // hop_frames)
