"""The file of stretches of a local library: a cache, as the index is, and made by `upkeep`.

First the first rows of the clips that the stretches belong to, int64, then the vectors, float32.
It covers the clips whose rows begin before a certain one; those that were removed since stay in
it, as no other clip gets their rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import open_plain
from .sums import is_whole

__all__ = ["StretchFile", "known_file"]

# Of what is in the file, and how it was pooled.
FORMAT = 1


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
    sums : sequence of int
        Its checksums; see `sums`.
    """

    path: Path
    count: int
    rows: int
    sums: Sequence[int]

    def opened(self, dimension: int) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
        """The first rows and the vectors, mapped into memory; None where they are damaged.

        Raises
        ------
        FileNotFoundError
        """
        with open_plain(self.path) as file:
            if not is_whole(self.path, self.sums, sampled=True):
                return None
            try:
                owners = np.memmap(file, "<i8", "r", shape=(self.count,))
                vectors = np.memmap(
                    file, "<f4", "r", offset=owners.nbytes, shape=(self.count, dimension)
                )
            except (OSError, ValueError):  # shorter than that
                return None
        return np.array(owners), vectors


def known_file(
    folder: Path, stored: dict[str, Any] | None, generation: int, length: int
) -> StretchFile | None:
    """The file that a catalogue speaks of, if it is there and of this generation and length."""
    if stored is None or stored["kind"] != [FORMAT, generation, length]:
        return None
    path = folder / stored["name"]
    found = StretchFile(path, stored["count"], stored["rows"], tuple(stored["sums"]))
    return found if path.is_file() else None
