"""When something like a clip of a library is heard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.logmel import SILENT

from .asking.questions import Embeddings, check_score
from .results import Hit

if TYPE_CHECKING:
    from .clips import Clips

__all__ = ["MIN_SCORE", "Matched", "Watch"]

Floats = NDArray[np.float32]

# Chosen by `benchmarks.watching`.
MIN_SCORE = 0.9
# A clip that is not heard for longer than this is heard anew, seconds.
_GAP = 2.0
# The clips that are looked at, the nearest.
_NEAREST = 5


@dataclass(frozen=True, slots=True, repr=False)
class Matched:
    """Something like a clip of a library that is heard.

    Attributes
    ----------
    start, end : float
        The segment that is like it, seconds from the start of the stream.
    hit : Hit
        The clip, with its window that is like it and the cosine of the two.
    heard : float
        How many seconds of the stream were heard when this was told.
    """

    start: float
    end: float
    hit: Hit
    heard: float

    def __repr__(self) -> str:
        return f"<Matched {self.start:.2f}-{self.end:.2f} s: {self.hit!r}>"

    def to_dict(self) -> dict[str, Any]:
        return {
            "moment": "matched",
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "clip": self.hit.to_dict(),
            "heard": round(self.heard, 3),
        }


class Watch:
    """Embeddings of segments in, what is like a clip out: once for each time that it is heard.

    Of the clips that are like a segment, the nearest is told. A clip is heard as long as it is
    among the nearest at least every `_GAP` seconds.

    Parameters
    ----------
    clips : Clips
        Read as they are each time.
    space : str
        Of the embeddings.
    hop, length : float
        Seconds from one segment's start to the next one's, and of a segment.
    min_score : float
        The least cosine.
    """

    def __init__(
        self, clips: Clips, space: str, hop: float, length: float, min_score: float
    ) -> None:
        self._clips = clips
        self._space = space
        self._hop, self._length = hop, length
        self._min_score = check_score(min_score)
        self._count = 0
        # When each clip that may go on was last heard, by its id.
        self._last: dict[int, float] = {}

    def push(self, embedding: Floats, level: float) -> Iterator[Matched]:
        """Take the next segment: float32 [dimension], and its level in dB."""
        start = self._hop * self._count
        self._count += 1
        self._last = {clip: last for clip, last in self._last.items() if start - last <= _GAP}
        if level < SILENT or not embedding.any():
            return
        question = Embeddings(embedding, space=self._space)
        hits = self._clips.query(question, _NEAREST, segments=True, min_score=self._min_score).hits
        if hits and hits[0].clip_id not in self._last:
            end = start + self._length
            yield Matched(start, end, hits[0], end)
        for hit in hits:
            if hit is hits[0] or hit.clip_id in self._last:
                self._last[hit.clip_id] = start
