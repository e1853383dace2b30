"""What begins and what ends, told from the scores of segments."""

from __future__ import annotations

import numpy as np
import pytest
from support.moments import check_pairs

from soundsearch import Ended
from soundsearch.labels.moments import Teller
from soundsearch.labels.ontology import CLASSES, ontology
from soundsearch.labels.vocabulary import AUDIOSET

NAMED = {node.name: index for index, node in enumerate(ontology().classes)}
ABOVE = ontology().above
CHOSEN = ("Bark", "Howl", "Dog", "Cat", "Meow", "Rain", "Silence")


def scores(segments, **classes):
    found = np.zeros((segments, CLASSES), np.float32)
    for name, values in classes.items():
        found[: len(values), NAMED[name]] = values
    return with_parents(found)


def with_parents(found):
    for index in range(CLASSES):
        found[:, index] = np.maximum(found[:, index], found[:, ABOVE[index]].max(1, initial=0))
    return found


def told(found, duration=None, **settings):
    teller = Teller(AUDIOSET, 1.0, 1.0, on=0.5, off=0.2, **{"gap": 0.0, **settings})
    duration = float(len(found)) if duration is None else duration
    return [
        (type(each).__name__, each.label.name, each.onset, getattr(each, "offset", None))
        for each in [*teller.push(found), *teller.finish(duration)]
    ]


def test_a_sound_begins_when_it_is_sure_and_ends_when_the_gap_is_over():
    found = scores(9, Rain=[0, 0.3, 0.4, 0.6, 0, 0.3, 0, 0, 0])
    teller = Teller(AUDIOSET, 1.0, 1.0, on=0.5, off=0.2, gap=1.0)
    moments = [*teller.push(found)]
    rain, water = (
        [each for each in moments if each.label.name == name] for name in ("Rain", "Water")
    )
    assert [(each.onset, each.heard) for each in rain] == [(1, 4), (1, 8)]
    assert rain[1].offset == 6 and rain[1].label.score == pytest.approx(0.6)
    assert water == []
    assert told(scores(3, Rain=[0.4, 0.4, 0.4])) == []


def test_what_is_on_ends_with_the_sound():
    ends = told(scores(3, Rain=[0, 0.9, 0.9]), 2.7)
    assert ends == [("Began", "Rain", 1, None), ("Ended", "Rain", 1, 2.7)]
    ends = told(scores(3, Rain=[0.9, 0.9, 0]), gap=5.0)
    assert ends == [("Began", "Rain", 0, None), ("Ended", "Rain", 0, 2)]


def test_only_the_class_beneath_is_told_and_what_was_told_before_ends():
    found = told(scores(6, Dog=[0.6] * 5, Bark=[0, 0, 0.7]))
    assert found == [
        ("Began", "Dog", 0, None),
        ("Ended", "Dog", 0, 3),
        ("Began", "Bark", 2, None),
        ("Ended", "Bark", 2, 3),
        ("Began", "Dog", 3, None),
        ("Ended", "Dog", 3, 5),
    ]
    # What is left when the one beneath ends must be sure to begin again.
    found = told(scores(6, Dog=[0.6, 0.6, 0.6, 0.3, 0.3], Bark=[0, 0, 0.7]))
    assert [row[:2] for row in found] == [
        *(("Began", "Dog"), ("Ended", "Dog"), ("Began", "Bark"), ("Ended", "Bark"))
    ]
    teller = Teller(AUDIOSET, 1.0, 1.0, on=0.5, off=0.2, gap=0.0)
    moments = [*teller.push(scores(3, Dog=[0.6] * 3, Bark=[0, 0.7, 0.8]))]
    assert moments[1].told_as.name == "Bark" and moments[1].to_dict()["told_as"] == "Bark"


@pytest.mark.parametrize("seed", range(6))
def test_any_scores_in_any_blocks_are_told_as_they_are_by_hand(seed):
    rng = np.random.default_rng(seed)
    count, gap = int(rng.integers(1, 300)), int(rng.integers(0, 4))
    found = np.zeros((count, CLASSES), np.float32)
    chosen = [NAMED[name] for name in CHOSEN]
    walk = rng.normal(0, 1.5, (count, len(chosen))).cumsum(axis=0) % 12 - 8
    found[:, chosen] = 1 / (1 + np.exp(-walk))
    found = with_parents(found)
    on, off = 0.4, 0.15
    # From when on each stretch of a class is sure, and where it began.
    sure = np.zeros((count, CLASSES), bool)
    first = np.zeros((count, CLASSES), int)
    for index in range(CLASSES):
        last, best = None, 0.0
        for row, score in enumerate(found[:, index].tolist()):
            passed = 0 if index == NAMED["Silence"] else gap
            if last is not None and row - last - (score >= off) > passed:
                last = None
            if score >= np.float32(off):
                if last is None:
                    begin, best = row, 0.0
                last, best = row, max(best, score)
            if last is not None:
                sure[row, index], first[row, index] = best >= np.float32(on), begin
    covered = np.stack([sure[:, ABOVE[index]].any(axis=1) for index in range(CLASSES)], axis=1)
    expected = []
    for index in range(CLASSES):
        begun = None
        for row in range(count):
            if begun is not None and not (sure[row, index] and not covered[row, index]):
                expected.append((index, begun))
                begun = None
            is_on = sure[row, index] and not covered[row, index]
            if is_on and begun is None and found[row, index] >= np.float32(on):
                begun = first[row, index]
                before = np.flatnonzero(covered[begun:row, index] & sure[begun:row, index])
                begun = begun + before[-1] + 1 if len(before) else begun
        if begun is not None:
            expected.append((index, begun))
    teller, moments = Teller(AUDIOSET, 0.24, 0.96, on=on, off=off, gap=0.24 * gap), []
    for block in np.split(found, np.sort(rng.integers(0, count + 1, 8))):
        moments += teller.push(block)
    duration = 0.24 * (count - 1) + 0.96
    moments += teller.finish(duration)
    check_pairs(moments, duration)
    got = [
        (NAMED[each.label.name], round((each.onset - 0.36) / 0.24) if each.onset else 0)
        for each in moments
        if isinstance(each, Ended)
    ]
    assert sorted(got) == sorted((index, int(begun)) for index, begun in expected)


def test_what_is_kept_does_not_grow_with_the_sound():
    teller = Teller(AUDIOSET, 1.0, 1.0)
    block = scores(1000, Rain=[0.9, 0.9, 0, 0] * 250, Animal=[0.9] * 1000)
    for _ in range(5):
        assert 500 <= len([*teller.push(block)]) <= 501
        assert len(teller._open) < 10
