"""The file of a library's catalogue: what reads and writes of it have in common."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ...deadlines import check_time
from ...errors import LibraryDamaged, LibraryError
from .connecting import connect, is_in_place, stamp_of, unreadable
from .schema import CATALOG, check_not_newer

__all__ = ["CatalogFile"]

_Record = TypeVar("_Record")


class CatalogFile:
    """A connection to the file of a library's catalogue, used by one thread at a time.

    Parameters
    ----------
    folder : Path
        Of the library.
    for_writing : bool
        Where it cannot be written to, raise; else it can be read all the same.
    """

    def __init__(self, folder: Path, for_writing: bool = False) -> None:
        self.folder = folder
        self._path = folder / CATALOG
        self.connection, self._stamp, self._steps = connect(self._path, for_writing)
        if for_writing:
            try:
                check_not_newer(folder, self.connection)  # upgraded since it was opened
            except BaseException:
                self.connection.close()
                raise

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def is_outdated(self) -> bool:
        """Whether this shows a state that was, as another process wrote since."""
        return self._stamp is not None and stamp_of(self._path) != self._stamp

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Whatever is read within it is of one committed state."""
        self._query("BEGIN")
        try:
            yield
            self._check_unchanged()
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def _check_unchanged(self) -> None:
        """Raise where the file was written to while it was read without locks."""
        if self._stamp is None or not is_in_place(self._stamp):
            return
        if stamp_of(self._path)[0] != self._stamp[0]:
            raise LibraryError(
                f"{self._path}: was written to while it was read; run the same command again"
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Whatever is written within it is committed as one, or not at all."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error) and self._steps.were_interrupted(error):
                raise KeyboardInterrupt from error
            raise

    def _query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._reading(len(values)):
            return self.connection.execute(sql, values).fetchall()

    @contextmanager
    def _reading(self, parameters: int = 0) -> Iterator[None]:
        check_time()
        self._steps.begin(parameters)
        try:
            yield
        except sqlite3.Error as error:
            check_time()
            if self._steps.were_interrupted(error):
                raise KeyboardInterrupt from error
            self._check_unchanged()
            if self._steps.are_too_many:
                raise self._damaged("reading it takes longer than its size explains") from error
            raise unreadable(self._path, error) from error
        except (ValueError, TypeError, OverflowError) as error:
            check_not_newer(self.folder, self.connection)
            raise self._damaged(str(error)) from error
        finally:
            self._steps.end()

    def _damaged(self, what: str) -> LibraryDamaged:
        return LibraryDamaged(
            f"{self._path}: is not what a library stores ({what}); restore the library's folder "
            "from a copy, or ingest again into a new library"
        )

    def _records(
        self, record_of: Callable[[Sequence[Any]], _Record], sql: str, *values: Any
    ) -> list[_Record]:
        rows = self._query(sql, *values)
        with self._reading():
            return [record_of(row) for row in rows]
