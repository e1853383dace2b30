"""Events as stretches of time."""

from __future__ import annotations

from collections.abc import Iterable

from ..labels.timeline import Event, in_order

__all__ = ["covered", "stretches", "within"]


def within(events: Iterable[Event], start: float, end: float) -> list[Event]:
    """Those that are heard between two moments, seconds."""
    return [event for event in events if event.onset < end and event.offset > start]


def stretches(events: Iterable[Event], apart: float = 0.0) -> list[tuple[float, float]]:
    """From when to when one of some events is heard, ascending; those less `apart` are one."""
    found: list[tuple[float, float]] = []
    for event in in_order(events):
        if found and event.onset - found[-1][1] <= apart:
            found[-1] = found[-1][0], max(found[-1][1], event.offset)
        else:
            found.append((event.onset, event.offset))
    return found


def covered(events: Iterable[Event], start: float, end: float) -> float:
    """For how many seconds between two moments one of some events is heard."""
    spans = stretches(events)
    return sum(max(min(offset, end) - max(onset, start), 0.0) for onset, offset in spans)
