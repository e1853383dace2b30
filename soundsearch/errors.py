"""Every error that soundsearch raises on purpose.

::

    SoundsearchError
    ├── ArgumentError          a value that a call cannot take; a ValueError too
    ├── AudioError             a file or array gives no usable audio
    ├── EncoderError           an encoder's model is missing or damaged
    ├── MissingExtra           a package that only some need is not installed
    ├── LibraryError           something is wrong with a library
    │   ├── LibraryNotFound    there is none at that place
    │   ├── LibraryBusy        another process writes to it
    │   ├── LibraryDamaged     its files contradict each other
    │   ├── LibraryVersion     another version of soundsearch made it
    │   └── SpaceMismatch      embeddings of another space
    └── ClipNotFound           no clip has that uri or id
"""

from __future__ import annotations

from soundsearch_ingest.errors import (
    ArgumentError,
    AudioError,
    EncoderError,
    MissingExtra,
    SoundsearchError,
)

__all__ = [
    "ArgumentError",
    "AudioError",
    "ClipNotFound",
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


class LibraryError(SoundsearchError):
    """Something is wrong with a library."""


class LibraryNotFound(LibraryError):
    """There is no library at that place."""


class LibraryBusy(LibraryError):
    """Another process holds the library for writing."""


class LibraryDamaged(LibraryError):
    """The files of a library contradict each other."""


class LibraryVersion(LibraryError):
    """The library was made by a version of soundsearch that this one cannot read."""


class SpaceMismatch(LibraryError):
    """Embeddings of one space were offered to a library of another."""

    def __init__(self, where: str, expected: str, got: str) -> None:
        super().__init__(
            f"{where}: holds embeddings of the space {expected!r}, the encoder that is installed "
            f"gives {got!r}; bring the library up to date with: soundsearch ingest --reembed"
        )
        self.expected = expected
        self.got = got


class ClipNotFound(SoundsearchError):
    """No clip of the library has that uri or id."""
