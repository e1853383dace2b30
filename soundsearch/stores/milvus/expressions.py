"""Filters compiled to Milvus expressions over clip rows (see `rows`).

Expressions use what both Milvus Lite 3.2 and a 2.3.5 server understand. Time of a scan of 20 000
clips (2 busy cores, same rows; Lite spends some 60 us on each clip that it returns):

=============================================  ==========  ==========
a clip's field as                              Lite        server
=============================================  ==========  ==========
typed scalar, ``duration < 5``                 160 ms      9 ms
labels in ten typed pairs, 70 classes          220 ms      15 ms
labels in JSON, 70 classes                     6200 ms     110 ms
text in JSON, ``tags["s:mic"] == "AKG"``       670 ms      15 ms
the same as a dynamic field                    450 ms      14 ms
ARRAY, ``array_contains_any``, 70 classes      620 ms      10 ms
=============================================  ==========  ==========

Labels are therefore typed fields; tags are JSON, because users choose their keys. ``like`` beyond
a prefix, ``in`` on JSON and comparisons with ``array_length`` each work in only one of the two. A
chain of a hundred ``or`` breaks the server, whose messages may nest 100 deep, so chains are built
as balanced trees. A comparison with a missing key is false on the server and unknown in Lite, even
below ``not``, so ``not`` is pushed down to the comparisons and the absence is written out there.

`compile_filter` drops or widens what an expression cannot say, and tells of it; `matches` then
checks that of the clips that got through, of names and tags with rows that hold little more.
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..filters import (
    And,
    Comparison,
    Filter,
    HumanLabel,
    Label,
    Missing,
    Named,
    Not,
    OneOf,
    Or,
    Plain,
    Tag,
)
from ..records import CLIP_LABELS, NO_LABEL, TagValue
from .rows import packed_uri, tag_key

__all__ = ["Compiled", "among", "compile_filter"]

# The deepest tree of an expression: a server's messages may nest 100 deep, and a node takes two
# levels.
_DEEPEST = 40
# The longest expression, in characters; longer lists are checked by `matches`.
_LONGEST = 2 << 20

# How many runs of numbers in a list are replaced by range comparisons, at most.
_MOST_RUNS = 64

_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_TEST: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
}
# Texts with these characters have no literal that both read alike.
_UNSAYABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression, and whether it lets through exactly what its filter does, or more.

    ``text`` is "" if everything is let through and None if nothing is. ``rest`` is what then is to
    be checked of the clips that it lets through; None if it is exact.
    """

    text: str | None
    exact: bool = True
    depth: int = 0
    rest: Filter | None = None


_ALL = Compiled("")
_NONE = Compiled(None)
_UNKNOWN = Compiled("", exact=False)


def compile_filter(filter: Filter, lite: bool) -> Compiled:
    """Compile a filter to an expression over clip rows.

    Parameters
    ----------
    filter : Filter
    lite : bool
        Whether to compile for Milvus Lite.
    """
    compiled = _Compiler(lite).compile(filter, True)
    rest = None if compiled.exact else filter
    if isinstance(rest, And) and compiled.text:
        parts = [compile_filter(part, lite).rest for part in rest.parts]
        rest = And(tuple(part for part in parts if part is not None))
    return replace(compiled, rest=rest)


def are_enough(fields: Sequence[str], filter: Filter) -> bool:
    """Whether these fields of a clip's row tell if a filter lets it through."""
    match filter:
        case And(parts) | Or(parts):
            return all(are_enough(fields, part) for part in parts)
        case Not(part):
            return are_enough(fields, part)
        case Named():
            return "uri" in fields and "tags" in fields
        case Comparison(Plain(name)) | OneOf(Plain(name)) | Missing(Plain(name)):
            return name in fields
        case Comparison(HumanLabel()):
            return "human_labels" in fields
        case Comparison(Tag()) | OneOf(Tag()) | Missing(Tag()):
            return "tags" in fields
    return False


def among(field: str, values: Sequence[int] | NDArray[np.int64]) -> str:
    """An expression: a field has one of some integers, at least one."""
    text = _among(field, values).text
    assert text
    return text


def _among(field: str, values: Iterable[int]) -> Compiled:
    """Replace runs of three or more by range comparisons, the longest runs first."""
    array = np.unique(np.fromiter(values, np.int64))
    starts = np.flatnonzero(np.diff(array, prepend=array[:1] - 2) != 1)
    ends = np.append(starts[1:], len(array))
    runs = np.argsort(starts - ends, kind="stable")[:_MOST_RUNS]
    runs = runs[(ends - starts)[runs] > 2]
    single = np.ones(len(array), bool)
    parts = []
    for first, end in zip(starts[runs].tolist(), ends[runs].tolist(), strict=True):
        single[first:end] = False
        text = f"({field} >= {array[first]} and {field} <= {array[end - 1]})"
        parts.append(_leaf(text, 2))
    if single.any():
        listed = ",".join(map(str, array[single].tolist()))
        parts.append(_leaf(f"{field} in [{listed}]"))
    return _joined("or", parts, limited=False)


def _leaf(text: str, depth: int = 1) -> Compiled:
    return Compiled(text, True, depth)


def _joined(word: str, parts: Iterable[Compiled], limited: bool = True) -> Compiled:
    """Join parts by `and` or `or` into a balanced tree."""
    neutral, absorbing = (_ALL, _NONE) if word == "and" else (_NONE, _ALL)
    kept: list[Compiled] = []
    exact = True
    for part in parts:
        if part.text == absorbing.text and part.exact:
            return absorbing
        exact = exact and part.exact
        if part.text != neutral.text:
            kept.append(part)
    if any(part.text == absorbing.text for part in kept):  # an inexact part of an `or`
        return _UNKNOWN
    while len(kept) > 1:
        pairs = [kept[n : n + 2] for n in range(0, len(kept), 2)]
        kept = [
            pair[0]
            if len(pair) == 1
            else Compiled(
                f"({pair[0].text} {word} {pair[1].text})",
                True,
                1 + max(part.depth for part in pair),
            )
            for pair in pairs
        ]
    if not kept:
        return Compiled(neutral.text, exact)
    [one] = kept
    if limited and (one.depth > _DEEPEST or len(one.text or "") > _LONGEST):
        return _UNKNOWN
    return Compiled(one.text, exact, one.depth)


def _text(value: str) -> str | None:
    """A text as a literal; None if Lite and server do not read it alike."""
    if _UNSAYABLE.search(value):
        return None
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _split(pattern: str) -> tuple[str, str]:
    """Split a pattern of `like` into the text before its first wildcard and the rest."""
    prefix = re.split("[%_]", pattern, maxsplit=1)[0]
    rest = pattern[len(prefix) :]
    return prefix, "%" if rest and not rest.strip("%") else rest


def _after(prefix: str) -> str:
    """The least text above all those that begin with a prefix; "" if there is none."""
    for end in range(len(prefix), 0, -1):
        last = ord(prefix[end - 1])
        if last < 0x10FFFF:
            return prefix[: end - 1] + chr(0xE000 if last == 0xD7FF else last + 1)
    return ""


def _packed(uri: str) -> str | None:
    """A uri as it is stored; None if other uris are stored the same way."""
    try:
        is_one = os.fsdecode(os.fsencode(uri)) == uri
    except UnicodeEncodeError:
        return None
    return packed_uri(uri) if is_one else None


class _Compiler:
    """Compiles a filter or, if ``wanted`` is False, its opposite."""

    def __init__(self, lite: bool) -> None:
        self._lite = lite

    def compile(self, filter: Filter, wanted: bool) -> Compiled:
        match filter:
            case Not(part):
                return self.compile(part, not wanted)
            case And(parts) | Or(parts):
                is_and = isinstance(filter, And) is wanted
                return _joined(
                    "and" if is_and else "or", [self.compile(part, wanted) for part in parts]
                )
            case Missing(field):
                return self._missing(field, wanted)
            case Named():
                return _UNKNOWN
            case OneOf(field, values):
                return self._one_of(field, values, wanted)
            case Comparison(Label(classes), name, value):
                if isinstance(value, bool | str):
                    return _NONE if wanted else _ALL
                return self._label(classes, name, float(value), wanted)
            case Comparison(HumanLabel(classes), name, value):
                if not isinstance(value, bool):
                    return _NONE if wanted else _ALL
                return self._human_label(classes, ((name == "==") is value) is wanted)
            case Comparison(Tag(key), name, value):
                return self._tag(key, name, value, wanted)
            case Comparison(Plain(field_name), name, value):
                return self._plain(field_name, name, value, wanted)
        raise TypeError(f"{filter!r} is not a filter")

    # Labels

    def _label(self, classes: frozenset[int], name: str, value: float, wanted: bool) -> Compiled:
        if name == "==":
            both = [self._label(classes, each, value, wanted) for each in ("<=", ">=")]
            return _joined("and" if wanted else "or", both)
        if name == "!=":
            return self._label(classes, "==", value, not wanted)
        if name in ("<", "<="):
            return self._label(classes, _OPPOSITE[name], value, not wanted)
        test = _TEST[name]
        if test(0.0, value):
            return _ALL if wanted else _NONE
        if not test(1.0, value):
            return _NONE if wanted else _ALL
        # Scores are half precision: the least that passes is the same number for everybody.
        least = np.float16(value)
        if not test(float(least), value):
            least = np.nextafter(least, np.float16(np.inf))
        known = classes - {NO_LABEL}
        if not known:
            return _NONE if wanted else _ALL
        parts = [
            _joined("and", [_leaf(f"score_{n} >= {float(least)!r}"), _among(f"label_{n}", known)])
            for n in range(CLIP_LABELS)
        ]
        parts.append(self._human_label(classes, True))
        return self._is(_joined("or", parts), wanted)

    def _human_label(self, classes: frozenset[int], wanted: bool) -> Compiled:
        known = sorted(classes)
        if not known:
            return _NONE if wanted else _ALL
        if self._lite:
            one = [_leaf(f'human_labels like "%;{label};%"') for label in known]
            return self._is(_joined("or", one), wanted)
        return self._is(_leaf(f"array_contains_any(human_labels, {known})"), wanted)

    @staticmethod
    def _is(part: Compiled, wanted: bool) -> Compiled:
        """A part over fields that are never missing, or its opposite."""
        if wanted:
            return part
        if not part.exact:
            return _UNKNOWN
        if not part.text:
            return _ALL if part.text is None else _NONE
        return Compiled(f"(not ({part.text}))", True, part.depth + 1)

    # Tags

    def _missing(self, field: Plain | Tag, wanted: bool) -> Compiled:
        if isinstance(field, Plain):
            if field.name == "modified":
                return _UNKNOWN
            if field.name != "warning":
                return _NONE if wanted else _ALL
            return _leaf('warning == ""' if wanted else 'warning != ""')
        each = [self._absent(kind, field.key, wanted) for kind in (str, float, bool)]
        return _joined("and" if wanted else "or", each)

    @staticmethod
    def _absent(kind: type, key: str, wanted: bool) -> Compiled:
        present = f'exists tags["{tag_key(kind, key)}"]'
        return _leaf(f"(not ({present}))", 2) if wanted else _leaf(f"({present})")

    def _tag(self, key: str, name: str, value: TagValue, wanted: bool) -> Compiled:
        kind = type(value) if isinstance(value, bool | str) else float
        path = f'tags["{tag_key(kind, key)}"]'
        if kind is bool:
            found = self._present_and(path, "==", (name == "==") is value, wanted)
        elif isinstance(value, str) and name == "like":
            found = self._like(path, value, wanted)
        else:
            found = self._present_and(path, name, value, wanted)
        if wanted:
            return found
        return _joined("or", [self._absent(kind, key, True), found])

    def _present_and(self, path: str, name: str, value: TagValue, wanted: bool) -> Compiled:
        """A comparison, or its opposite; both are false for a missing key."""
        if isinstance(value, bool):
            return _leaf(f"{path} == {'true' if value is wanted else 'false'}")
        name = name if wanted else _OPPOSITE[name]
        literal = _text(value) if isinstance(value, str) else repr(float(value))
        if literal is None:
            return _UNKNOWN
        if name == "!=":  # also true for a missing key on a server
            return _joined("or", [_leaf(f"{path} {sign} {literal}") for sign in "<>"])
        return _leaf(f"{path} {name} {literal}")

    def _like(self, path: str, pattern: str, wanted: bool) -> Compiled:
        prefix, rest = _split(pattern)
        if not rest:
            return self._present_and(path, "==", prefix, wanted)
        least, above = _text(prefix), _text(_after(prefix))
        if least is None or above is None or (rest != "%" and not wanted):
            return _UNKNOWN
        if not wanted:
            below = [_leaf(f"{path} < {least}")] if prefix else []
            beyond = [_leaf(f"{path} >= {above}")] if _after(prefix) else []
            return _joined("or", below + beyond)
        parts = [_leaf(f"{path} >= {least}")]
        if _after(prefix):
            parts.append(_leaf(f"{path} < {above}"))
        inside = _joined("and", parts)
        return Compiled(inside.text, rest == "%", inside.depth)

    # Plain fields

    def _one_of(self, field: Plain | Tag, values: tuple[TagValue, ...], wanted: bool) -> Compiled:
        if isinstance(field, Plain) and field.name == "uri":
            texts = [value for value in values if isinstance(value, str)]
            packed = [_packed(text) for text in texts]
            if all(text is not None for text in packed):
                listed = ",".join(f'"{text}"' for text in packed)
                if not listed:
                    return _NONE if wanted else _ALL
                if len(listed) < _LONGEST:
                    return self._is(_leaf(f"uri in [{listed}]"), wanted)
            return _UNKNOWN
        each = [self.compile(Comparison(field, "==", value), wanted) for value in values]
        return _joined("or" if wanted else "and", each)

    def _plain(self, field: str, name: str, value: TagValue, wanted: bool) -> Compiled:
        if field == "modified":
            return _UNKNOWN  # it is in the data of a row, which no expression reads
        expected = {"uri": str, "warning": str, "padded": bool}.get(field, float)
        kind = type(value) if isinstance(value, bool | str) else float
        if kind is not expected:
            return _NONE if wanted else _ALL
        if isinstance(value, bool):
            return _leaf(f"padded == {'true' if ((name == '==') is value) is wanted else 'false'}")
        if isinstance(value, str):
            if field == "uri":
                return self._uri(name, value, wanted)
            return self._warning(name, value, wanted)
        if not wanted:
            name = _OPPOSITE[name]
        if field == "segments":
            return self._segments(name, float(value))
        return _leaf(f"{field} {name} {float(value)!r}")

    @staticmethod
    def _segments(name: str, value: float) -> Compiled:
        """Compare the number of segments with any number, as integers."""
        if name in ("==", "!=") and not value.is_integer():
            return _NONE if name == "==" else _ALL
        whole = math.floor(value) if name in ("<=", ">") else math.ceil(value)
        if abs(whole) >= 1 << 62:
            is_all = (whole > 0) is (name in ("<", "<=")) or name == "!="
            return _ALL if is_all and name != "==" else _NONE
        return _leaf(f"segments {name} {whole}")

    def _warning(self, name: str, value: str, wanted: bool) -> Compiled:
        if name == "like":
            found = self._like("warning", f"={value}", wanted)
        else:
            found = self._present_and("warning", name, f"={value}", wanted)
        # No warning is "", which sorts before every other.
        there = _leaf('warning != ""')
        if wanted:
            return _joined("and", [found, there])
        return _joined("or", [found, self._is(there, False)])

    def _uri(self, name: str, value: str, wanted: bool) -> Compiled:
        if name in ("==", "!="):
            packed = _packed(value)
            if packed is None:
                return _UNKNOWN
            return _leaf(f'uri {name if wanted else _OPPOSITE[name]} "{packed}"')
        if name != "like":
            return _UNKNOWN  # percent-encoding does not preserve the order
        prefix, rest = _split(value)
        if not rest:
            return self._uri("==", prefix, wanted)
        if not prefix and rest == "%":
            return _ALL if wanted else _NONE
        packed = _packed(prefix)
        # An undecodable byte is no prefix of a character, though it may be of its bytes.
        if not packed or _UNSAYABLE.match(prefix[-1]) or (rest != "%" and not wanted):
            return _UNKNOWN
        # \x7f sorts after every character of a packed uri.
        inside = f'(uri >= "{packed}" and uri < "{packed}\x7f")'
        return self._is(Compiled(inside, rest == "%", 2), wanted)
