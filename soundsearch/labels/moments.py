"""When sounds begin and end, told while they are heard.

A class is on as in `timeline`: from the segment where its score reaches `OFF` to the last before it
stays below for more than `GAP`, if it reaches `ON` meanwhile. Here it begins to be told where it
reaches `ON`, as nobody knows what follows; and its values are others, since a segment that ends now
is heard without what comes after it, and an end is told only when the gap is over.

Of a class and one beneath it that are on at once, only the one beneath is told. What was told
before the one beneath was on ends then, and names it: the same sound, told more exactly. It begins
again if it is heard at `ON` when nothing beneath it is on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..results import Label
from .timeline import classes_above, silence_class
from .vocabulary import Vocabulary

__all__ = ["GAP", "HOP", "OFF", "ON", "Began", "Ended", "Teller"]

# Chosen on folds 1 and 2 of ESC-50 by `benchmarks.live`, one set for all classes.
ON, OFF = 0.5, 0.15
GAP, HOP = 0.24, 0.24  # seconds


@dataclass(frozen=True, slots=True, repr=False)
class Began:
    """A sound that began.

    Attributes
    ----------
    onset : float
        Seconds from the start of the stream.
    label : Label
        With the score that made it known.
    heard : float
        How many seconds of the stream were heard when this was told.
    """

    onset: float
    label: Label
    heard: float

    def __repr__(self) -> str:
        return f"<Began {self.onset:.2f} s: {self.label!r}>"

    def to_dict(self) -> dict[str, Any]:
        return {
            "moment": "began",
            "onset": round(self.onset, 3),
            "label": self.label.to_dict(),
            "heard": round(self.heard, 3),
        }


@dataclass(frozen=True, slots=True, repr=False)
class Ended:
    """A sound that ended; it began before.

    Attributes
    ----------
    onset, offset : float
        Seconds from the start of the stream.
    label : Label
        With the score of the best segment.
    heard : float
        How many seconds of the stream were heard when this was told.
    told_as : Label or None
        The class beneath as which it is told from here on: the sound goes on.
    """

    onset: float
    offset: float
    label: Label
    heard: float
    told_as: Label | None = None

    def __repr__(self) -> str:
        return f"<Ended {self.onset:.2f}-{self.offset:.2f} s: {self.label!r}>"

    def to_dict(self) -> dict[str, Any]:
        return {
            "moment": "ended",
            "onset": round(self.onset, 3),
            "offset": round(self.offset, 3),
            "label": self.label.to_dict(),
            "heard": round(self.heard, 3),
            **({"told_as": self.told_as.name} if self.told_as else {}),
        }


@dataclass(slots=True)
class _Open:
    """A class that may be on: its segments so far, and where it was told to begin."""

    first: int
    last: int
    best: float
    told: int | None = None


class Teller:
    """Scores of segments in; what begins and ends out, as soon as it is known.

    What is kept does not grow with the sound.

    Parameters
    ----------
    vocabulary : Vocabulary
        What the columns of scores are.
    hop, length : float
        Seconds from one segment's start to the next one's, and of a segment. Each stands for the
        `hop` seconds in its middle; the first also for what is before, the last for what is after.
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
        *,
        on: float = ON,
        off: float = OFF,
        gap: float = GAP,
    ) -> None:
        self._vocabulary = vocabulary
        self._hop, self._length = hop, length
        self._on, self._off = on, off
        self._gap = int(gap / hop + 1e-6)
        self._count = 0
        self._open: dict[int, _Open] = {}

    def push(self, scores: NDArray[np.float32]) -> Iterator[Began | Ended]:
        """Take the scores of the next segments, float32 [n, classes]; tell what they make known.

        What is told is made while it is asked for.
        """
        for row in scores:
            now = np.flatnonzero(row >= self._off).tolist()
            for index, score in zip(now, row[now].tolist(), strict=True):
                if (is_open := self._open.get(index)) is None:
                    self._open[index] = _Open(self._count, self._count, score)
                else:
                    is_open.last, is_open.best = self._count, max(is_open.best, score)
            self._count += 1
            yield from self._over()
            yield from self._changed(row)

    def finish(self, duration: float) -> Iterator[Ended]:
        """End what is on with the sound, which is `duration` seconds long."""
        for index, is_open in self._open.items():
            if is_open.told is not None:
                to_the_end = is_open.last == self._count - 1
                yield self._ended(index, is_open, duration if to_the_end else None, duration)
        self._open.clear()

    def _over(self) -> Iterator[Ended]:
        """End the classes that were below for longer than the gap."""
        newest = self._count - 1
        over = [
            index
            for index, is_open in self._open.items()
            if newest - is_open.last > (0 if index == silence_class() else self._gap)
        ]
        for index in over:
            is_open = self._open.pop(index)
            if is_open.told is not None:
                yield self._ended(index, is_open)

    def _changed(self, row: NDArray[np.float32]) -> Iterator[Began | Ended]:
        """Begin what is on, and end what a class beneath stands for from now on."""
        on = {index for index, is_open in self._open.items() if is_open.best >= self._on}
        beneath: dict[int, int] = {}
        for index in on:
            for above in classes_above(index):
                if above in on and row[index] >= row[beneath.get(above, index)]:
                    beneath[above] = index
        for index in sorted(on):
            is_open = self._open[index]
            if index in beneath:
                if is_open.told is not None:
                    better = self._vocabulary.label(beneath[index], float(row[beneath[index]]))
                    yield self._ended(index, is_open, told_as=better)
                    is_open.told = None
                is_open.first = self._count  # where it may begin again
            elif is_open.told is None and row[index] >= self._on:
                is_open.told = min(is_open.first, self._count - 1)
                is_open.best = float(row[index])
                label = self._vocabulary.label(index, is_open.best)
                yield Began(self._onset(is_open.told), label, self._heard())

    def _heard(self) -> float:
        return self._hop * (self._count - 1) + self._length

    def _onset(self, number: int) -> float:
        return self._hop * number + (self._length - self._hop) / 2 if number else 0.0

    def _ended(
        self,
        index: int,
        is_open: _Open,
        offset: float | None = None,
        heard: float | None = None,
        told_as: Label | None = None,
    ) -> Ended:
        assert is_open.told is not None
        if offset is None:
            offset = self._hop * is_open.last + (self._length + self._hop) / 2
        heard = self._heard() if heard is None else heard
        label = self._vocabulary.label(index, is_open.best)
        return Ended(self._onset(is_open.told), min(offset, heard), label, heard, told_as)
