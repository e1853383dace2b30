"""Any file -> mono 16 kHz float32, in blocks of bounded memory.

libsndfile (soundfile) reads WAV, AIFF, FLAC, Ogg, Opus and MP3; what it does not know goes to
FFmpeg (PyAV): M4A, WMA, WebM, AMR and the sound of videos. The content decides, not the name.
"""

from __future__ import annotations

import io
import logging
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Any, BinaryIO, Final

import numpy as np
import soundfile
import soxr
from numpy.typing import ArrayLike, NDArray

from .errors import AudioError

__all__ = ["BLOCK_SECONDS", "SAMPLE_RATE", "Decoder", "read", "to_mono_16k"]

SAMPLE_RATE: Final = 16_000
BLOCK_SECONDS: Final = 10

_BLOCK_VALUES = 1 << 20  # frames x channels in one buffer, 4 MB: 32 channels at 768 kHz fit
_WIDEST = 1e10  # beyond every unscaled 32-bit integer; float32 spectra stay finite below it
_LOUD = 100.0  # 40 dB above full scale
_RATES = (1, 10_000_000)  # Hz; above, building the resampler's filter takes seconds
_SLOW_RATE = 1000  # Hz; below, a small file unfolds into days
_LONGEST_SLOW = 30 * 86_400  # seconds


class Decoder:
    """Iterate over a file's sound as mono float32 blocks at 16 kHz."""

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        start: float = 0.0,
        end: float | None = None,
    ) -> None:
        self._name = _name(source)
        self.warning: str | None = None
        if not 0 <= start < (math.inf if end is None else end):
            raise self._error(f"expected 0 <= start < end, got start {start} and end {end}")
        self._start = start
        self._end = end
        self._file, self._owned = _open(source, self._name)
        try:
            self._reader = self._open_reader()
            self.sample_rate: int = self._reader.sample_rate
            self.channels: int = self._reader.channels
            low, high = _RATES
            if not low <= self.sample_rate <= high:
                raise self._error(f"expected {low} to {high} Hz, got {self.sample_rate} Hz")
        except BaseException:
            self.close()
            raise
        self._blocks = self._decode()

    def _error(self, reason: str) -> AudioError:
        return AudioError(self._name, reason)

    def _open_reader(self) -> _SoundFileReader | _ContainerReader:
        try:
            return _SoundFileReader(self._file)
        except soundfile.LibsndfileError:
            self._file.seek(0)
            return _ContainerReader(self._file, self._name)

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a stream that was handed in stays open."""
        reader = getattr(self, "_reader", None)
        if reader is not None:
            reader.close()
        if self._owned:
            self._file.close()

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return self._blocks

    def _decode(self) -> Iterator[NDArray[np.float32]]:
        rate = self.sample_rate
        # Whole seconds are whole samples at both rates: the resampler keeps its phase.
        lead = 1 + _SLOW_RATE // rate
        origin = max(0, math.floor(self._start) - lead)
        skip = round(self._start * SAMPLE_RATE) - origin * SAMPLE_RATE
        left = None if self._end is None else round(self._end * SAMPLE_RATE) - round(
            self._start * SAMPLE_RATE
        )
        stop = None if self._end is None else (math.ceil(self._end) + lead) * rate
        resampler = (
            None
            if rate == SAMPLE_RATE
            else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        )
        for block, last in _with_last(self._reader.blocks(origin * rate, stop)):
            mono = _mix(block)
            out = mono if resampler is None else resampler.resample_chunk(mono, last=last)
            if skip:
                out, skip = out[skip:], max(0, skip - len(out))
            if left is not None:
                out = out[:left]
                left -= len(out)
            if len(out):
                yield out


def _with_last(blocks: Iterator[Any]) -> Iterator[tuple[Any, bool]]:
    held = next(blocks, None)
    for block in blocks:
        yield held, False
        held = block
    if held is not None:
        yield held, True


def _mix(block: NDArray[np.float32]) -> NDArray[np.float32]:
    return block.mean(axis=1, dtype=np.float32)


class _SoundFileReader:
    def __init__(self, file: io.FileIO) -> None:
        handle = file.fileno() if os.name == "posix" else file
        self._sound = soundfile.SoundFile(handle, closefd=False)
        self.sample_rate = int(self._sound.samplerate)
        self.channels = int(self._sound.channels)
        self.frames = int(self._sound.frames)

    def blocks(self, first: int, stop: int | None) -> Iterator[NDArray[np.float32]]:
        self._sound.seek(first)
        size = max(1, min(BLOCK_SECONDS * self.sample_rate, _BLOCK_VALUES // self.channels))
        while True:
            block = self._sound.read(size, dtype="float32", always_2d=True)
            if len(block) == 0:
                return
            yield block

    def close(self) -> None:
        self._sound.close()


class _ContainerReader:
    def __init__(self, file: io.FileIO, name: str) -> None:
        raise AudioError(name, "its content is no audio that is known here")

    sample_rate: int
    channels: int

    def blocks(self, first: int, stop: int | None) -> Iterator[NDArray[np.float32]]:
        raise NotImplementedError

    def close(self) -> None:
        pass


def _name(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "stream"


def _open(source: Any, name: str) -> tuple[Any, bool]:
    if not isinstance(source, (str, os.PathLike)):
        return source, False
    try:
        return open(source, "rb", buffering=0), True
    except OSError as error:
        raise AudioError(name, error.strerror or str(error)) from error


def read(
    source: str | os.PathLike[str] | BinaryIO, *, start: float = 0.0, end: float | None = None
) -> NDArray[np.float32]:
    """Decode a whole file, or a part of it."""
    with Decoder(source, start=start, end=end) as decoder:
        return np.concatenate(list(decoder))


def to_mono_16k(samples: ArrayLike, sample_rate: float) -> NDArray[np.float32]:
    """Turn an array into mono 16 kHz float32."""
    array = np.asarray(samples)
    if array.dtype.kind == "i":
        array = array / -float(np.iinfo(array.dtype).min)
    array = array.astype(np.float32)
    mono = array.mean(axis=1) if array.ndim == 2 else array
    return np.asarray(soxr.resample(mono, sample_rate, SAMPLE_RATE, quality="HQ"), np.float32)
