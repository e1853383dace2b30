"""The append-only files of a local library, whose rows are segments."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.postprocess import dequantise

from ...errors import LibraryDamaged

__all__ = ["EightBit", "Rows", "check_length", "link_or_copy", "mapped", "ranges", "row_files"]


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


def row_files(folder: Path, generation: int, kind: str) -> tuple[Path, Path]:
    """The vectors, of the kind ``f32`` or ``u8``, and what is kept beside them."""
    return folder / f"vectors-{generation}.{kind}", folder / f"segments-{generation}.rows"


def check_length(file: BinaryIO, expected: int) -> None:
    size = os.fstat(file.fileno()).st_size
    if size < expected:
        raise LibraryDamaged(
            f"{file.name}: expected at least {expected} bytes, it has {size}; drop the clips that "
            "are lost with: soundsearch rebuild, then ingest their folders again"
        )


def mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """Rows of a file, mapped; an empty array when there are none."""
    if shape[0] == 0:
        return np.empty(shape, dtype)
    try:
        with open(path, "rb") as file:
            check_length(file, int(np.prod(shape)) * dtype.itemsize)
            return np.memmap(file, dtype, "r", shape=shape)
    except OSError as error:
        raise LibraryDamaged(
            f"{path}: cannot be read ({error.strerror}); drop the clips that are lost with: "
            "soundsearch rebuild, then ingest their folders again"
        ) from error


def ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from each start on, as many as counted, one run after the other."""
    ends = np.cumsum(counts)
    return np.repeat(starts - ends + counts, counts) + np.arange(ends[-1] if len(ends) else 0)


def link_or_copy(path: Path, new_path: Path) -> None:
    try:
        os.link(path, new_path)
    except OSError:  # not on every file system
        shutil.copyfile(path, new_path)
        with open(new_path, "rb") as file:
            os.fsync(file.fileno())
