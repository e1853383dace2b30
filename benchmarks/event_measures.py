"""Measures of events in time, as sed_eval defines them (Mesaros, Heittola and Virtanen, 2016).

"Metrics for polyphonic sound event detection", Applied Sciences 6(6), 162. Counts are summed over
recordings and classes (micro-average).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

__all__ = ["Counts", "event_based", "segment_based"]

# A class, its onset and its offset, in seconds.
Event = tuple[str, float, float]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many there are, how many were told, and how many of these are right."""

    true: int
    told: int
    right: int

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 0 to 1; 0 where nothing is right."""
        return 2 * self.right / (self.true + self.told) if self.right else 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.true + other.true, self.told + other.told, self.right + other.right)


def event_based(
    truth: Iterable[Event], told: Iterable[Event], collar: float, *, offsets: bool
) -> Counts:
    """Compare the events of a recording.

    An event is right whose onset is at most `collar` from that of a true one of its class and,
    where `offsets` count, whose offset is at most `collar`, or half the true one's length, from
    that one's. Each true event is met once, and the matching is the one with most pairs.

    Parameters
    ----------
    truth, told : iterable of (class, onset, offset)
    collar : float
        Seconds.
    """

    def near(one: Event, other: Event) -> bool:
        (_, onset, offset), (_, told_onset, told_offset) = one, other
        slack = max(collar, 0.5 * (offset - onset))
        return abs(onset - told_onset) <= collar and (
            not offsets or abs(offset - told_offset) <= slack
        )

    return _summed(truth, told, lambda true, found: _pairs(true, found, near))


def segment_based(
    truth: Iterable[Event], told: Iterable[Event], length: float, resolution: float = 1.0
) -> Counts:
    """Compare the segments of a recording, `length` seconds long, in which classes sound.

    A class sounds in each segment of `resolution` seconds that an event of it touches.
    """

    def sounding(events: list[Event]) -> NDArray[np.bool_]:
        found = np.zeros(int(np.ceil(length / resolution)), np.bool_)
        for _, onset, offset in events:
            found[int(np.floor(onset / resolution)) : int(np.ceil(offset / resolution))] = True
        return found

    def count(true: list[Event], found: list[Event]) -> Counts:
        there, heard = sounding(true), sounding(found)
        return Counts(int(there.sum()), int(heard.sum()), int((there & heard).sum()))

    return _summed(truth, told, count)


def _summed(
    truth: Iterable[Event],
    told: Iterable[Event],
    count: Callable[[list[Event], list[Event]], Counts],
) -> Counts:
    """What is counted of each class, together."""
    classes: dict[str, tuple[list[Event], list[Event]]] = {}
    for side, events in enumerate((truth, told)):
        for event in events:
            classes.setdefault(event[0], ([], []))[side].append(event)
    return sum((count(*both) for both in classes.values()), Counts(0, 0, 0))


def _pairs(true: list[Event], found: list[Event], near: Callable[[Event, Event], bool]) -> Counts:
    table = np.array([[near(one, other) for other in found] for one in true], np.bool_)
    right = 0
    if table.any():
        right = int((maximum_bipartite_matching(csr_matrix(table)) >= 0).sum())
    return Counts(len(true), len(found), right)
