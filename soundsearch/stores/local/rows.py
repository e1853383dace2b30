"""The append-only files of a local library, whose rows are segments.

Vectors lie in one file, what is kept beside them in another. A rebuild writes new files, of the
next generation. Rows never change once the catalogue says that they exist; what lies behind the
last one is what a killed process left, and is overwritten.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.encoders import AUDIOSET_SPACE
from soundsearch_ingest.postprocess import dequantise, quantise

from ...errors import LibraryDamaged, LibraryError
from ...hints import command
from ..records import SEGMENT, NewClip, Settings
from .files import open_own, open_plain
from .sums import are_finite, rows_sum

__all__ = [
    "EightBit",
    "RowFiles",
    "Rows",
    "are_sound",
    "delete_row_files",
    "has_row_files",
    "link_or_copy",
    "map_rows",
    "mapped_sizes",
    "ranges",
    "row_files",
    "rows_of",
    "rows_there",
    "vectors_of",
]

_Scalar = TypeVar("_Scalar", bound=np.generic)

# Bytes that are gathered for one write: clips come in parts of a few kilobytes.
_BUFFER = 1 << 20
_KINDS = ("vectors-*", "segments-*")


class Rows(Protocol):
    """Vectors that can be read in parts: an array, or `EightBit`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


class EightBit:
    """Rows of 8-bit codes that read as the float32 vectors they stand for."""

    def __init__(self, codes: NDArray[np.uint8]) -> None:
        self._codes = codes
        self.shape = codes.shape

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, rows: Any) -> NDArray[np.float32]:
        return dequantise(rows_of(self._codes, rows))

    def stored(self, rows: slice) -> NDArray[np.uint8]:
        """The codes themselves."""
        return self._codes[rows]


def _is_coded(settings: Settings) -> bool:
    """Whether vectors are kept as the 8-bit codes that they are in this space."""
    return settings.space == AUDIOSET_SPACE


def row_files(folder: Path, generation: int, settings: Settings) -> tuple[Path, Path]:
    """The files of a generation: vectors, and what is kept beside them."""
    kind = "u8" if _is_coded(settings) else "f32"
    return folder / f"vectors-{generation}.{kind}", folder / f"segments-{generation}.rows"


def has_row_files(folder: Path) -> bool:
    """Whether a folder holds vectors of any generation."""
    return next(folder.glob(_KINDS[0]), None) is not None


def delete_row_files(folder: Path, keep: Sequence[Path]) -> None:
    """Delete files of other generations, which a rebuild left behind."""
    for kind in _KINDS:
        for file in folder.glob(kind):
            if file not in keep:
                with suppress(PermissionError):  # Windows keeps a file that a reader has mapped
                    file.unlink(missing_ok=True)


def map_rows(
    folder: Path, generation: int, settings: Settings, rows: int
) -> tuple[Rows, NDArray[np.void]]:
    """The first rows of a generation's files, mapped into memory."""
    vectors, segments = row_files(folder, generation, settings)
    coded = _is_coded(settings)
    kind = np.dtype("u1" if coded else "<f4")
    stored = _mapped(vectors, kind, (rows, settings.dimension))
    return EightBit(stored) if coded else stored, _mapped(segments, SEGMENT, (rows,))


def mapped_sizes(
    folder: Path, generation: int, settings: Settings, rows: int
) -> list[tuple[Path, int]]:
    """The files that `map_rows` maps, and how many bytes of each."""
    paths = row_files(folder, generation, settings)
    return [(path, rows * width) for path, width in zip(paths, _widths(settings), strict=True)]


def vectors_of(stored: bytes, settings: Settings) -> NDArray[np.float32]:
    """The vectors, float32 [n, dimension], of rows as they are stored."""
    if _is_coded(settings):
        return dequantise(np.frombuffer(stored, np.uint8).reshape(-1, settings.dimension))
    return np.frombuffer(stored, "<f4").reshape(-1, settings.dimension)


def rows_there(paths: Sequence[Path], settings: Settings) -> int:
    """How many rows are in both files; 0 where one is missing."""
    try:
        sizes = [path.stat().st_size for path in paths]
    except FileNotFoundError:
        return 0
    return min(size // width for size, width in zip(sizes, _widths(settings), strict=True))


def _widths(settings: Settings) -> tuple[int, int]:
    """Bytes of a row in each file."""
    return (1 if _is_coded(settings) else 4) * settings.dimension, SEGMENT.itemsize


def are_sound(
    vectors: Rows, segments: NDArray[np.void], first: int, count: int, checksum: int
) -> bool:
    """Whether the rows of a clip are what was stored; `checksum` is -1 where it is not known."""
    span = slice(first, first + count)
    if not 0 <= first < first + count <= len(vectors):
        return False
    if checksum < 0:
        return are_finite(np.asarray(vectors[span])) and are_finite(segments["level"][span])
    stored = vectors.stored(span) if isinstance(vectors, EightBit) else vectors[span]
    return rows_sum(segments[span].tobytes(), rows_sum(np.ascontiguousarray(stored), 0)) == checksum


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    if shape[0] == 0:
        return np.empty(shape, dtype)
    try:
        with open_plain(path) as file:
            _check_length(path, file, int(np.prod(shape)) * dtype.itemsize)
            # As a plain array: parts of a memmap take ten times as long to be made.
            return np.memmap(file, dtype, "r", shape=shape).view(np.ndarray)
    except FileNotFoundError as error:
        raise LibraryDamaged(
            f"{path}: is missing; restore it from a copy, or drop the clips that are lost with: "
            f"{command('rebuild', path.parent)}, then ingest their folders again"
        ) from error
    except OSError as error:  # which says nothing against the file
        raise LibraryError(
            f"{path}: cannot be read just now ({error.strerror}); remove the cause, then run the "
            "same command again"
        ) from error


def _check_length(path: Path, file: BinaryIO, expected: int) -> None:
    size = os.fstat(file.fileno()).st_size
    if size < expected:
        raise LibraryDamaged(
            f"{path}: expected at least {expected} bytes, it has {size}; drop the clips that "
            f"are lost with: {command('rebuild', path.parent)}, then ingest their "
            "folders again"
        )


class RowFiles:
    """The two files of a generation, open for reading and writing; made where they are missing."""

    def __init__(self, folder: Path, generation: int, settings: Settings) -> None:
        self.paths = row_files(folder, generation, settings)
        self._coded = _is_coded(settings)
        self._widths = _widths(settings)
        self._files: list[BinaryIO] = []
        try:
            for path in self.paths:
                self._files.append(open_own(path, buffering=_BUFFER))
        except BaseException:
            self.close()
            raise

    def append(self, clips: Sequence[NewClip], first: int) -> list[int]:
        """Write clips' segments from the row `first` on; durable when it returns.

        Returns the checksum of each clip's rows.
        """
        vectors: list[NDArray[Any]] = [clip.embeddings for clip in clips]
        if self._coded:
            edges = np.cumsum([len(part) for part in vectors])[:-1]
            vectors = np.split(quantise(np.concatenate(vectors)), edges)
        columns = vectors, [clip.segments for clip in clips]
        sums = [0] * len(clips)
        for path, file, width, parts in zip(
            self.paths, self._files, self._widths, columns, strict=True
        ):
            _check_length(path, file, first * width)
            file.seek(first * width)
            for place, part in enumerate(parts):
                stored = np.ascontiguousarray(part).data
                sums[place] = rows_sum(stored, sums[place])
                file.write(stored)
        self.sync()
        return sums

    def read(self, first: int, count: int, checksum: int) -> tuple[bytes, bytes, int] | None:
        """A clip's rows as they are stored, and their checksum.

        None where they are not all there, or not what was stored; `checksum` is -1 where it is
        not known.
        """
        if first < 0 or count < 1:
            return None
        parts = []
        for file, width in zip(self._files, self._widths, strict=True):
            if (first + count) * width > os.fstat(file.fileno()).st_size:
                return None
            file.seek(first * width)
            parts.append(file.read(count * width))
        found = rows_sum(parts[1], rows_sum(parts[0], 0))
        if checksum >= 0:
            return (parts[0], parts[1], found) if found == checksum else None
        if not are_finite(np.frombuffer(parts[1], SEGMENT)["level"]):
            return None
        if not self._coded and not are_finite(np.frombuffer(parts[0], "<f4")):
            return None
        return parts[0], parts[1], found

    def write(self, rows: Sequence[bytes]) -> None:
        """Write rows as they are stored, where the last ones ended."""
        for file, part in zip(self._files, rows, strict=True):
            file.write(part)

    def truncate(self) -> None:
        """Empty the files."""
        for file in self._files:
            file.truncate(0)

    def sync(self) -> None:
        """Make what was written durable."""
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close the files, also when the rest of a write fails."""
        for file in self._files:
            with suppress(OSError):
                file.close()


def rows_of(array: NDArray[_Scalar], rows: Any) -> NDArray[_Scalar]:
    """Some rows of an array; those that are numbered are copied in a fraction of the time."""
    is_numbered = isinstance(rows, np.ndarray) and rows.dtype == np.int64
    found: NDArray[_Scalar] = array.take(rows, axis=0) if is_numbered else array[rows]
    return found


def ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from each start on, as many as counted, one run after the other."""
    ends = np.cumsum(counts)
    return np.repeat(starts - ends + counts, counts) + np.arange(ends[-1] if len(ends) else 0)


def link_or_copy(path: Path, new_path: Path) -> None:
    """Have a file under another name too."""
    new_path.unlink(missing_ok=True)
    try:
        os.link(path, new_path)
    except OSError:  # not on every file system
        with open_plain(path) as file, open_own(new_path, new=True) as new_file:
            shutil.copyfileobj(file, new_file, _BUFFER)
            new_file.flush()
            os.fsync(new_file.fileno())
