"""Checks what can be checked of a library in Milvus, which keeps no checksums that it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ...errors import LibraryDamaged
from ...hints import command
from ...results import Finding
from ..base import OnClips, OnStep
from .client import Row
from .rows import SEGMENTS_PER_EDITION, segment_ids, unpacked_uri
from .stretches import without_all
from .tables import Tables

__all__ = ["check"]

_FIELDS = ("id", "uri", "edition", "segments")
_CLIPS = 256


def check(tables: Tables, on_clips: OnClips, on_step: OnStep) -> list[Finding]:
    """The clips that lack segments, or have some whose vectors or levels are not finite."""
    on_step("checking that all segments are there and finite; Milvus shows no checksums")
    damaged: list[str] = []
    unpooled = 0
    for clips in tables.clip_pages(_FIELDS, _CLIPS):
        suspects = _damaged(tables, clips, None)
        if suspects:  # or they were replaced between the two reads
            ids = [clip["id"] for clip in suspects]
            now = tables.by_ids(tables.clips, ids, _FIELDS, "Strong")
            suspects = _damaged(tables, now, "Strong")
        damaged += [unpacked_uri(clip["uri"]) for clip in suspects]
        if unsure := list(without_all(tables, clips)):
            ids = [clip["id"] for clip in unsure]
            now = tables.by_ids(tables.clips, ids, _FIELDS, "Strong")
            unpooled += sum(1 for _ in without_all(tables, now, "Strong"))
        on_clips(len(clips))
    findings = []
    try:
        if tables.head_digest is not None:
            tables.head()
    except LibraryDamaged as error:
        findings.append(
            Finding(
                str(error),
                (),
                f"no clip is concerned; keep it again with: {command('head use FILE', tables.uri)}",
            )
        )
    if unpooled:
        findings.append(
            Finding(
                f"{tables.uri}: {unpooled:,} of its clips lack pooled vectors",
                (),
                f"no clip is lost; make them again with: {command('rebuild', tables.uri)}",
            )
        )
    if damaged:
        findings.append(
            Finding(
                f"{tables.uri}: {len(damaged):,} of its clips lack segments, or some are not "
                "finite",
                tuple(damaged),
                f"take these clips out with: {command('remove CLIPS', tables.uri)}, then ingest "
                "them again",
            )
        )
    return findings


def _damaged(tables: Tables, clips: Sequence[Row], level: str | None) -> list[Row]:
    if not clips:
        return []
    sound: Counter[int] = Counter()
    ids = np.concatenate([segment_ids(clip["edition"], 0, clip["segments"]) for clip in clips])
    batch = tables.segments_per_batch
    for begin in range(0, len(ids), batch):
        wanted = ids[begin : begin + batch].tolist()
        for row in tables.by_ids(tables.segments, wanted, ("id", "level", "vector"), level):
            if np.isfinite(row["level"]) and np.isfinite(row["vector"]).all():
                sound[row["id"] // SEGMENTS_PER_EDITION] += 1
    return [clip for clip in clips if sound[clip["edition"]] < clip["segments"]]
