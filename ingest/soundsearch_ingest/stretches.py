"""Sound in blocks -> stretches of whole segments, each with the context its encoder wants.

An encoder with context hears a stretch at once, not a segment at a time. A long sound is heard
in stretches that overlap by the context on either side, so that a segment's embedding does not
depend on where one stretch ends and the next begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .encoders import Encoder
from .logmel import FRAME_SECONDS, HOP, PATCH_FRAMES, WINDOW, levels_at, log_mel, patches

__all__ = ["SegmentStream", "Stretch", "context_frames", "embed", "embed_stream"]

Floats = NDArray[np.float32]

# Frames of segments in a stretch, where there is context: its overlap costs a tenth of the work, a
# longer stretch memory.
_LONG = 120 * PATCH_FRAMES
# Segments that the network hears at once.
_AT_ONCE = 128


def context_frames(encoder: Encoder) -> int:
    """Frames that an encoder wants to hear on either side of a segment."""
    return round(encoder.context_seconds / FRAME_SECONDS)


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Some segments of a sound, and what is heard about them.

    Attributes
    ----------
    samples : float32 [n]
    lead : int
        Frames before the first segment.
    count : int
        Segments.
    padded : bool
        The sound was too short for a segment and zero-padded to one.
    """

    samples: Floats
    lead: int
    count: int
    padded: bool = False


class SegmentStream:
    """Blocks of sound in, stretches out.

    Parameters
    ----------
    hop_frames : int
        Frames from one segment's start to the next one's, 1 to 96.
    context_frames : int
        Frames on either side of each segment that a stretch holds, as far as the sound goes.
        Without context a segment is given as soon as it is complete; with it, stretches are
        long, since what they share is heard twice.
    """

    def __init__(self, hop_frames: int = PATCH_FRAMES, context_frames: int = 0) -> None:
        self._hop = hop_frames
        # Whole segments, as the network hears them; and where segments overlap, a pass may begin
        # or end up to a segment late or early.
        segments = -(-context_frames // PATCH_FRAMES)
        overlap = bool(segments) and hop_frames < PATCH_FRAMES
        self._context = (segments + overlap) * PATCH_FRAMES
        self._blocks: list[Floats] = []
        self._held = 0
        self._lead = 0
        self._emitted = False

    def push(self, block: Floats) -> Stretch | None:
        """Take float32 [n] samples; return the segments that they complete, if it is time."""
        self._blocks.append(block)
        self._held += len(block)
        count = self._complete(self._context)
        if count == 0 or (self._context and count * self._hop < _LONG):
            return None
        samples = np.concatenate(self._blocks)
        stretch = self._stretch(samples, count)
        following = self._lead + count * self._hop
        kept = max(0, following - self._context)
        self._lead = following - kept
        rest = samples[kept * HOP :].copy()
        self._blocks, self._held, self._emitted = [rest], len(rest), True
        return stretch

    def finish(self) -> Stretch | None:
        """Return the segments that are left; a sound too short for one is padded with zeros."""
        padded = not self._emitted and self._complete(0) == 0
        if padded:
            length = (PATCH_FRAMES - 1) * HOP + WINDOW
            self._blocks.append(np.zeros(length - self._held, np.float32))
            self._held = length
        count = self._complete(0)
        return self._stretch(np.concatenate(self._blocks), count, padded) if count else None

    def _complete(self, context: int) -> int:
        """Segments that are held with so much after them."""
        frames = 1 + (self._held - WINDOW) // HOP
        return max(0, 1 + (frames - context - self._lead - PATCH_FRAMES) // self._hop)

    def _stretch(self, samples: Floats, count: int, padded: bool = False) -> Stretch:
        end = self._lead + (count - 1) * self._hop + PATCH_FRAMES + self._context
        return Stretch(samples[: (end - 1) * HOP + WINDOW], self._lead, count, padded)


def embed(
    stretches: Sequence[Stretch], encoder: Encoder, hop_frames: int
) -> list[tuple[Floats, Floats]]:
    """Embed stretches of any sounds together.

    Parameters
    ----------
    stretches : sequence of Stretch
    encoder : Encoder
    hop_frames : int
        As of the stream that they are from.

    Returns
    -------
    list of (embeddings, levels)
        For each stretch, float32 [count, dimension] and float32 [count]; see
        `soundsearch_ingest.logmel.levels`.
    """
    frames = [log_mel(stretch.samples) for stretch in stretches]
    places = [stretch.lead + hop_frames * np.arange(stretch.count) for stretch in stretches]
    if encoder.context_seconds:
        parts = _in_context(frames, places, encoder)
    else:
        segments = [
            patches(mel[stretch.lead :], hop_frames)[: stretch.count]
            for mel, stretch in zip(frames, stretches, strict=True)
        ]
        edges = np.cumsum([len(part) for part in segments])[:-1]
        parts = np.split(encoder.embed(np.concatenate(segments)), edges)
    return list(zip(parts, map(levels_at, frames, places), strict=True))


def embed_stream(
    blocks: Iterable[Floats], encoder: Encoder, hop_frames: int
) -> Iterator[tuple[Floats, Floats]]:
    """Embed one sound in the calling thread, as it comes.

    Parameters
    ----------
    blocks : iterable of float32 [n]
        Mono 16 kHz sound.
    encoder : Encoder
    hop_frames : int
        Frames from one segment's start to the next one's, 1 to 96.

    Yields
    ------
    embeddings : float32 [n, dimension]
    levels : float32 [n]
        Of the segments that follow those given before.
    """
    stream = SegmentStream(hop_frames, context_frames(encoder))
    for block in blocks:
        if (stretch := stream.push(block)) is not None:
            yield from embed([stretch], encoder, hop_frames)
    if (stretch := stream.finish()) is not None:
        yield from embed([stretch], encoder, hop_frames)


def _in_context(
    frames: list[Floats], places: list[NDArray[np.int_]], encoder: Encoder
) -> list[Floats]:
    """Embed the segments at some places of spectrograms.

    The network hears segments that follow each other without a gap: segments that start
    elsewhere between two of these are heard in another pass.
    """
    out = [np.empty((len(place), encoder.dimension), np.float32) for place in places]
    passes: dict[int, list[tuple[int, int]]] = {}
    for number, (mel, place) in enumerate(zip(frames, places, strict=True)):
        for phase in sorted(set((place % PATCH_FRAMES).tolist())):
            passes.setdefault((len(mel) - phase) // PATCH_FRAMES, []).append((number, phase))
    for length, members in passes.items():
        size = max(1, _AT_ONCE // length)
        for begin in range(0, len(members), size):
            some = members[begin : begin + size]
            heard = np.stack(
                [frames[n][phase : phase + length * PATCH_FRAMES] for n, phase in some]
            )
            found = encoder.embed(heard).reshape(len(some), length, -1)
            for row, (number, phase) in zip(found, some, strict=True):
                mine = places[number] % PATCH_FRAMES == phase
                out[number][mine] = row[places[number][mine] // PATCH_FRAMES]
    return out
