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
from .stores.records import ClipRecord, Key, NewClip, StoredClip
from .tags import declare_key
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
            if (tag := ours.key()) is not None and theirs.key() is None:
                declare_key(theirs, tag)
            before = theirs.counts().clips
            sample = _copy_clips(ours, theirs, report, on_clip, on_step)
            _copy_failures(ours, theirs, report)
            theirs.optimise(on_step)
            on_step("comparing the copy with the original")
            _verify(ours, theirs, before, sample, report)
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
) -> list[StoredClip]:
    """Copy what differs; returns a sample of all clips, as they were when it was their turn."""
    sample: list[StoredClip] = []
    step, place = max(1, -(-ours.counts().clips // _SAMPLE)), 0
    key = theirs.key()
    for clips in _batches(ours.clips()):
        sample += clips[-place % step :: step]
        place += len(clips)
        missing: list[StoredClip] = []
        amended: dict[int, ClipRecord] = {}
        at = theirs.clips_at([clip.uri for clip in clips])
        for clip in clips:
            there = at.get(clip.uri)
            if there is None or _content(there.record) != _content(clip.record):
                missing.append(clip)
            elif _attached(there.record) != _attached(clip.record):
                amended[there.id] = clip.record
            else:
                report.unchanged += 1
        new = _read(ours, missing)
        if key is not None:
            _check_keys(ours, theirs, key, [*amended.values(), *(clip.record for clip in new)])
        if amended:
            theirs.amend(amended)
        if new:
            theirs.add(new, on_step)
        before = sum(clip.record.uri in at for clip in new)
        report.replaced += len(amended) + before
        report.copied += len(new) - before
        for clip in clips:
            on_clip(clip.uri)
    return sample


def _check_keys(ours: Store, theirs: Store, tag: str, records: Iterable[ClipRecord]) -> None:
    """Refuse clips that would share a key with another one when all are copied."""
    keyed = [(Key.of(record.tags.get(tag)), record.uri) for record in records]
    wanted = list(dict.fromkeys(key for key, _ in keyed if key is not None))
    owners = {key: clip.uri for key, clip in theirs.clips_keyed(wanted).items()} if wanted else {}
    for key, uri in keyed:
        owner = uri if key is None else owners.get(key, uri)
        own = None if owner == uri else ours.clip_at(owner)
        if owner != uri and (own is None or Key.of(own.record.tags.get(tag)) == key):
            raise LibraryError(
                f"{theirs.address}: expected a key that no other clip has as {tag!r}, got {key} of "
                f"both {owner} and {uri}; give one of them another, then run the same command again"
            )
        if key is not None:
            owners[key] = uri


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


def _state(record: ClipRecord) -> tuple[Any, ...]:
    return *_content(record), record.duration, *_attached(record)


def _read(store: Store, clips: list[StoredClip]) -> list[NewClip]:
    """Clips as they are now, as others may be writing; those that are gone are left out."""
    if not clips:
        return []
    try:
        with store.reading() as reading:
            there = reading.clips_by_id([clip.id for clip in clips])
            clips = [there[clip.id] for clip in clips if clip.id in there]
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


def _verify(
    ours: Store, theirs: Store, before: int, sample: list[StoredClip], report: CopyReport
) -> None:
    """Compare the number of clips, and the full contents of a sample."""
    expected = before + report.copied
    got = theirs.counts().clips
    if got != expected:
        raise LibraryError(
            f"{theirs.address}: expected {expected} clips after the copy, got {got}; run the same "
            "command again"
        )
    for clip in sample:
        own = _read(ours, [clip])
        if not own or _state(own[0].record) != _state(clip.record):  # others go on writing
            continue
        there = theirs.clip_at(clip.uri)
        if there is None or not _equal(own[0], _read(theirs, [there])[0]):
            raise LibraryError(
                f"{theirs.address}: {clip.uri} differs from the one in {ours.address}; remove it "
                "from the copy, then run the same command again"
            )
        report.compared += 1


def _equal(one: NewClip, other: NewClip) -> bool:
    return (
        _state(one.record) == _state(other.record)
        and one.embeddings.shape == other.embeddings.shape
        and bool(np.allclose(one.embeddings, other.embeddings, atol=1e-5))
        and one.segments.tobytes() == other.segments.tobytes()
    )
