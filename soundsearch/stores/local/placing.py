"""Where the rows of clips are, kept so that a reader sees a commit without reading every clip.

The table ``places`` holds a blob of rows for each batch of clips that was written: id, first row,
count and checksum. A row with a count of 0 says that the clip with this first row is gone; no other
clip gets it, within a generation of row files. So what is new is what was appended since.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Places", "add_gone", "add_places", "clip_places", "fill_places", "segment_counts"]

Ints = NDArray[np.int64]

# Of a clip, as SQLite gives them; a checksum of -1 is not known.
_COLUMNS = "id, first_row, count, coalesce(checksum, -1)"
_PAGE = 10_000
# Bytes of the checksum that ends a blob.
_SUM = 4


class Places:
    """The places of all clips, by ascending first rows.

    Attributes
    ----------
    columns : int64 [4, clips]
        Ids, first rows, counts, checksums; -1 where that is not known.
    kept : int
        How many of the first clips are those of the earlier `Places` that it was made of.
    """

    def __init__(self, rows: Ints | None = None) -> None:
        self._room = np.empty((4, 0), np.int64) if rows is None else np.ascontiguousarray(rows.T)
        self.columns = self._room
        self.kept = 0
        self._last = -1

    def brought_up_to_date(self, connection: sqlite3.Connection) -> Places:
        """With what was appended since, in the same generation; itself if nothing was.

        Raises
        ------
        ValueError
            The table is damaged.
        """
        parts, last = [], self._last
        for number, places in _appended(connection, self._last):
            parts.append(places)
            last = number
        if last == self._last:
            return self
        found = Places()
        found._last = last
        rows = np.concatenate(parts)
        if (rows[:, 2] != 0).all():
            found._append(self, rows)
        else:
            columns = np.concatenate((self.columns, rows.T), axis=1)
            there = _are_there(*columns[1:3])
            found.columns = found._room = np.compress(there, columns, axis=1)
        if (np.diff(found.columns[1, max(0, found.kept - 1) :]) <= 0).any():
            raise ValueError("the places of clips are not in order")
        return found

    def _append(self, earlier: Places, rows: Ints) -> None:
        """Be what was there earlier and more. Both share their room: a clip stays in its place."""
        self.kept = earlier.columns.shape[1]
        count = self.kept + len(rows)
        self._room = earlier._room
        if self._room.shape[1] < count:
            self._room = np.empty((4, 2 * count), np.int64)
            self._room[:, : self.kept] = earlier.columns
        self._room[:, self.kept : count] = rows.T
        self.columns = self._room[:, :count]


def segment_counts(connection: sqlite3.Connection) -> Ints:
    """How many segments each clip has; a fraction of what `Places` need.

    Raises
    ------
    ValueError
        The table is damaged.
    """
    parts = [places[:, 1:3] for _, places in _appended(connection)]
    firsts, counts = np.concatenate((*parts, np.empty((0, 2), np.int64))).T
    found: Ints = counts if (counts != 0).all() else counts[_are_there(firsts, counts)]
    return found


def _are_there(firsts: Ints, counts: Ints) -> NDArray[np.bool_]:
    """Which rows, of which one at least says that a clip is gone, are of clips that are not."""
    gone = np.unique(firsts[counts == 0])
    nearest = np.minimum(np.searchsorted(gone, firsts), len(gone) - 1)
    there: NDArray[np.bool_] = gone[nearest] != firsts
    return there


def _appended(connection: sqlite3.Connection, number: int = -1) -> Iterator[tuple[int, Ints]]:
    """What was appended behind a batch: numbers, and rows."""
    sql = "SELECT number, places FROM places WHERE number > ? ORDER BY number"
    for following, blob in connection.execute(sql, (number,)):
        if following <= number:
            raise ValueError("the places of clips are not in order")
        number = following
        yield number, _unsummed(blob)


def _unsummed(blob: bytes) -> Ints:
    places, checksum = blob[:-_SUM], blob[-_SUM:]
    if len(places) % 32 or zlib.crc32(places).to_bytes(_SUM, "little") != checksum:
        raise ValueError("the places of clips are damaged")
    return np.frombuffer(places, "<i8").astype(np.int64, copy=False).reshape(-1, 4)


def _append(connection: sqlite3.Connection, rows: Ints) -> None:
    if len(rows):
        blob = rows.astype("<i8").tobytes()
        blob += zlib.crc32(blob).to_bytes(_SUM, "little")
        connection.execute("INSERT INTO places (places) VALUES (?)", (blob,))


def clip_places(connection: sqlite3.Connection, first_row: int) -> Ints:
    """Clips whose rows begin at one or later, from the clips themselves, int64 [n, 4]."""
    sql = f"SELECT {_COLUMNS} FROM clips WHERE first_row >= ? ORDER BY first_row"
    found = connection.execute(sql, (first_row,)).fetchall()
    return np.array(found, np.int64).reshape(-1, 4)


def add_places(connection: sqlite3.Connection, first_row: int) -> None:
    """Append the places of clips that were added, from a row on. In a transaction."""
    _append(connection, clip_places(connection, first_row))


def add_gone(connection: sqlite3.Connection, first_rows: Sequence[int]) -> None:
    """Append that clips, given by their first rows, are gone. In a transaction."""
    rows = np.zeros((len(first_rows), 4), np.int64)
    rows[:, 1] = first_rows
    _append(connection, rows)


def fill_places(connection: sqlite3.Connection) -> None:
    """Write all places again from the clips, in bounded memory. In a transaction."""
    connection.execute("DELETE FROM places")
    last = -1
    sql = f"SELECT {_COLUMNS} FROM clips WHERE first_row > ? ORDER BY first_row LIMIT {_PAGE}"
    while page := connection.execute(sql, (last,)).fetchall():
        _append(connection, np.array(page, np.int64))
        last = page[-1][1]
