"""Look-ups of clips and failures in Milvus by their uris or content: many in one request."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

from .client import Row
from .rows import CLIP_FIELDS
from .tables import Tables

__all__ = ["Lookups", "newest", "parted", "rows_with"]

# The most values that one request looks for, and characters of them.
_VALUES = 1024
_CHARACTERS = 1 << 20
# How many of its own writes a writer remembers, some 1 KB each.
_REMEMBERED = 16_384


def rows_with(
    tables: Tables, field: str, values: Sequence[str], level: str | None = None
) -> list[Row]:
    """The rows of clips and failures whose ``uri``, or ``digest``, is one of these values.

    Values are as they are stored: percent-encoded, or hexadecimal digits.
    """
    rows: list[Row] = []
    for part in _parts(values):
        listed = ", ".join(f'"{value}"' for value in part)
        expression = f"{field} in [{listed}]"
        rows += tables.query(tables.clips, expression, CLIP_FIELDS, level, limit=None)
    return rows


def _parts(values: Sequence[str]) -> Iterator[list[str]]:
    part: list[str] = []
    characters = 0
    for value in dict.fromkeys(values):
        if part and (len(part) == _VALUES or characters + len(value) > _CHARACTERS):
            yield part
            part, characters = [], 0
        part.append(value)
        characters += len(value)
    if part:
        yield part


def newest(rows: Iterable[Row]) -> Row | None:
    """The valid one of several clip rows with one uri."""
    return max(rows, key=lambda row: int(row["revision"]), default=None)


def parted(rows: Iterable[Row]) -> tuple[dict[str, Row], dict[str, Row]]:
    """The valid clip, and the failure, at each uri."""
    clips: dict[str, Row] = {}
    failures: dict[str, Row] = {}
    for row in rows:
        uri = row["uri"]
        if row["id"] < 0:
            failures[uri] = row
        elif uri not in clips or row["revision"] > clips[uri]["revision"]:
            clips[uri] = row
    return clips, failures


class Lookups:
    """What a writer asks about clips and failures; it costs what is asked, not what is stored.

    Thread-safe, and in memory that is bounded. It reads at the level Bounded, which never waits
    for what was just written, and is right nevertheless, as nobody else changes these clips while
    the writer holds the lease: what was written before is seen since the first look-up, which is
    Strong, and what the writer itself wrote, or deleted, is remembered. When that is much, the
    next look-up is Strong again and what it has seen is forgotten.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._lock = threading.Lock()
        self._is_behind = True
        # By id, in the order of writes, when it was written and the row; None once it is deleted.
        self._own: dict[int, tuple[int, Row | None]] = {}
        # The ids of those rows by uri, and by digest.
        self._ids: dict[str, set[int]] = {}
        self._writes = 0

    def at(self, uris: Sequence[str]) -> tuple[dict[str, Row], dict[str, Row]]:
        """The clips, and the failures, at these packed uris."""
        return parted(self._find("uri", uris))

    def having(self, digest: str) -> list[Row]:
        """The clips and failures with this digest (hexadecimal)."""
        return self._find("digest", [digest])

    def remembered(self, ids: Iterable[int]) -> list[Row]:
        """Those rows with these ids that this writer wrote, as far as it remembers them."""
        with self._lock:
            found = (self._own.get(id, (0, None))[1] for id in ids)
            return [row for row in found if row is not None]

    def wrote(self, rows: Iterable[Row]) -> None:
        """Remember rows that were written."""
        self._remember((row["id"], {name: row[name] for name in CLIP_FIELDS}) for row in rows)

    def deleted(self, ids: Iterable[int]) -> None:
        """Remember that rows were deleted."""
        self._remember((id, None) for id in ids)

    def _remember(self, written: Iterable[tuple[int, Row | None]]) -> None:
        with self._lock:
            for id, row in written:
                self._writes += 1
                _, before = self._own.pop(id, (0, None))
                for value in _values(before):
                    self._ids[value].discard(id)
                self._own[id] = self._writes, row
                for value in _values(row):
                    self._ids.setdefault(value, set()).add(id)

    def _find(self, field: str, values: Sequence[str]) -> list[Row]:
        with self._lock:
            strongly = self._is_behind or len(self._own) > _REMEMBERED
            # Others may forget meanwhile what this read may not see yet: they make new ones.
            own, ids, writes = self._own, self._ids, self._writes
        rows = rows_with(self._tables, field, values, "Strong" if strongly else "Bounded")
        if strongly and values:
            self._forget(writes)
        with self._lock:
            found = [row for row in rows if row["id"] not in own]
            for value in dict.fromkeys(values):
                written = (own[id][1] for id in ids.get(value, ()))
                found += [row for row in written if row is not None and row[field] == value]
        return found

    def _forget(self, writes: int) -> None:
        """Forget the first so many writes, which were seen in what was read."""
        with self._lock:
            self._is_behind = False
            self._own = {id: own for id, own in self._own.items() if own[0] > writes}
            self._ids = {}
            for id, (_, row) in self._own.items():
                for value in _values(row):
                    self._ids.setdefault(value, set()).add(id)


def _values(row: Row | None) -> tuple[str, ...]:
    return () if row is None else (row["uri"], row["digest"])
