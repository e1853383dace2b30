"""NumPy archives (.npz) from anywhere, whose compressed arrays may be larger than memory."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_archive"]


def read_archive(path: Path, largest: int) -> dict[str, NDArray[Any]]:
    """All arrays of an archive by their names; nothing is unpickled.

    Parameters
    ----------
    path : Path
    largest : int
        Bytes that the arrays may have together.

    Raises
    ------
    ValueError
        They have more, or hold Python objects. OSError, and what zipfile, zlib and NumPy raise,
        where the file is no whole archive.
    """
    with open(path, "rb") as file:
        with zipfile.ZipFile(file) as archive:
            promised = sum(member.file_size for member in archive.infolist())
        if promised > largest:
            raise ValueError(
                f"its arrays have {promised:,} bytes, expected at most {largest:,} for this"
            )
        file.seek(0)
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
