"""Connections to a library's catalogue, also where nothing can be written: SQLite's log (WAL)
needs files beside the catalogue, which a read-only folder or a full disk does not take.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ...errors import LibraryDamaged, LibraryError
from .conditions import add_functions
from .files import check_own, check_plain
from .vetting import Steps, harden

__all__ = ["Stamp", "check_files", "connect", "is_in_place", "passes", "stamp_of", "unreadable"]

# What a file is, as far as its folder tells: inode, size, time of change; of catalogue and log.
Stamp = tuple[tuple[int, int, int] | None, ...]

# How a journal ends that names the journal of several databases.
_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")

# Errors of SQLite that say nothing of the file's content, by code, and for Python 3.10 by text.
_PASSING_CODES = {3, 5, 6, 7, 8, 10, 13, 14, 15, 22}
_PASSING_TEXTS = (
    "access permission denied", "database is locked", "database table is locked",
    "out of memory", "attempt to write a readonly database", "disk I/O error",
    "database or disk is full", "unable to open database file", "locking protocol",
    "large file support is disabled",
)  # fmt: skip

# How often a catalogue is read that changes meanwhile, and how long to wait, seconds.
_TRIES = 50
_PAUSE = 0.02


def connect(
    catalog: Path, for_writing: bool = False
) -> tuple[sqlite3.Connection, Stamp | None, Steps]:
    """Open the catalogue.

    Parameters
    ----------
    catalog : Path
    for_writing : bool
        Where the folder cannot be written to, raise; else the catalogue is read as it is on disk.

    Returns
    -------
    connection : sqlite3.Connection
    stamp : Stamp or None
        Which state of the files the connection shows; None where it shows every later one.
    steps : Steps
        Bounds each statement.

    Raises
    ------
    LibraryDamaged
        The file is no catalogue.
    LibraryError
        It cannot be read just now.
    """
    check_files(catalog, for_writing)
    stamp = None
    steps = Steps(catalog)
    try:
        connection = _opened(catalog.absolute().as_uri(), steps)
    except sqlite3.Error as error:
        if for_writing or not passes(error):
            raise unreadable(catalog, error) from error
        connection, stamp = _as_on_disk(catalog, error, steps)
    add_functions(connection)
    return connection, stamp, steps


def check_files(catalog: Path, for_writing: bool) -> None:
    """Raise LibraryDamaged where SQLite would be led to files that are none of the catalogue's."""
    check_plain(catalog)
    if for_writing:
        check_own(catalog)
    # SQLite follows a link to the catalogue, and has its other files there.
    beside = os.path.realpath(catalog)
    for end in ("-wal", "-shm", "-journal"):
        check_own(Path(beside + end))
    _check_journal(Path(f"{beside}-journal"))


def _check_journal(journal: Path) -> None:
    """Refuse a journal that names another file, which SQLite would read and delete."""
    try:
        with open(journal, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - len(_NAMES_ANOTHER)))
            names_another = file.read() == _NAMES_ANOTHER
    except OSError:  # usually as there is none
        return
    if names_another:
        raise LibraryDamaged(
            f"{journal}: belongs to several databases, which no library has; delete this file, or "
            "restore the library's folder from a copy"
        )


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False)


def _opened(uri: str, steps: Steps) -> sqlite3.Connection:
    connection = _connect(uri)
    try:
        steps.begin()
        steps.watch(connection)
        harden(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except BaseException:
        connection.close()
        raise
    return connection


def stamp_of(catalog: Path) -> Stamp:
    """Which state of its files a catalogue is in."""
    return tuple(_file_stamp(catalog.with_name(catalog.name + end)) for end in ("", "-wal"))


def is_in_place(stamp: Stamp) -> bool:
    """Whether there is no log, so that the catalogue itself can be read, not a copy."""
    _, log = stamp
    return log is None or log[1] == 0


def _file_stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _as_on_disk(
    catalog: Path, cause: sqlite3.Error, steps: Steps
) -> tuple[sqlite3.Connection, Stamp]:
    """The state that the files are in, read where nothing can be written beside them."""
    try:
        for _ in range(_TRIES):
            stamp = stamp_of(catalog)
            try:
                if is_in_place(stamp):
                    connection = _opened(f"{catalog.absolute().as_uri()}?immutable=1", steps)
                else:
                    connection = _copied(catalog, steps)
            except FileNotFoundError:
                pass  # the log
            else:
                if stamp_of(catalog) == stamp:
                    return connection, stamp
                connection.close()
            time.sleep(_PAUSE)  # a writer is at work
    except sqlite3.Error as error:
        raise unreadable(catalog, error) from cause
    except OSError as error:
        raise LibraryError(_just_now(catalog, error)) from cause
    raise LibraryError(
        f"{catalog}: is being written to, and its folder cannot be written to from here, so that "
        "no state of it can be held; try again when that has ended"
    )


def _copied(catalog: Path, steps: Steps) -> sqlite3.Connection:
    """A copy of the catalogue that holds what its log holds; gone when it is closed."""
    problem: OSError | None = None
    for place in _places():
        try:
            folder = Path(tempfile.mkdtemp(prefix="soundsearch-", dir=place))
        except OSError as error:
            problem = error
            continue
        try:
            copy = folder / catalog.name
            for end in ("", "-wal"):
                shutil.copyfile(f"{catalog}{end}", f"{copy}{end}")
            uri = copy.as_uri()
            connection = _opened(uri, steps)
            try:
                connection.execute("PRAGMA journal_mode = DELETE")
            finally:
                connection.close()
            return _opened(f"{uri}?immutable=1", steps)
        except FileNotFoundError:
            raise
        except OSError as error:
            problem = error
        finally:
            # An open file stays readable, but for Windows, which keeps it.
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                atexit.register(shutil.rmtree, folder, ignore_errors=True)
    assert problem is not None
    raise problem


def _places() -> Iterator[str]:
    """Where a copy may be made; the second is in memory, for when all disks are full."""
    yield tempfile.gettempdir()
    if os.path.isdir("/dev/shm"):
        yield "/dev/shm"


def passes(error: sqlite3.Error) -> bool:
    """Whether an error may be gone the next time: of the disk, of locks, of permissions."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return (code & 0xFF) in _PASSING_CODES
    return str(error).startswith(_PASSING_TEXTS)


def unreadable(catalog: Path, error: sqlite3.Error) -> LibraryError:
    """What to say when SQLite cannot read the catalogue."""
    if passes(error):
        return LibraryError(_just_now(catalog, error))
    return LibraryDamaged(
        f"{catalog}: the catalogue cannot be read ({error}); restore the library's folder from a "
        "copy, or ingest again into a new library"
    )


def _just_now(path: Path, error: Exception) -> str:
    return (
        f"{path}: cannot be read just now ({error}), which says nothing against the library; "
        "free some space or remove the cause, then run the same command again"
    )
