"""Timelines to describe, and what must be true of whatever is said of them."""

from __future__ import annotations

import re

from soundsearch import Event, Label, Timeline
from soundsearch.captions import phrases, scenes
from soundsearch.captions.records import PERHAPS
from soundsearch.captions.sentences import NOTHING, SURE
from soundsearch.labels.ontology import ontology
from soundsearch.labels.timeline import ON

MIDS = {node.name: node.mid for node in ontology().classes}
OWN = ('a "b", <c> & --> d; e', "at 0:05", "perhaps rain throughout", "my drill")
HEARD = (
    *("Rain", "Raindrop", "Thunder", "Bark", "Bow-wow", "Dog", "Animal", "Speech", "Music"),
    *("Male speech, man speaking", "Jazz", "Silence", "Inside, small room", "Typing", "Siren"),
    *("Car passing by", "Crowd", "Bird", "Chirp, tweet", "Rattle", "Rattle (instrument)"),
    *("Boat, Water vehicle", "Reverberation", "Sonar", "Vehicle", "Church bell", "Bicycle bell"),
    *("Growling", "Hiss", "Meow", "Christmas music", *OWN),
)


def label(name, score=0.9):
    mid = MIDS.get(name, "")
    return Label(name, mid, score, ontology().path(mid) if mid else (name,))


def event(name, onset, offset, score=0.9):
    return Event(float(onset), float(offset), label(name, score))


TIME = r"\d+:[0-5]\d(?::[0-5]\d)?"
COUNTS = "twice|(?:{}|[\\d,]+) times".format(
    "|".join("three four five six seven eight nine ten eleven twelve".split())
)
WHEN = re.compile(
    rf"throughout|most of the time|at first(?: and at {TIME}(?:, {TIME})*(?: and {TIME})?)?"
    rf"|(?:(?P<counted>{COUNTS}), )?at {TIME}(?:, {TIME})*(?: and {TIME})?"
    rf"|from {TIME} on|for a while from {TIME}|(?:on and off|(?P<often>{COUNTS}))"
    rf"(?:, first at {TIME})?"
)
NUMBERS = {"twice": 2} | {
    f"{name} times": number
    for number, name in enumerate(
        "three four five six seven eight nine ten eleven twelve".split(), 3
    )
}


def named_labels():
    found = {}
    for node in ontology().classes:
        text = phrases.phrase_of(Label(node.name, node.mid, 1, ontology().path(node.mid))).text
        found.setdefault(text, set()).add(node.mid)
    return found | {f'"{name}"': {name} for name in OWN}


NAMES = named_labels()


def at_or_above(event):
    mid = event.label.mid
    return {mid, *ontology().ancestors(mid)} if mid else {event.label.name}


def joined(events, apart=0.0):
    spans = []
    for onset, offset in sorted((e.onset, e.offset) for e in events):
        if spans and onset <= spans[-1][1] + apart:
            spans[-1][1] = max(spans[-1][1], offset)
        else:
            spans.append([onset, offset])
    return spans


def as_clock(seconds):
    whole = int(seconds + 1e-6)
    text = f"{whole // 60 % 60}:{whole % 60:02}"
    if whole < 3600:
        return text
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def check_sentence(sentence, events, start, end):
    text, resting = sentence.text, sentence.events
    if text == NOTHING:
        assert not resting and not events
        return
    assert resting and set(resting) <= set(events)
    if others := re.fullmatch(r"(?:and )?(\d+) other sounds?", text):
        assert 1 <= int(others[1]) <= len({e.label.name for e in resting})
        return
    if text.startswith("probably "):
        words = {"by a street": "street", "in nature": "nature", "among many people": "crowd"}
        told = {words.get(word, word) for word in text.removeprefix("probably ").split(", ")}
        for each in resting:
            assert told & scenes.evidence([each]).keys()
        return
    is_guess = text.startswith(PERHAPS) and not text.startswith('"')
    text = text.removeprefix(PERHAPS) if is_guess else text
    names, rest = names_in(text)
    for each in resting:
        assert any(NAMES[name] & at_or_above(each) for name in names), text
    when = WHEN.fullmatch(rest)
    assert when, text
    for name in names:
        own = [each for each in resting if NAMES[name] & at_or_above(each)]
        check_moments(when, own, len(names) > 1, start, end)
    if len(names) == 1:
        sure = [e for e in resting if e.label.score >= SURE]
        lengths = [sum(e.offset - e.onset for e in each) for each in (sure, resting)]
        assert is_guess == (2 * len(sure) < len(resting) or 2 * lengths[0] < lengths[1])


def names_in(text):
    """The names that a sentence begins with, and the rest."""
    names = []
    while True:
        fits = [name for name in NAMES if text.startswith((f"{name} ", f"{name},"))]
        names.append(max(fits, key=len))
        text = text[len(names[-1]) :]
        if joint := re.match(", | and ", text):
            text = text[joint.end() :]
        else:
            return names, text[1:]


def check_moments(when, resting, is_shared, start, end):
    """Check what is said of when a sound is heard by its events."""
    assert resting
    moments = {as_clock(e.onset) for e in resting if e.onset >= start}
    assert set(re.findall(TIME, when[0])) <= moments
    if counted := when["counted"] or when["often"]:
        number = NUMBERS.get(counted) or int(counted.removesuffix(" times").replace(",", ""))
        assert number == len(joined(resting, 1.0))
    seconds = sum(max(min(b, end) - max(a, start), 0) for a, b in joined(resting))
    assert "throughout" not in when[0] or seconds / (end - start) > 0.8
    assert is_shared or "throughout" in when[0] or seconds / (end - start) <= 0.8
    last = max(each.offset for each in resting)
    assert when[0] != "at first" or last <= end - 1
    assert not when[0].startswith("from ") or last > end - 1
    assert "most of the time" not in when[0] or seconds / (end - start) > 0.5


def check_caption(told, events):
    inside = [e for e in events if e.onset < told.end and e.offset > told.start]
    for sentence in told.sentences:
        check_sentence(sentence, inside, told.start, told.end)
    assert (told.sentences[0].text == NOTHING) == (not inside)
    # Whatever was heard is told, if only as another sound; silence may be passed over.
    told_of = {e for sentence in told.sentences for e in sentence.events}
    assert all(e.label.name == "Silence" for e in set(inside) - told_of)
    assert re.fullmatch(r'[A-Z0-9"].*\.', told.text, re.S)


def random_timeline(rng):
    duration = float(rng.choice([0.3, 5.0, 61.0, 200.0, 4000.0]))
    names = rng.choice(HEARD, rng.integers(1, 12))
    events = []
    for _ in range(rng.integers(0, 60)):
        onset = float(rng.uniform(0, duration * 0.999))
        offset = min(onset + float(rng.choice([0.3, 3, 60, 900])) * rng.uniform(0.1, 1), duration)
        if offset > onset:
            events.append(event(str(rng.choice(names)), onset, offset, rng.uniform(ON, 1)))
    events.sort(key=lambda e: (e.onset, e.offset, e.label.name))
    return Timeline("", tuple(events), duration)
