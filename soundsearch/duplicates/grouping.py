"""Groups of what was found to be the same: one clip, and those that hold no more than it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .comparing import Match
from .proposing import Content

__all__ = ["Group", "Link", "grouped"]


@dataclass(frozen=True, slots=True)
class Link:
    """One content beside another: the places of both, and how the first lies in the second.

    `match` is None where their samples are equal.
    """

    own: int
    other: int
    match: Match | None

    def turned(self) -> Link:
        """The second beside the first, where they are the same as a whole."""
        return Link(self.other, self.own, None if self.match is None else self.match.turned())


@dataclass(frozen=True, slots=True)
class Group:
    """The place of a content, and the links of those that hold no more."""

    kept: int
    links: list[Link]


class _Sets:
    """Disjoint sets of numbers."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def top(self, number: int) -> int:
        while self._above[number] != number:
            self._above[number] = self._above[self._above[number]]
            number = self._above[number]
        return number

    def join(self, one: int, other: int) -> None:
        one, other = self.top(one), self.top(other)
        self._above[max(one, other)] = min(one, other)


def grouped(
    contents: list[Content],
    links: Iterable[Link],
    again: Callable[[int, int], Link | None],
) -> list[Group]:
    """Groups of contents.

    Parameters
    ----------
    contents : list of Content
    links : iterable of Link
        What was found; those of which the first holds no more than the second count.
    again : callable
        Compares two contents that were not: gives a link from the first into the second, or None.
    """
    links = [link for link in links if link.match is None or link.match.is_within]
    sets = _Sets(len(contents))
    dull: set[int] = set()
    holds: dict[int, list[Link]] = {}
    for link in links:
        holds.setdefault(link.other, []).append(link)
        if link.match is None or link.match.is_whole:
            holds.setdefault(link.own, []).append(link.turned())
            sets.join(link.own, link.other)
            if link.match is not None and link.match.bandwidth is not None:
                own, other = link.match.bandwidth
                dull.add(link.own if own < other else link.other)
    places = sorted({each for link in links for each in (link.own, link.other)})
    longest: dict[int, float] = {}
    for place in places:
        top = sets.top(place)
        longest[top] = max(contents[place].duration, longest.get(top, 0.0))

    def first(place: int) -> tuple[float, int, bool, int, float, int]:
        # Copies that are as long but for what an encoder adds are ranked as one.
        content, top = contents[place], sets.top(place)
        return -longest[top], top, place in dull, -content.file.size, -content.duration, place

    groups = []
    taken: set[int] = set()
    for kept in sorted(places, key=first):
        if kept not in taken:
            taken.add(kept)
            groups.append(Group(kept, _held(kept, holds, taken, again)))
    return groups


def _held(
    kept: int,
    holds: Mapping[int, list[Link]],
    taken: set[int],
    again: Callable[[int, int], Link | None],
) -> list[Link]:
    """Links from what is the same as `kept`, or a part of it; none is so by way of another.

    What is a part of a part of it is compared with it as well: where each step changes a little,
    the first and the last need not be the same.
    """
    found: list[Link] = []
    asked = {kept}
    waiting = deque([kept])
    while waiting:
        here = waiting.popleft()
        for each in holds.get(here, []):
            if each.own in taken or each.own in asked:
                continue
            asked.add(each.own)
            is_told = here == kept or each.match is None
            if (link := each if is_told else again(each.own, kept)) is not None:
                taken.add(link.own)
                found.append(link)
                waiting.append(link.own)
    return found
