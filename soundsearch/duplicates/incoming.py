"""Whether a clip that comes in is the same sound as a stored one; bounded work for each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice

import numpy as np
from soundsearch_ingest.logmel import SILENT

from ..stores.base import ClipChanged, Reading, Store
from ..stores.records import StoredClip
from .comparing import compare
from .found import DuplicatePair
from .hearing import Unheard, Voice, Voices, check
from .reporting import told

__all__ = ["Incoming"]

# Neighbours that are looked at, by the vectors of stretches and by the loudest segments, and how
# many of them are heard.
_POOLED = 6
_STRETCHES = 8
_LOUDEST = 3
_SEGMENTS = 10
_HEARD = 8
# Copies of the same bytes that are told of.
_COPIES = 3
_LEAST = 0.7
# Of a longer clip only what is around the moment that is near is heard, seconds.
_LONG = 600.0
_KEPT = 256


class Incoming:
    """Tells of clips that are stored already, while others come in.

    Parameters
    ----------
    store : Store
    on_duplicate : callable
        Told of each pair, once.
    """

    def __init__(self, store: Store, on_duplicate: Callable[[DuplicatePair], None]) -> None:
        self._store = store
        self._told = on_duplicate
        self._voices = Voices()
        self._kept: OrderedDict[int, Voice] = OrderedDict()
        self._pairs: set[frozenset[int]] = set()

    def watching(self, on_file: Callable[[str, str], None]) -> Callable[[str, str], None]:
        """Callback of an ingest that looks at each file that is new."""

        def watched(uri: str, outcome: str) -> None:
            on_file(uri, outcome)
            if outcome in ("added", "replaced"):
                with suppress(ClipChanged):
                    self._look(uri)

        return watched

    def _look(self, uri: str) -> None:
        with self._store.reading() as reading:
            clip = reading.clip_at(uri)
            if clip is None:
                return
            copies = self._store.clips_with(clip.record.digest, _COPIES + 1)
            if len(copies) > 1:
                self._tell(self._same_bytes(clip, copies))
                return
            near = self._near(reading, clip)
        with suppress(Unheard):
            self._compare(clip, near)

    def _tell(self, pairs: Iterable[DuplicatePair]) -> None:
        for pair in pairs:
            ids = frozenset((pair.clip_id, pair.other_id))
            if ids not in self._pairs:
                self._pairs.add(ids)
                self._told(pair)

    def _same_bytes(self, clip: StoredClip, copies: list[StoredClip]) -> Iterable[DuplicatePair]:
        others = (other for other in copies if other.id != clip.id)
        for other in islice(others, _COPIES):
            why = ""
            try:
                check(other.record.file, clip.record.digest)
            except Unheard as reason:
                why = f"their files had the same bytes; the second {reason}"
            yield DuplicatePair(
                uri=clip.uri,
                other=other.uri,
                clip_id=clip.id,
                other_id=other.id,
                reason="unconfirmed" if why else "same bytes",
                note=why,
            )

    def _near(self, reading: Reading, clip: StoredClip) -> list[tuple[StoredClip, float]]:
        """The clips that may be the same, the likeliest first, and the second to look at."""
        vectors, segments = reading.rows([(clip.id, 0, clip.count)])
        if (segments["level"] < SILENT).all():
            return []  # all silence is alike
        best: dict[int, tuple[float, float]] = {}
        _, pooled = reading.pooled(np.array([clip.id]))
        ids, scores = reading.search_pooled(pooled[:_STRETCHES], _POOLED)
        for id, score in zip(ids.ravel().tolist(), scores.ravel().tolist(), strict=True):
            if id >= 0 and score >= _LEAST:
                best[id] = max((score, 0.0), best.get(id, (-1.0, 0.0)))
        hop = self._store.settings.hop
        loudest = np.argsort(-segments["level"], kind="stable")[:_LOUDEST]
        found = reading.search(np.ascontiguousarray(vectors[loudest]), _SEGMENTS)
        for id, number, score in zip(*(each.ravel().tolist() for each in found), strict=True):
            if id >= 0 and score >= _LEAST:
                best[id] = max((score, number * hop), best.get(id, (-1.0, 0.0)))
        best.pop(clip.id, None)
        chosen = sorted(best, key=lambda id: (-best[id][0], id))[:_HEARD]
        clips = reading.clips_by_id(chosen)
        return [(clips[id], best[id][1]) for id in chosen if id in clips]

    def _compare(self, clip: StoredClip, near: list[tuple[StoredClip, float]]) -> None:
        own = self._voice(clip, 0.0, whole=True) if near else None
        for other, at in near:
            with suppress(Unheard):
                there = self._voice(other, at)
                pair = None if own is None else self._pair((clip, own), (other, there))
                self._tell([] if pair is None else [pair])

    def _pair(
        self, one: tuple[StoredClip, Voice], other: tuple[StoredClip, Voice]
    ) -> DuplicatePair | None:
        if one[1].digest == other[1].digest:
            match = None
        else:
            if one[1].samples > other[1].samples:
                one, other = other, one
            match = compare(self._voices, (one[0].uri, one[1]), (other[0].uri, other[1]))
            if match is None:
                return None
        sides = [(clip.id, clip.record.file) for clip, _ in (one, other)]
        return told(sides[0], sides[1], match)

    def _voice(self, clip: StoredClip, at: float, whole: bool = False) -> Voice:
        record = clip.record
        if record.duration > _LONG and not whole:
            return self._voices.glimpse(record.file, record.digest, record.duration, at)
        if clip.id not in self._kept:
            self._kept[clip.id] = self._voices.hear(record.file, record.digest)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[clip.id]
