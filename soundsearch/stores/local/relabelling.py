"""Gives all clips of a local library other labels, in one step.

Vectors and places stay: the file of vectors gets the name of the next generation, and what is kept
beside them is written anew, with the other labels. The catalogue then names that generation, in the
transaction that gives clips their labels. A kill before it leaves files that no catalogue names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...errors import LibraryDamaged
from ...hints import command
from ..base import LabelsOf, OnClips, SaidOf
from ..records import SEGMENT
from .files import open_own
from .rows import link_or_copy, row_files, vectors_of
from .sums import rows_sum, sync_folder
from .writing import Writer

__all__ = ["relabel"]

# Segments and clips that are in memory at a time, unless one clip has more.
_SEGMENTS = 8192
_CLIPS = 1024


def relabel(
    writer: Writer, head: bytes | None, labels: LabelsOf, on_clips: OnClips, said: SaidOf
) -> None:
    """See `Store.relabel`; `use_files` is still to come."""
    catalog, folder = writer.catalog, writer.folder
    rows, generation = catalog.setting("rows"), catalog.setting("generation") + 1
    vectors, segments = row_files(folder, generation, writer.settings)
    with writer.transaction():
        link_or_copy(writer.files.paths[0], vectors)
        segments.unlink(missing_ok=True)
        with open_own(segments, new=True) as file:
            for places in _parts(catalog.places()):
                catalog.relabel(_written(writer, places, labels, file), said)
                on_clips(len(places))
            file.truncate(rows * SEGMENT.itemsize)  # also behind the last clip, and where some were
            file.flush()
            os.fsync(file.fileno())
        sync_folder(folder)
        catalog.set_head(head)
        catalog.use_generation(generation)


def _parts(places: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    begin = segments = 0
    for end, count in enumerate(places[:, 2].tolist()):
        segments += count
        if end > begin and (segments > _SEGMENTS or end - begin >= _CLIPS):
            yield places[begin:end]
            begin, segments = end, count
    if begin < len(places):
        yield places[begin:]


def _written(
    writer: Writer, places: NDArray[np.int64], labels: LabelsOf, file: BinaryIO
) -> dict[int, tuple[NDArray[np.void], int]]:
    """Write what is kept beside vectors; return clips' labels and the checksums of their rows."""
    heard: list[tuple[NDArray[np.float32], NDArray[Any]]] = []
    stored = []
    for clip_id, first, count, checksum in places.tolist():
        rows = writer.files.read(first, count, checksum)
        if rows is None:
            raise LibraryDamaged(
                f"{writer.folder}: the segments of clip {clip_id} are not what was stored; to see "
                f"what to do: {command('check', writer.folder)}"
            )
        segments = np.frombuffer(rows[1], SEGMENT).copy()
        heard.append((vectors_of(rows[0], writer.settings), segments["level"]))
        stored.append((rows[0], segments))
    found = {}
    predicted = zip(places.tolist(), stored, labels(heard), strict=True)
    for (clip_id, first, *_), (vectors, segments), (of_segments, of_clip) in predicted:
        segments["labels"] = of_segments
        written = segments.tobytes()
        file.seek(first * SEGMENT.itemsize)
        file.write(written)
        found[clip_id] = of_clip, rows_sum(written, rows_sum(vectors, 0))
    return found
