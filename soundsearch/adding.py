"""Adding sounds that are no files on disk: samples, and binary files with a name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import blake3
import numpy as np
from soundsearch_ingest.discover import AudioFile
from soundsearch_ingest.spooling import spooled

from .asking.questions import Sound, Source
from .errors import ArgumentError, AudioError
from .ingesting import new_clip
from .results import Failure, IngestReport, TagReport
from .session import Session
from .stores.records import CLIP_LABELS, SEGMENT_LABELS, NewClip, StoredClip, TagValue, is_uri
from .tags import Tagging

__all__ = ["add", "add_streams", "parted"]

_BLOCK = 1 << 20

OnFile = Callable[[str, str], None]
OnSound = Callable[[float], None]


def add(
    session: Session,
    source: Source,
    uri: Any,
    sample_rate: int | None = None,
    tags: Mapping[str, TagValue | None] | None = None,
    on_sound: OnSound = lambda _seconds: None,
) -> tuple[StoredClip, str]:
    """Store a sound; see `soundsearch.Library.add`.

    It is embedded before the library is locked, so that threads do so at the same time.

    Returns
    -------
    clip : StoredClip
    outcome : str
        ``added``, ``replaced`` or ``unchanged``.
    """
    if not isinstance(uri, str) or not uri or not is_uri(uri):
        raise ArgumentError(f"uri: expected a text that names the clip, got {uri!r}")
    tagging = Tagging({uri: tags or {}})
    if isinstance(source, (str, os.PathLike)):
        raise ArgumentError(f"{uri}: expected samples or a binary file; `ingest` takes paths")
    if not hasattr(source, "read") and sample_rate is None:
        raise ArgumentError(f"{uri}: expected sample_rate beside an array, got none")
    with _seekable(source, uri) as whole:
        sound = Sound(whole, sample_rate=sample_rate, max_duration=None)
        file, digest = _identified(sound, uri)
        store = session.create(False, lambda _text: None)
        head, new = store.head_digest(), None
        if not _holds(store.clip_at(uri), digest):
            new = _embedded(session, sound, file, digest, on_sound)
        with session.filling() as store:
            # Others may have written meanwhile: another sound, none, or another head.
            there, outcome = store.clip_at(uri), "unchanged"
            if not _holds(there, digest):
                if new is None or store.head_digest() != head:
                    new = _embedded(session, sound, file, digest, on_sound)
                store.add([new(there)])
                outcome = "added" if there is None else "replaced"
            if tags:
                _check(tagging.apply(store))
            clip = store.clip_at(uri)
            assert clip is not None
    return clip, outcome


def _holds(clip: StoredClip | None, digest: bytes) -> bool:
    return clip is not None and clip.record.digest == digest and not clip.record.is_stale


def _check(report: TagReport) -> None:
    for uri, reason in report.refused.items():
        raise ArgumentError(f"{uri}: {reason}; the sound is stored, its tags are as they were")


def _embedded(
    session: Session, sound: Sound, file: AudioFile, digest: bytes, on_sound: OnSound
) -> Callable[[StoredClip | None], NewClip]:
    """What makes a clip of a sound, given the one that was there before."""
    listener = session.listener(1)
    try:
        heard = listener.hear(sound, session.store.settings.hop, on_sound)
    except AudioError as error:
        raise AudioError(file.uri, error.reason) from error
    [labels] = listener.labels([heard], SEGMENT_LABELS, CLIP_LABELS)
    return lambda before: new_clip(file, digest, heard, labels, before)


@contextmanager
def _seekable(source: Any, name: str) -> Iterator[Any]:
    if not hasattr(source, "read") or source.seekable():
        yield source
        return
    with spooled(source, name) as spool:
        yield spool


def _identified(sound: Sound, uri: str) -> tuple[AudioFile, bytes]:
    """What tells a sound from another one: its size, and the digest of all of it."""
    digest = blake3.blake3()
    if sound.is_file:
        stream: Any = sound.source
        stream.seek(0)
        while block := stream.read(_BLOCK):
            digest.update(block)
        size = stream.tell()
        stream.seek(0)
    else:
        samples = np.ascontiguousarray(sound.source)
        digest.update(f"{samples.dtype} {samples.shape} {sound.sample_rate}".encode())
        digest.update(samples.tobytes())
        size = samples.nbytes
    return AudioFile(uri, size, 0), digest.digest()


def parted(targets: Iterable[Any]) -> tuple[list[Any], dict[str, BinaryIO]]:
    """Paths, and binary files by their names; an open file on disk is a path.

    Raises
    ------
    ArgumentError
        A binary file has no name.
    """
    paths: list[Any] = []
    streams: dict[str, BinaryIO] = {}
    for target in targets:
        if not hasattr(target, "read"):
            paths.append(target)
            continue
        name = getattr(target, "name", None)
        if not isinstance(name, str) or not name:
            raise ArgumentError(
                f"expected a binary file with a name, got {target!r}; `Library.add` takes a uri"
            )
        if _is_on_disk(target, name):
            paths.append(name)
        else:
            streams[name] = target
    return paths, streams


def _is_on_disk(file: Any, name: str) -> bool:
    """Whether an open file is the one at the path that it names."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(name))
    except (AttributeError, OSError, ValueError):
        return False


def add_streams(
    session: Session,
    streams: Mapping[str, BinaryIO],
    report: IngestReport,
    on_file: OnFile,
    on_sound: OnSound,
) -> None:
    """Store binary files, as part of an ingest."""
    for uri, stream in streams.items():
        try:
            clip, outcome = add(session, stream, uri, on_sound=on_sound)
        except AudioError as error:
            report.failed.append(Failure(uri, error.reason))
            on_file(uri, "failed")
            continue
        report.count(outcome)
        if outcome != "unchanged":
            report.seconds += clip.record.duration
            report.warnings += clip.record.warning is not None
        on_file(uri, outcome)
