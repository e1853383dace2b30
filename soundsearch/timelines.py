"""A sound -> the events in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import encoders, pipeline
from soundsearch_ingest.logmel import SILENT

from .asking.questions import Moments, Sound, Source, as_sound
from .hearing import Heard, Listener
from .labels.head import SILENCE, Head
from .labels.kept import head_file
from .labels.ontology import ontology
from .labels.timeline import Event, Timeline, Tracker, in_order

__all__ = ["events", "listening", "score_blocks", "segment_scores"]

# Segments whose scores are held at a time: some megabytes.
_ROWS = 1024


def segment_scores(head: Head, heard: Heard) -> NDArray[np.float32]:
    """The score of every class for every segment, float32 [segments, classes of the vocabulary].

    A near-silent segment is Silence, and nothing else.
    """
    scores = head.scores(heard.head_vectors)
    silent = heard.levels < SILENT
    scores[silent] = 0
    scores[silent, ontology().nodes[SILENCE].class_index] = 1
    return scores


def score_blocks(head: Head, heard: Heard) -> Iterator[NDArray[np.float32]]:
    """The scores of ever more segments; see `segment_scores`."""
    for begin in range(0, len(heard.levels), _ROWS):
        yield segment_scores(head, heard.part(slice(begin, begin + _ROWS)))


def listening(
    sound: Sound, encoder: str, head: str | os.PathLike[str] | None, hop: float | None
) -> tuple[Listener, float, Tracker]:
    """What hears a sound, at which hop, and what makes events of its scores; see `events`."""
    own = None if head is None else head_file(head).head
    listener = Listener.open(encoder, pipeline.available_cores(), own)
    hop = listener.encoder.hop_seconds if hop is None else hop
    pipeline.hop_frames(hop)  # refuses one that cannot be
    start = sound.at[0] if sound.at else 0.0
    length = listener.encoder.segment_seconds
    return listener, hop, Tracker(listener.head.vocabulary, hop, length, start)


def events(
    source: Sound | Source,
    *,
    at: Moments | None = None,
    sample_rate: int | None = None,
    encoder: str = encoders.BUNDLED,
    head: str | os.PathLike[str] | None = None,
    hop: float | None = None,
    on_sound: Callable[[float], None] = lambda _seconds: None,
) -> Timeline:
    """Find what is heard in a sound, from when to when; no library is needed.

    The sound is heard as it is decoded: what is held grows with the events, not with its length.

    Parameters
    ----------
    source, at, sample_rate
        A `Sound`, or what one is made of.
    encoder : str
        Whose labels are wanted: ``soundsearch models list``.
    head : path, optional
        The file of a head whose labels are wanted; it reads the encoder's space.
    hop : float, optional
        Seconds from one segment's start to the next one's, in which onsets and offsets are told:
        0.01 to 0.96. By default as the encoder has it.
    on_sound : callable
        Called with the seconds that were heard since the last call.

    Returns
    -------
    Timeline
        Times count from the start of the source.

    Raises
    ------
    ArgumentError
    AudioError
        The source gives no sound.
    EncoderError
        The head's file cannot be read.
    SpaceMismatch
        The head reads another space than the encoder's.
    """
    sound = as_sound(source, at, sample_rate)
    listener, hop, tracker = listening(sound, encoder, head, hop)
    found: list[Event] = []
    for heard in listener.stream(sound, hop, on_sound):
        for scores in score_blocks(listener.head, heard):
            found += tracker.push(scores)
    found += tracker.finish(heard.duration)
    return Timeline(sound.uri, in_order(found), heard.duration, heard.warning)
