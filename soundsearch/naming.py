"""Which clips of a store a path, a folder or a pattern names."""

from __future__ import annotations

import os
import re

from .errors import ArgumentError, ClipNotFound
from .pruning import is_below
from .stores.base import Store

__all__ = ["clips_named"]

_WILD = re.compile(r"\*\*/|\*\*|\*|\?|\[[^]/]+]")


def clips_named(store: Store, name: str | os.PathLike[str]) -> list[int]:
    """The ids of the clips that a uri, a folder above them or a pattern of uris names.

    In a pattern, ``*`` and ``?`` stand for what is within a folder, ``**`` for folders too, and
    ``[...]`` for one of several characters. What is there under a name is never read as a pattern.

    Raises
    ------
    ClipNotFound
        There is none.
    ArgumentError
        A range of characters in brackets is none.
    """
    given = os.fspath(name)
    path = os.path.abspath(os.path.expanduser(given))
    if exact := store.clip_at(given) or store.clip_at(path):
        return [exact.id]
    uris = {clip.id: clip.uri for clip in store.clips()}
    found = [clip_id for clip_id, uri in uris.items() if is_below(uri, path)]
    if not found and _WILD.search(given):
        try:
            fits = re.compile("|".join(map(_expression, (given, path))), re.DOTALL)
        except re.error as error:
            raise ArgumentError(f"{given}: is no pattern ({error})") from error
        found = [clip_id for clip_id, uri in uris.items() if fits.fullmatch(uri)]
    if not found:
        raise ClipNotFound(f"{given}: no clip of {store.address} is there")
    return found


def _expression(pattern: str) -> str:
    """A pattern as a regular expression."""
    parts, position = [], 0
    for wild in _WILD.finditer(pattern):
        parts += [re.escape(pattern[position : wild.start()]), _wild(wild[0])]
        position = wild.end()
    return "".join([*parts, re.escape(pattern[position:])])


def _wild(text: str) -> str:
    match text:
        case "**/":
            return "(?:.*/)?"
        case "**":
            return ".*"
        case "*":
            return "[^/]*"
        case "?":
            return "[^/]"
    negated = text[1] in "!^"
    inside = re.sub(r"([\\\[&~|])", r"\\\1", text[2 if negated else 1 : -1])
    return f"[{'^/' if negated else ''}{inside}]"
