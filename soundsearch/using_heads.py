"""Labels of all clips of a library anew, from another head and the stored vectors."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .correcting import said_in, unsayable
from .errors import LibraryDamaged, LibraryError
from .hints import command
from .labels.head import Head, unlabelled
from .labels.kept import head_file, vocabulary_of
from .labels.predict import predict
from .labels.vocabulary import AUDIOSET, Vocabulary
from .session import Session
from .stores.base import LabelsOf, OnClips, OnStep, Store
from .stores.records import CLIP_LABELS, SEGMENT_LABELS

__all__ = ["check_sayable", "use_head"]


def use_head(
    session: Session,
    path: str | os.PathLike[str] | None,
    forget: bool,
    on_clips: OnClips,
    on_step: OnStep,
) -> None:
    """Keep a head, and label all clips with it; see `soundsearch.Library.use_head`."""
    file = None if path is None else head_file(path)
    if file is not None:
        session.check_head(file.head, session.store)
    with session.writing() as store:
        if file is not None:
            session.check_head(file.head, store)
        if store.head_digest() == (None if file is None else file.digest):
            return
        new = AUDIOSET if file is None else file.head.vocabulary
        old = None
        with suppress(LibraryDamaged):  # which keeping a head mends
            old = vocabulary_of(store)
        if not forget:
            check_sayable(store, old, new, None if path is None else os.fspath(path))
        head = session.default_head() if file is None else file.head
        if head is None:
            on_step(
                "the encoder's own labels need the sound: clips have none until their files are "
                f"heard again, with: {command('ingest --again FOLDER', session.address)}"
            )
        store.relabel(
            None if file is None else file.content,
            _labels_of(head),
            on_clips,
            said_in(new, old or new),
        )
        with suppress(LibraryDamaged):  # which a check tells of
            store.optimise(on_step)


def check_sayable(
    store: Store, old: Vocabulary | None, new: Vocabulary, file: str | None = None
) -> None:
    """Raise LibraryError where people said something of classes that a new vocabulary lacks.

    The old one is None where the library's head is damaged: a head with as many classes is then
    taken to be the same one, kept again. The new one is that of a head's file, or the default.
    """
    if lost := unsayable(store, old, new):
        name, count = next(iter(lost.items()))
        more = f" (and so of {len(lost) - 1} more)" if len(lost) > 1 else ""
        whose = "--default" if file is None else shlex.quote(file)
        raise LibraryError(
            f"{store.address}: people said of {count} clip{'s' * (count != 1)} whether {name!r} is "
            f"heard{more}, a class of its head alone; use a head that has it, too, or let go what "
            f"they said, with: {command(f'head use {whose} --forget', store.address)}"
        )


def _labels_of(head: Head | None) -> LabelsOf:
    if head is None:
        return _none
    return partial(predict, head, per_segment=SEGMENT_LABELS, per_clip=CLIP_LABELS)


def _none(
    clips: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
) -> list[tuple[NDArray[np.void], NDArray[np.void]]]:
    return [
        (unlabelled(len(levels), SEGMENT_LABELS), unlabelled(CLIP_LABELS)) for _, levels in clips
    ]
