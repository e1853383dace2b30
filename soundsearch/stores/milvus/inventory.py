"""What a writer to a Milvus library knows without asking the server each time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .client import Row
from .rows import short_hash

__all__ = ["Inventory"]

_PAGE = 256
_PAGES = 16


class Inventory:
    """Which uris and contents are in the library, in some 250 bytes a clip. Safe in threads.

    An ingest asks three times for each file, and a question that must see the last write is
    answered by a server only after some 300 ms. Nobody else changes clips while one writer holds
    the lease.

    Parameters
    ----------
    fetch : callable
        Gives the rows of clips with ids from a first up to a last one.
    """

    def __init__(self, fetch: Callable[[int, int], list[Row]]) -> None:
        self._fetch = fetch
        self._at: dict[int, int] = {}
        self._with: dict[str, list[int]] = {}
        self._pages: dict[int, dict[int, Row]] = {}
        self._lock = threading.RLock()

    def add(self, row: Row) -> None:
        """Learn of a row; what was known of its id must have been discarded."""
        with self._lock:
            self._at[short_hash(row["uri"])] = row["id"]
            same = self._with.setdefault(row["digest"][:16], [])
            if row["id"] not in same:
                same.append(row["id"])
            page = self._pages.get(row["id"] // _PAGE)
            if page is not None and "data" in row:
                page[row["id"]] = row

    def discard(self, row: Row) -> None:
        """Forget a row, given as it was learned."""
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
        """Whether there is a row with this packed uri."""
        return short_hash(uri) in self._at

    def at(self, uri: str) -> Row | None:
        """The row with this packed uri."""
        with self._lock:
            id = self._at.get(short_hash(uri))
            row = None if id is None else self._row(id)
            return row if row is not None and row["uri"] == uri else None

    def having(self, digest: str) -> list[Row]:
        """The rows with this digest, in hexadecimal digits."""
        with self._lock:
            rows = [self._row(id) for id in self._with.get(digest[:16], [])]
            return [row for row in rows if row is not None and row["digest"] == digest]

    def _row(self, id: int) -> Row | None:
        """A row by its id, read with those beside it: files come in about the order in which they
        came the first time."""
        number = id // _PAGE
        if number not in self._pages:
            while len(self._pages) >= _PAGES:
                del self._pages[next(iter(self._pages))]
            rows = self._fetch(number * _PAGE, (number + 1) * _PAGE)
            self._pages[number] = {row["id"]: row for row in rows}
        return self._pages[number].get(id)
