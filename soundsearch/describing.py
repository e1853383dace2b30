"""A sound -> what it is made of, and that in words."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from soundsearch_ingest import encoders

from .asking.questions import Moments, Sound, Source, as_sound
from .captions.minutes import Minutes, described
from .captions.records import Caption, Description
from .labels.timeline import Event, Timeline, in_order
from .timelines import listening, score_blocks

__all__ = ["describe"]


def describe(
    source: Sound | Source,
    *,
    at: Moments | None = None,
    sample_rate: int | None = None,
    encoder: str = encoders.BUNDLED,
    head: str | os.PathLike[str] | None = None,
    hop: float | None = None,
    on_sound: Callable[[float], None] = lambda _seconds: None,
    on_caption: Callable[[Caption], None] = lambda _caption: None,
) -> Description:
    """Describe a sound: shares and counts of labels, the scene, and captions in plain English.

    No library is needed. The sound is heard as it is decoded: what is held grows with the events,
    not with its length.

    Parameters
    ----------
    source, at, sample_rate, encoder, head, hop, on_sound
        As of `soundsearch.events`.
    on_caption : callable
        Called with the caption of each minute as soon as that is over and was heard, unless there
        is one only.

    Returns
    -------
    Description
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
    start = sound.at[0] if sound.at else 0.0
    minutes, captions = Minutes(start), list[Caption]()
    found: list[Event] = []

    def take(over: Iterable[Event]) -> None:
        events = [*over]
        found.extend(events)
        minutes.add(events)

    def tell(caption: Caption) -> None:
        captions.append(caption)
        on_caption(caption)

    # A second at a time, so that what a minute's caption knows does not depend on how it comes.
    second, pushed = max(int(1 / hop), 1), 0
    for heard in listener.stream(sound, hop, on_sound):
        for scores in score_blocks(listener.head, heard):
            for row in range(0, len(scores), second):
                take(tracker.push(scores[row : row + second]))
                pushed += len(scores[row : row + second])
                if minutes.is_over(start + pushed * hop):
                    tell(minutes.told(tracker.so_far()))
    take(tracker.finish(heard.duration))
    end = start + heard.duration
    while minutes.is_over(end):
        tell(minutes.told())
    last = minutes.told(end=end)
    if captions:
        tell(last)
    timeline = Timeline(sound.uri, in_order(found), heard.duration, heard.warning)
    return described(timeline, start, captions or [last])
