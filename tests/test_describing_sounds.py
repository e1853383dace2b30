"""Captions for people who cannot hear; sounds described as they are heard; the command line."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner
from support.descriptions import OWN, check_caption, event, random_timeline
from support.heads import written
from support.sounds import RATE, noise, tone, write

import soundsearch
from soundsearch import AudioError
from soundsearch.captions import phrases
from soundsearch.captions.cues import cues
from soundsearch.captions.minutes import Minutes
from soundsearch.cli.main import main
from soundsearch.labels.head import HeadSpec, bundled_head
from soundsearch.labels.timeline import ON, Tracker
from soundsearch.labels.vocabulary import AUDIOSET


def run(*arguments, **kwargs):
    return CliRunner().invoke(main, ["describe", *map(str, arguments)], **kwargs)


# Cues


def test_cues():
    events = [
        event("Rain", 0, 600),
        event("Bark", 8, 8.9),
        event("Speech", 20, 30),
        event("Bark", 20.2, 21),
        event("Bark", 22, 23),
        event("Silence", 40, 44),
        event("Sneeze", 50, 50.9, 0.5),
        event("Inside, small room", 50, 51),
        event("Animal", 70, 90),
        event("Meow", 70.1, 74),
    ]
    assert [(round(cue.start, 2), round(cue.end, 2), cue.text) for cue in cues(events)] == [
        (0, 6, "[rain]"),
        (8, 9.33, "[dog barks]"),
        (20, 26, "[speech] [dog barking]"),
        (50, 51.33, "[sneezes?]"),
        (70, 74, "[cat meowing]"),
    ]
    assert [cue.text for cue in cues([event("Silence", 0, 60)])] == ["[silence]"]
    assert [*cues([])] == []


@pytest.mark.parametrize("seed", range(30))
def test_cues_neither_overlap_nor_flicker_and_name_what_is_heard(seed):
    timeline = random_timeline(np.random.default_rng(seed))
    last = None
    for cue in cues(timeline.events):
        assert cue.end - cue.start >= 1.3
        assert last is None or cue.start - last.end > 0.4 or cue.start == last.end
        if last is not None and cue.start == last.end:
            assert cue.text != last.text
        names = re.findall(r"\[(.*?)(?:\?)?\](?: |$)", cue.text)
        words = set()
        for each in cue.events:
            assert each.onset < cue.end
            phrase = phrases.phrase_of(each.label)
            words |= {phrase.cue[:29], phrase.brief_cue[:29]}
        assert 1 <= len(names) <= 3 and len(cue.text) <= 110
        assert {name[:29].removesuffix("...") for name in names} <= words
        last = cue


# As it is heard


def test_events_so_far_change_nothing_and_are_the_beginnings_of_what_is_told():
    rng = np.random.default_rng(1)
    found = np.zeros((300, len(AUDIOSET)), np.float32)
    chosen = [AUDIOSET.index(name) for name in ("Bark", "Dog", "Animal", "Rain", "Silence")]
    walk = rng.normal(0, 1.5, (300, 3)).cumsum(axis=0) % 12 - 8
    found[:, [chosen[0], *chosen[3:]]] = 1 / (1 + np.exp(-walk))
    for below, above in pairwise(chosen[:3]):
        found[:, above] = np.maximum(found[:, below], rng.uniform(0, 0.6, 300))
    tracker, asked = Tracker(AUDIOSET, 0.96, 0.96), Tracker(AUDIOSET, 0.96, 0.96)
    expected = [*tracker.push(found), *tracker.finish(288.0)]
    events = []
    for number, row in enumerate(found):
        events += asked.push(row[None])
        for each in asked.so_far():
            assert each.offset <= (number + 1) * 0.96 + 1e-6 and each.label.score >= ON
            assert [*asked.so_far()].count(each) == 1
    assert [*events, *asked.finish(288.0)] == expected


def test_minutes_keep_only_what_goes_on():
    minutes = Minutes()
    for number in range(200):
        minutes.add(event("Bark", 60 * number + n, 60 * number + n + 0.2) for n in range(0, 59, 2))
        assert minutes.is_over(60 * number + 75) and not minutes.is_over(60 * number + 74)
        told = minutes.told([event("Rain", 0, 60 * number + 75)])
        assert told.text.startswith("Rain throughout; a dog barks 30 times")
        assert len(minutes._recent) == 0


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """100 s of a tone, 90 s of silence, 4 s of noise."""
    quiet = np.zeros(90 * RATE, np.float32)
    sound = np.concatenate([np.tile(tone(1000, 10), 10), quiet, noise(0, 4)])
    return write(tmp_path_factory.mktemp("describing") / "long.wav", sound)


def test_a_sound_is_told_minute_by_minute(long):
    told, heard = [], []
    found = soundsearch.describe(
        long, on_caption=lambda each: told.append((sum(heard), each)), on_sound=heard.append
    )
    assert tuple(each for _, each in told) == found.minutes and len(told) == 3
    assert [(m.start, round(m.end)) for m in found.minutes] == [(0, 60), (60, 120), (120, 194)]
    assert told[0][0] < 194 and found.uri == str(long) and found.duration == pytest.approx(194)
    assert found.minutes[0].text == "A pure tone throughout."
    assert found.minutes[1].text.startswith("A pure tone at first; silence ")
    # The first minute knows nothing of how long the tone lasts.
    [[tone_event]] = [sentence.events for sentence in found.minutes[0].sentences]
    assert tone_event.onset == 0 and 60 < tone_event.offset < 80
    assert found.events == soundsearch.events(long).events
    for minute in found.minutes:
        beginnings = {(e.onset, e.label.name) for e in found.events}
        for sentence in minute.sentences:
            assert {(e.onset, e.label.name) for e in sentence.events} <= beginnings
    check_caption(found.caption, found.events)
    assert repr(found).endswith(f": {found.text}>")


def test_bad_sounds(tmp_path):
    found = soundsearch.describe(np.zeros(90 * RATE, np.float32), sample_rate=RATE)
    assert found.text == "Silence throughout." and [s.name for s in found.scenes] == ["silence"]
    assert [minute.text for minute in found.minutes] == ["Silence throughout."] * 2
    short = soundsearch.describe(tone(1000, 0.3), sample_rate=RATE)
    assert len(short.minutes) == 1 and short.minutes[0].end == pytest.approx(0.3)
    check_caption(short.caption, short.events)
    sound = np.tile(tone(1000, 10), 2)
    sound[3 * RATE : 9 * RATE] = np.nan
    gaps = soundsearch.describe(write(tmp_path / "nan.wav", sound, subtype="FLOAT"))
    assert gaps.warning is not None and "silence at 0:0" in gaps.text.lower()
    part = soundsearch.describe(np.tile(tone(1000, 10), 2), sample_rate=RATE, at=(10.0, 20.0))
    assert (part.caption.start, part.caption.end) == (10, 20)
    assert part.text == "A pure tone throughout."
    with pytest.raises(AudioError):
        soundsearch.describe(np.zeros(0, np.float32), sample_rate=RATE)


# On the command line


def test_on_the_command_line(long, tmp_path):
    shown = run(long)
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0].split(maxsplit=1) == ["0:00-1:00", "A pure tone throughout."]
    assert lines[3] == "" and lines[4] == soundsearch.describe(long).text
    assert "Sine wave" in shown.stdout and "52%" in shown.stdout
    rows = [json.loads(line) for line in run(long, "--json").stdout.splitlines()]
    assert [row["of"] for row in rows] == ["minute"] * 3 + ["whole"]
    assert rows[-1] == {"of": "whole", **soundsearch.describe(long).to_dict()}
    piped = run("-", "--json", input=long.read_bytes())
    assert [json.loads(line) for line in piped.stdout.splitlines()] == rows
    # One minute is the whole.
    clip = write(tmp_path / "clip.wav", tone(1000, 5))
    assert run(clip).stdout.splitlines()[:2] == ["A pure tone throughout.", ""]
    several = run(clip, tmp_path / "none.wav", clip, "--json")
    assert several.exit_code == 3 and "none.wav" in several.stderr
    assert [json.loads(row)["query"] for row in several.stdout.splitlines()] == [str(clip)] * 2
    assert run(clip, clip).stdout.count(f"{clip}:\n") == 2


def test_own_classes_and_markup(tmp_path):
    bundled = bundled_head()
    weight = np.zeros((1, bundled.dimension), np.float32)
    layers = ((weight, np.full(1, 3, np.float32)),)
    head = written(tmp_path / "own.head", HeadSpec(bundled.space, layers, (OWN[0],)))
    clip = write(tmp_path / "clip.wav", tone(1000, 3))
    assert run(clip, "--head", head).stdout.startswith(f'"{OWN[0]}" throughout.\n')
    assert run(clip, "--head", head, "--vtt").stdout.splitlines() == [
        *("WEBVTT", "", "00:00:00.000 --> 00:00:02.880"),
        '[a "b", &lt;c&gt; &amp; --&gt; d; e]',
    ]


def test_options_that_cannot_be_are_a_usage_error(long):
    for arguments in ((long, long, "--vtt"), (long, "--vtt", "--json"), ("-", "-"), ()):
        done = run(*arguments)
        assert done.exit_code == 2 and done.stdout == ""
    done = run(long, "--hop", "0.97")
    assert done.exit_code == 2 and "hop: expected" in done.stderr and done.stdout == ""
