"""What was heard of long sounds, kept on disk until it is stored: a killed run goes on there.

A file for each sound, named by its content and by what hears it, holds records: the embeddings and
levels of a stretch, with a checksum. What is damaged is dropped, and so is all of it where the
disk is full: it is heard again.
"""

from __future__ import annotations

import os
import stat
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["LONG_SECONDS", "Keeper", "Kept"]

Floats = NDArray[np.float32]

# What takes longer to hear than to keep: some seconds.
LONG_SECONDS = 600.0
# Files of sounds that nobody ingested again are kept so long, and no more of them altogether.
_DAYS = 7
_BYTES = 1 << 30
_SUFFIX = ".heard"
# A mark and version, the first segment, how many, the length of an embedding, a checksum.
_HEAD = struct.Struct("<4sIII16s")
_MARK = b"ssh1"
_OPEN = (
    os.O_RDWR
    | os.O_CREAT
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOFOLLOW", 0)
)


class Keeper:
    """Keeps what is heard of long sounds in a folder, which one run at a time may use.

    Parameters
    ----------
    folder : Path
        Made when it is needed, and taken away when it is empty.
    identity : str
        Of what hears: encoder, space, hop. Other embeddings are never mixed with its own.
    dimension : int
        Of an embedding.
    """

    def __init__(self, folder: Path, identity: str, dimension: int) -> None:
        self._folder = folder
        self._identity = identity
        self._dimension = dimension
        self._open: dict[bytes, Kept] = {}
        self._lock = threading.Lock()

    def of(self, digest: bytes) -> Kept:
        """What is kept of the sound with this content; thread-safe."""
        with self._lock:
            if digest not in self._open:
                path, key = self._place(digest)
                self._tidy(path)
                with suppress(OSError):
                    self._folder.mkdir(parents=True, exist_ok=True)
                self._open[digest] = Kept(path, key, self._dimension)
            return self._open[digest]

    def drop(self, digest: bytes) -> None:
        """Forget a sound: it is stored, or gives nothing."""
        with self._lock:
            if (kept := self._open.pop(digest, None)) is not None:
                kept.drop()
                with suppress(OSError):
                    self._folder.rmdir()

    def clear(self) -> None:
        """Forget all sounds, of earlier runs too."""
        self.close()
        for path in self._files():
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            self._folder.rmdir()

    def close(self) -> None:
        """Close the files; what they hold stays."""
        with self._lock:
            for kept in self._open.values():
                kept.close()
            self._open.clear()

    def _place(self, digest: bytes) -> tuple[Path, bytes]:
        import blake3

        key = blake3.blake3(self._identity.encode() + b"\0" + digest).digest()
        return self._folder / f"{key[:16].hex()}{_SUFFIX}", key

    def _files(self) -> list[Path]:
        try:
            return [path for path in self._folder.iterdir() if path.name.endswith(_SUFFIX)]
        except OSError:
            return []

    def _tidy(self, wanted: Path) -> None:
        """Take files away that are old, or too many."""
        found = []
        for path in self._files():
            with suppress(OSError):
                status = path.lstat()
                found.append((status.st_mtime, status.st_size, path))
        size = 0
        for changed, length, path in sorted(found, reverse=True):
            size += length
            is_old = time.time() - changed > _DAYS * 86_400
            if path != wanted and (is_old or size > _BYTES):
                with suppress(OSError):
                    path.unlink()


class Kept:
    """What is kept of one sound.

    Attributes
    ----------
    stretches : dict
        By the first segment and their number: embeddings float32 [n, dimension], and levels
        float32 [n]. Who uses some takes them out.
    """

    def __init__(self, path: Path, key: bytes, dimension: int) -> None:
        self.stretches: dict[tuple[int, int], tuple[Floats, Floats]] = {}
        self._path = path
        self._key = key
        self._dimension = dimension
        self._end = 0
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        try:
            self._file = os.fdopen(os.open(path, _OPEN, 0o600), "r+b", 0)
            status = os.fstat(self._file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                self.close()  # not ours to write to
                return
            self._read(self._file, status.st_size)
        except OSError:
            self.close()

    def _read(self, file: BinaryIO, size: int) -> None:
        while True:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                break
            mark, first, count, dimension, checksum = _HEAD.unpack(head)
            length = 4 * count * (dimension + 1)
            is_ours = mark == _MARK and dimension == self._dimension
            if not is_ours or length > size - self._end - _HEAD.size:
                break
            content = file.read(length)
            if len(content) < length or self._checksum(first, count, content) != checksum:
                break
            numbers = np.frombuffer(content, "<f4").astype(np.float32)
            embeddings, levels = np.split(numbers, [count * dimension])
            self.stretches[first, count] = embeddings.reshape(count, dimension), levels
            self._end += _HEAD.size + length
        file.truncate(self._end)  # what a killed process began, and what is damaged
        file.seek(self._end)

    def add(self, first: int, embeddings: Floats, levels: Floats) -> None:
        """Keep a stretch; thread-safe. Where that fails, nothing of the sound is kept."""
        content = embeddings.astype("<f4").tobytes() + levels.astype("<f4").tobytes()
        count, dimension = embeddings.shape
        head = _HEAD.pack(_MARK, first, count, dimension, self._checksum(first, count, content))
        with self._lock:
            if self._file is None:
                return
            try:
                written = self._file.write(head + content)
            except OSError:
                written = 0
        if written != len(head) + len(content):
            self.drop()

    def _checksum(self, first: int, count: int, content: bytes) -> bytes:
        import blake3

        digest = blake3.blake3(struct.pack("<II", first, count), key=self._key)
        return digest.update(content).digest(16)

    def drop(self) -> None:
        """Delete the file, if it is ours."""
        is_ours = self._file is not None
        self.close()
        if is_ours:
            with suppress(OSError):
                self._path.unlink()

    def close(self) -> None:
        """Close the file; nothing is kept from now on."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
