"""Embedding all clips of a library again, in the space of a newer encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from soundsearch_ingest.discover import AudioFile
from soundsearch_ingest.sources import ahead, stated
from soundsearch_ingest.urls import is_remote

from .errors import LibraryError
from .hearing import Listener
from .hints import command
from .ingesting import Ingest, optimise
from .keepers import OnLong
from .labels.kept import vocabulary_of
from .labels.vocabulary import AUDIOSET
from .pruning import check_plausible
from .results import IngestReport
from .session import Session
from .stores.base import OnStep, Store, not_in
from .using_heads import check_sayable

__all__ = ["reembed"]


def reembed(
    session: Session,
    prune: bool,
    prune_all: bool,
    on_file: Callable[[str, str], None],
    on_sound: Callable[[float], None],
    on_step: OnStep,
    on_long: OnLong,
) -> IngestReport:
    """Embed every clip again; see `soundsearch.Library.reembed`."""
    old = session.store.settings
    listener = Listener.open(old.encoder)
    encoder = listener.encoder
    if encoder.space == old.space:
        return IngestReport()
    if session.store.head_digest() is not None:
        on_step(
            f"its head reads the space {old.space}, which it leaves: labels are the encoder's own "
            f"again; use one of {encoder.space} with: {command('head use FILE', session.address)}"
        )
    settings = replace(
        old,
        space=encoder.space,
        dimension=listener.dimension,
        segment_seconds=encoder.segment_seconds,
    )
    with session.writing() as store:
        check_sayable(store, vocabulary_of(store), AUDIOSET)
        with closing(store.successor(settings)) as successor:
            with successor.writing():
                told: Any = {"predecessor": store, "on_long": on_long, "on_step": on_step}
                ingest = Ingest(successor, lambda: listener, True, on_file, on_sound, **told)
                ingest.run_files(_files_of(store))
            lost = [clip.uri for clip in not_in(successor, store.clips())]
            if lost and not (prune or prune_all):
                raise LibraryError(
                    f"{session.address}: {len(lost)} of its clips cannot be embedded again, their "
                    f"files are gone or cannot be read (the first: {lost[0]}); the library is as "
                    "before. Put them back, or let them go with --prune"
                )
            if not prune_all:
                check_plausible(str(session.address), lost, store.counts().clips)
            store.adopt(successor)
        session.forget_listeners()
        optimise(store, ingest.report, on_step)
    ingest.report.removed = len(lost)
    return ingest.report


def _files_of(store: Store) -> Iterator[AudioFile]:
    """The clips' files as they are now, those that are there."""
    uris = (clip.uri for clip in store.clips())
    for file in ahead(stated, uris, is_remote):
        if file.size or file.mtime_ns:
            yield file
