"""Paths as people type them, and the state of a file, by which a later run knows its changes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ArgumentError

__all__ = ["AudioFile", "expanded", "file_state", "stat_file"]

_LATEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class AudioFile:
    """The state of a file on disk, on a server or in an archive.

    Attributes
    ----------
    uri : str
        Absolute path; bytes that are not UTF-8 are kept as surrogate escapes. Else a URL without
        what is secret in it; see `soundsearch_ingest.urls`.
    size : int
        Bytes; 0 where that is not known.
    mtime_ns : int
        Modification time, nanoseconds since 1970, in 64 bits; 0 where it is not known. Of what is
        not on this disk, whole seconds, and in place of the rest what tells versions apart.
    access : str
        The URL to read it by, where that holds what is secret; it is never stored or shown.
    origin : str
        Where its name was read, for messages about it.
    """

    uri: str
    size: int
    mtime_ns: int
    access: str = field(default="", compare=False, repr=False)
    origin: str = field(default="", compare=False)


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path, with the folder of a user for ``~`` or ``~NAME`` at its beginning.

    Raises
    ------
    ArgumentError
        There is no such user, or none has a folder. Else a library would be made in a folder that
        is called so.
    """
    text = os.path.expanduser(os.fspath(path))
    if text.startswith("~"):
        raise ArgumentError(
            f"{text}: no user's folder is known as {text.partition('/')[0]}; correct the name, or "
            f"write ./{text} for a file or folder that is called so"
        )
    return Path(text)


def stat_file(path: str) -> AudioFile:
    """Return the current state of a file on disk; raises OSError."""
    return file_state(path, os.stat(path))


def file_state(path: str, status: os.stat_result) -> AudioFile:
    """The state of a file on disk, of which the status is known."""
    # Clamp years beyond the range of 64-bit nanoseconds (1678 to 2262).
    return AudioFile(path, status.st_size, max(-_LATEST, min(status.st_mtime_ns, _LATEST)))
