"""Clips by a key of the user's own: a tag that was declared."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from support.stores import SETTINGS, amend, filled, new_clip

import soundsearch
from soundsearch import Examples, Key, Stored, errors
from soundsearch.cli.main import main
from soundsearch.stores.opening import create_store, open_store, place_of

CLIPS = [
    new_clip("/a.wav", 2, 1, tags={"track": "t1"}),
    new_clip("/b.wav", 3, 2, tags={"track": 17.0, "mic": "AKG"}),
    new_clip("t1", 1, 3, tags={"track": "/a.wav"}),
    new_clip("/d.wav", 1, 4, tags={"track": True}),
    new_clip("/e.wav", 1, 5),
    new_clip("/f.wav", 1, 6, tags={"track": "é\n'\"\\"}),
]


def test_keys_of_every_kind(store):
    ids = filled(store, CLIPS)
    assert store.key() is None
    with pytest.raises(errors.ArgumentError, match="tag --key TAG"):
        store.clips_keyed([Key("t1")])
    with store.writing():
        store.use_key("track")
    assert store.key() == "track"

    def found(*values):
        keys = [Key(value) for value in values]
        with store.reading() as reading:
            there = reading.clips_keyed(keys)
        assert {key: clip.id for key, clip in store.clips_keyed(keys).items()} == {
            key: clip.id for key, clip in there.items()
        }
        return [there[key].id if key in there else None for key in keys]

    assert found("t1", "17", 17, "/a.wav", "true", "é\n'\"\\", "none", "t", "017") == [
        ids[0], ids[1], ids[1], ids[2], None, ids[5], None, None, None,
    ]  # fmt: skip
    amend(store, ids[0], tags={"track": "t2"})
    amend(store, ids[1], tags={})
    with store.writing():
        store.add([new_clip("/e.wav", 2, 7, tags={"track": "t5"})])
        store.remove([ids[5]])
    expected = [None, ids[0], ids[4], None, None]
    assert found("t1", "t2", "t5", "17", "é\n'\"\\") == expected
    with store.writing():
        store.rebuild()
    assert found("t1", "t2", "t5", "17", "é\n'\"\\") == expected
    amend(store, ids[1], tags={"track": "t2"})
    with pytest.raises(errors.LibraryError, match=r"both /(a|b)\.wav and /(a|b)\.wav have the key"):
        found("t2")
    with store.writing():
        store.use_key(None)
    assert store.key() is None


@pytest.mark.slow
def test_a_successor_keeps_the_keys(store):
    ids = filled(store, CLIPS[:2])
    with store.writing():
        store.use_key("track")
        with closing(store.successor(SETTINGS)) as successor:
            with successor.writing():
                successor.add([CLIPS[1], CLIPS[0]])
            store.adopt(successor)
    assert store.key() == "track"
    assert store.clips_keyed([Key("t1")])[Key("t1")].id == ids[0]


def test_a_damaged_index_of_keys_names_no_other_clip(tmp_path):
    store = create_store(place_of(tmp_path / "l"), SETTINGS)
    ids = filled(store, CLIPS)
    with store.writing():
        store.use_key("track")
    with closing(sqlite3.connect(tmp_path / "l" / "catalog.sqlite")) as catalog, catalog:
        catalog.execute("UPDATE keys SET clip = ? WHERE value = 't1'", (ids[4],))
    assert store.clips_keyed([Key("t1"), Key(17)]).keys() == {Key(17)}
    with store.writing():
        store.rebuild()
    assert store.clips_keyed([Key("t1")])[Key("t1")].id == ids[0]
    store.close()


@pytest.fixture
def lib(tmp_path):
    store = create_store(place_of(tmp_path / "l"), SETTINGS)
    filled(store, CLIPS)
    store.close()
    with soundsearch.open(tmp_path / "l") as library:
        library.use_key("track")
        yield library


def test_a_key_names_a_clip_wherever_one_is_named(lib):
    a, b, named_t1 = (lib.clip(clip.record.uri) for clip in CLIPS[:3])
    assert lib.key == lib.info()["key"] == "track"
    assert lib.clip(Key("t1")) == a and lib.clip("t1") == named_t1  # never one for the other
    assert lib.clip(Key("/a.wav")) == named_t1
    assert Key("t1") in lib and Key("none") not in lib
    assert Key("t1") not in lib.where("tag['mic'] == 'AKG'")
    expected = [hit.uri for hit in lib.similar(a.id)]
    assert [hit.uri for hit in lib.similar(Key("t1"))] == expected
    assert [hit.uri for hit in lib.query(Stored(Key("t1")))] == expected
    np.testing.assert_array_equal(lib.vectors(Key("17")), CLIPS[1].embeddings)
    liked = [Key("t1"), Key(17)]
    found = lib.query(Examples(liked, unlike=[Key("/a.wav")]))
    by_id = lib.query(Examples([a.id, b.id], unlike=[named_t1.id]))
    assert [hit.uri for hit in found] == [hit.uri for hit in by_id]
    assert lib.tag({Key("t1"): {"mood": "calm"}}).tagged == 1
    assert lib.clip(a.id).tags == {"track": "t1", "mood": "calm"}
    assert lib.tag({Key("x"): {"mood": "calm"}}).unknown == ["x"]
    assert lib.tag({lib.clip("/a.wav").id: {"mood": "calm"}, "\ud800": {}}).unknown == ["\ud800"]
    assert "\ud800" not in lib
    with pytest.raises(
        errors.ClipNotFound, match=r"^x: no clip of .* has this key, its tag 'track'"
    ):
        lib.similar(Key("x"))
    with pytest.raises(errors.ArgumentError, match="for and against at once, got the key t1"):
        Examples([Key("t1")], unlike=[Key("t1")])
    assert lib.remove([Key("t1"), "/e.wav"]) == 2 and Key("t1") not in lib
    with pytest.raises(errors.ClipNotFound, match="has this key"):
        lib.remove([Key("t1")])


@pytest.mark.parametrize("value", ["", 1.5, True, None, b"x", float("nan"), "\udcff", 2**60])
def test_what_is_no_key(value):
    with pytest.raises(errors.ArgumentError, match="expected a text or a whole number"):
        Key(value)


def test_equal_keys():
    assert Key(17) == Key("17") == Key(17.0) == Key(np.int64(17)) and len({Key(17), Key("17")}) == 1
    assert Key("017") != Key(17) and Key("-0") != Key(0) and Key("1e3") != Key(1000)


def test_no_two_clips_get_one_key(lib, tmp_path):
    report = lib.tag(
        {
            "/b.wav": {"track": "t1", "mic": "U87"},  # of /a.wav
            "/d.wav": {"track": "new"},
            "/e.wav": {"track": "new"},
            "/f.wav": {"track": 1.5},
            "/a.wav": {"track": "t1"},  # its own
        }
    )
    assert report.tagged == 2 and report.unknown == []
    assert list(report.refused) == ["/b.wav", "/e.wav", "/f.wav"]
    assert "got t1, that of /a.wav" in report.refused["/b.wav"]
    assert lib.clip("/b.wav").tags == {"track": 17.0, "mic": "AKG"}
    assert lib.clip(Key("new")).uri == "/d.wav"
    lib.tag({"/a.wav": {"mic": "AKG"}})
    with pytest.raises(errors.ArgumentError, match=r"but /(a|b)\.wav and /(a|b)\.wav both have"):
        lib.use_key("mic")
    assert lib.key == "track"
    lib.copy(tmp_path / "copy")
    with closing(open_store(place_of(tmp_path / "copy"))) as copied:
        assert copied.key() == "track" and Key(17) in copied.clips_keyed([Key("17")])
    with soundsearch.open(tmp_path / "copy") as copied:
        copied.tag({"/b.wav": {"track": None}})
        copied.tag({"/e.wav": {"track": 17}})
        lib.copy(tmp_path / "copy")  # gives both back what they have
        assert copied.clip(Key(17)).uri == "/b.wav"
        copied.tag({"/b.wav": {"track": None}})
        copied.tag({"/e.wav": {"track": 17}})
        lib.remove("/e.wav")
        with pytest.raises(errors.LibraryError, match=r"17 of both /e\.wav and /b\.wav; give one"):
            lib.copy(tmp_path / "copy")
        assert copied.clip(Key(17)).uri == "/e.wav"


def test_a_sound_that_is_added_with_the_key_of_another(tmp_path):
    sounds = np.random.default_rng(0).normal(0, 0.1, (2, 16_000))
    with soundsearch.open(tmp_path / "l") as lib:
        lib.add(sounds[0], 16_000, uri="a", tags={"track": "t1"})
        lib.use_key("track")
        with pytest.raises(errors.ArgumentError, match="got t1, that of a; the sound is stored"):
            lib.add(sounds[1], 16_000, uri="b", tags={"track": "t1"})
        assert lib.clip(Key("t1")).uri == "a" and lib.clip("b").tags == {}
        lib.add(sounds[1], 16_000, uri="a", tags={"track": "t1"})
        assert lib.clip(Key("t1")).uri == "a"


def test_keys_on_the_command_line(lib, tmp_path, capsys):
    address = str(lib.address)
    lib.use_key(None)
    tags = tmp_path / "tags.csv"
    tags.write_text("path,track\n/b.wav,t9\n/e.wav,t9\n")

    def run(*arguments):
        with pytest.raises(SystemExit) as done:
            main([*arguments, "--library", address])
        return done.value.code, *capsys.readouterr()

    assert run("tag", str(tags), "--key", "track")[0] == 3
    code, out, err = run("similar", "key:t9", "--json")
    assert code == 0 and json.loads(out.splitlines()[0])["uri"] != "/b.wav"
    assert run("query", "--like", "key:t9", "--like", "key:t1", "--json")[0] == 0
    assert "key        track" in run("info")[1]
    code, out, err = run("similar", "key:none")
    assert code == 1 and "none: no clip of" in err and "has this key" in err
    assert run("remove", "key:t9")[1] == "1 clip removed\n"
    assert run("tag")[0] == 2
    code, out, err = run("export", str(tmp_path / "x.csv"), "--where", "tag['track'] == 't1'")
    assert (code, out) == (0, f"1 clip written to {tmp_path / 'x.csv'}\n")
    assert run("export", str(tmp_path / "x.pdf"))[0] == 2
