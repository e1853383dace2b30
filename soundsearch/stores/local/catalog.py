"""The truth about a local library: clips, failures and settings, in SQLite. All its SQL is here,
in `schema`, which makes the tables, and in `conditions` and `postings`, which serve filters.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import blake3
import numpy as np
from numpy.typing import NDArray

from ...errors import LibraryDamaged
from ...hints import command
from ..base import SaidOf
from ..filters import Filter
from ..records import ClipRecord, Counts, FailureRecord, NewClip, Settings, StoredClip, Tuning
from .catalogfile import CatalogFile
from .codec import FAILURE, PLACE, POSTED, RECORD, clip_of, failure_of, row_of
from .conditions import condition_of
from .keys import Keys
from .placing import Places, add_gone, add_places, clip_places, fill_places, segment_counts
from .postings import HumanLabels, add_postings, fill_postings, label_scores
from .schema import settings_sum
from .shardfile import IndexFiles, known_index, stored_index
from .vetting import setting_of

__all__ = ["PAGE", "Catalog"]

# Rows that are read at a time.
PAGE = 1000
# The least and the largest integer of SQLite.
_LEAST, _LARGEST = -(1 << 63), (1 << 63) - 1
# Clips that one statement reads by their ids; older versions of SQLite take 999 values.
_TOGETHER = 500

_CLIP = ", ".join(("id", "count", *RECORD))


class Catalog(CatalogFile):
    """What a library's catalogue holds; see `CatalogFile`."""

    @property
    def keys(self) -> Keys:
        """The keys of clips."""
        return Keys(self.connection, self._reading)

    # Settings

    def setting(self, key: str) -> Any:
        """A setting that must be there."""
        rows = self._query("SELECT value FROM settings WHERE key = ?", key)
        if not rows:
            raise LibraryDamaged(f"{self._path}: lacks the setting {key!r}; restore it from a copy")
        with self._reading():
            return setting_of(key, rows[0][0])

    def revision(self) -> int:
        """Which state of the clips this is; every change of them makes another."""
        revision: int = self.setting("revision")
        return revision

    def settings(self) -> Settings:
        """What the library was made with."""
        settings = Settings(**{key: self.setting(key) for key in Settings.__slots__})
        known = self._query("SELECT value FROM settings WHERE key = 'settings_sum'")
        if known and self.setting("settings_sum") != settings_sum(settings):
            raise self._damaged(f"its settings are not what was stored, but {settings}")
        return settings

    def set(self, **values: Any) -> None:
        """Set settings. In a transaction."""
        self.connection.executemany(
            "INSERT OR REPLACE INTO settings VALUES (?, ?)",
            [(key, json.dumps(value)) for key, value in values.items()],
        )

    def index(self) -> IndexFiles | None:
        """The shards on disk."""
        rows = self._query("SELECT value FROM settings WHERE key = 'index'")
        try:
            return known_index(setting_of("index", rows[0][0])) if rows else None
        except ValueError:
            return None  # it is made again

    def tuning(self) -> Tuning | None:
        """How the index is tuned; None where there is none, or it is not yet."""
        rows = self._query("SELECT value FROM settings WHERE key = 'index_tuning'")
        try:
            return Tuning(**setting_of("index_tuning", rows[0][0])) if rows else None
        except ValueError:
            return None  # it is measured again

    def set_index(self, index: IndexFiles | None, tuning: Tuning | None = None) -> None:
        """Say which shards on disk are valid, and how they are tuned. In a transaction."""
        self.connection.execute("DELETE FROM settings WHERE key IN ('index', 'index_tuning')")
        if index is not None:
            self.set(index=stored_index(index))
        if tuning is not None:
            self.set(index_tuning=asdict(tuning))
        self._clips_changed()

    def stretches(self) -> dict[str, Any] | None:
        """What is known of the file of stretches, see `stretchfile`; None where there is none."""
        rows = self._query("SELECT value FROM settings WHERE key = 'stretches'")
        try:
            found: dict[str, Any] | None = setting_of("stretches", rows[0][0]) if rows else None
        except ValueError:
            return None  # it is made again
        return found

    def set_stretches(self, stored: Mapping[str, Any]) -> None:
        """Say which file of stretches is valid. In a transaction."""
        self.set(stretches=stored)
        self._clips_changed()

    def files(self) -> tuple[Any, ...]:
        """Which files belong to the catalogue: the generation of the rows, index, stretches."""
        return self.setting("generation"), self.index(), self.stretches()

    def head_digest(self) -> str | None:
        """The digest of the kept head's file; None where none is kept."""
        rows = self._query("SELECT value FROM settings WHERE key = 'head'")
        return str(self.setting("head")) if rows else None

    def head(self) -> bytes:
        """The kept head's file."""
        digest = self.setting("head")
        with self._reading():
            content = b64decode(self.setting("head_file"), validate=True)
        if blake3.blake3(content).hexdigest() != digest:
            raise LibraryDamaged(
                f"{self._path}: the head of its labels is not what was stored; keep it again with: "
                f"{command('head use FILE', self.folder)}"
            )
        return content

    def set_head(self, content: bytes | None) -> None:
        """Keep a head's file, or none. In a transaction."""
        self.connection.execute("DELETE FROM settings WHERE key IN ('head', 'head_file')")
        if content is not None:
            digest = blake3.blake3(content).hexdigest()
            self.set(head=digest, head_file=b64encode(content).decode())

    def _clips_changed(self) -> None:
        self.connection.execute("UPDATE settings SET value = value + 1 WHERE key = 'revision'")

    # Reading

    def counts(self) -> Counts:
        """Clips, segments, failures."""
        try:
            with self._reading():
                counts = segment_counts(self.connection)
        except LibraryDamaged:
            counts = self.places()[:, 2]  # from the clips themselves
        if (counts < 1).any():
            raise self._damaged("its clips have no number of segments")
        return Counts(len(counts), int(counts.sum()), self.failure_count())

    def problems(self) -> list[str]:
        """What SQLite finds wrong with its file, in its words; not more than a few."""
        found = self._query("PRAGMA integrity_check(10)")
        return [str(text) for (text,) in found if text != "ok"]

    def has_sound_postings(self) -> bool:
        """Whether the labels that filters look for are what was stored."""
        try:
            self.label_scores(frozenset(), np.zeros(1, np.int64))
        except LibraryDamaged:
            return False
        return True

    def damaged_records(self) -> dict[int, str]:
        """Ids and uris of the clips whose records are not what was stored."""
        found = {}
        last = _LEAST
        sql = f"SELECT {_CLIP} FROM clips WHERE id > ? ORDER BY id LIMIT {PAGE}"
        while page := self._query(sql, last):
            for clip_id, *row in page:
                try:
                    clip_of((clip_id, *row))
                except (ValueError, TypeError):
                    uri = row[1]
                    found[clip_id] = os.fsdecode(uri) if isinstance(uri, bytes) else repr(uri)
            if not _ascend([last, *(row[0] for row in page)]):
                raise self._damaged("its clips are not in order")
            last = page[-1][0]
        return found

    def failure_count(self) -> int:
        """How many failures there are."""
        # count(*) would be one step, however long it takes.
        count: int = self._query("SELECT count(uri) FROM failures")[0][0]
        return count

    def clips_after(self, clip_id: int) -> list[StoredClip]:
        """The next page of clips, in the order of ids."""
        sql = f"SELECT {_CLIP} FROM clips WHERE id > ? ORDER BY id LIMIT {PAGE}"
        clips = self._records(clip_of, sql, clip_id)
        if not _ascend([clip_id, *(clip.id for clip in clips)]):
            raise self._damaged("its clips are not in order")
        return clips

    def clips_by_id(self, clip_ids: Sequence[int]) -> dict[int, StoredClip]:
        """Those of these clips that are there, by their ids."""
        found: dict[int, StoredClip] = {}
        for begin in range(0, len(clip_ids), _TOGETHER):
            wanted = clip_ids[begin : begin + _TOGETHER]
            # Larger ones than SQLite knows are no clip's, either.
            known = [id for id in wanted if _LEAST <= id <= _LARGEST]
            sql = f"SELECT {_CLIP} FROM clips WHERE id IN ({_marks(known)})"
            there = {clip.id: clip for clip in self._records(clip_of, sql, *known)}
            found |= {id: there[id] for id in wanted if id in there}
        return found

    def clip_at(self, uri: str) -> StoredClip | None:
        """The clip at this uri."""
        sql = f"SELECT {_CLIP} FROM clips WHERE uri = ?"
        return next(iter(self._records(clip_of, sql, os.fsencode(uri))), None)

    def clips_at(self, uris: Sequence[str]) -> dict[str, StoredClip]:
        """Those clips that are at one of these uris."""
        found: dict[str, StoredClip] = {}
        for begin in range(0, len(uris), _TOGETHER):
            wanted = [os.fsencode(uri) for uri in uris[begin : begin + _TOGETHER]]
            sql = f"SELECT {_CLIP} FROM clips WHERE uri IN ({_marks(wanted)})"
            found |= {clip.uri: clip for clip in self._records(clip_of, sql, *wanted)}
        return found

    def clips_with(self, digest: bytes, most: int | None) -> list[StoredClip]:
        """The clips with this content, or so many of them at most."""
        sql = f"SELECT {_CLIP} FROM clips WHERE digest = ? LIMIT ?"
        return self._records(clip_of, sql, digest, -1 if most is None else most)

    def failures_after(self, uri: str) -> list[FailureRecord]:
        """The next page of failures, in the order of uris as bytes."""
        sql = f"SELECT {FAILURE} FROM failures WHERE uri > ? ORDER BY uri LIMIT {PAGE}"
        failures = self._records(failure_of, sql, os.fsencode(uri))
        if not _ascend([os.fsencode(uri), *(os.fsencode(each.file.uri) for each in failures)]):
            raise self._damaged("its failures are not in order")
        return failures

    def failure_at(self, uri: str) -> FailureRecord | None:
        """What failed at this uri."""
        sql = f"SELECT {FAILURE} FROM failures WHERE uri = ?"
        return next(iter(self._records(failure_of, sql, os.fsencode(uri))), None)

    def failure_with(self, digest: bytes) -> FailureRecord | None:
        """A failure of this content."""
        sql = f"SELECT {FAILURE} FROM failures WHERE digest = ? LIMIT 1"
        return next(iter(self._records(failure_of, sql, digest)), None)

    def places(self, row: int = 0) -> NDArray[np.int64]:
        """Clips whose rows begin at `row` or later, by their rows; all for 0.

        Returns
        -------
        int64 [n, 4]
            Id, first row, count, checksum; -1 where that is not known.
        """
        with self._reading(1):
            return clip_places(self.connection, row or _LEAST)

    def next_row(self) -> int:
        """Where the rows of clips that are added begin: behind those of all others."""
        rows: int = self.setting("rows")
        for last in self._query(
            "SELECT first_row, count FROM clips ORDER BY first_row DESC LIMIT 1"
        ):
            if not all(type(each) is int for each in last) or sum(last) > rows:
                raise self._damaged(f"a clip's rows are {last} of {rows}")
        return rows

    def known_places(self, known: Places) -> Places:
        """Where clips are, where that was known of an earlier state of the same generation."""
        with self._reading():
            return known.brought_up_to_date(self.connection)

    def has_sound_places(self) -> bool:
        """Whether it is as the clips say."""
        try:
            return np.array_equal(self.known_places(Places()).columns.T, self.places())
        except LibraryDamaged:
            return False

    def first_rows_where(self, filter: Filter) -> NDArray[np.int64]:
        """First rows of the clips that a filter without labels lets through."""
        condition, values = condition_of(filter)
        found = self._query(f"SELECT first_row FROM clips WHERE {condition}", *values)
        with self._reading():
            return np.fromiter((row for (row,) in found), np.int64, len(found))

    def label_scores(
        self, classes: frozenset[int], first_rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """What the labels of clips say of some classes: see `postings.label_scores`."""
        with self._reading():
            return label_scores(self.connection, classes, first_rows)

    def human_labels(self, known: HumanLabels) -> HumanLabels:
        """What people gave, where some of it is known."""
        with self._reading():
            return known.brought_up_to_date(self.connection)

    # Writing, in a transaction

    def add(self, clips: Sequence[NewClip], first_row: int, sums: Sequence[int]) -> None:
        """Store clips whose rows begin at `first_row`, one after the other, with these sums."""
        counts = [len(clip.embeddings) for clip in clips]
        firsts = (first_row + np.cumsum([0, *counts[:-1]])).tolist()
        rows = [row_of(clip.record) for clip in clips]
        self._forget([row[0] for row in rows])
        self._drop_places("uri", [row[0] for row in rows])
        columns = (*RECORD, *PLACE)
        replaced = ", ".join(f"{name} = excluded.{name}" for name in columns[1:])
        self.connection.executemany(
            f"INSERT INTO clips ({', '.join(columns)}) VALUES ({_marks(columns)}) "
            f"ON CONFLICT (uri) DO UPDATE SET {replaced}",
            [(*row, *place) for row, *place in zip(rows, firsts, counts, sums, strict=True)],
        )
        with self._reading():
            add_places(self.connection, first_row)
        add_postings(self.connection, firsts, [row[POSTED] for row in rows])
        self.keys.put({row[0]: c.record for row, c in zip(rows, clips, strict=True)})
        self.set(rows=first_row + sum(counts))
        self._clips_changed()

    def amend(self, records: Mapping[int, ClipRecord]) -> None:
        """Give clips other records; clips that are not there are passed over."""
        sql = "SELECT id, first_row, uri, labels, human_labels FROM clips WHERE id = ?"
        stored = [row for clip_id in records for row in self._query(sql, clip_id)]
        rows = {row[0]: row_of(records[row[0]]) for row in stored}
        moved = [row[0] for row in stored if row[2] != rows[row[0]][0]]
        # Out of each other's way first, so that clips can swap their places.
        self.connection.executemany(
            "UPDATE clips SET uri = ? WHERE id = ?", [(b"\0%d" % key, key) for key in moved]
        )
        targets = [(rows[key][0],) for key in moved]
        self._drop_places("uri", [uri for (uri,) in targets])
        self.connection.executemany("DELETE FROM clips WHERE uri = ?", targets)
        self._forget([uri for (uri,) in targets])
        assigned = ", ".join(f"{name} = ?" for name in RECORD)
        self.connection.executemany(
            f"UPDATE clips SET {assigned} WHERE id = ?",
            [(*row, clip_id) for clip_id, row in rows.items()],
        )
        posted = {
            first_row: rows[clip_id][POSTED]
            for clip_id, first_row, _, *labels in stored
            if (*labels,) != rows[clip_id][POSTED]
        }
        add_postings(self.connection, list(posted), list(posted.values()), amended=True)
        self.keys.put({row[0]: records[clip_id] for clip_id, row in rows.items()})
        self._clips_changed()

    def remove(self, clip_ids: Sequence[int]) -> None:
        """Take clips out."""
        self._drop_places("id", clip_ids)
        self.connection.executemany("DELETE FROM clips WHERE id = ?", [(id,) for id in clip_ids])
        self._clips_changed()

    def _drop_places(self, column: str, values: Sequence[Any]) -> None:
        """Say that the clips with these ids or uris, as far as there are any, are gone."""
        gone: list[int] = []
        for begin in range(0, len(values), _TOGETHER):
            part = values[begin : begin + _TOGETHER]
            sql = f"SELECT first_row FROM clips WHERE {column} IN ({_marks(part)})"
            gone += [row for (row,) in self._query(sql, *part)]
        with self._reading():
            add_gone(self.connection, gone)

    def fail(self, failures: Sequence[FailureRecord]) -> None:
        """Remember failures."""
        self.connection.executemany(
            f"INSERT OR REPLACE INTO failures ({FAILURE}) VALUES (?, ?, ?, ?, ?)",
            [
                (
                    os.fsencode(failure.file.uri),
                    failure.file.size,
                    failure.file.mtime_ns,
                    failure.digest,
                    failure.reason,
                )
                for failure in failures
            ],
        )

    def forget_failures(self, uris: Sequence[str]) -> None:
        """Forget what failed at these uris."""
        self._forget([os.fsencode(uri) for uri in uris])

    def _forget(self, uris: Sequence[bytes]) -> None:
        self.connection.executemany("DELETE FROM failures WHERE uri = ?", [(uri,) for uri in uris])

    def relabel(self, found: Mapping[int, tuple[NDArray[np.void], int]], said: SaidOf) -> None:
        """Give clips other predicted labels, LABEL, and the checksums of rows that hold others."""
        ids, given = list(found), slice(POSTED.start, None)
        assigned = ", ".join(f"{name} = ?" for name in (*RECORD[given], "checksum"))
        for begin in range(0, len(ids), _TOGETHER):
            part = ids[begin : begin + _TOGETHER]
            rows = self._query(f"SELECT {_CLIP} FROM clips WHERE id IN ({_marks(part)})", *part)
            values = []
            for row in rows:
                with self._reading():
                    record = clip_of(row).record
                labels, checksum = found[row[0]]
                record = replace(said(record), labels=labels)
                values.append((*row_of(record)[given], checksum, row[0]))
            self.connection.executemany(f"UPDATE clips SET {assigned} WHERE id = ?", values)

    def use_generation(self, generation: int) -> None:
        """Say that rows with the same places are in the files of another generation."""
        stretches = self.stretches()
        if stretches is not None:  # which no label changes
            kind, _, length = stretches["kind"]
            self.set_stretches({**stretches, "kind": [kind, generation, length]})
        fill_places(self.connection)
        fill_postings(self.connection)
        self.set(generation=generation)
        self._clips_changed()

    def renumber(self, places: Mapping[int, tuple[int, int]], rows: int, generation: int) -> None:
        """Say which first rows and checksums clips have, in the files of another generation."""
        # They are unique: out of the way first, then to the new places.
        self.connection.execute("UPDATE clips SET first_row = -first_row - 1")
        self.connection.executemany(
            "UPDATE clips SET first_row = ?, checksum = ? WHERE id = ?",
            [(*place, clip_id) for clip_id, place in places.items()],
        )
        fill_places(self.connection)
        fill_postings(self.connection)
        self.keys.fill()
        self.set(rows=rows, generation=generation)
        self.set_index(None)


def _ascend(keys: Sequence[Any]) -> bool:
    return all(one < other for one, other in pairwise(keys))


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
