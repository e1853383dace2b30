"""Selections of clips by filters, and tags."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.sounds import noise, tone, write

import soundsearch
from soundsearch import errors


@pytest.fixture
def lib(sounds, tmp_path):
    with soundsearch.open(tmp_path / "sounds.lib") as library:
        library.ingest([sounds])
        yield library


def names(clips):
    return [Path(clip.uri).name for clip in clips]


def test_a_selection_is_queried_like_the_library(lib, sounds):
    deeper = lib.where("uri like :folder", folder=f"{sounds}/deeper/%")
    assert sorted(names(deeper)) == ["high.ogg", "hiss.wav"] and len(deeper) == 2
    everything = lib.query(sounds / "low.wav")
    found = deeper.query(sounds / "low.wav")
    expected = [hit for hit in everything if "/deeper/" in hit.uri]
    assert [hit.uri for hit in found] == [hit.uri for hit in expected]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-6)
    assert [hit.rank for hit in found] == [1, 2]
    assert names(deeper.similar(sounds / "low.wav")) == names(found)
    assert names(deeper.similar(sounds / "deeper" / "hiss.wav")) == ["high.ogg"]
    assert names(deeper.where("duration > 4.9 and uri like '%.ogg'")) == ["high.ogg"]
    assert "deeper" in repr(deeper.where("not padded")) and "not padded" in repr(
        deeper.where("not padded")
    )
    assert str(lib.address) in repr(lib)


def test_a_clip_by_its_name(lib, sounds, monkeypatch):
    path = sounds / "low.wav"
    clip = lib.clip(path)
    assert (clip.uri, clip.duration) == (str(path), 3.0)
    assert lib.clip(clip.id) == lib.clip(str(path)) == clip
    assert path in lib and clip.id in lib and str(path) in lib.where("duration < 4")
    assert path not in lib.where("duration > 4") and sounds / "none.wav" not in lib
    monkeypatch.chdir(sounds)
    assert "low.wav" in lib and lib.clip("low.wav") == clip
    for unknown in (sounds / "none.wav", 10**6):
        with pytest.raises(errors.ClipNotFound, match=str(unknown)):
            lib.clip(unknown)


def test_an_empty_selection_is_not_an_error(lib, sounds):
    none = lib.where("duration < 1 and duration > 2")
    assert (len(none), list(none), bool(none)) == (0, [], True)
    answer = none.query(sounds / "low.wav")
    assert len(answer) == 0 and answer.labels


def test_a_selection_is_lazy(lib, sounds):
    long = lib.where("duration > 20")
    assert len(long) == 0
    write(sounds / "long.wav", noise(5, 21))
    lib.ingest(sounds)
    assert names(long) == ["long.wav"]


def test_labels_select(lib):
    for clip in lib:
        for label in clip.labels[:1]:
            found = lib.where("label[:mid] >= :score", mid=label.mid, score=label.score)
            assert clip.uri in [other.uri for other in found]
    quiet = lib.where("label['Silence'] == 1")
    assert len(quiet) == 0


def test_tags_come_and_go(lib, sounds, monkeypatch):
    low, chirp = str(sounds / "low.wav"), str(sounds / "chirp.flac")
    report = lib.tag(
        {
            low: {"mic": "AKG", "take": 3, "good": True, "note": 'it\'s "odd" %_\n'},
            chirp: {"mic": "Røde", "take": 2.5, "good": False},
            "/nowhere.wav": {"mic": "AKG"},
        }
    )
    assert (report.tagged, report.unknown) == (2, ["/nowhere.wav"])
    assert names(lib.where("tag['mic'] == 'AKG'")) == ["low.wav"]
    assert names(lib.where("tag['take'] < 3")) == ["chirp.flac"]
    assert names(lib.where("tag['good']")) == ["low.wav"]
    assert names(lib.where("tag['note'] == :note", note='it\'s "odd" %_\n')) == ["low.wav"]
    assert len(lib.where("tag['mic'] is missing")) == 4
    hit = lib.where("tag['good']").query(low, 1)[0]
    assert hit.tags["mic"] == "AKG" and hit.to_dict()["tags"]["take"] == 3
    monkeypatch.chdir(sounds)
    assert lib.tag({"low.wav": {"mic": None, "take": 4}}).tagged == 1
    clip = next(clip for clip in lib if clip.uri == low)
    assert clip.tags == {"take": 4, "good": True, "note": 'it\'s "odd" %_\n'}
    assert "tags" not in next(clip for clip in lib if clip.uri.endswith(".ogg")).to_dict()


@pytest.mark.parametrize(
    "tags",
    [
        {"a": float("nan")},
        {"a": [1]},
        {"": "x"},
        {3: "x"},
        {"a": object()},
        {"a": 1e999},
        {"a": 2**60 + 1},  # would be the same as 2**60
        {"a": np.int64(-(2**60))},
        {"a": 10**400},
        {"a": np.zeros(2)},
        {"a": "\ud800"},
        {"\ud800": 1},
        [("a", "x")],
        None,
    ],
)
def test_invalid_tags(lib, sounds, tags):
    good = {str(sounds / "low.wav"): {"a": "b"}}
    with pytest.raises(errors.ArgumentError, match=r"x\.wav"):
        lib.tag({**good, "x.wav": tags})
    with pytest.raises(errors.ArgumentError, match=r"x\.wav"):
        lib.ingest(sounds, tags={**good, "x.wav": tags})
    assert len(lib.where("tag['a'] is missing")) == 6


def test_tags_stay_with_the_clip(lib, sounds, tmp_path):
    report = lib.ingest(
        sounds, tags={str(sounds / name): {"name": name} for name in ("low.wav", "rumble.WAV")}
    )
    assert (report.unchanged, report.tags.tagged) == (6, 2)
    (sounds / "low.wav").rename(sounds / "moved.wav")
    write(sounds / "rumble.WAV", tone(700, 3))
    (sounds / "copy.wav").write_bytes((sounds / "moved.wav").read_bytes())
    lib.ingest(sounds)
    assert {Path(c.uri).name: c.tags.get("name") for c in lib.where("tag['name'] like '%'")} in (
        {"moved.wav": "low.wav", "rumble.WAV": "rumble.WAV"},
        {"copy.wav": "low.wav", "rumble.WAV": "rumble.WAV"},  # either may be the one that moved
    )
    assert lib.copy(tmp_path / "other.lib").copied == 7
    lib.tag({str(sounds / "rumble.WAV"): {"name": "second"}})
    report = lib.copy(tmp_path / "other.lib")
    assert (report.copied, report.replaced, report.unchanged) == (0, 1, 6)
    with soundsearch.open(tmp_path / "other.lib") as other:
        assert {c.uri: c.tags for c in other} == {c.uri: c.tags for c in lib}


def test_human_labels_hold_for_copies_of_the_content(tmp_path):
    """A copy of a clip's content gets the human labels of the clip, but not its tags."""
    from dataclasses import replace

    write(tmp_path / "s" / "a.wav", tone(300, 2))
    with soundsearch.open(tmp_path / "s.lib") as lib:
        lib.ingest(tmp_path / "s", tags={str(tmp_path / "s" / "a.wav"): {"track": 1}})
        store = lib._session.store
        clip = next(store.clips())
        with store.writing():
            store.amend({clip.id: replace(clip.record, human_labels=(74,))})
        (tmp_path / "s" / "b.wav").write_bytes((tmp_path / "s" / "a.wav").read_bytes())
        lib.ingest(tmp_path / "s")
        assert names(lib.where("human_label['Dog']")) == ["a.wav", "b.wav"]
        assert names(lib.where("tag['track'] == 1")) == ["a.wav"]


def test_records_show_what_they_are(lib, sounds):
    path = str(sounds / "low.wav")
    answer = lib.query(path, 2)
    assert repr(answer[0]).startswith(f"<Hit 1: 1.000 {path} ")
    assert f"\n  {answer[1]!r}" in repr(answer) and "2 hits" in repr(answer)
    assert path in repr(lib.clip(path)) and "3.00 s" in repr(lib.clip(path))
    best = answer.labels[0]
    assert repr(best) == f"<Label {best.name} {best.score:.2f}>"
    assert f"{best.name} {best.score:.2f}" in repr(answer)
    assert len(repr(next(lib._session.store.clips()))) < 200
