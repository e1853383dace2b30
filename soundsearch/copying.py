"""Copy a library to another store, including the vectors: nothing is embedded again."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from soundsearch_ingest.discover import AudioFile

from .errors import LibraryError, LibraryNotFound
from .hints import command
from .results import CopyReport
from .stores.base import ClipChanged, OnStep, Store
from .stores.milvus.uri import MilvusUri
from .stores.opening import Place, create_store, made, open_store
from .stores.records import ClipRecord, NewClip, StoredClip
from .waiting import Patience

__all__ = ["copy"]

# How many clips and segments are held in memory at a time.
_CLIPS = 1024
_SEGMENTS = 8192
# How many clips are compared at the end.
_SAMPLE = 64


def copy(
    ours: Store,
    source: Place,
    target: Place,
    patience: Patience,
    on_clip: Callable[[str], None],
    on_step: OnStep,
) -> CopyReport:
    """Copy an open store into the one at `target`; see `soundsearch.Library.copy`."""
    if _same(source, target):
        raise LibraryError(f"{source}: cannot be copied to itself; give another target")
    try:
        theirs = patience.until(lambda: open_store(target))
    except LibraryNotFound:
        theirs = patience.until(lambda: create_store(target, ours.settings))
        on_step(made(target, ours.settings))
    with closing(theirs):
        _check_settings(ours, theirs)
        report = CopyReport()
        with patience.writing(theirs):
            _give_head(ours, theirs)
            before = theirs.counts().clips
            _copy_clips(ours, theirs, report, on_clip, on_step)
            _copy_failures(ours, theirs, report)
            if (tag := ours.key()) is not None and theirs.key() is None:
                theirs.use_key(tag)
            theirs.optimise(on_step)
        on_step("comparing the copy with the original")
        _verify(ours, theirs, before, report)
    return report


def _same(source: Place, target: Place) -> bool:
    if isinstance(source, Path) and isinstance(target, Path):
        return os.path.realpath(source) == os.path.realpath(target)
    if isinstance(source, Path) or isinstance(target, Path) or source.name != target.name:
        return False
    if source.lite and target.lite:
        return os.path.realpath(source.address) == os.path.realpath(target.address)
    databases = {uri.database or "default" for uri in (source, target)}
    return len(databases) == 1 and bool(_servers(source) & _servers(target))


def _servers(uri: MilvusUri) -> set[tuple[str, int]]:
    """Where a server listens: its host has several names, and these lead to the same addresses."""
    if uri.lite:
        return set()
    parts = urlsplit(uri.address)
    host, port = parts.hostname or "", parts.port or 0
    with suppress(OSError):
        return {(str(info[4][0]), port) for info in socket.getaddrinfo(host, port)}
    return {(host, port)}


def _check_settings(ours: Store, theirs: Store) -> None:
    if ours.settings != theirs.settings:
        shown = [
            f"{store.settings.space}, segments of {store.settings.segment_seconds} s every "
            f"{store.settings.hop} s"
            for store in (ours, theirs)
        ]
        raise LibraryError(
            f"{theirs.address}: its space is {shown[1]}, but that of {ours.address} is {shown[0]}; "
            "copy to a new library or one of the same space"
        )


def _give_head(ours: Store, theirs: Store) -> None:
    """Have the copy keep the head whose classes the labels of its clips name."""
    digest = ours.head_digest()
    if theirs.head_digest() == digest:
        return
    if theirs.counts().clips:
        raise LibraryError(
            f"{theirs.address}: its labels are of another head than those of {ours.address}; "
            f"copy to a new library, or use the same head for both with: "
            f"{command('head use FILE', theirs.address)}"
        )
    theirs.relabel(None if digest is None else ours.head(), lambda _clips: [])


def _copy_clips(
    ours: Store,
    theirs: Store,
    report: CopyReport,
    on_clip: Callable[[str], None],
    on_step: OnStep,
) -> None:
    for clips in _batches(ours.clips()):
        missing: list[StoredClip] = []
        amended: dict[int, ClipRecord] = {}
        at = theirs.clips_at([clip.uri for clip in clips])
        for clip in clips:
            there = at.get(clip.uri)
            if there is None:
                report.copied += 1
            elif _content(there.record) != _content(clip.record):
                report.replaced += 1
            elif _attached(there.record) != _attached(clip.record):
                report.replaced += 1
                amended[there.id] = clip.record
                continue
            else:
                report.unchanged += 1
                continue
            missing.append(clip)
        if amended:
            theirs.amend(amended)
        if missing:
            theirs.add(_read(ours, missing), on_step)
        for clip in clips:
            on_clip(clip.uri)


def _batches(clips: Iterator[StoredClip]) -> Iterator[list[StoredClip]]:
    batch: list[StoredClip] = []
    segments = 0
    for clip in clips:
        batch.append(clip)
        segments += clip.count
        if len(batch) >= _CLIPS or segments >= _SEGMENTS:
            yield batch
            batch, segments = [], 0
    if batch:
        yield batch


def _content(record: ClipRecord) -> tuple[AudioFile, bytes]:
    return record.file, record.digest


def _attached(record: ClipRecord) -> tuple[Any, ...]:
    return record.human_labels, record.human_events, dict(record.tags)


def _read(store: Store, clips: list[StoredClip]) -> list[NewClip]:
    try:
        with store.reading() as reading:
            vectors, segments = reading.rows([(clip.id, 0, clip.count) for clip in clips])
    except ClipChanged:
        raise LibraryError(
            f"{store.address}: it changed while it was being copied; run the same command again"
        ) from None
    ends = np.cumsum([clip.count for clip in clips]).tolist()
    return [
        NewClip(
            record=clip.record,
            embeddings=vectors[end - clip.count : end],
            segments=segments[end - clip.count : end],
        )
        for clip, end in zip(clips, ends, strict=True)
    ]


def _copy_failures(ours: Store, theirs: Store, report: CopyReport) -> None:
    failures = ours.failures()
    while batch := list(islice(failures, _CLIPS)):
        uris = [failure.file.uri for failure in batch]
        clips, known = theirs.clips_at(uris), theirs.failures_at(uris)
        new = [
            failure
            for uri, failure in zip(uris, batch, strict=True)
            if uri not in clips and known.get(uri) != failure
        ]
        theirs.fail(new)
        report.failures += len(new)


def _verify(ours: Store, theirs: Store, before: int, report: CopyReport) -> None:
    """Compare the number of clips, and the full contents of a sample."""
    expected = before + report.copied
    got = theirs.counts().clips
    if got != expected:
        raise LibraryError(
            f"{theirs.address}: expected {expected} clips after the copy, got {got}; run the same "
            "command again"
        )
    for clip in _sample(ours.clips(), report.copied + report.replaced + report.unchanged):
        there = theirs.clip_at(clip.uri)
        if there is None or not _equal(_read(ours, [clip])[0], _read(theirs, [there])[0]):
            raise LibraryError(
                f"{theirs.address}: {clip.uri} differs from the one in {ours.address}; remove it "
                "from the copy, then run the same command again"
            )
        report.compared += 1


def _sample(clips: Iterable[StoredClip], count: int) -> Iterator[StoredClip]:
    return islice(clips, 0, None, max(1, -(-count // _SAMPLE)))


def _equal(one: NewClip, other: NewClip) -> bool:
    return (
        (*_content(one.record), one.record.duration, *_attached(one.record))
        == (*_content(other.record), other.record.duration, *_attached(other.record))
        and one.embeddings.shape == other.embeddings.shape
        and bool(np.allclose(one.embeddings, other.embeddings, atol=1e-5))
        and one.segments.tobytes() == other.segments.tobytes()
    )
