"""Filters as data: which clips are let through, by their fields. Each store compiles them.

`soundsearch.asking.expressions` reads them from text and checks them; what they mean is said here,
by `matches`, and a store must let the same clips through.

A comparison is true or false, never unknown: one with a value that is not there (a tag that the
clip does not have, no warning) is false, whatever the operator, so that ``tag['take'] != 1`` asks
for clips that have another take. `Missing` asks for the absence.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .records import NO_LABEL, StoredClip, TagValue

__all__ = [
    "OPERATORS",
    "And",
    "Comparison",
    "Field",
    "Filter",
    "HumanLabel",
    "Label",
    "Missing",
    "Not",
    "OneOf",
    "Or",
    "Plain",
    "Tag",
    "like_pattern",
    "matches",
]

# In the order in which a tokenizer must try them.
OPERATORS = ("==", "!=", "<=", ">=", "<", ">", "like")


@dataclass(frozen=True, slots=True)
class Plain:
    """A field of a clip's own: ``uri``, ``duration``, ``segments``, ``padded`` or ``warning``."""

    name: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag by its key; its value may be a text, a number or a truth value."""

    key: str


@dataclass(frozen=True, slots=True)
class Label:
    """The score of a node of the ontology, 0 to 1.

    The highest that a clip's kept labels give to one of these classes: the node and those below
    it. A label given by people counts as 1; without any, the score is 0.
    """

    classes: frozenset[int]


@dataclass(frozen=True, slots=True)
class HumanLabel:
    """Whether people gave a clip one of these classes: a node and those below it."""

    classes: frozenset[int]


Field = Plain | Tag | Label | HumanLabel


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field against a value of its type, by one of `OPERATORS`.

    Texts compare by code points and are case-sensitive; ``like`` takes ``%`` for any run of
    characters and ``_`` for one. Truth values know ``==`` and ``!=`` only. A tag of another type
    than the value's is as if it were not there.
    """

    field: Field
    operator: str
    value: TagValue


@dataclass(frozen=True, slots=True)
class OneOf:
    """Whether a field equals one of some values."""

    field: Plain | Tag
    values: tuple[TagValue, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """Whether a clip has no such tag, or no warning."""

    field: Plain | Tag


@dataclass(frozen=True, slots=True)
class Not:
    part: Filter


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Filter, ...]


Filter = Comparison | OneOf | Missing | Not | And | Or


def matches(filter: Filter, clip: StoredClip) -> bool:
    """Whether a filter lets a clip through."""
    match filter:
        case And(parts):
            return all(matches(part, clip) for part in parts)
        case Or(parts):
            return any(matches(part, clip) for part in parts)
        case Not(part):
            return not matches(part, clip)
        case Missing(field):
            return _value(field, clip) is None
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


@lru_cache(maxsize=64)
def like_pattern(pattern: str) -> re.Pattern[str]:
    """What ``like`` means, as a regular expression for the whole text."""
    parts = (".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.compile("".join(parts), re.DOTALL)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "like": lambda text, pattern: like_pattern(pattern).fullmatch(text) is not None,
}
