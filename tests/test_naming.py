"""Clips named by uri, by a folder above them or by a pattern."""

from __future__ import annotations

import os

import pytest
from support.sounds import tone, write

import soundsearch
from soundsearch.errors import ArgumentError, ClipNotFound


@pytest.fixture
def lib(sounds, tmp_path):
    write(sounds / "deeper" / "down [1].wav", tone(200, 2))
    write(sounds / "deeper" / "still" / "low.wav", tone(210, 2))
    with soundsearch.open(tmp_path / "l") as lib:
        lib.ingest([sounds])
        yield lib


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("*.wav", {"low.wav"}),
        ("**/*.wav", {"low.wav", "deeper/hiss.wav", "deeper/down [1].wav", "deeper/still/low.wav"}),
        ("**/low.wav", {"low.wav", "deeper/still/low.wav"}),
        ("deeper/**low.*", {"deeper/still/low.wav"}),
        ("deeper/h???.*", {"deeper/high.ogg", "deeper/hiss.wav"}),
        ("*/*.[!w]*", {"deeper/high.ogg"}),
        ("low.w[a-c]v", {"low.wav"}),
        ("deeper/down [1].wav", {"deeper/down [1].wav"}),
        ("deeper", None),
    ],
)
def test_patterns(lib, sounds, pattern, named):
    before = {clip.uri for clip in lib}
    if named is None:
        named = {os.path.relpath(uri, sounds) for uri in before if "/deeper/" in uri}
    assert lib.remove([sounds / pattern]) == len(named)
    assert before - {clip.uri for clip in lib} == {str(sounds / name) for name in named}


def test_patterns_may_be_relative(lib, sounds, monkeypatch):
    monkeypatch.chdir(sounds / "deeper")
    assert lib.remove(["../*.wav", "h*.ogg"]) == 2


@pytest.mark.parametrize("wrong", ["*.mp3", "?", "*", "low.wa", "[z-a].wav", "deep"])
def test_nothing_else_is_removed(lib, sounds, wrong):
    with pytest.raises((ClipNotFound, ArgumentError)):
        lib.remove([sounds / "low.wav", sounds / "nowhere" / wrong])
    assert len(lib) == 8
