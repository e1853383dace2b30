"""What a reading of a local library sees: one committed state of the catalogue, and its rows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import LibraryDamaged, LibraryError
from ...hints import command
from ...vectors import Directions, unit
from ..base import ClipChanged
from ..filters import Filter
from ..pooling import stretch_length
from ..records import Settings, Tuning
from .catalog import Catalog
from .index import Part, SegmentIndex
from .postings import HumanLabels
from .products import Chosen, ProductSearch
from .rows import Rows, are_sound, map_rows, ranges
from .selecting import let_through
from .stretches import Stretches
from .stretchfile import StretchFile, known_file
from .sums import is_whole

__all__ = ["Selection", "Snapshot", "Snapshots"]

Ints = NDArray[np.int64]
_Search = TypeVar("_Search", SegmentIndex, ProductSearch)

# Filters whose clips are remembered, for each snapshot.
_SELECTIONS = 8


class MappedRows:
    """The mapped rows of a snapshot, and the search over them, which is made when first asked."""

    def __init__(
        self,
        vectors: Rows,
        segments: NDArray[np.void],
        index_path: Path | None,
        index_sums: Sequence[int] | None = None,
        tuning: Tuning | None = None,
        cell_sums: Sequence[int] | None = None,
    ) -> None:
        self.vectors = vectors
        self.segments = segments
        self.index_path = index_path
        self._index_sums = index_sums
        self.tuning = tuning
        self._cell_sums = cell_sums
        # By their first rows: clips whose rows were compared with their checksum.
        self._sound = np.zeros(len(segments), np.bool_)
        self._index: SegmentIndex | None = None
        self._products: ProductSearch | None = None
        self._lock = threading.Lock()

    def index(self, first_rows: Ints, counts: Ints) -> SegmentIndex:
        """The search over the rows of clips; raises FileNotFoundError if its file is gone."""
        if self._index is None:
            with self._lock:
                if self._index is None:
                    live = ranges(first_rows, counts)
                    self._index = self._open(SegmentIndex, live, self.tuning)
        return self._index

    def products(self, first_rows: Ints, counts: Ints) -> ProductSearch:
        """The search by inner product over the rows of clips; see `index`."""
        if self._products is None:
            with self._lock:
                if self._products is None:
                    live = ranges(first_rows, counts)
                    self._products = self._open(ProductSearch, live, self._cell_sums)
        return self._products

    def _open(self, kind: type[_Search], live: Ints, known: Any) -> _Search:
        path = self.index_path
        try:
            if path is not None and not is_whole(path, self._index_sums, sampled=True):
                raise RuntimeError("damaged")
            return kind(self.vectors, live, path, known)
        except (RuntimeError, ValueError, IndexError, AssertionError):
            if path is not None and not path.exists():
                raise FileNotFoundError(path) from None
            return kind(self.vectors, live, None, None)  # damaged: do without

    def without_index(self, first_rows: Ints, counts: Ints) -> SegmentIndex:
        """The search over the rows of clips that reads no index, as its file is damaged."""
        with self._lock:
            live = ranges(first_rows, counts)
            self._index = SegmentIndex(self.vectors, live, None)
            self._products = ProductSearch(self.vectors, live, None, None)
        return self._index

    def unsound(self, first_rows: Ints, counts: Ints, checksums: Ints) -> NDArray[np.bool_]:
        """Which clips' rows are not what was stored, bool [n]; sound ones are compared once."""
        for place in np.flatnonzero(~self._sound[first_rows]).tolist():
            first = int(first_rows[place])
            if not self._sound[first]:  # a clip may be among them twice
                self._sound[first] = are_sound(
                    self.vectors, self.segments, first, int(counts[place]), int(checksums[place])
                )
        return ~self._sound[first_rows]

    def take_over(self, last: MappedRows) -> None:
        """Know what was compared of fewer rows of the same files."""
        self._sound[: len(last._sound)] = last._sound


@dataclass(slots=True)
class Selection:
    """Clips that a filter lets through, and the searches among their segments."""

    clips: NDArray[np.bool_]
    parts: Sequence[Part] | None = None
    stretches: Sequence[Part] | None = None
    chosen: Chosen | None = None


class Snapshot:
    """Where the rows of clips are, by ascending rows, in one state of the catalogue."""

    def __init__(
        self,
        revision: int,
        generation: int,
        rows: int,
        places: Ints,
        vectors: MappedRows,
        people: HumanLabels,
        stretches: LazyStretches,
    ) -> None:
        self.revision = revision
        self.generation = generation
        self.rows = rows
        self.places = places
        self.ids, self.first_rows, self.counts, self.sums = np.ascontiguousarray(places.T)
        self.vectors = vectors
        self._stretches = stretches
        self.is_stale = False
        # Of this state or an earlier one, until it is needed.
        self.people = people
        self._people_known = False
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
                selection.parts = index.among(self._rows_of(selection))
            parts = selection.parts
        try:
            rows, scores = index.search(unit(queries), k, parts)
        except IndexError:  # it names rows that are not there
            index = self.vectors.without_index(self.first_rows, self.counts)
            parts = None if selection is None else index.among(self._rows_of(selection))
            rows, scores = index.search(unit(queries), k, parts)
        if not rows.size:
            return rows, rows, scores
        clips = np.searchsorted(self.first_rows, rows, side="right") - 1
        numbers = rows - self.first_rows[clips]
        # A damaged vector has no cosine, and a damaged index may name a row of no clip.
        there = (rows >= 0) & (numbers < self.counts[clips]) & np.isfinite(scores)
        scores = np.where(there, scores, np.float32(-np.inf))
        return np.where(there, self.ids[clips], -1), np.where(there, numbers, -1), scores

    def stretches(self) -> Stretches:
        """The vectors of the clips' stretches; raises ClipChanged if their file is gone."""
        try:
            return self._stretches.made(self.vectors, self.first_rows, self.counts)
        except FileNotFoundError:
            self.is_stale = True
            raise ClipChanged("the stretches were pooled again") from None

    def search_stretches(
        self, queries: NDArray[np.float32], k: int, selection: Selection | None
    ) -> tuple[Ints, NDArray[np.float32]]:
        """Clips and cosines: see `Reading.search_pooled`."""
        stretches = self.stretches()
        clips, parts = len(self.ids), None
        if selection is not None:
            clips = int(selection.clips.sum())
            if selection.stretches is None:
                selection.stretches = stretches.among(selection.clips)
            parts = selection.stretches
        try:
            places, scores = stretches.search(queries, k, clips, parts)
        except IndexError:  # their index names some that are not there
            stretches.do_without_index()
            parts = None if selection is None else stretches.among(selection.clips)
            places, scores = stretches.search(queries, k, clips, parts)
        return np.where(places >= 0, self.ids[places] if clips else -1, -1), scores

    def highest(self, along: Directions, k: int, selection: Selection | None) -> tuple[Ints, Ints]:
        """Clips and numbers of segments: see `Reading.highest`."""
        try:
            products = self.vectors.products(self.first_rows, self.counts)
        except FileNotFoundError:
            self.is_stale = True
            raise ClipChanged("the index was made again") from None
        chosen = None
        if selection is not None:
            if selection.chosen is None:
                selection.chosen = products.among(self._rows_of(selection))
            chosen = selection.chosen
        try:
            rows = products.search(along, k, chosen)
        except IndexError:  # it names rows that are not there
            self.vectors.without_index(self.first_rows, self.counts)
            products = self.vectors.products(self.first_rows, self.counts)
            chosen = None if selection is None else products.among(self._rows_of(selection))
            rows = products.search(along, k, chosen)
        clips = np.searchsorted(self.first_rows, rows, side="right") - 1
        return self.ids[clips], rows - self.first_rows[clips]

    def _rows_of(self, selection: Selection) -> Ints:
        chosen = selection.clips
        return ranges(self.first_rows[chosen], self.counts[chosen])

    def damaged(self, places: Ints) -> Ints:
        """Those of some clips, given by their places, whose rows are not what was stored."""
        unsound = self.vectors.unsound(
            self.first_rows[places], self.counts[places], self.sums[places]
        )
        found: Ints = places[unsound]
        return found

    def selection(self, filter: Filter, catalog: Catalog) -> Selection:
        """The clips that a filter lets through; `catalog` shows the state of this snapshot."""
        # Not the filter itself: 1 and true are equal, and mean other things in one.
        key = repr(filter)
        with self._lock:
            if found := self._selections.get(key):
                self._selections.move_to_end(key)
                return found
        people = partial(self._given, catalog)
        known = partial(self._let_through, catalog)
        made = Selection(let_through(filter, catalog, self.first_rows, people, known))
        with self._lock:
            made = self._selections.setdefault(key, made)
            while len(self._selections) > _SELECTIONS:
                self._selections.popitem(last=False)
        return made

    def _let_through(self, catalog: Catalog, filter: Filter) -> NDArray[np.bool_]:
        return self.selection(filter, catalog).clips

    def _given(self, catalog: Catalog) -> HumanLabels:
        if not self._people_known:
            self.people = catalog.human_labels(self.people)
            self._people_known = True
        return self.people


class LazyStretches:
    """The stretches of a snapshot, pooled and mapped when they are first asked for."""

    def __init__(
        self, length: int, file: StretchFile | None, earlier: LazyStretches | None
    ) -> None:
        self._length = length
        self.file = file
        self._earlier: Stretches | None = None
        if earlier is not None:
            self._earlier = earlier._made or earlier._earlier
        self._made: Stretches | None = None
        self._lock = threading.Lock()

    def made(self, rows: MappedRows, first_rows: Ints, counts: Ints) -> Stretches:
        """Those of clips; raises FileNotFoundError if their file is gone."""
        with self._lock:
            if self._made is None:
                self._made = Stretches(
                    rows.vectors,
                    rows.segments,
                    first_rows,
                    counts,
                    self._length,
                    self.file,
                    self._earlier,
                )
                self._earlier = None
            return self._made


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
        revision = catalog.revision()
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
        _, firsts, counts, _ = places.T
        # In this order, as a sum may be more than an integer holds.
        if ((firsts < 0) | (counts < 1) | (counts > rows) | (firsts > rows - counts)).any():
            raise LibraryDamaged(
                f"{self._folder}: the catalogue names segments that are not there; drop the clips "
                f"that are lost with: {command('rebuild', self._folder)}, then ingest their "
                "folders again"
            )
        if last is not None and known:
            places = np.concatenate((last.places, places)) if len(places) else last.places
        index_path, tuning = self._index_path(catalog), catalog.tuning()
        if (
            last is not None
            and places is last.places
            and (rows, index_path, tuning)
            == (last.rows, last.vectors.index_path, last.vectors.tuning)
        ):
            vectors = last.vectors
        else:
            mapped = map_rows(self._folder, generation, settings, rows)
            sums = cell_sums = None
            if index_path is not None:
                sums = catalog.of_index("index_sums", index_path.name)
                cell_sums = catalog.of_index("index_cells", index_path.name)
            vectors = MappedRows(*mapped, index_path, sums, tuning, cell_sums)
            if last is not None and last.generation == generation and last.rows <= rows:
                vectors.take_over(last.vectors)
        of_last = last is not None and last.generation == generation
        people = last.people if last is not None and of_last else HumanLabels()
        length = stretch_length(settings)
        file = known_file(self._folder, catalog.stretches(), generation, length)
        if file is not None and not file.path.is_file():
            file = None
        if last is not None and places is last.places and file == last._stretches.file:
            stretches = last._stretches
        else:
            stretches = LazyStretches(
                length, file, last._stretches if last is not None and of_last else None
            )
        return Snapshot(revision, generation, rows, places, vectors, people, stretches)

    def _index_path(self, catalog: Catalog) -> Path | None:
        index = catalog.index()
        if index is None:
            return None
        path = self._folder / index[0]
        # A cut-off index is a cache miss; mapping it could crash the process.
        return path if path.is_file() and path.stat().st_size == index[1] else None
