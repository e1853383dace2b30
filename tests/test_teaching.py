"""Teaching in the loop: what is asked, what is kept, and what the head knows in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from support.sounds import tone, write

import soundsearch
from soundsearch import ArgumentError, ClipNotFound, SoundsearchError
from soundsearch.cli.main import main
from soundsearch.labels.head import Head
from soundsearch.learn.choosing import asked_first, asked_next, farthest_first


def is_tone(uri):
    return "/tone" in uri


@pytest.fixture
def library(tones_and_noises, tmp_path):
    """The address of six tones, six noises, and six of both; nobody has it open."""
    tones_and_noises.close()
    return tmp_path / "l"


@pytest.fixture
def like(tmp_path):
    return write(tmp_path / "like.wav", tone(400, 2))


def kept(library, tag="teach:beep"):
    with soundsearch.open(library) as lib:
        return {clip.uri: clip.tags[tag] for clip in lib if tag in clip.tags}


# What is asked


def test_the_uncertain_and_unlike_are_asked():
    angles = np.radians([0, 1, 2, 95, 180, 270])
    units = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    rows = np.arange(6)
    assert farthest_first(units, rows, 3).tolist() == [0, 4, 5]
    assert farthest_first(units, rows, 2, np.array([3])).tolist()[0] == 5
    assert sorted(farthest_first(units, rows, 9)) == list(range(6))
    logits = np.array([0.1, 0.2, 0.3, -3.0, 9.0, -0.4])
    # Of the four least certain, the least certain one, then the one that is not like it.
    assert asked_next(units, logits, rows, 1).tolist() == [0]
    assert asked_next(units, logits, rows[1:], 2).tolist() == [1, 4]
    none = np.empty(0, np.int64)
    likeness = np.array([0.0, 0.0, 1.0, 0.9, 0.0, 0.0])
    assert asked_first(units, likeness, none, none, rows, 3).tolist() == [2, 3, 5]
    assert asked_first(units, likeness, np.array([0]), none, rows[1:], 1).tolist() == [4]
    assert len(asked_first(units, None, none, none, rows, 4)) == 4
    assert not len(asked_first(units, None, none, none, none, 4))


def test_a_class_is_taught_by_few_answers(tones_and_noises, like, tmp_path):
    lib = tones_and_noises
    teaching = soundsearch.Teaching(lib, "beep", like=like)
    asked = []
    while len(asked) < 12:
        offers = teaching.offers(3)
        assert offers == teaching.offers(3)
        for offer in offers:
            assert 0 <= offer.start < offer.end <= 2.0
            asked.append(offer.uri)
            assert teaching.answer(offer.uri, is_tone(offer.uri)) == offer.uri
    assert is_tone(asked[0]) and len(set(asked)) == 12
    standing = teaching.standing()
    assert (standing.yes + standing.no, standing.clips) == (12, 6)
    assert teaching.answers == {uri: is_tone(uri) for uri in asked}
    teaching.save(tmp_path / "a.head")

    again = soundsearch.Teaching(lib, "BEEP")  # another session goes on, with no example
    assert again.answers == teaching.answers and again.tag == "teach:beep"
    again.save(tmp_path / "b.head")
    spec = Head(tmp_path / "b.head").spec
    assert spec.made["classes"] == {"BEEP": standing.yes} and spec.names == ("BEEP",)
    assert "measures" not in spec.made and spec.made["taught"]["no"] == standing.no
    first = teaching.head()
    assert all((a == b).all() for a, b in zip(spec.layers[0], first.layers[0], strict=True))

    lib.use_head(tmp_path / "a.head")
    found = {clip.uri for clip in lib.where("label['beep'] > 0.5")}
    assert found == {clip.uri for clip in lib if is_tone(clip.uri)}
    while offers := again.offers(4):
        assert not {offer.uri for offer in offers} & {*asked}
        for offer in offers:
            again.skip(offer.uri)


def test_an_answer_can_be_taken_back(tones_and_noises):
    teaching = soundsearch.Teaching(tones_and_noises, "beep")
    first, second = (clip.uri for clip in list(tones_and_noises)[:2])
    teaching.answer(first, True)
    teaching.answer(second, False)
    before = teaching.head().layers[0][0]
    teaching.answer(first, False)
    teaching.answer(second, True)
    np.testing.assert_allclose(teaching.head().layers[0][0], -before, rtol=1e-3, atol=1e-6)


def test_what_the_library_knows_of_a_label_comes_first(tones_and_noises):
    label = next(
        clip.labels[0].name for clip in tones_and_noises if "/noise" in clip.uri and clip.labels
    )
    teaching = soundsearch.Teaching(tones_and_noises, label.upper())
    assert teaching.label == label and teaching.warning is None
    likeliest = max(tones_and_noises, key=lambda clip: max(each.score for each in clip.labels[:1]))
    assert len(teaching.offers(1)) == 1 and likeliest
    first = tones_and_noises.clip(teaching.offers(1)[0].uri)
    assert label in {name for each in first.labels for name in each.path}


def test_a_clip_that_was_removed_is_not_offered(tones_and_noises, tmp_path):
    teaching = soundsearch.Teaching(tones_and_noises, "beep")
    gone = [offer.uri for offer in teaching.offers(3)]
    tones_and_noises.remove(gone)
    left = teaching.offers(18)
    assert len(left) == 15 and not {offer.uri for offer in left} & {*gone}
    with pytest.raises(ClipNotFound, match="was removed"):
        teaching.answer(gone[0], True)
    assert teaching.answers == {}


def test_what_cannot_be_taught(tones_and_noises, tmp_path):
    lib = tones_and_noises
    uris = [clip.uri for clip in lib]
    for label in ("", "a\nb", "x" * 300, None):
        with pytest.raises(ArgumentError, match=r"expected (a|the) .*name"):
            soundsearch.Teaching(lib, label)
    assert "similar: Bark" in soundsearch.Teaching(lib, "barks").warning
    teaching = soundsearch.Teaching(lib.where("uri like '%tone%'"), "beep")
    with pytest.raises(ArgumentError, match="at least 1, got 0"):
        teaching.offers(0)
    with pytest.raises(ClipNotFound, match=r"/nowhere\.wav: no clip of"):
        teaching.answer("/nowhere.wav", True)
    with pytest.raises(ClipNotFound, match="outside the selection"):
        teaching.answer(next(uri for uri in uris if not is_tone(uri)), True)
    for uri in filter(is_tone, uris):
        teaching.answer(uri, True)
        with pytest.raises(SoundsearchError, match=r"and one in which it cannot, got \d and 0"):
            teaching.save(tmp_path / "my.head")
    assert teaching.offers(5) == [] and not (tmp_path / "my.head").exists()
    write(tmp_path / "q" / "silent.wav", np.zeros(32_000, np.float32))
    with soundsearch.open(tmp_path / "quiet") as quiet:
        quiet.ingest([tmp_path / "q"])
        with pytest.raises(ArgumentError, match="expected clips that sound to ask about"):
            soundsearch.Teaching(quiet, "beep")


# The command


def arguments(library, tmp_path, *options):
    own = ["--library", library, "--label", "beep", "--out", tmp_path / "my.head"]
    return ["teach", *map(str, [*own, *options])]


def test_answers_from_the_keyboard(library, like, tmp_path):
    asked = arguments(library, tmp_path, "--like", like, "--round", 2)
    done = CliRunner().invoke(main, asked, input="y\nwhat\nn\ns\nn\nq\n")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "Can beep be heard?  y yes, n no, s skip, q stop"
    assert "tone" in lines[1] and "0:00.00-0:00.9" in lines[1] and "score" not in lines[1]
    assert "  expected one of: y yes" in lines[4]
    assert "2 answers, 1 yes; five of either kind tell" in done.stdout
    assert f"soundsearch head use {tmp_path / 'my.head'} --library {library}" in lines[-1]
    assert list(kept(library).values()).count(True) == 1 and len(kept(library)) == 3
    done = CliRunner().invoke(main, asked, input="q\n")
    assert done.stdout.startswith("so far: 3 answers, 1 yes\n") and "score 0." in done.stdout


def test_answers_that_are_all_alike_are_kept(library, tmp_path):
    done = CliRunner().invoke(main, arguments(library, tmp_path), input="n\nn\n")
    assert done.exit_code == 1
    assert "at least one clip in which it can be heard and one in which it cannot" in done.stderr
    assert list(kept(library).values()) == [False, False]
    assert not (tmp_path / "my.head").exists()


def test_commands_that_cannot_be(library, tmp_path):
    for options, code, expected in (
        (["--like", "/nowhere.wav"], 1, "/nowhere.wav"),
        (["--label", "a\x07"], 2, "expected a class's name"),
        (["--out", tmp_path], 2, "expected the name of a file to write, got a folder"),
        (["--round", 0], 2, "--round"),
        (["--where", "uri == 'x'"], 2, "expected clips that sound"),
    ):
        done = CliRunner().invoke(main, arguments(library, tmp_path, *options), input="q\n")
        assert done.exit_code == code and expected in done.stderr, done.output


class Talk:
    """A session with the command by JSON lines."""

    def __init__(self, library, tmp_path, *options):
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "soundsearch",
                *arguments(library, tmp_path, "--json", *options),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def read(self):
        line = self.process.stdout.readline()
        assert line, self.end()  # it has ended: why?
        return json.loads(line)

    def say(self, *lines):
        self.process.stdin.write("".join(f"{line}\n" for line in lines))
        self.process.stdin.flush()

    def end(self):
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, [json.loads(line) for line in out.splitlines()], err


def answer(uri, given):
    return json.dumps({"uri": uri, "answer": given})


needs_posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and terminals")


@needs_posix
def test_answers_as_json_lines(library, like, tmp_path):
    with Talk(library, tmp_path, "--like", like, "--round", 3) as talk:
        offers = [talk.read() for _ in range(3)]
        assert offers[0].keys() == {"uri", "start", "end", "score"} and is_tone(offers[0]["uri"])
        malformed = ["nonsense", "[]", "{}", '{"uri": 3, "answer": true}', '{"uri": "/a.wav"}']
        talk.say(*malformed, answer(offers[0]["uri"], 1), "[" * 5000, answer("/a.wav", True), "")
        talk.say(*(answer(offer["uri"], is_tone(offer["uri"])) for offer in offers))
        assert talk.read() == {"yes": 2, "no": 1, "clips": 15, "sure_yes": None, "sure_no": None}
        offers = [talk.read() for _ in range(3)]
        talk.say(answer(offers[0]["uri"], None), answer(offers[1]["uri"], False))
        code, rest, err = talk.end()
    assert code == 3 and rest[0]["made"]["taught"] == {"yes": 2, "no": 2}
    assert err.count("expected an answer, as in") == 7 and "/a.wav: no clip of" in err
    assert [f"line {number}:" in err for number in (1, 8, 9)] == [True, True, False]
    assert Head(tmp_path / "my.head").spec.names == ("beep",) and len(kept(library)) == 4


@needs_posix
def test_a_kill_loses_no_answer(library, like, tmp_path):
    with Talk(library, tmp_path, "--like", like) as talk:
        offers = [talk.read() for _ in range(5)]
        talk.say(*(answer(offer["uri"], is_tone(offer["uri"])) for offer in offers))
        talk.read()
    assert kept(library) == {offer["uri"]: is_tone(offer["uri"]) for offer in offers}
    with Talk(library, tmp_path) as talk:
        assert talk.read()["uri"] not in kept(library)
        code, _, err = talk.end()
    assert code == 0, err
    assert Head(tmp_path / "my.head").spec.made["taught"] == {"yes": 3, "no": 2}


@needs_posix
def test_ctrl_c_writes_the_best_head(library, like, tmp_path):
    for number, expected in ((1, False), (5, True)):
        with Talk(library, tmp_path, "--like", like) as talk:
            offers = [talk.read() for _ in range(5)]
            answers = [answer(offer["uri"], is_tone(offer["uri"])) for offer in offers]
            talk.say(*answers[:number], "nonsense")
            while "expected an answer" not in talk.process.stderr.readline():
                assert talk.process.poll() is None
            talk.process.send_signal(signal.SIGINT)
            code, _, err = talk.end()
        assert code == 130 and (tmp_path / "my.head").exists() is expected, err
        assert ("the answers are kept" in err) is not expected


@needs_posix
def test_a_key_is_enough_on_a_terminal(library, like, tmp_path):
    pty, termios = map(pytest.importorskip, ("pty", "termios"))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "soundsearch", *arguments(library, tmp_path, "--like", str(like))],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""

    def read(until):
        nonlocal shown
        while until not in shown:
            shown += os.read(ours, 4096)
        shown = shown.partition(until)[2]

    def press(key):
        while termios.tcgetattr(ours)[3] & termios.ICANON:  # not waiting for a key yet
            assert process.poll() is None
            time.sleep(0.01)
        os.write(ours, key)

    read(b"q stop\r\n")
    for key in (b"y", b"y", b"n"):
        read(b"-0:0")  # of the moment
        press(key)
        read(b"  " + key + b"\r\n")
    read(b"-0:0")
    press(b"\x1b[A")
    read(b"expected one of")
    press(b"\x03")
    read(b"written to ")
    assert process.wait(60) == 130
    os.close(ours)
    assert sorted(kept(library).values()) == [False, True, True]
