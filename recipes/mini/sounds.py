"""Sound files of the corpus, whatever packages hold, as mono 16 kHz sound."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

RATE = 16000


def load(path: Path, seconds: float = 90.0) -> NDArray[np.float32]:
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
