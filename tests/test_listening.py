"""What is told while a sound comes in: from streams, on the command line, of clips of a library."""

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
from support.moments import check_pairs
from support.sounds import RATE, noise, tone, write

import soundsearch
from soundsearch import ArgumentError, AudioError, Began, Ended, Matched, SpaceMismatch
from soundsearch import listening as listening_module
from soundsearch.cli.main import main
from soundsearch.labels.head import HeadSpec, bundled_head

QUIET = np.zeros(4 * RATE, np.float32)
COMPOSED = np.concatenate([QUIET, tone(1000, 4), QUIET, noise(0, 4), QUIET])


RAW = ("--format", f"s16le:{RATE}:1")


def run(*arguments, **kwargs):
    # The command would set it for all that this process starts later.
    env = {"OMP_NUM_THREADS": "1"}
    return CliRunner(env=env).invoke(main, list(map(str, arguments)), **kwargs)


def pcm(sound):
    return (sound * 32767).astype("<i2").tobytes()


def spans(moments, name):
    return [
        (each.onset, each.offset)
        for each in moments
        if isinstance(each, Ended) and each.label.name == name
    ]


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

    [began, ended] = listened(np.zeros(15 * RATE, np.float32))
    assert (began.label.name, began.onset) == ("Silence", 0) and began.heard < 1
    assert (ended.onset, ended.offset, ended.told_as) == (0, 15, None)
    assert spans(listened(tone(1000, 15)), "Sine wave")[-1][1] == 15
    [_, ended] = listened(np.zeros(100, np.float32))
    assert ended.offset == pytest.approx(100 / RATE)
    broken = tone(1000, 6)
    broken[2 * RATE : 5 * RATE] = np.nan
    warnings = []
    moments = [*soundsearch.listen([broken], sample_rate=RATE, on_warning=warnings.append)]
    assert len(warnings) == 1 and len(spans(moments, "Silence")) == 1


def test_who_leaves_early_leaves_no_thread():
    reading, writing = os.pipe()
    with open(reading, "rb") as file, open(writing, "wb", buffering=0) as pipe:
        pipe.write(bytes(48_001))
        for _ in soundsearch.listen(file, format=f"s16le:{RATE}:1", on_warning=pytest.fail):
            break
        assert not any(each.name == "soundsearch-reader" for each in threading.enumerate())


def test_what_is_on_ends_before_an_error():
    def pieces():
        yield np.zeros(3 * RATE)
        raise OSError("no more")

    moments = []
    with pytest.raises(OSError, match="no more"):
        moments.extend(soundsearch.listen(pieces(), sample_rate=RATE))
    assert [each.label.name for each in moments] == ["Silence"] * 2 and moments[1].offset == 3


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


def test_classes_of_a_head_of_ones_own_are_told(tmp_path):
    bundled = bundled_head()
    weight = np.zeros((1, bundled.dimension), np.float32)
    own = HeadSpec(bundled.space, ((weight, np.full(1, 3, np.float32)),), ("my drill",))
    head = written(tmp_path / "own.head", own)
    moments = [*soundsearch.listen([noise(1, 3)], sample_rate=RATE, head=head)]
    assert [(type(each), each.label.name) for each in moments] == [
        (Began, "my drill"),
        (Ended, "my drill"),
    ]
    assert (moments[1].onset, moments[1].offset) == (0, 3)


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


@pytest.mark.slow
def test_clips_are_told_once_for_each_time_that_they_are_heard(library):
    quiet = QUIET[: 5 * RATE // 2]
    hiss, middle = noise(1, 5)[: 4 * RATE], tone(880, 3)
    sound = np.concatenate([quiet, hiss, quiet, hiss, middle, quiet])
    moments = [*soundsearch.listen([sound], sample_rate=RATE, watch=library)]
    matched = [each for each in moments if isinstance(each, Matched)]
    names = [each.hit.uri.rpartition("/")[2] for each in matched]
    assert names == ["hiss.wav", "hiss.wav", "middle.flac"]
    for each, begin in zip(matched, (2.5, 9, 13), strict=True):
        assert begin - 0.5 < each.start < begin + 4 and each.end == pytest.approx(each.heard)
        assert each.hit.score >= 0.9 and 0 <= each.hit.start < each.hit.end <= 5
    assert matched[0].to_dict()["clip"]["uri"] == matched[0].hit.uri
    assert repr(matched[0].hit) in repr(matched[0])
    moments = soundsearch.listen([hiss], sample_rate=RATE, watch=library, min_score=1)
    assert not any(isinstance(each, Matched) for each in moments)
    # A selection, on the command line.
    address = library._session.address
    library.close()
    watch = ("label", "-", "--events", "--live", *RAW, "--watch", address)
    done = run(*watch, "--where", "duration < 5", input=pcm(sound[9 * RATE :]))
    assert done.exit_code == 0, done.output
    [line] = [line for line in done.stdout.splitlines() if "  like  " in line]
    assert "middle.flac  (0:0" in line
    done = run(*watch, "--where", "duration < 0.1", input=bytes(1000))
    assert done.exit_code == 0 and "no such clip to watch for yet" in done.stderr
    done = run(*watch, "--json", input=pcm(sound[: 6 * RATE]))
    [row] = [row for row in map(json.loads, done.stdout.splitlines()) if "clip" in row]
    assert row["moment"] == "matched" and row["clip"]["uri"].endswith("hiss.wav")


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
        ("-", "--events", "--live", "--max-duration", "3600"),
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
    done = run("label", "https://host.invalid/a.mp3", "--events", "--live")
    assert done.exit_code == 1 and "pipe the sound in, as in `ffmpeg" in done.stderr
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
    for piece in np.split(tone(1000, 3), 30):
        live.stdin.write(pcm(piece))
        time.sleep(0.02)
    assert line_of(live)["moment"] == "ended"
    began = line_of(live)
    assert began["moment"] == "began"
    live.send_signal(signal.SIGINT)
    rest = [json.loads(line) for line in live.stdout]
    assert live.wait(60) == 130 and live.stderr.read() == b""
    assert rest[-1]["moment"] == "ended" and began["onset"] < rest[-1]["offset"] <= 4


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
