"""Teaching in the loop: a head of one class, which asks what would help it most."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import pipeline
from soundsearch_ingest.logmel import SILENT

from ..asking.questions import Sound
from ..clips import Clips
from ..errors import ArgumentError, ClipNotFound, SoundsearchError
from ..gathering import label_scores, portions
from ..hints import command
from ..labels.head import HeadSpec, write_head
from ..labels.kept import vocabulary_of
from ..labels.vocabulary import class_of
from ..stores.base import Reading
from ..stores.records import StoredClip
from ..tags import Tagging
from ..vectors import loudness_weights, sounding, unit
from .bags import Bags, balanced_weights
from .choosing import asked_first, asked_next
from .data import Material, canonical, read_bags, similar
from .fitting import Recipe
from .folds import dealt
from .training import Trained, check_output, how_made, trained

__all__ = ["TAG", "Offer", "Standing", "Teaching", "taught"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# What the tags begin with that hold the answers.
TAG = "teach:"

_RECIPE = Recipe("sigmoid")
# From so many answers of either kind on, folds of them choose the penalty and calibrate.
_FOLDS = 5
_SURE = 0.9


@dataclass(frozen=True, slots=True)
class Offer:
    """A clip to ask about.

    Attributes
    ----------
    uri : str
    start, end : float
        Seconds: the moment that speaks most for the class.
    score : float or None
        Of the clip, in [0, 1]; None while there is no head.
    """

    uri: str
    start: float
    end: float
    score: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far teaching has come.

    Attributes
    ----------
    yes, no : int
        Answers.
    clips : int
        All others, near-silent ones left out.
    sure_yes, sure_no : int or None
        How many of these score at least 0.9, or at most 0.1. None while there are fewer than five
        answers of either kind: nothing says then how far a score can be believed.
    """

    yes: int
    no: int
    clips: int
    sure_yes: int | None
    sure_no: int | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def taught(bags: Bags) -> Trained:
    """Train a logistic regression with the clips that were answered.

    Parameters
    ----------
    bags : Bags
        Targets are 1 or 0, of one class; there are both. Their weights are not looked at: both
        kinds of answers count alike.
    """
    targets = bags.targets
    bags = replace(bags, weights=balanced_weights(targets, one_label=False))
    both = np.hstack([targets, 1 - targets])
    folds = None
    if both.sum(0).min() >= _FOLDS:
        folds = dealt(both, np.arange(len(bags)), _FOLDS, _RECIPE.seed)
    return trained(_RECIPE, bags, folds, lambda _text: None)


class Teaching:
    """Teaches a head one class, by answers to whether it can be heard in clips.

    Each answer is kept at once, as the tag ``teach:LABEL`` of its clip, so that another session
    goes on where this one ended. The clips are read once; those that come later are not asked
    about.

    Parameters
    ----------
    clips : Clips
        A library, or a selection of one.
    label : str
        What AudioSet has a class for, by name in any case or id, is that class.
    like : str or path, optional
        A clip of the library, or a sound file, of the class: what is asked about first is like it.
        Without it, what the library's head knows of the label says so, if it does.

    Attributes
    ----------
    label : str
        By AudioSet's own name where it is one of its classes.
    tag : str
        Whose values are the answers.
    warning : str or None
        What may be wrong with the label.

    Raises
    ------
    ArgumentError
        The label cannot be one, or no clip sounds.
    AudioError
        `like` gives no sound.
    """

    def __init__(
        self, clips: Clips, label: str, *, like: str | os.PathLike[str] | None = None
    ) -> None:
        [self.label] = canonical([_stripped(label)], False).values()
        self.warning = None
        if class_of(self.label) is None and (near := similar(self.label)):
            self.warning = f"is none of AudioSet's classes{near}; it is taught as one of your own"
        self._clips = clips
        self._session = clips._session
        store = self._session.store
        there = list(store.clips(clips._filter_of(store)))
        read = [
            clips._read(partial(read_bags, clips=part, unit=False, whole=True))
            for part in portions(there)
        ]
        sounding_ones = np.concatenate([kept for _, kept in read] or [np.zeros(0, np.bool_)])
        if not sounding_ones.any():
            raise ArgumentError(
                f"{store.address}: expected clips that sound to ask about, got none; add some: "
                f"{command('ingest FOLDER', store.address)}"
            )
        there = [clip for clip, sounds in zip(there, sounding_ones, strict=True) if sounds]
        self._means = np.concatenate([bags.vectors.astype(np.float32) for bags, _ in read])
        self._units = unit(self._means)
        self._ids = [clip.id for clip in there]
        self._uris = [clip.uri for clip in there]
        self._rows = {uri: row for row, uri in enumerate(self._uris)}
        self.tag = _tag(there, self.label)
        given = ((row, clip.record.tags.get(self.tag)) for row, clip in enumerate(there))
        self._answers = {row: answer for row, answer in given if isinstance(answer, bool)}
        self._passed: set[int] = set()
        self._like = None if like is None else self._heard(os.fspath(like))
        self._reached: Ints | None = None
        self._likeness = self._likely(there)
        self._trained: Trained | None = None
        self._learnt: dict[int, bool] = {}

    def __repr__(self) -> str:
        return f"<Teaching {self.label!r}, {len(self._answers)} answers>"

    @property
    def answers(self) -> dict[str, bool]:
        """The answers by the uris of clips, those of earlier sessions first."""
        return {self._uris[row]: answer for row, answer in self._answers.items()}

    def offers(self, count: int = 5) -> list[Offer]:
        """The clips to ask about next, after training with all answers so far.

        Parameters
        ----------
        count : int

        Returns
        -------
        list of Offer
            At most `count`, none that was answered or skipped; the same ones until there is
            another answer. Empty when there are no more.

        Raises
        ------
        ArgumentError
            `count` is not at least 1.
        KeyboardInterrupt
            A Ctrl-C came in training.
        """
        if count < 1:
            raise ArgumentError(f"offers: expected how many are wanted, at least 1, got {count}")
        while True:
            done = {*self._answers, *self._passed}
            rows = np.array([row for row in range(len(self._uris)) if row not in done], np.int64)
            logits = self._logits()
            if logits is None:
                yes, no = (np.array(self._answered(kind), np.int64) for kind in (True, False))
                chosen = asked_first(self._units, self._likeness, yes, no, rows, count)
            else:
                chosen = asked_next(self._units, logits, rows, count)
            found = self._clips._read(partial(self._offered, rows=chosen.tolist(), logits=logits))
            if len(found) == len(chosen):
                return found
            # Some were removed meanwhile.
            there = {offer.uri for offer in found}
            self._passed.update(row for row in chosen.tolist() if self._uris[row] not in there)

    def answer(self, uri: str | os.PathLike[str], is_heard: bool) -> str:
        """Say whether the class can be heard in a clip; a later answer replaces an earlier one.

        Parameters
        ----------
        uri : str or path
            Of any clip that may be asked about.
        is_heard : bool

        Returns
        -------
        str
            The uri as the library has it.

        Raises
        ------
        ClipNotFound
            It is not in the library, not in the selection, or near-silent.
        LibraryBusy
            Another process is writing to the library.
        """
        row = self._row(uri)
        name = self._uris[row]
        with self._session.writing() as store:
            report = Tagging({name: {self.tag: bool(is_heard)}}).apply(store)
        if report.unknown:
            raise ClipNotFound(f"{name}: was removed from the library meanwhile")
        self._answers[row] = bool(is_heard)
        self._passed.discard(row)
        return name

    def skip(self, uri: str | os.PathLike[str]) -> str:
        """Do not ask about a clip again in this session; parameters as in `answer`."""
        row = self._row(uri)
        self._passed.add(row)
        return self._uris[row]

    def standing(self) -> Standing:
        """How far it is, after training with all answers so far."""
        yes, no = len(self._answered(True)), len(self._answered(False))
        logits = self._logits()
        others = len(self._uris) - yes - no
        if logits is None or self._trained is None or self._trained.calibration is None:
            return Standing(yes, no, others, None, None)
        left = np.delete(logits, list(self._answers))
        bound = np.log(_SURE / (1 - _SURE))
        return Standing(yes, no, others, int((left >= bound).sum()), int((left <= -bound).sum()))

    def head(self) -> HeadSpec:
        """The head of all answers so far.

        Raises
        ------
        SoundsearchError
            There is no answer of one kind.
        """
        yes, no = self._answered(True), self._answered(False)
        self._logits()
        if self._trained is None:
            raise SoundsearchError(
                f"{self.label}: expected at least one clip in which it can be heard and one in "
                f"which it cannot, got {len(yes)} and {len(no)}; the answers are kept: go on with "
                "the same command"
            )
        settings = self._session.store.settings
        [(weight, bias)] = self._trained.model.layers
        rows = list(self._answers)
        material = Material(
            self._bags(rows), tuple(self._uris[row] for row in rows), (self.label,), False, ()
        )
        return HeadSpec(
            space=settings.space,
            layers=((weight.astype(np.float32), bias.astype(np.float32)),),
            names=(self.label,),
            pooling="mean",
            made={
                "encoder": settings.encoder,
                "balanced": True,
                "taught": {"yes": len(yes), "no": len(no)},
                **how_made(_RECIPE, material, self._trained, None),
            },
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the head's file; what is there is replaced once all is written.

        Raises
        ------
        ArgumentError
            The file cannot be written.
        SoundsearchError
            There is no answer of one kind.
        """
        write_head(check_output(path), self.head())

    def _answered(self, kind: bool) -> list[int]:
        return [row for row, answer in self._answers.items() if answer is kind]

    def _row(self, uri: str | os.PathLike[str]) -> int:
        row = self._rows.get(os.fspath(uri))
        if row is None:
            row = self._rows.get(self._clips.clip(os.fspath(uri)).uri)
        if row is None:
            raise ClipNotFound(
                f"{os.fspath(uri)}: expected a clip of those to ask about, got one that is "
                "near-silent, outside the selection, or was added later"
            )
        return row

    def _bags(self, rows: Sequence[int]) -> Bags:
        count = len(rows)
        targets = np.array([[float(self._answers[row])] for row in rows])
        vectors = self._means[list(rows)].astype(np.float64)
        return Bags(vectors, np.ones(count), np.arange(count), targets, np.ones((count, 1)))

    def _logits(self) -> Floats | None:
        """What the model makes of all clips, float64 [clips]; None where there can be none."""
        if len(set(self._answers.values())) < 2:
            self._trained = None
            return None
        if self._trained is None or self._learnt != self._answers:
            # In one order, whatever the session: the same answers give the same head.
            done = taught(self._bags(sorted(self._answers)))
            if done.was_stopped:
                raise KeyboardInterrupt
            self._trained, self._learnt = done, dict(self._answers)
        [(weight, bias)] = self._trained.model.layers
        logits: Floats = self._means @ weight[0] + bias[0]
        return logits

    def _offered(self, reading: Reading, rows: list[int], logits: Floats | None) -> list[Offer]:
        """Those of some clips that are still there, each with the moment to listen to."""
        settings = self._session.store.settings
        there = reading.clips_by_id([self._ids[row] for row in rows])
        found = []
        for row in rows:
            clip = there.get(self._ids[row])
            if clip is None or clip.uri != self._uris[row]:
                continue
            vectors, segments = reading.rows([(clip.id, 0, clip.count)])
            speaks = self._speaking(vectors, segments)
            levels = segments["level"]
            with np.errstate(invalid="ignore"):  # what a disk damaged
                speaks = np.where((levels >= SILENT) & np.isfinite(speaks), speaks, -np.inf)
            start = int(np.lexsort((levels, speaks))[-1]) * settings.hop
            end = min(start + settings.segment_seconds, max(clip.record.duration, start))
            score = None if logits is None else float(1 / (1 + np.exp(-logits[row])))
            found.append(Offer(clip.uri, start, end, score))
        return found

    def _speaking(self, vectors: NDArray[np.float32], segments: NDArray[np.void]) -> Floats:
        """How much each segment speaks for the class, as far as anything is known of that."""
        if self._trained is not None:
            [(weight, _)] = self._trained.model.layers
            return np.asarray(vectors @ weight[0])
        if self._like is not None:
            return np.asarray(unit(vectors) @ self._like, np.float64)
        if self._reached is None:
            return np.zeros(len(vectors))
        labels = segments["labels"]
        is_one = np.isin(labels["class_index"], self._reached)
        highest: Floats = np.where(is_one, labels["score"], 0).max(1).astype(np.float64)
        return highest

    def _likely(self, there: Sequence[StoredClip]) -> Floats | None:
        """How likely each clip is of the class, if anything is known of that."""
        if self._like is not None:
            return np.asarray(self._units @ self._like, np.float64)
        vocabulary = vocabulary_of(self._session.store)
        try:
            index = vocabulary.index(self.label)
        except ValueError:  # a class of one's own that the library's head does not know
            return None
        self._reached = np.flatnonzero(vocabulary.reached()[index])
        parts = [label_scores(part, vocabulary)[:, index] for part in portions(there)]
        scores = np.concatenate(parts).astype(np.float64)
        return scores if scores.any() else None

    def _heard(self, like: str) -> NDArray[np.float32]:
        """The direction of what the clips are to be like, float32 [dimension]."""
        try:
            mean = self._clips.vectors([like])[0]
        except ClipNotFound:
            listener = self._session.listener(pipeline.available_cores())
            heard = listener.hear(Sound(like), self._session.store.settings.hop)
            vectors, levels = sounding(heard.vectors, heard.levels)
            mean = (vectors * loudness_weights(levels)[:, None]).sum(0)
        direction: NDArray[np.float32] = unit(np.asarray(mean, np.float32)[None])[0]
        return direction


def _stripped(label: Any) -> Any:
    return label.strip() if isinstance(label, str) else label


def _tag(clips: Sequence[StoredClip], label: str) -> str:
    """The tag of the answers: in the case in which an earlier session has it."""
    wanted = f"{TAG}{label}"
    for clip in clips:
        for key in clip.record.tags:
            if key.lower() == wanted.lower():
                return key
    return wanted
