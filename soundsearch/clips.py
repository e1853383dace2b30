"""A selection of a library's clips: what can be asked, of all of them or of some."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

from numpy.typing import ArrayLike
from soundsearch_ingest import pipeline

from .asking.examples import Asked, sample, together
from .asking.expressions import parse_filter
from .asking.questions import (
    Embeddings,
    Example,
    Examples,
    Moments,
    Question,
    Sound,
    Source,
    Stored,
    as_sound,
    check_k,
    check_offset,
    check_ranking,
    check_score,
)
from .asking.ranking import DEFAULT_RANKING
from .asking.searching import find_hits, find_segments
from .errors import ArgumentError, SpaceMismatch
from .labels.head import given, named
from .naming import find
from .results import Answer, Clip
from .selection import Selection, shown
from .session import Session
from .stores.base import Reading
from .stores.filters import And, Filter
from .stores.records import CLIP_LABELS, ClipName, Key
from .vectors import sounding

__all__ = ["Clips", "shown"]

OnSound = Callable[[float], None]


def _ignore(_seconds: float) -> None:
    pass


class Clips(Selection):
    """The clips of a library that a filter lets through; made by `where`.

    Lazy: the library is read when the selection is counted, iterated over or asked, each time
    as it is then. The library itself is the selection of all.
    """

    def __init__(self, session: Session, filter: Filter | None, text: str) -> None:
        super().__init__(session, filter)
        self._text = text

    def where(self, expression: str, /, **parameters: Any) -> Clips:
        """Select the clips that a filter lets through.

        Parameters
        ----------
        expression : str
            Such as ``label['Dog'] > 0.5 and duration < 10 and tag['mic'] == :mic``; see
            `soundsearch.asking.expressions`.
        **parameters
            The values of ``:name`` in it.

        Returns
        -------
        Clips

        Raises
        ------
        ArgumentError
            The expression is no filter: the message says where and what was expected.
        """
        filter = parse_filter(expression, parameters)
        if self._filter is not None:
            filter = And((self._filter, filter))
        given = ", ".join(f":{name} = {value!r}" for name, value in parameters.items())
        text = f"{expression} [{given}]" if given else expression
        if self._text:
            text = f"({self._text}) and ({text})"
        return Clips(self._session, filter, text)

    def __repr__(self) -> str:
        return f"<Clips of {self._session.address} where {self._text}>"

    def __iter__(self) -> Iterator[Clip]:
        """The clips, in the order in which they came."""
        return map(shown, self._session.store.clips(self._filter))

    def __len__(self) -> int:
        with self._session.store.reading() as reading:
            return reading.counts(self._filter).clips

    def __bool__(self) -> bool:
        return True  # not the number of clips, which might have to be read from far away

    def query(
        self,
        question: Question | Source | None = None,
        k: int = 10,
        *,
        vectors: ArrayLike | None = None,
        at: Moments | None = None,
        sample_rate: int | None = None,
        ranking: str = DEFAULT_RANKING,
        offset: int = 0,
        min_score: float = -1.0,
        segments: bool = False,
        on_sound: OnSound = _ignore,
    ) -> Answer:
        """Find the clips nearest to a question.

        Parameters
        ----------
        question : Sound, Stored, Embeddings, Examples, path, binary file or array
            What is no question is taken as the source of a `Sound`.
        k : int
            Clips wanted.
        vectors : float [n, dimension] or [dimension]
            In place of a question: embeddings of the library's space; see `Embeddings`.
        at, sample_rate
            Of the sound; see `Sound`.
        ranking : str
            One of `soundsearch.asking.ranking.RANKINGS`.
        offset : int
            How many of the nearest clips are passed over, for the next page.
        min_score : float
            Clips with a lower score are left out.
        segments : bool
            Find `k` segments in place of clips: all moments that are near to the mean of the
            question, of one clip or of many.
        on_sound : callable
            Called with the seconds of a file that were heard since the last call.

        Returns
        -------
        Answer
            Iterates over at most `k` hits, nearest first. Clips of the library that are asked
            with are not among them.

        Raises
        ------
        ArgumentError
            An argument cannot be.
        AudioError
            The source gives no sound.
        ClipNotFound
            No clip of the library is the one that is asked with.
        LibraryNotFound, SpaceMismatch
        """
        if vectors is not None:
            if question is not None:
                raise ArgumentError("expected a question or vectors, got both")
            question = vectors if isinstance(vectors, Embeddings) else Embeddings(vectors)
        if not isinstance(question, (Stored, Embeddings, Examples)):
            question = as_sound(cast(Sound | Source, question), at, sample_rate)
        page = {"offset": check_offset(offset), "min_score": check_score(min_score)}
        by = None if segments else check_ranking(ranking)
        return self._answer(question, check_k(k), by, on_sound, **page)

    def similar(
        self,
        clip: ClipName,
        k: int = 10,
        *,
        ranking: str = DEFAULT_RANKING,
        offset: int = 0,
        min_score: float = -1.0,
    ) -> Answer:
        """Find the clips nearest to one of the library: ``query(Stored(clip))``."""
        return self.query(Stored(clip), k, ranking=ranking, offset=offset, min_score=min_score)

    def _answer(
        self, question: Question, k: int, ranking: str | None, on_sound: OnSound, **page: Any
    ) -> Answer:
        """The clips nearest to a question, or the segments where no ranking is given."""
        settings = self._session.store.settings
        ask = self._prepared(question, on_sound)

        def answer(reading: Reading) -> Answer:
            asked = ask(reading)
            what = reading, settings, asked.vectors, asked.levels, k
            page["without"] = asked.clips
            if ranking is None:
                hits = find_segments(*what, self._filter, **page)
            else:
                hits = find_hits(*what, ranking, self._filter, **page)
            return Answer(tuple(hits), asked.labels, asked.warning)

        return self._read(answer)

    def _prepared(self, question: Question, on_sound: OnSound) -> Callable[[Reading], Asked]:
        """What a question asks, given a reading; what there is to hear is heard before."""
        match question:
            case Stored():
                return partial(self._stored, clip=question.clip)
            case Examples():
                return self._examples(question, on_sound)
            case Embeddings():
                asked = self._embeddings(question)
            case Sound():
                asked = self._heard(question, on_sound)
        return lambda _reading: asked

    def _heard(self, sound: Sound, on_sound: OnSound) -> Asked:
        listener = self._session.listener(pipeline.available_cores())
        heard = listener.hear(sound, self._session.store.settings.hop, on_sound)
        [(_, labels)] = listener.labels([heard], 1, CLIP_LABELS)
        return Asked(*sounding(heard.vectors, heard.levels), named(labels), heard.warning)

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

    def _stored(self, reading: Reading, clip: ClipName) -> Asked:
        found = self._clip(reading, clip)
        vectors, segments = reading.rows([(found.id, 0, found.count)])
        record = found.record
        labels = named(record.labels) or given(record.human_labels)
        query, levels = sounding(vectors, segments["level"])
        return Asked(query, levels, labels, record.warning, frozenset([found.id]))

    def _examples(self, examples: Examples, on_sound: OnSound) -> Callable[[Reading], Asked]:
        with self._session.store.reading() as reading:
            wanted = [_question(reading, example) for example in examples.like]
            unwanted = [_question(reading, example) for example in examples.unlike]
        like = [self._prepared(question, on_sound) for question in wanted]
        unlike = [self._prepared(question, on_sound) for question in unwanted]
        dimension = self._session.store.settings.dimension

        def ask(reading: Reading) -> Asked:
            return together(
                [each(reading) for each in like],
                examples.weights,
                [each(reading) for each in unlike],
                lambda: sample(reading, dimension),
            )

        return ask


def _question(reading: Reading, example: Example) -> Sound | Stored | Embeddings:
    """An example as a question: the clip of the library that it names, or else the file."""
    if isinstance(example, (Sound, Stored, Embeddings)):
        return example
    is_stored = isinstance(example, (int, Key)) or find(reading, example) is not None
    return Stored(example) if is_stored else Sound(cast(Source, example))
