"""The files of a local library's stretches: a cache, as the index over segments is.

``stretches-GENERATION-ROWS.f32`` has the first rows of the clips that the stretches belong to,
int64, then the vectors, float32. It covers the clips whose rows begin before ROWS; those that were
removed since stay in it, as no other clip gets their rows. Of many stretches there is an
approximate index beside it, ``.faiss``.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import LibraryDamaged
from ..records import Tuning
from .files import open_plain
from .sums import is_whole

__all__ = ["StretchFile", "StretchIndex", "known_file", "stored_file"]

# Of what is in the file, and how it was pooled: others are ignored, and made again.
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class StretchIndex:
    """The approximate index: its checksums, the stretches it was trained for, its tuning."""

    sums: tuple[int, ...]
    trained: int
    tuning: Tuning


@dataclass(frozen=True, slots=True)
class StretchFile:
    """A file as the catalogue knows it.

    Attributes
    ----------
    path : Path
    count : int
        Stretches in it.
    rows : int
        It has those of all clips whose rows begin before this one.
    sums : tuple of int
        Its checksums; see `sums`.
    index : StretchIndex or None
    """

    path: Path
    count: int
    rows: int
    sums: tuple[int, ...]
    index: StretchIndex | None

    @property
    def index_path(self) -> Path:
        """Where its index is."""
        return self.path.with_suffix(".faiss")

    def has_whole_index(self, sampled: bool = False) -> bool:
        """Whether there is an index, as it was written."""
        return self.index is not None and is_whole(self.index_path, self.index.sums, sampled)

    def is_whole(self, dimension: int) -> bool:
        """Whether it and its index are as they were written."""
        try:
            whole = self.opened(dimension, sampled=False) is not None
        except (OSError, LibraryDamaged):
            whole = False
        return whole and (self.index is None or self.has_whole_index())

    def opened(
        self, dimension: int, sampled: bool = True
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
        """The first rows and the vectors, mapped into memory; None where they are damaged.

        Raises
        ------
        FileNotFoundError
        """
        with open_plain(self.path) as file:
            size = self.count * (8 + 4 * dimension)
            if os.fstat(file.fileno()).st_size != size or not self.count:
                return None
            if not is_whole(self.path, self.sums, sampled):
                return None
            owners = np.memmap(file, "<i8", "r", shape=(self.count,))
            vectors = np.memmap(
                file, "<f4", "r", offset=owners.nbytes, shape=(self.count, dimension)
            )
        return np.array(owners), np.asarray(vectors)  # of which parts are taken faster


def known_file(
    folder: Path, stored: dict[str, Any] | None, generation: int, length: int
) -> StretchFile | None:
    """The file that a catalogue speaks of, if it is of this generation and length."""
    if stored is None or stored["kind"] != [_FORMAT, generation, length]:
        return None
    index = stored["index"]
    if index is not None:
        index = StretchIndex(tuple(index["sums"]), index["trained"], Tuning(**index["tuning"]))
    path = folder / f"{stored['name']}.f32"
    return StretchFile(path, stored["count"], stored["rows"], tuple(stored["sums"]), index)


def stored_file(file: StretchFile, generation: int, length: int) -> dict[str, Any]:
    """What a catalogue keeps of a file, for `known_file`."""
    return {
        "kind": [_FORMAT, generation, length],
        "name": file.path.stem,
        "count": file.count,
        "rows": file.rows,
        "sums": file.sums,
        "index": None if file.index is None else asdict(file.index),
    }
