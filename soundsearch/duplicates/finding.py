"""The duplicates among the clips of a selection.

Contents that are equal are one. Embeddings and prints of the sounds propose pairs of the others,
and the sounds themselves, read again, confirm them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
from soundsearch_ingest import pipeline

from ..neighbours import Graph, Neighbours
from ..stores.base import OnClips, OnStep, Store
from ..stores.filters import Filter
from .comparing import compare
from .found import Duplicates
from .grouping import Link
from .hearing import Unheard, Voice, Voices
from .proposing import Content, alike_prints, contents
from .reporting import Known, report
from .sketches import Sketches

__all__ = ["find_duplicates"]

# How near embeddings must be for their clips to be compared, and how many neighbours are asked
# for; more where these are all copies of one clip.
_NEAR = 0.8
_NEIGHBOURS = 5
_CROWDED = 200
_PAGE = 1000
_STEP = 500


def find_duplicates(
    store: Store,
    filter: Filter | None,
    graph: Graph,
    similar: float,
    on_clips: OnClips,
    on_step: OnStep,
) -> Duplicates:
    """The duplicates among the clips that a filter lets through; see `Clips.duplicates`."""
    by_digest: dict[bytes, Content] = {}
    clips = store.clips(filter)
    while page := list(islice(clips, _PAGE)):
        contents(page, by_digest)
    with Sketches() as sketches:
        finder = _Finder(list(by_digest.values()), similar, Voices(sketches))
        finder.hear(on_clips)
        on_step("looking for pairs that are alike")
        finder.propose(graph)
        finder.compare(on_step)
        return report(finder.known, finder.compared, store)


class _Finder:
    """Goes from contents to links between them, by their places in a list."""

    def __init__(self, found: list[Content], similar: float, voices: Voices) -> None:
        self.known = Known(found, similar)
        self._voices = voices
        self._tried: dict[tuple[int, int], Link | None] = {}
        self._pairs: set[tuple[int, int]] = set()

    def hear(self, on_clips: OnClips) -> None:
        """Read each content's sound, several at once."""
        known, cores = self.known, pipeline.available_cores()
        first: dict[bytes, int] = {}
        with ThreadPoolExecutor(cores) as pool:
            for begin in range(0, len(known.contents), 16 * cores):
                part = known.contents[begin : begin + 16 * cores]
                for place, heard in enumerate(pool.map(self._voice_of, part), begin):
                    if isinstance(heard, Voice):
                        other = first.setdefault(heard.digest, place)
                        if other != place:
                            known.links.append(Link(place, other, None))
                        known.voices.append(heard)
                    else:
                        known.voices.append(None)
                        known.why[place] = heard
                    on_clips(len(known.contents[place].clips))

    def _voice_of(self, content: Content) -> Voice | str:
        """The sound of the first of its clips whose file is there, or why there is none."""
        why = ""
        for number, (id, file) in enumerate(content.clips):
            try:
                voice = self._voices.hear(file, content.digest)
            except Unheard as reason:
                why = why or str(reason)
                continue
            if number:
                content.copies[number - 1] = content.id, content.file
                content.id, content.file = id, file
            return voice
        return why

    def propose(self, graph: Graph) -> None:
        """Find the pairs that are worth comparing."""
        known = self.known
        same = {link.own: link.other for link in known.links}
        distinct = [None if place in same else voice for place, voice in enumerate(known.voices)]
        self._pairs = alike_prints(distinct)
        place_of = {
            clip: same.get(place, place)
            for place, content in enumerate(known.contents)
            for clip, _ in content.clips
        }
        asked = [each.id for place, each in enumerate(known.contents) if place not in same]
        crowded = []
        for block in graph.near(np.array(asked, np.int64), _NEIGHBOURS):
            crowded += self._note(block, place_of)
        for block in graph.near(np.array(crowded, np.int64), _CROWDED):
            self._note(block, place_of)
        self._pairs.update(pair for pair, cosine in known.near.items() if cosine >= _NEAR)

    def _note(self, block: Neighbours, place_of: dict[int, int]) -> list[int]:
        """Note near embeddings; gives the clips whose neighbours all were of one content."""
        crowded = []
        rows = block.clips.tolist(), block.ids.tolist(), block.scores.tolist()
        for id, others, scores in zip(*rows, strict=True):
            own = place_of[id]
            places = [place_of.get(other, own) for other in others if other >= 0]
            if len(places) >= _NEIGHBOURS and len({own, *places}) <= 2:
                crowded.append(id)
            for other, score in zip(places, scores, strict=False):
                if other != own and score >= min(_NEAR, self.known.similar):
                    self.known.near[min(own, other), max(own, other)] = score
        return crowded

    def compare(self, on_step: OnStep) -> None:
        """Compare the sounds of the pairs."""
        pairs = sorted(self._pairs)
        with ThreadPoolExecutor(pipeline.available_cores()) as pool:
            for begin in range(0, len(pairs), _STEP):
                on_step(f"comparing the sounds of {len(pairs) - begin} pairs")
                part = pairs[begin : begin + _STEP]
                links = pool.map(lambda pair: self._link(*pair), part)
                self.known.links += [link for link in links if link is not None]

    def compared(self, own: int, other: int) -> Link | None:
        """How a content lies in another one, if it holds no more."""
        link = self._link(min(own, other), max(own, other))
        if link is None or link.match is None or not link.match.is_within:
            return None
        if link.own == own:
            return link
        return link.turned() if link.match.is_whole else None

    def _link(self, one: int, other: int) -> Link | None:
        if (one, other) not in self._tried:
            self._tried[one, other] = self._matched(one, other)
        return self._tried[one, other]

    def _matched(self, one: int, other: int) -> Link | None:
        voices, found = self.known.voices, self.known.contents
        own, there = voices[one], voices[other]
        if own is None or there is None:
            return None
        if own.samples > there.samples:
            return self._matched(other, one)
        try:
            match = compare(
                self._voices, (found[one].file.uri, own), (found[other].file.uri, there)
            )
        except Unheard:  # it was there a moment ago; as if they were not alike
            return None
        return None if match is None else Link(one, other, match)
