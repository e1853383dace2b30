"""What a catalogue may hold. A library may come from somebody else: nothing in it is run, none of
its numbers is taken on trust, and no statement takes longer than its file can make it.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...deadlines import is_over

__all__ = ["Objects", "Steps", "check_tables", "harden", "objects_of", "setting_of"]

# Bytes of a text or blob; the labels of ten thousand clips are some hundreds of kilobytes.
_LONGEST = 1 << 28
# Steps of SQLite's machine between two looks, those that a statement has in any case, and those
# that it has for each byte of the catalogue: several times what the smallest rows need.
_LOOK = 100_000
_FREE_STEPS = 10_000_000
_STEPS_PER_BYTE = 4
# As if it had so many parameters: a statement that writes.
_WRITING = 1000


def harden(connection: sqlite3.Connection) -> None:
    """Let nothing that a catalogue defines run."""
    if sys.version_info >= (3, 11):
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")


class Steps:
    """Stops a statement that takes more steps than a catalogue of its size can ask for.

    Parameters
    ----------
    catalog : Path
    """

    def __init__(self, catalog: Path) -> None:
        self._catalog = catalog
        self._parameters = 0
        self._looks = 0
        self._stops = False

    def watch(self, connection: sqlite3.Connection) -> None:
        """Count the steps of a connection's statements."""
        connection.set_progress_handler(self._look, _LOOK)

    def begin(self, parameters: int = 0) -> None:
        """A statement that reads comes, with so many parameters."""
        self._parameters = parameters
        self._looks = 0
        self._stops = False

    def end(self) -> None:
        """It has ended; statements that write may come."""
        self.begin(_WRITING)

    @property
    def are_too_many(self) -> bool:
        """Whether the last statement was stopped."""
        steps = self._looks * _LOOK
        return steps > _FREE_STEPS and steps > _FREE_STEPS + self._size() * (
            _STEPS_PER_BYTE + self._parameters
        )

    def were_interrupted(self, error: sqlite3.Error) -> bool:
        """Whether Ctrl-C stopped the last statement: it is raised in a look, and dropped there."""
        is_main = threading.current_thread() is threading.main_thread()
        return is_main and str(error) == "interrupted" and not self._stops

    def _look(self) -> bool:
        self._looks += 1
        self._stops = is_over() or self.are_too_many
        return self._stops

    def _size(self) -> int:
        size = 0
        for end in ("", "-wal"):
            with suppress(OSError):
                size += os.stat(f"{self._catalog}{end}").st_size
        return size


# Tables

# Of each table and index, by name: its kind, its table, whether it is stored in the file, and its
# columns.
Objects = dict[str, tuple[str, str, bool, list[tuple[Any, ...]]]]
_MOST_OBJECTS = 1000


def check_tables(connection: sqlite3.Connection, expected: Objects) -> None:
    """Raise ValueError where a catalogue holds other tables, columns or indexes than expected.

    Whatever else it holds is refused too: views and triggers run, virtual tables call programs.
    """
    found = objects_of(connection)
    for name in sorted(expected.keys() - found.keys()):
        raise ValueError(f"it lacks the {expected[name][0]} {name}")
    for name in sorted(found.keys() - expected.keys()):
        raise ValueError(f"it has a {found[name][0]} {name!r}, which no library has")
    for name, properties in expected.items():
        if found[name][:3] != properties[:3]:
            raise ValueError(f"expected {name} to be a {properties[0]}, it is another thing")
        if found[name][3] != properties[3]:
            raise ValueError(f"the table {name} has other columns than that of a library")


def objects_of(connection: sqlite3.Connection) -> Objects:
    """What a catalogue holds; SQLite's own statistics left out."""
    rows = connection.execute("SELECT name, type, tbl_name, rootpage > 0 FROM sqlite_schema")
    found: Objects = {}
    for name, kind, table, stored in rows.fetchmany(_MOST_OBJECTS):
        if kind == "table" and stored and str(name).startswith("sqlite_stat"):
            continue
        found[str(name)] = (str(kind), str(table), bool(stored), [])
    for name, (kind, _, stored, columns) in found.items():
        if kind == "table" and stored:
            columns += connection.execute("SELECT * FROM pragma_table_xinfo(?)", (name,))
    return found


# Settings


def _is_number(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= 3600


def _is_name(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= 1000


def _is_digest(value: Any) -> bool:
    return type(value) is str and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_any(_value: Any) -> bool:
    return True


def _is_index_file(value: Any) -> bool:
    return type(value) is str and re.fullmatch(r"index(-[0-9]+){2,4}\.faiss", value) is not None


def _are_sums(value: Any) -> bool:
    return type(value) is list and all(type(each) is int for each in value)


def _are_known_sums(value: Any) -> bool:
    return value is None or _are_sums(value)


def _is_index(value: Any) -> bool:
    shard: dict[str, Callable[[Any], bool]] = {
        "name": _is_index_file,
        "size": _IS_COUNT,
        "rows": _is_number(1, 1 << 48),
        "sums": _are_known_sums,
        "cell_sums": _are_known_sums,
    }
    fields: dict[str, Callable[[Any], bool]] = {
        "trained": _is_number(1, 1 << 48),
        "shards": lambda shards: (
            type(shards) is list and bool(shards) and all(_has(each, shard) for each in shards)
        ),
    }
    return _has(value, fields)


def _is_tuning(value: Any) -> bool:
    counts = dict.fromkeys(
        ("cells", "all_cells", "candidates", "queries", "rows"), _is_number(1, 1 << 48)
    )
    fields: dict[str, Callable[[Any], bool]] = {**counts, "recall": _is_share}
    return (
        _has(value, fields)
        and value["cells"] <= value["all_cells"] <= 1 << 24
        and value["candidates"] <= 1 << 16
    )


def _is_stretches(value: Any) -> bool:
    def is_file(name: Any) -> bool:
        return type(name) is str and re.fullmatch(r"stretches-[0-9]+-[0-9]+", name) is not None

    indexed: dict[str, Callable[[Any], bool]] = {
        "sums": _are_sums,
        "trained": _IS_COUNT,
        "tuning": _is_tuning,
    }
    fields: dict[str, Callable[[Any], bool]] = {
        "kind": _are_sums,
        "name": is_file,
        "count": _IS_COUNT,
        "rows": _IS_COUNT,
        "sums": _are_sums,
        "index": lambda index: index is None or _has(index, indexed),
    }
    return _has(value, fields)


def _has(value: Any, fields: dict[str, Callable[[Any], bool]]) -> bool:
    return (
        type(value) is dict
        and value.keys() == fields.keys()
        and all(is_right(value[name]) for name, is_right in fields.items())
    )


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


_IS_COUNT = _is_number(0, 1 << 48)
_SETTINGS: dict[str, Callable[[Any], bool]] = {
    "encoder": _is_name,
    "space": _is_name,
    "dimension": _is_number(1, 1 << 16),
    "segment_seconds": _is_seconds,
    "hop": _is_seconds,
    "generation": _is_number(1, 1 << 48),
    "rows": _IS_COUNT,
    "settings_sum": _is_number(0, 1 << 32),
    "revision": _is_number(0, 1 << 62),
    "index": _is_index,
    "index_tuning": _is_tuning,
    "key_tag": _is_name,
    "stretches": _is_stretches,
    "head": _is_digest,
    "head_file": _is_text,
}


def setting_of(key: str, text: Any) -> Any:
    """The value of a setting; raises ValueError where it is none that the setting can have."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        value = None
    if value is None or not _SETTINGS.get(key, _is_any)(value):
        raise ValueError(f"the setting {key!r} is {str(text)[:60]!r}")
    return value
