"""A selection of a library's clips: what can be asked, of all of them or of some."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, cast, overload

from numpy.typing import ArrayLike

from .asking.by_label import find_labelled
from .asking.labelled import Labelled
from .asking.per import Per, page, parse_per
from .asking.questions import (
    Embeddings,
    Examples,
    Moments,
    Question,
    Sound,
    Source,
    Stored,
    as_sound,
    check_k,
    check_match,
    check_offset,
    check_ranking,
    check_score,
    check_whole,
)
from .asking.ranking import DEFAULT_RANKING, RELATED
from .asking.recommending import Likes
from .asking.related import find_related
from .asking.searching import OnCompared, find_hits, find_segments, not_told
from .asking.words import Words
from .duplicates.found import Duplicates
from .errors import ArgumentError
from .labels.head import Head
from .labels.kept import vocabulary_of
from .labels.wording import lexicon_of
from .neighbours import Graph, Neighbours, are_several
from .preparing import Preparing
from .recommending import recommended
from .results import Answer, Clip, Hit, Meaning
from .selection import Selection, Wheres, shown
from .session import Session
from .stores.base import OnClips, OnStep, Reading
from .stores.records import ClipName

__all__ = ["Clips", "shown"]

OnSound = Callable[[float], None]
Targets = ClipName | Iterable[ClipName]

# Clips whose labels are named together.
_PAGE = 1000


def _ignore(_told: Any) -> None:
    pass


class Clips(Selection):
    """The clips of a library that a filter lets through; made by `where`.

    Lazy: the library is read when the selection is counted, iterated over or asked, each time
    as it is then. The library itself is the selection of all.
    """

    def __init__(self, session: Session, wheres: Wheres = (), text: str = "") -> None:
        super().__init__(session, wheres)
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
        wheres = (*self._wheres, (expression, parameters))
        given = ", ".join(f":{name} = {value!r}" for name, value in parameters.items())
        text = f"{expression} [{given}]" if given else expression
        if self._text:
            text = f"({self._text}) and ({text})"
        return Clips(self._session, wheres, text)

    def match(self, pattern: str) -> Clips:
        """Select the clips with a name that matches, of the file, of a folder above it, or a tag.

        Parameters
        ----------
        pattern : str
            Such as ``snare*``, in letters of any case: ``*`` stands for any run of characters,
            ``?`` for one. The same as ``where("name match 'snare*'")``.

        Raises
        ------
        ArgumentError
            It is empty or no text.
        """
        return self.where("name match :pattern", pattern=check_match(pattern))

    def complete(self, typed: str, count: int = 8) -> list[str]:
        """Labels for what is being typed, of those that the library's head predicts.

        Parameters
        ----------
        typed : str
            The beginning of a name, of a word in it or of a synonym; typing errors are forgiven.
        count : int
            How many labels at most.
        """
        predicted = Preparing(self._session, self._clip, None).predicted
        lexicon = lexicon_of(vocabulary_of(self._session.store), predicted)
        return lexicon.complete(typed, count)

    def __repr__(self) -> str:
        return f"<Clips of {self._session.address} where {self._text}>"

    def __iter__(self) -> Iterator[Clip]:
        """The clips, in the order in which they came."""
        store = self._session.store
        clips = store.clips(self._filter_of(store))
        while page := list(islice(clips, _PAGE)):
            vocabulary = vocabulary_of(store)
            yield from (shown(clip, vocabulary) for clip in page)

    def __len__(self) -> int:
        with self._session.store.reading() as reading:
            return reading.counts(self._filter_of(reading)).clips

    def __bool__(self) -> bool:
        return True  # not the number of clips, which might have to be read from far away

    def query(
        self,
        question: Question | Labelled | Words | Source | None = None,
        k: int = 10,
        *,
        vectors: ArrayLike | None = None,
        at: Moments | None = None,
        sample_rate: int | None = None,
        ranking: str = DEFAULT_RANKING,
        offset: int = 0,
        min_score: float = -1.0,
        segments: bool = False,
        per: str | None = None,
        head: str | os.PathLike[str] | None = None,
        on_sound: OnSound = _ignore,
        on_compared: OnCompared = not_told,
    ) -> Answer:
        """Find the clips nearest to a question.

        Parameters
        ----------
        question : Sound, Stored, Embeddings, Examples, Labelled, Words, path, binary file or array
            What is no question is taken as the source of a `Sound`.
        k : int
            Clips wanted.
        vectors : float [n, dimension] or [dimension]
            In place of a question: embeddings of the library's space; see `Embeddings`.
        at, sample_rate
            Of the source; see `Sound`. A question has its own.
        ranking : str
            One of `soundsearch.asking.ranking.RANKINGS`, or ``related``: by the company that a
            clip keeps.
        offset : int
            How many of the nearest clips are passed over, for the next page.
        min_score : float
            Clips with a lower score are left out.
        segments : bool
            Find `k` segments in place of clips: all moments that are near to the mean of the
            question, of one clip or of many.
        per : str, optional
            At most so many hits of a folder, ``folder:2``, with the same tag, ``tag[artist]:1``
            (clips without it count each for itself), or of the same bytes, ``content:1``.
        head : path, optional
            The file of a head for the library's space: the labels of the answer, which are those
            of a sound that is asked with, are its. The labels of hits are the library's.
        on_sound : callable
            Called with the seconds of a file that were heard since the last call; of a long file
            from other threads.
        on_compared : callable
            Called with the number of segments of clips that were compared, and of all that are
            to be.

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
        if isinstance(question, (Stored, Embeddings, Examples, Labelled, Words)):
            check_whole(question, at, sample_rate)
        else:
            question = as_sound(cast(Sound | Source, question), at, sample_rate)
        check_ranking(ranking)
        return self._answer(
            question,
            check_k(k),
            check_offset(offset),
            ranking,
            segments,
            check_score(min_score),
            () if per is None else parse_per(per),
            self._session.head_for_questions(head),
            on_sound,
            on_compared,
        )

    @overload
    def similar(  # type: ignore[overload-overlap]  # a text is iterable, and yet one clip
        self,
        clip: ClipName,
        k: int = 10,
        *,
        ranking: str = DEFAULT_RANKING,
        offset: int = 0,
        min_score: float = -1.0,
        per: str | None = None,
        on_compared: OnCompared = not_told,
    ) -> Answer: ...

    @overload
    def similar(self, clip: Iterable[ClipName], k: int = 10) -> Neighbours: ...

    def similar(
        self,
        clip: ClipName | Iterable[ClipName],
        k: int = 10,
        *,
        ranking: str = DEFAULT_RANKING,
        offset: int = 0,
        min_score: float = -1.0,
        per: str | None = None,
        on_compared: OnCompared = not_told,
    ) -> Answer | Neighbours:
        """Find the clips nearest to one of the library, or to each of many.

        Parameters
        ----------
        clip : uri, id or Key, or an iterable of them
            Of one clip, or of many.
        k : int
            Clips wanted, for each.
        ranking, offset, min_score, per, on_compared
            See `query`; for one clip only.

        Returns
        -------
        Answer or Neighbours
            For one clip that of ``query(Stored(clip))``; for many, arrays: they are compared by
            their pooled vectors, at once.

        Raises
        ------
        ArgumentError, ClipNotFound
        """
        if not are_several(clip):
            page: dict[str, Any] = {"offset": offset, "min_score": min_score, "per": per}
            question = Stored(cast(Any, clip))
            return self.query(question, k, ranking=ranking, **page, on_compared=on_compared)
        if (ranking, offset, min_score, per) != (DEFAULT_RANKING, 0, -1, None):
            raise ArgumentError(
                "clips: expected one clip beside ranking, offset, min_score or per, got several"
            )
        return self._graph.similar(cast(Any, clip), check_k(k))

    def recommend(
        self,
        liked: Targets,
        disliked: Targets = (),
        k: int = 20,
        *,
        diversity: float = 0.3,
        weights: ArrayLike | None = None,
        half_life: float | None = None,
        exclude: Targets = (),
        per: str | None = None,
        offset: int = 0,
        min_score: float = -1.0,
    ) -> Answer:
        """Recommend clips to someone who likes some of the library.

        Liked clips that are alike make a taste, and each taste has its turn as often as its
        clips count.

        Parameters
        ----------
        liked, disliked : uris, ids or Keys of clips of the library, in the selection or not
        k : int
        diversity : float
            How unlike those before it a clip must be, 0 to 1.
        weights : sequence of float, optional
            How much each liked clip counts, such as how often it was played; at least 0.
        half_life : float, optional
            A liked clip counts half as much as one that comes so many later, the latest last.
        exclude : uris, ids or Keys
            Other clips that are not recommended, in the library or not.
        per, offset, min_score
            See `query`.

        Returns
        -------
        Answer
            Scores do not follow the ranks: each is the cosine to a taste by the company that both
            keep, less half of that to the nearest disliked clip.

        Raises
        ------
        ArgumentError, ClipNotFound
        """
        likes = Likes(liked, disliked, exclude, weights, half_life, diversity)
        wanted = check_k(k), check_offset(offset), check_score(min_score)
        limits = () if per is None else parse_per(per)
        store, graph = self._session.store, self._graph

        def answer(reading: Reading) -> Answer:
            filter = self._filter_of(reading)
            return recommended(reading, store, graph, filter, likes, *wanted, limits)

        return self._read(answer)

    def neighbours(self, k: int = 10, *, on_clips: OnClips = _ignore) -> Iterator[Neighbours]:
        """Find the clips nearest to each clip of the selection, among the others of it.

        In memory that does not grow with the number of clips: in blocks, in the order of ids.
        Clips that are added or removed meanwhile may be left out.

        Parameters
        ----------
        k : int
            Clips wanted, for each.
        on_clips : callable
            Told of how many more clips the neighbours were found.

        Yields
        ------
        Neighbours
        """
        return self._graph.all(check_k(k), on_clips)

    def duplicates(
        self, *, similar: float = 0.95, on_clips: OnClips = _ignore, on_step: OnStep = _ignore
    ) -> Duplicates:
        """Find the clips of the selection that are the same sound, and why; none is changed.

        The sounds are read again from where they are.

        Parameters
        ----------
        similar : float
            How near embeddings must be, by cosine, for a pair to be listed as merely similar; above
            1, none is.
        on_clips : callable
            Told of how many more clips the sound was read.
        on_step : callable
            Told what else is done.

        Returns
        -------
        Duplicates
        """
        from .duplicates.finding import find_duplicates

        store = self._session.store
        filter = self._filter_of(store)
        return find_duplicates(store, filter, self._graph, similar, on_clips, on_step)

    @property
    def _graph(self) -> Graph:
        return Graph(lambda: self._session.store, self._filter_of, self._read)

    def _answer(
        self,
        question: Question | Labelled | Words,
        k: int,
        offset: int,
        ranking: str,
        moments: bool,
        min_score: float,
        per: tuple[Per, ...],
        head: Head | None,
        on_sound: OnSound,
        on_compared: OnCompared,
    ) -> Answer:
        """The clips nearest to a question, or the segments where moments are wanted."""
        settings = self._session.store.settings
        preparing = Preparing(self._session, self._clip, head)
        meaning: Meaning | None = None
        if isinstance(question, (Labelled, Words)):
            if ranking == RELATED:
                raise ArgumentError("ranking: expected another than related beside a label")
            labelled, meaning = preparing.labelled(question, on_sound)
        else:
            ask, labelled = preparing.prepared(question, on_sound), None

        def answer(reading: Reading) -> Answer:
            labels, asked = (None, ask(reading)) if labelled is None else labelled(reading)
            filter = self._filter_of(reading)

            def nearest(k: int, offset: int = 0) -> list[Hit]:
                options: dict[str, Any] = {"offset": offset, "min_score": min_score}
                if not moments:
                    options["on_compared"] = on_compared
                if labels is not None:
                    what = labels, asked, k, ranking, moments, filter
                    return find_labelled(reading, settings, *what, **options)
                query = reading, settings, asked.vectors, asked.levels, k
                options["without"] = asked.clips
                if moments:
                    return find_segments(*query, filter, **options)
                if ranking == RELATED:
                    return find_related(*query, filter, **options)
                return find_hits(*query, ranking, filter, **options)

            hits, short = page(nearest, k, offset, per, moments=moments)
            warnings = asked.warning, labels.warning if labels is not None else None, short
            warning = "; ".join(w for w in warnings if w) or None
            return Answer(tuple(hits), asked.labels, warning, meaning)

        return self._read(answer)
