"""What duplicates are recognised by: pictures of sound, and prints of these.

A picture is a spectrogram on a logarithmic frequency axis, without what is steady and without what
all frequencies share, so that neither level nor filters show in it. Stretching moves it along
time, changing the pitch moves it along frequency. A print is the magnitude of the two-dimensional
Fourier transform of a few seconds of a picture, which no shift along either axis changes; prints
of a sound and of its copy are near to each other, and a search over prints finds them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, sparse
from scipy.ndimage import uniform_filter1d
from soundsearch_ingest.decode import SAMPLE_RATE

__all__ = [
    "BANDS",
    "BANDS_PER_OCTAVE",
    "FRAME",
    "PRINT",
    "PRINT_FRAMES",
    "magnitudes",
    "picture",
    "prints",
    "sketch",
]

Floats = NDArray[np.float32]

# A phase vocoder, which stretches sound, smears it over 0.1 s and more: a shorter window than
# this sees what it has smeared, a longer one does not.
_WINDOW = 3840
_HOP = 640
_EDGE = _WINDOW // 2 // _HOP
FRAME = _HOP / SAMPLE_RATE
BANDS_PER_OCTAVE = 36
_LOW, _HIGH = 160.0, 7000.0
BANDS = int(np.log2(_HIGH / _LOW) * BANDS_PER_OCTAVE)
# What is this much below the root mean square of all bands is as good as silence, and below this
# absolutely (about -80 dB of full scale).
_FLOOR = 0.3
_SILENCE = 1e-4
# The width of what is taken as steady: in frames, and in bands.
_STEADY = 25
_SHARED = 9

PRINT_FRAMES = 64
_PRINT_HOP = 20
# Modulations along time, and along frequency in both directions, and how many of the latter are
# taken together.
_TIMES, _QUEFRENCIES, _TOGETHER = 12, 40, 4
PRINT = _TIMES * 2 * _QUEFRENCIES // _TOGETHER
# A window whose picture is fainter than this share of one of noise holds nothing to print.
_FAINT = 0.004


@cache
def _bands() -> sparse.csr_array:
    """Triangles around the middles of the bands, as wide as a band or a bin: [bands, bins]."""
    hertz = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)
    middles = _LOW * 2 ** (np.arange(BANDS) / BANDS_PER_OCTAVE)
    widths = np.maximum(middles * (2 ** (1 / BANDS_PER_OCTAVE) - 1), hertz[1])
    weights = np.maximum(0, 1 - np.abs(hertz - middles[:, None]) / widths[:, None])
    weights /= weights.sum(axis=1, keepdims=True)
    return sparse.csr_array(weights.astype(np.float32))


def magnitudes(samples: Floats) -> Floats:
    """The magnitudes of the bands of a sound.

    Parameters
    ----------
    samples : float32 [n]
        Mono, 16 kHz.

    Returns
    -------
    float32 [1 + n // 640, bands], 7 at least
        Frame i is centred 0.04 i seconds after the beginning.
    """
    if len(samples) < _WINDOW:
        samples = np.pad(samples, (0, _WINDOW - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
    window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    out = np.empty((len(frames), BANDS), np.float32)
    for begin in range(0, len(frames), 256):
        part = frames[begin : begin + 256] * window
        spectra = np.abs(fft.rfft(part, axis=1)).astype(np.float32, copy=False)
        out[begin : begin + 256] = (_bands() @ spectra.T).T
    # Frames that would reach over an edge are as their neighbours: what every clip has there is
    # not to be what two of them have in common.
    padded: Floats = np.pad(out, ((_EDGE, _EDGE), (0, 0)), mode="edge")
    return padded


def picture(bands: Floats) -> Floats:
    """The picture of `magnitudes`, float32 [frames, bands]; 0 where all is steady or silent."""
    level = np.sqrt(np.mean(np.square(bands, dtype=np.float64)))
    shown: Floats = np.log(bands + np.float32(_FLOOR * level + _SILENCE * _WINDOW / 4))
    shown -= uniform_filter1d(shown, _STEADY, axis=0, mode="nearest")
    shown -= uniform_filter1d(shown, _SHARED, axis=1, mode="nearest")
    return shown


def sketch(shown: Floats) -> Floats:
    """A picture of half as many frames, float32 [frames // 2, bands]."""
    even = len(shown) // 2 * 2
    return (shown[:even:2] + shown[1:even:2]) * np.float32(0.5)


def prints(shown: Floats) -> tuple[Floats, NDArray[np.int64], Floats]:
    """The prints of a picture, one for every 0.8 s where there is something to see.

    Returns
    -------
    prints : float32 [n, PRINT]
        Unit length.
    starts : int64 [n]
        The first frame of each.
    strengths : float32 [n]
        How much there is to see in each.
    """
    if len(shown) < PRINT_FRAMES:
        shown = np.pad(shown, ((0, PRINT_FRAMES - len(shown)), (0, 0)))
    last = len(shown) - PRINT_FRAMES
    starts = np.unique(np.append(np.arange(0, last + 1, _PRINT_HOP), last))
    taper = np.hanning(PRINT_FRAMES).astype(np.float32)[:, None]
    windows = np.stack([shown[start : start + PRINT_FRAMES] * taper for start in starts.tolist()])
    strengths = np.sqrt(np.mean(np.square(windows), axis=(1, 2)))
    seen = strengths > _FAINT
    windows, starts, strengths = windows[seen], starts[seen], strengths[seen]
    if not len(windows):
        return np.empty((0, PRINT), np.float32), starts, strengths
    spectra = np.abs(fft.fft2(windows, (PRINT_FRAMES, 256)))
    both = np.concatenate(
        (spectra[:, :_TIMES, :_QUEFRENCIES], spectra[:, :_TIMES, -_QUEFRENCIES:]), axis=2
    )
    power = np.square(both).reshape(len(windows), _TIMES, -1, _TOGETHER).mean(axis=3)
    # Flattened, so that a few strong modulations do not decide alone; and without what most
    # sounds share.
    flat = power**0.15
    flat /= flat.mean(axis=(1, 2), keepdims=True)
    flat -= flat.mean(axis=2, keepdims=True)
    flat -= flat.mean(axis=1, keepdims=True)
    rows = flat.reshape(len(windows), PRINT)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9
    return rows.astype(np.float32), starts, strengths.astype(np.float32)
