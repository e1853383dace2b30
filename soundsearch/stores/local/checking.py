"""Compares what a local library holds with its checksums, and says what is damaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import LibraryDamaged
from ...hints import command
from ...results import Finding
from ..base import OnClips, OnStep
from ..pooling import stretch_length
from .catalog import PAGE, Catalog
from .cells import cells_file
from .rows import Rows, are_sound, map_rows, row_files, rows_there
from .shardfile import ShardFile
from .stretchfile import known_file
from .sums import are_finite, read_whole

__all__ = ["check", "refuse_damaged"]

# Rows that are looked at together.
_BLOCK = 1 << 14


def check(folder: Path, catalog: Catalog, on_clips: OnClips, on_step: OnStep) -> list[Finding]:
    """What is damaged in a library, whose catalogue is pinned to one state."""
    on_step("checking the catalogue")
    findings = [
        Finding(
            f"{folder}: the catalogue contradicts itself: {problem}",
            (),
            "restore the library's folder from a copy, or ingest again into a new library",
        )
        for problem in catalog.problems()
    ]
    records = tuple(catalog.damaged_records().values())
    if records:
        findings.append(
            Finding(
                f"{folder}: the records of {len(records):,} of its clips are not what was stored",
                records,
                f"take these clips out with: {command('rebuild', folder)}, then "
                "ingest their folders again",
            )
        )
    if not catalog.has_sound_postings():
        findings.append(
            Finding(
                f"{folder}: the labels that filters look for are not what was stored",
                (),
                f"no clip is concerned; make them again with: {command('rebuild', folder)}",
            )
        )
    if not catalog.has_sound_places():
        findings.append(
            Finding(
                f"{folder}: where clips are is not what was stored",
                (),
                f"no clip is concerned; find it out again with: {command('rebuild', folder)}",
            )
        )
    try:
        if catalog.head_digest() is not None:
            catalog.head()
    except LibraryDamaged as error:
        findings.append(
            Finding(
                str(error),
                (),
                f"no clip is concerned; keep it again with: {command('head use FILE', folder)}",
            )
        )
    on_step("checking the segments of all clips")
    lost = _damaged_clips(folder, catalog, on_clips)
    if lost:
        findings.append(
            Finding(
                f"{folder}: the segments of {len(lost):,} of its clips are missing or not what "
                "was stored",
                _uris(catalog, lost),
                f"take these clips out with: {command('rebuild', folder)}, then "
                "ingest their folders again",
            )
        )
    index = catalog.index()
    if index is not None:
        on_step("checking the index")
        findings += [
            Finding(
                f"{folder / shard.name}: the index is missing or not what was written",
                (),
                f"no clip is concerned; make it again with: {command('rebuild', folder)}",
            )
            for shard in index.shards
            if not shard.is_whole(folder) or not _has_whole_cells(folder, shard)
        ]
    stretches = known_file(
        folder,
        catalog.stretches(),
        catalog.setting("generation"),
        stretch_length(catalog.settings()),
    )
    if stretches is not None:
        on_step("checking the pooled vectors of clips")
        if not stretches.is_whole(catalog.settings().dimension):
            findings.append(
                Finding(
                    f"{stretches.path}: the pooled vectors of clips, or their index, are missing "
                    "or not what was written",
                    (),
                    f"no clip is concerned; make them again with: {command('rebuild', folder)}",
                )
            )
    return findings


def _has_whole_cells(folder: Path, shard: ShardFile) -> bool:
    path = cells_file(folder / shard.name)
    return shard.cell_sums is None or read_whole(path, shard.cell_sums) is not None


def _damaged_clips(folder: Path, catalog: Catalog, on_clips: OnClips) -> list[int]:
    settings, generation = catalog.settings(), catalog.setting("generation")
    there = rows_there(row_files(folder, generation, settings), settings)
    vectors, segments = map_rows(folder, generation, settings, min(there, catalog.setting("rows")))
    return _lost(vectors, segments, catalog.places(), on_clips)


def _lost(
    vectors: Rows,
    segments: NDArray[np.void],
    places: NDArray[np.int64],
    on_clips: OnClips = lambda _count: None,
) -> list[int]:
    lost = []
    for clip_id, first, count, checksum in places.tolist():
        if not are_sound(vectors, segments, first, count, checksum):
            lost.append(clip_id)
        on_clips(1)
    return lost


def refuse_damaged(catalog: Catalog, vectors: Rows, segments: NDArray[np.void], row: int) -> None:
    """Raise LibraryDamaged where rows from `row` on are not such that an index can be made."""
    lost = _lost(vectors, segments, catalog.places(row))
    if lost:
        which = f"{', '.join(_uris(catalog, lost[:3]))}{' and others' * (len(lost) > 3)}"
        what = f"the segments of {which} are not what was stored"
        remedy = f"To see what to do: {command('check', catalog.folder)}"
    elif all(
        are_finite(np.asarray(vectors[begin : begin + _BLOCK]))
        for begin in range(row, len(vectors), _BLOCK)
    ):
        return
    else:
        what = "segments of clips that were removed are damaged"
        remedy = f"Take them out with: {command('rebuild', catalog.folder)}"
    raise LibraryDamaged(
        f"{catalog.folder}: no index is made, as {what}; what was reported as done is stored. "
        f"{remedy}"
    )


def _uris(catalog: Catalog, clip_ids: Sequence[int]) -> tuple[str, ...]:
    uris: list[str] = []
    for begin in range(0, len(clip_ids), PAGE):
        clips = catalog.clips_by_id(clip_ids[begin : begin + PAGE])
        uris += [clip.uri for clip in clips.values()]
    return tuple(uris)
