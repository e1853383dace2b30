"""One ingest: finds what is new, changed, moved or gone, and stores the results."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import pipeline
from soundsearch_ingest.audioset import Record, read_records
from soundsearch_ingest.decode import SAMPLE_RATE
from soundsearch_ingest.discover import (
    RECORDS_SUFFIX,
    Absence,
    AudioFile,
)
from soundsearch_ingest.encoders import AUDIOSET_SPACE
from soundsearch_ingest.logmel import segments_in
from soundsearch_ingest.manifests import Manifest
from soundsearch_ingest.sources import opened
from soundsearch_ingest.urls import plain, suffix

from .copies import Copies
from .engines import Engine, LocalEngine, Reuse, StoredFile
from .errors import AudioError, LibraryDamaged
from .featured import featured
from .hearing import Heard, Listener
from .keepers import OnLong, not_told
from .labels.kept import kept_head
from .pruning import Sightings, Targets, check_plausible, find_gone
from .results import Failure, IngestReport
from .stores.base import ClipChanged, OnStep, Store
from .stores.parts import Part
from .stores.records import (
    CLIP_LABELS,
    SEGMENT,
    SEGMENT_LABELS,
    ClipRecord,
    FailureRecord,
    NewClip,
    StoredClip,
)
from .surveying import surveyed
from .tags import inherited

__all__ = ["Ingest", "new_clip", "optimise"]

# Results are stored in batches, to share one sync of the disk, but none waits for long.
_FLUSH_CLIPS = 1024
_FLUSH_SEGMENTS = 8192
_FLUSH_SECONDS = 1.0
# How many files are looked up at a time, ahead of their being read.
_AHEAD = 512

# Recordings for people's ears have no higher sample rate, Hz.
_AUDIBLE_RATE = 96_000

OnFile = Callable[[str, str], None]


class Ingest:
    """Bring a store up to date with files.

    Parameters
    ----------
    store : Store
        Locked for writing.
    open_listener : callable
        Returns the encoder and head; called only when there is sound to embed.
    retry_failed : bool
        Retry files whose content failed before.
    on_file : callable
        Called with the uri and outcome (``added``, ``replaced``, ``renamed``, ``unchanged``,
        ``failed``, ``failed before``) of each file, once the outcome is stored.
    on_sound, on_long : callable
        Called from other threads; see `soundsearch.Library.ingest`.
    on_step : callable
        Called with a description of what takes long beside the files: when a large library is
        indexed anew.
    predecessor : Store, optional
        The store from which clips at the same uris keep their tags and human labels; default
        `store`.
    again : bool
        Embed files that have not changed, and retry those that failed, too.
    engine : Engine, optional
        What hears the files; default this process.
    """

    def __init__(
        self,
        store: Store,
        open_listener: Callable[[], Listener],
        retry_failed: bool,
        on_file: OnFile,
        on_sound: Callable[[float], None],
        predecessor: Store | None = None,
        again: bool = False,
        on_long: OnLong = not_told,
        engine: Engine | None = None,
        on_step: OnStep = lambda _text: None,
    ) -> None:
        self.report = IngestReport()
        self._store = store
        self._predecessor = predecessor or store
        self._open_listener = open_listener
        self._retry_failed = retry_failed or again
        self._embed_again = again
        self._on_file = on_file
        self._on_sound = on_sound
        self._on_step = on_step
        self._engine = engine or LocalEngine(store, open_listener, on_sound, on_long)
        self._embedded: list[pipeline.Embedded] = []
        self._clips: list[NewClip] = []
        self._segments = 0
        self._failed: list[FailureRecord] = []
        self._flushed = time.monotonic()
        self._record_files: list[AudioFile] = []
        self._seen = Sightings()
        self._copies = Copies(store)
        self._listed: tuple[str, Sightings] | None = None
        # Files whose content was in the library when they were read, but no longer is.
        self._again: list[AudioFile] = []

    def run(
        self, roots: list[str], part: Part | None = None, manifest: Manifest | None = None
    ) -> None:
        """Ingest files, folders and what is listed, or a part of these.

        If it is interrupted, what was stored stays.
        """
        skipped: Counter[str] = Counter()

        if manifest is not None:
            self._listed = manifest.name, Sightings()
        files = surveyed(roots, manifest, part, skipped, self._store.clips_at)
        try:
            self.run_files(self._watched(files))
        finally:
            self.report.skipped = {what: count for what, count in skipped.items() if count}

    def _watched(self, files: Iterable[AudioFile]) -> Iterator[AudioFile]:
        for file in self._seen.watch(files):
            if self._listed is not None and file.origin:
                self._listed[1].add(file.uri)
            yield file

    def run_files(self, files: Iterable[AudioFile]) -> None:
        """Ingest these files; if interrupted, what was stored stays."""
        try:
            clips, failures = not self._embed_again, not self._retry_failed
            self._consume(self._wanted(files), Reuse(clips, failures))
            self._consume(iter(self._again), Reuse(False, False))
            for file in self._record_files:
                self._add_records(file)
        finally:
            self._flush()
            self._engine.close()

    def find_missing(self, roots: list[str], prune: bool, prune_all: bool) -> None:
        """Report the clips under `roots` whose file is gone; with `prune`, remove them.

        Raises
        ------
        LibraryError
            So many are gone that a fault is more likely, and `prune_all` is not set: nothing
            is removed.
        """
        roots = list(map(plain, roots))
        absence, targets = Absence(), Targets(roots)
        self._store.forget_failures(
            [
                failure.file.uri
                for failure in self._store.failures()
                if targets.above(failure.file.uri) is not None
                and absence.is_certain(failure.file.uri)
            ]
        )
        found = find_gone(self._store, roots, self._seen, self._listed)
        if not prune:
            self.report.missing = [uri for gone in found for uri in gone.uris]
            return
        if not prune_all:
            for gone in found:
                check_plausible(gone.target, gone.uris, gone.clips)
        ids = [clip_id for gone in found for clip_id in gone.ids]
        self._store.remove(ids)
        self.report.removed = len(ids)
        self._engine.forget(None)

    def _wanted(self, files: Iterable[AudioFile]) -> Iterator[AudioFile]:
        """Skip unchanged files that are in the library or failed before."""
        files = iter(files)
        # A store far away is asked about many at a time.
        while part := list(islice(files, _AHEAD)):
            clips = self._store.clips_at([file.uri for file in part])
            failures: Mapping[str, FailureRecord] = {}
            if not self._retry_failed:
                failures = self._store.failures_at([file.uri for file in part])
            for file in part:
                clip, failure = clips.get(file.uri), failures.get(file.uri)
                if clip is not None and self._is_current(clip, file):
                    self._count("unchanged", file)
                elif failure is not None and failure.digest is not None and failure.file == file:
                    # This version of it failed, because of its content.
                    self.report.failed_before += 1
                    self._on_file(file.uri, "failed before")
                elif suffix(file.uri) == RECORDS_SUFFIX:
                    self._record_files.append(file)
                else:
                    yield file

    def _is_current(self, clip: StoredClip, file: AudioFile) -> bool:
        """Whether a file need not be opened, as the clip is what it holds."""
        return clip.record.file == file and not (clip.record.is_stale or self._embed_again)

    def _consume(self, files: Iterator[AudioFile], reuse: Reuse) -> None:
        with closing(self._engine.run(files, reuse)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome, StoredFile):
                    self._note_rates([outcome.sample_rate])
                    self._added(outcome.file, outcome.duration, outcome.warning, outcome.replaced)
                elif isinstance(outcome, pipeline.Embedded):
                    self._embedded.append(outcome)
                    self._segments += len(outcome.levels)
                elif isinstance(outcome, pipeline.Failed):
                    self._failed.append(FailureRecord(outcome.file, outcome.digest, outcome.reason))
                else:
                    self._flush()
                    self._reuse(outcome.file, outcome.digest)
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
        if self._embed_again and self._predecessor is self._store:
            self._follow(embedded)
        uris = [clip.record.uri for clip in clips] + [result.file.uri for result in embedded]
        there = self._store.clips_at(uris)
        self._copies.let_go(there.values())
        if embedded:
            clips += self._labelled(embedded, there)
            self._note_rates(result.sample_rate for result in embedded)
        if clips:
            self._store.add(clips, self._on_step)
            for record in (clip.record for clip in clips):
                self._engine.forget(record.digest)
                is_there = record.uri in there
                self._added(record.file, record.duration, record.warning, is_there)
        if failed:
            self._store.fail(failed)
            self._mark_stale(failed)
            for failure in failed:
                if failure.digest is not None:
                    self._engine.forget(failure.digest)
                self.report.failed.append(Failure(failure.file.uri, failure.reason))
                self._on_file(failure.file.uri, "failed")
        self._flushed = time.monotonic()

    def _follow(self, embedded: Iterable[pipeline.Embedded]) -> None:
        """Have clips whose file has moved keep what belongs to them at its place now."""
        for result in embedded:
            own, _ = self._copies.find(result.file.uri, result.digest)
            if own is not None and own.uri != result.file.uri:
                self._store.amend({own.id: replace(own.record, file=result.file)})

    def _added(self, file: AudioFile, duration: float, warning: str | None, replaced: bool) -> None:
        self.report.seconds += duration
        self.report.warnings += warning is not None
        self._count("replaced" if replaced else "added", file)

    def _note_rates(self, rates: Iterable[int]) -> None:
        """Count recordings that reach far beyond what is heard, such as those of bats."""
        for rate in rates:
            if rate > _AUDIBLE_RATE:
                self.report.ultrasonic += 1
                self.report.highest_rate = max(rate, self.report.highest_rate)

    def _mark_stale(self, failed: Iterable[FailureRecord]) -> None:
        """Keep clips whose file is no sound any more, with their tags, and mark them."""
        failed = list(failed)
        there = self._store.clips_at([failure.file.uri for failure in failed])
        stale: dict[int, ClipRecord] = {}
        for failure in failed:
            clip = there.get(failure.file.uri)
            if clip is not None and failure.digest is not None and not clip.record.is_stale:
                stale[clip.id] = clip.record.as_stale(failure.reason)
        if stale:
            self._store.amend(stale)

    def _count(self, outcome: str, file: AudioFile) -> None:
        self.report.count(outcome)
        self._on_file(file.uri, outcome)

    def _labelled(
        self, embedded: list[pipeline.Embedded], there: Mapping[str, StoredClip]
    ) -> list[NewClip]:
        if self._predecessor is not self._store:
            there = self._predecessor.clips_at([result.file.uri for result in embedded])
        listener = self._open_listener()
        heard = [
            listener.heard(result.embeddings, result.levels, result.duration, result.warning)
            for result in embedded
        ]
        labels = listener.labels(heard, SEGMENT_LABELS, CLIP_LABELS)
        before = (self._copies.before(there.get(each.file.uri), each.digest) for each in embedded)
        return [
            new_clip(result.file, result.digest, sound, labelled, was)
            for result, sound, labelled, was in zip(embedded, heard, labels, before, strict=True)
        ]

    def _add_records(self, file: AudioFile) -> None:
        """Store the clips of an AudioSet feature file."""
        space = self._store.settings.space
        if space != AUDIOSET_SPACE:
            reason = (
                f"holds AudioSet features, whose space is {AUDIOSET_SPACE}; the space of this "
                f"library is {space}: ingest them into another library with --library"
            )
            self._failed.append(FailureRecord(file, _digest(file), reason))
            return
        page: list[Record] = []
        segments = 0
        try:
            with opened(file) as source:
                for record in read_records(source):
                    page.append(record)
                    segments += len(record.features)
                    if segments >= _FLUSH_SEGMENTS or len(page) >= _FLUSH_CLIPS:
                        self._add_page(page, file)
                        page, segments = [], 0
        except OSError as error:
            self._failed.append(FailureRecord(file, None, error.strerror or str(error)))
        except AudioError as error:
            passing = isinstance(error.__cause__, OSError)
            self._failed.append(
                FailureRecord(file, None if passing else _digest(file), error.reason)
            )
        self._add_page(page, file)

    def _add_page(self, page: list[Record], file: AudioFile) -> None:
        """Store records of a file, other than those that are there already."""
        there = self._store.clips_at([record.uri for record in page])
        new = []
        for record in page:
            clip = there.get(record.uri)
            own = AudioFile(record.uri, file.size, file.mtime_ns)
            if clip is not None and self._is_current(clip, own):
                self._count("unchanged", own)
            elif len(record.features) == 0:
                self._failed.append(FailureRecord(own, bytes(32), "holds no features"))
            else:
                new.append((record, own, clip))
        if new:
            clips = featured(new, kept_head(self._store), self._store.settings.segment_seconds)
            self._clips += clips
            self._on_sound(sum(clip.record.duration for clip in clips))
        self._flush()

    def _reuse(self, file: AudioFile, digest: bytes) -> None:
        """Reuse the stored results for a file's content: it moved, was touched, or is a copy."""
        own, copy = self._copies.find(file.uri, digest)
        if own is not None:
            self._store.amend({own.id: replace(own.record, file=file)})
            self._store.forget_failures([file.uri])
            self._count("unchanged" if own.uri == file.uri else "renamed", file)
        elif copy is not None:
            self._copy(copy, file)
        elif failure := self._store.failure_with(digest):
            self._store.fail([replace(failure, file=file)])
            self.report.failed_before += 1
            self._on_file(file.uri, "failed before")
        else:
            self._again.append(file)

    def _copy(self, clip: StoredClip, file: AudioFile) -> None:
        """Add a clip for a file with the same content as a stored clip."""
        before = self._store.clip_at(file.uri)
        try:
            with self._store.reading() as reading:
                # An engine may have replaced the clip already, though it has not told yet.
                now = reading.clips_by_id([clip.id]).get(clip.id)
                if now is None or now.record.digest != clip.record.digest:
                    self._again.append(file)
                    return
                vectors, segments = reading.rows([(clip.id, 0, clip.count)])
        except (ClipChanged, LibraryDamaged):  # `check` tells of damage
            self._again.append(file)
            return
        # Tags belong to the other clip; human labels belong to the content.
        self._copies.let_go([before] if before else [])
        record = replace(clip.record, file=file, tags=before.record.tags if before else {})
        new = NewClip(record=record, embeddings=vectors, segments=segments)
        self._store.add([new], self._on_step)
        self.report.seconds += record.duration
        self._count("replaced" if before else "added", file)


def new_clip(
    file: AudioFile,
    digest: bytes,
    heard: Heard,
    labels: tuple[NDArray[np.void], NDArray[np.void]],
    before: StoredClip | None,
) -> NewClip:
    """A clip of a sound that was heard, with what it keeps of the one that was there before."""
    segments = np.empty(len(heard.levels), SEGMENT)
    segments["level"] = heard.levels
    segments["labels"], clip_labels = labels
    record = ClipRecord(
        file=file,
        digest=digest,
        duration=heard.duration,
        padded=segments_in(round(heard.duration * SAMPLE_RATE)) == 0,
        warning=heard.warning,
        labels=clip_labels,
        **inherited(before.record if before else None, digest),
    )
    return NewClip(record=record, embeddings=heard.vectors, segments=segments)


def _digest(file: AudioFile) -> bytes | None:
    """The digest to remember a failed file by; None if it cannot be read."""
    try:
        with opened(file) as source:
            return pipeline.content_digest(source)
    except (AudioError, OSError):
        return None


def optimise(store: Store, report: IngestReport, on_step: OnStep) -> None:
    """Bring the index up to date; damage that is in its way ends no ingest, but is reported."""
    try:
        store.optimise(on_step)
    except LibraryDamaged as error:
        report.damage = str(error)
