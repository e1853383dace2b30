"""Patterns of paths, as regular expressions."""

from __future__ import annotations

import re

__all__ = ["expression", "has_wildcards"]

_WILD = re.compile(r"\*\*/|\*\*|\*|\?|\[[^]/]+]")


def has_wildcards(pattern: str) -> bool:
    """Whether a text is a pattern."""
    return _WILD.search(pattern) is not None


def expression(pattern: str) -> str:
    """A pattern as a regular expression.

    ``*`` and ``?`` stand for what is within a folder, ``**`` for folders too, and ``[...]`` for one
    of several characters. It need not compile: a range in brackets may be none.
    """
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
