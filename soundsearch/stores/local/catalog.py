"""The SQLite file of a local library: its schema, and its rows as records."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from soundsearch_ingest.discover import AudioFile

from ...errors import LibraryDamaged
from ...labels.head import LABEL
from ..base import Settings, StoredClip, StoredFailure

__all__ = [
    "APPLICATION_ID",
    "CLIP",
    "FAILURE",
    "HUMAN",
    "MIGRATIONS",
    "clip_of",
    "connect",
    "damaged",
    "failure_of",
    "make_catalog",
    "migrate",
    "set_setting",
]

APPLICATION_ID = 0x53534C42  # "SSLB"

# Numbered migrations: the schema version is how many have been applied. Never edit one.
MIGRATIONS = (
    """
    CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE clips (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        uri BLOB NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        digest BLOB NOT NULL,
        duration REAL NOT NULL,
        padded INTEGER NOT NULL,
        warning TEXT,
        first_row INTEGER NOT NULL UNIQUE,
        count INTEGER NOT NULL CHECK (count > 0),
        labels BLOB NOT NULL
    );
    CREATE INDEX clips_digest ON clips (digest);
    CREATE TABLE failures (
        uri BLOB PRIMARY KEY,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        digest BLOB,
        reason TEXT NOT NULL
    );
    CREATE INDEX failures_digest ON failures (digest);
    """,
    """
    ALTER TABLE clips ADD COLUMN human BLOB NOT NULL DEFAULT x'';
    """,
)

# Class indices that people gave a clip.
HUMAN = np.dtype("<u2")

CLIP = "id, uri, size, mtime_ns, digest, duration, padded, warning, count, labels, human"
FAILURE = "uri, size, mtime_ns, digest, reason"


def make_catalog(catalog: Path, settings: Settings) -> None:
    # Complete under another name first: a library is there whole or not at all.
    temporary = catalog.with_name(f"{catalog.name}.new")
    temporary.unlink(missing_ok=True)
    connection = sqlite3.connect(temporary, isolation_level=None)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrate(connection)
    for key, value in {**asdict(settings), "generation": 1, "rows": 0}.items():
        set_setting(connection, key, value)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    os.replace(temporary, catalog)


def connect(catalog: Path) -> sqlite3.Connection:
    """Open the catalogue; where its folder cannot be written to, as it is on disk."""
    try:
        connection = sqlite3.connect(
            catalog.absolute().as_uri(),
            uri=True,
            timeout=30,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT count(*) FROM sqlite_schema")
        return connection
    except sqlite3.Error as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError) and not os.access(catalog.parent, os.W_OK):
            return sqlite3.connect(
                f"{catalog.absolute().as_uri()}?immutable=1",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
        raise damaged(catalog, error) from error


def migrate(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        try:
            connection.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")
        except sqlite3.OperationalError:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            # Another process may have been first.
            if connection.execute("PRAGMA user_version").fetchone()[0] < number:
                raise


def set_setting(catalog: sqlite3.Connection, key: str, value: Any) -> None:
    catalog.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, json.dumps(value)))


def damaged(catalog: Path, error: sqlite3.Error) -> LibraryDamaged:
    return LibraryDamaged(
        f"{catalog}: the catalogue cannot be read ({error}); restore it from a copy, or delete "
        "the folder and ingest again"
    )


def clip_of(row: tuple[Any, ...]) -> StoredClip:
    id, uri, size, mtime_ns, digest, duration, padded, warning, count, labels, human = row
    file = AudioFile(os.fsdecode(uri), size, mtime_ns)
    stored = np.frombuffer(labels, LABEL)
    classes = tuple(np.frombuffer(human, HUMAN).tolist())
    return StoredClip(id, file, digest, duration, bool(padded), warning, count, stored, classes)


def failure_of(row: tuple[Any, ...]) -> StoredFailure:
    uri, size, mtime_ns, digest, reason = row
    return StoredFailure(AudioFile(os.fsdecode(uri), size, mtime_ns), digest, reason)
