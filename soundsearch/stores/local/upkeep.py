"""What keeps a local library fast and small: its index, its row files, another space."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..base import OnStep
from ..records import Settings
from .catalog import Catalog
from .codec import FAILURE, PLACE, RECORD
from .indexing import delete_indexes, optimise_index
from .placing import fill_places
from .rows import RowFiles, link_or_copy, row_files
from .schema import CATALOG, write_settings
from .stretching import delete_stretches, optimise_stretches
from .writing import Writer

__all__ = ["adopt", "optimise", "rebuild"]


def optimise(writer: Writer, on_step: OnStep) -> None:
    """Bring the index over segments and the stretches up to date, as the size asks for it."""
    optimise_index(writer, on_step)
    optimise_stretches(writer, on_step)


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
    delete_indexes(writer.folder, None)
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
        fill_places(catalog.connection)
        write_settings(catalog.connection, settings)
        catalog.set(rows=rows, generation=generation)
        catalog.keys.fill()
        catalog.set_index(None)
        catalog.set_head(None)  # it reads the space that was
    writer.settings = settings
    delete_indexes(writer.folder, None)
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
