"""Decoders of audio files: blocks of samples at the file's own rate, all channels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from .errors import AudioError

__all__ = [
    "ContainerReader",
    "SoundFileReader",
    "error_text",
    "has_descriptor",
    "open_container",
]

Array = NDArray[np.float32]

# Of all channels together: they stay in a core's cache from the decoder to the resampler.
_BLOCK_SAMPLES = 1 << 17

# FFmpeg's demuxers for files with sound, without those that open further files or addresses.
_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,loas,matroska,mov,mp3,"
    "mpc,mpc8,mpeg,mpegts,mp4,m4a,3gp,nistsphere,nut,ogg,oma,rm,shn,tak,truehd,tta,voc,w64,wav,"
    "webm,wv,xwma"
)


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """Suppresses soundfile's seek after every read: slow, and fatal if a header is wrong."""

    def seekable(self) -> bool:
        return False


class SoundFileReader:
    """A file that libsndfile reads."""

    errors = (soundfile.SoundFileError, OSError)

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sound = self._open()
        self.sample_rate: int = self._sound.samplerate
        self.channels: int = self._sound.channels
        self.promised = self._promised_frames()

    def _open(self) -> _Sequential:
        self._file.seek(0)
        if has_descriptor(self._file):
            # C code reads a descriptor directly; a Python file needs a callback for every piece.
            os.lseek(self._file.fileno(), 0, os.SEEK_SET)
            return _Sequential(self._file.fileno(), closefd=False)
        return _Sequential(self._file)

    def _promised_frames(self) -> int | None:
        frames: int = self._sound.frames
        # libsndfile reduces the length of a truncated uncompressed file to what is there and says
        # so in its log. A length of all ones means a stream of unknown length.
        log = self._sound.extra_info
        if counted := re.search(r"value from 'ds64' chunk of (\d+)", log):
            return int(counted[1])
        cut = re.search(r"(?:data|SSND|riff)\s*: (\d+) \(should be (\d+)\)", log)
        if cut is not None and 0 < int(cut[1]) < 0x7FFFFF00 and int(cut[2]):
            return round(frames * int(cut[1]) / int(cut[2]))
        return frames if frames < 1 << 60 else None

    def seek(self, frame: int) -> int:
        """Seek to a frame, or to the start if this coding is not seekable; return the position."""
        if frame == 0 or not super(_Sequential, self._sound).seekable():
            return 0
        try:
            position: int = self._sound.seek(min(frame, self._sound.frames))
        except self.errors:  # a damaged file, or a coding that only claims to be seekable
            self._sound = self._open()
            return 0
        return position

    def _position(self) -> int:
        """The number of the next frame; 0 if the coding does not tell."""
        if not super(_Sequential, self._sound).seekable():
            return 0
        position: int = self._sound.tell()
        return position

    def blocks(self) -> Iterator[Array]:
        """Decode; each block is overwritten by the next."""
        block = np.empty((max(1, _BLOCK_SAMPLES // self.channels), self.channels), np.float32)
        position = self._position()
        while True:
            try:
                count = self._sound.buffer_read_into(block.data.cast("B"), "float32")
            except self.errors:
                # The block holds what was decoded before the fault.
                yield block[: max(0, self._position() - position)]
                raise
            position += count
            if count == 0:
                return
            yield block[:count]


class _Plain:
    """A file for FFmpeg that quietly refuses the invalid seeks that broken files cause."""

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read
        self.tell = file.tell
        self._seek = file.seek

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


def open_container(file: Any, **options: str) -> Any:
    """What FFmpeg makes of an object that can be read, and perhaps sought in.

    Raises FFmpegError, OSError or ValueError where it makes nothing of it.
    """
    import av

    av.logging.set_level(None)
    # Since version 19, titles that are not UTF-8 are not an error.
    lenient = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
    safe = {"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
    return av.open(file, **lenient, options={**safe, **options})


class ContainerReader:
    """A file that FFmpeg reads."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        import av

        self.errors = (av.error.FFmpegError, OSError, ValueError)
        file.seek(0)
        try:
            self._container = open_container(_Plain(file))
        except self.errors as error:
            raise AudioError(
                name, f"its content is not readable audio ({error_text(error)})"
            ) from error
        if not self._container.streams.audio:
            raise AudioError(name, "holds no sound, only video or data")
        self._stream = self._container.streams.audio[0]
        if self._stream.codec_context is None:
            raise AudioError(name, "its sound has a coding that FFmpeg does not know")
        self.sample_rate: int = self._stream.rate or 0
        self.channels: int = self._stream.channels
        self.containers: list[str] = self._container.format.name.split(",")
        self.codec: str = self._stream.codec_context.name
        if self.sample_rate <= 0 or self.channels <= 0:
            raise AudioError(name, "its sound has no sample rate or no channels")
        seconds = (
            float(self._stream.duration * self._stream.time_base)
            if self._stream.duration
            else (self._container.duration or 0) / 1_000_000  # av.time_base
        )
        self.promised = round(seconds * self.sample_rate) if seconds > 0 else None

    def seek(self, frame: int) -> int:
        return 0  # decoded from the start: seeking in these formats is not exact

    def blocks(self) -> Iterator[Array]:
        import av

        planar = av.AudioResampler(format="fltp")
        length = max(1, _BLOCK_SAMPLES // self.channels)
        parts: list[Array] = []
        held = 0
        try:
            for frame in self._container.decode(self._stream):
                frame.pts = None  # do not fill gaps in the timeline
                for part in planar.resample(frame):
                    if part.sample_rate != self.sample_rate:
                        raise ValueError("the sample rate changes within the file")
                    parts.append(part.to_ndarray().T)
                    held += len(parts[-1])
                if held >= length:
                    yield np.concatenate(parts)
                    parts, held = [], 0
        except self.errors:
            if parts:
                yield np.concatenate(parts)
            raise
        if parts:
            yield np.concatenate(parts)


def has_descriptor(file: BinaryIO) -> bool:
    """Return whether C code can read a file through its descriptor."""
    try:
        return file.fileno() >= 0
    except (AttributeError, OSError):
        return False


def error_text(error: BaseException) -> str:
    """The message of an error, without the path that an OSError repeats."""
    return getattr(error, "strerror", None) or str(error)
