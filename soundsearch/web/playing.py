"""What browsers play, and what they do not as what they do."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from soundsearch_ingest.errors import AudioError
from soundsearch_ingest.readers import ContainerReader, SoundFileReader, error_text
from soundsearch_ingest.sources import fetched
from soundsearch_ingest.urls import is_url, plain

__all__ = ["opened", "playable", "written"]

Floats = NDArray[np.float32]
Part = tuple[float, float | None]

_WAV, _FLAC = "audio/wav", "audio/flac"
# A disk with fewer free bytes is full.
_LITTLE = 1 << 16
# Rates that every browser plays, Hz.
_LOWEST, _HIGHEST = 8000, 48_000
# Of what libsndfile reads: format and coding -> media type. Others, such as WAV of 24 bits or in
# floats, play in some browsers only.
_PLAYED = {
    ("WAV", "PCM_U8"): _WAV,
    ("WAV", "PCM_16"): _WAV,
    ("WAVEX", "PCM_16"): _WAV,
    ("FLAC", "PCM_16"): _FLAC,
    ("FLAC", "PCM_24"): _FLAC,
    ("OGG", "VORBIS"): "audio/ogg",
    ("OGG", "OPUS"): "audio/ogg",
    ("MP3", "MPEG_LAYER_III"): "audio/mpeg",
    ("MPEG", "MPEG_LAYER_III"): "audio/mpeg",
}
# Of what FFmpeg reads.
_CONTAINED = {("mp4", "aac"): "audio/mp4", ("webm", "opus"): "audio/webm"}


@contextmanager
def opened(uri: str) -> Iterator[BinaryIO]:
    """The file of a clip, or a copy of a member of an archive; raises AudioError."""
    shown = plain(uri)
    try:
        file = fetched(uri) if is_url(uri) else _opened(uri)
    except (OSError, ValueError) as error:
        raise AudioError(shown, error_text(error)) from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise AudioError(shown, "is no file any more")
        yield file


def _opened(path: str) -> BinaryIO:
    """Open a file; one that was replaced by a pipe is not waited for."""
    flags = getattr(os, "O_NONBLOCK", 0)
    return open(path, "rb", buffering=0, opener=lambda name, mode: os.open(name, mode | flags))


def playable(file: BinaryIO, name: str) -> str | None:
    """The media type of a file that browsers play as it is; None for others.

    Raises
    ------
    AudioError
        It is no audio.
    """
    try:
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
            kind = _PLAYED.get((sound.format, sound.subtype))
            fits = sound.samplerate <= 2 * _HIGHEST and sound.channels <= 2
            return kind if fits else None
    except (soundfile.SoundFileError, ValueError):
        reader = ContainerReader(file, plain(name))
    kinds = (_CONTAINED.get((each, reader.codec)) for each in reader.containers)
    return next((kind for kind in kinds if kind is not None), None)


def written(file: BinaryIO, name: str, part: Part, longest: float, path: str, as_wav: bool) -> str:
    """Write a sound for browsers, 16 bits, at most two channels, 8 to 48 kHz.

    Parameters
    ----------
    file : binary file
    name : str
        For messages.
    part : (start, end)
        Seconds.
    longest : float
        More seconds are refused.
    path : str
        Where to write.
    as_wav : bool
        WAV, else FLAC, which takes half the room.

    Returns
    -------
    str
        The media type.

    Raises
    ------
    AudioError
        It gives no sound, or too much.
    """
    shown = plain(name)
    try:
        reader: Any = SoundFileReader(file)
    except (soundfile.SoundFileError, ValueError):
        reader = ContainerReader(file, shown)
    channels = 1 if reader.channels > 2 else reader.channels
    rate = min(max(reader.sample_rate, _LOWEST), _HIGHEST)
    total = 0
    options: Any = {"format": "WAV" if as_wav else "FLAC", "subtype": "PCM_16"}
    try:
        with soundfile.SoundFile(path, "w", rate, channels, **options) as out:
            for block in _resampled(_part(reader, part), reader.sample_rate, rate, channels):
                total += len(block)
                if total > longest * rate:
                    raise AudioError(
                        shown,
                        f"there are more than {longest:,.0f} s of it to be sent; ask for a part of "
                        "it, as in at=0-60",
                    )
                out.write(block)
    except soundfile.SoundFileError as error:  # which does not tell what the disk said
        if shutil.disk_usage(os.path.dirname(path)).free < _LITTLE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path) from error
        raise
    if not total:
        raise AudioError(shown, f"holds nothing from {part[0]:g} s on")
    return _WAV if as_wav else _FLAC


def _part(reader: Any, part: Part) -> Iterator[Floats]:
    """The wanted part, [n, channels], at most two, at the file's rate."""
    first = round(part[0] * reader.sample_rate)
    last = None if part[1] is None else round(part[1] * reader.sample_rate)
    position = reader.seek(first)
    try:
        for block in reader.blocks():
            begin, position = position, position + len(block)
            block = block[max(0, first - begin) : None if last is None else max(0, last - begin)]
            if len(block):
                mono = block.mean(axis=1, keepdims=True) if block.shape[1] > 2 else block
                yield np.clip(np.nan_to_num(mono), -1, 1)
            if last is not None and position >= last:
                return
    except reader.errors:
        return  # as for an ingest, what was decoded before a fault is the sound


def _resampled(blocks: Iterator[Floats], rate: int, wanted: int, channels: int) -> Iterator[Floats]:
    if rate == wanted:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, wanted, channels, "float32", "HQ")
    for block in blocks:
        yield np.clip(stream.resample_chunk(np.ascontiguousarray(block)), -1, 1)
    yield np.clip(stream.resample_chunk(np.empty((0, channels), np.float32), last=True), -1, 1)
