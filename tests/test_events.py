"""Events in time: from scores, from sounds, on the command line, as other programs read them."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from support.heads import spec, written
from support.sounds import RATE, noise, tone, write

import soundsearch
from soundsearch import ArgumentError, AudioError, Event, Label, Sound, SpaceMismatch, Timeline
from soundsearch.cli import options
from soundsearch.cli.main import main
from soundsearch.hearing import Listener
from soundsearch.labels.head import HeadSpec, bundled_head
from soundsearch.labels.ontology import CLASSES, ontology
from soundsearch.labels.timeline import GAP, OFF, ON, Tracker
from soundsearch.labels.vocabulary import AUDIOSET, Vocabulary
from soundsearch.timeline_formats import FORMATS, ONE_FILE, rows

NAMED = {node.name: index for index, node in enumerate(ontology().classes)}
ABOVE = ontology().above


def run(*arguments, **kwargs):
    return CliRunner().invoke(main, list(map(str, arguments)), **kwargs)


def scores(segments, vocabulary=AUDIOSET, **classes):
    """Scores of some classes, segment by segment, and those that follow for classes above."""
    found = np.zeros((segments, len(vocabulary)), np.float32)
    for name, values in classes.items():
        index = vocabulary.index(name.replace("_", " "))
        found[: len(values), index] = values
    return with_parents(found)


def with_parents(found):
    for index in range(CLASSES):
        beneath = found[:, :CLASSES][:, ABOVE[index]]
        found[:, index] = np.maximum(found[:, index], beneath.max(axis=1, initial=0))
    return found


def told(found, hop=1.0, length=1.0, duration=None, start=0.0, **settings):
    tracker = Tracker(AUDIOSET, hop, length, start, **settings)
    events = [*tracker.push(found)]
    events += tracker.finish(hop * (len(found) - 1) + length if duration is None else duration)
    return events


def spans(events):
    return [
        (event.label.name, pytest.approx(event.onset), pytest.approx(event.offset))
        for event in events
    ]


# From scores


def test_an_event_begins_at_the_lower_threshold_and_has_the_best_score():
    found = scores(8, Rain=[0, 0, OFF, 0.3, ON + 0.1, 0.2, OFF - 0.01, 0])
    [event] = told(found)
    assert (event.onset, event.offset, event.label.name) == (2, 6, "Rain")
    assert event.label.score == pytest.approx(ON + 0.1)
    assert event.label.path[-1] == "Rain"
    assert told(scores(8, Rain=[0, 0, OFF, 0.3, ON - 0.01, 0.2])) == []


def test_gaps_are_passed_over_as_long_as_they_may_be():
    loud = ON + 0.1
    assert spans(told(scores(9, Rain=[loud, 0, loud]), gap=1)) == [("Rain", 0, 3)]
    assert spans(told(scores(9, Rain=[loud, 0, 0, loud]), gap=1)) == [
        ("Rain", 0, 1),
        ("Rain", 3, 4),
    ]
    # In the steps that there are: four of 0.24 s are no longer than a second, five are.
    for steps, count in ((4, 1), (5, 2)):
        values = [loud, *[0] * steps, loud]
        assert len(told(scores(20, Rain=values), 0.24, 0.96, gap=GAP)) == count


def test_silence_ends_where_something_is_heard():
    found = scores(5, Silence=[1, 1, 0, 1, 1], Bark=[0, 0, 0.9, 0, 0])
    assert sorted(spans(told(found)), key=str) == [
        ("Bark", 2, 3),
        ("Silence", 0, 2),
        ("Silence", 3, 5),
    ]


def test_an_event_is_told_once_it_is_over():
    tracker = Tracker(AUDIOSET, 0.96, 0.96)
    found = scores(9, Rain=[0, 0.9, 0.9], Siren=[0.9, 0.9, 0.9, 0.9, 0.9, 0.9])
    for number, row in enumerate(found):
        names = [event.label.name for event in tracker.push(row[None])]
        assert names == {4: ["Rain"], 7: ["Siren"]}.get(number, [])
    assert [*tracker.finish(9 * 0.96)] == []


def test_segments_that_overlap_stand_for_their_middle():
    rain = [*[0] * 10, *[0.9] * 5, *[0] * 10]
    [event] = told(scores(25, Rain=rain), 0.12, 0.96)
    assert event.onset == pytest.approx(10 * 0.12 + 0.42)
    assert event.offset - event.onset == pytest.approx(5 * 0.12)
    # At the ends for all there is; never beyond the sound.
    [event] = told(scores(25, Rain=[0.9] * 25), 0.12, 0.96)
    assert (event.onset, event.offset) == (0, pytest.approx(24 * 0.12 + 0.96))
    [event] = told(scores(1, Rain=[0.9]), 0.96, 0.96, duration=0.3, start=5.0)
    assert (event.onset, event.offset) == (5.0, 5.3)


def test_only_the_classes_beneath_are_told_where_they_explain_it():
    bark = [0, 0, 0.9, 0.9, 0.9, 0, 0, 0]
    assert spans(told(scores(8, Bark=bark))) == [("Bark", 2, 5)]
    # Half of the dog is barking: the animal too is no more than that.
    assert spans(told(scores(8, Bark=bark, Dog=[0.9] * 6))) == [("Bark", 2, 5)]
    found = told(scores(8, Bark=bark, Dog=[0.9] * 7))
    assert spans(found) == [("Bark", 2, 5), ("Dog", 0, 7)]
    # Several explain it together, where they overlap once only.
    found = scores(12, Dog=[0.9] * 4, Cat=[0, 0, 0.9, 0.9, 0.9], Animal=[0.9] * 12)
    assert {name for name, *_ in spans(told(found))} == {"Dog", "Cat", "Animal"}
    assert {name for name, *_ in spans(told(found[:10]))} == {"Dog", "Cat"}
    # A class beneath that is no event explains nothing.
    assert spans(told(scores(8, Bark=[ON - 0.1] * 8, Dog=[0.9] * 8))) == [("Dog", 0, 8)]


def by_hand(found, hop, length, on, off, gap):
    """The same, class by class over the whole sound."""
    events = {}
    for index in np.flatnonzero((found >= on).any(axis=0)).tolist():
        stretches = []
        passed = 0 if index == NAMED["Silence"] else gap
        for place in np.flatnonzero(found[:, index] >= off).tolist():
            if stretches and place - stretches[-1][-1] - 1 <= passed / hop + 1e-9:
                stretches[-1].append(place)
            else:
                stretches.append([place])
        events[index] = [
            (each[0], each[-1], found[each[0] : each[-1] + 1, index].max())
            for each in stretches
            if found[each[0] : each[-1] + 1, index].max() >= on
        ]
    kept = []
    for index, mine in events.items():
        beneath = np.zeros(len(found), bool)
        for other, theirs in events.items():
            if index < CLASSES and other < CLASSES and ABOVE[index, other]:
                for first, last, _ in theirs:
                    beneath[first : last + 1] = True
        for first, last, best in mine:
            if 2 * beneath[first : last + 1].sum() >= last - first + 1:
                continue
            onset = first * hop + (length - hop) / 2 if first else 0
            end = last * hop + (length + hop) / 2
            end = end if last < len(found) - 1 else last * hop + length
            kept.append((index, round(onset, 6), round(end, 6), round(float(best), 6)))
    return sorted(kept)


@pytest.mark.parametrize("seed", range(6))
def test_any_scores_in_any_blocks_give_what_they_give_at_once(seed):
    rng = np.random.default_rng(seed)
    own = Vocabulary(("my drill",))
    count, hop, gap = int(rng.integers(1, 400)), float(rng.choice([0.12, 0.48, 0.96])), 1.0
    found = np.zeros((count, len(own)), np.float32)
    chosen = [NAMED[name] for name in ("Bark", "Howl", "Dog", "Cat", "Meow", "Rain", "Silence")]
    walk = rng.normal(0, 1.5, (count, len(chosen) + 1)).cumsum(axis=0) % 12 - 8
    found[:, [*chosen, CLASSES]] = 1 / (1 + np.exp(-walk))
    found = with_parents(found)
    tracker, events = Tracker(own, hop, 0.96), []
    places = np.sort(rng.integers(0, count + 1, 8))
    for block in np.split(found, places):
        events += tracker.push(block)
    events += tracker.finish(hop * (count - 1) + 0.96)
    got = sorted(
        (
            own.index(event.label.name, event.label.mid),
            round(event.onset, 6),
            round(event.offset, 6),
            round(event.label.score, 6),
        )
        for event in events
    )
    assert got == by_hand(found, hop, 0.96, ON, OFF, gap)
    assert all(0 <= onset < offset <= hop * (count - 1) + 0.9600001 for _, onset, offset, _ in got)


def test_what_is_kept_does_not_grow_with_the_sound():
    tracker = Tracker(AUDIOSET, 0.96, 0.96)
    block = scores(1000, Rain=[0.9, 0.9, 0, 0] * 250, Animal=[0.9] * 1000)
    for _ in range(20):
        assert len([*tracker.push(block)]) == 250
        assert len(tracker._open) < 10
        assert sum(len(each.covered) for each in tracker._open.values()) == 0


# From sounds


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """Silence, a tone from 4 to 8 s, silence, noise from 12 to 16 s, silence."""
    quiet = np.zeros(4 * RATE, np.float32)
    sound = np.concatenate([quiet, tone(1000, 4), quiet, noise(0, 4), quiet])
    return write(tmp_path_factory.mktemp("events") / "composed.wav", sound)


@pytest.mark.parametrize(("hop", "slack"), [(None, 0.96), (0.48, 0.5), (0.12, 0.4)])
def test_sounds_are_found_where_they_are(composed, hop, slack):
    timeline = soundsearch.events(composed, hop=hop)
    assert timeline.uri == str(composed) and timeline.warning is None
    assert timeline.duration == pytest.approx(20) and len(timeline) == len(timeline.events)
    assert [event.onset for event in timeline] == sorted(event.onset for event in timeline)
    found = {}
    for event in timeline:
        found.setdefault(event.label.name, []).append((event.onset, event.offset))
    assert found["Sine wave"] == [(pytest.approx(4, abs=slack), pytest.approx(8, abs=slack))]
    assert found["White noise"] == [(pytest.approx(12, abs=slack), pytest.approx(16, abs=slack))]
    assert len(found["Silence"]) == 3
    assert found["Silence"][0][0] == 0 and found["Silence"][-1][1] <= 20
    assert repr(timeline[0]) in repr(timeline)


def test_paths_files_arrays_and_parts_give_the_same(composed):
    def shape(timeline):
        return [(event.label.name, round(event.onset, 2)) for event in timeline]

    whole = soundsearch.events(composed)
    sound, _ = soundfile.read(composed, dtype="float32")
    with open(composed, "rb") as file:
        assert shape(soundsearch.events(file)) == shape(whole)
    assert shape(soundsearch.events(sound, sample_rate=RATE)) == shape(whole)
    part = soundsearch.events(composed, at=(3.84, 9.6))
    assert ("Sine wave", 3.84) in shape(part)
    assert all(3.84 <= event.onset < event.offset <= 9.6 for event in part)
    assert soundsearch.events(sound, sample_rate=RATE).uri == ""


def test_little_is_held_of_a_long_sound(tmp_path):
    path = write(tmp_path / "long.wav", np.tile(tone(500, 10, 0.1), 25))
    listener, heard = Listener.open(), []
    parts = listener.stream(Sound(path), 0.48, heard.append)
    first = next(parts)
    assert sum(heard) < 150 and len(first.levels) < 300
    rest = [*parts]
    assert sum(heard) == rest[-1].duration == pytest.approx(250)
    assert all(len(part.levels) < 300 for part in rest) and len(rest[-1].levels) == 0
    whole = listener.hear(Sound(path, at=(0.0, None)), 0.48)
    together = np.concatenate([part.vectors for part in [first, *rest]])
    np.testing.assert_allclose(together, whole.vectors, atol=1e-4)


def test_silence_a_tone_and_less_than_a_segment(tmp_path):
    zeros = np.zeros(5 * RATE, np.float32)
    [event] = soundsearch.events(zeros, sample_rate=RATE)
    assert (event.label.name, event.onset, event.label.score) == ("Silence", 0, 1)
    assert event.offset <= 5
    [event] = soundsearch.events(np.tile(tone(1000, 10), 18), sample_rate=RATE)
    assert event.label.name == "Sine wave" and event.onset == 0 and event.offset > 179
    for event in soundsearch.events(tone(1000, 0.3), sample_rate=RATE, hop=0.12):
        assert (event.onset, event.offset) == (0, pytest.approx(0.3))
    with pytest.raises(AudioError):
        soundsearch.events(np.zeros(0, np.float32), sample_rate=RATE)
    broken = tone(1000, 10)
    broken[3 * RATE : 4 * RATE] = np.nan
    path = write(tmp_path / "nan.wav", broken, subtype="FLOAT")
    timeline = soundsearch.events(path)
    assert timeline.warning is not None
    assert all(0 <= event.onset < event.offset <= 10 for event in timeline)


def test_hops_and_heads_that_do_not_fit_are_refused(composed, tmp_path):
    for hop in (0, 0.005, 0.125, 0.97, 5, float("nan")):
        with pytest.raises(ArgumentError, match="hop: expected"):
            soundsearch.events(composed, hop=hop)
    with pytest.raises(SpaceMismatch):
        soundsearch.events(composed, head=written(tmp_path / "other.head", spec(space="other")))


# On the command line


@pytest.fixture
def own_head(tmp_path):
    """A head whose only class, with a name hard to write, is always heard."""
    bundled = bundled_head()
    weight = np.zeros((1, bundled.dimension), np.float32)
    layers = ((weight, np.full(1, 3, np.float32)),)
    own = HeadSpec(bundled.space, layers, ('a "b", <c> & --> d; e',))
    return written(tmp_path / "own.head", own)


def test_events_on_the_command_line(composed):
    shown = run("label", composed, "--events", "--hop", "0.12")
    assert shown.exit_code == 0 and shown.output.splitlines()[0].split() == [
        "moment",
        "score",
        "label",
    ]
    assert "Sine wave" in shown.output and "White noise" in shown.output
    whole = soundsearch.events(composed)
    done = run("label", composed, "--events", "--json")
    assert [json.loads(line) for line in done.output.splitlines()] == [
        event.to_dict() for event in whole
    ]
    from_stream = run("label", "-", "--events", "--json", input=composed.read_bytes())
    assert from_stream.output == done.output
    several = run("label", composed, composed.parent / "none.wav", "--events", "--json")
    assert several.exit_code == 3 and "none.wav" in several.stderr
    assert json.loads(several.stdout.splitlines()[0])["query"] == str(composed)


def test_nothing_heard_is_said(tmp_path, own_head, composed):
    timeline = Timeline("", (), 1.0)
    for name in FORMATS:
        header = [*rows(name, [timeline])]
        assert len(header) == (name in ("csv", "raven", "vtt")), name
        assert [*rows(name, [])] == []
    bundled = bundled_head()
    weight = np.zeros((1, bundled.dimension), np.float32)
    layers = ((weight, np.full(1, -9, np.float32)),)
    deaf = written(tmp_path / "deaf", HeadSpec(bundled.space, layers, ("x",)))
    path = write(tmp_path / "a.wav", noise(1, 2))
    assert run("label", path, "--events", "--head", deaf).output.startswith("No event")
    assert run("label", path, "--events", "--head", deaf, "--json").output == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("--hop", "0.12"),
        ("--format", "csv"),
        ("--events", "--format", "csv", "--json"),
        ("--events", "--format", "srt"),
        *(("x.wav", "--events", "--format", name) for name in ONE_FILE),
    ],
)
def test_options_that_cannot_be_are_a_usage_error(composed, arguments):
    done = run("label", composed, *arguments)
    assert done.exit_code == 2 and done.stdout == ""


def test_a_hop_that_cannot_be_is_refused(composed):
    done = run("label", composed, "--events", "--hop", "0.97", "--format", "vtt")
    assert done.exit_code == 2 and "hop: expected" in done.stderr and done.stdout == ""


def test_the_formats_offered_are_those_there_are():
    assert tuple(FORMATS) == options.FORMATS == tuple(sorted(FORMATS))


# As other programs read them


@pytest.fixture
def hostile(tmp_path, own_head):
    """A sound in a file with an ugly name, and a head with an ugly class."""
    path = write(tmp_path / 'tab\there, "quoted"\nline.wav', tone(1000, 3))
    timeline = soundsearch.events(path, head=own_head, hop=0.48)
    [event] = timeline
    assert (event.label.name, event.onset) == ('a "b", <c> & --> d; e', 0)

    def lines(name):
        done = run("label", path, "--events", "--hop", 0.48, "--head", own_head, "--format", name)
        assert done.exit_code == 0, done.output
        assert done.stdout.endswith("\n") and "\r" not in done.stdout
        return done.stdout.removesuffix("\n").split("\n"), event

    return lines


def test_csv(hostile):
    lines, event = hostile("csv")
    header, row = csv.reader(io.StringIO("\n".join(lines)))
    assert header == ["file", "onset", "offset", "label", "mid", "score"]
    assert row[0].endswith('tab\\there, "quoted"\\nline.wav') and row[3] == event.label.name
    assert (float(row[1]), float(row[2])) == (event.onset, pytest.approx(event.offset))
    assert float(row[5]) == pytest.approx(event.label.score, abs=1e-4)


def test_rttm(hostile):
    [line], event = hostile("rttm")
    kind, file, channel, onset, length, *nothing, name, score, last = line.split(" ")
    assert (kind, channel, nothing, last) == ("SPEAKER", "1", ["<NA>", "<NA>"], "<NA>")
    assert file == 'tab_here,_"quoted"_line' and name == 'a_"b",_<c>_&_-->_d;_e'
    assert float(onset) == event.onset and 0 < float(score) <= 1
    assert float(onset) + float(length) == pytest.approx(event.offset, abs=1e-3)


def test_audacity_labels(hostile):
    [line], event = hostile("audacity")
    onset, offset, name = line.split("\t")
    assert (float(onset), float(offset)) == (event.onset, pytest.approx(event.offset))
    assert name == event.label.name


def test_raven_selection_table(hostile):
    lines, event = hostile("raven")
    [row] = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    assert row["Selection"] == row["Channel"] == "1" and row["View"] == "Spectrogram 1"
    assert float(row["Begin Time (s)"]) == event.onset
    assert float(row["End Time (s)"]) == pytest.approx(event.offset)
    assert float(row["Low Freq (Hz)"]) < float(row["High Freq (Hz)"])
    assert row["Label"] == event.label.name


CUE = re.compile(
    r"(\d\d+):([0-5]\d):([0-5]\d\.\d{3}) --> (\d\d+):([0-5]\d):([0-5]\d\.\d{3})\n([^\n]+)"
)


def test_webvtt(hostile):
    lines, event = hostile("vtt")
    header, *blocks = "\n".join(lines).split("\n\n")
    assert header == "WEBVTT"
    [cue] = (CUE.fullmatch(block) for block in blocks)
    times = [int(cue[n]) * 3600 + int(cue[n + 1]) * 60 + float(cue[n + 2]) for n in (1, 4)]
    assert times == [event.onset, pytest.approx(event.offset)]
    assert cue[7] == 'a "b", &lt;c&gt; &amp; --&gt; d; e'


def test_formats_of_many_events():
    rng = np.random.default_rng(0)
    onsets = np.sort(rng.uniform(0, 90_000, 50)).round(2).tolist()
    label = Label("Rain", "/m/06mb1", 0.5, ("Water", "Rain"))
    events = tuple(Event(onset, onset + 0.01, label) for onset in onsets)
    timeline = Timeline("/a b/c d.e.wav", events, 90_001.0)
    cues = "\n".join("\t".join(row) for row in rows("vtt", [timeline])).split("\n\n")[1:]
    found = [CUE.fullmatch(cue) for cue in cues]
    assert [int(c[1]) * 3600 + int(c[2]) * 60 + float(c[3]) for c in found] == pytest.approx(onsets)
    assert [row[0] for row in rows("raven", [timeline])][1:] == [str(n + 1) for n in range(50)]
    files = {row[0].split(" ")[1] for row in rows("rttm", [timeline, timeline])}
    assert files == {"c_d.e"} and len([*rows("csv", [timeline, timeline])]) == 101
    stream = Timeline("", events[:1], 90_001.0)
    assert [*rows("csv", [stream])][1][0].startswith("-,")
