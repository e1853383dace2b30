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
    for link in links:
        if link.match is None or link.match.is_whole:
            sets.join(link.own, link.other)
            if link.match is not None and link.match.bandwidth is not None:
                own, other = link.match.bandwidth
                dull.add(link.own if own < other else link.other)
    members: dict[int, list[int]] = {}
    for place in sorted({each for link in links for each in (link.own, link.other)}):
        members.setdefault(sets.top(place), []).append(place)

    def worth(place: int) -> tuple[bool, int, float, int]:
        content = contents[place]
        return place not in dull, content.file.size, content.duration, -place

    best = {top: max(places, key=worth) for top, places in members.items()}
    lies_in: dict[int, list[Link]] = {}
    whole: dict[int, list[Link]] = {}
    for link in links:
        if link.match is None or link.match.is_whole:
            whole.setdefault(link.own, []).append(link)
            whole.setdefault(link.other, []).append(link)
        elif sets.top(link.own) != sets.top(link.other):
            lies_in.setdefault(sets.top(link.other), []).append(link)
    groups = []
    taken: set[int] = set()

    def longest(top: int) -> tuple[float, int]:
        return -max(contents[place].duration for place in members[top]), top

    for top in sorted(members, key=longest):
        if top in taken:
            continue
        taken.add(top)
        kept = best[top]
        held: list[Link] = []
        waiting = [(top, kept)]
        while waiting:
            here, root = waiting.pop()
            held += _reached(root, members[here], whole, again)
            for link in sorted(lies_in.get(here, []), key=lambda each: each.own):
                below = sets.top(link.own)
                if below not in taken:
                    taken.add(below)
                    if link.other != kept:
                        link = again(link.own, kept) or link
                    held.append(link)
                    waiting.append((below, link.own))
        groups.append(Group(kept, held))
    return groups


def _reached(
    root: int,
    members: list[int],
    whole: Mapping[int, list[Link]],
    again: Callable[[int, int], Link | None],
) -> list[Link]:
    """How each of some contents that are the same lies in the `root`, or in one that does."""
    left, found, waiting = {*members} - {root}, [], deque([root])
    while waiting:
        here = waiting.popleft()
        for link in whole.get(here, []):
            link = link if link.other == here else link.turned()
            if link.own in left:
                left.discard(link.own)
                waiting.append(link.own)
                is_told = here == root or link.match is None
                found.append(link if is_told else again(link.own, root) or link)
    return found
