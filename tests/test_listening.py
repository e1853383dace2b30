"""What is told while a sound comes in: from scores, from streams, on the command line, of clips."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from click.testing import CliRunner
from support.heads import spec, written
from support.sounds import RATE, noise, tone, write

import soundsearch
from soundsearch import ArgumentError, AudioError, Began, Ended, Matched, SpaceMismatch
from soundsearch import listening as listening_module
from soundsearch.cli.main import main
from soundsearch.labels.moments import Teller
from soundsearch.labels.ontology import CLASSES, ontology
from soundsearch.labels.vocabulary import AUDIOSET

NAMED = {node.name: index for index, node in enumerate(ontology().classes)}
ABOVE = ontology().above
CHOSEN = ("Bark", "Howl", "Dog", "Cat", "Meow", "Rain", "Silence")
QUIET = np.zeros(4 * RATE, np.float32)
COMPOSED = np.concatenate([QUIET, tone(1000, 4), QUIET, noise(0, 4), QUIET])


RAW = ("--format", f"s16le:{RATE}:1")


def run(*arguments, **kwargs):
    return CliRunner().invoke(main, list(map(str, arguments)), **kwargs)


def pcm(sound):
    return (sound * 32767).astype("<i2").tobytes()


def spans(moments, name):
    return [
        (each.onset, each.offset)
        for each in moments
        if isinstance(each, Ended) and each.label.name == name
    ]


def check_pairs(moments, duration):
    """Whether what begins ends, once, and times are in order."""
    on, heard = {}, 0.0
    for each in moments:
        assert each.heard >= heard
        heard = each.heard
        mid = each.label.mid
        if isinstance(each, Began):
            assert mid not in on and 0 <= each.onset < each.heard
            on[mid] = each.onset
        else:
            assert each.onset == on.pop(mid) and each.onset < each.offset <= each.heard
    assert not on and heard <= duration + 1e-6


# From scores


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


# From streams


def test_streams_and_arrays_in_any_pieces_tell_the_same():
    whole = [*soundsearch.listen(io.BytesIO(pcm(COMPOSED)), format=f"s16le:{RATE}:1")]
    check_pairs(whole, 20)
    [(onset, offset)] = spans(whole, "Sine wave")
    assert 3.4 < onset < 5.5 and offset == pytest.approx(8, abs=0.5)
    [(onset, offset)] = spans(whole, "White noise")
    assert (onset, offset) == (pytest.approx(12, abs=0.5), pytest.approx(16, abs=0.5))
    assert len(spans(whole, "Silence")) == 3 and whole[-1].offset == pytest.approx(20)
    sound = np.frombuffer(pcm(COMPOSED), "<i2")
    pieces = np.split(sound, np.sort(np.random.default_rng(0).integers(0, len(sound), 90)))
    again = [*soundsearch.listen(pieces, sample_rate=RATE)]

    def shape(moments):
        return [(type(each).__name__, each.label.name, round(each.heard, 2)) for each in moments]

    assert shape(again) == shape(whole)


def test_what_is_told_is_told_before_the_sound_goes_on():
    taken = []

    def pieces():
        for place in range(0, len(COMPOSED), 1600):
            taken.append(place / RATE)
            yield COMPOSED[place : place + 1600]

    for moment in soundsearch.listen(pieces(), sample_rate=RATE):
        assert taken[-1] - 0.3 < moment.heard < taken[-1] + 0.2
        if isinstance(moment, Ended) and moment.label.name in ("Sine wave", "White noise"):
            assert taken[-1] - moment.offset < 1.5


def test_silence_one_tone_and_less_than_a_segment():
    def listened(sound):
        moments = [*soundsearch.listen([sound], sample_rate=RATE)]
        check_pairs(moments, len(sound) / RATE)
        return moments

    [began, ended] = listened(np.zeros(60 * RATE, np.float32))
    assert (began.label.name, began.onset) == ("Silence", 0) and began.heard < 1
    assert (ended.onset, ended.offset, ended.told_as) == (0, 60, None)
    assert spans(listened(np.tile(tone(1000, 10), 6)), "Sine wave")[-1][1] == 60
    [_, ended] = listened(np.zeros(100, np.float32))
    assert ended.offset == pytest.approx(100 / RATE)
    broken = tone(1000, 10)
    broken[3 * RATE : 6 * RATE] = np.nan
    warnings = []
    moments = [*soundsearch.listen([broken], sample_rate=RATE, on_warning=warnings.append)]
    assert len(warnings) == 1 and len(spans(moments, "Silence")) == 1


def test_a_stream_that_is_stopped_ends_what_is_on():
    stop, reading, writing = threading.Event(), *os.pipe()
    with open(reading, "rb", buffering=0) as file, open(writing, "wb", buffering=0) as pipe:
        heard = soundsearch.listen(file, format=f"s16le:{RATE}:1", stop=stop)
        pipe.write(bytes(48_000))
        assert next(heard).label.name == "Silence"
        stop.set()
        [ended] = heard
        assert isinstance(ended, Ended) and ended.offset == 1.5


def test_hearing_that_falls_behind_a_live_stream_is_said_once(monkeypatch):
    monkeypatch.setattr(listening_module, "_LATE", 0.05)
    warnings = []
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as file, open(writing, "wb", buffering=0) as pipe:
        heard = soundsearch.listen(file, format=f"s16le:{RATE}:1", on_warning=warnings.append)
        pipe.write(bytes(32_000))
        next(heard)
        for _ in range(2):
            pipe.write(bytes(4_000))
            time.sleep(0.3)  # whoever is told takes long
        pipe.close()
        assert len([*heard]) == 1
    assert len(warnings) == 1 and "behind the sound" in warnings[0]


def test_what_cannot_be_listened_to_is_refused(tmp_path):
    stream = io.BytesIO(pcm(COMPOSED))
    for wrong in (
        {"sample_rate": RATE},
        {"format": "s16le:16000"},
        {"hop": 0.97},
        {"hop": 0.245},
    ):
        with pytest.raises(ArgumentError, match="expected"):
            soundsearch.listen(stream, **wrong)
    with pytest.raises(ArgumentError, match="sample_rate"):
        soundsearch.listen([COMPOSED])
    with pytest.raises(ArgumentError, match="beside arrays"):
        soundsearch.listen([COMPOSED], sample_rate=RATE, format="s16le:16000:1")
    with pytest.raises(SpaceMismatch):
        soundsearch.listen(stream, head=written(tmp_path / "other", spec(space="other")))
    with pytest.raises(AudioError, match="CODING:HZ:CHANNELS"):
        [*soundsearch.listen(io.BytesIO(b"y\n" * 100_000))]


# Clips of a library


@pytest.fixture(params=["local", "lite"])
def library(request, tmp_path, sounds):
    address = tmp_path / "l" if request.param == "local" else request.getfixturevalue("lite")
    with soundsearch.open(address) as lib:
        lib.ingest([sounds / "middle.flac", sounds / "deeper" / "hiss.wav"])
        yield lib


def stream_of(*names):
    """Clips of the library with silence between, in a stream."""
    parts = [QUIET]
    for name in names:
        parts += [{"middle": tone(880, 4), "hiss": noise(1, 5)}[name], QUIET]
    return np.concatenate(parts)


def test_clips_are_told_once_for_each_time_that_they_are_heard(library):
    sound = stream_of("hiss", "middle", "hiss")
    moments = [*soundsearch.listen([sound], sample_rate=RATE, watch=library)]
    matched = [each for each in moments if isinstance(each, Matched)]
    names = [each.hit.uri.rpartition("/")[2] for each in matched]
    assert names == ["hiss.wav", "middle.flac", "hiss.wav"]
    for each, begin in zip(matched, (4, 13, 21), strict=True):
        assert begin - 0.5 < each.start < begin + 4 and each.end == pytest.approx(each.heard)
        assert each.hit.score >= 0.9 and 0 <= each.hit.start < each.hit.end <= 5
    assert matched[0].to_dict()["clip"]["uri"] == matched[0].hit.uri
    assert repr(matched[0].hit) in repr(matched[0])
    # A selection, and no score that is high enough.
    tones = library.where("duration < 5")
    moments = [*soundsearch.listen([sound], sample_rate=RATE, watch=tones)]
    matched = [each for each in moments if isinstance(each, Matched)]
    assert {each.hit.uri.rpartition("/")[2] for each in matched} == {"middle.flac"}
    # The same on the command line.
    address = library._session.address
    library.close()
    watch = ("label", "-", "--events", "--live", *RAW, "--watch", address)
    done = run(*watch, input=pcm(sound[: 18 * RATE]))
    assert done.exit_code == 0, done.output
    [hiss, middle] = [line for line in done.stdout.splitlines() if "  like  " in line]
    assert "hiss.wav  (0:0" in hiss and "middle.flac  (0:0" in middle
    done = run(*watch, "--where", "duration < 5", "--json", input=pcm(sound[: 18 * RATE]))
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    clips = {row["clip"]["uri"].rpartition("/")[2] for row in rows if row["moment"] == "matched"}
    assert clips == {"middle.flac"}


def test_a_library_that_cannot_be_watched_is_refused(tmp_path, sounds):
    with soundsearch.open(tmp_path / "none") as lib, pytest.raises(soundsearch.LibraryNotFound):
        soundsearch.listen([COMPOSED], sample_rate=RATE, watch=lib)


# On the command line


COMMAND = [sys.executable, "-m", "soundsearch", "label", "-", "--events", "--live"]


def test_lines_for_people_and_for_programs(tmp_path):
    path = write(tmp_path / "a.wav", COMPOSED)
    shown = run("label", "-", "--events", "--live", input=path.read_bytes())
    assert shown.exit_code == 0 and shown.stderr == ""
    lines = shown.stdout.splitlines()
    assert lines[0].split() == "0:00.00 begins 1.00 Source-ambiguous sounds > Silence".split()
    assert lines[-1].startswith("0:20.00  ends  ") and lines[-1].endswith(" s)")
    done = run("label", path, "--events", "--live", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(lines)
    assert rows[0]["moment"] == "began" and rows[-1]["moment"] == "ended"
    assert rows[-1]["offset"] == 20 and {"onset", "label", "heard"} <= rows[-1].keys()


@pytest.mark.parametrize(
    "arguments",
    [
        ("-", "--live"),
        ("-", "--events", "--watch", "x"),
        ("-", "--events", "--live", "--where", "duration < 5"),
        ("-", "--events", "--live", "--min-score", "0.5"),
        ("-", "x.wav", "--events", "--live"),
        ("-", "--events", "--live", "--at", "1-2"),
        ("-", "--events", "--live", "--format", "csv"),
        ("-", "--events", "--live", "--format", "s16le:16000:0"),
        ("-", "--events", "--live", "--hop", "2"),
        ("-", "--events", "--format", "s16le:16000:1"),
    ],
)
def test_options_that_cannot_be_are_a_usage_error(arguments):
    done = run("label", *arguments, input=b"")
    assert done.exit_code == 2 and done.stdout == "", done.output


def test_what_is_no_sound_is_an_error_with_advice(tmp_path):
    done = run("label", "-", "--events", "--live", input=b"")
    assert done.exit_code == 1 and "standard input: is empty" in done.stderr
    done = run("label", tmp_path / "none", "--events", "--live")
    assert done.exit_code == 1 and "No such file" in done.stderr
    done = run("label", "-", "--events", "--live", input=b"some text\n" * 1000)
    assert done.exit_code == 1 and "s16le:16000:1" in done.stderr


@pytest.fixture
def live():
    """A process that listens, whose pipes the test holds."""
    process = subprocess.Popen(
        [*COMMAND, "--json", *RAW],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    with process:
        yield process
        process.kill()


def line_of(process):
    ready, _, _ = select.select([process.stdout], [], [], 60)
    assert ready, "no line came"
    return json.loads(process.stdout.readline())


def test_lines_come_while_the_pipe_is_open_and_ctrl_c_ends_what_is_on(live):
    live.stdin.write(bytes(2 * RATE))
    assert line_of(live)["label"]["name"] == "Silence"
    for piece in np.split(tone(1000, 3), 30):  # in small pieces, at real time
        live.stdin.write(pcm(piece))
        time.sleep(0.1)
    assert line_of(live)["moment"] == "ended"
    assert line_of(live)["moment"] == "began"
    live.send_signal(signal.SIGINT)
    rest = [json.loads(line) for line in live.stdout]
    assert live.wait(60) == 130 and live.stderr.read() == b""
    assert rest[-1]["moment"] == "ended" and rest[-1]["offset"] == pytest.approx(4, abs=0.3)


def test_sigterm_ends_what_is_on_too(live):
    live.stdin.write(bytes(2 * RATE))
    line_of(live)
    live.terminate()
    [last] = [json.loads(line) for line in live.stdout]
    assert live.wait(60) == 143 and last["moment"] == "ended" and last["offset"] == 1


def test_a_reader_that_leaves_ends_it_quietly(live):
    live.stdin.write(bytes(2 * RATE))
    line_of(live)
    live.stdout.close()
    try:
        live.stdin.write(pcm(noise(1, 30)))
        live.stdin.close()
    except BrokenPipeError:
        pass
    assert live.wait(60) == 1 and live.stderr.read() == b""
