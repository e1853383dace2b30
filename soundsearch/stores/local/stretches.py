"""The vectors of clips' stretches, as one snapshot of a local library sees them.

They are derived from the segments (`stores.pooling`), and most of them lie in a file
(`stretchfile`). What the file does not cover, or all where it is missing or damaged, is pooled
here when it is first asked for. So answers are complete whatever is there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...vectors import unit
from ..pooling import nearest_clips, pieces, pool, stretch_counts
from .index import BLOCK, Part, SegmentIndex
from .live import Live
from .rows import Rows, ranges
from .shards import Shards
from .stretchfile import StretchFile

__all__ = ["Stretches", "pooled_blocks"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# Results that are searched for at a time.
_TOGETHER = 1 << 20
_WIDEN = 4


class Stretches:
    """The stretches of some clips, by ascending first rows; safe in threads.

    Parameters
    ----------
    vectors : float32 [rows, d]
    segments : SEGMENT [rows]
    first_rows, counts : int64 [clips]
        Where the rows of each clip are, ascending.
    length : int
        Of a stretch, in segments.
    file : StretchFile or None
    earlier : Stretches, optional
        Of an earlier state of the same files: what it pooled is not pooled again.

    Raises
    ------
    FileNotFoundError
        The file is gone.
    """

    def __init__(
        self,
        vectors: Rows,
        segments: NDArray[np.void],
        first_rows: Ints,
        counts: Ints,
        length: int,
        file: StretchFile | None,
        earlier: Stretches | None = None,
    ) -> None:
        dimension = vectors.shape[1]
        self._file = file
        self._covered = 0
        owners, stored = np.empty(0, np.int64), np.empty((0, dimension), np.float32)
        if file is not None and (opened := file.opened(dimension)) is not None:
            middle = int(np.searchsorted(first_rows, file.rows))
            if opened[0][-1] < file.rows and _are_of(
                opened[0], first_rows[:middle], counts[:middle], length
            ):
                owners, stored = opened
                self._covered = middle
        self._tail_rows = first_rows[self._covered :]
        tail_counts = counts[self._covered :]
        known = 0 if earlier is None else self._known(earlier)
        blocks = pooled_blocks(
            vectors, segments, self._tail_rows[known:], tail_counts[known:], length
        )
        # Where an earlier state pooled some of them, these come first.
        before = stretch_counts(tail_counts[:known], length).sum()
        kept = [] if earlier is None else [earlier._tail[:before]]
        self._tail: Floats = np.concatenate((np.empty((0, dimension), np.float32), *kept, *blocks))
        tail_owners = np.repeat(self._tail_rows, stretch_counts(tail_counts, length))
        self.owners = np.concatenate((owners, tail_owners))
        self._vectors: Rows = self._tail
        if len(stored):
            self._vectors = _Joined(stored, self._tail) if len(self._tail) else stored
        # A stretch belongs to a clip as long as one has these rows: they are never used twice.
        clips = np.searchsorted(first_rows, self.owners, side="right") - 1
        is_live = clips >= 0
        is_live[is_live] = first_rows[clips[is_live]] == self.owners[is_live]
        self._clips = np.where(is_live, clips, -1)
        self._live = Live(len(clips), None if is_live.all() else is_live)
        self._first_rows = first_rows
        self._index: SegmentIndex | None = None
        self._lock = threading.Lock()

    def _known(self, earlier: Stretches) -> int:
        """How many of the clips that are not in the file an earlier state pooled."""
        count = len(earlier._tail_rows)
        same = earlier._file == self._file and (earlier._covered == 0) == (self._covered == 0)
        return count if same and np.array_equal(earlier._tail_rows, self._tail_rows[:count]) else 0

    def of(self, places: Ints) -> tuple[Ints, Floats]:
        """The stretches of clips, given by their places: whose each is, and its vector."""
        first_rows = self._first_rows[places]
        begins = np.searchsorted(self.owners, first_rows)
        counts = np.searchsorted(self.owners, first_rows, side="right") - begins
        vectors = np.array(self._vectors[ranges(begins, counts)], np.float32)
        vectors[~np.isfinite(vectors).all(axis=1)] = 0  # of a damaged file
        return np.repeat(np.arange(len(places)), counts), vectors

    def among(self, clips: NDArray[np.bool_]) -> Sequence[Part]:
        """A search among the stretches of some clips, bool [clips], for `search`."""
        return self._searched().among(np.flatnonzero((self._clips >= 0) & clips[self._clips]))

    def search(
        self, queries: Floats, k: int, clips: int, parts: Sequence[Part] | None = None
    ) -> tuple[Ints, Floats]:
        """Places of the clips nearest to each query: see `Reading.search_pooled`.

        Parameters
        ----------
        queries : float32 [n, d]
        k : int
        clips : int
            How many there are to find.
        parts : sequence of Part, optional
            Of `among`.
        """
        queries = unit(queries)
        index = self._searched()
        k = min(k, clips)
        together = max(1, _TOGETHER // max(1, 2 * k))
        blocks = [
            self._search(index, queries[begin : begin + together], k, parts)
            for begin in range(0, max(len(queries), 1), together)
        ]
        width = max(found.shape[1] for found, _ in blocks)
        return (
            np.concatenate([_widened(found, width, -1) for found, _ in blocks]),
            np.concatenate([_widened(scores, width, -np.inf) for _, scores in blocks]),
        )

    def _search(
        self, index: SegmentIndex, queries: Floats, k: int, parts: Sequence[Part] | None
    ) -> tuple[Ints, Floats]:
        # Clips of several stretches may be found by several.
        wanted = k if len(self.owners) == len(self._first_rows) else 2 * k
        while True:
            rows, scores = index.search(queries, wanted, parts)
            clips = np.where(rows >= 0, self._clips[rows], -1)
            clips[~np.isfinite(scores)] = -1
            questions = np.repeat(np.arange(len(queries)), rows.shape[1])
            found = nearest_clips(questions, clips.ravel(), scores.ravel(), len(queries), k)
            is_short = found[0].shape[1] < k or (found[0] < 0).any()
            if not is_short or wanted >= len(self.owners) or not (rows >= 0).any():
                return found
            wanted *= _WIDEN

    def do_without_index(self) -> None:
        """Search exactly, as the index is damaged."""
        with self._lock:
            self._index = SegmentIndex(self._vectors, self._live, None)

    def _searched(self) -> SegmentIndex:
        with self._lock:
            if self._index is None:
                self._index = self._open()
            return self._index

    def _open(self) -> SegmentIndex:
        file = self._file
        if file is not None and file.index is not None and self._covered:
            path = file.index_path
            try:
                if file.has_whole_index(sampled=True):
                    shards = Shards([path], self._vectors.shape[1])
                    return SegmentIndex(self._vectors, self._live, shards, file.index.tuning)
            except (RuntimeError, ValueError, IndexError, AssertionError):
                pass
            if not path.exists() and not file.path.exists():
                raise FileNotFoundError(path)
        return SegmentIndex(self._vectors, self._live, None)  # damaged: do without


def pooled_blocks(
    vectors: Rows, segments: NDArray[np.void], first_rows: Ints, counts: Ints, length: int
) -> Iterator[Floats]:
    """Iterate over the stretches of clips, float32 [n, d] each, in bounded memory."""
    if (counts > BLOCK).any():
        parts = [
            (first + begin, end - begin)
            for first, count in zip(first_rows.tolist(), counts.tolist(), strict=True)
            for begin, end in pieces(count, length, BLOCK)
        ]
        first_rows, counts = np.array(parts, np.int64).T
    begin = 0
    ends = np.cumsum(counts)
    while begin < len(counts):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + BLOCK, side="right")))
        rows = ranges(first_rows[begin:end], counts[begin:end])
        yield pool(
            np.asarray(vectors[rows]),
            np.asarray(segments["level"][rows]),
            counts[begin:end],
            length,
        )
        begin = end


def _are_of(owners: Ints, first_rows: Ints, counts: Ints, length: int) -> bool:
    """Whether stretches, by the first rows of their clips, are all those of some clips."""
    if not len(owners):
        return not len(first_rows)
    begins = np.searchsorted(owners, first_rows)
    found = np.searchsorted(owners, first_rows, side="right") - begins
    is_ascending = bool((owners[1:] >= owners[:-1]).all())
    return is_ascending and np.array_equal(found, stretch_counts(counts, length))


def _widened(array: NDArray[Any], width: int, filling: float) -> NDArray[Any]:
    return np.pad(
        array, ((0, 0), (0, width - array.shape[1])), constant_values=array.dtype.type(filling)
    )


class _Joined:
    """Rows of two arrays, one after the other."""

    def __init__(self, first: Floats, second: Floats) -> None:
        self._first = first
        self._second = second
        self.shape = (len(first) + len(second), first.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Floats:
        if isinstance(rows, slice):
            begin, end, _ = rows.indices(len(self))
            middle = len(self._first)
            if end <= middle:
                return self._first[begin:end]
            return np.concatenate(
                (self._first[begin:middle], self._second[max(0, begin - middle) : end - middle])
            )
        rows = np.asarray(rows)
        if (rows >= len(self)).any():
            raise IndexError("there are fewer rows")
        found = np.empty((len(rows), self.shape[1]), np.float32)
        is_first = rows < len(self._first)
        found[is_first] = self._first[rows[is_first]]
        found[~is_first] = self._second[rows[~is_first] - len(self._first)]
        return found
