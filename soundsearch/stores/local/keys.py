"""Which clips have which key: derived from their tags, so that a key is found without reading all.

Only a hint: who looks a key up compares it with the clip's own tag.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from ..records import ClipRecord, Key
from .vetting import setting_of

__all__ = ["Keys"]

_PAGE = 10_000
# Keys that one statement looks for; older versions of SQLite take 999 values.
_TOGETHER = 500
_TAG = "key_tag"


class Keys:
    """The keys of a catalogue's clips.

    Parameters
    ----------
    connection : sqlite3.Connection
    reading : callable
        The context in which the catalogue reads, given the number of parameters.
    """

    def __init__(
        self, connection: sqlite3.Connection, reading: Callable[[int], AbstractContextManager[None]]
    ) -> None:
        self._connection = connection
        self._reading = reading

    def tag(self) -> str | None:
        """The tag that is the key of clips."""
        with self._reading(1):
            sql = "SELECT value FROM settings WHERE key = ?"
            row = self._connection.execute(sql, (_TAG,)).fetchone()
            return None if row is None else str(setting_of(_TAG, row[0]))

    def said_to_have(self, keys: Sequence[Key]) -> list[int]:
        """The ids of clips that may have one of these keys; of a key with several, two at least."""
        found: list[int] = []
        for begin in range(0, len(keys), _TOGETHER):
            part = [key.value for key in keys[begin : begin + _TOGETHER]]
            marks = ", ".join("?" * len(part))
            sql = f"SELECT clip FROM keys WHERE value IN ({marks}) LIMIT {2 * _TOGETHER}"
            with self._reading(len(part)):
                ids = [clip_id for (clip_id,) in self._connection.execute(sql, part).fetchall()]
            found += [clip_id for clip_id in ids if type(clip_id) is int]
        return found

    # In a transaction

    def use(self, tag: str | None) -> None:
        """Say which tag is the key."""
        self._connection.execute("DELETE FROM settings WHERE key = ?", (_TAG,))
        if tag is not None:
            sql = "INSERT INTO settings VALUES (?, ?)"
            self._connection.execute(sql, (_TAG, json.dumps(tag)))
        self.fill()

    def put(self, records: Mapping[bytes, ClipRecord]) -> None:
        """Say which keys the clips at these uris have, once they are stored."""
        tag = self.tag()
        if tag is None:
            return
        self._connection.executemany(
            "DELETE FROM keys WHERE clip IN (SELECT id FROM clips WHERE uri = ?)",
            [(uri,) for uri in records],
        )
        keys = ((uri, Key.of(record.tags.get(tag))) for uri, record in records.items())
        self._connection.executemany(
            "INSERT INTO keys SELECT ?, id FROM clips WHERE uri = ?",
            [(key.value, uri) for uri, key in keys if key is not None],
        )

    def fill(self) -> None:
        """Write all again from the clips, in bounded memory."""
        self._connection.execute("DELETE FROM keys")
        tag = self.tag()
        last = -1
        while tag is not None and (
            page := self._connection.execute(
                "SELECT id, tags FROM clips WHERE id > ? AND tags IS NOT NULL ORDER BY id LIMIT ?",
                (last, _PAGE),
            ).fetchall()
        ):
            keys = ((clip_id, Key.of(json.loads(tags).get(tag))) for clip_id, tags in page)
            self._connection.executemany(
                "INSERT INTO keys VALUES (?, ?)",
                [(key.value, clip_id) for clip_id, key in keys if key is not None],
            )
            last = page[-1][0]
