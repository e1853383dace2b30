"""At most so many hits of a folder, or of clips with the same tag."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol, TypeVar

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

_TEXT = re.compile(r"(?:folder|tag\[(?P<key>.+)\]):(?P<count>[0-9]+)", re.DOTALL)


class _Placed(Protocol):
    """A clip or a hit."""

    @property
    def uri(self) -> str: ...
    @property
    def tags(self) -> Mapping[str, Any]: ...


_Clip = TypeVar("_Clip", bound=_Placed)


@dataclass(frozen=True, slots=True)
class Per:
    """At most `count` clips of a folder or, with a `key`, of those that have the same tag."""

    key: str | None
    count: int

    def group(self, clip: _Placed) -> Hashable | None:
        """What a clip shares with others; None where it has no such tag, or is in no folder."""
        if self.key is None:
            return folder(clip.uri) or None
        value = clip.tags.get(self.key)
        # A number and a truth value may be equal.
        return None if value is None else (isinstance(value, bool), value)


def parse_per(text: str) -> Per:
    """``folder:2`` or ``tag[artist]:1`` as a `Per`.

    Raises
    ------
    ArgumentError
        The text is neither.
    """
    found = _TEXT.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found["count"]) < 1:
        raise ArgumentError(
            "per: expected at most how many hits of a folder or with the same tag, as in folder:2 "
            f"or tag[artist]:1, got {text!r}"
        )
    key = found["key"]
    if key is not None and key[0] in "'\"" and key[-1] == key[0] and len(key) > 2:
        key = key[1:-1]  # as in a filter
    return Per(key, int(found["count"]))


def at_most(clips: Iterable[_Clip], per: Per) -> Iterator[_Clip]:
    """Those of some clips or hits, best first, that are among the first of their group.

    One that has no group is let through.
    """
    counts: Counter[Hashable] = Counter()
    for clip in clips:
        group = per.group(clip)
        counts[group] += 1
        if group is None or counts[group] <= per.count:
            yield clip


def page(
    nearest: Callable[..., list[Hit]],
    k: int,
    offset: int,
    per: Per | None,
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
    per : Per or None
    moments : bool
        Whether a clip may be hit several times, at other moments.

    Returns
    -------
    list of Hit
        Numbered from `offset` + 1.
    str or None
        Why there may be more hits than were found.
    """
    if per is None:
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

    hits = list(islice(at_most(widened(), per), offset, wanted))
    warning = None
    if was_cut and len(hits) < k:
        warning = f"only the first {count} were looked at, before per; there may be more hits"
    return [replace(hit, rank=rank) for rank, hit in enumerate(hits, offset + 1)], warning
