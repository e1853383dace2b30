"""What a reading of a local library sees: one committed state of the catalogue, and its rows."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import LibraryDamaged, LibraryError
from ...hints import command
from ...vectors import Directions, unit
from ..base import ClipChanged
from ..filters import Filter
from ..pooling import stretch_length
from ..records import Settings
from .catalog import Catalog
from .index import Part
from .live import Live
from .mapped import MappedRows
from .placing import Places
from .postings import HumanLabels
from .products import Chosen
from .rows import map_rows, mapped_sizes, ranges
from .selecting import let_through
from .stretches import Stretches
from .stretchfile import StretchFile, known_file

__all__ = ["Selection", "Snapshot", "Snapshots"]

Ints = NDArray[np.int64]
_Kept = TypeVar("_Kept")

# Filters whose clips are remembered, for each snapshot.
_SELECTIONS = 8
# Parts of filters whose clips are, without what a search needs beside.
_MASKS = 32


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
        places: Places,
        vectors: MappedRows,
        people: HumanLabels,
        stretches: LazyStretches,
        mapped: Sequence[tuple[Path, int]],
    ) -> None:
        self.revision = revision
        self.generation = generation
        self.rows = rows
        self.places = places
        self.ids, self.first_rows, self.counts, self.sums = places.columns
        self.vectors = vectors
        self._stretches = stretches
        self._mapped = mapped
        self.is_stale = False
        # Of this state or an earlier one, until it is needed.
        self.people = people
        self._people_known = False
        # The order of ids, which is that of the rows until a clip is replaced.
        self._by_id: Ints | None = None
        self._in_order: bool | None = None
        self._selections: OrderedDict[str, Selection] = OrderedDict()
        self._masks: OrderedDict[str, NDArray[np.bool_]] = OrderedDict()
        self._lock = threading.Lock()

    def is_cut_short(self) -> bool:
        """Whether a mapped file has lost its end: reading that would end the process (SIGBUS).

        One that was deleted is still whole for who has mapped it.
        """
        for path, size in self._mapped:
            with suppress(OSError):
                if os.stat(path).st_size < size:
                    return True
        return False

    def at(self, clip_ids: Ints) -> Ints:
        """Where clips are in the arrays, -1 for those that are not."""
        if len(self.ids) == 0:
            return np.full(len(clip_ids), -1)
        if self._in_order is None:
            self._in_order = bool((self.ids[1:] > self.ids[:-1]).all())
        if not self._in_order and self._by_id is None:
            self._by_id = np.argsort(self.ids)
        nearest = np.searchsorted(self.ids, clip_ids, sorter=self._by_id)
        places = np.minimum(nearest, len(self.ids) - 1)
        if self._by_id is not None:
            places = self._by_id[places]
        return np.where(self.ids[places] == clip_ids, places, -1)

    def search(
        self, queries: NDArray[np.float32], k: int, selection: Selection | None
    ) -> tuple[Ints, Ints, NDArray[np.float32]]:
        """Clips, numbers of segments and cosines: see `Reading.search`."""
        try:
            index = self.vectors.index()
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
            index = self.vectors.without_index()
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
            products = self.vectors.products()
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
            self.vectors.without_index()
            products = self.vectors.products()
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
        return self._remembered(
            self._selections, _SELECTIONS, filter, lambda: Selection(self._through(catalog, filter))
        )

    def _through(self, catalog: Catalog, filter: Filter) -> NDArray[np.bool_]:
        people, known = partial(self._given, catalog), partial(self._through, catalog)

        def made() -> NDArray[np.bool_]:
            return let_through(filter, catalog, self.first_rows, people, known)

        return self._remembered(self._masks, _MASKS, filter, made)

    def _remembered(
        self, those: OrderedDict[str, _Kept], most: int, filter: Filter, make: Callable[[], _Kept]
    ) -> _Kept:
        """What is remembered of a filter, or made; the latest are kept."""
        # Not the filter itself: 1 and true are equal, and mean other things in one.
        key = repr(filter)
        with self._lock:
            if key in those:
                those.move_to_end(key)
                return those[key]
        made = make()
        with self._lock:
            made = those.setdefault(key, made)
            while len(those) > most:
                those.popitem(last=False)
        return made

    def _given(self, catalog: Catalog) -> HumanLabels:
        if not self._people_known:
            self.people = catalog.human_labels(self.people)
            self._people_known = True
        return self.people


def _reach_beyond(firsts: Ints, counts: Ints, rows: int) -> bool:
    """Whether clips have rows that are not there."""
    # In this order, as a sum may be more than an integer holds.
    beyond = (firsts < 0) | (counts < 1) | (counts > rows) | (firsts > rows - counts)
    return bool(beyond.any())


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
        if newest is not None and newest.is_cut_short():
            self._newest = newest = None  # what it has mapped cannot be taken over
        if newest is not None and newest.revision == revision and not newest.is_stale:
            return newest
        with self._lock:  # one thread makes it, the others need not
            newest = self._newest
            is_stale = newest is not None and newest.is_stale and newest.revision == revision
            if newest is None or newest.revision < revision or is_stale:
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
        of_last = last is not None and last.generation == generation
        try:
            known = catalog.known_places(last.places if last is not None and of_last else Places())
        except LibraryDamaged:
            known = Places(catalog.places())  # from the clips themselves
        firsts, counts = known.columns[1:3]
        unseen = slice(known.kept, None)
        if _reach_beyond(firsts[unseen], counts[unseen], rows):
            raise LibraryDamaged(
                f"{self._folder}: the catalogue names segments that are not there; drop the clips "
                f"that are lost with: {command('rebuild', self._folder)}, then ingest their "
                "folders again"
            )
        index, tuning = catalog.index(), catalog.tuning()
        if index is not None:
            index = index.there(self._folder)
        if (
            last is not None
            and known is last.places
            and (rows, index, tuning) == (last.rows, last.vectors.index_files, last.vectors.tuning)
        ):
            vectors = last.vectors
        else:
            mapped = map_rows(self._folder, generation, settings, rows)
            live = Live.of(firsts, counts, rows)
            earlier = None
            if last is not None and last.generation == generation and last.rows <= rows:
                earlier = last.vectors
            vectors = MappedRows(self._folder, *mapped, live, index, tuning, earlier)
        people = last.people if last is not None and of_last else HumanLabels()
        length = stretch_length(settings)
        file = known_file(self._folder, catalog.stretches(), generation, length)
        if file is not None and not file.path.is_file():
            file = None
        if last is not None and known is last.places and file == last._stretches.file:
            stretches = last._stretches
        else:
            stretches = LazyStretches(
                length, file, last._stretches if last is not None and of_last else None
            )
        sizes = mapped_sizes(self._folder, generation, settings, rows)
        sizes += [] if index is None else [(self._folder / s.name, s.size) for s in index.shards]
        for path in () if file is None else (file.path, file.index_path):
            with suppress(OSError):
                sizes.append((path, os.stat(path).st_size))
        return Snapshot(revision, generation, rows, known, vectors, people, stretches, sizes)
