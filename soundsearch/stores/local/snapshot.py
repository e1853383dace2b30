"""What a reading of a local library sees: one committed state of the catalogue, and its rows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import LibraryError
from ...vectors import unit
from ..base import ClipChanged
from ..filters import Filter
from ..records import Settings
from .catalog import Catalog
from .index import Part, SegmentIndex
from .rows import Rows, map_rows, ranges
from .selecting import let_through

__all__ = ["Selection", "Snapshot", "Snapshots"]

Ints = NDArray[np.int64]

# Filters whose clips are remembered, for each snapshot.
_SELECTIONS = 8


class MappedRows:
    """The mapped rows of a snapshot, and the search over them, which is made when first asked."""

    def __init__(self, vectors: Rows, segments: NDArray[np.void], index_path: Path | None) -> None:
        self.vectors = vectors
        self.segments = segments
        self.index_path = index_path
        self._index: SegmentIndex | None = None
        self._lock = threading.Lock()

    def index(self, first_rows: Ints, counts: Ints) -> SegmentIndex:
        """The search over the rows of clips; raises FileNotFoundError if its file is gone."""
        if self._index is None:
            with self._lock:
                if self._index is None:
                    self._index = self._open(ranges(first_rows, counts))
        return self._index

    def _open(self, live: Ints) -> SegmentIndex:
        try:
            return SegmentIndex(self.vectors, live, self.index_path)
        except RuntimeError:
            if self.index_path is not None and not self.index_path.exists():
                raise FileNotFoundError(self.index_path) from None
            return SegmentIndex(self.vectors, live, None)  # damaged: do without


@dataclass(slots=True)
class Selection:
    """Clips that a filter lets through, and the search among their segments."""

    clips: NDArray[np.bool_]
    parts: Sequence[Part] | None = None


class Snapshot:
    """Where the rows of clips are, by ascending rows, in one state of the catalogue."""

    def __init__(
        self, revision: int, generation: int, rows: int, places: Ints, vectors: MappedRows
    ) -> None:
        self.revision = revision
        self.generation = generation
        self.rows = rows
        self.places = places
        self.ids, self.first_rows, self.counts = np.ascontiguousarray(places.T)
        self.vectors = vectors
        self.is_stale = False
        self._by_id: Ints | None = None
        self._selections: OrderedDict[str, Selection] = OrderedDict()
        self._lock = threading.Lock()

    def at(self, clip_ids: Ints) -> Ints:
        """Where clips are in the arrays, -1 for those that are not."""
        if len(self.ids) == 0:
            return np.full(len(clip_ids), -1)
        if self._by_id is None:
            self._by_id = np.argsort(self.ids)
        nearest = np.searchsorted(self.ids, clip_ids, sorter=self._by_id)
        places = self._by_id[np.minimum(nearest, len(self.ids) - 1)]
        return np.where(self.ids[places] == clip_ids, places, -1)

    def search(
        self, queries: NDArray[np.float32], k: int, selection: Selection | None
    ) -> tuple[Ints, Ints, NDArray[np.float32]]:
        """Clips, numbers of segments and cosines: see `Reading.search`."""
        try:
            index = self.vectors.index(self.first_rows, self.counts)
        except FileNotFoundError:
            # It was there when the snapshot was taken: there is a newer one, of a newer state.
            self.is_stale = True
            raise ClipChanged("the index was made again") from None
        parts = None
        if selection is not None:
            if selection.parts is None:
                chosen = selection.clips
                rows = ranges(self.first_rows[chosen], self.counts[chosen])
                selection.parts = index.among(rows)
            parts = selection.parts
        rows, scores = index.search(unit(queries), k, parts)
        if not rows.size:
            return rows, rows, scores
        clips = np.searchsorted(self.first_rows, rows, side="right") - 1
        there = rows >= 0
        numbers = np.where(there, rows - self.first_rows[clips], -1)
        return np.where(there, self.ids[clips], -1), numbers, scores

    def selection(self, filter: Filter, catalog: Catalog) -> Selection:
        """The clips that a filter lets through; `catalog` shows the state of this snapshot."""
        # Not the filter itself: 1 and true are equal, and mean other things in one.
        key = repr(filter)
        with self._lock:
            if found := self._selections.get(key):
                self._selections.move_to_end(key)
                return found
        made = Selection(let_through(filter, catalog, self.first_rows))
        with self._lock:
            made = self._selections.setdefault(key, made)
            while len(self._selections) > _SELECTIONS:
                self._selections.popitem(last=False)
        return made


class Snapshots:
    """Makes snapshots and keeps the newest, which all readings of its revision share.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._newest: Snapshot | None = None
        self._lock = threading.Lock()

    def of(self, catalog: Catalog, settings: Settings) -> Snapshot:
        """The snapshot that belongs to what a pinned catalogue shows."""
        revision = catalog.setting("revision")
        newest = self._newest
        if newest is not None and newest.revision == revision and not newest.is_stale:
            return newest
        with self._lock:  # one thread makes it, the others need not
            newest = self._newest
            if newest is None or newest.revision < revision or newest.is_stale:
                newest = self._newest = self._take(catalog, settings, revision, newest)
            if newest.revision == revision:
                return newest
        return self._take(catalog, settings, revision, None)

    def _take(
        self, catalog: Catalog, settings: Settings, revision: int, last: Snapshot | None
    ) -> Snapshot:
        if catalog.settings() != settings:
            raise LibraryError(
                f"{self._folder}: another process re-embedded it in another space; open it again"
            )
        rows, generation = catalog.setting("rows"), catalog.setting("generation")
        known = 0
        if last is not None and last.generation == generation:
            # First rows only grow: if none of the known ones is gone, only new ones are read.
            known = last.rows if catalog.clips_before(last.rows) == len(last.ids) else 0
        places = catalog.places(known)
        if last is not None and known:
            places = np.concatenate((last.places, places)) if len(places) else last.places
        index_path = self._index_path(catalog)
        if (
            last is not None
            and places is last.places
            and (rows, index_path) == (last.rows, last.vectors.index_path)
        ):
            vectors = last.vectors
        else:
            mapped = map_rows(self._folder, generation, settings, rows)
            vectors = MappedRows(*mapped, index_path)
        return Snapshot(revision, generation, rows, places, vectors)

    def _index_path(self, catalog: Catalog) -> Path | None:
        index = catalog.index()
        if index is None:
            return None
        path = self._folder / index[0]
        # A cut-off index is a cache miss; mapping it could crash the process.
        return path if path.exists() and path.stat().st_size == index[1] else None
