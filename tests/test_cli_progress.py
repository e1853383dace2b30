"""Several files at once, and progress where something takes long."""

from __future__ import annotations

import json
import re
import sys

import pytest
from click.testing import CliRunner
from support.sounds import noise, write

import soundsearch
from soundsearch.cli import main as cli
from soundsearch.cli import progress


def run(*arguments, code=0, given=None):
    """Standard output, and standard error."""
    done = CliRunner().invoke(cli.main, list(map(str, arguments)), input=given)
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


@pytest.fixture
def library(sounds, tmp_path):
    with soundsearch.open(tmp_path / "l") as lib:
        lib.ingest([sounds])
    return tmp_path / "l"


def test_several_queries(library, sounds):
    low, chirp = sounds / "low.wav", sounds / "chirp.flac"
    out, _ = run("query", low, chirp, "-k", 2, "--library", library)
    assert out.index(f"{low}:\n") < out.index(f"{chirp}:\n") and out.count("sounds like:") == 2
    out, _ = run("query", low, chirp, "-k", 2, "--json", "--library", library)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["query"], row["rank"]) for row in rows] == [
        (str(name), rank) for name in (low, chirp) for rank in (1, 2)
    ]
    alone = run("query", chirp, "-k", 2, "--json", "--library", library)[0].splitlines()
    assert [{"query": str(chirp), **json.loads(row)} for row in alone] == rows[2:]


def test_several_labels(sounds):
    low, chirp = sounds / "low.wav", sounds / "chirp.flac"
    out, _ = run("label", low, "-", "--json", given=chirp.read_bytes())
    assert [json.loads(line)["query"] for line in out.splitlines()] == [str(low), "-"]
    out, _ = run("label", low, chirp)
    assert f"{low}:\n" in out and f"\n{chirp}:\n" in out
    run("label", "-", "-", code=2)


def test_one_that_is_no_sound_stops_no_other(library, sounds, tmp_path):
    bad, low = tmp_path / "bad.wav", sounds / "low.wav"
    bad.write_text("text")
    for command in (["label"], ["query", "--library", library]):
        out, err = run(*command, bad, low, code=3)
        assert f"{low}:" in out and err.startswith(f"Error: {bad}: ") and len(err.splitlines()) == 1
        out, err = run(*command, bad, bad, code=1)
        assert out == "" and len(err.splitlines()) == 2


@pytest.fixture
def long_clip(tmp_path):
    return write(tmp_path / "long.wav", noise(1, 90))


def test_a_line_now_and_then_without_a_terminal(library, long_clip, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(progress, "_SECONDS_BEFORE_BAR", 0.0)
    for command in (["label"], ["query", "--library", library]):
        _, err = run(*command, long_clip)
        assert re.match(r"\d+ of 90 s of sound after ", err) and "90 of 90 s of sound" in err
        assert not err.startswith("90 ")
    _, err = run("label", long_clip, "--at", "10-40")
    assert "30 of 30 s of sound after " in err
    _, err = run("ingest", long_clip, "--library", library)
    assert "1 files after" in err and "x real time" in err
    _, err = run("copy", "--library", library, "--to", library.parent / "copy")
    assert "7 clips after" in err


def test_no_line_for_what_is_quick(library, sounds):
    assert run("query", sounds / "low.wav", "--library", library)[1] == ""
    assert run("label", sounds / "low.wav")[1] == ""


def test_a_bar_on_a_terminal(long_clip, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS_BEFORE_BAR", 0.0)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_REFRESHES", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.sound_progress(lambda: 90.0) as on_sound:
        soundsearch.label(long_clip, on_sound=on_sound)
    shown = capsys.readouterr().err
    assert "90/90" in shown and shown.endswith("\r")
    with progress.file_progress(True, lambda: 2) as watchers:
        watchers["on_sound"](1.0)
        watchers["on_file"]("a\x1b[31m", "added")
    shown = capsys.readouterr().err
    assert "added     a\\x1b[31m" in shown and "real time" in shown
    with progress.file_progress(False, lambda: 4) as watchers:
        watchers["on_file"]("/short.wav", "added")
        watchers["on_long"]("/a/long\x1b[31m.wav", 1800.0, 3600.0)
        watchers["on_sound"](20.0)
        shown = capsys.readouterr().err
        assert "1.5/" in shown and "long\\x1b[31m.wav: 1,800 of 3,600 s" in shown
        watchers["on_long"]("/a/long\x1b[31m.wav", 3600.0, 3600.0)
        watchers["on_sound"](20.0)
        assert "1.99/" in capsys.readouterr().err  # heard, but not stored
        watchers["on_file"]("/a/long\x1b[31m.wav", "added")
        shown = capsys.readouterr().err
        assert "2/" in shown and "1,800" not in shown


def test_comparing_is_told(library, sounds, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    for command in (["similar"], ["similar", "--related"], ["query"], ["query", "--label", "Bell"]):
        _, err = run(*command, sounds / "low.wav", "--library", library)
        assert " segments compared after " in err
