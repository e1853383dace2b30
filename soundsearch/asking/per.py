"""At most so many hits of a folder, of clips with the same tag, or of files that are the same."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from soundsearch_ingest.urls import folder

from ..errors import ArgumentError
from ..results import Hit

__all__ = ["Per", "at_most", "page", "parse_per"]

# How many of the nearest are looked at: at first, by which factor more while these are too few, and
# at most, or `_WIDEN` times as many as are wanted. Always the same numbers, so that pages that are
# asked for one by one are parts of one list.
_FIRST = 100
_WIDEN = 8
_MOST = 6400

_TEXT = re.compile(
    r"(?:folder|(?P<content>content)|tag\[(?P<key>.+)\]):(?P<count>[0-9]+)", re.DOTALL
)
# Between two limits.
_COMMA = re.compile(r",\s*(?=folder:|content:|tag\[)")


@dataclass(frozen=True, slots=True)
class Per:
    """At most `count` clips of a folder, with the same tag (`key`) or with the same bytes."""

    key: str | None
    count: int
    is_content: bool = False

    def group(self, clip: Hit) -> Hashable | None:
        """What a clip shares with others; None where it has no such tag, or is in no folder."""
        if self.is_content:
            return clip.digest or None
        if self.key is None:
            return folder(clip.uri) or None
        value = clip.tags.get(self.key)
        # A number and a truth value may be equal.
        return None if value is None else (isinstance(value, bool), value)


def parse_per(text: str) -> tuple[Per, ...]:
    """``folder:2``, ``tag[artist]:1``, ``content:1`` or several, ``folder:2, content:1``.

    Raises
    ------
    ArgumentError
        The text is none of these.
    """
    found = [_TEXT.fullmatch(part) for part in _COMMA.split(text)] if isinstance(text, str) else []
    limits = [_limit(part) for part in found if part is not None and int(part["count"]) >= 1]
    if not limits or len(limits) < len(found):
        raise ArgumentError(
            "per: expected at most how many hits of a folder, with the same tag or of the same "
            f"content, as in folder:2 or tag[artist]:1 or folder:2, content:1, got {text!r}"
        )
    return tuple(limits)


def _limit(found: re.Match[str]) -> Per:
    key = found["key"]
    if key is not None and key[0] in "'\"" and key[-1] == key[0] and len(key) > 2:
        key = key[1:-1]  # as in a filter
    return Per(key, int(found["count"]), found["content"] is not None)


def at_most(hits: Iterable[Hit], *limits: Per) -> Iterator[Hit]:
    """Those of some hits, best first, that are among the first of each of their groups.

    Where a hit has no such group, it is let through. Moments of one clip are no copies of it.
    """
    members: defaultdict[Hashable, set[int]] = defaultdict(set)
    for number, hit in enumerate(hits):
        groups = [
            (members[per, group], hit.clip_id if per.is_content else number, per.count)
            for per in limits
            if (group := per.group(hit)) is not None
        ]
        if all(member in known or len(known) < count for known, member, count in groups):
            for known, member, _ in groups:
                known.add(member)
            yield hit


def page(
    nearest: Callable[..., list[Hit]],
    k: int,
    offset: int,
    per: tuple[Per, ...],
    *,
    moments: bool = False,
) -> tuple[list[Hit], str | None]:
    """A page of a list of hits, with at most so many of a group.

    Parameters
    ----------
    nearest : callable
        Gives so many hits, best first, or all there are; from an offset on, if it is given one.
    k, offset : int
        Hits wanted, and passed over.
    per : tuple of Per
        All of which hold.
    moments : bool
        Whether a clip may be hit several times, at other moments.

    Returns
    -------
    list of Hit
        Numbered from `offset` + 1.
    str or None
        Why there may be more hits than were found.
    """
    if not per:
        return nearest(k, offset), None
    wanted = offset + k
    most = max(_MOST, _WIDEN * wanted)
    count, was_cut = _FIRST, False

    def widened() -> Iterator[Hit]:
        nonlocal count, was_cut
        seen: set[object] = set()
        while True:
            hits = nearest(count)
            for hit in hits:
                # Those that a wider search finds late stay behind those that were given before.
                place = (hit.clip_id, hit.start) if moments else hit.clip_id
                if place not in seen:
                    seen.add(place)
                    yield hit
            was_cut = len(hits) >= count >= most
            if len(hits) < count or was_cut:
                return
            count *= _WIDEN

    hits = list(islice(at_most(widened(), *per), offset, wanted))
    warning = None
    if was_cut and len(hits) < k:
        warning = f"only the first {count} were looked at, before per; there may be more hits"
    return [replace(hit, rank=rank) for rank, hit in enumerate(hits, offset + 1)], warning
