"""Searching a store for what has a label, by itself or beside a sound.

A segment's score for a label is what the head predicts, or what was kept of that at the ingest
where the head does not read the library's vectors. A clip that people gave the label scores 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.logmel import SILENT

from ..errors import ArgumentError, SoundsearchError
from ..labels.head import SILENCE, Head
from ..labels.ontology import ontology
from ..labels.vocabulary import Vocabulary
from ..results import Hit
from ..stores.base import Reading, Span
from ..stores.filters import And, Comparison, Filter, HumanLabel, Label, Or
from ..stores.records import Settings
from ..vectors import Directions, loudness_weights
from .examples import Asked
from .labelled import Labelled
from .ranking import RANKINGS, first_best, pool_query, span_blocks, window
from .searching import OnCompared, candidates_near, not_told, shown_hits

__all__ = [
    "Labels",
    "Place",
    "Scores",
    "all_of",
    "blocks_of",
    "classes_of",
    "find_labelled",
    "labelled_places",
]

# How many segments are looked at, at first and for each clip wanted; by which factor more, while
# these are of too few clips.
_SEGMENTS = 100
_SEGMENTS_PER_CLIP = 2
_WIDEN = 4
# Segments whose scores are found at a time.
_BLOCK = 1 << 14
# Scores of labels that were kept of clips, to begin with and until there are enough of these.
_KEPT = (0.8, 0.5, 0.2, 0.0)

Floats = NDArray[np.float32]
Scores = NDArray[np.float64]
# A clip and the number of a segment in it; -1 for one that is still to be chosen.
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Labels:
    """What is to be heard, at once, and what predicts it.

    Attributes
    ----------
    classes : tuple of frozenset of int
        Of each label.
    names : tuple of str
    weight : float
        How much they count beside a sound.
    head : Head or None
        Linear. None if the library's vectors are not what its head reads, or that is another one:
        what was kept of its predictions answers then.
    named : Filter, optional
        Lets those clips through that count as if people had given them the labels.
    """

    classes: tuple[frozenset[int], ...]
    names: tuple[str, ...]
    weight: float
    head: Head | None
    named: Filter | None = None
    # How many candidates near a sound there are for each clip that is wanted.
    candidates: ClassVar[int] = 1

    @classmethod
    def of(cls, question: Labelled, head: Head | None, vocabulary: Vocabulary) -> Labels:
        """What a question asks a library with this vocabulary; raises ArgumentError."""
        classes = tuple(classes_of(label, vocabulary) for label in question.label)
        linear = head if head is not None and head.is_linear else None
        return cls(classes, question.label, question.weight, linear)

    def given(self, number: int) -> Filter:
        """That people gave a clip the label of this number."""
        by_people = Comparison(HumanLabel(self.classes[number]), "==", True)
        return by_people if self.named is None else Or((by_people, self.named))

    @property
    def people(self) -> Filter:
        """That people gave a clip all that is to be heard."""
        return And(tuple(map(self.given, range(len(self.classes)))))

    def found(
        self, reading: Reading, wanted: int, filter: Filter | None, moments: bool
    ) -> dict[Place, float]:
        """The best places and their scores: at least as many as are wanted, if there are."""
        return labelled_places(reading, self, wanted, filter, moments)

    def together(self, scores: Scores) -> Scores:
        """One score of what is asked for, from those of each label, [n, labels]."""
        lowest: Scores = scores.min(axis=1)
        return lowest

    def beside(self, cosines: Floats, scores: Scores, starts: NDArray[np.int64]) -> Scores:
        """The score of stretches, that begin in the rows `starts`, beside their cosines."""
        heard = np.maximum.reduceat(self.together(scores), starts)
        mean: Scores = (1 - self.weight) * cosines + self.weight * heard
        return mean

    @property
    def unheard(self) -> frozenset[int]:
        """Those that the head does not predict, by their number."""
        head = self.head
        if head is None:
            return frozenset()
        each = enumerate(self.classes)
        return frozenset(n for n, classes in each if not len(head.directions(classes)[1]))

    @property
    def warning(self) -> str | None:
        """What to say of labels that are not predicted."""
        if not self.unheard:
            return None
        names = ", ".join(self.names[number] for number in sorted(self.unheard))
        return f"{names}: is not predicted in this library; only what people gave counts"

    def directions(self, numbers: Sequence[int]) -> Directions:
        """Where some of the labels lie; the head predicts them."""
        assert self.head is not None
        return [self.head.directions(self.classes[number]) for number in numbers]

    def scores(self, vectors: Floats, segments: NDArray[np.void]) -> NDArray[np.float64]:
        """The score of each segment for each label, float64 [segments, labels]."""
        scores = np.zeros((len(segments), len(self.classes)))
        silence = ontology().nodes[SILENCE].class_index
        for column, classes in enumerate(self.classes):
            if self.head is not None:
                silent = segments["level"] < SILENT
                scores[:, column] = self.head.highest(vectors, classes)
                scores[silent, column] = silence in classes
            else:
                kept = segments["labels"]
                of_these = np.isin(kept["class_index"], list(classes))
                scores[:, column] = np.where(of_these, kept["score"], 0).max(axis=1)
        return scores


def classes_of(label: str, vocabulary: Vocabulary) -> frozenset[int]:
    try:
        classes = vocabulary.classes_below(label)
    except SoundsearchError as error:
        raise ArgumentError(f"label: {error}") from error
    if not classes:
        raise ArgumentError(
            f"label: expected one that AudioSet has sounds of, got {label!r}, which is of none"
        )
    return classes


def all_of(filter: Filter | None, *others: Filter) -> Filter:
    parts = others if filter is None else (filter, *others)
    return parts[0] if len(parts) == 1 else And(parts)


def find_labelled(
    reading: Reading,
    settings: Settings,
    labels: Labels,
    asked: Asked,
    k: int,
    ranking: str,
    moments: bool,
    filter: Filter | None = None,
    *,
    offset: int = 0,
    min_score: float = -np.inf,
    on_compared: OnCompared = not_told,
) -> list[Hit]:
    """Find the clips with the highest scores for labels, or the segments if `moments` is set.

    Where a sound is asked with as well, the score is the mean of the labels' and of the cosine,
    each anywhere in the clip; the labels' counts `labels.weight`.

    Raises
    ------
    ClipChanged
        A clip was removed or replaced between two steps; use another reading.
    """
    wanted = offset + k + len(asked.clips)
    found = labels.found(reading, wanted, filter, moments)
    if len(asked.vectors):
        what = wanted, filter, found, on_compared
        found = _near(reading, labels, asked, ranking, moments, *what)
    order = sorted(found, key=lambda place: (-found[place], place))[offset : offset + k]
    order = [place for place in order if found[place] >= min_score]
    if not order:
        return []
    chosen = _chosen(reading, labels, [clip for clip, number in order if number < 0])
    places = [
        (clip, chosen[clip] if number < 0 else number, found[clip, number], row)
        for row, (clip, number) in enumerate(order)
    ]
    _, segments = reading.rows([(clip, number, number + 1) for clip, number, *_ in places])
    return shown_hits(reading, settings, places, segments, offset)


def labelled_places(
    reading: Reading, labels: Labels, wanted: int, filter: Filter | None, moments: bool
) -> dict[Place, float]:
    """What `Labels.found` gives, where all labels are to be heard at once."""
    best: dict[Place, float] = {}
    for given, among in _ways(reading, labels, filter):
        rest = [number for number in range(len(labels.classes)) if number not in given]
        if not rest:
            found = _of_given(reading, wanted, among, moments)
        elif labels.head is None:
            found = _kept(reading, labels, rest, wanted, among)
        else:
            found = _along(reading, labels, rest, wanted, among, moments)
        for place, score in found.items():
            best[place] = max(score, best.get(place, 0.0))
    if moments:
        return best
    of_clips: dict[int, tuple[float, int]] = {}
    for (clip, number), score in best.items():
        of_clips[clip] = max((score, -number), of_clips.get(clip, (0.0, 0)))
    return {(clip, -number): score for clip, (score, number) in of_clips.items()}


def _ways(
    reading: Reading, labels: Labels, filter: Filter | None
) -> Iterator[tuple[tuple[int, ...], Filter | None]]:
    """Which of the labels may be people's, the others being predicted; and the clips of those."""
    numbers = range(len(labels.classes))
    there = [number for number in numbers if len(reading.ids(all_of(filter, labels.given(number))))]
    for count in range(len(there) + 1):
        for given in combinations(there, count):
            if labels.unheard <= set(given):
                yield (
                    given,
                    (
                        all_of(filter, *(labels.given(number) for number in given))
                        if given
                        else filter
                    ),
                )


def _of_given(
    reading: Reading, wanted: int, among: Filter | None, moments: bool
) -> dict[Place, float]:
    """Clips that people gave all labels."""
    assert among is not None
    clips = reading.ids(among)[:wanted]
    if not moments:
        return {(clip, -1): 1.0 for clip in clips.tolist()}
    lengths = reading.lengths(clips).tolist()
    each = (
        (clip, n) for clip, count in zip(clips.tolist(), lengths, strict=True) for n in range(count)
    )
    return {place: 1.0 for place, _ in zip(each, range(wanted), strict=False)}


def _along(
    reading: Reading,
    labels: Labels,
    rest: Sequence[int],
    wanted: int,
    among: Filter | None,
    moments: bool,
) -> dict[Place, float]:
    """Segments for which the head predicts most."""
    along = labels.directions(rest)
    count = max(_SEGMENTS, _SEGMENTS_PER_CLIP * wanted)
    while True:
        clips, numbers = reading.highest(along, count, among)
        places = list(zip(clips.tolist(), numbers.tolist(), strict=True))
        found = _scored(reading, labels, rest, [(clip, n, n + 1) for clip, n in places])
        different = len(found) if moments else len({clip for clip, _ in found})
        if different >= wanted or len(places) < count:
            return found
        count *= _WIDEN


def _kept(
    reading: Reading, labels: Labels, rest: Sequence[int], wanted: int, among: Filter | None
) -> dict[Place, float]:
    """Segments of clips of which the labels were kept."""
    for least in _KEPT:
        tests = [Comparison(Label(labels.classes[number]), ">", least) for number in rest]
        clips = reading.ids(all_of(among, *tests))
        if len(clips) >= wanted:
            break
    counts = reading.lengths(clips).tolist()
    every = [(clip, 0, count) for clip, count in zip(clips.tolist(), counts, strict=True)]
    return _scored(reading, labels, rest, every)


def _scored(
    reading: Reading, labels: Labels, rest: Sequence[int], those: Sequence[Span]
) -> dict[Place, float]:
    """The segments of spans that have a score for some of the labels, and this."""
    found: dict[Place, float] = {}
    for part in blocks_of(those):
        scores = labels.scores(*reading.rows(part))[:, list(rest)].min(axis=1).tolist()
        places = [(clip, n) for clip, first, last in part for n in range(first, last)]
        found.update({p: score for p, score in zip(places, scores, strict=True) if score > 0})
    return found


def blocks_of(those: Sequence[Span]) -> Iterator[list[Span]]:
    """Spans in blocks of so many segments; long ones are cut."""
    block: list[Span] = []
    size = 0
    for clip, begin, end in those:
        for first in range(begin, end, _BLOCK):
            last = min(first + _BLOCK, end)
            if size + last - first > _BLOCK:
                yield block
                block, size = [], 0
            block.append((clip, first, last))
            size += last - first
    if block:
        yield block


def _chosen(reading: Reading, labels: Labels, clips: Sequence[int]) -> dict[int, int]:
    """The segments, of clips that people gave the labels, that have most of these."""
    counts = reading.lengths(np.array(clips, np.int64)).tolist()
    best = dict.fromkeys(clips, (-1.0, 0))
    for part in blocks_of([(clip, 0, count) for clip, count in zip(clips, counts, strict=True)]):
        scores = labels.scores(*reading.rows(part)).min(axis=1)
        begin = 0
        for clip, first, last in part:
            own = scores[begin : begin + last - first]
            begin += last - first
            if own.max() > best[clip][0]:
                best[clip] = (float(own.max()), first + int(own.argmax()))
    return {clip: number for clip, (_, number) in best.items()}


def _near(
    reading: Reading,
    labels: Labels,
    asked: Asked,
    ranking: str,
    moments: bool,
    wanted: int,
    filter: Filter | None,
    labelled: Iterable[Place],
    on_compared: OnCompared,
) -> dict[Place, float]:
    """The best places by labels and by nearness, of those that have a label and those near."""
    query, levels = asked.vectors, asked.levels
    if moments:
        query, levels = pool_query(query, loudness_weights(levels)), np.zeros(1, np.float32)
    every = range(len(labels.classes))
    given = [reading.ids(all_of(filter, labels.given(number))) for number in every]
    near = [filter]
    if any(map(len, given)):
        near.append(all_of(filter, labels.people))
    found: dict[int, set[int]] = {}
    count = labels.candidates * wanted
    for among in near:
        for clip, numbers in candidates_near(reading, query, levels, count, among).items():
            found.setdefault(clip, set()).update(numbers)
    for clip, number in labelled:
        if number >= 0:  # of those that people labelled, the near ones are found
            found.setdefault(clip, set()).add(number)
    ids = [clip for clip in found if clip not in asked.clips]
    counts = reading.lengths(np.array(ids, np.int64)).tolist()
    # Clips whole: what was found of them depends on how many are wanted, and their score must not.
    those = [
        (clip, first, last)
        for clip, count in zip(ids, counts, strict=True)
        for first, last in ([(n, n + 1) for n in found[clip]] if moments else [(0, count)])
    ]
    best: dict[Place, float] = {}
    of_clips: dict[int, float] = {}
    done, total = 0, sum(last - first for _, first, last in those)
    for block in span_blocks(those, window(len(query))):
        vectors, segments = reading.rows(block)
        done += len(vectors)
        on_compared(min(done, total), total)
        lengths = [last - first for _, first, last in block]
        starts = np.cumsum([0, *lengths[:-1]])
        cosines, _ = RANKINGS[ranking](
            query, loudness_weights(levels), vectors, loudness_weights(segments["level"]), starts
        )
        of_labels = labels.scores(vectors, segments)
        # What is shown of a clip is where the labels are heard.
        rows = first_best(labels.together(of_labels).astype(np.float32), starts)
        owners = np.repeat([clip for clip, _, _ in block], lengths)
        for column, clips in enumerate(given):
            of_labels[np.isin(owners, clips), column] = 1
        scores = labels.beside(cosines, of_labels, starts)
        each = zip(block, scores.tolist(), rows.tolist(), starts.tolist(), strict=True)
        for (clip, first, _), score, row, begin in each:
            if moments or score > of_clips.get(clip, -np.inf):
                of_clips[clip] = score
                best[clip, first + row - begin] = score
    if moments:
        return best
    return {place: score for place, score in best.items() if of_clips[place[0]] == score}
