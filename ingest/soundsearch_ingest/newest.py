"""Sound in blocks -> its newest segments, each as soon as it is complete.

What an encoder with context is told of a segment here is what came before it: what comes after is
not there yet. `stretches` waits for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .encoders import Encoder
from .logmel import BANDS, FRAME_SECONDS, HOP, PATCH_FRAMES, WINDOW, levels_at, log_mel
from .stretches import context_frames

__all__ = ["NewestSegments"]

Floats = NDArray[np.float32]

# Segments that the network hears at once: more would take memory and no less time.
_AT_ONCE = 128


class NewestSegments:
    """Blocks of sound in, embeddings of segments out.

    What is kept does not grow with the sound.

    Parameters
    ----------
    encoder : Encoder
    hop_frames : int
        Frames from one segment's start to the next one's, 1 to 96.
    """

    def __init__(self, encoder: Encoder, hop_frames: int) -> None:
        self._encoder = encoder
        self._hop = hop_frames
        # The segments that a network hears at once, the newest included.
        self._most = 1 - (-context_frames(encoder) // PATCH_FRAMES)
        self._blocks: list[Floats] = []
        self._held = 0
        self._mel = np.empty((0, BANDS), np.float32)
        self._end = PATCH_FRAMES  # of the next segment, in frames of `_mel`
        self._samples = 0
        self._count = 0

    @property
    def seconds(self) -> float:
        """How much sound came."""
        return self._samples * FRAME_SECONDS / HOP

    def push(self, block: Floats) -> tuple[Floats, Floats]:
        """Take float32 [n] samples, mono at 16 kHz.

        Returns
        -------
        embeddings : float32 [k, dimension]
        levels : float32 [k]
            Of the segments that they complete; see `soundsearch_ingest.logmel.levels`.
        """
        self._blocks.append(block)
        self._held += len(block)
        self._samples += len(block)
        missing = self._end - len(self._mel)
        if self._held < (missing - 1) * HOP + WINDOW:
            return self._nothing()
        samples = np.concatenate(self._blocks)
        new = log_mel(samples)
        self._mel = np.concatenate([self._mel, new])
        rest = samples[len(new) * HOP :].copy()
        self._blocks, self._held = [rest], len(rest)
        return self._embedded()

    def finish(self) -> tuple[Floats, Floats]:
        """As `push`, at the end: a sound too short for a segment is padded with zeros to one."""
        if self._count or not self._samples:
            return self._nothing()
        length = (PATCH_FRAMES - 1) * HOP + WINDOW
        self._mel = log_mel(
            np.concatenate([*self._blocks, np.zeros(length - self._held, np.float32)])
        )
        return self._embedded()

    def _nothing(self) -> tuple[Floats, Floats]:
        return np.empty((0, self._encoder.dimension), np.float32), np.empty(0, np.float32)

    def _embedded(self) -> tuple[Floats, Floats]:
        ends = np.arange(self._end, len(self._mel) + 1, self._hop)
        levels = levels_at(self._mel, ends - PATCH_FRAMES)
        lengths = np.minimum(ends // PATCH_FRAMES, self._most)
        out = np.empty((len(ends), self._encoder.dimension), np.float32)
        for length in np.unique(lengths).tolist():
            places = np.flatnonzero(lengths == length)
            size = max(1, _AT_ONCE // length)
            for begin in range(0, len(places), size):
                some = places[begin : begin + size]
                heard = [self._mel[end - length * PATCH_FRAMES : end] for end in ends[some]]
                found = self._encoder.embed(np.stack(heard))
                out[some] = found.reshape(len(some), length, -1)[:, -1]
        self._count += len(ends)
        following = int(ends[-1]) + self._hop
        passed = max(0, following - self._most * PATCH_FRAMES)
        self._mel, self._end = self._mel[passed:].copy(), following - passed
        return out, levels
