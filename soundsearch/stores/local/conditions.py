"""Filters -> conditions of SQLite on a row of ``clips``; what they mean: `filters.matches`.

A condition is 0 or 1 and never NULL, so that ``NOT`` means what it says. All values are bound as
parameters. Texts are compared as the UTF-8 of their code points, which sorts as the code points
do and holds what is not Unicode as well: file names need not be.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
from typing import Any

from ..filters import (
    ALIKE,
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
    is_named,
    like_pattern,
    said_in,
)
from ..records import TagValue

__all__ = ["add_functions", "condition_of", "weight"]

Condition = tuple[str, list[Any]]

_NEVER: Condition = ("0", [])
_ALWAYS: Condition = ("1", [])
_OPERATORS = {"==": "=", "!=": "<>", "<=": "<=", ">=": ">=", "<": "<", ">": ">"}
_PARAMETERS_PER_TEST = 7
_DEEPEST = 10
# The columns of a clip's own fields, and what they hold.
_COLUMNS = {
    "uri": ("uri", "text"),
    "duration": ("duration", "number"),
    "segments": ("count", "number"),
    "padded": ("padded", "flag"),
    "warning": ("CAST(warning AS BLOB)", "text"),
    "modified": ("nullif(mtime_ns, 0) / 1e9", "number"),
}


def weight(filter: Filter, depth: int = 0) -> float:
    """How many parameters the condition of a filter has, at most.

    Infinite where labels are asked for, or where it nests deeper than SQLite's parser likes.
    """
    if depth > _DEEPEST:
        return math.inf
    match filter:
        case And(parts) | Or(parts):
            return sum(weight(part, depth + 1) for part in parts)
        case Not(part):
            return weight(part, depth + 1)
        case OneOf(_, values):
            return _PARAMETERS_PER_TEST * 3 + len(values)
        case Comparison(Label() | HumanLabel()):
            return math.inf
        case _:
            return _PARAMETERS_PER_TEST


def condition_of(filter: Filter) -> Condition:
    """A condition and its parameters; the filter asks for no labels."""
    match filter:
        case And(parts):
            return _joined("AND", parts, _ALWAYS)
        case Or(parts):
            return _joined("OR", parts, _NEVER)
        case Not(part):
            sql, values = condition_of(part)
            return f"NOT ({sql})", values
        case Missing(Tag(key)):
            sql, values = _tag_sql(key, "any")
            return f"NOT {sql}", values
        case Missing(field):
            return f"{_column(field)[0]} IS NULL", []
        case Named(pattern):
            return _named(pattern)
        case OneOf(field, values):
            return _one_of(field, values)
        case Comparison(field, "like", str(pattern)):
            return _like(field, pattern)
        case Comparison(field, operator, value):
            return _compared(field, operator, value)
    raise AssertionError(filter)


def _joined(word: str, parts: tuple[Filter, ...], none: Condition) -> Condition:
    if len(parts) < 2:
        return condition_of(parts[0]) if parts else none
    # In halves: a long chain would be too deep an expression for SQLite.
    middle = len(parts) // 2
    (left, before), (right, after) = (
        _joined(word, half, none) for half in (parts[:middle], parts[middle:])
    )
    return f"({left}) {word} ({right})", before + after


def _column(field: Field) -> tuple[str, str]:
    assert isinstance(field, Plain)
    return _COLUMNS[field.name]


def _compared(field: Field, operator: str, value: TagValue) -> Condition:
    kind, sign = _kind(value), _OPERATORS[operator]
    if isinstance(field, Tag):
        return _tag_sql(field.key, kind, f"{sign} ?", [_bound(value)])
    column, holds = _column(field)
    if holds != kind:
        return _NEVER
    if field == Plain("uri"):
        if operator not in ("==", "!="):
            return f"code_points(uri) {sign} ?", [_bound(value)]
        stored = _stored_uri(str(value))
        if stored is None:
            return _NEVER if operator == "==" else _ALWAYS
        return f"uri {sign} ?", [stored]
    return f"coalesce({column} {sign} ?, 0)", [_bound(value)]


def _one_of(field: Plain | Tag, values: tuple[TagValue, ...]) -> Condition:
    if isinstance(field, Tag):
        kinds: dict[str, list[Any]] = {}
        for value in values:
            kinds.setdefault(_kind(value), []).append(_bound(value))
        parts = [
            _tag_sql(field.key, kind, f"IN ({_marks(those)})", those)
            for kind, those in kinds.items()
        ]
        if not parts:
            return _NEVER
        return " OR ".join(sql for sql, _ in parts), [v for _, bound in parts for v in bound]
    column, holds = _column(field)
    bound = [_bound(value) for value in values if _kind(value) == holds]
    if field.name == "uri":
        stored = [_stored_uri(value) for value in values if isinstance(value, str)]
        bound = [uri for uri in stored if uri is not None]
    return (f"coalesce({column} IN ({_marks(bound)}), 0)", bound) if bound else _NEVER


def _marks(values: list[Any]) -> str:
    return ", ".join("?" * len(values))


def _tag_sql(
    key: str, kind: str, test: str = "IS NOT NULL", values: list[Any] | None = None
) -> Condition:
    """A test of a tag of one kind; 0 where the clip has no such tag."""
    # Most clips that have no such tag are told by the bytes, without decoding what they have.
    sql = (
        f"(tags IS NOT NULL AND instr(tags, ?) > 0 AND coalesce(tag(tags, ?, '{kind}') {test}, 0))"
    )
    return sql, [f"{json.dumps(key)}:", _bound(key), *(values or [])]


def _like(field: Field, pattern: str) -> Condition:
    bound = _bound(pattern)
    if isinstance(field, Tag):
        sql, values = _tag_sql(field.key, "text")
        return f"{sql} AND like_text(tag(tags, ?, 'text'), ?)", [*values, _bound(field.key), bound]
    column, holds = _column(field)
    if holds != "text":
        return _NEVER
    if field == Plain("uri"):
        return _like_uri(pattern) or ("like_text(code_points(uri), ?)", [bound])
    return f"coalesce(like_text({column}, ?), 0)", [bound]


def _named(pattern: str) -> Condition:
    if not pattern.strip("*"):
        return _ALWAYS
    # Most clips are told by SQLite alone, whose small letters are those of ASCII.
    tests = ["instr(lower(CAST(uri AS TEXT)), ?)", "instr(lower(ifnull(tags, '')), ?)"]
    values: list[Any] = [said_in(pattern)] * 2
    for sign in ALIKE:
        tests += ["instr(uri, ?)", "instr(ifnull(tags, ''), ?)"]
        values += [sign.encode(), json.dumps(sign).strip('"')]
    sql = f"({' OR '.join(tests)}) AND named(uri, tags, ?)"
    return sql, [*values, _code_points(pattern)]


def _like_uri(pattern: str) -> Condition | None:
    """What SQLite can do by itself: a text at the start (by the index), at the end, or anywhere.

    Bytes do for that, as the UTF-8 of a text never begins within that of another character.
    """
    text = pattern.strip("%")
    if "_" in text or "%" in text:
        return None
    try:
        part = text.encode()
    except UnicodeEncodeError:
        return None
    before, after = pattern.startswith("%"), pattern.endswith("%")
    if not part:
        return _ALWAYS if before else ("uri = ?", [b""])
    if before and after:
        return "instr(uri, ?) > 0", [part]
    if after:
        return "uri >= ? AND uri < ?", [part, part[:-1] + bytes([part[-1] + 1])]
    return ("substr(uri, ?) = ?", [-len(part), part]) if before else ("uri = ?", [part])


def _stored_uri(uri: str) -> bytes | None:
    """A uri as the catalogue holds it; None for a text that no stored uri can be."""
    try:
        stored = os.fsencode(uri)
    except UnicodeEncodeError:
        return None
    return stored if os.fsdecode(stored) == uri else None


def _kind(value: TagValue) -> str:
    if isinstance(value, bool):
        return "flag"
    return "text" if isinstance(value, str) else "number"


def _bound(value: TagValue) -> bytes | float | int:
    if isinstance(value, bool):
        return int(value)
    return _code_points(value) if isinstance(value, str) else float(value)


def _code_points(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# Functions that conditions call.


def add_functions(connection: sqlite3.Connection) -> None:
    """Teach a connection the functions that conditions call."""
    for name, arguments, function in (
        ("tag", 3, _tag),
        ("code_points", 1, _code_points_of_uri),
        ("like_text", 2, _like_text),
        ("named", 3, _is_named),
    ):
        connection.create_function(name, arguments, function, deterministic=True)


def _tag(tags: str | None, key: bytes, kind: str) -> bytes | float | int | None:
    """The value of a tag if it is of that kind."""
    if tags is None:
        return None
    value = json.loads(tags).get(key.decode("utf-8", "surrogatepass"))
    if value is None or kind not in ("any", _kind(value)):
        return None
    return _bound(value)


def _code_points_of_uri(uri: bytes) -> bytes:
    return _code_points(os.fsdecode(uri))


def _like_text(text: bytes | None, pattern: bytes) -> bool | None:
    if text is None:
        return None
    expression = like_pattern(pattern.decode("utf-8", "surrogatepass"))
    return expression.fullmatch(text.decode("utf-8", "surrogatepass")) is not None


def _is_named(uri: bytes, tags: str | None, pattern: bytes) -> bool:
    values = json.loads(tags).values() if tags else ()
    return is_named(pattern.decode("utf-8", "surrogatepass"), os.fsdecode(uri), values)
