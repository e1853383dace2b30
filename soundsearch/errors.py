"""The exceptions of soundsearch.

::

    SoundsearchError
    ├── ArgumentError          an invalid argument; also a ValueError
    ├── AudioError             a file or array holds no usable audio
    ├── EncoderError           an encoder's model is missing or damaged
    ├── MissingExtra           an optional package is not installed
    ├── ClusterError           a cluster cannot be used
    ├── LibraryError           something is wrong with a library
    │   ├── LibraryNotFound    there is no library at this address
    │   ├── LibraryBusy        another process is writing to it
    │   ├── LibraryDamaged     its data are inconsistent
    │   ├── LibraryVersion     this version of soundsearch cannot read it
    │   └── SpaceMismatch      embeddings of another space
    └── ClipNotFound           no clip has this uri or id
"""

from __future__ import annotations

from soundsearch_ingest.errors import (
    ArgumentError,
    AudioError,
    EncoderError,
    MissingExtra,
    SoundsearchError,
)

from .hints import command

__all__ = [
    "ArgumentError",
    "AudioError",
    "ClipNotFound",
    "ClusterError",
    "EncoderError",
    "LibraryBusy",
    "LibraryDamaged",
    "LibraryError",
    "LibraryNotFound",
    "LibraryVersion",
    "MissingExtra",
    "SoundsearchError",
    "SpaceMismatch",
]


class ClusterError(SoundsearchError):
    """A cluster is not there, or its workers cannot do what they must."""


class LibraryError(SoundsearchError):
    """Something is wrong with a library."""


class LibraryNotFound(LibraryError):
    """There is no library at this address."""


class LibraryBusy(LibraryError):
    """Another process has locked the library for writing."""


class LibraryDamaged(LibraryError):
    """The data of a library are inconsistent."""


class LibraryVersion(LibraryError):
    """Another version of soundsearch made the library, and this one cannot read it."""


class SpaceMismatch(LibraryError):
    """Embeddings of one space were given to a library of another."""

    def __init__(self, address: str, expected: str, got: str, message: str | None = None) -> None:
        super().__init__(
            message
            or f"{address}: holds embeddings of the space {expected!r}, but the installed encoder "
            f"gives {got!r}; update the library with: {command('ingest --reembed', address)}"
        )
        self.expected = expected
        self.got = got


class ClipNotFound(SoundsearchError):
    """No clip in the library has this uri or id."""
