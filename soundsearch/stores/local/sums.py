"""Checksums of what a local library holds: of each clip's rows, and of the index by blocks.

CRC-32, which finds every flipped bit and what a disk loses or mixes up; it is kept in the
catalogue, away from what it speaks of.
"""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import open_own, open_plain

__all__ = ["are_finite", "block_sums", "is_whole", "read_whole", "rows_sum", "sync", "sync_folder"]

_BLOCK = 1 << 20
# Blocks of a file that are read when it is opened: the first, the last, and some between.
_SAMPLE = 4
# The squares of larger numbers have no sum in float32: no encoder gives them.
_LARGEST = 1e15


def rows_sum(stored: Any, before: int) -> int:
    """The checksum of a clip's rows: of its vectors, then of what is beside them after that."""
    return zlib.crc32(stored, before)


def are_finite(values: NDArray[np.float32]) -> bool:
    """Whether vectors or levels can be reckoned with."""
    return not values.size or bool(np.abs(values).max() < _LARGEST)


def block_sums(path: Path) -> list[int]:
    """The checksums of a file, a block at a time."""
    return [zlib.crc32(block) for block in _blocks(path)]


def is_whole(path: Path, sums: Sequence[int] | None, sampled: bool = False) -> bool:
    """Whether a file is as it was written, as far as its checksums are known."""
    if not path.is_file():
        return False
    if sums is None:
        return True
    blocks = list(range(len(sums)))
    if sampled and len(sums) > _SAMPLE:
        blocks = [0, *random.sample(blocks[1:-1], _SAMPLE - 2), len(sums) - 1]
    try:
        with open(path, "rb") as file:
            for block in blocks:
                file.seek(block * _BLOCK)
                if zlib.crc32(file.read(_BLOCK)) != sums[block]:
                    return False
            return os.fstat(file.fileno()).st_size <= len(sums) * _BLOCK
    except OSError:
        return False


def read_whole(path: Path, sums: Sequence[int] | None) -> bytes | None:
    """What a file holds; None if that is not known to be what was written."""
    if sums is None or not path.is_file():
        return None
    try:
        with open_plain(path) as file:
            data = file.read(len(sums) * _BLOCK + 1)
    except OSError:
        return None
    blocks = [data[begin : begin + _BLOCK] for begin in range(0, len(data), _BLOCK)]
    return data if list(map(zlib.crc32, blocks)) == list(sums) else None


def _blocks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            yield block


def sync(path: Path) -> None:
    """Make a file durable that something else wrote."""
    with open_own(path) as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make new names in a folder durable, where a system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
