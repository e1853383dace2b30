"""Searching a store for what words became: labels with weights, in place of each other or at once.

Each combination of labels, one for each sound that is to be heard, is searched for as a question by
label is, labels of one weight together. What is found is scored exactly, and the search is widened
until nothing that was not seen can have a higher score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..labels.head import Head
from ..labels.lexicon import EMPTY, singular, words_of
from ..labels.sentences import has_sentences, sound_of
from ..labels.vocabulary import Vocabulary
from ..labels.wording import wanted_text
from ..results import Meaning
from ..stores.base import Reading
from ..stores.filters import And, Comparison, Filter, HumanLabel, Named, Or
from ..vectors import unit
from .by_label import (
    Labels,
    Place,
    Scores,
    all_of,
    blocks_of,
    classes_of,
    labelled_places,
)
from .examples import Asked, nothing_asked
from .words import Words

__all__ = ["Worded", "where_words_lie"]

# The search is widened by this factor, and up to so many clips.
_WIDEN = 4
_MOST = 6400
# As much of a clip is compared with where words lie: 4.8 s.
_SEGMENTS = 5
# How much what the corpus calls its sounds counts beside the labels' directions: see
# `benchmarks.words`.
_SHARE = 0.5

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Worded(Labels):
    """Labels with weights, and what predicts them.

    Attributes
    ----------
    weights : tuple of float
        Of each label, from above 0 to 1.
    parts : tuple of tuple of int
        The labels, by their numbers, of each sound that is to be heard.
    against : tuple of int
        Those that are not to be heard.
    """

    weights: tuple[float, ...] = ()
    parts: tuple[tuple[int, ...], ...] = ()
    against: tuple[int, ...] = ()
    # Where words lie is nearer to the whole of a clip than to any segment of it.
    candidates: ClassVar[int] = 8

    @classmethod
    def meant(
        cls, question: Words, meaning: Meaning, head: Head | None, vocabulary: Vocabulary
    ) -> Worded:
        """What words ask a library with this vocabulary; raises ArgumentError."""
        names: list[str] = []
        weights: list[float] = []
        parts: list[tuple[int, ...]] = []
        against: tuple[int, ...] = ()
        for labels in meaning.classes:
            numbers = tuple(range(len(names), len(names) + len(labels)))
            names += labels
            weights += map(abs, labels.values())
            if min(labels.values()) < 0:
                against = numbers
            else:
                parts.append(numbers)
        classes = tuple(classes_of(name, vocabulary) for name in names)
        linear = head if head is not None and head.is_linear else None
        named = _named(question.text, vocabulary) if question.names else None
        assert question.weight is not None
        return cls(
            classes, tuple(names), question.weight, linear, named,
            tuple(weights), tuple(parts), against,
        )  # fmt: skip

    def given(self, number: int) -> Filter:
        if number in self.against:
            return Comparison(HumanLabel(self.classes[number]), "==", True)
        return Labels.given(self, number)

    @property
    def people(self) -> Filter:
        return And(tuple(Or(tuple(map(self.given, part))) for part in self.parts))

    def found(
        self, reading: Reading, wanted: int, filter: Filter | None, moments: bool
    ) -> dict[Place, float]:
        every = range(len(self.classes))
        given = [reading.ids(all_of(filter, self.given(number))) for number in every]
        clips = reading.counts(filter).clips
        count = wanted
        while True:
            if count >= clips and self.head is not None:  # all are wanted
                whole = {(clip, -1) for clip in reading.ids(filter).tolist()}
                return self._scored(reading, whole, given, moments)
            places: set[Place] = set()
            unseen = 0.0
            for chosen in product(*map(self._by_weight, self.parts)):
                weights, classes = zip(*chosen, strict=True)
                part = Labels(classes, self.names, self.weight, self.head, self.named)
                found = labelled_places(reading, part, count, filter, moments)
                places.update(found)
                if len(found) >= count:
                    unseen = max(unseen, max(weights) * min(found.values()))
            exact = self._scored(reading, places, given, moments)
            scores = sorted(exact.values(), reverse=True)
            enough = len(scores) >= wanted and scores[wanted - 1] >= unseen
            if enough or not unseen or count >= _MOST:
                return exact
            count *= _WIDEN

    def _by_weight(self, part: Sequence[int]) -> list[tuple[float, frozenset[int]]]:
        """The classes of labels that may stand for each other, those of one weight together."""
        found: dict[float, frozenset[int]] = {}
        for number in part:
            weight = self.weights[number]
            found[weight] = found.get(weight, frozenset()) | self.classes[number]
        return list(found.items())

    def _scored(
        self,
        reading: Reading,
        places: set[Place],
        given: Sequence[Ints],
        moments: bool,
    ) -> dict[Place, float]:
        """The exact scores of places, those above 0; of each clip the best, but of moments all."""
        whole = sorted({clip for clip, number in places if number < 0})
        lengths = reading.lengths(np.array(whole, np.int64)).tolist()
        those = [(clip, 0, length) for clip, length in zip(whole, lengths, strict=True)]
        those += [
            (clip, number, number + 1)
            for clip, number in sorted(places)
            if number >= 0 and clip not in set(whole)
        ]
        found: dict[Place, float] = {}
        best: dict[int, Place] = {}
        for block in blocks_of(those):
            each = [(clip, n) for clip, first, last in block for n in range(first, last)]
            owners = np.array([clip for clip, _ in each], np.int64)
            scores = self.scores(*reading.rows(block))
            for column, clips in enumerate(given):
                scores[np.isin(owners, clips), column] = 1
            total = np.minimum(self.together(scores), 1 - self._against(scores)).tolist()
            for place, score in zip(each, total, strict=True):
                clip = place[0]
                if score <= 0 or (not moments and clip in best and found[best[clip]] >= score):
                    continue
                if not moments and clip in best:
                    del found[best[clip]]
                best[clip] = place
                found[place] = score
        return found

    def together(self, scores: Scores) -> Scores:
        weighted = scores * np.array(self.weights)
        each = [weighted[:, list(part)].max(axis=1) for part in self.parts]
        lowest: Scores = np.min(each, axis=0)
        return lowest

    def _against(self, scores: Scores) -> Scores:
        """How much of what is not to be heard is there, [n]."""
        if not self.against:
            return np.zeros(len(scores))
        unwanted = scores[:, list(self.against)] * np.array(self.weights)[list(self.against)]
        highest: Scores = unwanted.max(axis=1)
        return highest

    def beside(self, cosines: Floats, scores: Scores, starts: Ints) -> Scores:
        mean = Labels.beside(self, cosines, scores, starts)
        unwanted = np.maximum.reduceat(self._against(scores), starts)
        lower: Scores = np.minimum(mean, 1 - unwanted)
        return lower


def where_words_lie(question: Words, labels: Worded, dimension: int, space: str) -> Asked:
    """Where the sound of words lies in a library's space, as what is asked with.

    The mean of the directions in which the head's scores of the labels grow and, in the bundled
    encoder's space and with the extra ``text``, of where its corpus has sounds that are called so.
    No sound where no linear head reads the space.
    """
    if labels.head is None:
        return nothing_asked(dimension)
    along = np.zeros(dimension, np.float32)
    for number in (number for part in labels.parts for number in part):
        rows, _ = labels.head.directions(labels.classes[number])
        if len(rows):
            along += labels.weights[number] * unit(unit(rows).mean(axis=0, keepdims=True))[0]
    if question.text and has_sentences():
        text = wanted_text(question.text, labels.head.vocabulary)
        called = sound_of(text, space) if text else None
        if called is not None:
            along = unit(along[None])[0] + np.float32(_SHARE) * called
    if not along.any():
        return nothing_asked(dimension)
    vectors = np.repeat(unit(along[None]), _SEGMENTS, axis=0)
    return Asked(vectors, np.zeros(_SEGMENTS, np.float32))


def _named(text: str, vocabulary: Vocabulary) -> Filter | None:
    """Lets clips through that have all words of a text in their names and tags."""
    said = words_of(wanted_text(text, vocabulary))
    words = dict.fromkeys(singular(word) for word in said if word not in EMPTY)
    return And(tuple(Named(f"*{word}*") for word in words)) if words else None
