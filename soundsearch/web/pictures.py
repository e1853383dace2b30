"""Spectrograms as PNG."""

from __future__ import annotations

import struct
import zlib
from functools import cache, lru_cache
from itertools import chain
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.decode import SAMPLE_RATE, Decoder

__all__ = ["HIGHEST_HZ", "LOWEST_HZ", "peaks", "png", "spectrogram"]

Floats = NDArray[np.float32]

LOWEST_HZ, HIGHEST_HZ = 50.0, 8000.0
_WINDOW, _HALF, _HOP = 1024, 512, 160
# Levels that are told apart, dB below the loudest that a sine at full scale reaches.
_RANGE = 90.0
# Rows of the picture are computed from so many frames at a time.
_FRAMES = 512
# Colours from silence to the loudest, evenly spaced: those of the map "inferno" by N. Smith and
# S. van der Walt (CC0), of which every 32nd is here.
_COLOURS = (
    (0, 0, 4),
    (31, 12, 72),
    (85, 15, 109),
    (136, 34, 106),
    (186, 54, 85),
    (227, 89, 51),
    (249, 140, 10),
    (249, 201, 50),
    (252, 255, 164),
)


def spectrogram(file: BinaryIO, part: tuple[float, float], size: tuple[int, int]) -> bytes:
    """Draw a part of a sound: time to the right, mel (HTK) from 50 to 8000 Hz upwards.

    Memory grows with the picture, not with the sound: a column is the highest level in its time.

    Parameters
    ----------
    file : binary file
    part : (start, end)
        Seconds; what the sound does not have is drawn as silence.
    size : (width, height)
        Pixels.

    Returns
    -------
    bytes
        A PNG of 256 colours.

    Raises
    ------
    AudioError
        It gives no sound.
    """
    width, height = size
    start, end = part
    total = max(1, round((end - start) * SAMPLE_RATE / _HOP))
    levels = np.full((width, height), -_RANGE, np.float32)
    matrix, done = _bands(height), 0
    # The first frame is centred on the start, and the last ones reach over the end.
    before = min(start, _HALF / SAMPLE_RATE)
    rest = np.zeros(_HALF - round(before * SAMPLE_RATE), np.float32)
    with Decoder(file, start=start - before, end=end + _HALF / SAMPLE_RATE) as decoder:
        for block in chain(decoder, [np.zeros(_HALF, np.float32)]):
            rest = np.concatenate([rest, block])
            count = min(max(0, 1 + (len(rest) - _WINDOW) // _HOP), total - done)
            for first in range(0, count, _FRAMES):
                frames = min(_FRAMES, count - first)
                _draw(rest[first * _HOP :], frames, matrix, levels, done + first, total)
            done, rest = done + count, rest[count * _HOP :]
            if done == total:
                break
    _fill(levels, total)
    scaled = (levels + _RANGE) * (255 / _RANGE)
    return png(np.clip(np.rint(scaled), 0, 255).astype(np.uint8).T[::-1])


def peaks(
    file: BinaryIO, part: tuple[float, float | None], count: int, longest: float
) -> tuple[list[float], float]:
    """The highest magnitudes of a part of a sound, in so many stretches of equal length.

    Parameters
    ----------
    file : binary file
    part : (start, end)
        Seconds; what the sound does not have before an end is silence. None for the sound's end.
    count : int
    longest : float
        More seconds than this are left out.

    Returns
    -------
    peaks : list of float
        0 to 1, where 1 is full scale; of all channels' mean at 16 kHz.
    duration : float
        Seconds that they are of.

    Raises
    ------
    AudioError
        It gives no sound.
    """
    start, end = part[0], part[0] + longest if part[1] is None else part[1]
    total = max(1, round((end - start) * SAMPLE_RATE))
    # Fine enough for what is asked for, and of an hour some megabytes.
    step = max(1, min(_HOP, total // count))
    found, rest, done = [], np.zeros(0, np.float32), 0
    with Decoder(file, start=start, end=end) as decoder:
        for block in decoder:
            block = np.abs(block[: total - done])
            done += len(block)
            rest = np.concatenate([rest, block])
            whole = len(rest) // step * step
            found.append(rest[:whole].reshape(-1, step).max(axis=1, initial=0))
            rest = rest[whole:]
    if part[1] is None:
        total = max(1, done)
    levels = np.zeros(-(-total // step), np.float32)
    heard = np.append(np.concatenate([*found, rest[:0]]), rest.max(initial=0))[: len(levels)]
    levels[: len(heard)] = heard
    # Where there are more columns than levels, each is drawn over those until the next.
    columns = np.maximum.reduceat(levels, np.arange(count) * len(levels) // count)
    rounded = np.minimum(columns.astype(float), 1).round(3).tolist()
    return rounded, total / SAMPLE_RATE


def _draw(
    samples: Floats, frames: int, matrix: Floats, levels: Floats, begin: int, total: int
) -> None:
    """Raise the columns of frames, the first of which is number `begin`, to what these hold."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[: frames * _HOP : _HOP]
    spectra = np.abs(np.fft.rfft(windows * _hann(), axis=1)).astype(np.float32)
    bands = spectra @ matrix
    decibels = 20 * np.log10(np.maximum(bands, 1e-6))
    columns = np.minimum((begin + np.arange(frames)) * len(levels) // total, len(levels) - 1)
    np.maximum.at(levels, columns, decibels)


def _fill(levels: Floats, total: int) -> None:
    """Where there are more columns than frames, draw each frame over those until the next."""
    width = len(levels)
    if width > total:
        levels[:] = levels[(np.arange(width) * total // width) * width // total]


@cache
def _hann() -> Floats:
    window = np.hanning(_WINDOW + 1)[:-1]
    scaled: Floats = (window * (2 / window.sum())).astype(np.float32)
    return scaled  # with it, a sine at full scale is 0 dB


@lru_cache(maxsize=4)
def _bands(height: int) -> Floats:
    """Weights from FFT bins to rows, float32 [513, height], the lowest first; each sums to 1."""
    low, high = (1127 * np.log1p(np.array([LOWEST_HZ, HIGHEST_HZ]) / 700)).tolist()
    mels = np.linspace(low, high, height + 2)
    edges = 700 * np.expm1(mels / 1127)
    bins = np.arange(_WINDOW // 2 + 1) * (SAMPLE_RATE / _WINDOW)
    # A triangle narrower than a bin would fall between two of them.
    left = np.minimum(edges[:-2], edges[1:-1] - SAMPLE_RATE / _WINDOW)
    right = np.maximum(edges[2:], edges[1:-1] + SAMPLE_RATE / _WINDOW)
    rising = (bins[:, None] - left) / (edges[1:-1] - left)
    falling = (right - bins[:, None]) / (right - edges[1:-1])
    weights = np.maximum(0, np.minimum(rising, falling))
    peaks: Floats = (weights / weights.max(axis=0)).astype(np.float32)
    return peaks


def png(rows: NDArray[np.uint8]) -> bytes:
    """An image of levels, uint8 [height, width], in false colours (PNG, palette of 256)."""
    height, width = rows.shape
    raw = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: none
    raw[:, 1:] = rows
    places = np.linspace(0, 255, len(_COLOURS))
    colours = [np.interp(np.arange(256), places, each) for each in zip(*_COLOURS, strict=True)]
    palette = np.rint(np.stack(colours, axis=1)).astype(np.uint8).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = (b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(raw.tobytes(), 6))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, content) for name, content in (*chunks, (b"IEND", b""))
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )
