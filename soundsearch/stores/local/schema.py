"""The SQLite file of a local library: how it is made, opened and upgraded."""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from contextlib import closing
from dataclasses import asdict, astuple
from functools import cache
from pathlib import Path

from ...errors import LibraryBusy, LibraryDamaged, LibraryVersion
from ...hints import command
from ..records import Settings
from .codec import RECORD, record_sum
from .connecting import check_files
from .files import open_own
from .locking import FileLock, Locked
from .placing import fill_places
from .postings import fill_postings
from .vetting import Objects, check_tables, objects_of, setting_of

__all__ = [
    "CATALOG",
    "HOLDER",
    "LOCK",
    "MIGRATIONS",
    "check_not_newer",
    "check_schema",
    "held_by",
    "make_catalog",
    "settings_sum",
    "upgrade",
    "write_settings",
]

CATALOG = "catalog.sqlite"
LOCK = "writer.lock"
# Says which process writes.
HOLDER = "writer.json"
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
    # Every transaction that changes clips raises the revision.
    """
    ALTER TABLE clips RENAME COLUMN human TO human_labels;
    ALTER TABLE clips ADD COLUMN tags TEXT;
    CREATE TABLE postings (number INTEGER PRIMARY KEY, postings BLOB NOT NULL);
    INSERT INTO settings VALUES ('revision', '1');
    """,
    # Of the clip's rows, see `sums`; NULL until a rebuild where an older version stored them.
    """
    ALTER TABLE clips ADD COLUMN checksum INTEGER;
    """,
    # Of the columns that `codec` lists; the settings have one too, and so have postings.
    """
    ALTER TABLE clips ADD COLUMN record_sum INTEGER;
    """,
    # Of the tag that is the key of clips, see `keys`; empty while none is.
    """
    CREATE TABLE keys (value TEXT NOT NULL, clip INTEGER NOT NULL, PRIMARY KEY (value, clip))
    WITHOUT ROWID;
    CREATE INDEX keys_clip ON keys (clip);
    """,
    # An index is of several files; where clips are, see `placing`.
    """
    CREATE TABLE places (number INTEGER PRIMARY KEY, places BLOB NOT NULL);
    """,
    # What people said of stretches of a clip, as JSON; NULL where they said nothing.
    """
    ALTER TABLE clips ADD COLUMN human_events TEXT;
    """,
)


def _fill_sums(connection: sqlite3.Connection) -> None:
    """Take what is there for what was stored, as nothing else is known."""
    # Columns that a later migration adds are NULL.
    columns = ", ".join("NULL" if name == "human_events" else name for name in RECORD[:-1])
    last = -1
    while page := connection.execute(
        f"SELECT id, {columns} FROM clips WHERE id > ? ORDER BY id LIMIT 1000", (last,)
    ).fetchall():
        connection.executemany(
            "UPDATE clips SET record_sum = ? WHERE id = ?",
            [(record_sum(row), clip_id) for clip_id, *row in page],
        )
        last = page[-1][0]
    fill_postings(connection)
    stored = connection.execute("SELECT key, value FROM settings").fetchall()
    values = {key: json.loads(value) for key, value in stored if key in Settings.__slots__}
    if values:  # else it is being made
        write_settings(connection, Settings(**values))


def _make_shards(connection: sqlite3.Connection) -> None:
    """Make of what is known of the one file of the index a list of one; or make it again later."""
    fill_places(connection)
    keys = ("index", "index_rows", "index_sums", "index_cells")
    marks = ", ".join("?" * len(keys))
    stored = connection.execute(f"SELECT key, value FROM settings WHERE key IN ({marks})", keys)
    found = {key: json.loads(value) for key, value in stored}
    connection.execute(f"DELETE FROM settings WHERE key IN ({marks})", keys)
    try:
        name, size = found["index"]
        rows, trained = found["index_rows"]
        sums, cell_sums = (
            value if known == name else None
            for known, value in (found.get(key, (name, None)) for key in keys[2:])
        )
        shard = {"name": name, "size": size, "rows": rows, "sums": sums, "cell_sums": cell_sums}
        value = json.dumps({"trained": trained, "shards": [shard]})
        setting_of("index", value)
    except (KeyError, TypeError, ValueError):
        connection.execute("DELETE FROM settings WHERE key = 'index_tuning'")
    else:
        connection.execute("INSERT INTO settings VALUES ('index', ?)", (value,))


def write_settings(connection: sqlite3.Connection, settings: Settings) -> None:
    """Store what a library is made with, and the checksum of it. In a transaction."""
    values = {**asdict(settings), "settings_sum": settings_sum(settings)}
    connection.executemany(
        "INSERT OR REPLACE INTO settings VALUES (?, ?)",
        [(key, json.dumps(value)) for key, value in values.items()],
    )


def settings_sum(settings: Settings) -> int:
    """The checksum of what a library is made with."""
    return zlib.crc32(repr(astuple(settings)).encode("utf-8", "surrogatepass"))


# What a migration does beside its script, in the same transaction.
_FILL = {3: fill_postings, 5: _fill_sums, 7: _make_shards}

# How long a migration waits for a writer, seconds.
_PATIENCE = 30.0


def make_catalog(catalog: Path, settings: Settings) -> None:
    """Make the file, complete under another name first: a library is there whole or not at all."""
    temporary = catalog.with_name(f"{catalog.name}.new")
    # Also what SQLite would take for the new file's log: that of a catalogue which was lost.
    for left in (temporary, catalog):
        for end in ("", "-wal", "-shm", "-journal"):
            left.with_name(left.name + end).unlink(missing_ok=True)
    open_own(temporary, new=True).close()
    connection = sqlite3.connect(temporary, isolation_level=None)
    try:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        _migrate(connection)
        write_settings(connection, settings)
        values = {"generation": 1, "rows": 0}
        connection.executemany(
            "INSERT INTO settings VALUES (?, ?)",
            [(key, json.dumps(value)) for key, value in values.items()],
        )
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    os.replace(temporary, catalog)


def upgrade(folder: Path, connection: sqlite3.Connection) -> None:
    """Apply the migrations that a library's catalogue lacks, while nobody writes to it.

    Raises
    ------
    LibraryVersion
        It cannot be upgraded here, or a newer soundsearch made it.
    LibraryBusy
        A process writes to it and goes on writing.
    LibraryDamaged
        It is not a catalogue of soundsearch.
    """
    version = check_schema(folder, connection)
    if version == len(MIGRATIONS):
        return
    state = (
        f"{folder}: an older soundsearch made it (schema {version}; this one works with "
        f"schema {len(MIGRATIONS)})"
    )
    try:
        with FileLock(folder / LOCK, _PATIENCE):
            check_files(folder / CATALOG, for_writing=True)
            _migrate(connection)
    except Locked:
        raise LibraryBusy(
            f"{state}; it is upgraded when it is opened while nobody writes to it, and "
            f"{held_by(folder)}: wait for that to end"
        ) from None
    except (ValueError, TypeError, RecursionError) as error:  # of what it holds
        raise LibraryDamaged(
            f"{state}, and it is damaged: {error}; restore the library's folder from a copy"
        ) from error
    except (OSError, sqlite3.OperationalError) as error:
        raise LibraryVersion(
            f"{state}, and it cannot be upgraded here: {error}; open it once where its folder "
            f"can be written to, for example with: {command('info', folder)}"
        ) from error


def check_schema(folder: Path, connection: sqlite3.Connection) -> int:
    """The schema version of a catalogue, if this soundsearch may work with it."""
    connection.execute("BEGIN")  # another process may upgrade it between two looks
    try:
        return _checked_version(folder, connection)
    finally:
        connection.execute("ROLLBACK")


def _checked_version(folder: Path, connection: sqlite3.Connection) -> int:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise LibraryDamaged(
            f"{folder / CATALOG}: is a SQLite file, but not a catalogue of soundsearch"
        )
    if version < 1:
        raise LibraryDamaged(
            f"{folder / CATALOG}: has the schema version {version}, which no library has; restore "
            "the library's folder from a copy"
        )
    check_not_newer(folder, connection)
    try:
        check_tables(connection, _objects_of_version(version))
    except ValueError as error:
        raise LibraryDamaged(
            f"{folder / CATALOG}: is not what soundsearch makes ({error}), and nothing in it is "
            "trusted; restore the library's folder from a copy, or ingest again into a new library"
        ) from error
    return version


def check_not_newer(folder: Path, connection: sqlite3.Connection) -> None:
    """Raise LibraryVersion where a newer soundsearch has made or upgraded a catalogue."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise LibraryVersion(
            f"{folder}: a newer soundsearch made or upgraded it (schema {version}; this one knows "
            f"up to schema {len(MIGRATIONS)}); upgrade with: pip install --upgrade soundsearch, "
            "and start again what has the library open"
        )


@cache
def _objects_of_version(version: int) -> Objects:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        _migrate(made, version)
        return objects_of(made)


def _migrate(connection: sqlite3.Connection, target: int = len(MIGRATIONS)) -> None:
    """Apply what is missing, each migration in a transaction of its own."""
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Read within the transaction: another process may have been first.
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version >= target:
                connection.execute("ROLLBACK")
                return
            for statement in filter(str.strip, MIGRATIONS[version].split(";")):
                connection.execute(statement)
            if fill := _FILL.get(version + 1):
                fill(connection)
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def held_by(folder: Path) -> str:
    """Which process writes to a library, in words."""
    try:
        who = json.loads((folder / HOLDER).read_text())
        return f"process {who['pid']} on {who['host']} is writing to it"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process is writing to it"
