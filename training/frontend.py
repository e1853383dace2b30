"""Mel magnitudes of sound: the part that VGGish's and YAMNet's front ends share.

The product's own front end is `ingest.logmel`; this one stops before the logarithm, since a
mix, a gain or an equaliser is arithmetic on magnitudes. The two agree (see tests).
"""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy import fft

RATE = 16000
WINDOW, HOP, FFT = 400, 160, 512
BANDS, PATCH = 64, 96
STUDENT_OFFSET, TEACHER_OFFSET = 0.01, 0.001

Floats = NDArray[np.float32]


@cache
def mel_matrix() -> Floats:
    """Return the weights from FFT bins to mel bands, float32 [257, 64]."""
    bins = 1127.0 * np.log1p(np.linspace(0.0, RATE / 2, FFT // 2 + 1) / 700.0)[:, None]
    edges = np.linspace(*(1127.0 * np.log1p(np.array([125.0, 7500.0]) / 700.0)), BANDS + 2)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    return weights.astype(np.float32)


def magnitudes(samples: Floats) -> Floats:
    """Mel magnitudes of mono 16 kHz sound.

    Parameters
    ----------
    samples : float32 [n]
        Sound in [-1, 1], its level kept.

    Returns
    -------
    float32 [1 + (n - 400) // 160, 64]
    """
    if len(samples) < WINDOW:
        return np.zeros((0, BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)
    out = np.empty((len(frames), BANDS), np.float32)
    for at in range(0, len(frames), 512):
        spectrum = fft.rfft(frames[at : at + 512] * hann, FFT)
        out[at : at + 512] = np.abs(spectrum) @ mel_matrix()
    return out


def patches(mel: Floats) -> Floats:
    """Cut mel frames into whole patches, float32 [n, 96, 64]; the tail is dropped."""
    count = len(mel) // PATCH
    return mel[: count * PATCH].reshape(count, PATCH, BANDS)


def load(path: Path, seconds: float = 90.0) -> Floats:
    """Decode up to `seconds` of a sound file to mono 16 kHz float32.

    Parameters
    ----------
    path : Path
        Any sound file; what libsndfile cannot read goes through ffmpeg.
    seconds : float
        Of a longer file, a stretch of this length a tenth into it is taken.

    Returns
    -------
    float32 [n]
        Empty when nothing could be decoded.
    """
    try:
        with soundfile.SoundFile(path) as file:
            want = int(seconds * file.samplerate)
            if file.frames > want:
                file.seek(min((file.frames - want) // 2, file.frames // 10))
            mono = file.read(min(want, file.frames), dtype="float32", always_2d=True).mean(1)
            return soxr.resample(mono, file.samplerate, RATE).astype(np.float32)
    except (RuntimeError, ValueError, soundfile.LibsndfileError):
        command = ["ffmpeg", "-v", "quiet", "-nostdin", "-t", str(seconds), "-i", str(path)]
        command += ["-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"]
        try:
            run = subprocess.run(command, capture_output=True, check=False, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return np.zeros(0, np.float32)
        return np.frombuffer(run.stdout[: len(run.stdout) // 4 * 4], np.float32)
