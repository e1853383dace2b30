"""From events to the place or occasion that they speak for.

A class's weight for a scene is how likely it is to be that scene where the class is heard, as far
as one can say without having seen it: judgement, not measurement. What several classes say is
joined as independent causes are (a noisy-or; Pearl, "Probabilistic Reasoning in Intelligent
Systems", 1988, section 4.3): 1 - product of (1 - weight x score). The thresholds were chosen on
folds 1 and 2 of ESC-50 by `benchmarks.describing`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cache

from ..labels.ontology import ontology
from ..labels.timeline import Event, in_order
from .records import Scene
from .spans import covered

__all__ = ["AGAINST", "ENOUGH", "KIND", "PLACES", "evidence", "of_all", "scenes_in"]

PLACES = ("indoors", "outdoors")
_ORDER = (*PLACES, "street", "nature", "crowd", "music", "speech", "silence")
# The score that a place needs to be told, and how much of that may speak for the other place.
ENOUGH, AGAINST = 0.4, 0.5
# What a street, nature or a crowd needs: much of what is heard there is heard elsewhere, too.
KIND = 0.6
# Of the time that music, speech or silence is heard for.
_MOSTLY = 0.5
# Of the minutes of a long recording that say so; and, of these, as many may say the other place.
_MINUTES, _OTHERS = 1 / 3, 0.25

Weights = dict[str, float]


def _out(outdoors: float, **others: float) -> Weights:
    return {"outdoors": outdoors, **others}


def _in(indoors: float, **others: float) -> Weights:
    return {"indoors": indoors, **others}


# A class without a row has that of the nearest class above it; {} is for one that says nothing.
_WEIGHTS: dict[str, Weights] = {
    "Outside, urban or manmade": _out(0.9, street=0.6),
    "Outside, rural or natural": _out(0.95, nature=0.9),
    "Inside, small room": _in(0.9),
    "Inside, large room or hall": _in(0.9),
    "Inside, public space": _in(0.8, crowd=0.5),
    # Weather, water, plants.
    "Wind": _out(0.8, nature=0.3),
    "Rustling leaves": _out(0.9, nature=0.9),
    "Thunderstorm": _out(0.7, nature=0.3),
    "Rain": _out(0.8, nature=0.2),
    "Stream": _out(0.9, nature=0.9),
    "Waterfall": _out(0.8, nature=0.8),
    "Ocean": _out(0.9, nature=0.9),
    # Animals.
    "Bird": _out(0.8, nature=0.5),
    "Fowl": _out(0.7, nature=0.5),
    "Livestock, farm animals, working animals": _out(0.7, nature=0.5),
    "Wild animals": _out(0.6, nature=0.6),
    "Growling": {},
    "Howl": {},
    "Roaring cats (lions, tigers)": _out(0.4, nature=0.4),
    "Insect": _out(0.5, nature=0.5),
    "Cricket": _out(0.8, nature=0.8),
    "Mosquito": {},
    "Fly, housefly": {},
    "Frog": _out(0.8, nature=0.8),
    "Rodents, rats, mice": {},
    "Snake": {},
    # Traffic and machines outside.
    "Boat, Water vehicle": _out(0.7),
    "Motor vehicle (road)": _out(0.6, street=0.7),
    "Car alarm": _out(0.6, street=0.6),
    "Power windows, electric windows": {},
    "Traffic noise, roadway noise": _out(0.8, street=0.95),
    "Car passing by": _out(0.85, street=0.9),
    "Race car, auto racing": _out(0.7),
    "Siren": _out(0.4, street=0.5),
    "Train": _out(0.4),
    "Train horn": _out(0.6),
    "Subway, metro, underground": {},
    "Aircraft": _out(0.4),
    "Helicopter": _out(0.5),
    "Bicycle": _out(0.6, street=0.4),
    "Skateboard": _out(0.7, street=0.5),
    "Lawn mower": _out(0.8),
    "Chainsaw": _out(0.8),
    "Jackhammer": _out(0.6, street=0.5),
    "Fireworks": _out(0.7),
    "Gunshot, gunfire": _out(0.4),
    "Foghorn": _out(0.7),
    "Church bell": _out(0.6),
    # People together.
    "Crowd": {"crowd": 0.9},
    "Hubbub, speech noise, speech babble": {"crowd": 0.9},
    "Chatter": {"crowd": 0.7},
    "Cheering": {"crowd": 0.8},
    "Applause": {"crowd": 0.8},
    "Children playing": _out(0.5, crowd=0.4),
    # Rooms and what is in them.
    "Typing": _in(0.9),
    "Writing": _in(0.7),
    "Door": _in(0.5),
    "Doorbell": _in(0.7),
    "Sliding door": _in(0.6),
    "Squeak": {},
    "Tap": {},
    "Cupboard open or close": _in(0.9),
    "Drawer open or close": _in(0.9),
    "Dishes, pots, and pans": _in(0.8),
    "Cutlery, silverware": _in(0.8),
    "Chopping (food)": _in(0.8),
    "Frying (food)": _in(0.8),
    "Microwave oven": _in(0.95),
    "Blender": _in(0.9),
    "Water tap, faucet": _in(0.7),
    "Sink (filling or washing)": _in(0.9),
    "Bathtub (filling or washing)": _in(0.9),
    "Hair dryer": _in(0.9),
    "Toilet flush": _in(0.95),
    "Toothbrush": _in(0.9),
    "Electric shaver, electric razor": _in(0.8),
    "Vacuum cleaner": _in(0.9),
    "Shuffling cards": _in(0.7),
    "Telephone": _in(0.6),
    "Alarm clock": _in(0.8),
    "Smoke detector, smoke alarm": _in(0.8),
    "Clock": _in(0.8),
    "Sewing machine": _in(0.9),
    "Mechanical fan": _in(0.7),
    "Air conditioning": _in(0.7),
    "Cash register": _in(0.8),
    "Printer": _in(0.9),
    "Boiling": _in(0.7),
    "Snoring": _in(0.8),
    "Television": _in(0.9),
    "Radio": _in(0.5),
}
# Scenes that are a share of the time: of the events of a node and of all below it.
_SHARES = {"music": "Music", "speech": "Speech", "silence": "Silence"}
# AudioSet has them under instruments; a church's or a bicycle's make no music.
_NO_MUSIC = "Bell"


def evidence(events: Iterable[Event]) -> dict[str, Scene]:
    """What events say, however little, about each scene that rests on the classes heard."""
    rows: dict[str, list[Event]] = {}
    for event in events:
        for row in _rows(event.label.mid):
            rows.setdefault(row, []).append(event)
    scores: dict[str, float] = {}
    speaking: dict[str, list[Event]] = {}
    for row, heard in rows.items():
        best = min(max(event.label.score for event in heard), 1.0)
        for name, weight in _WEIGHTS[row].items():
            scores[name] = 1 - (1 - scores.get(name, 0.0)) * (1 - weight * best)
            speaking.setdefault(name, []).extend(heard)
    return {name: Scene(name, score, in_order(speaking[name])) for name, score in scores.items()}


def scenes_in(
    events: Collection[Event],
    start: float,
    end: float,
    *,
    enough: float = ENOUGH,
    against: float = AGAINST,
    kind: float = KIND,
) -> tuple[Scene, ...]:
    """The scenes of a stretch of a minute or so, from the events in it.

    Parameters
    ----------
    events : collection of Event
    start, end : float
        Seconds.
    enough : float
        The score that a place needs.
    against : float
        How much of that may speak for the other place.
    kind : float
        The score that a street, nature or a crowd needs.
    """
    said = evidence(events)
    found = [s for s in said.values() if s.score >= (enough if s.name in PLACES else kind)]
    for place, other in (PLACES, PLACES[::-1]):
        if place in said and other in said and said[other].score > against * said[place].score:
            found = [scene for scene in found if scene.name != place]
    for name, node in _SHARES.items():
        heard = [event for event in events if _is_share(event.label.mid, node)]
        share = covered(heard, start, end) / (end - start)
        if share >= _MOSTLY:
            found.append(Scene(name, share, in_order(heard)))
    return tuple(sorted(found, key=lambda scene: _ORDER.index(scene.name)))


def of_all(minutes: Sequence[Sequence[Scene]]) -> tuple[Scene, ...]:
    """The scenes of a recording, from those of its minutes.

    They are what a third of the minutes say; of places that for which the other has a quarter as
    many at most.
    """
    told: dict[str, list[Scene]] = {}
    for scenes in minutes:
        for scene in scenes:
            told.setdefault(scene.name, []).append(scene)
    found = []
    for name in filter(told.__contains__, _ORDER):
        other = PLACES[PLACES[0] == name] if name in PLACES else ""
        each, others = told[name], told.get(other, [])
        if len(each) >= _MINUTES * len(minutes) and len(others) <= _OTHERS * len(each):
            score = sum(scene.score for scene in each) / len(each)
            found.append(Scene(name, score, in_order(e for scene in each for e in scene.events)))
    return tuple(found)


def _rows(mid: str) -> tuple[str, ...]:
    """The rows of the table that count for a class: its own, else the nearest above it."""
    nodes = ontology().nodes
    level = [mid] if mid in nodes else []
    while level:
        if rows := [nodes[each].name for each in level if nodes[each].name in _WEIGHTS]:
            return tuple(dict.fromkeys(rows))
        level = [parent for each in level for parent in nodes[each].parents]
    return ()


@cache
def _is_share(mid: str, name: str) -> bool:
    table = ontology()
    if mid not in table.nodes:
        return False
    names = {table.nodes[each].name for each in (mid, *table.ancestors(mid))}
    return name in names and _NO_MUSIC not in names
