"""One ingest: what is new, changed, moved or gone, and how results get into the store."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain

import blake3
import numpy as np
from soundsearch_ingest import pipeline
from soundsearch_ingest.audioset import Record, read_records
from soundsearch_ingest.discover import RECORDS_SUFFIX, AudioFile, discover
from soundsearch_ingest.encoders import AUDIOSET_SPACE
from soundsearch_ingest.postprocess import dequantise

from .errors import AudioError
from .labels.head import unlabelled
from .labels.ontology import CLASSES
from .labels.predict import predict
from .listener import Listener
from .results import Failure, IngestReport
from .stores.base import CLIP_LABELS, SEGMENT, SEGMENT_LABELS, NewClip, Store, StoredFailure

__all__ = ["Ingest"]

# Results are stored together, to share one sync of the disk, but none waits for long.
_FLUSH_CLIPS = 1024
_FLUSH_SEGMENTS = 8192
_FLUSH_SECONDS = 1.0

OnFile = Callable[[str, str], None]


class Ingest:
    """Bring a store up to date with files.

    Parameters
    ----------
    store : Store
        Held for writing.
    open_listener : callable
        Gives the encoder and head, once there is sound to embed.
    retry_failed : bool
        Try files again whose content failed before.
    on_file : callable
        Told uri and outcome (``added``, ``replaced``, ``renamed``, ``unchanged``,
        ``failed``) of each file, once that is stored.
    on_sound : callable
        Told how many seconds of sound were decoded since the last call, from other threads.
    """

    def __init__(
        self,
        store: Store,
        open_listener: Callable[[], Listener],
        retry_failed: bool,
        on_file: OnFile,
        on_sound: Callable[[float], None],
    ) -> None:
        self.report = IngestReport()
        self._store = store
        self._open_listener = open_listener
        self._retry_failed = retry_failed
        self._on_file = on_file
        self._on_sound = on_sound
        self._embedded: list[pipeline.Embedded] = []
        self._clips: list[NewClip] = []
        self._segments = 0
        self._failed: list[StoredFailure] = []
        self._flushed = time.monotonic()
        self._record_files: list[AudioFile] = []
        # Files whose content was in the library when they were read, but no more.
        self._again: list[AudioFile] = []

    def run(self, roots: list[str]) -> None:
        """Ingest files and folders; what is done stays done if it is interrupted."""
        skipped: Counter[str] = Counter()

        def in_library(path: str) -> bool:
            return self._store.clip_at(path) is not None

        try:
            self.run_files(discover(roots, skipped, in_library))
        finally:
            self.report.skipped = dict(skipped)

    def run_files(self, files: Iterable[AudioFile]) -> None:
        """Ingest these files; what is done stays done if it is interrupted."""
        try:
            self._consume(self._wanted(files), self._has_content)
            self._consume(iter(self._again), lambda _digest: False)
            for file in self._record_files:
                self._add_records(file)
        finally:
            self._flush()

    def find_missing(self, roots: list[str], prune: bool) -> None:
        """Report the clips under `roots` whose file is gone; take them out with `prune`."""
        gone = [clip for clip in self._store.clips() if _is_gone(clip.file.uri, roots)]
        self._store.forget_failures(
            [
                failure.file.uri
                for failure in self._store.failures()
                if _is_gone(failure.file.uri, roots)
            ]
        )
        if prune:
            self._store.remove([clip.id for clip in gone])
            self.report.removed = len(gone)
        else:
            self.report.missing = [clip.file.uri for clip in gone]

    def _wanted(self, files: Iterable[AudioFile]) -> Iterator[AudioFile]:
        """Leave out what is in the library as it is, and what failed as it is."""
        for file in files:
            clip = self._store.clip_at(file.uri)
            if clip is not None and clip.file == file:
                self.report.unchanged += 1
                self._on_file(file.uri, "unchanged")
                continue
            failure = self._store.failure_at(file.uri)
            if failure is not None and failure.file == file and not self._retry_failed:
                self.report.failed_before += 1
                self._on_file(file.uri, "unchanged")
            elif file.uri.lower().endswith(RECORDS_SUFFIX):
                self._record_files.append(file)
            else:
                yield file

    def _has_content(self, digest: bytes) -> bool:
        if self._store.clips_with(digest):
            return True
        return not self._retry_failed and self._store.failure_with(digest) is not None

    def _consume(self, files: Iterator[AudioFile], is_known: Callable[[bytes], bool]) -> None:
        first = next(files, None)
        if first is None:
            return
        results = pipeline.run(
            chain([first], files),
            self._open_listener().encoder,
            self._store.settings.hop,
            is_known=is_known,
            on_sound=self._on_sound,
        )
        with closing(results):
            for result in results:
                if isinstance(result, pipeline.Embedded):
                    self._embedded.append(result)
                    self._segments += len(result.levels)
                elif isinstance(result, pipeline.Failed):
                    self._failed.append(StoredFailure(result.file, result.digest, result.reason))
                else:
                    self._flush()
                    self._reuse(result.file, result.digest)
                if self._due():
                    self._flush()

    def _due(self) -> bool:
        return (
            len(self._embedded) + len(self._clips) >= _FLUSH_CLIPS
            or self._segments >= _FLUSH_SEGMENTS
            or time.monotonic() - self._flushed >= _FLUSH_SECONDS
        )

    def _flush(self) -> None:
        clips, self._clips, self._segments = self._clips, [], 0
        embedded, self._embedded = self._embedded, []
        failed, self._failed = self._failed, []
        if embedded:
            clips += self._labelled(embedded)
        if clips:
            replaced = {
                clip.file.uri for clip in clips if self._store.clip_at(clip.file.uri) is not None
            }
            self._store.add(clips)
            for clip in clips:
                self.report.seconds += clip.duration
                self.report.warnings += clip.warning is not None
                self._count("replaced" if clip.file.uri in replaced else "added", clip.file)
        if failed:
            self._store.fail(failed)
            for failure in failed:
                self.report.failed.append(Failure(failure.file.uri, failure.reason))
                self._on_file(failure.file.uri, "failed")
        self._flushed = time.monotonic()

    def _count(self, outcome: str, file: AudioFile) -> None:
        setattr(self.report, outcome, getattr(self.report, outcome) + 1)
        self._on_file(file.uri, outcome)

    def _labelled(self, embedded: list[pipeline.Embedded]) -> list[NewClip]:
        listener = self._open_listener()
        labels = predict(
            listener.head,
            [(listener.for_head(result.embeddings), result.levels) for result in embedded],
            SEGMENT_LABELS,
            CLIP_LABELS,
        )
        clips = []
        for result, (segment_labels, clip_labels) in zip(embedded, labels, strict=True):
            segments = np.empty(len(result.levels), SEGMENT)
            segments["level"] = result.levels
            segments["labels"] = segment_labels
            clips.append(
                NewClip(
                    result.file,
                    result.digest,
                    result.duration,
                    result.padded,
                    result.warning,
                    listener.wanted(result.embeddings),
                    segments,
                    clip_labels,
                )
            )
        return clips

    def _add_records(self, file: AudioFile) -> None:
        """Store the clips of a file of AudioSet's features."""
        space = self._store.settings.space
        if space != AUDIOSET_SPACE:
            reason = (
                f"holds AudioSet's features, of the space {AUDIOSET_SPACE}; this library is of "
                f"{space}: make another one for them with --library"
            )
            self._failed.append(StoredFailure(file, None, reason))
            return
        try:
            for record in read_records(file.uri):
                self._add_record(record, replace(file, uri=record.uri))
                if self._due():
                    self._flush()
        except AudioError as error:
            self._failed.append(StoredFailure(file, None, error.reason))

    def _add_record(self, record: Record, file: AudioFile) -> None:
        clip = self._store.clip_at(file.uri)
        if clip is not None and clip.file == file:
            self.report.unchanged += 1
            self._on_file(file.uri, "unchanged")
            return
        count = len(record.features)
        if count == 0:
            self._failed.append(StoredFailure(file, None, "holds no features"))
            return
        segments = np.zeros(count, SEGMENT)  # all alike: how loud they were is not known
        segments["labels"] = unlabelled(count, SEGMENT_LABELS)
        duration = max(record.end - record.start, count * self._store.settings.segment_seconds)
        self._clips.append(
            NewClip(
                file,
                blake3.blake3(record.features.tobytes()).digest(),
                duration,
                False,
                None,
                dequantise(record.features),
                segments,
                unlabelled(CLIP_LABELS),
                tuple(label for label in record.labels if label < CLASSES),
            )
        )
        self._segments += count
        self._on_sound(duration)

    def _reuse(self, file: AudioFile, digest: bytes) -> None:
        """Take over what is known of a file's content: it moved, was touched, or is a copy."""
        clips = self._store.clips_with(digest)
        same_place = [clip for clip in clips if clip.file.uri == file.uri]
        moved = [clip for clip in clips if not os.path.lexists(clip.file.uri)]
        if same_place:
            self._store.move(same_place[0].id, file)
            self._count("unchanged", file)
        elif moved:
            self._store.move(moved[0].id, file)
            self._count("renamed", file)
        elif clips:
            clip = clips[0]
            replaces = self._store.clip_at(file.uri) is not None
            vectors, segments = self._store.rows([(clip.id, 0, clip.count)])
            copy = NewClip(
                file,
                digest,
                clip.duration,
                clip.padded,
                clip.warning,
                vectors,
                segments,
                clip.labels,
            )
            self._store.add([copy])
            self.report.seconds += clip.duration
            self._count("replaced" if replaces else "added", file)
        elif failure := self._store.failure_with(digest):
            self._store.fail([replace(failure, file=file)])
            self.report.failed_before += 1
            self._on_file(file.uri, "unchanged")
        else:
            self._again.append(file)


def _is_gone(uri: str, roots: list[str]) -> bool:
    inside = any(uri == root or uri.startswith(os.path.join(root, "")) for root in roots)
    return inside and not os.path.lexists(uri)
