"""Readings of a local library: a pinned catalogue, and the snapshot that belongs to it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...deadlines import check_time
from ...errors import LibraryDamaged, LibraryError, LibraryNotFound
from ...hints import command
from ...vectors import Directions
from ..base import ClipChanged, Span
from ..filters import Filter
from ..keyed import by_key, declared
from ..records import Counts, Key, StoredClip
from .catalog import Catalog
from .rows import ranges, rows_of
from .schema import CATALOG
from .snapshot import Snapshot
from .sums import are_finite

__all__ = ["LocalReading", "Pool", "clips_keyed"]

# Segments of a clip that takes a while to compare with its checksum.
_LONG = 4096
# Connections that are kept for the next reading.
_IDLE = 8


class Pool:
    """Connections to a library's catalogue, one for each reading at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Wherever the process goes.
        self._catalog = os.path.abspath(folder / CATALOG)
        self._identity = _identity(self._catalog)
        self._idle: deque[Catalog] = deque()
        self._closed = False

    def __del__(self) -> None:
        # For those who open a library without closing it. Not there when opening it failed.
        if getattr(self, "_idle", None):
            self.close()

    @contextmanager
    def pinned(self) -> Iterator[Catalog]:
        """A catalogue that shows one committed state."""
        if self._closed:
            raise LibraryError(f"{self._folder}: was closed; open it again")
        self.check_place()
        catalog = self._take()
        try:
            with catalog.pinned():
                yield catalog
        finally:
            if self._closed or len(self._idle) >= _IDLE:
                catalog.close()
            else:
                self._idle.append(catalog)

    def check_place(self) -> None:
        """Raise LibraryError where the library that was opened is not there any more.

        Its files stay readable for who has them open, and show what nobody else sees.
        """
        try:
            found = _identity(self._catalog)
        except (FileNotFoundError, NotADirectoryError):
            raise LibraryNotFound(
                f"{self._folder}: is not there any more; it was removed or moved while it was open"
            ) from None
        except OSError:
            return  # a disk that does not answer just now says nothing
        if found != self._identity:
            raise LibraryError(
                f"{self._folder}: another library was put in the place of the one that was opened; "
                "open it again"
            )

    def _take(self) -> Catalog:
        with suppress(IndexError):
            while True:
                catalog = self._idle.pop()
                if not catalog.is_outdated():
                    return catalog
                catalog.close()
        return Catalog(self._folder)

    def close(self) -> None:
        """Close them, those that are in use as soon as they are not."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()


def _identity(catalog: str) -> tuple[int, int]:
    """What tells a library from another one in its place."""
    found = os.stat(catalog)
    return found.st_dev, found.st_ino


def clips_keyed(catalog: Catalog, keys: Sequence[Key]) -> dict[Key, StoredClip]:
    """The clips that have these keys; see `Reading.clips_keyed`."""
    address = str(catalog.folder)
    tag = declared(catalog.keys.tag(), address)
    clips = catalog.clips_by_id(catalog.keys.said_to_have(keys))
    return by_key(clips.values(), tag, keys, address)


class LocalReading:
    """One state of a local library; see `Reading`.

    Parameters
    ----------
    catalog : Catalog
        Pinned.
    snapshot : Snapshot or LibraryDamaged
        What belongs to it, or why it cannot be had; records can be read all the same.
    """

    def __init__(self, catalog: Catalog, snapshot: Snapshot | LibraryDamaged) -> None:
        self._catalog = catalog
        self._taken = snapshot

    @property
    def _snapshot(self) -> Snapshot:
        if isinstance(self._taken, LibraryDamaged):
            raise self._taken
        return self._taken

    def head_digest(self) -> str | None:
        """Which head the labels are of; see `Store.head_digest`."""
        return self._catalog.head_digest()

    def head(self) -> bytes:
        """The file of that head."""
        return self._catalog.head()

    def counts(self, filter: Filter | None = None) -> Counts:
        """How many clips and segments a filter lets through; failures have no filter."""
        if filter is None and isinstance(self._taken, LibraryDamaged):
            return self._catalog.counts()  # which reads every clip
        snapshot = self._snapshot
        counts = snapshot.counts
        if filter is not None:
            counts = counts[snapshot.selection(filter, self._catalog).clips]
        return Counts(len(counts), int(counts.sum()), self._catalog.failure_count())

    def clip_at(self, uri: str) -> StoredClip | None:
        """The clip at this uri."""
        return self._catalog.clip_at(uri)

    def clips_keyed(self, keys: Sequence[Key]) -> dict[Key, StoredClip]:
        """The clips that have these keys; see `Reading.clips_keyed`."""
        return clips_keyed(self._catalog, keys)

    def clips_by_id(self, clip_ids: Sequence[int]) -> dict[int, StoredClip]:
        """Those of these clips that are there, by their ids."""
        return self._catalog.clips_by_id(clip_ids)

    def ids(self, filter: Filter | None = None) -> NDArray[np.int64]:
        """The clips that a filter lets through, ascending."""
        snapshot = self._snapshot
        if filter is None:
            return np.sort(snapshot.ids)
        return np.sort(snapshot.ids[snapshot.selection(filter, self._catalog).clips])

    def lengths(self, clip_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many segments these clips have, int64 [n]; 0 for a clip that is not there."""
        snapshot = self._snapshot
        places = snapshot.at(clip_ids)
        return np.where(places >= 0, snapshot.counts[places], 0)

    def rows(self, spans: Sequence[Span]) -> tuple[NDArray[np.float32], NDArray[np.void]]:
        """What is stored of stretches of clips, one after the other; see `Reading.rows`."""
        check_time()
        snapshot = self._snapshot
        clip_ids, firsts, lasts = np.array(spans, np.int64).reshape(-1, 3).T
        places = snapshot.at(clip_ids)
        if (places < 0).any() or (lasts > snapshot.counts[places]).any():
            raise ClipChanged("a clip was removed or replaced")
        # A long clip is compared only where all of it is read anyway.
        counts = snapshot.counts[places]
        compared = places[(counts <= _LONG) | (lasts - firsts == counts)]
        self._refuse(snapshot.damaged(compared))
        rows = ranges(snapshot.first_rows[places] + firsts, lasts - firsts)
        vectors = np.asarray(snapshot.vectors.vectors[rows])
        segments = rows_of(snapshot.vectors.segments, rows)
        if not (are_finite(vectors) and are_finite(segments["level"])):
            self._refuse(snapshot.damaged(places))
        return vectors, segments

    def _refuse(self, damaged: NDArray[np.int64]) -> None:
        if not len(damaged):
            return
        ids = self._snapshot.ids[damaged[:1]].tolist()
        clips = self._catalog.clips_by_id(ids)
        uri = clips[ids[0]].uri if clips else f"clip {ids[0]}"
        raise LibraryDamaged(
            f"{self._catalog.folder}: the segments of {uri} are not what was stored; to see what "
            f"to do: {command('check', self._catalog.folder)}"
        )

    def search(
        self, queries: NDArray[np.float32], k: int, filter: Filter | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The segments with the highest cosine to each query; see `Reading.search`."""
        check_time()
        snapshot = self._snapshot
        selection = snapshot.selection(filter, self._catalog) if filter is not None else None
        return snapshot.search(queries, k, selection)

    def pooled(self, clip_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The vectors of clips' stretches; see `Reading.pooled`."""
        snapshot = self._snapshot
        places = snapshot.at(clip_ids)
        if (places < 0).any():
            raise ClipChanged("a clip was removed")
        owners, vectors = snapshot.stretches().of(places)
        self._refuse(snapshot.damaged(places[owners[~vectors.any(axis=1)]]))
        return owners, vectors

    def search_pooled(
        self, queries: NDArray[np.float32], k: int, filter: Filter | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The clips with the nearest stretches; see `Reading.search_pooled`."""
        check_time()
        snapshot = self._snapshot
        selection = snapshot.selection(filter, self._catalog) if filter is not None else None
        return snapshot.search_stretches(queries, k, selection)

    def highest(
        self, along: Directions, k: int, filter: Filter | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The segments with the highest scores along directions; see `Reading.highest`."""
        check_time()
        snapshot = self._snapshot
        selection = snapshot.selection(filter, self._catalog) if filter is not None else None
        return snapshot.highest(along, k, selection)
