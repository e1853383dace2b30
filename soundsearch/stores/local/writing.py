"""One process at a time writes to a local library."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ...errors import LibraryBusy, LibraryError
from ..records import Settings
from .catalog import Catalog
from .connecting import passes, unreadable
from .files import open_own
from .locking import FileLock, Locked
from .rows import RowFiles, delete_row_files, row_files
from .schema import CATALOG, HOLDER, LOCK, held_by

__all__ = ["Writer", "write_error", "writer_lock"]


class Writer:
    """What is open while a library is held for writing.

    Parameters
    ----------
    folder : Path
    settings : Settings
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        # Rows that were added since the index was last brought up to date.
        self.unindexed = 0
        # Shards that were deleted last. Who is the last to close a deleted file waits for the
        # disk, a tenth of a second and more: not a reader that goes on to the next ones.
        self.deleted = ExitStack()
        self.catalog = Catalog(folder, for_writing=True)
        try:
            self.files = self._open_files()
        except OSError as error:
            self.catalog.close()
            raise self.error(error) from error
        except BaseException:
            self.catalog.close()
            raise

    def _open_files(self) -> RowFiles:
        # Those of other generations first: they may be other names of the same files.
        generation = self.catalog.setting("generation")
        delete_row_files(self.folder, row_files(self.folder, generation, self.settings))
        return RowFiles(self.folder, generation, self.settings)

    def use_files(self) -> None:
        """Go on with the row files that the catalogue names now."""
        self.files.close()
        self.files = self._open_files()

    def close(self) -> None:
        """Close everything."""
        self.files.close()
        self.catalog.close()
        self.deleted.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write to the catalogue, all or nothing."""
        try:
            with self.catalog.transaction():
                yield
        except (OSError, sqlite3.Error) as error:
            raise self.error(error) from error

    def error(self, error: Exception) -> LibraryError:
        """What to say when writing failed."""
        return write_error(self.folder, error)


def write_error(folder: Path, error: Exception) -> LibraryError:
    """What to say when writing to a library failed."""
    if isinstance(error, sqlite3.Error) and not passes(error):
        return unreadable(folder / CATALOG, error)
    return LibraryError(
        f"{folder}: cannot be written to ({error}); what was reported as done is "
        "stored. Free some space or remove the cause, then run the same command again"
    )


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Hold a library against other writers, and say who holds it.

    Raises
    ------
    LibraryBusy
        Another process holds it.
    LibraryError
        The folder cannot be written to.
    """
    import socket

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire()
    except Locked:
        raise LibraryBusy(f"{folder}: {held_by(folder)}; wait for it to end") from None
    except OSError as error:
        raise LibraryError(f"{folder}: cannot be written to: {error}") from error
    holder = folder / HOLDER
    try:
        try:
            holder.unlink(missing_ok=True)
            who = {"pid": os.getpid(), "host": socket.gethostname()}
            with open_own(holder, new=True, mode=0o600) as file:
                file.write(json.dumps(who).encode())
        except OSError as error:
            raise write_error(folder, error) from error
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()
