"""From a question to what it asks a store; what there is to hear is heard before."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import cast

from .asking.by_label import Labels
from .asking.by_words import Worded, where_words_lie
from .asking.examples import Asked, nothing_asked, sample, together
from .asking.labelled import Labelled
from .asking.questions import (
    Embeddings,
    Example,
    Examples,
    Moments,
    Question,
    Sound,
    Source,
    Stored,
)
from .asking.words import Words
from .errors import ArgumentError, SpaceMismatch
from .hearing import threads_for
from .labels.head import Head
from .labels.kept import vocabulary_of
from .labels.predict import predict
from .labels.vocabulary import Vocabulary
from .naming import find
from .results import Meaning
from .session import Session
from .stores.base import Reading
from .stores.records import CLIP_LABELS, ClipName, Key, StoredClip
from .vectors import sounding

__all__ = ["Preparing"]

OnSound = Callable[[float], None]


class Preparing:
    """Prepares questions to a library.

    Parameters
    ----------
    session : Session
    clip : callable
        Gives the clip that a reading has of this name; raises ClipNotFound.
    head : Head, optional
        Labels a sound that is asked with, in place of the library's.
    """

    def __init__(
        self,
        session: Session,
        clip: Callable[[Reading, ClipName], StoredClip],
        head: Head | None = None,
    ) -> None:
        self._session = session
        self._clip = clip
        self._head = head

    def prepared(self, question: Question, on_sound: OnSound) -> Callable[[Reading], Asked]:
        """What a question asks, given a reading."""
        match question:
            case Stored():
                return partial(self._stored, asked=question)
            case Examples():
                return self._examples(question, on_sound)
            case Embeddings():
                asked = self._embeddings(question)
            case Sound():
                asked = self._heard(question, on_sound)
        return lambda _reading: asked

    def labelled(
        self, question: Labelled | Words, on_sound: OnSound
    ) -> tuple[Callable[[Reading], tuple[Labels, Asked]], Meaning | None]:
        """What a question by label or in words asks, given a reading, and what the words became.

        Raises
        ------
        ArgumentError
            There is no such label, or no word is known.
        """
        session, meaning = self._session, None
        vocabulary = vocabulary_of(session.store)
        if isinstance(question, Words):
            meaning = question.meaning(vocabulary, self.predicted)
        self._labels(question, meaning, None, vocabulary)  # tells what is wrong
        like = None if question.like is None else self.prepared(question.like, on_sound)
        settings = session.store.settings

        def ask(reading: Reading) -> tuple[Labels, Asked]:
            head, vocabulary = session.head(reading), vocabulary_of(reading)
            labels = self._labels(question, meaning, head, vocabulary)
            if like is not None:
                return labels, like(reading)
            if isinstance(question, Words) and isinstance(labels, Worded):
                lie = where_words_lie(question, labels, settings.dimension, settings.space)
                return labels, lie
            return labels, nothing_asked(settings.dimension)

        return ask, meaning

    @property
    def predicted(self) -> frozenset[int] | None:
        """The classes that the library's head predicts; None where that is not known."""
        head = self._session.head(self._session.store)
        return None if head is None else head.predicted

    def _labels(
        self,
        question: Labelled | Words,
        meaning: Meaning | None,
        head: Head | None,
        vocabulary: Vocabulary,
    ) -> Labels:
        if isinstance(question, Labelled):
            return Labels.of(question, head, vocabulary)
        assert meaning is not None
        return Worded.meant(question, meaning, head, vocabulary)

    def _heard(self, sound: Sound, on_sound: OnSound) -> Asked:
        listener = self._session.listener(threads_for(sound))
        heard = listener.hear(sound, self._session.store.settings.hop, on_sound)
        if self._head is None:
            [(_, labels)] = listener.labels([heard], 1, CLIP_LABELS)
            vocabulary = listener.head.vocabulary
        else:
            [(_, labels)] = predict(self._head, [(heard.vectors, heard.levels)], 1, CLIP_LABELS)
            vocabulary = self._head.vocabulary
        query, levels = sounding(heard.vectors, heard.levels)
        return Asked(query, levels, vocabulary.named(labels), heard.warning)

    def _embeddings(self, given: Embeddings) -> Asked:
        store = self._session.store
        settings = store.settings
        if given.space is not None and given.space != settings.space:
            raise SpaceMismatch(store.address, settings.space, given.space)
        if given.vectors.shape[1] != settings.dimension:
            raise ArgumentError(
                f"vectors: expected {settings.dimension} numbers each, as in the space "
                f"{settings.space}, got {given.vectors.shape[1]}"
            )
        query, levels = sounding(given.vectors, given.levels)
        if not query.any(axis=1).all():
            raise ArgumentError("vectors: expected a direction in each, got one that is zero")
        return Asked(query, levels)

    def _stored(self, reading: Reading, asked: Stored) -> Asked:
        found = self._clip(reading, asked.clip)
        record = found.record
        span = (0, found.count) if asked.at is None else self._within(found, asked.at)
        vectors, segments = reading.rows([(found.id, *span)])
        vocabulary = vocabulary_of(reading)
        labels = vocabulary.named(record.labels) or vocabulary.given(record.human_labels)
        query, levels = sounding(vectors, segments["level"])
        return Asked(query, levels, labels, record.warning, frozenset([found.id]))

    def _within(self, clip: StoredClip, at: Moments) -> tuple[int, int]:
        """The segments of a clip that reach into a part of it: the first, and one past the last."""
        settings = self._session.store.settings
        start, end = at
        duration = clip.record.duration
        if start >= duration:
            raise ArgumentError(
                f"at: expected a start within the clip's {duration:.2f} s, got {start:g}"
            )
        # The first that ends after the start, and the last that begins before the end.
        first = math.floor((start - settings.segment_seconds) / settings.hop + 1e-6) + 1
        first = min(max(first, 0), clip.count - 1)
        last = clip.count if end is None else math.ceil(end / settings.hop - 1e-6)
        return first, min(max(last, first + 1), clip.count)

    def _examples(self, examples: Examples, on_sound: OnSound) -> Callable[[Reading], Asked]:
        with self._session.store.reading() as reading:
            wanted = [self._question(reading, example) for example in examples.like]
            unwanted = [self._question(reading, example) for example in examples.unlike]
        like = [self.prepared(question, on_sound) for question in wanted]
        unlike = [self.prepared(question, on_sound) for question in unwanted]
        dimension = self._session.store.settings.dimension

        def ask(reading: Reading) -> Asked:
            return together(
                [each(reading) for each in like],
                examples.weights,
                [each(reading) for each in unlike],
                lambda: sample(reading, dimension),
            )

        return ask

    def _question(self, reading: Reading, example: Example) -> Sound | Stored | Embeddings:
        """An example as a question: the clip of the library that it names, or else the file."""
        if isinstance(example, (Sound, Stored, Embeddings)):
            return example
        is_stored = isinstance(example, (int, Key)) or find(reading, example) is not None
        return Stored(example) if is_stored else Sound(cast(Source, example))
