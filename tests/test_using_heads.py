"""Heads that libraries keep: all clips labelled anew in one step, on every store."""

from __future__ import annotations

import csv
import json
from contextlib import closing

import numpy as np
import pytest
from soundsearch_ingest.discover import AudioFile
from soundsearch_ingest.logmel import SILENT
from support.heads import DOG, MANY, NAMES, best, check_labelled, expected, spec, written
from support.stores import CLIPS, SETTINGS, filled, new_clip
from support.waiting import until

import soundsearch
from soundsearch import Labelled, errors
from soundsearch.labels.head import Head
from soundsearch.labels.ontology import CLASSES, ontology
from soundsearch.stores.local import indexing, stretching
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.opening import create_store, place_of
from soundsearch.stores.records import FailureRecord, HumanEvent


@pytest.fixture
def mine(tmp_path):
    return written(tmp_path / "my.head", spec())


@pytest.fixture
def lib(place):
    """A library with tags, a key, failures, human labels, and a gap where a clip was."""
    with closing(create_store(place, SETTINGS)) as store:
        filled(store, [new_clip("/gone.wav", 6, 1000), *MANY])
        with store.writing():
            store.fail([FailureRecord(AudioFile("/bad", 1, 1), None, "is empty")])
            store.use_key("id")
            store.remove([store.clip_at("/gone.wav").id])
    with soundsearch.open(place) as library:
        yield library


def everything_else(lib):
    """What a head leaves alone."""
    clips = {clip.uri: (clip.id, clip.human_labels, clip.tags, clip.duration) for clip in lib}
    return clips, lib.failures(), lib.key, lib.query(vectors=CLIPS[2].embeddings, k=20).hits[0].uri


@pytest.mark.slow
def test_all_clips_are_labelled_anew(lib, mine):
    before = everything_else(lib)
    nearest = [(hit.uri, hit.score) for hit in lib.query(vectors=CLIPS[0].embeddings, k=20)]
    told = []
    lib.use_head(mine, on_clips=told.append)
    assert sum(told) == len(MANY)
    check_labelled(lib, mine, MANY)
    assert everything_else(lib) == before
    again = [(hit.uri, hit.score) for hit in lib.query(vectors=CLIPS[0].embeddings, k=20)]
    assert again == nearest
    assert lib.check() == []
    assert lib.head.spec.names == NAMES
    assert lib.info()["head"]["own_classes"] == ["my drill", "kettle"]
    assert lib.classes[527:] == ("my drill", "kettle")
    # What it keeps already is not done again.
    lib.use_head(mine, on_clips=told.append)
    assert sum(told) == len(MANY)
    with lib._session.store.writing():
        lib._session.store.rebuild()
    check_labelled(lib, mine, MANY)
    # Clips to come, and another head after the first.
    other = written(mine.with_name("other.head"), spec(1, names=("kettle", "my owl", "my drill")))
    lib.use_head(other)
    check_labelled(lib, other, MANY)
    assert everything_else(lib) == before
    steps = []
    lib.use_head(None, on_step=steps.append)
    assert lib.head is None and lib.info()["head"] is None
    assert any("ingest --again" in step for step in steps)
    assert all(clip.labels == () for clip in lib)
    assert everything_else(lib) == before


@pytest.mark.slow
def test_what_people_said_of_own_classes_moves_with_them(lib, mine):
    lib.use_head(mine)
    lib.correct("/given.wav", "my drill", at=(0, 1))
    lib.correct("/more/1.wav", "kettle", heard=False)
    other = written(mine.with_name("other.head"), spec(1, names=("Kettle", "my owl", "my drill")))
    lib.use_head(other)
    store = lib._session.store
    drill, kettle = lib.classes.index("my drill"), lib.classes.index("Kettle")
    assert [label.name for label in lib.clip("/given.wav").human_labels] == ["Dog", "my drill"]
    assert store.clip_at("/given.wav").record.human_events == (HumanEvent(drill, 0, 1, True),)
    assert store.clip_at("/more/1.wav").record.human_events == (HumanEvent(kettle, 0, 0, False),)
    assert [clip.uri for clip in lib.where("human_label['my drill']")] == ["/given.wav"]
    assert lib.query(Labelled("my drill"), 1)[0].uri == "/given.wav"
    with pytest.raises(
        errors.LibraryError, match=r"of 1 clip whether .*drill.*use \S*third.head --forget"
    ):
        lib.use_head(written(mine.with_name("third.head"), spec(2, names=("Kettle", "Dog"))))
    assert lib.head.spec.names[1] == "my owl"
    lib.use_head(None, forget=True)
    record = store.clip_at("/given.wav").record
    assert (record.human_labels, record.human_events) == ((DOG,), ())
    assert lib.check() == [] and len(list(lib)) == len(MANY)


@pytest.mark.slow
def test_own_classes_in_filters_and_questions(lib, mine, tmp_path):
    lib.use_head(mine)
    drill = {clip.record.uri: best(expected(mine, clip)[1], 527) for clip in MANY}
    for least in (0.1, 0.5, 0.8):
        selected = lib.where("label['My Drill'] > :least", least=least)
        wanted = {uri for uri, score in drill.items() if score > least}
        assert {clip.uri for clip in selected} == wanted and len(selected) == len(wanted)
        assert {hit.uri for hit in selected.query(vectors=CLIPS[0].embeddings, k=99)} == wanted
    # A question scores what the head says of the best segment, and of people's labels.
    head = Head(mine)
    heard = {}
    for clip in MANY:
        scores = head.highest(clip.embeddings, {527})[clip.segments["level"] >= SILENT]
        heard[clip.record.uri] = scores.max(initial=0)
    answer = lib.query(Labelled("my drill"), 99)
    assert {hit.uri: hit.score for hit in answer} == pytest.approx(
        {uri: score for uri, score in heard.items() if score > 0}, abs=1e-6
    )
    assert lib.query(Labelled("Dog"), 1)[0].uri == "/given.wav"
    assert lib.query(Labelled(["Dog", "my drill"], like=soundsearch.Stored("/given.wav")), 3)
    assert "Cat: is not predicted" in lib.query(Labelled("Cat")).warning
    # Wherever labels are shown.
    [label] = [each for each in lib.query(Labelled("my drill"), 1)[0].labels if not each.mid][:1]
    assert label.path == (label.name,) and label.name in NAMES
    found = lib.labels(list(drill))
    assert found.shape == (len(MANY), 529)
    np.testing.assert_allclose(found[:, 527], list(drill.values()))
    lib.export(tmp_path / "out.csv")
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        rows = {row["uri"]: json.loads(row["labels"]) for row in csv.DictReader(file)}
    for uri, score in drill.items():
        assert rows[uri].get("my drill", 0) == pytest.approx(score, abs=1e-4)
    lib.export(tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["classes"][[DOG, 527, 528]].tolist() == ["Dog", "my drill", "kettle"]
        column = np.where(arrays["label_class"] == 527, arrays["label_score"], 0).max(axis=1)
    np.testing.assert_allclose(column, list(drill.values()))


@pytest.mark.slow
def test_unknown_names_have_near_ones_of_both(lib, mine):
    with pytest.raises(errors.ArgumentError, match=r"label: expected .*'my dril'"):
        lib.query(Labelled("my dril"))
    lib.use_head(mine)
    with pytest.raises(errors.ArgumentError, match=r"head, got 'my dril'; similar: my drill"):
        lib.query(Labelled("my dril"))
    with pytest.raises(errors.ArgumentError, match=r"similar: .*kettle"):
        lib.where("label['kettl'] > 0.5")


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields", [{"output": "softmax"}, {"pooling": "max", "normalised": True}], ids=str
)
def test_labels_of_heads_without_directions(lib, tmp_path, fields):
    mine = written(tmp_path / "my.head", spec(**fields))
    lib.use_head(mine)
    check_labelled(lib, mine, MANY)
    kept = {c.record.uri: max(best(s, 527) for s in expected(mine, c)[0]) for c in MANY}
    found = {hit.uri: hit.score for hit in lib.query(Labelled("my drill"), 99)}
    assert found == pytest.approx({uri: score for uri, score in kept.items() if score > 0})


def see(reader, lib):
    """Wait until a reader sees what another one did; a server shows it a moment later."""
    until(lambda: reader._session.store.head_digest() == lib._session.store.head_digest())


@pytest.mark.slow
def test_whoever_has_the_library_open_sees_the_change(lib, mine, monkeypatch):
    monkeypatch.setattr("soundsearch.stores.milvus.store._UNSEEN", 0.0)
    other = written(mine.with_name("other.head"), spec(1, names=("kettle", "my owl", "my drill")))
    with soundsearch.open(lib.address) as reader:
        dogs = reader.where("label['Dog'] > 0.3")
        assert [clip.uri for clip in dogs] == ["/given.wav"] and len(reader.classes) == CLASSES
        lib.use_head(mine)
        see(reader, lib)
        check_labelled(reader, mine, MANY)
        assert {c.uri for c in dogs} == {c.uri for c in lib.where("label['Dog'] > 0.3")} != set()
        # The class has another number by then.
        drills = reader.where("label['my drill'] > 0.3")
        lib.use_head(other)
        see(reader, lib)
        check_labelled(reader, other, MANY)
        wanted = {c.record.uri for c in MANY if best(expected(other, c)[1], 529) > 0.3}
        assert {clip.uri for clip in drills} == wanted != set()
        assert {hit.uri for hit in drills.query(vectors=CLIPS[0].embeddings, k=99)} == wanted
        with reader.writing():  # and may write
            reader.tag({"/given.wav": {"mic": "X"}})
        assert lib.clip("/given.wav").tags["mic"] == "X"


def test_what_is_refused(lib, mine, tmp_path):
    before = [clip.labels for clip in lib]
    far = written(tmp_path / "far.head", spec(space="mini-9"))
    with pytest.raises(errors.SpaceMismatch, match="'mini-1', but the head reads 'mini-9'"):
        lib.use_head(far)
    with pytest.raises(errors.SpaceMismatch, match="16 numbers, but the head reads 17"):
        lib.use_head(written(tmp_path / "wide.head", spec(dimension=17)))
    whole = mine.read_bytes()
    mine.write_bytes(whole[:-100])
    with pytest.raises(errors.EncoderError, match=r"my\.head"):
        lib.use_head(mine)
    with pytest.raises(errors.EncoderError, match=r"none\.head.*No such file"):
        lib.use_head(tmp_path / "none.head")
    with np.load(far) as arrays:
        np.savez(tmp_path / "nan.npz", **{**arrays, "bias_0": np.full(3, np.nan)})
    with pytest.raises(errors.EncoderError, match="not finite"):
        lib.use_head(tmp_path / "nan.npz")
    assert [clip.labels for clip in lib] == before and lib.head is None


@pytest.mark.slow
def test_a_head_of_version_0_1(lib, tmp_path):
    mids = [node.mid for node in ontology().classes]
    weight = np.random.default_rng(0).normal(0, 0.5, (CLASSES, 16))
    arrays = {"weight": weight, "bias": np.zeros(CLASSES), "mids": np.array(mids)}
    np.savez(tmp_path / "old.npz", space=np.array(SETTINGS.space), **arrays)
    lib.use_head(tmp_path / "old.npz")
    check_labelled(lib, tmp_path / "old.npz", MANY)
    assert lib.info()["head"]["own_classes"] == []


def test_a_local_index_is_not_made_again(tmp_path, mine, monkeypatch):
    monkeypatch.setattr(indexing, "EXACT_ROWS", 1000)
    monkeypatch.setattr(stretching, "FEW_ROWS", 1000)
    clips = [new_clip(f"/{n}.wav", 30, n) for n in range(1, 81)]
    with closing(LocalStore.create(tmp_path / "library", SETTINGS)) as store:
        filled(store, clips)
        with store.writing():
            store.optimise()

    def derived():
        found = [p for p in (tmp_path / "library").iterdir() if p.name[:5] in ("index", "stret")]
        return {path.name: path.stat().st_ino for path in found}

    files = derived()
    assert len(files) >= 3
    with soundsearch.open(tmp_path / "library") as lib:
        before = lib.query(vectors=clips[4].embeddings, k=20).hits
        alike = lib.similar(["/3.wav", "/7.wav"], 5).ids.tolist()
        lib.use_head(mine)
        assert derived() == files
        after = lib.query(vectors=clips[4].embeddings, k=20).hits
        assert [(h.uri, h.score, h.start) for h in after] == [
            (h.uri, h.score, h.start) for h in before
        ]
        assert lib.similar(["/3.wav", "/7.wav"], 5).ids.tolist() == alike
        check_labelled(lib, mine, clips)
        assert lib.check() == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["local", "lite"])
def test_a_copy_keeps_the_head(lib, mine, tmp_path, kind):
    if kind == "lite":
        pytest.importorskip("milvus_lite")
    lib.use_head(mine)
    target = place_of(tmp_path / "copy" if kind == "local" else f"milvus-lite:{tmp_path / 'c.db'}")
    lib.copy(target)
    with soundsearch.open(target) as copied:
        check_labelled(copied, mine, MANY)
        assert everything_else(copied)[1:] == everything_else(lib)[1:]
    assert lib.copy(target).unchanged == len(MANY)
    lib.use_head(written(tmp_path / "other.head", spec(1)))
    with pytest.raises(errors.LibraryError, match=r"of another head.*head use"):
        lib.copy(target)
