"""Flipped bits in a library's files, and broken sounds of many formats."""

from __future__ import annotations

import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.random import Generator
from numpy.typing import NDArray
from soundsearch_ingest.decode import Decoder
from soundsearch_ingest.errors import AudioError

from benchmarks.faults.children import Report, Result, in_child
from benchmarks.faults.commands import few_rows_get_an_index, store_random
from benchmarks.vectors import bundled_settings
from soundsearch.errors import SoundsearchError
from soundsearch.library import Library
from soundsearch.stores.local.store import LocalStore

__all__ = ["FORMATS", "break_sounds", "flip_bits", "library_files", "written"]

_RATE = 16_000
# Samples that a broken file of a few seconds may hold: two hours.
_MOST = 2 * 3600 * _RATE


# Bits


def library_files(folder: Path) -> list[str]:
    """Make a library with an index; the names of its files."""
    few_rows_get_an_index()
    in_child(lambda _report: _make(folder))
    return sorted(path.name for path in (folder / "library").iterdir() if path.stat().st_size)


def _make(folder: Path) -> None:
    store_random(folder / "library", folder / "sounds", bundled_settings())
    with closing(LocalStore(folder / "library")) as store, store.writing():
        store.optimise()


def _answers(library: Path) -> list[Any]:
    """What the library says of everything in it."""
    with closing(Library(library)) as lib:
        uris = [clip.uri for clip in lib]
        found: list[Any] = [
            (hit.uri, round(hit.score, 3), hit.start, hit.end, str(hit.labels))
            for uri in uris
            for hit in lib.similar(uri, k=5)
        ]
        found += [(clip.uri, clip.duration, dict(clip.tags), str(clip.labels)) for clip in lib]
        found.append(len(lib.where("tag['number'] > 5 and duration < 50")))
        found.append(len(lib.where("label['Silence'] > 0.5")))
    return found


def flip_bits(folder: Path, name: str, flips: int, seed: int) -> Result:
    """Flip bits of one file of a library, one at a time, and ask it everything."""
    library, trial = folder / "library", folder / f"trial-{name}"
    expected = in_child(lambda _report: _answers(library)).value

    def flip(number: int) -> tuple[str, str]:
        shutil.rmtree(trial, ignore_errors=True)
        shutil.copytree(library, trial)
        data = bytearray((trial / name).read_bytes())
        bit = int(np.random.default_rng([seed, number]).integers(len(data) * 8))
        data[bit // 8] ^= 1 << bit % 8
        (trial / name).write_bytes(data)
        try:
            found = _answers(trial)
        except SoundsearchError:
            return "refused", ""
        if found == expected:
            return "ended", ""
        with suppress(SoundsearchError):
            if not _findings(trial):
                return "wrong", f"bit {bit}: {_differing(found, expected)}"
        return "checked", ""

    result = one_by_one(flip, flips, name)
    shutil.rmtree(trial, ignore_errors=True)
    return result


def one_by_one(act: Callable[[int], tuple[str, str]], count: int, name: str) -> Result:
    """Do something for each number, in a child, and in another where that crashes or hangs."""
    counts: Counter[str] = Counter()
    said: list[str] = []
    first = 0

    def all_from(report: Report) -> None:
        for number in range(first, count):
            report(" ".join(act(number)))

    while first < count:
        outcome = in_child(all_from)
        first += len(outcome.reported)
        for line in outcome.reported:
            column, _, text = line.partition(" ")
            counts[column] += 1
            if text:
                said.append(f"{name}, {text}")
        if outcome.end == "done":
            break
        said.append(f"{name}, number {first}: {outcome.end}: {outcome.value}")
        counts["traceback"] += 1
        first += 1
    return counts, said


def _findings(library: Path) -> list[str]:
    with closing(LocalStore(library)) as store:
        return [finding.what for finding in store.check()]


def _differing(found: Any, expected: list[Any]) -> str:
    if not isinstance(found, list):
        return str(found)
    pairs = [(a, b) for a, b in zip(found, expected, strict=False) if a != b]
    return f"{pairs[0][0]} for {pairs[0][1]}" if pairs else f"{len(found)} for {len(expected)}"


# Sounds

# Formats and codings of libsndfile, and containers and codecs of FFmpeg.
_SNDFILE = (
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("WAV", "G721_32"), ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AIFF", "FLOAT"),
    ("AU", "PCM_16"), ("AU", "G723_24"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"),
    ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"), ("VOC", "PCM_16"), ("SVX", "PCM_16"), ("NIST", "PCM_16"),
    ("IRCAM", "PCM_16"), ("PAF", "PCM_16"), ("AVR", "PCM_16"), ("MAT5", "PCM_16"),
    ("HTK", "PCM_16"),
)  # fmt: skip
_FFMPEG = (
    ("mp4", "aac"), ("adts", "aac"), ("ipod", "alac"), ("matroska", "flac"), ("webm", "libopus"),
    ("wv", "wavpack"), ("tta", "tta"), ("asf", "wmav2"), ("ac3", "ac3"), ("mp2", "mp2"),
    ("mpegts", "mp2"), ("avi", "pcm_s16le"), ("mov", "pcm_s16be"),
)  # fmt: skip
FORMATS = tuple(f"{one}/{other}" for one, other in (*_SNDFILE, *_FFMPEG))


def written(format: str) -> bytes | None:
    """Two seconds of sound in a format; None where it cannot be written here."""
    kind, coding = format.split("/")
    rng = np.random.default_rng(0)
    sound = (rng.normal(0, 0.1, 2 * _RATE)).astype(np.float32)
    file = io.BytesIO()
    try:
        if kind.isupper():
            rate = 8000 if coding in ("GSM610", "G721_32", "G723_24") else _RATE
            soundfile.write(file, sound, rate, format=kind, subtype=coding)
        else:
            _encode(file, kind, coding, sound)
    except (ValueError, TypeError, soundfile.SoundFileError, av.FFmpegError):
        return None
    return file.getvalue()


def _encode(file: io.BytesIO, kind: str, codec: str, sound: NDArray[np.float32]) -> None:
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=48_000)
        stream.layout = "mono"
        stream.codec_context.open()
        samples = (sound * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = _RATE
        size = stream.frame_size or 1024
        convert = av.AudioResampler(stream.format, "mono", 48_000, frame_size=size)
        for part in [*convert.resample(frame), *convert.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


def _mutant(data: bytes, rng: Generator) -> bytes:
    """The same, broken somehow: more often near the beginning, where headers are."""
    size = len(data)
    at = int(size * rng.random() ** 3)
    length = int(rng.integers(1, max(2, min(size // 2, 2000))))
    match int(rng.integers(7)):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + bytes(length) + data[at + length :]
        case 2:
            return data[:at] + data[at + length :]
        case 3:
            return data[: at + length] + data[at:]
        case 4:
            return data[:at] + rng.bytes(length) + data[at + length :]
        case 5:
            return data[:at] + b"\xff" * 4 + data[at + 4 :]
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        changed[int(size * rng.random() ** 3)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def break_sounds(folder: Path, format: str, mutants: int, seed: int) -> Result:
    """Decode broken files of a format; each ends in sound or in an `AudioError`."""
    data = written(format)
    if data is None:
        return Counter(), []
    path = folder / f"broken.{format.replace('/', '-')}"

    def decode(number: int) -> tuple[str, str]:
        path.write_bytes(_mutant(data, np.random.default_rng([seed, number])))
        try:
            samples = sum(_lengths(path))
        except AudioError:
            return "refused", ""
        return ("ended", "") if samples <= _MOST else ("wrong", f"{number}: {samples} samples")

    result = one_by_one(decode, mutants, format)
    path.unlink(missing_ok=True)
    return result


def _lengths(path: Path) -> Iterator[int]:
    with Decoder(path) as decoder:
        for block in decoder:
            if not np.isfinite(block).all():
                raise ValueError("samples that are not finite")
            yield len(block)
