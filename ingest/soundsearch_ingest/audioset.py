"""AudioSet's released features (TFRecord files) and segment lists (CSV).

A feature record is a ``tf.train.SequenceExample``: 128 bytes for every second of a clip, produced
by VGGish, PCA and 8-bit quantisation, with the clip's id, its place in a video and its labels.
"""

from __future__ import annotations

import contextlib
import csv
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import tfrecord
from .errors import AudioError

__all__ = ["ListedClip", "Record", "read_list", "read_records", "write_list", "write_records"]

Path = str | os.PathLike[str]
_Value = TypeVar("_Value")

_WIDTH = 128
_EMBEDDING = "audio_embedding"
# Not AudioSet's: readers that ask for its features by name pass over this one.
_MASKED = "masked_labels"
# The last header line of a list names the columns; a fifth one is taken for masks only where it
# says so, as labels that someone forgot to quote look the same.
_COLUMNS = "YTID, start_seconds, end_seconds, positive_labels"
_COUNTS_WIDTH = 120
# What precedes the 128 bytes of each second, as protobuf's own writers encode it.
_ROW_START = np.frombuffer(
    tfrecord.encode_list([tfrecord.encode_strings([bytes(_WIDTH)])])[:-_WIDTH], np.uint8
)


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """The features of one AudioSet clip.

    Attributes
    ----------
    video_id : str
        YouTube's id of the video.
    start, end : float
        The clip's place in the video, in seconds; files hold float32.
    labels : tuple of int
        Class indices: rows of ``class_labels_indices.csv``, from 0.
    features : uint8 [seconds, 128]
        Post-processed VGGish embeddings, one per second, not dequantised: 0 to 255 stand for -2
        to 2. AudioSet has up to 10 per clip.
    masked : tuple of int
        Class indices of which nothing is said: neither labels nor certainly absent. In the
        feature ``masked_labels``, which AudioSet's own files lack.
    """

    video_id: str
    start: float
    end: float
    labels: tuple[int, ...]
    features: NDArray[np.uint8]
    masked: tuple[int, ...] = ()

    @property
    def uri(self) -> str:
        """The address of the video at the second in which the clip starts."""
        return f"https://www.youtube.com/watch?v={self.video_id}&t={int(self.start)}"


@dataclass(frozen=True, slots=True)
class ListedClip:
    """A row of AudioSet's segment lists.

    Attributes
    ----------
    video_id : str
        YouTube's id of the video.
    start, end : float
        The clip's place in the video, in seconds.
    mids : tuple of str
        Labels, as ids of the ontology such as ``/m/03v3yw``.
    masked : tuple of str
        Ids of which nothing is said, from the column ``masked_labels``, which AudioSet's own lists
        lack.
    line : int
        The line of the file, from 1; 0 for a clip that was not read.
    """

    video_id: str
    start: float
    end: float
    mids: tuple[str, ...]
    masked: tuple[str, ...] = ()
    line: int = field(default=0, compare=False)


def read_records(path: Path | BinaryIO) -> Iterator[Record]:
    """Read a TFRecord file of AudioSet features, one record at a time.

    Parameters
    ----------
    path : path or binary file

    Yields
    ------
    Record

    Raises
    ------
    AudioError
        While iterating, after the records before the fault: the file cannot be read, is truncated
        or fails a checksum, or a record is not a ``SequenceExample`` or lacks its id, times or
        features. The message counts records from 1 and bytes from 0.
    SoundsearchError
        The extra ``audioset`` is not installed.
    """
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else "file"
    number, offset = 1, 0
    try:
        with open(name, "rb") if isinstance(path, (str, os.PathLike)) else path as file:
            for payload in tfrecord.payloads(file):
                yield _decode(payload)
                number += 1
                offset += tfrecord.OVERHEAD + len(payload)
    except OSError as error:
        raise AudioError(name, error.strerror or str(error)) from error
    except ValueError as error:
        raise AudioError(name, f"record {number} at byte {offset}: {error}") from error


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write a TFRecord file of AudioSet features; an existing file is replaced at the end.

    Parameters
    ----------
    path : path
    records : iterable of Record
        Times are rounded to float32.

    Raises
    ------
    AudioError
        `read_records` would refuse a record, or the file cannot be written. An existing file stays
        unchanged.
    SoundsearchError
        The extra ``audioset`` is not installed.
    """
    name = os.fspath(path)
    number = 1
    try:
        with _replaced(name) as file:
            for record in records:
                file.write(tfrecord.frame(_encode(record)))
                number += 1
    except (OverflowError, TypeError, ValueError) as error:
        raise AudioError(name, f"record {number}: {error}") from error


@contextlib.contextmanager
def _replaced(name: str) -> Iterator[BinaryIO]:
    """A file that takes the place of another once all is written."""
    temporary = f"{name}.new"
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, name)
    except OSError as error:
        raise AudioError(name, error.strerror or str(error)) from error
    finally:
        with contextlib.suppress(OSError):  # after success it is gone
            os.unlink(temporary)


def read_list(path: Path) -> Iterator[ListedClip]:
    """Read an AudioSet segment list, one row at a time; lines that start with ``#`` are skipped.

    Parameters
    ----------
    path : path
        A file of rows like ``-0RWZT-miFs, 420.000, 430.000, "/m/03v3yw,/m/0k4j"``. If a header line
        ends in ``masked_labels``, rows have a fifth field: ids like the fourth's, or none.

    Yields
    ------
    ListedClip

    Raises
    ------
    AudioError
        While iterating, after the rows before the fault: the file cannot be read, or a line is
        not such a row. The message counts lines from 1.
    """
    name = os.fspath(path)
    number, fields = 1, 4
    try:
        with open(name, "rb") as file:
            for line in file:
                if line.startswith(b"#"):
                    fields = 5 if line.strip().endswith(_MASKED.encode()) else fields
                elif line.strip():
                    yield _listed_clip(line.decode().strip(), fields, number)
                number += 1
    except OSError as error:
        raise AudioError(name, error.strerror or str(error)) from error
    except (ValueError, csv.Error) as error:
        raise AudioError(name, f"line {number}: {error}") from error


def _listed_clip(line: str, fields: int, number: int) -> ListedClip:
    row = next(csv.reader([line], skipinitialspace=True, strict=True))
    if len(row) != fields:
        columns = 'id, start, end, "labels"' + (', "masked labels"' if fields == 5 else "")
        raise ValueError(f"expected {columns}, got {len(row)} fields")
    video_id, start, end, labels, *masked = row
    hidden = tuple(masked[0].split(",")) if masked and masked[0] else ()
    clip = ListedClip(video_id, float(start), float(end), tuple(labels.split(",")), hidden, number)
    _check_place(clip)
    for mids in (clip.mids, hidden):
        if not all(mid.startswith("/") for mid in mids):
            raise ValueError(f"expected labels like /m/03v3yw, got {','.join(mids)!r}")
    return clip


def write_list(path: Path, clips: Iterable[ListedClip], title: str, *, masks: bool) -> None:
    """Write an AudioSet segment list; an existing file is replaced at the end.

    Parameters
    ----------
    path : path
    clips : iterable of ListedClip
    title : str
        The first header line, without line breaks.
    masks : bool
        Whether there is a column ``masked_labels``; without, no clip may have masks.

    Raises
    ------
    AudioError
        `read_list` would refuse a row, or the file cannot be written. An existing file stays
        unchanged.
    """
    name = os.fspath(path)
    fields = 5 if masks else 4
    videos: set[str] = set()
    labels: set[str] = set()
    rows = positive = 0

    def counts() -> bytes:
        text = (
            f"# num_ytids={len(videos)}, num_segs={rows}, num_unique_labels={len(labels)}, "
            f"num_positive_labels={positive}"
        )
        return f"{text:{_COUNTS_WIDTH}}\n".encode()

    try:
        with _replaced(name) as file:
            file.write(f"# {title}\n".encode())
            place = file.tell()
            file.write(counts())
            file.write(f"# {_COLUMNS}{f', {_MASKED}' if masks else ''}\n".encode())
            for clip in clips:
                line = _row(clip, masks)
                if line.startswith("#") or _listed_clip(line, fields, 0) != clip:
                    raise ValueError(f"expected what can be read back, got {line!r}")
                file.write(f"{line}\n".encode())
                videos.add(clip.video_id)
                labels.update(clip.mids)
                rows, positive = rows + 1, positive + len(clip.mids)
            file.seek(place)
            file.write(counts())  # known now, and as long as before
    except (ValueError, csv.Error) as error:
        raise AudioError(name, f"row {rows + 1}: {error}") from error


def _row(clip: ListedClip, masks: bool) -> str:
    fields = [clip.video_id, _seconds(clip.start), _seconds(clip.end), _quoted(clip.mids)]
    return ", ".join([*fields, _quoted(clip.masked)] if masks else fields)


def _seconds(value: float) -> str:
    """Seconds as AudioSet writes them, with more digits only where they are needed."""
    text = f"{value:.3f}"
    return text if float(text) == value else repr(value)


def _quoted(mids: tuple[str, ...]) -> str:
    return '"{}"'.format(",".join(mids))


def _check_place(clip: Record | ListedClip) -> None:
    if not clip.video_id:
        raise ValueError("expected a video id, got an empty one")
    if not 0 <= clip.start <= clip.end < math.inf:  # also false for NaN
        raise ValueError(f"expected 0 <= start <= end, got {clip.start} to {clip.end} s")


def _decode(payload: bytes) -> Record:
    context, lists = tfrecord.parse(payload)
    if _EMBEDDING not in lists:
        raise ValueError(f"expected a list of features {_EMBEDDING}, got {sorted(lists)}")
    record = Record(
        _only(tfrecord.strings(context.get("video_id", b"")), "video_id").decode(),
        _only(tfrecord.floats(context.get("start_time_seconds", b"")), "start_time_seconds"),
        _only(tfrecord.floats(context.get("end_time_seconds", b"")), "end_time_seconds"),
        tuple(tfrecord.integers(context.get("labels", b""))),
        _features(lists[_EMBEDDING]),
        tuple(tfrecord.integers(context.get(_MASKED, b""))),
    )
    _check_place(record)
    for indices in (record.labels, record.masked):
        if min(indices, default=0) < 0:
            raise ValueError(f"expected labels from 0 up, got {list(indices)}")
    return record


def _only(values: list[_Value], name: str) -> _Value:
    if len(values) != 1:
        raise ValueError(f"expected one {name}, got {len(values)}")
    return values[0]


def _features(rows: bytes) -> NDArray[np.uint8]:
    """Decode a list of features with one string each to uint8 [seconds, 128]."""
    table = np.frombuffer(rows, np.uint8)
    if not len(table) % (len(_ROW_START) + _WIDTH):
        table = table.reshape(-1, len(_ROW_START) + _WIDTH)
        if (table[:, : len(_ROW_START)] == _ROW_START).all():
            return table[:, len(_ROW_START) :].copy()
    strings = [
        _only(tfrecord.strings(feature), f"string in each feature of {_EMBEDDING}")
        for feature in tfrecord.features(rows)
    ]
    for string in strings:
        if len(string) != _WIDTH:
            raise ValueError(
                f"expected {_WIDTH} bytes in each feature of {_EMBEDDING}, got {len(string)}"
            )
    return np.frombuffer(bytearray().join(strings), np.uint8).reshape(-1, _WIDTH)


def _encode(record: Record) -> bytes:
    rows = np.asarray(record.features).astype(np.uint8, casting="safe", copy=False)
    payload = tfrecord.encode_example(
        {
            "video_id": tfrecord.encode_strings([record.video_id.encode()]),
            "start_time_seconds": tfrecord.encode_floats([record.start]),
            "end_time_seconds": tfrecord.encode_floats([record.end]),
            "labels": tfrecord.encode_integers(record.labels),
            **({_MASKED: tfrecord.encode_integers(record.masked)} if record.masked else {}),
        },
        {
            _EMBEDDING: tfrecord.encode_list(
                tfrecord.encode_strings([row.tobytes()]) for row in rows
            )
        },
    )
    _decode(payload)  # refuses what could not be read back
    return payload
