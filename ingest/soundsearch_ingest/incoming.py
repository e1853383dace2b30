"""Sound as it comes, from a pipe or another stream -> mono 16 kHz float32, in blocks.

Nothing waits for more than is there, and nothing is kept. Raw sound and WAV are read here, as
the headers of WAV files that a program writes into a pipe are wrong about their length; FFmpeg
(PyAV) reads FLAC, Ogg, MP3, AAC, Matroska, WebM and MPEG-TS.
"""

from __future__ import annotations

import io
import re
import select
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import soxr
from numpy.typing import NDArray

from .decode import QUALITY, SAMPLE_RATE, down_mix, mend, scaled
from .errors import ArgumentError, AudioError
from .readers import error_text, open_container

__all__ = ["RawFormat", "incoming", "incoming_arrays"]

Floats = NDArray[np.float32]
OnWarning = Callable[[str], None]
# Sound at some rate, float32 [n, channels].
Piece = tuple[int, Floats]

_READ = 1 << 16
# A writer of small pieces is given so many seconds to write more of them: each read costs the same.
_SMALL, _PAUSE = 4096, 0.02
# How often who waits for more looks whether it is still wanted, seconds.
_TURN = 0.1
# Titles and covers may come before the sound of a WAV file, but not more of them.
_PATIENCE = 1 << 25
# Lengths in headers of WAV files from here on, and 0, mean that the writer did not know it.
_UNKNOWN = 0x7FFFF000
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_ADVICE = (
    "for raw samples say --format CODING:HZ:CHANNELS, as in s16le:16000:1; what must be there "
    "whole, as many MP4 files, is heard without --live"
)
# Faults that follow each other before a stream is given up.
_MANY = 1000
# What FFmpeg reads of a stream before it says what it is, bytes.
_PROBE = 1 << 14

_TYPES = {
    "u8": "u1",
    "s8": "i1",
    **{
        f"s{bits}{end}e": f"{'<' if end == 'l' else '>'}i{bits // 8}"
        for bits in (16, 24, 32)
        for end in "lb"
    },
    **{
        f"f{bits}{end}e": f"{'<' if end == 'l' else '>'}f{bits // 8}"
        for bits in (32, 64)
        for end in "lb"
    },
}
_RATES, _CHANNELS = (1000, 768_000), (1, 64)


@dataclass(frozen=True, slots=True)
class RawFormat:
    """How raw sound is written: samples one after the other, without a header.

    Attributes
    ----------
    coding : str
        ``s16le``, ``s16be``, ``s24le``, ``s24be``, ``s32le``, ``s32be``, ``s8``, ``u8``, ``f32le``,
        ``f32be``, ``f64le`` or ``f64be``.
    sample_rate : int
        Hz.
    channels : int
        Samples of all of them at one time follow each other.
    """

    coding: str
    sample_rate: int
    channels: int

    @classmethod
    def parse(cls, text: str) -> RawFormat:
        """What ``s16le:16000:1`` says: coding, Hz and channels; ``S16_LE`` is ``s16le``.

        Raises
        ------
        ArgumentError
        """
        parts = re.fullmatch(r"(\w+):(\d{1,9}):(\d{1,9})", text, re.ASCII)
        if parts is None:
            raise ArgumentError(
                f"format: expected CODING:HZ:CHANNELS, as in s16le:16000:1, got {text!r}"
            )
        coding = parts[1].lower().replace("_", "")
        if coding not in _TYPES:
            raise ArgumentError(f"format: expected one of {', '.join(_TYPES)}, got {parts[1]!r}")
        rate, channels = int(parts[2]), int(parts[3])
        for what, got, (least, most) in (
            ("Hz", rate, _RATES),
            ("channels", channels, _CHANNELS),
        ):
            if not least <= got <= most:
                raise ArgumentError(f"format: expected {least} to {most} {what}, got {got}")
        return cls(coding, rate, channels)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of each channel."""
        return int(_TYPES[self.coding][-1]) * self.channels

    def floats(self, data: bytes) -> Floats:
        """Whole frames as float32 [n, channels]; full scale is 1."""
        kind = _TYPES[self.coding]
        if kind[-1] == "3":
            parts = np.frombuffer(data, np.uint8).reshape(-1, 3)[:, :: 1 if kind[0] == "<" else -1]
            wide = np.zeros((len(parts), 4), np.uint8)
            wide[:, 1:] = parts
            samples: NDArray[Any] = wide.view("<i4").ravel()
        else:
            samples = np.frombuffer(data, kind)
        with np.errstate(over="ignore", invalid="ignore"):  # absurd floats are mended
            return scaled(samples).reshape(-1, self.channels)


class _Stream:
    """What a binary file has by now."""

    def __init__(self, file: BinaryIO, closed: threading.Event) -> None:
        self._closed = closed
        # Who waits within a read cannot leave it. What else has a descriptor may hold back what it
        # has read from there, as a connection does.
        self._poll: select.poll | None = None
        if isinstance(getattr(file, "raw", file), io.FileIO) and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(file, select.POLLIN)
        self._read: Callable[[int], bytes | None] = getattr(file, "read1", file.read)
        self._before = b""
        self._ended = False
        self.name = _name(file)

    def read(self, size: int = _READ) -> bytes:
        """At most so many bytes; b"" at the end, and only there."""
        if self._before:
            before, self._before = self._before[:size], self._before[size:]
            return before
        if self._ended:
            return b""  # a terminal would be read on
        while (data := self._next(size)) is None:
            time.sleep(_PAUSE)  # a descriptor that does not block
        self._ended = not data
        return data

    def _next(self, size: int) -> bytes | None:
        while not self._closed.is_set() and self._poll and not self._poll.poll(1000 * _TURN):
            pass
        if self._closed.is_set():
            raise AudioError(self.name, "is read no more")
        try:
            data = self._read(size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise AudioError(self.name, f"cannot be read: {error_text(error)}") from error
        if data and len(data) < min(size, _SMALL):
            time.sleep(_PAUSE)
        return data

    def exactly(self, size: int) -> bytes:
        """So many bytes, or what there is before the end."""
        parts: list[bytes] = []
        while size and (data := self.read(min(size, _READ))):
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def unread(self, data: bytes) -> None:
        """Give it again."""
        self._before = data + self._before


def incoming(
    file: BinaryIO,
    format: RawFormat | None = None,
    on_warning: OnWarning = lambda _text: None,
    closed: threading.Event | None = None,
) -> Iterator[Floats]:
    """Mono 16 kHz sound of a stream, as it comes.

    Parameters
    ----------
    file : binary file
        Read with `read1`, where it has that, else `read`, of which a raw file gives what is there.
    format : RawFormat, optional
        How its sound is written; by default its header says it.
    on_warning : callable
        Told once, when it is noticed, what is odd: samples that are not finite, which are taken as
        0; damage, which is passed over; an end that comes too early.
    closed : threading.Event, optional
        Once it is set, nothing more is read; a file or a pipe that gives nothing is not waited for.

    Yields
    ------
    float32 [n]
        As of `soundsearch_ingest.decode.Decoder`; blocks of any length.

    Raises
    ------
    AudioError
        The stream is no sound, or cannot be read, or is `closed`.
    """
    stream = _Stream(file, closed or threading.Event())
    yield from _heard(_pieces(stream, format, on_warning), stream.name, on_warning)


def incoming_arrays(
    blocks: Iterable[NDArray[Any]], rate: int, on_warning: OnWarning = lambda _text: None
) -> Iterator[Floats]:
    """Mono 16 kHz sound of arrays that follow each other, [n] or [n, channels].

    As `incoming` otherwise; values are taken as of `soundsearch_ingest.decode.to_mono_16k`.
    """
    name = "array"
    _check_rate(name, rate)

    def pieces() -> Iterator[Piece]:
        channels = 0
        for block in blocks:
            array = np.asarray(block)
            if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] == 0):
                raise AudioError(name, f"expected [n] or [n, channels] samples, got {array.shape}")
            if array.ndim == 2 and array.shape[1] != channels:
                if 0 < array.shape[0] < array.shape[1]:
                    raise AudioError(
                        name,
                        f"expected [n, channels] samples, got {array.shape}; transpose it first",
                    )
                channels = array.shape[1]
            for begin in range(0, len(array), _READ):
                some = array[begin : begin + _READ]
                yield rate, scaled(some).reshape(len(some), -1)

    yield from _heard(pieces(), name, on_warning)


def _check_rate(name: str, rate: Any) -> None:
    is_number = isinstance(rate, (int, float, np.number))
    if not is_number or not _RATES[0] <= rate <= _RATES[1]:
        raise AudioError(
            name, f"expected a sample rate of {_RATES[0]} to {_RATES[1]} Hz, got {rate!r}"
        )


def _heard(pieces: Iterable[Piece], name: str, on_warning: OnWarning) -> Iterator[Floats]:
    """Mono at 16 kHz, without what is not finite."""
    rate, resampler, odd, any_sound = 0, None, False, False
    for piece_rate, block in pieces:
        if piece_rate != rate:
            _check_rate(name, piece_rate)
            if resampler is not None:
                yield resampler.resample_chunk(np.empty(0, np.float32), last=True)
            rate, resampler = piece_rate, None
            if rate != SAMPLE_RATE:
                resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32", QUALITY)
        if not len(block):
            continue
        any_sound = True
        with np.errstate(over="ignore", invalid="ignore"):
            mono = down_mix(block)
        if mend(mono) and not odd:
            odd = True
            on_warning(f"{name}: has samples that are not finite or absurd; they are taken as 0")
        yield mono if resampler is None else resampler.resample_chunk(mono)
    if not any_sound:
        raise AudioError(name, "holds no samples")
    if resampler is not None:
        yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def _pieces(stream: _Stream, format: RawFormat | None, on_warning: OnWarning) -> Iterator[Piece]:
    if format is not None:
        return _raw(stream, format, None, on_warning)
    start = stream.exactly(12)
    if not start:
        raise AudioError(stream.name, "is empty")
    if start[:4] == b"RIFF" and start[8:] == b"WAVE":
        return _wav(stream, start, on_warning)
    stream.unread(start)
    return _container(stream, on_warning)


def _raw(
    stream: _Stream, format: RawFormat, left: int | None, on_warning: OnWarning
) -> Iterator[Piece]:
    """Samples to the end of a stream, or of the bytes that are left for them."""
    size, rest = format.frame_bytes, b""
    while left != 0 and (data := stream.read(_READ if left is None else min(_READ, left))):
        if left is not None:
            left -= len(data)
        data = rest + data
        whole = len(data) // size * size
        rest = data[whole:]
        if whole:
            yield format.sample_rate, format.floats(data[:whole])
    if rest:
        on_warning(
            f"{stream.name}: ends within a sample; expected {size} bytes for each of "
            f"{format.channels} channels together, got {len(rest)} at the end, which are left out"
        )
    if left:
        on_warning(f"{stream.name}: ends {left} bytes before its header says")


def _wav(stream: _Stream, start: bytes, on_warning: OnWarning) -> Iterator[Piece]:
    header, format = bytearray(start), None
    while True:
        chunk = stream.exactly(8)
        header += chunk
        name, size = chunk[:4], int.from_bytes(chunk[4:], "little")
        if name == b"data" and format is not None:
            is_unknown = size == 0 or size >= _UNKNOWN
            return _raw(stream, format, None if is_unknown else size, on_warning)
        if len(chunk) < 8 or len(header) + size > _PATIENCE:
            raise AudioError(stream.name, "is a WAV file without samples")
        body = stream.exactly(size + size % 2)
        header += body
        if name == b"fmt ":
            format = _wav_format(body)
            if format is None:
                stream.unread(bytes(header))
                return _container(stream, on_warning)


def _wav_format(body: bytes) -> RawFormat | None:
    """The format of samples as a WAV file says it; None for others than plain samples."""
    numbers = [int.from_bytes(body[at : at + 2], "little") for at in range(0, len(body) - 1, 2)]
    if len(numbers) < 8:
        return None
    tag, channels, bits = numbers[0], numbers[1], numbers[7]
    if tag == _EXTENSIBLE and len(numbers) > 12:
        tag = numbers[12]
    rate = int.from_bytes(body[4:8], "little")
    coding = {_PCM: "u8" if bits == 8 else f"s{bits}le", _FLOAT: f"f{bits}le"}.get(tag, "")
    if numbers[6] * 8 != bits * channels:
        return None
    try:
        return RawFormat.parse(f"{coding}:{rate}:{channels}")
    except ArgumentError:
        return None


class _OneWay:
    """A stream as FFmpeg reads it: what is there, and never back."""

    def __init__(self, stream: _Stream) -> None:
        self.read = stream.read


class _Planar:
    """Frames of any kind, which may change, as pieces."""

    def __init__(self) -> None:
        self._form: tuple[str, str, int] | None = None
        self._resampler: Any = None

    def pieces(self, frame: Any) -> list[Piece]:
        import av

        frame.pts = None  # do not fill gaps in the timeline
        form = frame.format.name, frame.layout.name, frame.sample_rate
        if form != self._form:
            self._resampler, self._form = av.AudioResampler(format="fltp"), form
        return [(part.sample_rate, part.to_ndarray().T) for part in self._resampler.resample(frame)]


def _container(stream: _Stream, on_warning: OnWarning) -> Iterator[Piece]:
    import av

    faults = (av.error.FFmpegError, OSError, ValueError)
    try:
        container = open_container(_OneWay(stream), probesize=str(_PROBE))
    except faults as error:
        raise AudioError(
            stream.name,
            f"is not audio that can be read as it comes ({error_text(error)}); {_ADVICE}",
        ) from error
    with container:
        if not container.streams.audio:
            raise AudioError(stream.name, "holds no sound, only video or data")
        sound = container.streams.audio[0]
        if sound.codec_context is None:
            raise AudioError(stream.name, "its sound has a coding that FFmpeg does not know")
        planar = _Planar()
        faulty, count = 0, 0
        is_damaged = False
        packets = container.demux(sound)
        while True:
            try:
                pieces = [piece for f in next(packets).decode() for piece in planar.pieces(f)]
                faulty = 0
            except StopIteration:
                break
            except av.error.InvalidDataError:
                pieces, faulty = [], faulty + 1
                packets = container.demux(sound)  # a fault has ended the one before
                if count and not is_damaged:
                    is_damaged = True
                    on_warning(f"{stream.name}: is damaged in places, which are passed over")
                if faulty > _MANY:
                    break
            except faults as error:
                on_warning(f"{stream.name}: decoding ended: {error_text(error)}")
                break
            count += len(pieces)
            yield from pieces
    if not count:
        raise AudioError(stream.name, f"gives no sound as it comes; {_ADVICE}")


def _name(file: Any) -> str:
    name = getattr(file, "name", None)
    if name in (0, "<stdin>") or (sys.stdin is not None and file is sys.stdin.buffer):
        return "standard input"
    return name if isinstance(name, str) else "stream"
