"""A lock on a file: one process at a time holds it, and it goes with its process.

By ``flock``, and where a file system has none, by POSIX locks, which SQLite needs anyway. Those
are of a process, not of an open file: what this process holds is kept here.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from ...errors import LibraryError
from .files import open_own

__all__ = ["FileLock", "Locked"]

_PAUSE = 0.02
# What a file system says that has no such lock, as opposed to one that is held.
_NONE = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, errno.ENOTTY}
_HELD = {errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK}

# Device and inode of the files that this process has locked. A POSIX lock is lost when the process
# closes the file, wherever it does: a file in here is not opened again.
_ours: set[tuple[int, int]] = set()
_guard = threading.Lock()


class Locked(Exception):
    """Another holds the lock."""


class FileLock:
    """A lock on a file, which is made where it is missing and never deleted.

    Parameters
    ----------
    path : Path
    timeout : float
        How long to wait for another holder, seconds.
    """

    def __init__(self, path: Path, timeout: float = 0.0) -> None:
        self._path = path
        self._timeout = timeout
        self._file: BinaryIO | None = None
        self._identity = (0, 0)

    def acquire(self) -> None:
        """Take the lock.

        Raises
        ------
        Locked
            Another process, or another lock of this one, holds it.
        LibraryError
            The file system has no locks.
        LibraryDamaged, OSError
        """
        end = time.monotonic() + self._timeout
        while not self._try():
            if time.monotonic() >= end:
                raise Locked(str(self._path))
            time.sleep(_PAUSE)

    def _try(self) -> bool:
        with _guard:
            try:
                found = os.stat(self._path)
                if (found.st_dev, found.st_ino) in _ours:
                    return False
            except FileNotFoundError:
                pass
            file = open_own(self._path, buffering=0)
            try:
                if not _lock(file.fileno(), self._path):
                    file.close()
                    return False
            except BaseException:
                file.close()
                raise
            found = os.fstat(file.fileno())
            self._identity = found.st_dev, found.st_ino
            _ours.add(self._identity)
            self._file = file
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            with _guard:
                _ours.discard(self._identity)
                self._file.close()
            self._file = None

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _lock(descriptor: int, path: Path) -> bool:
    """Whether the lock was free; it is held until the descriptor is closed."""
    missing: OSError | None = None
    for lock in _ways():
        try:
            lock(descriptor)
        except OSError as error:
            if error.errno in _HELD:
                return False
            if error.errno not in _NONE:
                raise
            missing = error
        else:
            return True
    assert missing is not None
    raise LibraryError(
        f"{path}: the file system there has no locks ({missing.strerror}), so that nothing keeps "
        "two processes from writing at once; keep the library on another disk, or in Milvus"
    )


if sys.platform == "win32":
    import msvcrt

    def _ways() -> list[Callable[[int], None]]:
        return [lambda descriptor: msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)]
else:
    import fcntl

    def _ways() -> list[Callable[[int], None]]:
        return [
            lambda descriptor: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB),
            lambda descriptor: fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB),
        ]
