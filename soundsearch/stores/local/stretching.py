"""Writes the files of a local library's stretches, see `stretchfile`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import LibraryDamaged
from ..base import OnStep
from ..pooling import stretch_counts, stretch_length
from .building import build, extend
from .files import open_own
from .index import BLOCK
from .rows import are_sound, map_rows
from .shards import Shards
from .stretches import pooled_blocks
from .stretchfile import StretchFile, StretchIndex, known_file, stored_file
from .sums import block_sums, sync, sync_folder
from .tuning import tuned
from .writing import Writer

__all__ = ["delete_stretches", "optimise_stretches"]

# Up to here the segments of all clips are pooled when they are asked for.
FEW_ROWS = 20_000
# Up to here stretches are searched exactly.
EXACT_STRETCHES = 50_000
# The file is brought up to date when more than this share of the rows is missing from it.
_STALE_SHARE = 0.05
# The index is trained, or tuned, again when there are more stretches by these factors.
_RETRAIN_FACTOR = 4
_RETUNE_FACTOR = 2


def optimise_stretches(writer: Writer, on_step: OnStep) -> None:
    """Make or extend the file of stretches, and their index, when the library asks for it."""
    catalog, folder = writer.catalog, writer.folder
    rows, generation = catalog.setting("rows"), catalog.setting("generation")
    length = stretch_length(writer.settings)
    old = known_file(folder, catalog.stretches(), generation, length)
    if old is not None and not old.path.is_file():
        old = None
    covered = 0 if old is None else old.rows
    if rows <= FEW_ROWS or rows - covered <= _STALE_SHARE * rows:
        return
    path = folder / f"stretches-{generation}-{rows}.f32"
    made = path.with_suffix(".new")
    try:
        # What a killed process left; or links, which are not to be followed.
        for left in (made, path.with_suffix(".new2"), path.with_suffix(".tmp")):
            left.unlink(missing_ok=True)
        old, vectors = _written(writer, made, old, length, on_step)
        index = None
        if len(vectors) > EXACT_STRETCHES:
            index = _indexed(path.with_suffix(".new2"), vectors, old, on_step)
        count, sums = len(vectors), tuple(block_sums(made))
        del vectors
        if index is not None:
            os.replace(path.with_suffix(".new2"), path.with_suffix(".faiss"))
        os.replace(made, path)
        sync_folder(folder)
    except (OSError, RuntimeError) as error:
        raise writer.error(error) from error
    file = StretchFile(path, count, rows, sums, index)
    with writer.transaction():
        catalog.set_stretches(stored_file(file, generation, length))
    delete_stretches(folder, (path, file.index_path))


def _written(
    writer: Writer, made: Path, old: StretchFile | None, length: int, on_step: OnStep
) -> tuple[StretchFile | None, NDArray[np.float32]]:
    """Write the stretches of all clips; return the file that they go on from, and all vectors."""
    settings = writer.settings
    generation, rows = writer.catalog.setting("generation"), writer.catalog.setting("rows")
    opened = None
    if old is not None:
        with suppress(OSError, LibraryDamaged):
            opened = old.opened(settings.dimension, sampled=False)
    if old is None or opened is None:
        old = None
        opened = np.empty(0, np.int64), np.empty((0, settings.dimension), np.float32)
    places = writer.catalog.places(old.rows if old is not None else 0)
    vectors, segments = map_rows(writer.folder, generation, settings, rows)
    _, firsts, counts, _ = places.T
    unsound = {
        first
        for _, first, count, checksum in places.tolist()
        if not are_sound(vectors, segments, first, count, checksum)
    }
    on_step(f"pooling {len(places)} clips")
    owners = np.repeat(firsts, stretch_counts(counts, length))
    with open_own(made, new=True) as file:
        file.write(opened[0].tobytes())
        file.write(owners.tobytes())
        for begin in range(0, len(opened[1]), BLOCK):
            file.write(opened[1][begin : begin + BLOCK].tobytes())
        done = 0
        for block in pooled_blocks(vectors, segments, firsts, counts, length):
            if unsound:
                block[np.isin(owners[done : done + len(block)], list(unsound))] = 0
            file.write(block.tobytes())
            done += len(block)
        file.flush()
        os.fsync(file.fileno())
        whole = np.memmap(
            file,
            "<f4",
            "r",
            offset=opened[0].nbytes + owners.nbytes,
            shape=(len(opened[1]) + len(owners), settings.dimension),
        )
    return old, whole


def _indexed(
    made: Path, vectors: NDArray[np.float32], old: StretchFile | None, on_step: OnStep
) -> StretchIndex:
    """Write the approximate index over all stretches."""
    count = len(vectors)
    known = old.index if old is not None and old.has_whole_index() else None
    if old is not None and known is not None and count < _RETRAIN_FACTOR * known.trained:
        extend(vectors, old.index_path, made)
        trained, tuning = known.trained, known.tuning
    else:
        build(vectors, made, on_step, "stretches of clips")
        trained, tuning = count, None
    if tuning is None or count > _RETUNE_FACTOR * tuning.rows:
        on_step("tuning the index over stretches")
        tuning = tuned(Shards([made], vectors.shape[1]), vectors, np.zeros(count, np.float32))
    sums = tuple(block_sums(made))
    sync(made)
    return StretchIndex(sums, trained, tuning)


def delete_stretches(folder: Path, keep: tuple[Path, ...] = ()) -> None:
    """Delete files of stretches that no catalogue speaks of any more."""
    for file in folder.glob("stretches-*"):
        if file not in keep:
            with suppress(PermissionError):  # Windows keeps a file that a reader has mapped
                file.unlink(missing_ok=True)
