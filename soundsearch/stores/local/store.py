"""The store of one machine: a folder with a SQLite catalogue, vectors, and a FAISS index.

``catalog.sqlite`` is the truth. A clip's segments are rows of two append-only files, vectors and
what is kept beside them; rows exist only once the catalogue says so, so that a process killed
while it writes leaves at worst some bytes behind the last row, which the next writer overwrites.
The index is a cache: see `index`. Readers never wait for the writer (SQLite's
WAL, and rows never change once they are written).
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.discover import AudioFile
from soundsearch_ingest.encoders import AUDIOSET_SPACE
from soundsearch_ingest.postprocess import quantise

from ...errors import LibraryBusy, LibraryDamaged, LibraryError, LibraryNotFound, LibraryVersion
from ..base import SEGMENT, NewClip, Settings, Span, Store, StoredClip, StoredFailure
from .catalog import (
    APPLICATION_ID,
    CLIP,
    FAILURE,
    HUMAN,
    MIGRATIONS,
    clip_of,
    connect,
    damaged,
    failure_of,
    make_catalog,
    migrate,
    set_setting,
)
from .index import EXACT_ROWS, SegmentIndex, build, extend, unit
from .rows import EightBit, Rows, check_length, link_or_copy, mapped, ranges, row_files

__all__ = ["LocalStore"]

_CATALOG = "catalog.sqlite"
_LOCK = "writer.lock"
_SUCCESSOR = "successor"
_BINARY = getattr(os, "O_BINARY", 0)

# The index on disk is brought up to date when more than this share of its rows is missing
# from it, and trained anew when the library has grown by more than that factor.
_STALE_SHARE = 0.05
_RETRAIN_FACTOR = 4


@dataclass(slots=True)
class _Snapshot:
    """What a reader sees: the clips' rows, ascending, and the files that hold them."""

    version: int
    ids: NDArray[np.int64]
    first_rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    vectors: Rows
    segments: NDArray[np.void]
    index_path: Path | None
    index: SegmentIndex | None = None
    by_id: NDArray[np.int64] | None = None

    def places(self, clip_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where clips are in the arrays, -1 for those that are not."""
        if len(self.ids) == 0:
            return np.full(len(clip_ids), -1)
        if self.by_id is None:
            self.by_id = np.argsort(self.ids)
        nearest = np.searchsorted(self.ids, clip_ids, sorter=self.by_id)
        places = self.by_id[np.minimum(nearest, len(self.ids) - 1)]
        return np.where(self.ids[places] == clip_ids, places, -1)


class LocalStore:
    """A library folder.

    Parameters
    ----------
    folder : Path
        Made by `create`.

    Raises
    ------
    LibraryNotFound, LibraryDamaged, LibraryVersion
    """

    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        self._folder = folder
        self._lock = threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._files: tuple[BinaryIO, BinaryIO] | None = None
        self._snapshot: _Snapshot | None = None
        catalog = folder / _CATALOG
        if not catalog.exists():
            if next(folder.glob("vectors-*"), None) is not None:
                raise LibraryDamaged(
                    f"{folder}: {_CATALOG} is missing beside the vectors; restore it from a "
                    "copy, or delete the folder and ingest again"
                )
            raise LibraryNotFound(
                f"{folder}: there is no library here; make one with: soundsearch ingest FOLDER"
            )
        self._reader = connect(catalog)
        try:
            self._bring_up_to_date()
            self.settings = self._read_settings()
        except sqlite3.Error as error:
            self._reader.close()
            raise damaged(catalog, error) from error

    def __del__(self) -> None:
        # For those who open a library without closing it. Not there when opening it failed.
        if reader := getattr(self, "_reader", None):
            reader.close()

    @classmethod
    def create(cls, folder: Path, settings: Settings) -> LocalStore:
        """Make a library in a folder that is new or empty."""
        import filelock

        try:
            folder.mkdir(parents=True, exist_ok=True)
            foreign = [
                path.name
                for path in folder.iterdir()
                if not path.name.startswith((_CATALOG, _LOCK))
            ]
            if foreign:
                raise LibraryError(
                    f"{folder}: expected a new or empty folder for a library, it holds "
                    f"{min(foreign)!r}; choose another with --library"
                )
            with filelock.FileLock(folder / _LOCK):
                if not (folder / _CATALOG).exists():
                    make_catalog(folder / _CATALOG, settings)
        except (OSError, sqlite3.Error) as error:
            raise LibraryError(f"{folder}: cannot make a library here: {error}") from error
        return cls(folder)

    # Reading

    def _bring_up_to_date(self) -> None:
        try:
            if self._reader.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
                migrate(self._reader)
        except sqlite3.OperationalError as error:
            raise LibraryVersion(
                f"{self.where}: an older soundsearch made it, and its catalogue cannot be brought "
                f"up to date ({error}); open it once where it may be written to"
            ) from error

    def _read_settings(self) -> Settings:
        application = self._reader.execute("PRAGMA application_id").fetchone()[0]
        version = self._reader.execute("PRAGMA user_version").fetchone()[0]
        if application != APPLICATION_ID:
            raise LibraryDamaged(
                f"{self._folder / _CATALOG}: is a SQLite file, but no catalogue of soundsearch"
            )
        if version > len(MIGRATIONS):
            raise LibraryVersion(
                f"{self.where}: its catalogue has version {version}, this soundsearch knows up "
                f"to {len(MIGRATIONS)}; upgrade with: pip install --upgrade soundsearch"
            )
        values = {key: self._setting(key) for key in Settings.__slots__}
        return Settings(**values)

    def _setting(self, key: str, connection: sqlite3.Connection | None = None) -> Any:
        row = (
            (connection or self._reader)
            .execute("SELECT value FROM settings WHERE key = ?", (key,))
            .fetchone()
        )
        if row is None:
            raise LibraryDamaged(f"{self.where}: its catalogue lacks the setting {key!r}")
        return json.loads(row[0])

    def _query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._reader.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise damaged(self._folder / _CATALOG, error) from error

    def _pages(self, sql: str, before_first: Any) -> Iterator[tuple[Any, ...]]:
        """Rows of a query that gives those after a key, which is its first column."""
        last = before_first
        while rows := self._query(sql, last):
            yield from rows
            last = rows[-1][0]

    def counts(self) -> tuple[int, int, int]:
        """Clips, segments, failures."""
        clips, segments = self._query("SELECT count(*), coalesce(sum(count), 0) FROM clips")[0]
        return clips, segments, self._query("SELECT count(*) FROM failures")[0][0]

    def clips(self) -> Iterator[StoredClip]:
        """Every clip, in the order of ids."""
        rows = self._pages(f"SELECT {CLIP} FROM clips WHERE id > ? ORDER BY id LIMIT 1000", -1)
        return map(clip_of, rows)

    def clips_by_id(self, clip_ids: Sequence[int]) -> dict[int, StoredClip]:
        """Those of these clips that are there, by their ids."""
        sql = f"SELECT {CLIP} FROM clips WHERE id = ?"
        clips = [clip_of(row) for clip_id in clip_ids for row in self._query(sql, clip_id)]
        return {clip.id: clip for clip in clips}

    def clip_at(self, uri: str) -> StoredClip | None:
        """The clip at this uri."""
        rows = self._query(f"SELECT {CLIP} FROM clips WHERE uri = ?", os.fsencode(uri))
        return clip_of(rows[0]) if rows else None

    def clips_with(self, digest: bytes) -> list[StoredClip]:
        """The clips with this content."""
        return [
            clip_of(row)
            for row in self._query(f"SELECT {CLIP} FROM clips WHERE digest = ?", digest)
        ]

    def failures(self) -> Iterator[StoredFailure]:
        """Every failure, in the order of uris."""
        rows = self._pages(
            f"SELECT {FAILURE} FROM failures WHERE uri > ? ORDER BY uri LIMIT 1000", b""
        )
        return map(failure_of, rows)

    def failure_at(self, uri: str) -> StoredFailure | None:
        """What failed at this uri."""
        rows = self._query(f"SELECT {FAILURE} FROM failures WHERE uri = ?", os.fsencode(uri))
        return failure_of(rows[0]) if rows else None

    def failure_with(self, digest: bytes) -> StoredFailure | None:
        """A failure of this content."""
        rows = self._query(f"SELECT {FAILURE} FROM failures WHERE digest = ? LIMIT 1", digest)
        return failure_of(rows[0]) if rows else None

    def lengths(self, clip_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many segments these clips have, int64 [n]; 0 for a clip that is not there."""
        snapshot = self._current()
        places = snapshot.places(clip_ids)
        return np.where(places >= 0, snapshot.counts[places], 0)

    def rows(self, spans: Sequence[Span]) -> tuple[NDArray[np.float32], NDArray[np.void]]:
        """What is stored of stretches of clips, one after the other; see `Store.rows`."""
        snapshot = self._current()
        clip_ids, firsts, lasts = np.array(spans, np.int64).reshape(-1, 3).T
        places = snapshot.places(clip_ids)
        if (places < 0).any() or (lasts > snapshot.counts[places]).any():
            raise KeyError(f"{self.where}: a clip was removed or replaced")
        rows = ranges(snapshot.first_rows[places] + firsts, lasts - firsts)
        return np.asarray(snapshot.vectors[rows]), np.asarray(snapshot.segments[rows])

    def search(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The segments with the highest cosine to each query; see `Store.search`."""
        with self._lock:
            snapshot = self._current()
            if snapshot.index is None:
                snapshot.index = self._open_index(snapshot)
            rows, scores = snapshot.index.search(unit(queries), k)
        clips = np.searchsorted(snapshot.first_rows, rows, side="right") - 1
        segments = np.where(rows >= 0, rows - snapshot.first_rows[clips], -1)
        return np.where(rows >= 0, snapshot.ids[clips], -1), segments, scores

    def _current(self) -> _Snapshot:
        """The newest committed state; cheap when nothing has changed."""
        with self._lock:
            version = self._query("PRAGMA data_version")[0][0]
            if self._snapshot is None or self._snapshot.version != version:
                try:
                    self._snapshot = self._take_snapshot(version)
                except LibraryDamaged:
                    # A rebuild may have moved the files away between two steps.
                    self._snapshot = self._take_snapshot(version)
            return self._snapshot

    def _take_snapshot(self, version: int) -> _Snapshot:
        self._query("BEGIN")
        try:
            clips = self._query("SELECT id, first_row, count FROM clips ORDER BY first_row")
            rows, generation = self._setting("rows"), self._setting("generation")
            index = self._query("SELECT value FROM settings WHERE key = 'index'")
            if self._read_settings() != self.settings:
                raise LibraryError(
                    f"{self.where}: was embedded anew by another process; open it again"
                )
            table = np.array(clips, np.int64).reshape(-1, 3)
            vector_path, segment_path = self._row_files(generation)
            shape = (rows, self.settings.dimension)
            vectors = mapped(vector_path, np.dtype("u1" if self._coded else "f4"), shape)
            segments = mapped(segment_path, SEGMENT, (rows,))
        finally:
            self._query("COMMIT")
        ids, first_rows, counts = np.ascontiguousarray(table.T)
        if index:
            name, size = json.loads(index[0][0])
            path = self._folder / name
            # A cut-off index is a cache miss; mapping it could crash the process.
            usable = path.exists() and path.stat().st_size == size
        return _Snapshot(
            version,
            ids,
            first_rows,
            counts,
            EightBit(vectors) if self._coded else vectors,
            segments,
            path if index and usable else None,
        )

    def _open_index(self, snapshot: _Snapshot) -> SegmentIndex:
        live = _live_rows(snapshot)
        try:
            return SegmentIndex(snapshot.vectors, live, snapshot.index_path)
        except RuntimeError:  # damaged: do without
            return SegmentIndex(snapshot.vectors, live, None)

    # Writing

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the library for writing; raises LibraryBusy when another process does."""
        import socket

        import filelock

        holder = self._folder / "writer.json"
        lock = filelock.FileLock(self._folder / _LOCK, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise LibraryBusy(f"{self.where}: {_held_by(holder)}; wait for it to end") from None
        except OSError as error:
            raise LibraryError(f"{self.where}: cannot be written to: {error}") from error
        try:
            me = {"pid": os.getpid(), "host": socket.gethostname(), "command": sys.argv}
            holder.write_text(json.dumps(me))
            self._writer = connect(self._folder / _CATALOG)
            self._open_row_files()
            yield
        except sqlite3.Error as error:
            raise self._write_error(error) from error
        finally:
            if self._files is not None:
                for file in self._files:
                    with suppress(OSError):  # the rest of a write that failed
                        file.close()
                self._files = None
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            holder.unlink(missing_ok=True)
            lock.release()

    def _open_row_files(self) -> None:
        assert self._writer is not None
        generation = self._setting("generation", self._writer)
        paths = self._row_files(generation)
        vectors, segments = (
            os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o666) for path in paths
        )
        self._files = (os.fdopen(vectors, "r+b"), os.fdopen(segments, "r+b"))
        for file in (*self._folder.glob("vectors-*"), *self._folder.glob("segments-*")):
            if file not in paths:  # what a rebuild left behind
                with suppress(PermissionError):  # Windows keeps a file that a reader has mapped
                    file.unlink(missing_ok=True)
        self._delete_adopted()

    def _delete_adopted(self) -> None:
        folder = self._folder / _SUCCESSOR
        if folder.exists():
            with suppress(LibraryError), closing(LocalStore(folder)) as successor:
                adopted = successor.settings == self.settings
            if adopted:
                shutil.rmtree(folder)

    @property
    def _coded(self) -> bool:
        """Whether the vectors are kept as the 8-bit codes that they are in this space."""
        return self.settings.space == AUDIOSET_SPACE

    def _row_files(self, generation: int) -> tuple[Path, Path]:
        return row_files(self._folder, generation, "u8" if self._coded else "f32")

    def _row_bytes(self) -> tuple[int, int]:
        return (1 if self._coded else 4) * self.settings.dimension, SEGMENT.itemsize

    def _write_error(self, error: Exception) -> LibraryError:
        return LibraryError(
            f"{self.where}: cannot be written to ({error}); what was reported as done is "
            "stored. Free some space or mend the cause, then run the same command again"
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._writer is None:
            raise RuntimeError("writing to a store needs `with store.writing():` around it")
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        except (OSError, sqlite3.Error) as error:
            raise self._write_error(error) from error

    def add(self, clips: Sequence[NewClip]) -> None:
        """Store clips, all or none; durable when it returns. See `Store.add`."""
        assert self._files is not None
        with self._transaction() as catalog:
            rows = self._setting("rows", catalog)
            # Vectors first, then the catalogue that makes them exist.
            columns: tuple[list[NDArray[Any]], list[NDArray[Any]]] = (
                [quantise(c.embeddings) if self._coded else c.embeddings for c in clips],
                [clip.segments for clip in clips],
            )
            for file, width, parts in zip(self._files, self._row_bytes(), columns, strict=True):
                check_length(file, rows * width)
                file.seek(rows * width)
                for part in parts:
                    file.write(np.ascontiguousarray(part).tobytes())
                file.flush()
                os.fsync(file.fileno())
            for clip in clips:
                uri = os.fsencode(clip.file.uri)
                values = (
                    clip.file.size,
                    clip.file.mtime_ns,
                    clip.digest,
                    clip.duration,
                    clip.padded,
                    clip.warning,
                    rows,
                    len(clip.embeddings),
                    clip.labels.tobytes(),
                    np.array(clip.human, HUMAN).tobytes(),
                )
                catalog.execute("DELETE FROM failures WHERE uri = ?", (uri,))
                catalog.execute(
                    "INSERT INTO clips (uri, size, mtime_ns, digest, duration, padded, warning, "
                    "first_row, count, labels, human) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (uri) DO UPDATE SET size = excluded.size, "
                    "mtime_ns = excluded.mtime_ns, digest = excluded.digest, "
                    "duration = excluded.duration, padded = excluded.padded, "
                    "warning = excluded.warning, first_row = excluded.first_row, "
                    "count = excluded.count, labels = excluded.labels, human = excluded.human",
                    (uri, *values),
                )
                rows += len(clip.embeddings)
            set_setting(catalog, "rows", rows)

    def fail(self, failures: Sequence[StoredFailure]) -> None:
        """Remember files that failed."""
        with self._transaction() as catalog:
            catalog.executemany(
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

    def move(self, clip_id: int, file: AudioFile) -> None:
        """Give a clip another file: a new uri, or a new time for the same content."""
        uri = os.fsencode(file.uri)
        with self._transaction() as catalog:
            catalog.execute("DELETE FROM clips WHERE uri = ? AND id != ?", (uri, clip_id))
            catalog.execute("DELETE FROM failures WHERE uri = ?", (uri,))
            catalog.execute(
                "UPDATE clips SET uri = ?, size = ?, mtime_ns = ? WHERE id = ?",
                (uri, file.size, file.mtime_ns, clip_id),
            )

    def remove(self, clip_ids: Sequence[int]) -> None:
        """Take clips out; their rows are freed by `rebuild`."""
        with self._transaction() as catalog:
            catalog.executemany("DELETE FROM clips WHERE id = ?", [(id,) for id in clip_ids])

    def forget_failures(self, uris: Sequence[str]) -> None:
        """Forget what failed at these uris."""
        with self._transaction() as catalog:
            catalog.executemany(
                "DELETE FROM failures WHERE uri = ?", [(os.fsencode(uri),) for uri in uris]
            )

    def optimise(self, on_progress: Callable[[str], None] = lambda _text: None) -> None:
        """Make, extend or renew the approximate index when the library's size asks for it."""
        snapshot = self._current()
        rows = len(snapshot.vectors)
        covered = trained = 0
        if snapshot.index_path is not None:
            covered, trained = self._setting("index_rows")
        if rows <= EXACT_ROWS or rows - covered <= _STALE_SHARE * rows:
            return
        generation = self._setting("generation")
        path = self._folder / f"index-{generation}-{rows}.faiss"
        try:
            if snapshot.index_path is not None and rows < _RETRAIN_FACTOR * trained:
                on_progress(f"adding {rows - covered} segments to the index")
                extend(snapshot.vectors, snapshot.index_path, path)
            else:
                trained = rows
                build(snapshot.vectors, path, on_progress)
        except (OSError, RuntimeError) as error:
            raise self._write_error(error) from error
        with self._transaction() as catalog:
            set_setting(catalog, "index", [path.name, path.stat().st_size])
            set_setting(catalog, "index_rows", [rows, trained])
        self._delete_indexes(path)

    def _delete_indexes(self, keep: Path | None) -> None:
        for old in self._folder.glob("index-*"):
            if old != keep:
                old.unlink(missing_ok=True)

    def rebuild(self, on_progress: Callable[[str], None] = lambda _text: None) -> int:
        """Copy the rows that clips use to new files, drop lost clips, index anew."""
        assert self._writer is not None and self._files is not None
        generation = self._setting("generation", self._writer) + 1
        table = self._writer.execute("SELECT id, first_row, count FROM clips ORDER BY first_row")
        on_progress("copying the rows that are in use")
        moved: list[tuple[int, int]] = []
        lost: list[tuple[int]] = []
        rows = 0
        new_paths = self._row_files(generation)
        try:
            with open(new_paths[0], "wb") as new_vectors, open(new_paths[1], "wb") as new_segments:
                for clip_id, first_row, count in table.fetchall():
                    parts = []
                    for file, width in zip(self._files, self._row_bytes(), strict=True):
                        file.seek(first_row * width)
                        parts.append(file.read(count * width))
                    if [len(part) for part in parts] != [count * n for n in self._row_bytes()]:
                        lost.append((clip_id,))
                        continue
                    new_vectors.write(parts[0])
                    new_segments.write(parts[1])
                    moved.append((rows, clip_id))
                    rows += count
                for file in (new_vectors, new_segments):
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise self._write_error(error) from error
        with self._transaction() as catalog:
            catalog.executemany("DELETE FROM clips WHERE id = ?", lost)
            # first_row is unique: out of the way first, then to the new places.
            catalog.execute("UPDATE clips SET first_row = -first_row - 1")
            catalog.executemany("UPDATE clips SET first_row = ? WHERE id = ?", moved)
            set_setting(catalog, "rows", rows)
            set_setting(catalog, "generation", generation)
            catalog.execute("DELETE FROM settings WHERE key IN ('index', 'index_rows')")
        for file in self._files:
            file.close()
        self._open_row_files()
        self._delete_indexes(None)
        self.optimise(on_progress)
        return len(lost)

    def successor(self, settings: Settings) -> LocalStore:
        """A library within this one's folder; see `Store.successor`."""
        folder = self._folder / _SUCCESSOR
        with suppress(LibraryError):  # there is none, or it is damaged
            begun = LocalStore(folder)
            if begun.settings == settings:
                return begun
            begun.close()
        shutil.rmtree(folder, ignore_errors=True)
        return LocalStore.create(folder, settings)

    def adopt(self, successor: Store) -> None:
        """Take a successor's place; see `Store.adopt`."""
        assert self._writer is not None and self._files is not None
        assert isinstance(successor, LocalStore)
        generation = self._setting("generation", self._writer) + 1
        theirs = successor._row_files(successor._setting("generation"))
        ours = row_files(self._folder, generation, "u8" if successor._coded else "f32")
        settings = {**asdict(successor.settings), "rows": successor._setting("rows")}
        successor.close()
        try:
            for path, new_path in zip(theirs, ours, strict=True):
                new_path.unlink(missing_ok=True)
                link_or_copy(path, new_path)
        except OSError as error:
            raise self._write_error(error) from error
        uri = (successor._folder / _CATALOG).absolute().as_uri()
        self._writer.execute("ATTACH ? AS successor", (uri,))
        columns = f"{CLIP}, first_row".removeprefix("id, ")
        with self._transaction() as catalog:
            catalog.execute("CREATE TEMP TABLE known AS SELECT id AS known_id, uri FROM clips")
            catalog.execute("DELETE FROM clips")
            catalog.execute(
                f"INSERT INTO clips (id, {columns}) SELECT known_id, {columns} FROM "
                "successor.clips LEFT JOIN known USING (uri) ORDER BY known_id IS NULL, first_row"
            )
            catalog.execute("DELETE FROM failures WHERE uri IN (SELECT uri FROM clips)")
            catalog.execute("INSERT OR REPLACE INTO failures SELECT * FROM successor.failures")
            for key, value in {**settings, "generation": generation}.items():
                set_setting(catalog, key, value)
            catalog.execute("DELETE FROM settings WHERE key IN ('index', 'index_rows')")
            catalog.execute("DROP TABLE known")
        self._writer.execute("DETACH successor")
        self.settings = successor.settings
        for file in self._files:
            file.close()
        self._open_row_files()
        self._delete_indexes(None)

    def close(self) -> None:
        """Close the catalogue; the store cannot be used any more."""
        with self._lock:
            self._snapshot = None
            self._reader.close()


def _live_rows(snapshot: _Snapshot) -> NDArray[np.int64]:
    """The rows that belong to a clip, ascending."""
    if int(snapshot.counts.sum()) == len(snapshot.vectors):
        return np.arange(len(snapshot.vectors))
    return ranges(snapshot.first_rows, snapshot.counts)


def _held_by(holder: Path) -> str:
    try:
        who = json.loads(holder.read_text())
        return f"process {who['pid']} on {who['host']} is writing to it"
    except (OSError, ValueError, KeyError):
        return "another process is writing to it"
