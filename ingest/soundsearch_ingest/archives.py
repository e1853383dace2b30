"""Safe reading of NumPy archives (.npz), whose compressed arrays may exceed memory."""

from __future__ import annotations

import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_archive"]


def read_archive(source: Path | BinaryIO, largest: int) -> dict[str, NDArray[Any]]:
    """Read all arrays of an archive, by name; nothing is unpickled.

    Parameters
    ----------
    source : Path or binary file
    largest : int
        The largest total size of the arrays, in bytes.

    Raises
    ------
    ValueError
        The arrays are larger, or hold Python objects.
    OSError
        The file cannot be read. A damaged archive raises the errors of zipfile, zlib and NumPy.
    """
    with open(source, "rb") if isinstance(source, Path) else nullcontext(source) as file:
        with zipfile.ZipFile(file) as archive:
            promised = sum(member.file_size for member in archive.infolist())
        if promised > largest:
            raise ValueError(
                f"its arrays have {promised:,} bytes, expected at most {largest:,} in total"
            )
        file.seek(0)
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
