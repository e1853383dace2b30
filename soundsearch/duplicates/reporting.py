"""From links between contents to what is told of clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from soundsearch_ingest.files import AudioFile
from soundsearch_ingest.logmel import SILENT

from ..gathering import portions
from ..stores.base import ClipChanged, Store
from .comparing import Match
from .found import DuplicateGroup, DuplicatePair, Duplicates
from .grouping import Group, Link, grouped
from .hearing import Unheard, Voice, check
from .proposing import Content

__all__ = ["Known", "report", "told"]

# Clips that are read together: those of a large library that was moved are many.
_TOGETHER = 1024


@dataclass(slots=True, eq=False)
class Known:
    """What was learnt of some contents, by their places.

    Attributes
    ----------
    contents : list of Content
    similar : float
        How near embeddings must be to be told of.
    voices : list of Voice or None
    why : dict
        Why there is no voice.
    links : list of Link
    near : dict
        The cosines of embeddings that are near.
    """

    contents: list[Content]
    similar: float
    voices: list[Voice | None] = field(default_factory=list)
    why: dict[int, str] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    near: dict[tuple[int, int], float] = field(default_factory=dict)


def report(known: Known, compared: Callable[[int, int], Link | None], store: Store) -> Duplicates:
    """What was found, in groups and apart.

    `compared` gives how one content lies in another, None where it does not.
    """
    groups = grouped(known.contents, known.links, compared)
    in_groups = {group.kept: number for number, group in enumerate(groups)}
    in_groups |= {link.own: number for number, group in enumerate(groups) for link in group.links}
    by_bytes = [
        Group(place, [])
        for place, content in enumerate(known.contents)
        if content.copies and place not in in_groups
    ]
    apart: list[DuplicatePair] = []
    shown = []
    for group in [*groups, *by_bytes]:
        pairs = list(_told(known, group, apart))
        if pairs:
            kept = known.contents[group.kept]
            shown.append(DuplicateGroup(kept.file.uri, kept.id, tuple(pairs)))
    shown.sort(key=lambda group: (-len(group), group.clip_id))
    apart += _besides(known, in_groups)
    apart += _merely(known, in_groups, store)
    return Duplicates(
        tuple(shown),
        tuple(apart),
        sum(len(content.clips) for content in known.contents),
        sum(len(known.contents[place].clips) for place in known.why),
    )


def _told(known: Known, group: Group, apart: list[DuplicatePair]) -> Iterator[DuplicatePair]:
    """The pairs of a group; those that cannot be confirmed are put apart."""
    yield from _copies(known, group.kept, apart)
    for link in group.links:
        own, other = known.contents[link.own], known.contents[link.other]
        yield told((own.id, own.file), (other.id, other.file), link.match)
        yield from _copies(known, link.own, apart)


def _copies(known: Known, place: int, apart: list[DuplicatePair]) -> Iterator[DuplicatePair]:
    """The clips with the same bytes as the first one of a content."""
    content = known.contents[place]
    for id, file in content.copies:
        why = ""
        if place in known.why:
            why = f"their files had the same bytes; one {known.why[place]}"
        else:
            try:
                check(file, content.digest)
            except Unheard as reason:
                why = f"their files had the same bytes; the first {reason}"
        pair = DuplicatePair(
            uri=file.uri,
            other=content.file.uri,
            clip_id=id,
            other_id=content.id,
            reason="unconfirmed" if why else "same bytes",
            note=why,
        )
        if why:
            apart.append(pair)
        else:
            yield pair


def _besides(known: Known, in_groups: dict[int, int]) -> Iterator[DuplicatePair]:
    """Pairs that are the same in part, or across groups."""
    for link in known.links:
        if link.match is None or in_groups.get(link.own, -1) == in_groups.get(link.other, -2):
            continue
        own, other = known.contents[link.own], known.contents[link.other]
        yield told((own.id, own.file), (other.id, other.file), link.match)


def _merely(known: Known, in_groups: dict[int, int], store: Store) -> Iterator[DuplicatePair]:
    """Pairs whose embeddings are near, and no more."""
    linked = {frozenset((link.own, link.other)) for link in known.links}
    silent = {place for place, voice in enumerate(known.voices) if voice and voice.is_silent}
    near = [
        (pair, cosine)
        for pair, cosine in sorted(known.near.items(), key=lambda item: -item[1])
        if cosine >= known.similar and frozenset(pair) not in linked
    ]
    silent |= _silent(known, {place for pair, _ in near for place in pair}, store)
    for (own, other), cosine in near:
        if silent & {own, other} or in_groups.get(own, -1) == in_groups.get(other, -2):
            continue
        first, second = known.contents[own], known.contents[other]
        notes = [
            f"the {name} {known.why[place]}"
            for name, place in (("first", own), ("second", other))
            if place in known.why
        ]
        yield DuplicatePair(
            uri=first.file.uri,
            other=second.file.uri,
            clip_id=first.id,
            other_id=second.id,
            reason="unconfirmed" if notes else "similar",
            score=cosine,
            note="; ".join(notes),
        )


def _silent(known: Known, places: set[int], store: Store) -> set[int]:
    """Those of some contents without a voice that are silent as far as their segments tell."""
    place_of = {known.contents[place].id: place for place in places if place in known.why}
    ids = sorted(place_of)
    found: set[int] = set()
    for begin in range(0, len(ids), _TOGETHER):
        found |= _silent_clips(ids[begin : begin + _TOGETHER], store)
    return {place_of[id] for id in found}


def _silent_clips(ids: Sequence[int], store: Store) -> set[int]:
    """Those of these clips that are there and all of whose segments are silent."""
    silent: set[int] = set()
    try:
        with store.reading() as reading:
            for clips in portions(list(reading.clips_by_id(ids).values())):
                _, segments = reading.rows([(clip.id, 0, clip.count) for clip in clips])
                ends = np.cumsum([clip.count for clip in clips]).tolist()
                for clip, end in zip(clips, ends, strict=True):
                    if (segments["level"][end - clip.count : end] < SILENT).all():
                        silent.add(clip.id)
    except ClipChanged:  # one of them, and no matter if it is by itself
        if len(ids) < 2:
            return set()
        half = len(ids) // 2
        return _silent_clips(ids[:half], store) | _silent_clips(ids[half:], store)
    return silent


def told(
    own: tuple[int, AudioFile], other: tuple[int, AudioFile], match: Match | None
) -> DuplicatePair:
    """A clip and another one, and how the first lies in the second; None for equal samples."""
    (id, file), (other_id, other_file) = own, other
    pair: dict[str, Any] = {
        "uri": file.uri,
        "other": other_file.uri,
        "clip_id": id,
        "other_id": other_id,
    }
    if match is None:
        return DuplicatePair(**pair, reason="same audio")
    reason = "altered" if match.is_whole else "excerpt" if match.is_within else "overlap"
    return DuplicatePair(
        **pair,
        reason=reason,
        score=match.score,
        offset=match.offset,
        seconds=match.seconds,
        level=-match.level,
        speed=match.speed,
        pitch=-match.pitch,
        bandwidth=match.bandwidth,
    )
