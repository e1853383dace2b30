"""Captions a minute, each made as soon as its minute is over, and the description of the whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..labels.timeline import Event, Timeline, in_order
from .records import Caption, Description, Share
from .scenes import of_all, scenes_in
from .sentences import caption, place_of
from .spans import covered, within

__all__ = ["Minutes", "described"]

_MINUTE = 60.0
# What is left at the end, if less than this, belongs to the minute before.
_REST = 15.0


class Minutes:
    """Events in, the captions of minutes out.

    Parameters
    ----------
    start : float
        Where the first minute begins, seconds.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._start = start
        self._place = ""
        self._recent: list[Event] = []

    def add(self, events: Iterable[Event]) -> None:
        """Take events that are over."""
        self._recent += events

    def is_over(self, heard: float) -> bool:
        """Whether there is a minute to tell of, once the sound was heard up to a moment."""
        return heard >= self._start + _MINUTE + _REST

    def told(self, going_on: Iterable[Event] = (), end: float | None = None) -> Caption:
        """The caption of the next minute.

        Parameters
        ----------
        going_on : iterable of Event
            Those that are not over yet, as far as they were heard.
        end : float, optional
            Where the sound ends, where this is its last minute.
        """
        start = self._start
        self._start = start + _MINUTE if end is None else end
        events = in_order(within([*self._recent, *going_on], start, self._start))
        self._recent = within(self._recent, self._start, float("inf"))
        scenes = scenes_in(events, start, self._start)
        place = place_of(scenes)
        # A place is told again only after another.
        is_new = place is not None and place.text != self._place
        if place is not None:
            self._place = place.text
        return caption(events, start, self._start, scenes if is_new else ())


def described(
    timeline: Timeline, start: float = 0.0, minutes: Sequence[Caption] = ()
) -> Description:
    """Describe a recording by its events.

    Parameters
    ----------
    timeline : Timeline
    start : float
        Where the part that was heard begins in the recording, seconds.
    minutes : sequence of Caption, optional
        Those of its minutes, if they were made already.
    """
    end = start + timeline.duration
    each = list(_minutes(timeline, start))
    scenes = of_all([scenes_in(events, begin, stop) for begin, stop, events in each])
    if not minutes:
        telling = Minutes(start)
        telling.add(timeline.events)
        minutes = [telling.told(end=stop if stop == end else None) for _, stop, _ in each]
    return Description(
        timeline.uri,
        timeline.duration,
        caption(timeline.events, start, end, scenes),
        tuple(minutes),
        scenes,
        _shares(timeline, start, end),
        timeline.events,
        timeline.warning,
    )


def _minutes(timeline: Timeline, start: float) -> Iterator[tuple[float, float, tuple[Event, ...]]]:
    """Each minute of a recording, and the events in it."""
    end = start + timeline.duration
    events, going_on = iter(timeline.events), list[Event]()
    coming = next(events, None)
    while True:
        stop = start + _MINUTE if start + _MINUTE + _REST <= end else end
        while coming is not None and coming.onset < stop:
            going_on.append(coming)
            coming = next(events, None)
        going_on = within(going_on, start, stop)
        yield start, stop, (*going_on,)
        if stop == end:
            return
        start = stop


def _shares(timeline: Timeline, start: float, end: float) -> tuple[Share, ...]:
    by_label: dict[tuple[str, str], list[Event]] = {}
    for event in timeline:
        by_label.setdefault((event.label.mid, event.label.name), []).append(event)
    found = []
    for events in by_label.values():
        best = max(events, key=lambda event: event.label.score)
        seconds = covered(events, start, end)
        found.append(Share(best.label, seconds, seconds / (end - start), len(events)))
    return tuple(sorted(found, key=lambda share: (-share.seconds, share.label.name)))
