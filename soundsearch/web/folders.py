"""The server's folder of temporary files, and those that killed servers left behind."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from ..errors import LibraryError
from ..stores.local.locking import FileLock, Locked

__all__ = ["Folder"]

_PREFIX = "soundsearch-web-"
# Held as long as the folder is used: the system lets go of it, however its process ends.
_LOCK = "lock"


class Folder:
    """A folder in the system's one for temporary files, until it is closed.

    Those of servers that were killed are removed first.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        _clear_away()
        self._make()

    @property
    def path(self) -> str:
        """The folder: made again where it was cleaned away, as old ones are."""
        with self._guard:  # many threads ask, and one makes it
            try:
                is_there = os.path.samestat(self._made, os.stat(self._path))
            except OSError:
                is_there = False
            if not is_there:
                self._lock.release()
                self._make()
            return self._path

    def close(self) -> None:
        """Remove it, with all that is in it."""
        shutil.rmtree(self._path, ignore_errors=True)
        self._lock.release()

    def _make(self) -> None:
        is_held = False
        while not is_held:
            self._path = tempfile.mkdtemp(prefix=_PREFIX)
            self._made = os.stat(self._path)
            self._lock = FileLock(Path(self._path, _LOCK))
            try:
                self._lock.acquire()
            except (Locked, FileNotFoundError):
                continue  # a server that starts just now takes it for one that was left behind
            except LibraryError:
                return  # nobody can lock anything there, and so nobody removes it
            is_held = os.path.exists(os.path.join(self._path, _LOCK))
            if not is_held:
                self._lock.release()


def _clear_away() -> None:
    """Remove the folders whose locks nobody holds; those without one are just being made."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as scan:
        for entry in scan:
            if not entry.name.startswith(_PREFIX) or entry.is_symlink():
                continue
            lock = Path(entry.path, _LOCK)
            with suppress(Locked, LibraryError, OSError):  # such as another user's
                if lock.is_file():
                    with FileLock(lock):
                        shutil.rmtree(entry.path, ignore_errors=True)
