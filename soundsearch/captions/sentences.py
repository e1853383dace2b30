"""From events to sentences, none of which says more than its events do."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from ..labels.head import SILENCE
from ..labels.ontology import ontology
from ..labels.timeline import Event, in_order
from ..results import Label
from ..times import clock
from .phrases import Phrase, phrase_of
from .records import PERHAPS, Caption, Scene, Sentence
from .scenes import PLACES
from .spans import covered, stretches, within

__all__ = ["NAMED", "NOTHING", "SURE", "caption", "groups", "place_of"]

# Chosen on folds 1 and 2 of ESC-50 by `benchmarks.describing`: how many sounds are named at most,
# and the score below which it is said that this is a guess.
NAMED, SURE = 6, 0.8
NOTHING = "nothing that is known was heard"

# Shares of the time.
_THROUGHOUT, _MOST, _OFTEN = 0.8, 0.5, 0.2
# Moments that are named one by one.
_MOMENTS = 3
# What lasts so long is told to do so, seconds; in a shorter recording, this share of it.
_LONG, _LONG_SHARE = 10.0, 0.25
# Silence below this is a pause, which is told only where there is nothing else.
_PAUSE = 3.0
# Stretches that are less apart are one: as sentences tell time, they begin at the same moment.
_APART = 1.0
# Where several classes of a family are heard, they are told as one.
_FAMILIES = (
    # Bells before Music: AudioSet has them under instruments.
    *("Bell", "Speech", "Laughter", "Singing", "Music", "Dog", "Cat", "Horse", "Bird", "Frog"),
    *("Insect", "Thunderstorm", "Rain", "Ocean", "Siren", "Train", "Aircraft", "Car", "Typing"),
    *("Clock", "Telephone", "Gunshot, gunfire", "Fireworks", "Pig", "Fowl", "Cattle, bovinae"),
    *("Toothbrush", "Engine", "Vehicle"),
)
# They are beneath a family, and are heard from other things as well.
_OF_OTHERS = ("Buzz", "Growling", "Hiss", "Howl")
_WORDS = {
    "indoors": "indoors",
    "outdoors": "outdoors",
    "street": "by a street",
    "nature": "in nature",
    "crowd": "among many people",
}
_NUMBERS = "three four five six seven eight nine ten eleven twelve".split()


@dataclass(frozen=True, slots=True)
class Group:
    """Events that are told together.

    Attributes
    ----------
    label : Label
        Of all of them, or above all of them.
    events : tuple of Event
    seconds : float
        How long they are heard in the stretch that is told of.
    """

    label: Label
    events: tuple[Event, ...]
    seconds: float

    @property
    def score(self) -> float:
        """The best of its events'."""
        return max(event.label.score for event in self.events)

    @property
    def weight(self) -> float:
        """How much it matters: by its score, and by how long it is heard."""
        return self.score * math.sqrt(self.seconds)

    @property
    def phrase(self) -> Phrase:
        return phrase_of(self.label)

    @property
    def is_sure(self) -> bool:
        """Whether half of its events or more have a score that is sure, and last half as long."""
        sure = [event for event in self.events if event.label.score >= SURE]
        return 2 * len(sure) >= len(self.events) and 2 * _length(sure) >= _length(self.events)

    @property
    def is_pause(self) -> bool:
        """Whether this is silence that is over soon."""
        longest = max(event.offset - event.onset for event in self.events)
        return self.label.mid == SILENCE and longest < _PAUSE


def caption(
    events: Collection[Event], start: float, end: float, scenes: Sequence[Scene] = ()
) -> Caption:
    """Tell what is heard in a stretch, from its events and the scenes that are to be told.

    Parameters
    ----------
    events : collection of Event
    start, end : float
        Seconds. What began before `start` is not told to begin.
    scenes : sequence of Scene
    """
    named, others = groups(events, start, end)
    sentences = _sentences(sorted(named, key=lambda g: _order(g, start, end)), start, end)
    if others:
        count = len(others)
        text = f"{count} other sound{'' if count == 1 else 's'}"
        together = in_order(event for group in others for event in group.events)
        sentences.append(Sentence(f"and {text}" if sentences else text, together))
    if place := place_of(scenes):
        sentences.append(place)
    return Caption(start, end, tuple(sentences) or (Sentence(NOTHING, ()),))


def groups(
    events: Collection[Event], start: float, end: float, named: int = NAMED
) -> tuple[list[Group], list[Group]]:
    """The groups of a stretch that are to be named, what matters most first, and the others."""
    found = _grouped(within(events, start, end), start, end)
    sounds = [group for group in found if not group.is_pause]
    ranked = sorted(sounds or found, key=lambda group: (-group.weight, group.phrase.text))
    return ranked[:named], ranked[named:]


def place_of(scenes: Iterable[Scene]) -> Sentence | None:
    """What scenes say of the place; None where they say nothing."""
    by_name = {scene.name: scene for scene in scenes}
    place = next((by_name[name] for name in PLACES if name in by_name), None)
    kinds = [by_name[name] for name in ("street", "nature") if name in by_name]
    used = [] if place is None else [place]
    if place is not None and place.name == "outdoors" and kinds:
        used.append(max(kinds, key=lambda scene: scene.score))
    used += [by_name[name] for name in ("crowd",) if name in by_name]
    if not used:
        return None
    resting = in_order(event for scene in used for event in scene.events)
    return Sentence(f"probably {', '.join(_WORDS[scene.name] for scene in used)}", resting)


def _grouped(events: Sequence[Event], start: float, end: float) -> list[Group]:
    families = _families_of(events)
    by_phrase: dict[str, tuple[Label, list[Event]]] = {}
    for event in events:
        label = families.get(event.label.mid, event.label)
        by_phrase.setdefault(phrase_of(label).text, (label, []))[1].append(event)
    return [
        Group(label, in_order(each), covered(each, start, end))
        for label, each in by_phrase.values()
    ]


def _families_of(events: Iterable[Event]) -> dict[str, Label]:
    """By the ids of classes, the families that several of the classes heard belong to."""
    members: dict[str, dict[str, str]] = {}
    for event in events:
        if (head := _family(event.label.mid)) is not None:
            members.setdefault(head, {})[event.label.mid] = phrase_of(event.label).text
    table = ontology()
    found: dict[str, Label] = {}
    for head, texts in members.items():
        if len(set(texts.values())) > 1:
            label = Label(table.nodes[head].name, head, 0.0, table.path(head))
            found.update(dict.fromkeys(texts, label))
    return found


@cache
def _family(mid: str) -> str | None:
    """The id of the family that a class belongs to, or is."""
    table = ontology()
    if mid not in table.nodes or table.nodes[mid].name in _OF_OTHERS:
        return None
    above = {table.nodes[each].name: each for each in (mid, *sorted(table.ancestors(mid)))}
    return next((above[name] for name in _FAMILIES if name in above), None)


def _order(group: Group, start: float, end: float) -> tuple[bool, bool, float, str, str]:
    """Where a group is told: guesses last; what is there most of the time first."""
    share = group.seconds / (end - start)
    by = -share if share > _MOST else math.floor(group.events[0].onset)
    return not group.is_sure, share <= _MOST, by, group.phrase.verb, group.phrase.text


def _sentences(told: Iterable[Group], start: float, end: float) -> list[Sentence]:
    """What is said of each group; of things that follow each other at the same moments, at once."""
    found: list[Sentence] = []
    # That they are guesses, and when they are heard.
    said: tuple[bool, str] | None = None
    things: list[Group] = []
    for group in told:
        saying = not group.is_sure, _when(group, start, end)
        if saying == said and not group.phrase.verb:
            things.append(group)
            found.pop()
        else:
            things = [group]
        # Counts are of one thing, and what someone does is no thing.
        is_thing = not group.phrase.verb and "times" not in saying[1]
        said = saying if is_thing else None
        names = _listed([each.phrase.text for each in things])
        events = in_order(event for each in things for event in each.events)
        found.append(Sentence(f"{PERHAPS if saying[0] else ''}{names} {saying[1]}", events))
    return found


def _when(group: Group, start: float, end: float) -> str:
    """How long, how often or when the events of a group are heard."""
    spans = stretches(group.events, _APART)
    share = group.seconds / (end - start)
    if share > _THROUGHOUT:
        return "throughout"
    if len(spans) == 1:
        return _once(spans[0], start, end)
    if share > _MOST:
        return "most of the time"
    # What began before is not named by a moment.
    began = [_moment(onset) for onset, _ in spans if onset >= start]
    goes_on = len(began) < len(spans)
    if len(spans) > _MOMENTS:
        often = "on and off" if share > _OFTEN else _times(len(spans))
        return often if goes_on else f"{often}, first at {began[0]}"
    times = f"at {_listed(list(dict.fromkeys(began)))}"
    if goes_on:
        return f"at first and {times}"
    return f"{_times(len(spans))}, {times}" if group.phrase.verb else times


def _once(span: tuple[float, float], start: float, end: float) -> str:
    onset, offset = span
    lasts = offset > end - _APART
    if onset < start:
        # Pauses that are too short to tell keep it from being throughout.
        return "on and off" if lasts else "at first"
    if min(offset, end) - onset < min(_LONG, _LONG_SHARE * (end - start)):
        return f"at {_moment(onset)}"
    if lasts:
        return f"from {_moment(onset)} on"
    return "at first" if onset < start + _APART else f"for a while from {_moment(onset)}"


def _length(events: Iterable[Event]) -> float:
    return sum(event.offset - event.onset for event in events)


def _moment(seconds: float) -> str:
    """A moment in whole seconds, rounded down."""
    return clock(int(seconds + 1e-6))


def _times(count: int) -> str:
    """How often, from twice on."""
    if count == 2:
        return "twice"
    number = _NUMBERS[count - 3] if count - 3 < len(_NUMBERS) else f"{count:,}"
    return f"{number} times"


def _listed(texts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))
