"""Commands that messages tell the user to type, for the library that they are about."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

__all__ = ["command", "default_library", "user_data"]

_LOGIN_AND_OPTIONS = re.compile(r"(?<=://)[^/]*@|\?.*")


def command(arguments: str, library: object) -> str:
    """``soundsearch`` with these arguments; it names the library unless that is the default."""
    address = str(library)
    if _plain(address) == _plain(default_library()):
        return f"soundsearch {arguments}"
    return f"soundsearch {arguments} --library {shlex.quote(address)}"


def default_library() -> str:
    """The library of commands that name none: ``SOUNDSEARCH_LIBRARY``, else in user data."""
    return os.environ.get("SOUNDSEARCH_LIBRARY") or str(user_data() / "library")


def user_data() -> Path:
    """The user's folder for soundsearch's data."""
    from platformdirs import user_data_path

    return user_data_path("soundsearch", appauthor=False)


def _plain(address: str) -> str:
    """An address that can be compared: messages show none with a token."""
    if "://" in address:
        return _LOGIN_AND_OPTIONS.sub("", address)
    return os.path.abspath(os.path.expanduser(address))
