"""Sounds as WebVTT captions for people who cannot hear them.

After the Captioning Key of the Described and Captioned Media Program (dcmp.org): a sound is named
in brackets, in lower case, with its source; by a participle while it goes on or comes again, ``[dog
barking]``, and by a verb where it is over at once, ``[dog barks]``. A cue stands for at least 4/3
seconds and names a sound for at most 6. A question mark is ours: it says that the score is low.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..labels.head import SILENCE
from ..labels.ontology import ontology
from ..labels.timeline import Event, in_order
from ..timeline_formats import cue_rows
from .phrases import phrase_of
from .sentences import SURE

__all__ = ["Cue", "cues", "vtt_rows"]

# Seconds.
_SHORTEST, _LONGEST = 4 / 3, 6.0
# A sound that is over sooner is told by a verb.
_BRIEF = 2.0
# What comes again after less is one sound; shorter silence is not told.
_AGAIN, _SILENT = 2.0, 5.0
# What begins so soon after a cue is told in it; so short a gap between two is closed.
_TOGETHER = 0.5
# Sounds in a cue, and letters of one.
_SOUNDS, _LETTERS = 3, 32


@dataclass(frozen=True, slots=True)
class Cue:
    """A text and when it is shown.

    Attributes
    ----------
    start, end : float
        Seconds; cues do not overlap.
    text : str
        Without markup, such as ``[rain] [dog barking]``.
    events : tuple of Event
        Those that it names.
    """

    start: float
    end: float
    text: str
    events: tuple[Event, ...]


@dataclass(slots=True, eq=False)
class _Sound:
    """Events of one name that follow each other closely."""

    name: str
    brief: str
    events: list[Event]
    offset: float

    @property
    def onset(self) -> float:
        return self.events[0].onset

    @property
    def score(self) -> float:
        return max(event.label.score for event in self.events)

    def begun(self, before: float) -> list[Event]:
        """Its events until a moment: what comes later does not count yet."""
        return [event for event in self.events if event.onset < before]

    def text(self, end: float) -> str:
        """What a cue says that ends at a moment."""
        is_brief = len(self.events) == 1 and self.offset - self.onset < _BRIEF
        name = self.brief if is_brief else self.name
        name = name if len(name) <= _LETTERS else f"{name[: _LETTERS - 3]}..."
        score = max(event.label.score for event in self.begun(end))
        return f"[{name}]" if score >= SURE else f"[{name}?]"

    def until(self, shown: float) -> float:
        """Until when its name stands, once it is shown from a moment on."""
        return max(min(self.offset, self.onset + _LONGEST), shown + _SHORTEST)

    def is_above(self, other: _Sound) -> bool:
        """Whether this is a class above the other, which says more."""
        mid = self.events[0].label.mid
        below = other.events[0].label.mid
        return below in ontology().nodes and mid in ontology().ancestors(below)


def cues(events: Iterable[Event]) -> Iterator[Cue]:
    """The cues of a recording, from its events.

    A cue begins where a sound begins, and does not change while it stands. It ends with the last
    of its sounds or where the next cue begins, which names those that still are to be read, too.
    """
    sounds = sorted(_sounds(events), key=lambda sound: (sound.onset, sound.name))
    at, start, standing = 0, float("-inf"), list[_Sound]()
    while at < len(sounds):
        start = max(sounds[at].onset, start + _SHORTEST)
        begun = at
        while at < len(sounds) and sounds[at].onset <= start + _TOGETHER:
            at += 1
        new = sounds[begun:at]
        names = {sound.name for sound in new}
        old = [s for s in standing if s.name not in names and s.until(s.onset) - start > _SHORTEST]
        standing = _chosen(old, new)
        end = max(sound.until(start) for sound in standing)
        if at < len(sounds):
            following = max(sounds[at].onset, start + _SHORTEST)
            end = following if following - end < _TOGETHER else end
        text = " ".join(dict.fromkeys(sound.text(end) for sound in standing))
        yield Cue(start, end, text, in_order(e for s in standing for e in s.begun(end)))


def _sounds(events: Iterable[Event]) -> Iterator[_Sound]:
    """What is told, in the order in which it ends or later."""
    open_: dict[str, _Sound] = {}
    for event in in_order(events):
        phrase = phrase_of(event.label)
        is_pause = event.label.mid == SILENCE and event.offset - event.onset < _SILENT
        if not phrase.cue or is_pause:
            continue
        sound = open_.get(phrase.cue)
        if sound is not None and event.onset - sound.offset < _AGAIN:
            sound.events.append(event)
            sound.offset = max(sound.offset, event.offset)
            continue
        if sound is not None:
            yield sound
        open_[phrase.cue] = _Sound(phrase.cue, phrase.brief_cue, [event], event.offset)
    yield from open_.values()


def _chosen(old: Sequence[_Sound], new: Sequence[_Sound]) -> list[_Sound]:
    """What a cue names: what is new before what was read, the surer first, little enough."""
    each = [*new, *old]
    telling = [s for s in each if not any(s.is_above(other) for other in each)]
    ranked = sorted(telling, key=lambda s: (s in old, -s.score))[:_SOUNDS]
    return sorted(ranked, key=lambda sound: sound.onset)


def vtt_rows(events: Iterable[Event]) -> Iterator[tuple[str, ...]]:
    """The cues of a recording as WebVTT, line by line."""
    yield ("WEBVTT",)
    for cue in cues(events):
        yield from cue_rows(cue.start, cue.end, cue.text)
