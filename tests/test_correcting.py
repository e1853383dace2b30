"""What people say of clips is kept, found, and never lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.commands import run
from support.sounds import noise, tone, write
from support.stores import SETTINGS, amend, filled, new_clip

import soundsearch
from soundsearch import errors
from soundsearch.cli import correcting
from soundsearch.correcting import corrected, left, said_of
from soundsearch.correctionfiles import HEARD
from soundsearch.labels.timeline import Event
from soundsearch.labels.vocabulary import AUDIOSET
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.opening import create_store, place_of
from soundsearch.stores.records import LABEL, HumanEvent

DOG, BARK = AUDIOSET.index("Dog"), AUDIOSET.index("Bark")
RECORD = new_clip("/a.wav", 10, 1, human_labels=(BARK, 3)).record  # 9.6 s


def said(record):
    return {(each.class_index, each.onset, each.offset): each.is_heard for each in said_of(record)}


def test_what_is_said_of_a_label_and_a_time_replaces_what_was_said_of_it():
    one = corrected(RECORD, AUDIOSET, "dog", (1.0, 2.5), True)
    assert one.human_labels == (BARK, 3, DOG)
    assert one.human_events == (HumanEvent(DOG, 1.0, 2.5, True),)
    two = corrected(one, AUDIOSET, "/m/05tny_", (8.0, None), True)  # Bark
    assert said(two) == {(BARK, 0, 0): 1, (BARK, 8.0, 9.6): 1, (DOG, 1, 2.5): 1, (3, 0, 0): 1}
    # What was given without a time outlives what is given with one.
    back = corrected(two, AUDIOSET, "Bark", (8.0, None), None)
    assert said(back) == said(one)
    assert back.human_labels == (BARK, 3, DOG) and back.human_events == one.human_events
    no = corrected(back, AUDIOSET, "Dog", (1.0, 2.5), False)
    assert no.human_labels == (BARK, 3)
    assert no.human_events == (HumanEvent(DOG, 1.0, 2.5, False),)
    nowhere = corrected(no, AUDIOSET, "Bark", None, False)
    assert nowhere.human_labels == (3,) and said(nowhere)[BARK, 0, 0] is False
    for label, at, message in (
        ("Dgo", None, "one of the library's 527 classes, got 'Dgo'; similar: Dog"),
        ("Dog", (9.6, None), "within its 9.60 s that ends after it begins, got 9.6-"),
        ("Dog", (3.0, 2.0), "got 3-2"),
    ):
        with pytest.raises(errors.ArgumentError, match=message):
            corrected(RECORD, AUDIOSET, label, at, True)
    many = tuple(HumanEvent(DOG, n / 1000, 9.0, True) for n in range(1000))
    with pytest.raises(errors.ArgumentError, match=r"people may say 1000 things"):
        corrected(replace(RECORD, human_events=many, human_labels=(DOG,)), AUDIOSET, "Dog", None, 1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Dog", "Bark", "Rain"]),
            st.sampled_from([None, (0.0, 1.0), (0.5, 2.0), (3.0, None)]),
            st.sampled_from([True, False, None]),
        ),
        max_size=12,
    )
)
def test_labels_are_what_was_said_last(steps):
    record, known = RECORD, said(RECORD)
    for label, at, heard in steps:
        record = corrected(record, AUDIOSET, label, at, heard)
        place = AUDIOSET.index(label), *((0.0, 0.0) if at is None else (at[0], at[1] or 9.6))
        known.pop(place, None)
        if heard is not None:
            known[place] = heard
        assert said(record) == known
        assert set(record.human_labels) == {index for (index, *_), yes in known.items() if yes}
        assert len(set(record.human_labels)) == len(record.human_labels)


def test_predictions_of_which_people_said_something_give_way():
    def event(onset, offset, index):
        return Event(onset, offset, AUDIOSET.label(index, 0.7))

    found = [event(0, 2, DOG), event(2, 4, DOG), event(0, 4, BARK), event(1, 3, 3)]
    given = [HumanEvent(DOG, 1.0, 2.0, False), HumanEvent(BARK, 0.0, 0.0, False)]
    assert left(found, given, AUDIOSET) == [found[1], found[3]]
    assert left(found, [HumanEvent(DOG, 0.0, 0.0, True)], AUDIOSET) == found


@pytest.mark.parametrize("kind", ["local", "lite"])
def test_what_people_say_is_found_and_kept(tmp_path, kind):
    if kind == "lite":
        pytest.importorskip("milvus_lite")
    address = {"local": tmp_path / "l", "lite": f"milvus-lite:{tmp_path / 'l.db'}"}[kind]
    path = write(tmp_path / "s" / "a.wav", tone(300, 3))
    write(tmp_path / "s" / "b.wav", noise(1, 3))
    with soundsearch.open(address) as lib:
        lib.ingest(tmp_path / "s")
        assert not len(lib.where("human_label['Dog']"))
        clip = lib.correct(str(path), "Bark", at=(0.5, 1.5))
        assert [label.name for label in clip.human_labels] == ["Bark"] and clip == lib.clip(clip.id)
        lib.correct(clip.id, "Rain", heard=False)
        assert [each.uri for each in lib.where("human_label['Dog']")] == [str(path)]
        [hit] = lib.where("human_label['Dog']").query(soundsearch.Labelled("Bark"))
        assert hit.score == 1 and hit.uri == str(path)
        with pytest.raises(errors.ClipNotFound):
            lib.correct("no such.wav", "Bark")
    with soundsearch.open(address) as lib:  # kept, through whatever becomes of the file
        path.rename(tmp_path / "s" / "c.wav")
        assert not lib.ingest(tmp_path / "s", again=True).missing
        write(tmp_path / "s" / "d.wav", tone(300, 3))
        lib.ingest(tmp_path / "s")
        lib.ingest(tmp_path / "s", again=True)
        store = lib._session.store
        events = (HumanEvent(AUDIOSET.index("Rain"), 0, 0, False), HumanEvent(BARK, 0.5, 1.5, True))
        for name in ("c.wav", "d.wav"):
            record = store.clip_at(str(tmp_path / "s" / name)).record
            assert (record.human_labels, record.human_events) == ((BARK,), events)
        with soundsearch.open(tmp_path / "copy") as copy:
            lib.copy(copy.address)
        with soundsearch.open(tmp_path / "copy") as copy:
            assert len(copy.where("human_label['Bark']")) == 2
            lib.correct(str(tmp_path / "s" / "d.wav"), "Bark", at=(0.5, 1.5), heard=None)
            assert lib.copy(copy.address).replaced == 1
        write(tmp_path / "s" / "c.wav", noise(5, 3))  # another sound, of which nobody spoke
        lib.ingest(tmp_path / "s")
        record = store.clip_at(str(tmp_path / "s" / "c.wav")).record
        assert (record.human_labels, record.human_events) == ((), ())
        b, c, e = (tmp_path / "s" / f"{name}.wav" for name in "bce")
        said = {
            path: lib.correct(str(path), name).human_labels
            for path, name in ((b, "Dog"), (c, "Bark"))
        }
        for one, other in ((b, e), (c, b), (e, c)):  # each is at the other's place
            one.rename(other)
        lib.ingest(tmp_path / "s")
        assert [lib.clip(str(path)).human_labels for path in (c, b)] == list(said.values())


def test_an_older_library_is_upgraded_and_damage_is_found(tmp_path):
    if sqlite3.sqlite_version_info < (3, 35):
        pytest.skip("drops a column")
    folder = tmp_path / "library"
    with closing(LocalStore.create(folder, SETTINGS)) as store:
        [first] = filled(store, [new_clip("/a.wav", 2, 1, human_labels=(BARK,))])
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog, catalog:
        catalog.execute("ALTER TABLE clips DROP COLUMN human_events")
        catalog.execute("PRAGMA user_version = 7")
    with closing(LocalStore(folder)) as store:
        assert store.clip_at("/a.wav").record.human_labels == (BARK,) and not store.check()
        amend(store, first, human_events=(HumanEvent(BARK, 0.5, 1.0, True),))
        assert store.clip_at("/a.wav").record.human_events[0].onset == 0.5
        with store.writing():
            store.relabel(
                None,
                lambda clips: [
                    (np.zeros((len(levels), 5), LABEL), np.zeros(10, LABEL)) for _, levels in clips
                ],
            )
        assert store.clip_at("/a.wav").record.human_events[0].onset == 0.5 and not store.check()
    for wrong in ("[[74,0.5,1.25,1]]", "[[74,2,1,1]]", "{}", "[" * 5000, '[["a",0,0,1]]'):
        with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog, catalog:
            catalog.execute("UPDATE clips SET human_events = ?", (wrong,))
        with closing(LocalStore(folder)) as store:
            assert store.check()
            with pytest.raises(errors.LibraryDamaged):
                store.clip_at("/a.wav")
        with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog, catalog:
            catalog.execute("UPDATE clips SET record_sum = NULL")
        if wrong != "[[74,0.5,1.25,1]]":
            with closing(LocalStore(folder)) as store, pytest.raises(errors.LibraryDamaged):
                store.clip_at("/a.wav")


def corrected_by(library, *arguments):
    done = run("correct", *arguments, library=library)
    return done.returncode, done.stdout + done.stderr


def test_people_label_in_a_shell_or_a_spreadsheet(place, tmp_path):
    store = create_store(place, SETTINGS)
    paths = [tmp_path / f"{name}.wav" for name in "abc"]
    filled(store, [new_clip(str(path), 10, n) for n, path in enumerate(paths)])
    store.close()
    with soundsearch.open(place) as lib:
        [a, b, c] = [lib.clip(str(path)).id for path in paths]
    assert corrected_by(place, a, paths[1], "--label", "Bark", "--at", "1.2-3.4") == (
        0,
        "2 corrections stored\n",
    )
    where = "human_label['Bark']"
    assert corrected_by(place, "--where", where, "--label", "Rain", "--heard", "no")[0] == 0
    assert corrected_by(place, b, "--label", "/m/05tny_", "--at", "1.2-3.4", "--heard", "unsaid")
    # What one is told of events, changed in a spreadsheet that parts cells by semicolons.
    (tmp_path / "t.csv").write_text(
        "\ufefffile;onset;offset;label;mid;score;heard\n"
        f"{paths[2]};8;;Bark;/m/05tny_;0.5;\n"
        "a.wav;1.2;3.4;bark;;;UNSAID\n"
        "a.wav;;;Dog;;;\n"
        "b.wav;;0,5;Dog;;;\n"
        "b.wav;;0.5;Dgo;;;\n"
        "b.wav;99;;Dog;;;\n"
        "d.wav;;;Dog;;;maybe\n"
        "d.wav;;;Dog;;;no\n"
    )
    code, output = corrected_by(place, "--file", tmp_path / "t.csv")
    assert code == 3 and output.startswith("3 corrections stored\n")
    for line, said in {
        5: "offset: expected seconds, as in 1.25, got '0,5'",
        6: "got 'Dgo'; similar: Dog",
        7: "a stretch within its 9.60 s that ends after it begins, got 99-",
        8: "heard: expected yes, no, unsaid, or nothing for yes, got 'maybe'",
        9: f"no clip of the library is {tmp_path / 'd.wav'}",
    }.items():
        assert any(f", line {line}: " in each and said in each for each in output.splitlines())
    rain = {"label": "Rain", "onset": None, "offset": None, "heard": False}
    with soundsearch.open(place) as lib:
        clips = [lib.clip(number) for number in (a, b, c)]
        assert clips[0].human_events == clips[1].human_events == (rain,)
        bark = {"label": "Bark", "onset": 8.0, "offset": 9.6, "heard": True}
        assert clips[2].human_events == (bark,)
        names = [[label.name for label in clip.human_labels] for clip in clips]
        assert names == [["Dog"], [], ["Bark"]]
        assert clips[2].to_dict()["human_events"] == [bark]
    for number in (99, 1 << 70):
        assert corrected_by(place, number, "--label", "Dog") == (
            1,
            f"0 corrections stored\n  no clip of the library is {number}\n",
        )
    code, output = corrected_by(place, "--where", "duration > 0", "--label", "Dgo")
    assert code == 1 and output.count("got 'Dgo'; similar: Dog") == 1
    for wrong in (("--label", "Dog"), (a,), (a, "--label", "Dog", "--file", "t.csv")):
        assert corrected_by(place, *wrong)[0] == 2
    (tmp_path / "t.csv").write_text("path,label,onest\na.wav,Dog,1\n")
    code, output = corrected_by(place, "--file", tmp_path / "t.csv")
    assert code == 2 and "got path, label, onest" in output


def test_what_cannot_be_said_is_told_clearly(tmp_path):
    store = create_store(place_of(tmp_path / "l"), SETTINGS)
    filled(store, [new_clip("/a.wav", 10, 1), new_clip("/b.wav", 10, 2)])
    store.close()
    with soundsearch.open(tmp_path / "l") as lib:
        for wrong, message in (
            ((1, 5), "527 classes, got 5"),
            ((1, None), "527 classes, got None"),
            ((1, "Dog", 3), "at: expected .start, end. in seconds"),
            ((1, "Dog", ("a", 2)), "at: expected"),
            ((1, "Dog", (1, 2, 3)), "at: expected"),
            ((1, "Dog", (float("nan"), 2)), "got nan-2"),
            ((1, "Dog", None, "yes"), "heard: expected True, False or None, got 'yes'"),
            ((1.5, "Dog"), "expected the uri, id or Key of a clip, got 1.5"),
            ((["/a.wav", "/b.wav"], "Dog"), "of one clip, got 2 of them"),
            (([], "Dog"), "of one clip, got 0 of them"),
        ):
            clip, label, at, heard = (*wrong, None, True)[:4] if len(wrong) < 4 else wrong
            with pytest.raises(errors.ArgumentError, match=message):
                lib.correct(clip, label, at=at, heard=heard)
        for wrong in (soundsearch.Correction(1.5, "Dog"), (1, "Dog"), None):
            with pytest.raises(errors.ArgumentError, match=r"expected (the uri|a Correction)"):
                lib.correct_all([wrong])
        assert not [clip for clip in lib if clip.human_labels or clip.human_events]
        [said] = lib.correct(1, "Dog", heard=np.False_).human_events
        assert said["heard"] is False


def test_the_command_and_the_page_say_the_same():
    [heard] = [each for each in correcting.correct.params if each.name == "heard"]
    assert list(heard.type.choices) == list(HEARD)
