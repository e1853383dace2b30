"""The one open library of a server, opened again where another takes its place."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..library import Library
from ..stores.local.schema import CATALOG
from ..stores.opening import Place

__all__ = ["Holding"]

# What tells a library in a folder from one that was put in its place.
_Mark = tuple[int, int] | None


class _Open:
    """An open library with those who use it; the last one closes it once it is given up."""

    def __init__(self, library: Library, mark: _Mark) -> None:
        self.library, self.mark = library, mark
        self.users = 0
        self.is_given_up = False


class Holding:
    """Keeps a library open for all threads.

    A library that is written to meanwhile is read as it is at each question. One that was
    replaced, or made after the server was started, is opened.

    Parameters
    ----------
    place : Path or MilvusUri
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._open: _Open | None = None

    @contextmanager
    def library(self) -> Iterator[Library]:
        """Use the library.

        Raises
        ------
        LibraryError
            It cannot be opened. One that is not there is told of when it is asked.
        """
        held = self._taken()
        try:
            yield held.library
        finally:
            with self._lock:
                held.users -= 1
                is_last = held.is_given_up and not held.users
            if is_last:
                held.library.close()

    def close(self) -> None:
        """Close it as soon as nobody uses it."""
        with self._lock:
            self._give_up()

    def _taken(self) -> _Open:
        with self._lock:
            mark = self._mark()
            if self._open is None or self._open.mark != mark or self._is_unmade(mark):
                self._give_up()
                self._open = _Open(Library(self.place), mark)
            self._open.users += 1
            return self._open

    def _give_up(self) -> None:
        held, self._open = self._open, None
        if held is not None:
            held.is_given_up = True
            if not held.users:
                held.library.close()

    def _mark(self) -> _Mark:
        if isinstance(self.place, Path):
            with suppress(OSError):
                found = os.stat(self.place / CATALOG)
                return found.st_dev, found.st_ino
        return None

    def _is_unmade(self, mark: _Mark) -> bool:
        """Whether no library was there when it was opened."""
        return mark is None and self._open is not None and not self._open.library._session.is_made
