"""What keeps a local library fast and small: its index, its row files, another space."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..base import OnStep
from ..records import Settings, Tuning
from .building import build, extend
from .catalog import Catalog
from .cells import cells_file, cells_of, write_cells
from .checking import refuse_damaged
from .codec import FAILURE, PLACE, RECORD
from .index import EXACT_ROWS, open_index
from .rows import RowFiles, Rows, link_or_copy, map_rows, row_files
from .schema import CATALOG, write_settings
from .stretching import delete_stretches, optimise_stretches
from .sums import block_sums, is_whole, sync, sync_folder
from .tuning import tuned
from .writing import Writer

__all__ = ["adopt", "optimise", "rebuild"]

# The index on disk is brought up to date when more than this share of its rows is missing
# from it. It is trained, or tuned, again when the library has grown by more than these factors.
_STALE_SHARE = 0.05
_RETRAIN_FACTOR = 4
_RETUNE_FACTOR = 2


def optimise(writer: Writer, on_step: OnStep) -> None:
    """Bring the index over segments and the stretches up to date, as the size asks for it."""
    _optimise_index(writer, on_step)
    optimise_stretches(writer, on_step)


def _optimise_index(writer: Writer, on_step: OnStep) -> None:
    """Make, extend, retrain or tune the approximate index."""
    catalog, folder = writer.catalog, writer.folder
    rows, generation = catalog.setting("rows"), catalog.setting("generation")
    index = catalog.index()
    old = None
    covered = trained = 0
    if index is not None and _is_whole(catalog, folder / index[0], index[1]):
        old, covered, trained = folder / index[0], index[2], index[3]
    tuning = catalog.tuning()
    is_stale = rows - covered > _STALE_SHARE * rows
    if rows <= EXACT_ROWS or not (is_stale or tuning is None):
        return
    vectors, segments = map_rows(folder, generation, writer.settings, rows)
    if old is not None and tuning is None:  # version 0.1.0 made it, and kept no checksums of it
        try:
            tuning = _tuned(old, vectors, segments, on_step)
        except (RuntimeError, IndexError, AssertionError):
            old, covered, is_stale = None, 0, True  # damaged
        else:
            with writer.transaction():
                catalog.set_index(index, tuning)
                catalog.set(index_sums=(old.name, block_sums(old)))
    if not is_stale:
        return
    extends = old is not None and rows < _RETRAIN_FACTOR * trained
    refuse_damaged(catalog, vectors, segments, covered if extends else 0)
    path = folder / f"index-{generation}-{rows}.faiss"
    made = path.with_suffix(".new")
    try:
        # What a killed process left; or a link, which is not to be followed.
        for left in (made, made.with_suffix(".tmp")):
            left.unlink(missing_ok=True)
        if old is not None and extends:
            on_step(f"adding {rows - covered} segments to the index")
            extend(vectors, old, made)
        else:
            trained = rows
            tuning = None
            build(vectors, made, on_step)
        if tuning is None or rows > _RETUNE_FACTOR * tuning.rows:
            tuning = _tuned(made, vectors, segments, on_step)
        sums = block_sums(made)
        of_cells = path.with_suffix(".new2")
        of_cells.unlink(missing_ok=True)
        cell_sums = write_cells(of_cells, cells_of(open_index(made), vectors))
        sync(made)
        os.replace(of_cells, cells_file(path))
        os.replace(made, path)
        sync_folder(folder)
    except (OSError, RuntimeError) as error:
        raise writer.error(error) from error
    with writer.transaction():
        catalog.set_index((path.name, path.stat().st_size, rows, trained), tuning)
        catalog.set(index_sums=(path.name, sums), index_cells=(path.name, cell_sums))
    _delete_indexes(folder, path)


def _tuned(path: Path, vectors: Rows, segments: NDArray[np.void], on_step: OnStep) -> Tuning:
    on_step("tuning the index")
    tuning = tuned(path, vectors, segments["level"])
    if tuning.warning:
        on_step(tuning.warning)
    return tuning


def _is_whole(catalog: Catalog, path: Path, size: int) -> bool:
    return (
        path.exists()
        and path.stat().st_size == size
        and is_whole(path, catalog.of_index("index_sums", path.name))
    )


def _delete_indexes(folder: Path, keep: Path | None) -> None:
    kept = () if keep is None else (keep, cells_file(keep))
    for old in folder.glob("index-*"):
        if old not in kept:
            old.unlink(missing_ok=True)


def rebuild(writer: Writer, on_step: OnStep) -> int:
    """Copy the rows that clips use to new files, drop lost clips, make the index again."""
    catalog = writer.catalog
    generation = catalog.setting("generation") + 1
    on_step("copying the rows that are in use")
    places: dict[int, tuple[int, int]] = {}
    lost: list[int] = []
    damaged = catalog.damaged_records()
    rows = 0
    try:
        with closing(RowFiles(writer.folder, generation, writer.settings)) as new_files:
            new_files.truncate()
            for clip_id, first_row, count, checksum in catalog.places().tolist():
                stored = writer.files.read(first_row, count, checksum)
                if stored is None or clip_id in damaged:
                    lost.append(clip_id)
                    continue
                *parts, checksum = stored
                new_files.write(parts)
                places[clip_id] = rows, checksum
                rows += count
            new_files.sync()
    except OSError as error:
        raise writer.error(error) from error
    for uri in damaged.values():
        on_step(f"{uri}: given up, as its record is damaged; ingest it again")
    for clip in catalog.clips_by_id([each for each in lost if each not in damaged]).values():
        on_step(f"{clip.uri}: given up, as its segments are damaged; ingest it again")
    with writer.transaction():
        catalog.remove(lost)
        catalog.renumber(places, rows, generation)
    writer.use_files()
    _delete_indexes(writer.folder, None)
    delete_stretches(writer.folder)
    optimise(writer, on_step)
    return len(lost)


def adopt(writer: Writer, folder: Path, settings: Settings) -> None:
    """Hold what the library in `folder`, of these settings, holds; `use_files` is still to come."""
    catalog = writer.catalog
    generation = catalog.setting("generation") + 1
    with closing(Catalog(folder)) as theirs:
        rows, their_generation = theirs.setting("rows"), theirs.setting("generation")
    paths = row_files(folder, their_generation, settings)
    try:
        for path, new_path in zip(
            paths, row_files(writer.folder, generation, settings), strict=True
        ):
            link_or_copy(path, new_path)
    except OSError as error:
        raise writer.error(error) from error
    with _attached(catalog, folder), writer.transaction():
        _take_over(catalog)
        write_settings(catalog.connection, settings)
        catalog.set(rows=rows, generation=generation)
        catalog.keys.fill()
        catalog.set_index(None)
        catalog.set_head(None)  # it reads the space that was
    writer.settings = settings
    _delete_indexes(writer.folder, None)
    delete_stretches(writer.folder)


@contextmanager
def _attached(catalog: Catalog, folder: Path) -> Iterator[None]:
    """The catalogue of the library in `folder`, for `_take_over`. Not in a transaction."""
    uri = (folder / CATALOG).absolute().as_uri()
    catalog.connection.execute("ATTACH ? AS successor", (uri,))
    try:
        yield
    finally:
        catalog.connection.execute("DETACH successor")


def _take_over(catalog: Catalog) -> None:
    """Hold what the attached catalogue holds; a clip at the same uri keeps its id."""
    columns = ", ".join((*RECORD, *PLACE))
    for sql in (
        "CREATE TEMP TABLE known AS SELECT id AS known_id, uri FROM clips",
        "DELETE FROM clips",
        f"INSERT INTO clips (id, {columns}) SELECT known_id, {columns} FROM successor.clips "
        "LEFT JOIN known USING (uri) ORDER BY known_id IS NULL, first_row",
        "DELETE FROM failures WHERE uri IN (SELECT uri FROM clips)",
        f"INSERT OR REPLACE INTO failures ({FAILURE}) SELECT {FAILURE} FROM successor.failures",
        "DELETE FROM postings",
        "INSERT INTO postings SELECT * FROM successor.postings",
        "DROP TABLE known",
    ):
        catalog.connection.execute(sql)
