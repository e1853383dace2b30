"""Copy a library to another store, vectors and all: nothing is decoded or embedded again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np

from .errors import LibraryError, LibraryNotFound
from .stores.base import NewClip, Store, StoredClip
from .stores.opening import Place, create_store, open_store, place_of

__all__ = ["CopyReport", "copy"]

# Clips and segments in memory at a time.
_CLIPS = 1024
_SEGMENTS = 8192
# Clips whose vectors are compared at the end.
_SAMPLE = 64


@dataclass(slots=True)
class CopyReport:
    """What a copy did.

    Attributes
    ----------
    copied, replaced, unchanged, failures : int
        Clips that were new, that were there otherwise, that were there; and files that failed.
    compared : int
        Clips whose vectors were read from both sides at the end, and were equal.
    """

    copied: int = 0
    replaced: int = 0
    unchanged: int = 0
    failures: int = 0
    compared: int = 0


def copy(
    source: str | os.PathLike[str] | Place,
    target: str | os.PathLike[str] | Place,
    on_clip: Callable[[str], None] = lambda _uri: None,
    on_step: Callable[[str], None] = lambda _text: None,
) -> CopyReport:
    """Copy every clip with its vectors and labels, and the failures, into another library.

    Clips that the target has with the same file and content are skipped: an interrupted copy goes
    on where it was. What else the target holds stays.

    Parameters
    ----------
    source, target : path or str
        Folders or addresses in Milvus; the target is made if need be.
    on_clip : callable
        Told the uri of each clip that is in the target.
    on_step : callable
        Told in words what else is done.

    Raises
    ------
    LibraryError
        The two are of different spaces or lengths of segments, or the copy is not equal.
    LibraryNotFound, LibraryBusy
    """
    places = place_of(source), place_of(target)
    if places[0] == places[1]:
        raise LibraryError(f"{places[0]}: cannot be copied to itself")
    with closing(open_store(places[0])) as ours:
        try:
            theirs = open_store(places[1])
        except LibraryNotFound:
            theirs = create_store(places[1], ours.settings)
            on_step(f"{places[1]} is a new library of the encoder {ours.settings.encoder}")
        with closing(theirs):
            _check_settings(ours, theirs)
            report = CopyReport()
            with theirs.writing():
                before, _, _ = theirs.counts()
                _copy_clips(ours, theirs, report, on_clip)
                _copy_failures(ours, theirs, report)
                theirs.optimise(on_step)
            on_step("comparing")
            _verify(ours, theirs, before, report)
    return report


def _check_settings(ours: Store, theirs: Store) -> None:
    if ours.settings != theirs.settings:
        shown = [
            f"{store.settings.space}, segments of {store.settings.segment_seconds} s every "
            f"{store.settings.hop} s"
            for store in (ours, theirs)
        ]
        raise LibraryError(
            f"{theirs.where}: is of the space {shown[1]}; {ours.where} is of {shown[0]}; copy to a "
            "library that is new or alike"
        )


def _copy_clips(
    ours: Store, theirs: Store, report: CopyReport, on_clip: Callable[[str], None]
) -> None:
    for clips in _batches(ours.clips()):
        missing: list[StoredClip] = []
        for clip in clips:
            there = theirs.clip_at(clip.file.uri)
            if there is None:
                report.copied += 1
            elif (there.file, there.digest) != (clip.file, clip.digest):
                report.replaced += 1
            else:
                report.unchanged += 1
                continue
            missing.append(clip)
        if missing:
            theirs.add(_read(ours, missing))
        for clip in clips:
            on_clip(clip.file.uri)


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


def _read(store: Store, clips: list[StoredClip]) -> list[NewClip]:
    try:
        vectors, segments = store.rows([(clip.id, 0, clip.count) for clip in clips])
    except KeyError:
        raise LibraryError(
            f"{store.where}: was changed while it was copied; run the same command again"
        ) from None
    ends = np.cumsum([clip.count for clip in clips]).tolist()
    return [
        NewClip(
            clip.file,
            clip.digest,
            clip.duration,
            clip.padded,
            clip.warning,
            vectors[end - clip.count : end],
            segments[end - clip.count : end],
            clip.labels,
            clip.human,
        )
        for clip, end in zip(clips, ends, strict=True)
    ]


def _copy_failures(ours: Store, theirs: Store, report: CopyReport) -> None:
    failures = (
        failure
        for failure in ours.failures()
        if theirs.clip_at(failure.file.uri) is None
        and theirs.failure_at(failure.file.uri) != failure
    )
    while batch := list(islice(failures, _CLIPS)):
        theirs.fail(batch)
        report.failures += len(batch)


def _verify(ours: Store, theirs: Store, before: int, report: CopyReport) -> None:
    """Compare the number of clips, and all that is stored of some."""
    expected = before + report.copied
    got, _, _ = theirs.counts()
    if got != expected:
        raise LibraryError(
            f"{theirs.where}: should hold {expected} clips now, it holds {got}; run the same "
            "command again"
        )
    for clip in _sample(ours.clips(), report.copied + report.replaced + report.unchanged):
        there = theirs.clip_at(clip.file.uri)
        if there is None or not _equal(_read(ours, [clip])[0], _read(theirs, [there])[0]):
            raise LibraryError(
                f"{theirs.where}: {clip.file.uri} is not as in {ours.where}; remove it there, "
                "then run the same command again"
            )
        report.compared += 1


def _sample(clips: Iterable[StoredClip], count: int) -> Iterator[StoredClip]:
    return islice(clips, 0, None, max(1, -(-count // _SAMPLE)))


def _equal(one: NewClip, other: NewClip) -> bool:
    return (
        (one.file, one.digest, one.duration, one.human)
        == (other.file, other.digest, other.duration, other.human)
        and one.embeddings.shape == other.embeddings.shape
        and bool(np.allclose(one.embeddings, other.embeddings, atol=1e-5))
        and one.segments.tobytes() == other.segments.tobytes()
    )
