"""Opens files of a library's folder: only plain ones, and to write only those of its own.

A folder may come from somebody else, or others may write to it: a link that was planted there
must not lead a writer to another file, nor a pipe keep a reader waiting.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from ...errors import LibraryDamaged

__all__ = ["check_own", "check_plain", "open_own", "open_plain"]

_PLAIN = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises
    ------
    LibraryDamaged
        It is a folder, a pipe or a device.
    OSError
    """

    def opener(_path: str, _flags: int) -> int:
        return _checked(path, os.open(path, os.O_RDONLY | _PLAIN), own=False)

    return open(path, "rb", opener=opener)


def open_own(path: Path, new: bool = False, mode: int = 0o666, buffering: int = -1) -> BinaryIO:
    """Open a file for reading and writing, made where it is missing.

    Parameters
    ----------
    path : Path
    new : bool
        It must not be there yet.
    mode : int
        Of a file that is made.
    buffering : int
        Bytes; 0 for none.

    Raises
    ------
    LibraryDamaged
        It is no plain file, or another path leads to it too.
    OSError
    """
    if path.is_symlink():  # the system's own words for it speak of levels
        raise _not_own(path, "a symbolic link")
    flags = os.O_RDWR | os.O_CREAT | (os.O_EXCL if new else 0) | _PLAIN | _NO_LINK

    def opener(_path: str, _flags: int) -> int:
        return _checked(path, os.open(path, flags, mode), own=True)

    return open(path, "r+b", buffering, opener=opener)


def check_plain(path: Path) -> None:
    """Raise LibraryDamaged where something else than a plain file is there."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    _check(path, found, own=False)


def check_own(path: Path) -> None:
    """Raise LibraryDamaged where something is there that `open_own` would not open."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    _check(path, found, own=True)


def _checked(path: Path, descriptor: int, own: bool) -> int:
    try:
        _check(path, os.fstat(descriptor), own)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: Path, found: os.stat_result, own: bool) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise _not_own(path, "a symbolic link")
    if not stat.S_ISREG(found.st_mode):
        raise LibraryDamaged(
            f"{path}: expected a file, it is something else; take it away, or restore the "
            "library's folder from a copy"
        )
    if own and found.st_nlink > 1:
        raise _not_own(path, "a file with several names (hard links)")


def _not_own(path: Path, what: str) -> LibraryDamaged:
    return LibraryDamaged(
        f"{path}: is {what}, and writing to it would change another place too; put a copy of "
        "the file in its place, then run the same command again"
    )
