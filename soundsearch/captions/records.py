"""What a description is made of: plain frozen records, each with a ``to_dict`` for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..labels.timeline import Event
from ..results import Label

__all__ = ["PERHAPS", "Caption", "Description", "Scene", "Sentence", "Share"]

# How a sentence begins that rests on low scores.
PERHAPS = "perhaps "


@dataclass(frozen=True, slots=True, repr=False)
class Sentence:
    """A statement, such as ``a dog barks twice, at 0:05 and 0:41``, and what it rests on.

    Attributes
    ----------
    text : str
        Without a capital and a full stop: a part of the text of a `Caption`.
    events : tuple of Event
        By their onsets; none only where it says that nothing that is known was heard.
    """

    text: str
    events: tuple[Event, ...]

    def __repr__(self) -> str:
        return f"<Sentence {self.text!r}, {len(self.events)} events>"

    def to_dict(self) -> dict[str, Any]:
        return {"text": self.text, "events": [event.to_dict() for event in self.events]}


@dataclass(frozen=True, slots=True, repr=False)
class Scene:
    """What kind of place or occasion events speak for.

    Attributes
    ----------
    name : str
        ``indoors`` or ``outdoors``, never both; ``street``, ``nature``, ``crowd``; ``music``,
        ``speech``, ``silence``.
    score : float
        How strongly, 0 to 1; of the last three their share of the time.
    events : tuple of Event
        Those that speak for it, by their onsets.
    """

    name: str
    score: float
    events: tuple[Event, ...]

    def __repr__(self) -> str:
        return f"<Scene {self.name} {self.score:.2f}, {len(self.events)} events>"

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "score": round(self.score, 4),
            "events": [event.to_dict() for event in self.events],
        }


@dataclass(frozen=True, slots=True, repr=False)
class Caption:
    """What is heard in a stretch of a recording, in words.

    Attributes
    ----------
    start, end : float
        Seconds from the start of the recording.
    sentences : tuple of Sentence
    """

    start: float
    end: float
    sentences: tuple[Sentence, ...]

    @property
    def text(self) -> str:
        """The sentences as one text."""
        text = ""
        was_guess = False
        for sentence in self.sentences:
            # The word is said once for guesses that follow each other.
            is_guess = sentence.text.startswith(PERHAPS)
            part = sentence.text.removeprefix(PERHAPS) if was_guess else sentence.text
            text += f"{', ' if is_guess and was_guess else '; '}{part}" if text else part
            was_guess = is_guess
        return f"{text[:1].upper()}{text[1:]}."

    def __repr__(self) -> str:
        return f"<Caption {self.start:.2f}-{self.end:.2f} s: {self.text}>"

    def to_dict(self) -> dict[str, Any]:
        return {
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "text": self.text,
            "sentences": [sentence.to_dict() for sentence in self.sentences],
        }


@dataclass(frozen=True, slots=True, repr=False)
class Share:
    """How much of a recording a label is heard in.

    Attributes
    ----------
    label : Label
        With the score of its best event.
    seconds, share : float
        How long, together; and that as a share of the recording, 0 to 1.
    count : int
        Its events.
    """

    label: Label
    seconds: float
    share: float
    count: int

    def __repr__(self) -> str:
        return f"<Share {self.share:.0%}, {self.count} events: {self.label!r}>"

    def to_dict(self) -> dict[str, Any]:
        return {
            "label": self.label.to_dict(),
            "seconds": round(self.seconds, 3),
            "share": round(self.share, 4),
            "count": self.count,
        }


@dataclass(frozen=True, slots=True, repr=False)
class Description:
    """What a recording is made of, and that in words.

    Attributes
    ----------
    uri : str
        An absolute path or a URL; "" for what is neither.
    duration : float
        Seconds that were heard.
    caption : Caption
        Of the whole.
    minutes : tuple of Caption
        Of each minute; what is left at the end, if less than a quarter of one, is part of the last.
        An event that went on when a minute's caption was made ends there with what had been heard.
    scenes : tuple of Scene
        Those that enough speaks for, and not too much against.
    shares : tuple of Share
        Of each label that has events, the longest first.
    events : tuple of Event
        All of them, by their onsets.
    warning : str or None
        Why there may be less sound than promised.
    """

    uri: str
    duration: float
    caption: Caption
    minutes: tuple[Caption, ...]
    scenes: tuple[Scene, ...]
    shares: tuple[Share, ...]
    events: tuple[Event, ...]
    warning: str | None = None

    @property
    def text(self) -> str:
        """The caption of the whole as a text."""
        return self.caption.text

    def __repr__(self) -> str:
        return f"<Description of {self.duration:.2f} s: {self.text}>"

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.caption.to_dict(),
            "scenes": [scene.to_dict() for scene in self.scenes],
            "shares": [share.to_dict() for share in self.shares],
        }
