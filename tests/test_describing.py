"""Descriptions of timelines: nothing is said that no event supports; all that matters is said."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import numpy as np
import pytest
from support.descriptions import MIDS, check_caption, event, joined, random_timeline

from soundsearch import Label, Timeline
from soundsearch.captions import phrases, scenes
from soundsearch.captions.minutes import described
from soundsearch.captions.sentences import NAMED, SURE, caption
from soundsearch.labels.ontology import ontology


def said(*events, end=60.0, start=0.0):
    return caption(events, start, end).text


# Sentences


def test_the_example():
    events = (
        event("Rain", 0, 60),
        event("Thunder", 5.9, 8),
        event("Thunder", 41, 44),
        event("Bark", 20, 21),
        event("Bark", 30.5, 31),
    )
    description = described(Timeline("", events, 60.0))
    assert description.text == (
        "Rain throughout; thunder at 0:05 and 0:41; a dog barks twice, at 0:20 and 0:30; "
        "probably outdoors."
    )
    rain, thunder, bark, place = description.caption.sentences
    assert (rain.events, thunder.events) == (events[:1], events[1:3])
    assert bark.events == events[3:] and set(place.events) == set(events[:3])
    assert [(s.label.name, s.count, round(s.share, 3)) for s in description.shares] == [
        ("Rain", 1, 1),
        ("Thunder", 2, 0.085),
        ("Bark", 2, 0.025),
    ]
    assert [scene.name for scene in description.scenes] == ["outdoors"]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("A dog barks at 0:05.", [("Bark", 5, 6)]),
        ("Perhaps a dog barks at 0:05.", [("Bark", 5, 6, SURE - 0.01)]),
        ("Music from 0:20 on.", [("Music", 20, 60)]),
        ("Music for a while from 0:20.", [("Music", 20, 40)]),
        ("Music at first.", [("Music", 0, 20)]),
        ("Music most of the time.", [("Music", 0, 20), ("Music", 22, 40)]),
        ("Music on and off, first at 0:01.", [("Music", 1 + 9 * n, 6 + 9 * n) for n in range(5)]),
        ("A dog barks 13 times, first at 0:00.", [("Bark", 4 * n, 4 * n + 0.5) for n in range(13)]),
        (
            "A dog barks five times, first at 0:01.",
            [("Bark", n, n + 0.3) for n in range(1, 50, 10)],
        ),
        # Members of a family are told as one, and two that sound at once are one.
        ("A dog at 0:05 and 0:30.", [("Bark", 5, 6), ("Yip", 5.5, 7), ("Whimper (dog)", 30, 31)]),
        # Not what others do, too; and bells are no music.
        (
            "A cat meows at 0:05; growling at 0:20; hissing at 0:30; howling at 0:40.",
            [("Meow", 5, 6), ("Growling", 20, 21), ("Hiss", 30, 31), ("Howl", 40, 41)],
        ),
        (
            "A bell at 0:05 and 0:20; a guitar at 0:30.",
            [("Church bell", 5, 6), ("Bicycle bell", 20, 21), ("Guitar", 30, 31)],
        ),
        ("A dog barks twice, at 0:05 and 0:30.", [("Bark", 5, 6), ("Bow-wow", 30, 31)]),
        ('"my drill" at 0:05.', [("my drill", 5, 6)]),
        ("Sonar at 0:05.", [("Sonar", 5, 6)]),
        ("Jazz at 0:05.", [("Jazz", 5, 6)]),
        # Names keep their capitals.
        ("Perhaps music of Latin America at 0:05.", [("Music of Latin America", 5, 6, 0.5)]),
        ("Perhaps a French horn at 0:05.", [("French horn", 5, 6, 0.5)]),
        # A pause is told where there is nothing else only.
        ("Silence at 0:05.", [("Silence", 5, 6)]),
        ("A dog barks at 0:08.", [("Silence", 5, 6), ("Bark", 8, 9)]),
        ("Silence at 0:05; a dog barks at 0:10.", [("Silence", 5, 9), ("Bark", 10, 11)]),
        ("Nothing that is known was heard.", []),
        # One that is sure makes no certainty of two that are guesses.
        (
            "Perhaps thunder at 0:01, 0:20 and 0:40.",
            [("Thunder", 1, 2), ("Thunder", 20, 21, 0.5), ("Thunder", 40, 41, 0.5)],
        ),
        (
            "Perhaps music throughout.",
            [("Music", 0, 60, 0.5), ("Guitar", 5, 6), ("Piano", 15, 16)],
        ),
        (
            "Rain and thunder at 0:05; someone sneezes at 0:05; perhaps a siren and wood at 0:09.",
            [("Rain", 5, 6), ("Thunder", 5.1, 6), ("Sneeze", 5, 6)]
            + [(name, 9.5, 10, 0.5) for name in ("Wood", "Siren")],
        ),
        ("Rain and wind throughout.", [("Rain", 0, 60), ("Wind", 1, 59)]),
        (
            "Rain throughout; perhaps a cat at 0:05, a dog barks at 0:10.",
            [("Rain", 0, 60), ("Cat", 5, 6, 0.5), ("Bark", 10, 11, 0.5)],
        ),
    ],
)
def test_sentences(text, events):
    assert said(*(event(*each) for each in events)) == text


def test_what_began_before_is_not_told_to_begin():
    rain = event("Rain", 30, 75)
    assert said(rain, start=60, end=120) == "Rain at first."
    assert said(rain, event("Rain", 90, 95), start=60, end=120) == "Rain at first and at 1:30."
    assert said(event("Rain", 30, 600), start=60, end=120) == "Rain throughout."
    barks = [event("Bark", n + 0.7, n + 1.1) for n in range(180)]
    assert said(*barks, start=60, end=120) == "A dog barks on and off."
    many = [event("Bark", n, n + 2) for n in range(59, 120, 13)]
    assert said(*many, start=60, end=120) == "A dog barks five times."
    assert said(event("Bark", 3725, 3726), start=3600, end=7200) == "A dog barks at 1:02:05."


def test_a_long_list_is_cut_to_what_matters():
    names = "Slam Squeak Blender Scissors Whistle Gears Pulleys Printer Hammer Drill Boom Drip"
    each = [event(name, 2 * n, 2 * n + 1, 0.85) for n, name in enumerate(names.split())]
    text = said(*each, event("Rain", 0, 35, 0.85))
    assert text.startswith("Rain at first; ") and text.endswith(f"; and {13 - NAMED} other sounds.")
    assert text.count(";") == NAMED
    assert said(*each[: NAMED + 1]).endswith("; and 1 other sound.")


@pytest.mark.parametrize("seed", range(60))
def test_nothing_is_said_that_no_event_supports(seed):
    timeline = random_timeline(np.random.default_rng(seed))
    found = described(timeline)
    check_caption(found.caption, timeline.events)
    for minute in found.minutes:
        check_caption(minute, timeline.events)
    assert found.minutes[0].start == 0 and found.minutes[-1].end == timeline.duration
    assert all(one.end == other.start for one, other in pairwise(found.minutes))
    assert len({scene.name for scene in found.scenes} & {"indoors", "outdoors"}) < 2
    for scene in found.scenes:
        assert scene.events and set(scene.events) <= set(timeline.events) and scene.score <= 1
    by_name = {}
    for each in timeline:
        by_name.setdefault(each.label.name, []).append(each)
    assert {share.label.name for share in found.shares} == set(by_name)
    for share in found.shares:
        events = by_name[share.label.name]
        assert share.count == len(events)
        assert share.seconds == pytest.approx(sum(b - a for a, b in joined(events)))
        assert share.share == pytest.approx(share.seconds / timeline.duration)
    json.dumps(found.to_dict())


def test_every_class_has_words():
    for node in ontology().classes:
        phrase = phrases.phrase_of(Label(node.name, node.mid, 1, ontology().path(node.mid)))
        assert phrase.text == phrase.text.strip() and "(" not in phrase.text
        assert re.fullmatch(r"[\w' -]*", phrase.cue) and not re.match("(an?|the) ", phrase.cue)
        assert not re.match(r"a [aeio]|an [^aeiou]", phrase.text), phrase.text


# Scenes


def test_places_are_told_where_enough_speaks_for_them_and_little_against():
    def place(*names, score=0.9):
        events = [event(name, 5 * n, 5 * n + 4, score) for n, name in enumerate(names)]
        return [scene.name for scene in described(Timeline("", tuple(events), 60.0)).scenes]

    assert place("Toilet flush") == ["indoors"] and place("Rain") == ["outdoors"]
    assert place("Outside, rural or natural") == ["outdoors", "nature"]
    assert place("Car passing by", "Siren") == ["outdoors", "street"]
    assert place("Rain", "Toilet flush") == place("Bark") == place("my drill") == []
    assert place("Siren", score=0.5) == []
    assert place("Crowd") == ["crowd"]
    assert place("Howl") == place("Growling") == place("Squeak") == place("Tap") == []
    # What is beneath a class of the table speaks as that does, unless it has a row of its own.
    assert place("Computer keyboard") == ["indoors"] and place("Mosquito") == []


def test_bells_are_no_music():
    def mostly(name):
        return [s.name for s in described(Timeline("", (event(name, 0, 50),), 60.0)).scenes]

    assert mostly("Church bell") == ["outdoors"] and mostly("Tubular bells") == ["music"]


def test_a_recording_is_where_a_third_of_its_minutes_are():
    def place(*minutes):
        events = [event(name, 60 * n + 1, 60 * n + 5) for n, name in enumerate(minutes) if name]
        return [s.name for s in described(Timeline("", tuple(events), 60.0 * len(minutes))).scenes]

    assert place("Rain", "", "") == ["outdoors"]
    assert place("Rain", "", "", "") == []
    assert place("Rain", "Toilet flush") == []
    assert place(*["Rain"] * 4, "Toilet flush") == ["outdoors"]


def test_a_place_is_told_once_until_another_is():
    names = ["Rain", "Rain", "", "Rain", "Typing", "Typing", "Rain"]
    events = [event(name, 60 * n + 1, 60 * n + 5) for n, name in enumerate(names) if name]
    found = described(Timeline("", tuple(events), 420.0))
    assert [re.findall("probably .*doors", minute.text) for minute in found.minutes] == [
        ["probably outdoors"],
        *[[]] * 3,
        ["probably indoors"],
        [],
        ["probably outdoors"],
    ]


def test_every_row_of_the_table_is_a_class():
    assert scenes._WEIGHTS.keys() <= MIDS.keys()
    for weights in scenes._WEIGHTS.values():
        assert weights.keys() <= {"indoors", "outdoors", "street", "nature", "crowd"}
        assert all(0 < weight < 1 for weight in weights.values())
