"""Parsing filter expressions into a `soundsearch.stores.filters.Filter`.

::

    label['Dog'] > 0.5 and duration < 10 and uri like '/field/%' and tag['mic'] == 'AKG'

Fields are ``uri``, ``duration`` (seconds), ``segments`` (a count), ``padded``, ``warning``,
``modified`` (a date, UTC: ``modified >= '2024-05'``),
``label['NAME, ID OR PATH']`` (a score, including the classes below the node; also by the name of a
class of the library's head), ``human_label['NAME, ID OR PATH']`` and ``tag['KEY']``. The operators
``==`` ``!=`` ``<`` ``<=`` ``>`` ``>=`` ``like`` ``in`` compare them with quoted texts, numbers,
``true``, ``false`` or parameters, ``:name``; ``is missing`` tests for the absence of a tag, warning
or date; ``name match 'snare*'`` tests the names of files and folders and the texts of tags: see
`Named`. ``and``, ``or``, ``not`` and parentheses combine comparisons.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NoReturn

from ..errors import ArgumentError, SoundsearchError
from ..labels.vocabulary import AUDIOSET, Vocabulary
from ..stores.filters import (
    OPERATORS,
    And,
    Comparison,
    Field,
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
from ..stores.records import TagValue, scalar

__all__ = ["parse_filter"]

# Plain fields with their types, fields with a name in brackets, and fields that may be missing.
_PLAIN = {"uri": str, "duration": float, "segments": float, "padded": bool, "warning": str}
_DATES = ("modified",)
_KEYED = ("human_label", "label", "tag")
_MISSABLE = ("warning", "modified", "tag")
_NAMES = {str: "a text", float: "a number", bool: "true or false"}
_WORDS = ("and", "or", "not", "in", "is", "like", "match", "missing", "true", "false")
# The deepest nesting of parentheses and `not`.
_DEEPEST = 50

_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?Z?)?)?)?", re.ASCII)

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
      | (?P<parameter>:[A-Za-z_]\w*)
      | (?P<word>[^\W\d]\w*)
      | (?P<sign>==|!=|<=|>=|<|>|[()\[\],])
      )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def parse_filter(
    text: str, parameters: Mapping[str, Any] | None = None, vocabulary: Vocabulary = AUDIOSET
) -> Filter:
    """Parse a filter expression.

    Parameters
    ----------
    text : str
    parameters : mapping, optional
        Values for ``:name``: texts, finite numbers, truth values; lists of these for ``in``.
    vocabulary : Vocabulary
        The classes of the library that labels are names of.

    Raises
    ------
    ArgumentError
        The text is not a filter; the message says where, what was expected and what was found.
    """
    if not isinstance(text, str):
        raise ArgumentError(f"filter: expected a text, got {text!r}")
    return _Parser(text, dict(parameters or {}), vocabulary).parse()


class _Parser:
    """A recursive-descent parser of one expression."""

    def __init__(self, text: str, parameters: dict[str, Any], vocabulary: Vocabulary) -> None:
        self._text = text
        self._vocabulary = vocabulary
        self._parameters = parameters
        self._unused = set(parameters)
        self._tokens = list(self._tokenize())
        self._next = 0
        self._depth = 0

    def parse(self) -> Filter:
        filter = self._any_of()
        if self._peek().kind != "end":
            self._fail("and, or, or the end", self._peek())
        if self._unused:
            raise ArgumentError(f"filter: no :{min(self._unused)} in {self._text!r}")
        return filter

    def _tokenize(self) -> Iterator[_Token]:
        position = 0
        while self._text[position:].strip():
            found = _TOKEN.match(self._text, position)
            if found is None or found.lastgroup is None:
                begin = len(self._text) - len(self._text[position:].lstrip())
                self._fail(
                    "a field, a value or an operator", _Token("", self._text[begin:][:20], begin)
                )
            kind = found.lastgroup
            token = found[kind]
            if kind == "word" and token.lower() in _WORDS:
                kind, token = "keyword", token.lower()
            yield _Token(kind, token, found.start(found.lastgroup))
            position = found.end()
        yield _Token("end", "the end", len(self._text))

    def _fail(self, expected: str, got: _Token) -> NoReturn:
        raise ArgumentError(
            f"filter, character {got.position + 1}: expected {expected}, got {got.text} "
            f"in: {self._text}"
        )

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += token.kind != "end"
        return token

    def _took(self, *texts: str) -> bool:
        """Consume the next token if it is one of these words or signs; return whether it was."""
        token = self._peek()
        if token.kind in ("keyword", "sign") and token.text in texts:
            self._next += 1
            return True
        return False

    def _must(self, text: str) -> None:
        if not self._took(text):
            self._fail(text, self._peek())

    def _any_of(self) -> Filter:
        parts = [self._all_of()]
        while self._took("or"):
            parts.append(self._all_of())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all_of(self) -> Filter:
        parts = [self._part()]
        while self._took("and"):
            parts.append(self._part())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _part(self) -> Filter:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._fail(f"at most {_DEEPEST} levels of parentheses and not", self._peek())
        try:
            if self._took("not"):
                return Not(self._part())
            if self._took("("):
                inside = self._any_of()
                self._must(")")
                return inside
            return self._test()
        finally:
            self._depth -= 1

    def _test(self) -> Filter:
        begin = self._peek()
        if (begin.kind, begin.text) == ("word", "name"):
            return self._named()
        name, field = self._field()
        if self._took("is"):
            absent = not self._took("not")
            self._must("missing")
            if name not in _MISSABLE:
                self._fail(
                    "a tag, warning or modified before is missing; other fields are never missing",
                    begin,
                )
            assert isinstance(field, Plain | Tag)
            return Missing(field) if absent else Not(Missing(field))
        negated = self._took("not")
        if self._took("in"):
            if not isinstance(field, Plain | Tag) or name in _DATES:
                self._fail("a field or tag before in", begin)
            one_of = OneOf(field, self._values(name))
            return Not(one_of) if negated else one_of
        sign = self._peek()
        if self._took(*OPERATORS):
            test = Comparison(field, sign.text, self._checked(name, sign))
            return Not(test) if negated else test
        if negated or _type_of(name) not in (bool, None):
            self._fail(f"{', '.join(OPERATORS)} or in after {name}", sign)
        return Comparison(field, "==", True)

    def _named(self) -> Filter:
        self._take()
        negated = self._took("not")
        self._must("match")
        at = self._peek()
        pattern = self._value()
        if not isinstance(pattern, str) or not pattern.strip():
            self._fail("a name with * and ?, as in 'snare*'", at)
        return Not(Named(pattern)) if negated else Named(pattern)

    def _field(self) -> tuple[str, Field]:
        token = self._take()
        if token.kind != "word" or token.text not in (*_PLAIN, *_DATES, *_KEYED):
            keyed = (f"{name}['...']" for name in _KEYED)
            names = ", ".join((*_PLAIN, *_DATES, "name", *keyed))
            self._fail(f"a field ({names})", token)
        name = token.text
        if name in (*_PLAIN, *_DATES):
            return name, Plain(name)
        self._must("[")
        inside = self._peek()
        key = self._value()
        if not isinstance(key, str):
            self._fail("a text in quotes", inside)
        self._must("]")
        if name == "tag":
            return name, Tag(key)
        try:
            classes = self._vocabulary.classes_below(key)
        except SoundsearchError as error:
            raise ArgumentError(
                f"filter, character {inside.position + 1}: {error}, in: {self._text}"
            ) from error
        return name, Label(classes) if name == "label" else HumanLabel(classes)

    def _checked(self, name: str, sign: _Token) -> TagValue:
        """Parse the value after an operator; its type must fit the field and the operator."""
        at = self._peek()
        value = self._value()
        if name in _DATES:
            return self._date(name, value, sign, at)
        self._check_type(name, value, at)
        if sign.text == "like" and not isinstance(value, str):
            self._fail("a text after like", at)
        if isinstance(value, bool) and sign.text not in ("==", "!="):
            self._fail("== or != before true and false", sign)
        return value

    def _date(self, name: str, value: TagValue, sign: _Token, at: _Token) -> float:
        """The first moment of a year, month, day, hour, minute or second, as a Unix time."""
        if sign.text == "like":
            self._fail(f"==, !=, <, <=, > or >= after {name}", sign)
        found = _DATE.fullmatch(value) if isinstance(value, str) else None
        if found is not None:
            year, *rest = (None if part is None else int(part) for part in found.groups())
            month, day, hour, minute, second = (
                least if part is None else part
                for part, least in zip(rest, (1, 1, 0, 0, 0), strict=True)
            )
            with suppress(ValueError):
                moment = datetime(year or 0, month, day, hour, minute, second, tzinfo=timezone.utc)
                return moment.timestamp()
        self._fail(f"a date for {name}, as in '2024-05-31' or '2024'", at)

    def _check_type(self, name: str, value: TagValue, at: _Token) -> None:
        wanted = _type_of(name)
        if wanted is not None and _kind(value) is not wanted:
            self._fail(f"{_NAMES[wanted]} for {name}", at)

    def _values(self, name: str) -> tuple[TagValue, ...]:
        at = self._peek()
        if at.kind == "parameter":
            self._take()
            given = self._parameter(at)
            if isinstance(given, str) or not hasattr(given, "__iter__"):
                self._fail(f"a list for {at.text}", _Token("", repr(given), at.position))
            values = tuple(self._usable(value, at) for value in given)
        else:
            self._must("(")
            values = (self._value(),)
            while self._took(","):
                values += (self._value(),)
            self._must(")")
        for value in values:
            self._check_type(name, value, at)
        return values

    def _value(self) -> TagValue:
        token = self._take()
        if token.kind == "text":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
        if token.kind == "number":
            return self._usable(float(token.text), token)
        if token.kind == "keyword" and token.text in ("true", "false"):
            return token.text == "true"
        if token.kind == "parameter":
            return self._usable(self._parameter(token), token)
        self._fail("a text in quotes, a number, true, false or a parameter", token)

    def _parameter(self, token: _Token) -> Any:
        name = token.text[1:]
        if name not in self._parameters:
            self._fail(f"a value for {token.text}", _Token("", "none", token.position))
        self._unused.discard(name)
        return self._parameters[name]

    def _usable(self, value: Any, token: _Token) -> TagValue:
        value = scalar(value)
        if isinstance(value, (bool, str)):
            return value
        if isinstance(value, (int, float)):
            with suppress(OverflowError):
                if math.isfinite(number := float(value)):
                    return number
        self._fail(
            "a text, a finite number or a truth value", _Token("", repr(value), token.position)
        )


def _type_of(name: str) -> type | None:
    """The type of a field; None for a tag, which may have any."""
    return {**_PLAIN, "label": float, "human_label": bool, "modified": float}.get(name)


def _kind(value: TagValue) -> type:
    if isinstance(value, bool):
        return bool
    return str if isinstance(value, str) else float
