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
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.encoders import AUDIOSET_SPACE
from soundsearch_ingest.postprocess import dequantise, quantise

from ...errors import LibraryDamaged, LibraryError
from ..records import SEGMENT, NewClip, Settings

__all__ = [
    "EightBit",
    "RowFiles",
    "Rows",
    "delete_row_files",
    "has_row_files",
    "link_or_copy",
    "map_rows",
    "ranges",
    "row_files",
]

_BINARY = getattr(os, "O_BINARY", 0)
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
        return dequantise(np.asarray(self._codes[rows]))


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


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    if shape[0] == 0:
        return np.empty(shape, dtype)
    try:
        with open(path, "rb") as file:
            _check_length(file, int(np.prod(shape)) * dtype.itemsize)
            return np.memmap(file, dtype, "r", shape=shape)
    except FileNotFoundError as error:
        raise LibraryDamaged(
            f"{path}: is missing; restore it from a copy, or drop the clips that are lost with: "
            "soundsearch rebuild, then ingest their folders again"
        ) from error
    except OSError as error:  # which says nothing against the file
        raise LibraryError(
            f"{path}: cannot be read just now ({error.strerror}); remove the cause, then run the "
            "same command again"
        ) from error


def _check_length(file: BinaryIO, expected: int) -> None:
    size = os.fstat(file.fileno()).st_size
    if size < expected:
        raise LibraryDamaged(
            f"{file.name}: expected at least {expected} bytes, it has {size}; drop the clips that "
            "are lost with: soundsearch rebuild, then ingest their folders again"
        )


class RowFiles:
    """The two files of a generation, open for reading and writing; made where they are missing."""

    def __init__(self, folder: Path, generation: int, settings: Settings) -> None:
        self.paths = row_files(folder, generation, settings)
        self._coded = _is_coded(settings)
        self._widths = ((1 if self._coded else 4) * settings.dimension, SEGMENT.itemsize)
        self._files: list[BinaryIO] = []
        try:
            for path in self.paths:
                opened = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o666)
                self._files.append(os.fdopen(opened, "r+b"))
        except OSError:
            self.close()
            raise

    def append(self, clips: Sequence[NewClip], first: int) -> None:
        """Write clips' segments from the row `first` on; durable when it returns."""
        columns: tuple[list[NDArray[Any]], list[NDArray[Any]]] = (
            [quantise(c.embeddings) if self._coded else c.embeddings for c in clips],
            [clip.segments for clip in clips],
        )
        for file, width, parts in zip(self._files, self._widths, columns, strict=True):
            _check_length(file, first * width)
            file.seek(first * width)
            for part in parts:
                file.write(np.ascontiguousarray(part).tobytes())
        self.sync()

    def read(self, first: int, count: int) -> tuple[bytes, bytes] | None:
        """Rows as they are stored; None where they are not all there."""
        parts = []
        for file, width in zip(self._files, self._widths, strict=True):
            file.seek(first * width)
            parts.append(file.read(count * width))
            if len(parts[-1]) != count * width:
                return None
        return parts[0], parts[1]

    def write(self, rows: tuple[bytes, bytes]) -> None:
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
        shutil.copyfile(path, new_path)
        with open(new_path, "rb") as file:
            os.fsync(file.fileno())
