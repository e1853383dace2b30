"""Which clips may be the same sound: by their content, their embeddings and their prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.files import AudioFile

from ..stores.records import StoredClip
from .hearing import ALIKE, Voice
from .pictures import PRINT

__all__ = ["Content", "alike_prints", "contents"]

# How many near prints are looked at for each that is looked for, and how many clips are proposed,
# for each minute of a long one.
_NEAR = 12
_PROPOSED = 5
# Up to so many prints all are compared; beyond, those in some cells of an index.
_EXACT = 20_000
_VISITED = 16
_TRAINED = 40


@dataclass(slots=True, eq=False)
class Content:
    """Clips whose files have the same bytes; of most there is one.

    Attributes
    ----------
    id : int
        Of the first clip.
    file : AudioFile
    digest : bytes
    duration : float
    copies : list of (int, AudioFile)
        The other clips.
    """

    id: int
    file: AudioFile
    digest: bytes
    duration: float
    copies: list[tuple[int, AudioFile]] = field(default_factory=list)

    @property
    def clips(self) -> list[tuple[int, AudioFile]]:
        """All of the clips."""
        return [(self.id, self.file), *self.copies]


def contents(clips: Sequence[StoredClip], known: dict[bytes, Content]) -> None:
    """Add clips to the contents that are `known`, by their digests."""
    for clip in clips:
        record = clip.record
        there = known.get(record.digest)
        if there is None:
            known[record.digest] = Content(clip.id, record.file, record.digest, record.duration)
        else:
            there.copies.append((clip.id, record.file))


def alike_prints(voices: Sequence[Voice | None]) -> set[tuple[int, int]]:
    """Pairs of sounds with prints that are near to each other, each with the smaller place first.

    Parameters
    ----------
    voices : sequence of Voice or None
    """
    import faiss

    counts = np.array([0 if voice is None else len(voice.prints) for voice in voices], np.int64)
    total = int(counts.sum())
    if not total:
        return set()
    owners = np.repeat(np.arange(len(voices)), counts)
    index: Any
    if total <= _EXACT:
        index = faiss.IndexFlatIP(PRINT)
    else:
        cells = int(4 * np.sqrt(total))
        index = faiss.index_factory(PRINT, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.cp.niter = 10
        index.cp.max_points_per_centroid = _TRAINED
        chosen = np.random.default_rng(0).choice(total, min(total, _TRAINED * cells), replace=False)
        index.train(_rows(voices, counts, np.sort(chosen)))
        index.nprobe = _VISITED
    for begin in range(0, len(voices), 4096):
        part = [voice.prints for voice in voices[begin : begin + 4096] if voice is not None]
        if sum(map(len, part)):
            index.add(_unit(np.concatenate(part)))
    pairs: set[tuple[int, int]] = set()
    for begin in range(0, len(voices), 1024):
        _ask(index, owners, voices, range(begin, min(len(voices), begin + 1024)), pairs)
    return pairs


def _ask(
    index: Any,
    owners: NDArray[np.int64],
    voices: Sequence[Voice | None],
    places: range,
    pairs: set[tuple[int, int]],
) -> None:
    """Add the pairs of some of the sounds with all others."""
    rows, asking = [], []
    for place in places:
        voice = voices[place]
        if voice is not None and len(voice.prints):
            chosen = voice.prints[voice.telling()]
            rows.append(chosen)
            asking += [place] * len(chosen)
    if not rows:
        return
    near = min(len(owners), _NEAR + 5)
    scores, found = index.search(_unit(np.concatenate(rows)), near)
    best: dict[int, dict[int, float]] = {}
    for place, row, cosines in zip(asking, found.tolist(), scores.tolist(), strict=True):
        there = best.setdefault(place, {})
        for number, cosine in zip(row, cosines, strict=True):
            if number >= 0 and cosine >= ALIKE and (other := int(owners[number])) != place:
                there[other] = max(cosine, there.get(other, -1.0))
    for place, there in best.items():
        most = max(_PROPOSED, round(_PROPOSED * voices[place].duration / 60))  # type: ignore[union-attr]
        for other in sorted(there, key=lambda each: (-there[each], each))[:most]:
            pairs.add((min(place, other), max(place, other)))


def _unit(rows: NDArray[np.int8]) -> NDArray[np.float32]:
    out = rows.astype(np.float32)
    out /= np.linalg.norm(out, axis=1, keepdims=True) + 1e-9
    return out


def _rows(
    voices: Sequence[Voice | None], counts: NDArray[np.int64], chosen: NDArray[np.int64]
) -> NDArray[np.float32]:
    ends = np.cumsum(counts)
    places = np.searchsorted(ends, chosen, side="right")
    firsts = ends - counts
    rows = [
        voice.prints[row - firsts[place]]
        for place, row in zip(places.tolist(), chosen.tolist(), strict=True)
        if (voice := voices[place]) is not None
    ]
    return _unit(np.stack(rows))
