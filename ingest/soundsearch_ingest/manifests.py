"""Manifests: text files that list the files to ingest, a path or URL a line."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

from .errors import ArgumentError, AudioError
from .files import AudioFile
from .sources import ahead, stated
from .urls import absolute, is_remote, plain

__all__ = ["STANDARD_INPUT", "Manifest"]

STANDARD_INPUT = "-"
# No path or URL is as long, in bytes; what has no lines at all is not read to its end.
_LONGEST = 1 << 16


class Manifest:
    """The files that a text file lists, a path or URL a line, in UTF-8.

    Blank lines are ignored, and those that begin with ``#``. Relative paths are relative to the
    manifest's folder. Nothing is read as a pattern, and folders are not searched.

    Parameters
    ----------
    path : path
        Its file; ``-`` for standard input, whose paths are relative to the working folder.

    Attributes
    ----------
    name : str
        For messages.

    Raises
    ------
    AudioError
        It cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        text = os.fspath(path)
        self._is_input = text == STANDARD_INPUT
        self._path = os.path.abspath(os.path.expanduser(text))
        self.name = "standard input" if self._is_input else self._path
        try:
            # Opened once and early: it may be a pipe.
            self._file = sys.stdin.buffer if self._is_input else open(self._path, "rb")  # noqa: SIM115
        except OSError as error:
            raise AudioError(self.name, error.strerror or str(error)) from error
        if not self._is_input:
            weakref.finalize(self, self._file.close)

    def files(self, wanted: Callable[[str], bool] = lambda _uri: True) -> Iterator[AudioFile]:
        """The files, in order, each once; what is not there as a file of unknown state.

        Parameters
        ----------
        wanted : callable
            Whether a file with this uri is; others are not looked at.

        Raises
        ------
        ArgumentError
            A line cannot be a path or URL.
        MissingExtra
            A URL needs a package that is not installed.
        """
        lines = (line for line in self._lines() if wanted(plain(line[0])))
        return ahead(_stated, lines, lambda line: is_remote(line[0]))

    def _lines(self) -> Iterator[tuple[str, str]]:
        """Absolute paths and URLs, and which line each is from."""
        beside = "" if self._is_input else os.path.dirname(self._path)
        seen: set[int] = set()
        for number, line in enumerate(iter(lambda: self._file.readline(_LONGEST), b""), 1):
            text = line.decode("utf-8", "surrogateescape").strip()
            if number == 1:
                text = text.removeprefix("\ufeff")
            if not text or text.startswith("#"):
                continue
            if "\0" in text or len(line) >= _LONGEST:
                raise ArgumentError(
                    f"{self.name}, line {number}: expected a path or URL, got what cannot be one; "
                    "is it a text file?"
                )
            uri = absolute(text, beside)
            if hash(uri) not in seen:
                seen.add(hash(uri))
                yield uri, f"line {number} of {os.path.basename(self.name)}"


def _stated(line: tuple[str, str]) -> AudioFile:
    uri, origin = line
    return replace(stated(uri), origin=origin)
