"""The store of one machine: a folder with a SQLite catalogue, vectors, and a FAISS index.

``catalog.sqlite`` is the truth. A clip's segments are rows of two append-only files (`rows`),
which exist only once the catalogue says so. The index is a cache (`index`). Readers never wait
for the writer: each reading sees the state that the catalogue had when it began (SQLite's WAL),
and rows never change once they are written.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import count, islice
from pathlib import Path

from ...errors import (
    LibraryBusy,
    LibraryDamaged,
    LibraryError,
    LibraryNotFound,
    LibraryVersion,
)
from ...hints import command
from ...results import Finding
from ..base import LabelsOf, OnClips, OnStep, SaidOf, Store
from ..filters import Filter
from ..parts import Part
from ..records import (
    ClipRecord,
    Counts,
    FailureRecord,
    Key,
    NewClip,
    Settings,
    StoredClip,
    Tuning,
)
from .catalog import PAGE, Catalog
from .checking import check
from .connecting import unreadable
from .indexing import optimise_index
from .locking import FileLock, Locked
from .reading import LocalReading, Pool, clips_keyed
from .relabelling import relabel
from .rows import has_row_files
from .schema import CATALOG, HOLDER, LOCK, held_by, make_catalog, upgrade
from .snapshot import Snapshots
from .upkeep import adopt, optimise, rebuild
from .writing import Writer, write_error, writer_lock

__all__ = ["LocalStore"]

_SUCCESSOR = "successor"
_DISCARDED = "successor.old"
# How long a library that another process makes is waited for, and between looks; seconds.
_PATIENCE = 30.0
_PAUSE = 0.02
# Rows that are added before the index is brought up to date, though more will come: this share of
# all, but no fewer and no more than these. Readers search exactly what no index holds.
_UNINDEXED_SHARE = 1 / 64
_LEAST_UNINDEXED, _MOST_UNINDEXED = 1 << 14, 1 << 16
# How often a snapshot is tried whose files a rebuild takes away.
_TRIES = 5


class LocalStore:
    """A library folder.

    Parameters
    ----------
    folder : Path
        Made by `create`.

    Raises
    ------
    LibraryNotFound, LibraryDamaged, LibraryVersion, LibraryBusy
    """

    def __init__(self, folder: Path) -> None:
        self.address = str(folder)
        self._folder = folder
        if not _is_there(folder / CATALOG):
            if has_row_files(folder):
                raise LibraryDamaged(
                    f"{folder}: {CATALOG} is missing beside the vectors; restore it from a "
                    "copy, or ingest again into a new library"
                )
            raise LibraryNotFound(
                f"{folder}: there is no library here; make one with: "
                f"{command('ingest FOLDER', folder)}"
            )
        self._pool = Pool(folder)
        self._snapshots = Snapshots(folder)
        self._writer: Writer | None = None
        with closing(Catalog(folder)) as catalog:
            try:
                upgrade(folder, catalog.connection)
                self.settings = catalog.settings()
            except sqlite3.Error as error:
                raise unreadable(folder / CATALOG, error) from error

    @classmethod
    def create(cls, folder: Path, settings: Settings) -> LocalStore:
        """Make a library in a folder that is new or empty.

        Where another process makes one there meanwhile, that one is opened.
        """
        lock = FileLock(folder / LOCK)
        tries = int(_PATIENCE / _PAUSE)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Who made the library may go on to hold the lock, to write: that is not waited for.
            while not (folder / CATALOG).exists():
                with suppress(Locked), lock:
                    if not (folder / CATALOG).exists():
                        _refuse_foreign(folder)
                        make_catalog(folder / CATALOG, settings)
                    break
                tries -= 1
                if not tries:
                    raise LibraryBusy(
                        f"{folder}: {held_by(folder)}, but no library is there yet; wait for it "
                        "to end"
                    )
                time.sleep(_PAUSE)
        except (OSError, sqlite3.Error) as error:
            raise LibraryError(f"{folder}: cannot make a library here: {error}") from error
        return cls(folder)

    def close(self) -> None:
        """Close the catalogue; the store cannot be used any more."""
        self._pool.close()

    # Reading

    @contextmanager
    def reading(self) -> Iterator[LocalReading]:
        """Take a view of what is stored now; see `Store.reading`."""
        failed: LibraryDamaged | None = None
        for _ in range(_TRIES):
            with self._pool.pinned() as catalog:
                try:
                    snapshot = self._snapshots.of(catalog, self.settings)
                except LibraryDamaged as error:
                    failed = error  # or a rebuild took the files away between two steps
                else:
                    yield LocalReading(catalog, snapshot)
                    return
        assert failed is not None
        with self._pool.pinned() as catalog:
            yield LocalReading(catalog, failed)

    def counts(self) -> Counts:
        """What is stored now."""
        with self._pool.pinned() as catalog:
            return catalog.counts()

    def head_digest(self) -> str | None:
        """Which head the labels are of; see `Store.head_digest`."""
        with self._pool.pinned() as catalog:
            return catalog.head_digest()

    def head(self) -> bytes:
        """The file of that head."""
        with self._pool.pinned() as catalog:
            return catalog.head()

    def tuning(self) -> Tuning | None:
        """How the index is tuned; None where there is none, or it is not yet."""
        with self._pool.pinned() as catalog:
            return catalog.tuning()

    def is_exact(self) -> bool:
        """Whether there is no approximate index."""
        with self._pool.pinned() as catalog:
            return catalog.index() is None

    def clips(self, filter: Filter | None = None) -> Iterator[StoredClip]:
        """Every clip that a filter lets through, in the order of ids; read in pages."""
        if filter is not None:
            with self.reading() as reading:
                ids = iter(reading.ids(filter).tolist())
            while page := list(islice(ids, PAGE)):
                with self._pool.pinned() as catalog:
                    found = catalog.clips_by_id(page)
                yield from found.values()
            return
        last = -1
        while True:
            with self._pool.pinned() as catalog:
                clips = catalog.clips_after(last)
            if not clips:
                return
            yield from clips
            last = clips[-1].id

    def clip_at(self, uri: str) -> StoredClip | None:
        """The clip at this uri."""
        with self._pool.pinned() as catalog:
            return catalog.clip_at(uri)

    def clips_at(self, uris: Sequence[str]) -> dict[str, StoredClip]:
        """Those clips that are at one of these uris."""
        with self._pool.pinned() as catalog:
            return catalog.clips_at(uris)

    def key(self) -> str | None:
        """The tag that is the key of clips."""
        with self._pool.pinned() as catalog:
            return catalog.keys.tag()

    def clips_keyed(self, keys: Sequence[Key]) -> dict[Key, StoredClip]:
        """The clips that have these keys; see `Store.clips_keyed`."""
        with self._pool.pinned() as catalog:
            return clips_keyed(catalog, keys)

    def clips_with(self, digest: bytes, most: int | None = None) -> list[StoredClip]:
        """The clips with this content, or so many of them at most."""
        with self._pool.pinned() as catalog:
            return catalog.clips_with(digest, most)

    def failures(self) -> Iterator[FailureRecord]:
        """Every failure, in the order of uris."""
        last = ""
        while True:
            with self._pool.pinned() as catalog:
                failures = catalog.failures_after(last)
            if not failures:
                return
            yield from failures
            last = failures[-1].file.uri

    def failure_at(self, uri: str) -> FailureRecord | None:
        """What failed at this uri."""
        with self._pool.pinned() as catalog:
            return catalog.failure_at(uri)

    def failures_at(self, uris: Sequence[str]) -> dict[str, FailureRecord]:
        """Those failures that are at one of these uris."""
        with self._pool.pinned() as catalog:
            found = ((uri, catalog.failure_at(uri)) for uri in uris)
            return {uri: failure for uri, failure in found if failure is not None}

    def failure_with(self, digest: bytes) -> FailureRecord | None:
        """A failure of this content."""
        with self._pool.pinned() as catalog:
            return catalog.failure_with(digest)

    # Writing

    @contextmanager
    def writing(self, part: Part | None = None) -> Iterator[None]:
        """Hold the library for writing; raises LibraryBusy when another process does."""
        if part is not None:
            raise LibraryError(
                f"{self.address}: a folder is written by one process at a time; parts of an ingest "
                "can be written to a library on a Milvus server: milvus://HOST:19530/NAME"
            )
        self._pool.check_place()  # where it is gone, there is nothing to lock
        with writer_lock(self._folder):
            self._pool.check_place()
            try:
                self._delete_adopted()
                with closing(Writer(self._folder, self.settings)) as self._writer:
                    yield
            except sqlite3.Error as error:
                raise write_error(self._folder, error) from error
            finally:
                self._writer = None

    @property
    def _held(self) -> Writer:
        if self._writer is None:
            raise RuntimeError("writing to a store needs `with store.writing():` around it")
        return self._writer

    def add(self, clips: Sequence[NewClip], on_step: OnStep = lambda _text: None) -> None:
        """Store clips, all or none; durable when it returns. See `Store.add`."""
        writer = self._held
        if not clips:
            return
        with writer.transaction():
            first = writer.catalog.next_row()
            # Vectors first, then the catalogue that makes them exist.
            sums = writer.files.append(clips, first)
            writer.catalog.add(clips, first, sums)
        writer.unindexed += sum(len(clip.embeddings) for clip in clips)
        share = int(_UNINDEXED_SHARE * writer.catalog.setting("rows"))
        if writer.unindexed >= min(max(_LEAST_UNINDEXED, share), _MOST_UNINDEXED):
            writer.unindexed = 0
            with suppress(LibraryError):  # the clips are stored; `optimise` tells of it
                optimise_index(writer, on_step, more_comes=True)

    def amend(self, records: Mapping[int, ClipRecord]) -> None:
        """Give clips other records, all or none; see `Store.amend`."""
        with self._held.transaction():
            self._held.catalog.amend(records)

    def use_key(self, tag: str | None) -> None:
        """Say which tag is the key of clips; see `Store.use_key`."""
        with self._held.transaction():
            self._held.catalog.keys.use(tag)

    def fail(self, failures: Sequence[FailureRecord]) -> None:
        """Remember files that failed."""
        with self._held.transaction():
            self._held.catalog.fail(failures)

    def remove(self, clip_ids: Sequence[int]) -> None:
        """Take clips out; their rows are freed by `rebuild`."""
        with self._held.transaction():
            self._held.catalog.remove(clip_ids)

    def forget_failures(self, uris: Sequence[str]) -> None:
        """Forget what failed at these uris."""
        with self._held.transaction():
            self._held.catalog.forget_failures(uris)

    def optimise(self, on_step: OnStep = lambda _text: None) -> None:
        """Make, extend or retrain the approximate index when the library's size asks for it."""
        optimise(self._held, on_step)

    def rebuild(self, on_step: OnStep = lambda _text: None) -> int:
        """Copy the rows that clips use to new files, drop lost clips, make the index again."""
        return rebuild(self._held, on_step)

    def check(
        self, on_clips: OnClips = lambda _count: None, on_step: OnStep = lambda _text: None
    ) -> list[Finding]:
        """Compare all that is stored with its checksums; see `Store.check`."""
        began = time.monotonic()
        for tried in count(1):
            found: list[Finding] = []
            failed: LibraryDamaged | FileNotFoundError | None = None
            with self._pool.pinned() as catalog:
                files = catalog.files()
                try:
                    found = check(self._folder, catalog, on_clips, on_step)
                except (LibraryDamaged, FileNotFoundError) as error:
                    failed = error
            if failed is None and not found:
                return []
            with self._pool.pinned() as catalog:
                is_so = catalog.files() == files  # else a rebuild took them away meanwhile
            # One rebuild after the other may; so may a long ingest do with the index.
            if is_so or (tried >= _TRIES and time.monotonic() - began > _PATIENCE):
                break
        if failed is not None:
            raise failed
        return found

    def successor(self, settings: Settings) -> LocalStore:
        """A library within this one's folder; see `Store.successor`."""
        folder = self._folder / _SUCCESSOR
        # What cannot be read just now is not given up: it may be the work of days.
        if not folder.is_symlink():
            with suppress(LibraryNotFound, LibraryDamaged, LibraryVersion):
                begun = LocalStore(folder)
                if begun.settings == settings:
                    return begun
                begun.close()
        self._discard(folder)
        return LocalStore.create(folder, settings)

    def adopt(self, successor: Store) -> None:
        """Take a successor's place; see `Store.adopt`."""
        settings = successor.settings
        successor.close()
        adopt(self._held, Path(successor.address), settings)
        self.settings = settings
        self._delete_adopted()  # its row files are ours now, and were its own too
        self._held.use_files()

    def relabel(
        self,
        head: bytes | None,
        labels: LabelsOf,
        on_clips: OnClips = lambda _count: None,
        said: SaidOf = lambda record: record,
    ) -> None:
        """Give all clips other labels, and keep their head, in one step; see `Store.relabel`."""
        relabel(self._held, head, labels, on_clips, said)
        self._held.use_files()

    def _delete_adopted(self) -> None:
        folder = self._folder / _SUCCESSOR
        adopted = False
        if folder.exists():
            with suppress(LibraryError), closing(LocalStore(folder)) as successor:
                adopted = successor.settings == self.settings
        if adopted:
            self._discard(folder)
        else:
            shutil.rmtree(self._folder / _DISCARDED, ignore_errors=True)

    def _discard(self, folder: Path) -> None:
        """Delete a successor; renamed first, as deleting may be killed half-way."""
        discarded = self._folder / _DISCARDED
        shutil.rmtree(discarded, ignore_errors=True)
        try:
            if folder.is_symlink():
                folder.unlink()
            elif folder.exists():
                os.replace(folder, discarded)
        except OSError as error:
            raise write_error(self._folder, error) from error
        shutil.rmtree(discarded, ignore_errors=True)


def _refuse_foreign(folder: Path) -> None:
    """Raise where a folder without a catalogue holds other things than one's beginnings."""
    names = (path.name for path in folder.iterdir())
    foreign = [name for name in names if not name.startswith((CATALOG, LOCK, HOLDER))]
    if foreign:
        raise LibraryError(
            f"{folder}: expected a new or empty folder for a library, it holds "
            f"{min(foreign)!r}; choose another folder"
        )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # its folder may not be entered, or the disk is gone
        raise LibraryError(f"{path}: cannot be read just now ({error}); try again") from error
