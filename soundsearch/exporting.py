"""Writing the clips of a selection to one file: for NumPy, for a table, or for a spreadsheet."""

from __future__ import annotations

import csv
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.extras import needs
from soundsearch_ingest.files import expanded

from .errors import ArgumentError, SoundsearchError
from .gathering import pooled, portions
from .labels.head import unlabelled
from .labels.kept import vocabulary_of
from .labels.vocabulary import AUDIOSET, Vocabulary
from .stores.base import Reading
from .stores.records import CLIP_LABELS, NO_LABEL, Settings, StoredClip

__all__ = ["FORMATS", "VECTORS", "check_export", "export", "replacing"]

FORMATS = ("npz", "parquet", "csv")
VECTORS = ("clips", "segments", "none")
# Clips whose records are read at a time.
_CLIPS = 4096

Read = Callable[[Callable[[Reading], "_Block"]], "_Block"]


@dataclass(slots=True)
class _Block:
    """Some clips, and a vector of each; or their segments, one clip after the other, with levels;
    or neither."""

    clips: Sequence[StoredClip]
    vocabulary: Vocabulary
    vectors: NDArray[np.float32] | None = None
    levels: NDArray[np.float32] | None = None


class _Writer(Protocol):
    def write(self, block: _Block) -> None: ...

    def finish(self) -> None: ...


def check_export(
    path: str | os.PathLike[str], format: str | None, vectors: str | None
) -> tuple[Path, str, str]:
    """The path, the format and which vectors are written; raises ArgumentError, MissingExtra."""
    target = expanded(path)
    chosen = format or target.suffix.lower().lstrip(".")
    if chosen not in FORMATS:
        raise ArgumentError(
            f"{target}: expected a name that ends in .npz, .parquet or .csv, or one of these as "
            f"the format, got {format or target.suffix or 'no ending'!r}"
        )
    if vectors is not None and vectors not in VECTORS:
        raise ArgumentError(f"vectors: expected one of {', '.join(VECTORS)}, got {vectors!r}")
    which = vectors or ("none" if chosen == "csv" else "clips")
    if chosen == "csv" and which == "segments":
        raise ArgumentError(
            f"{target}: a CSV file has a row for each clip and so takes one vector of it; write "
            "segments to .npz or .parquet"
        )
    if chosen == "parquet":
        needs("pyarrow", "parquet")
    if target.is_dir():
        raise ArgumentError(f"{target}: expected the name of a file, got a folder")
    return target, chosen, which


def export(
    clips: Iterator[StoredClip],
    read: Read,
    settings: Settings,
    path: Path,
    format: str,
    which: str,
    on_clip: Callable[[str], None],
) -> int:
    """Write clips to a file; see `Clips.export`.

    Parameters
    ----------
    clips : iterator of StoredClip
    read : callable
        Calls a function with a reading, and again with another where that could not hold.
    settings : Settings
    path, format, which
        Of `check_export`.
    on_clip : callable
    """
    count = 0
    with replacing(path) as temporary, ExitStack() as opened:
        writer = _open(temporary, format, which, settings, opened)
        while page := list(islice(clips, _CLIPS)):
            for part in portions(page):
                ids = [clip.id for clip in part]
                block = read(partial(_block, ids=ids, which=which, dimension=settings.dimension))
                if not block.clips:  # they were removed meanwhile
                    continue
                writer.write(block)
                count += len(block.clips)
                for clip in block.clips:
                    on_clip(clip.uri)
        writer.finish()
    return count


def _block(reading: Reading, ids: Sequence[int], which: str, dimension: int) -> _Block:
    """Those of some clips that are there, whole, in one state."""
    clips = list(reading.clips_by_id(ids).values())
    vocabulary = vocabulary_of(reading)
    if which == "none":
        return _Block(clips, vocabulary)
    if which == "clips":
        return _Block(clips, vocabulary, pooled(reading, clips, dimension))
    vectors, segments = reading.rows([(clip.id, 0, clip.count) for clip in clips])
    return _Block(clips, vocabulary, vectors.reshape(-1, dimension), segments["level"])


def _open(path: Path, format: str, which: str, settings: Settings, opened: ExitStack) -> _Writer:
    match format:
        case "csv":
            return _Csv(path, which, settings, opened)
        case "parquet":
            return _Parquet(path, which, settings, opened)
    return _Npz(path, which, settings, opened)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside a path to write to; the file is moved there once it is complete."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            os.close(handle)
            temporary = Path(name)
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                os.unlink(name)
    except OSError as error:
        raise SoundsearchError(
            f"{path}: cannot be written ({error.strerror or error}); nothing was changed there"
        ) from error


def _umask() -> int:
    """What new files are kept from, which only setting it tells."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _utf8(text: str) -> str:
    """A text that UTF-8 can hold: bytes of a file name that are no text are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


class _Csv:
    def __init__(self, path: Path, which: str, settings: Settings, opened: ExitStack) -> None:
        self._file = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115
        opened.callback(self._file.close)
        self._rows = csv.writer(self._file, lineterminator="\n")
        names = ["id", "uri", "duration", "segments", "warning", "labels", "human_labels"]
        names += ["human_events", "tags"]
        count = settings.dimension if which == "clips" else 0
        self._rows.writerow([*names, *(f"v{number}" for number in range(count))])

    def write(self, block: _Block) -> None:
        vectors = [[]] * len(block.clips) if block.vectors is None else block.vectors.tolist()
        for clip, vector in zip(block.clips, vectors, strict=True):
            record, vocabulary = clip.record, block.vocabulary
            texts = (
                record.warning or "",
                _text(
                    {
                        label.name: round(label.score, 4)
                        for label in block.vocabulary.named(record.labels)
                    }
                ),
                _text([each.name for each in vocabulary.given(record.human_labels)]),
                _text(vocabulary.said(record.human_events)),
                _text(dict(record.tags)),
            )
            # As many digits as tell a float32 from its neighbours.
            numbers = [f"{value:.9g}" for value in vector]
            facts = (clip.id, _utf8(clip.uri), record.duration, clip.count)
            self._rows.writerow([*facts, *map(_utf8, texts), *numbers])

    def finish(self) -> None:
        self._file.flush()


class _Parquet:
    def __init__(self, path: Path, which: str, settings: Settings, opened: ExitStack) -> None:
        arrow = self._arrow = needs("pyarrow", "parquet")
        self._dimension = settings.dimension
        label = arrow.struct(
            [("name", arrow.string()), ("mid", arrow.string()), ("score", arrow.float32())]
        )
        times = ("onset", arrow.float64()), ("offset", arrow.float64())
        event = arrow.struct([("label", arrow.string()), *times, ("heard", arrow.bool_())])
        vector = arrow.list_(arrow.float32(), settings.dimension)
        more = {
            "clips": [("vector", vector)],
            "segments": [
                ("vectors", arrow.list_(vector)),
                ("levels", arrow.list_(arrow.float32())),
            ],
        }
        self._schema = arrow.schema(
            [
                ("id", arrow.int64()),
                ("uri", arrow.string()),
                ("duration", arrow.float64()),
                ("segments", arrow.int64()),
                ("warning", arrow.string()),
                ("labels", arrow.list_(label)),
                ("human_labels", arrow.list_(arrow.string())),
                ("human_events", arrow.list_(event)),
                ("tags", arrow.string()),
                *more.get(which, []),
            ],
            metadata=_facts(settings),
        )
        parquet = needs("pyarrow.parquet", "parquet")
        self._writer = opened.enter_context(parquet.ParquetWriter(str(path), self._schema))

    def write(self, block: _Block) -> None:
        arrow = self._arrow
        records = [clip.record for clip in block.clips]
        columns: list[Any] = [
            [clip.id for clip in block.clips],
            [_utf8(clip.uri) for clip in block.clips],
            [record.duration for record in records],
            [clip.count for clip in block.clips],
            [record.warning and _utf8(record.warning) for record in records],
            [
                [
                    {"name": label.name, "mid": label.mid, "score": label.score}
                    for label in block.vocabulary.named(record.labels)
                ]
                for record in records
            ],
            [
                [label.name for label in block.vocabulary.given(record.human_labels)]
                for record in records
            ],
            [block.vocabulary.said(record.human_events) for record in records],
            [_text(dict(record.tags)) for record in records],
        ]
        arrays = [
            arrow.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=False)
        ]
        if block.vectors is not None:
            vectors = arrow.FixedSizeListArray.from_arrays(
                arrow.array(block.vectors.ravel()), self._dimension
            )
            if block.levels is None:
                arrays.append(vectors)
            else:
                ends = arrow.array(_offsets(block.clips).astype(np.int32))
                levels = arrow.array(block.levels)
                arrays += [arrow.ListArray.from_arrays(ends, part) for part in (vectors, levels)]
        self._writer.write_table(arrow.Table.from_arrays(arrays, schema=self._schema))

    def finish(self) -> None:
        self._writer.close()


class _Npz:
    """The arrays of an archive grow in temporary files: how long they are is known at the end."""

    def __init__(self, path: Path, which: str, settings: Settings, opened: ExitStack) -> None:
        self._path = path
        self._opened = opened
        self._columns: dict[str, _Column] = {}
        self._classes = AUDIOSET.names
        self._facts = _facts(settings)
        self._segments = 0
        nothing = np.empty((0, settings.dimension), np.float32)
        levels = np.empty(0, np.float32) if which == "segments" else None
        self.write(_Block((), AUDIOSET, None if which == "none" else nothing, levels))

    def write(self, block: _Block) -> None:
        records = [clip.record for clip in block.clips]
        self._classes = max(self._classes, block.vocabulary.names, key=len)
        labels = unlabelled(len(records), CLIP_LABELS)
        for row, record in zip(labels, records, strict=True):
            row[: len(record.labels)] = record.labels[:CLIP_LABELS]
        classes = labels["class_index"].astype(np.int16)
        classes[labels["class_index"] == NO_LABEL] = -1
        self._add("id", np.array([clip.id for clip in block.clips], np.int64))
        self._add("uri", np.array([clip.uri for clip in block.clips], np.str_))
        self._add("duration", np.array([record.duration for record in records], np.float64))
        self._add("segments", np.array([clip.count for clip in block.clips], np.int64))
        self._add("warning", np.array([record.warning or "" for record in records], np.str_))
        self._add("label_class", classes)
        self._add("label_score", labels["score"].astype(np.float32))
        people = [
            _text([label.name for label in block.vocabulary.given(each.human_labels)])
            for each in records
        ]
        self._add("human_labels", np.array(people, np.str_))
        said = [_text(block.vocabulary.said(each.human_events)) for each in records]
        self._add("human_events", np.array(said, np.str_))
        self._add("tags", np.array([_text(dict(each.tags)) for each in records], np.str_))
        if block.vectors is not None:
            self._add("vectors", block.vectors)
        if block.levels is not None:
            self._add("levels", block.levels)
            # The first block, without clips, brings the 0 at the beginning.
            self._add("offsets", self._segments + _offsets(block.clips)[bool(block.clips) :])
            self._segments += len(block.levels)

    def _add(self, name: str, values: NDArray[Any]) -> None:
        if name not in self._columns:
            file = tempfile.TemporaryFile(dir=self._path.parent)  # noqa: SIM115
            self._columns[name] = _Column(self._opened.enter_context(file))
        self._columns[name].add(values)

    def finish(self) -> None:
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, column in self._columns.items():
                entry = zipfile.ZipInfo(f"{name}.npy")
                # Floats take long to deflate and hardly get smaller.
                is_text = column.dtype.kind == "U"
                entry.compress_type = zipfile.ZIP_DEFLATED if is_text else zipfile.ZIP_STORED
                with archive.open(entry, "w", force_zip64=True) as file:
                    column.copy_to(file)
            for name, text in self._facts.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.save(file, np.array(text))
            with archive.open("classes.npy", "w") as file:
                np.save(file, np.array(self._classes))


class _Column:
    """An array that grows along its first axis, in a file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._blocks = 0
        self._length = 0
        self._shape: tuple[int, ...] = ()
        self.dtype: np.dtype[Any] = np.dtype(np.uint8)

    def add(self, values: NDArray[Any]) -> None:
        """Lengthen it by some values."""
        np.save(self._file, values)
        self._blocks += 1
        self._length += len(values)
        self._shape = values.shape[1:]
        self.dtype = (
            np.promote_types(self.dtype, values.dtype) if self._blocks > 1 else values.dtype
        )

    def copy_to(self, file: IO[bytes]) -> None:
        """Write all of it in NumPy's format."""
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self._length, *self._shape),
        }
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call, unused-ignore]
        self._file.seek(0)
        for _ in range(self._blocks):
            file.write(np.load(self._file).astype(self.dtype).tobytes())


def _offsets(clips: Sequence[StoredClip]) -> NDArray[np.int64]:
    return np.cumsum([0, *(clip.count for clip in clips)], dtype=np.int64)


def _facts(settings: Settings) -> dict[str, str]:
    return {
        "space": settings.space,
        "hop": str(settings.hop),
        "segment_seconds": str(settings.segment_seconds),
    }
