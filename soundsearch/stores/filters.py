"""Filters on the fields of clips, as data. Each store compiles them.

`soundsearch.asking.expressions` parses and checks them. `matches` defines their meaning, and every
store must let exactly the same clips through.

A comparison is true or false, never unknown. With a missing value (a tag that the clip does not
have, no warning) it is false, whatever the operator: ``tag['take'] != 1`` finds clips that have
another `take`. `Missing` tests for the absence.
"""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .records import NO_LABEL, StoredClip, TagValue

__all__ = [
    "ALIKE",
    "OPERATORS",
    "And",
    "Comparison",
    "Field",
    "Filter",
    "HumanLabel",
    "Label",
    "Missing",
    "Named",
    "Not",
    "OneOf",
    "Or",
    "Plain",
    "Tag",
    "is_named",
    "like_pattern",
    "matches",
    "said_in",
]

# In the order in which the tokenizer must try them.
OPERATORS = ("==", "!=", "<=", ">=", "<", ">", "like")


@dataclass(frozen=True, slots=True)
class Plain:
    """A plain field: ``uri``, ``duration``, ``segments``, ``padded``, ``warning`` or ``modified``.

    ``segments`` is a count; ``modified`` is when the file was last changed, in Unix seconds.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag by its key; its value is a text, a number or a truth value."""

    key: str


@dataclass(frozen=True, slots=True)
class Label:
    """The score of a node of the ontology, 0 to 1.

    The highest score of a clip's kept labels among these classes: the node and those below it. A
    human label counts as 1; without any label the score is 0.
    """

    classes: frozenset[int]


@dataclass(frozen=True, slots=True)
class HumanLabel:
    """Whether a clip has a human label among these classes: a node and those below it."""

    classes: frozenset[int]


Field = Plain | Tag | Label | HumanLabel


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of a field with a value of its type, by one of `OPERATORS`.

    Texts compare by code points and are case-sensitive; in ``like``, ``%`` stands for any run of
    characters and ``_`` for one. Truth values have only ``==`` and ``!=``. A tag whose type is not
    the value's counts as missing.
    """

    field: Field
    operator: str
    value: TagValue


@dataclass(frozen=True, slots=True)
class OneOf:
    """Whether a field equals one of several values."""

    field: Plain | Tag
    values: tuple[TagValue, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """Whether a clip lacks a tag or has no warning."""

    field: Plain | Tag


@dataclass(frozen=True, slots=True)
class Named:
    """Whether the name of a clip's file, of a folder above it or a tag that is a text matches.

    In the pattern ``*`` stands for any run of characters and ``?`` for one. Letters are the same
    in any case, and with an accent as one character or two. A pattern with slashes is that of as
    many names that follow each other.
    """

    pattern: str


@dataclass(frozen=True, slots=True)
class Not:
    part: Filter


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Filter, ...]


Filter = Comparison | OneOf | Missing | Named | Not | And | Or


def matches(filter: Filter, clip: StoredClip) -> bool:
    """Return whether a filter lets a clip through."""
    match filter:
        case And(parts):
            return all(matches(part, clip) for part in parts)
        case Or(parts):
            return any(matches(part, clip) for part in parts)
        case Not(part):
            return not matches(part, clip)
        case Missing(field):
            return _value(field, clip) is None
        case Named(pattern):
            return is_named(pattern, clip.record.uri, clip.record.tags.values())
        case OneOf(field, values):
            return any(matches(Comparison(field, "==", value), clip) for value in values)
        case Comparison(field, name, value):
            found = _value(field, clip)
            if found is None or _kind(found) is not _kind(value):
                return False
            return _COMPARE[name](found, value)


def _value(field: Field, clip: StoredClip) -> Any:
    record = clip.record
    match field:
        case Plain("segments"):
            return clip.count
        case Plain("modified"):
            return record.file.mtime_ns / 1e9 if record.file.mtime_ns else None
        case Plain(name):
            return getattr(record, name)
        case Tag(key):
            return record.tags.get(key)
        case HumanLabel(classes):
            return not classes.isdisjoint(record.human_labels)
        case Label(classes):
            if not classes.isdisjoint(record.human_labels):
                return 1.0
            labels = record.labels.tolist()
            return max((s for i, s in labels if i in classes and i != NO_LABEL), default=0.0)


def _kind(value: TagValue) -> type:
    if isinstance(value, bool):
        return bool
    return str if isinstance(value, str) else float


def is_named(pattern: str, uri: str, tags: Iterable[TagValue]) -> bool:
    """Whether a clip at a uri, with tags of these values, is `Named` so."""
    texts = [value for value in tags if isinstance(value, str)]
    said = said_in(pattern)
    if all(text.isascii() and said not in text.lower() for text in (uri, *texts)):
        return False  # as of most, without folding
    pattern = _folded(pattern)
    expression = like_pattern(pattern, "*?")
    names, count = _folded(uri).split("/"), pattern.count("/") + 1
    rows = ["/".join(names[at : at + count]) for at in range(len(names) - count + 1)]
    return any(expression.fullmatch(text) for text in (*rows, *map(_folded, texts)))


@lru_cache(maxsize=64)
def said_in(pattern: str) -> str:
    """A text that is in every name that a pattern of `Named` matches, in small letters.

    In ASCII that JSON writes as it is, and that no other character has as its small letter but
    those of `ALIKE`.
    """
    return max(_SAID.findall(_folded(pattern)), key=len, default="")


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    # A sigma becomes another letter at the end of a word, which a pattern need not have.
    return unicodedata.normalize("NFC", text).lower().replace("\u03c2", "\u03c3")


_SAID = re.compile(r"[a-z0-9 ._-]+")
# What is not ASCII and yet has small letters that are.
ALIKE = "\u0130\u212a"


@lru_cache(maxsize=64)
def like_pattern(pattern: str, signs: str = "%_") -> re.Pattern[str]:
    """Translate a pattern of ``like`` to a regular expression that must match the whole text.

    `signs` are those for any run of characters and for one.

    In time that does not explode with the number of ``%``: the first place of each part between
    two of them is as good as any other, so that none is tried again (as in Python's `fnmatch`).
    """
    run, one = signs[0], signs[1]
    first, *rest = (
        "".join("." if c == one else re.escape(c) for c in part) for part in pattern.split(run)
    )
    parts = [f"(?=(?P<p{n}>.*?{part}))(?P=p{n})" for n, part in enumerate(rest[:-1]) if part]
    last = [f".*{rest[-1]}"] if rest else []
    return re.compile("".join([first, *parts, *last]), re.DOTALL)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "like": lambda text, pattern: like_pattern(pattern).fullmatch(text) is not None,
}
