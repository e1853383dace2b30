"""Keeps the approximate index of a local library up to date: its shards, and how it is tuned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import LibraryDamaged
from ..base import OnStep
from ..records import Tuning
from .building import emptied, fill, merged, train, write
from .cells import cells_file, known_cells, write_cells
from .checking import refuse_damaged
from .files import open_own
from .index import EXACT_ROWS
from .rows import Rows, map_rows
from .shardfile import IndexFiles, ShardFile
from .shards import Shards
from .sums import block_sums, sync, sync_folder
from .tuning import tuned
from .writing import Writer

__all__ = ["delete_indexes", "optimise_index"]

# Rows that no shard holds become one when they are more than this share of all, or so many:
# searching them exactly takes a quarter of a millisecond.
_STALE_SHARE = 0.05
_STALE_ROWS = 1 << 13
# A shard becomes part of a new one that is not smaller by more than this factor, unless that would
# get more rows than these: so a row is written a few times, however large the library. Each shard
# takes its time to be searched, so there are fewer when no more is about to be added.
_MERGE_FACTOR = 1 / 2
_LAST_MERGE_FACTOR = 8
_SHARD_ROWS = 1 << 24
# A shard is filled with so many rows, then written: they are in memory, and lost in a kill.
_FILLED_ROWS = 1 << 23
# The cells are made, or it is tuned, again when the library has grown by more than these factors.
_RETRAIN_FACTOR = 4
_RETUNE_FACTOR = 2

_size = attrgetter("size")


def optimise_index(writer: Writer, on_step: OnStep, more_comes: bool = False) -> None:
    """Make, extend, retrain or tune the index, as the library's size asks for it.

    Parameters
    ----------
    writer : Writer
    on_step : callable
        Called with a description of each step.
    more_comes : bool
        Whether more rows are about to be added: then an index that was tuned is not tuned again.
    """
    catalog, folder = writer.catalog, writer.folder
    rows = catalog.setting("rows")
    if rows <= EXACT_ROWS:
        return
    index, tuning = catalog.index(), catalog.tuning()
    if index is not None:
        index = index.whole(folder)
    covered = 0 if index is None else index.rows
    is_tuned = tuning is not None and covered <= _RETUNE_FACTOR * tuning.rows
    factor: float = _MERGE_FACTOR if more_comes else _LAST_MERGE_FACTOR
    kept = _kept(index, rows, factor)
    if (is_tuned or (tuning is not None and more_comes)) and kept is None:
        return
    vectors, segments = map_rows(folder, catalog.setting("generation"), writer.settings, rows)
    levels = segments["level"]
    if index is not None and any(shard.sums is None for shard in index.shards):
        index, tuning = _of_version_0_1(writer, index, vectors, levels, on_step)
        covered = 0 if index is None else index.rows
        kept = _kept(index, rows, factor)
    if kept is not None:
        retrains = (
            index is None
            or rows >= _RETRAIN_FACTOR * index.trained
            or _smallest_whole(index.shards, folder) is None
        )
        refuse_damaged(catalog, vectors, segments, 0 if retrains else covered)
        if retrains:
            tuning = None
        at_once = index is None or not retrains
        index = _filled(
            writer, None if retrains else index, kept, tuning, at_once, vectors, on_step
        )
    assert index is not None
    if tuning is None or (index.rows > _RETUNE_FACTOR * tuning.rows and not more_comes):
        tuning = _tuned(folder, index, vectors, levels, on_step)
    _use(writer, index, tuning)


def _is_stale(missing: int, rows: int) -> bool:
    """Whether so many rows, of all, are too many to be searched exactly."""
    return missing > min(_STALE_SHARE * rows, _STALE_ROWS)


def _kept(index: IndexFiles | None, rows: int, factor: float) -> int | None:
    """How many shards stay as they are while those behind them become one; None if all may stay."""
    if index is None:
        return 0
    missing = rows - index.rows
    is_stale = _is_stale(missing, rows)
    kept, size = len(index.shards), missing if is_stale else 0
    for place, shard in reversed(list(enumerate(index.shards))):
        if size + shard.rows > _SHARD_ROWS:
            break
        if shard.rows <= factor * size:
            kept = place
        size += shard.rows
    return kept if is_stale or kept < len(index.shards) else None


def _of_version_0_1(
    writer: Writer, index: IndexFiles, vectors: Rows, levels: NDArray[np.float32], on_step: OnStep
) -> tuple[IndexFiles | None, Tuning | None]:
    """An index of version 0.1.0 tuned, which kept no checksums of it; none if it is damaged."""
    folder = writer.folder
    try:
        tuning = _tuned(folder, index, vectors, levels, on_step)
    except (RuntimeError, ValueError, IndexError, AssertionError):
        return None, None
    known = [
        replace(shard, sums=shard.sums or tuple(block_sums(folder / shard.name)))
        for shard in index.shards
    ]
    index = replace(index, shards=tuple(known))
    _use(writer, index, tuning)
    return index, tuning


def _filled(
    writer: Writer,
    index: IndexFiles | None,
    kept: int,
    tuning: Tuning | None,
    at_once: bool,
    vectors: Rows,
    on_step: OnStep,
) -> IndexFiles:
    """Write shards of the rows that an index lacks, or of all rows where there is none to keep.

    Shards from `kept` on become part of the first.

    Where no index of other cells serves meanwhile, each shard does at once; and a process that
    comes after a kill goes on behind it.
    """
    folder, rows = writer.folder, len(vectors)
    old: list[ShardFile] = []  # which become part of the first
    try:
        _delete_unfinished(folder)
        if index is None:
            made, shards, trained = train(vectors, on_step), [], rows
            on_step(f"adding {rows} segments to the index")  # fewer take a second
        else:
            shards, trained = list(index.shards), index.trained
            while len(shards) > kept and shards[-1].is_whole(folder):
                old.insert(0, shards.pop())
            if not old and not _is_stale(rows - index.rows, rows):
                return index
            # Those that become part of it were looked at just now.
            whole = min(old, key=_size, default=None) or _smallest_whole(shards, folder)
            assert whole is not None  # else it retrains
            made = emptied(folder / whole.name)
        begin = sum(shard.rows for shard in shards)
        while begin < rows:
            first = begin + sum(shard.rows for shard in old)
            end = min(first + _FILLED_ROWS, rows)
            fill(made, vectors, first, end)
            shards.append(_written(writer, old, made, trained, begin, vectors))
            made.reset()
            begin, old = end, []
            if at_once and (begin < rows or tuning is None):
                _use(writer, IndexFiles(trained, tuple(shards)), tuning)
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            _delete_unfinished(folder)  # clips may have more use for the space
        raise writer.error(error) from error
    return IndexFiles(trained, tuple(shards))


def _smallest_whole(shards: Sequence[ShardFile], folder: Path) -> ShardFile | None:
    """Whose cells new shards may get: damage to those of another would spread."""
    return next((shard for shard in sorted(shards, key=_size) if shard.is_whole(folder)), None)


def _written(
    writer: Writer, old: Sequence[ShardFile], made: Any, trained: int, begin: int, vectors: Rows
) -> ShardFile:
    """Write a shard of old ones and of what is made of the rows after them, from `begin` on.

    What is known of its cells is written beside it.
    """
    folder, paths = writer.folder, [writer.folder / shard.name for shard in old]
    rows = sum(shard.rows for shard in old) + made.ntotal
    generation = writer.catalog.setting("generation")
    path = folder / f"index-{generation}-{trained}-{begin}-{begin + rows}.faiss"
    new, new_cells = path.with_suffix(".new"), path.with_suffix(".new2")
    parts = Shards([*paths, new], vectors.shape[1], {new: made})
    cells = known_cells(parts, [*(shard.cell_sums for shard in old), None], vectors, begin)
    del parts  # Windows does not rename what is mapped
    cell_sums = write_cells(new_cells, cells)
    write(merged(paths, made), new)
    sums = block_sums(new)
    sync(new)
    os.replace(new_cells, cells_file(path))
    os.replace(new, path)
    sync_folder(folder)
    return ShardFile(path.name, path.stat().st_size, rows, tuple(sums), tuple(cell_sums))


def _tuned(
    folder: Path, index: IndexFiles, vectors: Rows, levels: NDArray[np.float32], on_step: OnStep
) -> Tuning:
    on_step("tuning the index")
    tuning = tuned(Shards(index.paths(folder), vectors.shape[1]), vectors, levels)
    if tuning.warning:
        on_step(tuning.warning)
    return tuning


def _use(writer: Writer, index: IndexFiles, tuning: Tuning | None) -> None:
    with writer.transaction():
        writer.catalog.set_index(index, tuning)
    before, writer.deleted = writer.deleted, ExitStack()
    delete_indexes(writer.folder, index, writer.deleted)
    before.close()


def _delete_unfinished(folder: Path) -> None:
    """Delete what a killed process left; or links, which are not to be followed."""
    for kind in ("new", "new2", "tmp"):
        for left in folder.glob(f"index-*.{kind}"):
            left.unlink(missing_ok=True)


def delete_indexes(folder: Path, keep: IndexFiles | None, deleted: ExitStack | None = None) -> None:
    """Delete all shards but those to keep; `deleted`, where it is given, keeps them open."""
    shards = keep.paths(folder) if keep else []
    kept = {*shards, *map(cells_file, shards)}
    for old in folder.glob("index-*"):
        if old in kept:
            continue
        if deleted is not None and os.name == "posix":  # Windows does not delete what is open
            with suppress(OSError, LibraryDamaged):
                deleted.enter_context(open_own(old))
        with suppress(PermissionError):  # Windows keeps a file that a reader has mapped
            old.unlink(missing_ok=True)
