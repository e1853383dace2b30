"""The approximate index of a local library: inverted files over rows that follow each other.

Each file, a shard, has the same cells. So what is added makes a small shard beside the large ones,
and nothing that is written is written again, until small ones are merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .residuals import kinds_of, question_of

__all__ = ["Bitmap", "Shards", "load_faiss", "most_cells", "open_index"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

# Groups of cells among which the nearest cells are looked for: at least so many, and those that
# hold so many times the cells that are wanted.
_LEAST_GROUPS = 16
_GROUP_ROOM = 4


def load_faiss() -> Any:
    """FAISS, imported where it is used; its type hints change from release to release."""
    import faiss

    return faiss


def open_index(path: Path) -> Any:
    """A FAISS index on disk, mapped into memory."""
    return load_faiss().read_index(str(path), load_faiss().IO_FLAG_MMAP_IFC)


def most_cells(cells: int) -> int:
    """How many of its cells an approximate index may visit: with more, it is none."""
    return max(1, cells // 8)


class Bitmap:
    """A FAISS selector of what a mask has."""

    def __init__(self, mask: Mask) -> None:
        self._bits = np.packbits(mask, bitorder="little")  # the selector keeps a pointer
        self.selector = load_faiss().IDSelectorBitmap(self._bits)


class Shards:
    """Opened shards; safe in threads.

    Parameters
    ----------
    paths : sequence of Path
        At least one, by the rows that they hold: the first one those from 0 on.
    dimension : int
    opened : mapping, optional
        Indexes that are open already, by their paths.

    Raises
    ------
    ValueError, RuntimeError, AssertionError
        A file is not a shard of such vectors.
    """

    def __init__(
        self, paths: Sequence[Path], dimension: int, opened: Mapping[Path, Any] | None = None
    ) -> None:
        opened = opened or {}
        self.paths = tuple(paths)
        self.indexes = [opened.get(path) or open_index(path) for path in paths]
        ivf = load_faiss().IndexIVFScalarQuantizer
        for path, index in zip(paths, self.indexes, strict=True):
            if (
                not isinstance(index, ivf)
                or kinds_of(index) != kinds_of(self.indexes[0])
                or index.d != dimension
                or index.nlist != self.indexes[0].nlist
                or index.quantizer.ntotal != index.nlist
            ):
                raise ValueError(f"{path}: is not an index of these vectors")
        self.cells: int = self.indexes[0].nlist
        # The first row of each shard, and the end.
        self.bounds = np.cumsum([0, *(index.ntotal for index in self.indexes)]).tolist()
        self.rows: int = self.bounds[-1]
        quantizer = load_faiss().downcast_index(self.indexes[0].quantizer)
        # A graph, by which earlier versions found cells, does not lead to all of them.
        self._quantizer = load_faiss().downcast_index(getattr(quantizer, "storage", quantizer))

    @cached_property
    def sizes(self) -> Ints:
        """How many rows are in each cell, int64 [cells]."""
        sizes = [self.sizes_of(shard) for shard in range(len(self.indexes))]
        found: Ints = np.sum(sizes, axis=0, dtype=np.int64)
        return found

    def sizes_of(self, shard: int) -> Ints:
        """How many rows of a shard are in each cell, int64 [cells]."""
        lists = self.indexes[shard].invlists
        return np.array([lists.list_size(cell) for cell in range(self.cells)], np.int64)

    def middles(self) -> Floats:
        """The middle of each cell, float32 [cells, d]."""
        found: Floats = self._quantizer.reconstruct_n(0, self.cells)
        return found

    def rows_by_cell(self, shard: int) -> list[Ints]:
        """The rows in each cell of a shard, where it keeps them, numbered from its first one."""
        faiss, index = load_faiss(), self.indexes[shard]
        return [
            faiss.rev_swig_ptr(index.invlists.get_ids(cell), size)
            if size
            else np.empty(0, np.int64)
            for cell, size in enumerate(self.sizes_of(shard).tolist())
        ]

    def split(self, mask: Mask) -> list[Mask]:
        """What a mask of all rows says of those of each shard."""
        return np.split(mask, self.bounds[1:-1])

    def selectors(self, mask: Mask) -> list[Bitmap]:
        """For `search`: of the rows that a mask has."""
        return [Bitmap(part) for part in self.split(mask)]

    def nearest_cells(
        self, queries: Floats, count: int, allowed: Bitmap | None = None
    ) -> tuple[Ints, Floats]:
        """The cells whose middles are nearest to each query, and the cosines of these.

        Parameters
        ----------
        queries : float32 [n, d]
            Unit length.
        count : int
        allowed : Bitmap, optional
            Cells to choose from.
        """
        faiss, options = load_faiss(), {}
        if allowed is not None:
            options["sel"] = allowed.selector
        if not self._groups:
            params = faiss.SearchParameters(**options)
            scores, cells = self._quantizer.search(queries, count, params=params)
            return cells, scores
        looked_at = self._groups_for(count) if allowed is None else self._groups
        params = faiss.SearchParametersIVF(nprobe=looked_at, **options)
        scores, cells = self._quantizer.search(queries, count, params=params)
        if looked_at < self._groups and (cells < 0).any():
            params.nprobe = self._groups
            scores, cells = self._quantizer.search(queries, count, params=params)
        return cells, scores

    @property
    def _groups(self) -> int:
        """Of cells; 0 where they are in none, as in indexes of earlier versions."""
        found: int = getattr(self._quantizer, "nlist", 0)
        return found

    def _groups_for(self, count: int) -> int:
        """How many groups have the nearest cells, but for a few."""
        wanted = -(-_GROUP_ROOM * count * self._groups // self.cells)
        return min(self._groups, max(_LEAST_GROUPS, wanted))

    def middles_compared(self, count: int) -> int:
        """With how many middles, of cells and groups of them, a query is compared to find cells."""
        if not self._groups:
            return self.cells
        return self._groups + self._groups_for(count) * self.cells // self._groups

    def search(
        self,
        queries: Floats,
        count: int,
        cells: Ints,
        scores: Floats,
        selectors: Sequence[Bitmap] | None = None,
    ) -> Ints:
        """The rows in some cells that seem nearest to each query, int64 [n, count]; -1 for none.

        Parameters
        ----------
        queries : float32 [n, d]
            Unit length.
        count : int
        cells, scores : int64 [n, m], float32 [n, m]
            Of `nearest_cells`.
        selectors : sequence of Bitmap, optional
            Of `selectors`; without, all rows count.
        """
        queries, scores = question_of(self.indexes[0], queries, scores)
        asked = [np.ascontiguousarray(part) for part in (queries, cells, scores)]
        shape = len(self.indexes), len(queries), count
        found, likely = np.empty(shape, np.int64), np.empty(shape, np.float32)
        for shard, index in enumerate(self.indexes):
            selector = None if selectors is None else selectors[shard]
            _search(index, asked, selector, likely[shard], found[shard])
        rows: Ints = found[0]
        if len(self.indexes) > 1:
            begins = np.array(self.bounds[:-1])[:, None, None]
            np.add(found, begins, out=found, where=found >= 0)
            flat = len(queries), -1
            order = np.argsort(-likely.swapaxes(0, 1).reshape(flat), axis=1, kind="stable")
            rows = np.take_along_axis(found.swapaxes(0, 1).reshape(flat), order[:, :count], axis=1)
        return rows


def _search(
    index: Any,
    asked: Sequence[NDArray[Any]],
    selector: Bitmap | None,
    likely: Floats,
    found: Ints,
) -> None:
    """Fill in what seems nearest to queries, of some cells of an index, and how near it seems."""
    faiss = load_faiss()
    options = {"nprobe": asked[1].shape[1]}
    if selector is not None:
        options["sel"] = selector.selector
    queries, cells, scores, *results = map(faiss.swig_ptr, (*asked, likely, found))
    index.search_preassigned_c(
        *(len(found), queries, found.shape[1], cells, scores, *results),
        *(False, faiss.SearchParametersIVF(**options)),
    )
