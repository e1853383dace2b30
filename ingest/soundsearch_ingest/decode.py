"""Any file -> mono 16 kHz float32, in blocks of bounded memory.

libsndfile reads WAV, AIFF, FLAC, Ogg, Opus, MP3 and their kin; what it refuses goes to FFmpeg
(PyAV), which reads AAC, ALAC, WMA, AMR and the sound of films. Content decides, not the name.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from .errors import AudioError
from .readers import ContainerReader, SoundFileReader, error_text, has_descriptor
from .sources import fetched
from .spooling import spooled
from .urls import absolute, is_url, plain

__all__ = [
    "QUALITY",
    "SAMPLE_RATE",
    "Decoder",
    "down_mix",
    "mend",
    "read",
    "scaled",
    "to_mono_16k",
]

SAMPLE_RATE = 16_000

Array = NDArray[np.float32]

QUALITY = "HQ"
# 60 dB above full scale: no sound, but a file read as what it is not.
_ABSURD = 1000.0
# A small file of a damaged header's few samples a second would unfold into days of nothing.
_SLOW = 1000
_LONGEST_SLOW = 86_400
# A decoder that ends within this of what the header promises has read the whole file: headers
# of MP3 and AAC count padding that decoding takes away.
_TOLERANCE_SECONDS = 0.2


class Decoder:
    """Iterate over a file's sound as mono float32 blocks at 16 kHz.

    Channels are averaged before resampling; the level is kept. Samples that are not finite are
    taken as 0, and absurd ones (60 dB above full scale) are clipped there.

    Parameters
    ----------
    source : path, URL or binary file
        What is at a URL or in an archive, and a stream that cannot seek, is copied to a temporary
        file first.
    start, end : float
        Part of the sound, seconds; `end` None means to the end.
    longest : float, optional
        How many seconds of the sound are used at most, from its beginning; if there are more,
        `warning` says so. Of a stream, little more is read.

    Attributes
    ----------
    sample_rate, channels : int
        Of the file.
    warning : str or None
        Set while iterating when there is less sound than promised, or samples were odd.

    Raises
    ------
    AudioError
        The file cannot be read or gives no sound; also while iterating, before the first
        block. An error after that ends the sound and sets `warning`.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        start: float = 0.0,
        end: float | None = None,
        longest: float | None = None,
    ) -> None:
        if start < 0 or (end is not None and end <= start):
            raise AudioError(_name(source), f"expected 0 <= start < end, got {start} to {end}")
        self.warning: str | None = None
        self._name = _name(source)
        self._longest = longest
        self._part = (start, end)
        enough = longest if longest is None or end is None else min(longest, end)
        self._file = _open(source, self._name, enough)
        self._owned = self._file is not source
        try:
            self._reader = self._open_reader()
            self.sample_rate = self._reader.sample_rate
            self.channels = self._reader.channels
            self._check_rate()
        except BaseException:
            self.close()
            raise

    def _check_rate(self) -> None:
        if self.sample_rate < _SLOW and self._reader.promised is None:
            raise AudioError(
                self._name,
                f"has a sample rate of {self.sample_rate} Hz and does not say how long it is; "
                f"expected audio of at least {_SLOW} Hz",
            )
        seconds = (self._reader.promised or 0) / self.sample_rate
        if self.sample_rate < _SLOW and seconds > _LONGEST_SLOW:
            raise AudioError(
                self._name,
                f"has a sample rate of {self.sample_rate} Hz, at which its {self._reader.promised}"
                f" samples would last {seconds / 86_400:.0f} days; expected audio",
            )

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def promised(self) -> float | None:
        """How many seconds the header says there are; None where it does not say."""
        frames = self._reader.promised
        return None if frames is None else frames / self.sample_rate

    def close(self) -> None:
        """Close what was opened; a stream that was given stays open."""
        if self._owned:
            self._file.close()

    def __iter__(self) -> Iterator[Array]:
        frames = 0
        for block in self._resampled():
            frames += len(block)
            yield block
        if frames == 0:
            raise AudioError(self._name, self._nothing())

    def _open_reader(self) -> SoundFileReader | ContainerReader:
        size = os.fstat(self._file.fileno()).st_size if has_descriptor(self._file) else -1
        if size == 0:
            raise AudioError(self._name, "is empty")
        try:
            return SoundFileReader(self._file)
        except (soundfile.SoundFileError, ValueError):
            return ContainerReader(self._file, self._name)

    def _resampled(self) -> Iterator[Array]:
        if self.sample_rate == SAMPLE_RATE:
            yield from self._mono()
            return
        stream = soxr.ResampleStream(self.sample_rate, SAMPLE_RATE, 1, "float32", QUALITY)
        for block in self._mono():
            if len(resampled := stream.resample_chunk(block)):
                yield resampled
        if len(rest := stream.resample_chunk(np.empty(0, np.float32), last=True)):
            yield rest

    def _mono(self) -> Iterator[Array]:
        """The wanted part, one channel, at the file's rate."""
        rate, reader = self.sample_rate, self._reader
        first = round(self._part[0] * rate)
        last = None if self._part[1] is None else round(self._part[1] * rate)
        limit = None if self._longest is None else round(self._longest * rate)
        if limit is not None and (last is None or limit < last):
            last = limit
        else:
            limit = None
        position = reader.seek(first)
        odd = 0
        try:
            for block in reader.blocks():
                begin, position = position, position + len(block)
                block = block[max(0, first - begin) : None if last is None else last - begin]
                if len(block):
                    mono = down_mix(block)
                    odd += mend(mono)
                    yield mono
                if limit is not None and position > limit:
                    self._cut(limit)
                    break
                if limit is None and last is not None and position >= last:
                    break
        except reader.errors as error:
            self._ended(position, error_text(error))
        else:
            if last is None or position < last:
                self._ended(position, None)
        if odd:
            self._warn(f"{odd} samples were not finite or absurd")

    def _ended(self, position: int, reason: str | None) -> None:
        """Note an end that came too early."""
        promised, rate = self._reader.promised, self.sample_rate
        if promised is not None and promised - position > _TOLERANCE_SECONDS * rate:
            self._warn(
                f"ends after {position / rate:.2f} s of the {promised / rate:.2f} s that its "
                "header promises"
            )
        elif reason is not None:
            self._warn(f"decoding ended after {position / rate:.2f} s: {reason}")
        self._decoded = position

    def _cut(self, limit: int) -> None:
        self._warn(
            f"goes on; only its first {limit / self.sample_rate:,.2f} s were used, the longest "
            "that is allowed (max_duration)"
        )
        self._decoded = limit

    def _warn(self, text: str) -> None:
        self.warning = text if self.warning is None else f"{self.warning}; {text}"

    def _nothing(self) -> str:
        decoded = getattr(self, "_decoded", 0)
        if decoded:
            return f"holds {decoded / self.sample_rate:.2f} s, nothing from {self._part[0]} s on"
        return f"holds no samples ({self.warning})" if self.warning else "holds no samples"


def read(
    source: str | os.PathLike[str] | BinaryIO, *, start: float = 0.0, end: float | None = None
) -> Array:
    """A file's whole sound, or a part of it: float32 [n], mono, 16 kHz; see `Decoder`."""
    with Decoder(source, start=start, end=end) as decoder:
        return np.concatenate(list(decoder))


def to_mono_16k(samples: NDArray[Any], sample_rate: int) -> Array:
    """An array of any usual type as mono 16 kHz float32.

    Parameters
    ----------
    samples : [n] or [n, channels]
        Floats in [-1, 1] are taken as they are, integers by their full scale (int16 / 32768;
        unsigned ones have their middle at half of it).
    sample_rate : int
        Hz.

    Raises
    ------
    AudioError
        The array is empty, of another shape or type, or not finite.
    """
    name = "array"
    if samples.ndim not in (1, 2) or 0 in samples.shape:
        raise AudioError(name, f"expected [n] or [n, channels] samples, got {samples.shape}")
    if samples.ndim == 2 and samples.shape[1] > samples.shape[0]:  # as librosa and torch have it
        raise AudioError(
            name, f"expected [n, channels] samples, got {samples.shape}; transpose it first"
        )
    if sample_rate <= 0:
        raise AudioError(name, f"expected a sample rate above 0 Hz, got {sample_rate}")
    floats = scaled(samples)
    if not np.isfinite(floats).all():
        raise AudioError(name, "expected finite samples, got NaN or infinity")
    mono = down_mix(floats.reshape(len(floats), -1))
    mend(mono)
    if sample_rate == SAMPLE_RATE:
        return mono
    resampled: Array = soxr.resample(mono, sample_rate, SAMPLE_RATE, QUALITY)
    return resampled


def scaled(samples: NDArray[Any]) -> Array:
    """An array of any usual type as float32, integers by their full scale; see `to_mono_16k`."""
    if np.issubdtype(samples.dtype, np.integer):
        limits = np.iinfo(samples.dtype)
        middle = 0 if limits.min < 0 else (limits.max + 1) // 2
        whole = samples.astype(np.float64)
        floats = (whole - middle) / ((limits.max + 1) // (2 if middle else 1))
    elif np.issubdtype(samples.dtype, np.floating):
        floats = samples
    else:
        raise AudioError("array", f"expected integers or floats, got {samples.dtype}")
    with np.errstate(over="ignore"):
        single: Array = floats.astype(np.float32)
    return single


def down_mix(block: Array) -> Array:
    """Mean over the channels of float32 [n, channels], as a new array."""
    first, *others = block.T
    mono = np.array(first)
    for channel in others:
        mono += channel
    mono /= np.float32(block.shape[1])
    return mono


def mend(mono: Array) -> int:
    """Make every sample finite and sane, in place; count those that were not."""
    with np.errstate(invalid="ignore"):
        if np.abs(mono).max() <= _ABSURD:  # false for NaN too
            return 0
        odd = ~(np.abs(mono) <= _ABSURD)
    count = int(odd.sum())
    np.nan_to_num(mono, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    np.clip(mono, -_ABSURD, _ABSURD, out=mono)
    return count


def _open(source: str | os.PathLike[str] | BinaryIO, name: str, longest: float | None) -> BinaryIO:
    if isinstance(source, str) and is_url(source):
        try:
            return fetched(absolute(source))
        except OSError as error:
            raise AudioError(name, error_text(error)) from error
    if isinstance(source, (str, os.PathLike)):
        try:
            mode = os.stat(source).st_mode
            if not stat.S_ISREG(mode):
                what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
                raise AudioError(name, f"is {what}")
            return open(source, "rb", buffering=0)
        except (OSError, ValueError) as error:
            raise AudioError(name, error_text(error)) from error
    return source if source.seekable() else spooled(source, name, longest, _seconds_in)


def _seconds_in(file: BinaryIO) -> float | None:
    """How many seconds of sound are in a file, of which only the beginning may be there."""
    try:
        with Decoder(file) as decoder:
            return sum(map(len, decoder)) / SAMPLE_RATE
    except AudioError:
        return None


def _name(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return plain(os.fspath(source))
    if source is sys.stdin.buffer:
        return "standard input"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "stream"
