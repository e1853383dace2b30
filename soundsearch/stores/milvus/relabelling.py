"""Gives the clips of a library in Milvus other labels, in its next generation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..base import LabelsOf, OnClips, SaidOf, Store, not_in
from ..records import ClipRecord, NewClip, StoredClip

__all__ = ["relabel"]

# Segments and clips that are in memory at a time, unless one clip has more.
_SEGMENTS = 8192
_CLIPS = 256


def relabel(
    store: Store, successor: Store, labels: LabelsOf, on_clips: OnClips, said: SaidOf
) -> None:
    """Have in a successor, which may hold some of them, all clips with other labels."""
    for clips in _parts(store.clips()):
        missing = []
        at = successor.clips_at([clip.uri for clip in clips])
        for stored in clips:
            clip = replace(stored, record=said(stored.record))
            there = at.get(clip.uri)
            if there is None or _without_labels(there) != _without_labels(clip):
                missing.append(clip)
        if missing:
            successor.add(_relabelled(store, missing, labels))
        on_clips(len(clips))
    successor.remove([clip.id for clip in not_in(store, successor.clips())])


def _parts(clips: Iterable[StoredClip]) -> Iterator[list[StoredClip]]:
    part: list[StoredClip] = []
    segments = 0
    for clip in clips:
        if part and (segments + clip.count > _SEGMENTS or len(part) >= _CLIPS):
            yield part
            part, segments = [], 0
        part.append(clip)
        segments += clip.count
    if part:
        yield part


def _without_labels(clip: StoredClip) -> list[Any]:
    names = (field.name for field in fields(ClipRecord) if field.name != "labels")
    return [clip.count, *(getattr(clip.record, name) for name in names)]


def _relabelled(store: Store, clips: list[StoredClip], labels: LabelsOf) -> list[NewClip]:
    with store.reading() as reading:
        vectors, segments = reading.rows([(clip.id, 0, clip.count) for clip in clips])
    ends = np.cumsum([clip.count for clip in clips]).tolist()
    parts = [slice(end - clip.count, end) for clip, end in zip(clips, ends, strict=True)]
    found = labels([(vectors[part], segments["level"][part]) for part in parts])
    made = []
    for clip, part, (of_segments, of_clip) in zip(clips, parts, found, strict=True):
        segments["labels"][part] = of_segments
        record = replace(clip.record, labels=of_clip)
        made.append(NewClip(record=record, embeddings=vectors[part], segments=segments[part]))
    return made
