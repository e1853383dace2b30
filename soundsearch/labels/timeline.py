"""Events in time, from the scores of a sound's segments as they come.

A class is on from the segment where its score reaches `OFF` to the last before it stays below for
more than `GAP`; where it reached `ON` meanwhile, that is an event. Two thresholds (a hysteresis)
keep a score that wavers about one from tearing a sound into pieces, and gaps that are passed over
smooth what is left. Silence has no gaps: it ends where something is heard.

A class never scores below one beneath it in the ontology, so an event of a class spans those of the
classes beneath. Where these cover half of it, only they are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..results import Label
from .head import SILENCE
from .ontology import CLASSES, ontology
from .vocabulary import Vocabulary

__all__ = [
    "GAP",
    "OFF",
    "ON",
    "Event",
    "Timeline",
    "Tracker",
    "classes_above",
    "in_order",
    "silence_class",
]

# Chosen on folds 1 and 2 of ESC-50 by `benchmarks.events`, one set for all classes and hops.
ON, OFF = 0.4, 0.1
GAP = 1.0  # seconds
# An event is left out where those of classes beneath it cover this share of it.
_EXPLAINED = 0.5


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """A label with the stretch of a recording in which it is heard.

    Attributes
    ----------
    onset, offset : float
        Seconds from the start of the recording; the offset comes later.
    label : Label
        With the score of the best segment.
    """

    onset: float
    offset: float
    label: Label

    def __repr__(self) -> str:
        return f"<Event {self.onset:.2f}-{self.offset:.2f} s: {self.label!r}>"

    def to_dict(self) -> dict[str, Any]:
        return {
            "onset": round(self.onset, 3),
            "offset": round(self.offset, 3),
            "label": self.label.to_dict(),
        }


@dataclass(frozen=True, slots=True, repr=False)
class Timeline:
    """The events of a recording by their onsets; they may overlap. Iterates over them.

    Attributes
    ----------
    uri : str
        An absolute path or a URL; "" for what is neither.
    events : tuple of Event
    duration : float
        Seconds that were heard.
    warning : str or None
        Why there may be less sound than promised.
    """

    uri: str
    events: tuple[Event, ...]
    duration: float
    warning: str | None = None

    def __repr__(self) -> str:
        events = "".join(f"\n  {event!r}" for event in self.events)
        return f"<Timeline of {self.duration:.2f} s, {len(self.events)} events{events}>"

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def __getitem__(self, index: int) -> Event:
        return self.events[index]


def in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """Events by their onsets, each once."""
    each = dict.fromkeys(events)
    return tuple(sorted(each, key=lambda event: (event.onset, event.offset, event.label.name)))


@dataclass(slots=True)
class _Open:
    """A class that is on: its first and its last segment so far, and its best score.

    `covered` are stretches of segments with events of classes beneath it, ascending and apart.
    """

    first: int
    last: int
    best: float
    covered: list[tuple[int, int]] = field(default_factory=list)

    def cover(self, first: int, last: int) -> None:
        while self.covered and self.covered[-1][1] >= first - 1:
            begin, end = self.covered.pop()
            first, last = min(first, begin), max(last, end)
        self.covered.append((first, last))

    def is_explained(self) -> bool:
        covered = sum(last - first + 1 for first, last in self.covered)
        return covered >= _EXPLAINED * (self.last - self.first + 1)


class Tracker:
    """Scores of segments in, events out, each as soon as it is over.

    What is kept does not grow with the sound, but for a pair of numbers for each event beneath a
    class that stays on.

    Parameters
    ----------
    vocabulary : Vocabulary
        What the columns of scores are.
    hop, length : float
        Seconds from one segment's start to the next one's, and of a segment. Each stands for the
        `hop` seconds in its middle; the first also for what is before, the last for what is after.
    start : float
        Where the first segment begins, seconds.
    on, off : float
        The score that makes an event, and that to which it lasts.
    gap : float
        Seconds below `off` that do not end it.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        hop: float,
        length: float,
        start: float = 0.0,
        *,
        on: float = ON,
        off: float = OFF,
        gap: float = GAP,
    ) -> None:
        self._vocabulary = vocabulary
        self._hop, self._length, self._start = hop, length, start
        self._on, self._off = on, off
        self._gap = int(gap / hop + 1e-6)
        self._count = 0
        self._open: dict[int, _Open] = {}

    def push(self, scores: NDArray[np.float32]) -> Iterator[Event]:
        """Take the scores of the next segments, float32 [n, classes]; give the events that end.

        What is given is made while it is asked for.
        """
        rows, columns = np.nonzero(scores >= self._off)
        edges = np.searchsorted(rows, np.arange(len(scores) + 1))
        values = scores[rows, columns].tolist()
        classes = columns.tolist()
        for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            for index, score in zip(classes[begin:end], values[begin:end], strict=True):
                if (is_on := self._open.get(index)) is None:
                    self._open[index] = _Open(self._count, self._count, score)
                else:
                    is_on.last, is_on.best = self._count, max(is_on.best, score)
            self._count += 1
            yield from self._ended(self._count - 1 - self._gap)

    def finish(self, duration: float) -> Iterator[Event]:
        """Give the events that last to the end of the sound, which is `duration` seconds long."""
        for event in self._ended(self._count):
            yield Event(event.onset, min(event.offset, self._start + duration), event.label)

    def so_far(self) -> Iterator[Event]:
        """Give the events that would be, if the sound ended here; nothing is ended by that."""
        ending = copy(self)
        ending._open = {
            index: replace(is_on, covered=[*is_on.covered]) for index, is_on in self._open.items()
        }
        return ending.finish(float("inf"))

    def _ended(self, before: int) -> Iterator[Event]:
        """Close the classes whose last segment is before this one."""
        limits = {silence_class(): max(before, self._count - 1)}
        over = [i for i, is_on in self._open.items() if is_on.last < limits.get(i, before)]
        # Those beneath first: an event may end with one that it explains.
        for index in sorted(over, key=lambda index: (-len(classes_above(index)), index)):
            is_on = self._open.pop(index)
            if is_on.best < self._on:
                continue
            for above in classes_above(index):
                if above in self._open:
                    self._open[above].cover(is_on.first, is_on.last)
            if not is_on.is_explained():
                yield self._event(index, is_on)

    def _event(self, index: int, is_on: _Open) -> Event:
        onset = self._hop * is_on.first
        offset = self._hop * is_on.last + self._length
        margin = (self._length - self._hop) / 2
        if is_on.first > 0:
            onset += margin
        if is_on.last < self._count - 1:
            offset -= margin
        label = self._vocabulary.label(index, is_on.best)
        return Event(self._start + onset, self._start + offset, label)


@cache
def silence_class() -> int | None:
    """The index of the class Silence."""
    return ontology().nodes[SILENCE].class_index


@cache
def classes_above(index: int) -> tuple[int, ...]:
    """The indices of the classes above a class."""
    if index >= CLASSES:
        return ()
    table = ontology()
    above = (table.nodes[mid].class_index for mid in table.ancestors(table.classes[index].mid))
    return tuple(each for each in above if each is not None)
