"""The mapped rows of a local library in one state, and the searches over them."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import Tuning
from .index import SegmentIndex
from .live import Live
from .products import CoveredRows, ProductSearch
from .rows import Rows, are_sound
from .shardfile import IndexFiles, ShardFile
from .shards import Shards

__all__ = ["MappedRows"]

Ints = NDArray[np.int64]

# What opening or searching shards raises where they are not what was written.
_DAMAGED = (RuntimeError, ValueError, IndexError, AssertionError)


class MappedRows:
    """The mapped rows of a snapshot, and the searches over them, which are made when first asked.

    Parameters
    ----------
    folder : Path
    vectors, segments
        See `map_rows`.
    live : Live
    index : IndexFiles or None
        The shards that are there.
    tuning : Tuning or None
    earlier : MappedRows, optional
        Of fewer rows of the same files: what it knows is taken over.
    """

    def __init__(
        self,
        folder: Path,
        vectors: Rows,
        segments: NDArray[np.void],
        live: Live,
        index: IndexFiles | None,
        tuning: Tuning | None,
        earlier: MappedRows | None,
    ) -> None:
        self._folder = folder
        self.vectors = vectors
        self.segments = segments
        self._live = live
        self.index_files = index
        self.tuning = tuning
        # By their first rows: clips whose rows were compared with their checksum.
        self._sound: NDArray[np.bool_] = (
            np.zeros(0, np.bool_) if earlier is None else earlier._sound
        )
        if len(self._sound) < len(segments):  # with room for more
            grown = np.zeros(2 * len(segments), np.bool_)
            grown[: len(self._sound)] = self._sound
            self._sound = grown
        self._shards: Shards | None = None
        self._covered: CoveredRows | None = None
        self._searched_before: SegmentIndex | None = None
        # Shards that an earlier one opened: they are there as long as they are mapped.
        self._opened_before: dict[ShardFile, Any] = {}
        if earlier is not None:
            self._searched_before = earlier._index or earlier._searched_before
            self._opened_before = earlier._open_shards()
            if earlier.index_files == index:
                self._shards, self._covered = earlier._shards, earlier._covered
        self._index: SegmentIndex | None = None
        self._products: ProductSearch | None = None
        self._lock = threading.RLock()

    def index(self) -> SegmentIndex:
        """The search over the rows of clips; raises FileNotFoundError if a file is gone."""
        with self._lock:
            if self._index is None:
                shards = self._opened()
                self._index = SegmentIndex(
                    self.vectors, self._live, shards, self.tuning, self._searched_before
                )
                self._searched_before = None
            return self._index

    def products(self) -> ProductSearch:
        """The search by inner product over the rows of clips; see `index`."""
        with self._lock:
            if self._products is None:
                if self._covered is None and (shards := self._opened()) is not None:
                    assert self.index_files is not None
                    known = self.index_files.shards[: len(shards.paths)]
                    sums = [shard.cell_sums for shard in known]
                    with suppress(*_DAMAGED):
                        self._covered = CoveredRows(shards, sums, self.vectors)
                self._products = ProductSearch(self.vectors, self._live, self._covered)
            return self._products

    def _opened(self) -> Shards | None:
        """The shards before the first that is damaged; None where there are none."""
        files = self.index_files
        if self._shards is None and files is not None:
            usable = files.whole(self._folder, self._opened_before)
            if usable is not None:
                with suppress(*_DAMAGED):
                    opened = {
                        self._folder / shard.name: index
                        for shard, index in self._opened_before.items()
                        if shard in usable.shards  # another may have had the same name
                    }
                    paths = usable.paths(self._folder)
                    shards = Shards(paths, self.vectors.shape[1], opened)
                    self._shards = shards if shards.rows == usable.rows else None
            self._opened_before = {}
            if self._shards is None and files.there(self._folder) != files:
                raise FileNotFoundError(self._folder / files.shards[0].name)
        return self._shards

    def _open_shards(self) -> dict[ShardFile, Any]:
        """Those of its own that are open, or those that an earlier one opened."""
        if self._shards is None or self.index_files is None:
            return self._opened_before
        return dict(zip(self.index_files.shards, self._shards.indexes, strict=False))

    def without_index(self) -> SegmentIndex:
        """The search over the rows of clips that reads no shards, as they are damaged."""
        with self._lock:
            self._index = SegmentIndex(self.vectors, self._live, None)
            self._products = ProductSearch(self.vectors, self._live, None)
            return self._index

    def unsound(self, first_rows: Ints, counts: Ints, checksums: Ints) -> NDArray[np.bool_]:
        """Which clips' rows are not what was stored, bool [n]; sound ones are compared once."""
        for place in np.flatnonzero(~self._sound[first_rows]).tolist():
            first = int(first_rows[place])
            if not self._sound[first]:  # a clip may be among them twice
                self._sound[first] = are_sound(
                    self.vectors, self.segments, first, int(counts[place]), int(checksums[place])
                )
        found: NDArray[np.bool_] = ~self._sound[first_rows]
        return found
