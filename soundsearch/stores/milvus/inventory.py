"""A writer's record of which clips a Milvus library holds, kept to save queries."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .client import Row
from .rows import short_hash

__all__ = ["Inventory"]

_PAGE = 256
_PAGES = 16


class Inventory:
    """The uris and contents in the library, in some 250 bytes a clip. Thread-safe.

    An ingest looks up each file three times, and a server takes some 300 ms for a query that must
    see the last write. Nobody else changes clips while the writer holds the lease.

    Parameters
    ----------
    fetch : callable
        Returns the clip rows with ids from a first up to, not including, a last one.
    """

    def __init__(self, fetch: Callable[[int, int], list[Row]]) -> None:
        self._fetch = fetch
        self._at: dict[int, int] = {}
        self._with: dict[str, list[int]] = {}
        self._pages: dict[int, dict[int, Row]] = {}
        self._lock = threading.RLock()

    def add(self, row: Row) -> None:
        """Add a row; an earlier row with its id must have been discarded."""
        with self._lock:
            self._at[short_hash(row["uri"])] = row["id"]
            same = self._with.setdefault(row["digest"][:16], [])
            if row["id"] not in same:
                same.append(row["id"])
            page = self._pages.get(row["id"] // _PAGE)
            if page is not None and "data" in row:
                page[row["id"]] = row

    def discard(self, row: Row) -> None:
        """Discard a row, given as it was added."""
        with self._lock:
            if self._at.get(short_hash(row["uri"])) == row["id"]:
                del self._at[short_hash(row["uri"])]
            same = self._with.get(row["digest"][:16], [])
            if row["id"] in same:
                same.remove(row["id"])
            if not same:
                self._with.pop(row["digest"][:16], None)
            self._pages.get(row["id"] // _PAGE, {}).pop(row["id"], None)

    def has(self, uri: str) -> bool:
        """Return whether there is a row with this packed uri."""
        return short_hash(uri) in self._at

    def at(self, uri: str) -> Row | None:
        """The row with this packed uri."""
        with self._lock:
            id = self._at.get(short_hash(uri))
            row = None if id is None else self._row(id)
            return row if row is not None and row["uri"] == uri else None

    def having(self, digest: str) -> list[Row]:
        """The rows with this digest (hexadecimal)."""
        with self._lock:
            rows = [self._row(id) for id in self._with.get(digest[:16], [])]
            return [row for row in rows if row is not None and row["digest"] == digest]

    def _row(self, id: int) -> Row | None:
        """A row by its id, fetched with its neighbours: files arrive in about the order of the
        first ingest."""
        number = id // _PAGE
        if number not in self._pages:
            while len(self._pages) >= _PAGES:
                del self._pages[next(iter(self._pages))]
            rows = self._fetch(number * _PAGE, (number + 1) * _PAGE)
            self._pages[number] = {row["id"]: row for row in rows}
        return self._pages[number].get(id)
