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

from benchmarks.faults.children import Report, in_child
from benchmarks.faults.commands import few_rows_get_an_index, store_random
from benchmarks.vectors import bundled_settings
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


def flip_bits(folder: Path, name: str, flips: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Flip bits of one file of a library, one at a time, and ask it everything."""
    library, trial = folder / "library", folder / f"trial-{name}"
    expected = in_child(lambda _report: _answers(library)).value
    rng = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    said = []
    for _ in range(flips):
        shutil.rmtree(trial, ignore_errors=True)
        shutil.copytree(library, trial)
        data = bytearray((trial / name).read_bytes())
        bit = int(rng.integers(len(data) * 8))
        data[bit // 8] ^= 1 << bit % 8
        (trial / name).write_bytes(data)
        asked = in_child(lambda _report: _answers(trial))
        checked = in_child(lambda _report: _findings(trial))
        if {asked.end, checked.end} & {"internal", "crashed", "hung"}:
            column = "traceback"
        elif asked.end == "refused":
            column = "refused"
        elif asked.value == expected:
            column = "ended"
        else:
            column = "checked" if checked.end == "refused" or checked.value else "wrong"
        counts[column] += 1
        if column in ("traceback", "wrong"):
            said.append(f"{name}, bit {bit}: {_differing(asked.value, expected)}")
    shutil.rmtree(trial, ignore_errors=True)
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


def break_sounds(
    folder: Path, format: str, mutants: int, seed: int
) -> tuple[Counter[str], list[str]]:
    """Decode broken files of a format; each ends in sound or in an `AudioError`."""
    data = written(format)
    counts: Counter[str] = Counter()
    said: list[str] = []
    if data is None:
        return counts, said
    path = folder / f"broken.{format.replace('/', '-')}"
    first = 0
    while first < mutants:
        outcome = in_child(_decoding(path, data, range(first, mutants), seed))
        counts.update(line for line in outcome.reported if line != "begun")
        if outcome.end == "done":
            break
        # The one that was begun and not finished.
        first += sum(line == "begun" for line in outcome.reported)
        counts["traceback"] += 1
        said.append(f"{format}, mutant {first - 1}: {outcome.end}: {outcome.value}")
    with suppress(FileNotFoundError):
        path.unlink()
    return counts, said


def _decoding(path: Path, data: bytes, numbers: range, seed: int) -> Callable[[Report], None]:
    def decode(report: Report) -> None:
        for number in numbers:
            path.write_bytes(_mutant(data, np.random.default_rng([seed, number])))
            report("begun")
            try:
                samples = sum(_lengths(path))
            except AudioError:
                report("refused")
            else:
                report("ended" if samples <= _MOST else "wrong")

    return decode


def _lengths(path: Path) -> Iterator[int]:
    with Decoder(path) as decoder:
        for block in decoder:
            if not np.isfinite(block).all():
                raise ValueError("samples that are not finite")
            yield len(block)
