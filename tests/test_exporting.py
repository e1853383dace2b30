"""Clips as arrays, and as files that NumPy, pyarrow and spreadsheets open."""

from __future__ import annotations

import csv
import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from soundsearch_ingest.discover import AudioFile
from support.stores import SETTINGS, filled, new_clip

import soundsearch
from soundsearch import Key, errors, exporting
from soundsearch.audioset import class_names
from soundsearch.cli import exporting as cli
from soundsearch.stores.opening import create_store, place_of
from soundsearch.stores.records import CLIP_LABELS, LABEL, NO_LABEL, HumanEvent
from soundsearch.vectors import loudness_weights

DOG, BARK = (class_names().index(name) for name in ("Dog", "Bark"))


def labels(*scores):
    out = np.zeros(CLIP_LABELS, LABEL)
    out["class_index"] = NO_LABEL
    out[: len(scores)] = list(scores)
    return out


CLIPS = [
    new_clip("/a_%, b.wav", 3, 1, labels=labels((BARK, 0.75)), tags={"id": "t1", "take": 2.0}),
    new_clip(
        "/é.wav",
        1,
        2,
        human_labels=(BARK,),
        human_events=(HumanEvent(DOG, 0, 0, False), HumanEvent(BARK, 0.25, 0.75, True)),
        tags={"id": 17.0, "ok": True},
    ),
    new_clip('/"q"\n\udcff.wav', 5, 3, labels=labels((DOG, 0.5), (BARK, 0.25)), warning="cut"),
]
SAID = [
    {"label": "Dog", "onset": None, "offset": None, "heard": False},
    {"label": "Bark", "onset": 0.25, "offset": 0.75, "heard": True},
]
URIS = [clip.record.uri for clip in CLIPS]


@pytest.fixture
def lib(place):
    store = create_store(place, SETTINGS)
    filled(store, CLIPS)
    store.close()
    with soundsearch.open(place) as library:
        yield library


@pytest.fixture
def local(tmp_path):
    place = place_of(tmp_path / "local")
    store = create_store(place, SETTINGS)
    filled(store, CLIPS)
    store.close()
    with soundsearch.open(place) as library:
        yield library


def pooled(clip):
    weights = loudness_weights(clip.segments["level"])
    return (weights[:, None] * clip.embeddings).sum(0) / weights.sum()


def test_many_clips_as_arrays(lib):
    lib.use_key("id")
    names = [URIS[2], lib.clip(URIS[0]).id, Key(17)]
    vectors = lib.vectors(names)
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, 16))
    expected = [pooled(CLIPS[number]) for number in (2, 0, 1)]
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-5)
    ids = np.array([clip.id for clip in lib])
    np.testing.assert_allclose(lib.vectors(ids), lib.vectors(URIS), atol=1e-6)
    np.testing.assert_array_equal(lib.vectors(URIS[0]), CLIPS[0].embeddings)
    assert lib.vectors([]).shape == (0, 16) and lib.labels([]).shape == (0, 527)
    scores = lib.labels(names)
    assert (scores.dtype, scores.shape) == (np.float32, (3, 527))
    np.testing.assert_array_equal(scores[0], lib.labels(URIS[2]))
    for name in ("Dog", "Bark", "Animal", "Speech"):  # as filters take them
        for score in (0.2, 0.5, 0.8):
            where = f"label['{name}'] >= {score}"
            found = {clip.uri for clip in lib.where(where)}
            column = scores[:, class_names().index(name)]
            assert found == {
                lib.clip(n).uri for n, s in zip(names, column, strict=True) if s >= score
            }


def test_unknown_clips_are_named_with_those_near(lib):
    with pytest.raises(errors.ClipNotFound, match=r"/sea/é\.wav.*near it are: /é\.wav"):
        lib.clip("/sea/é.wav")
    with pytest.raises(errors.ClipNotFound, match=r"near it are: /é\.wav"):
        lib.similar("/ê.wav")
    with pytest.raises(errors.ClipNotFound, match=r"near it are: /a_%, b\.wav"):
        lib.clip("/sea/a_%, b.wav")
    with pytest.raises(errors.ClipNotFound, match=r"^/x: .*3 are unknown, also 1000000, /y"):
        lib.vectors(["/x", URIS[0], 10**6, "/y"])
    for wrong in (None, 1.5, [True], [None]):
        with pytest.raises(errors.ArgumentError, match="expected the uri, id or Key of a clip"):
            lib.labels(wrong)


@pytest.mark.parametrize("which", ["none", "clips", "segments"])
def test_npz(local, tmp_path, which):
    lib = local
    assert lib.export(tmp_path / "all.npz", vectors=which) == 3
    with np.load(tmp_path / "all.npz") as found:
        assert found["uri"].tolist() == URIS
        assert found["id"].tolist() == [clip.id for clip in lib]
        assert found["segments"].tolist() == [3, 1, 5]
        assert found["warning"].tolist() == ["", "", "cut"]
        assert found["label_class"].shape == found["label_score"].shape == (3, CLIP_LABELS)
        assert found["label_class"][2, :3].tolist() == [DOG, BARK, -1]
        assert found["label_score"][0, 0] == 0.75
        assert json.loads(found["human_labels"][1]) == ["Bark"]
        assert list(map(json.loads, found["human_events"])) == [[], SAID, []]
        assert json.loads(found["tags"][0]) == {"id": "t1", "take": 2.0}
        assert found["space"] == SETTINGS.space
        assert ("vectors" in found) is (which != "none")
        if which == "clips":
            np.testing.assert_array_equal(found["vectors"], lib.vectors(URIS))
        if which == "segments":
            assert found["offsets"].tolist() == [0, 3, 4, 9]
            parts = np.split(found["vectors"], found["offsets"][1:-1])
            for part, clip in zip(parts, CLIPS, strict=True):
                np.testing.assert_array_equal(part, clip.embeddings)
            levels = np.concatenate([clip.segments["level"] for clip in CLIPS])
            np.testing.assert_array_equal(found["levels"], levels)


@pytest.mark.parametrize("which", ["none", "clips", "segments"])
def test_parquet(local, tmp_path, which):
    parquet = pytest.importorskip("pyarrow.parquet")
    local.export(tmp_path / "all.parquet", vectors=which)
    rows = parquet.read_table(tmp_path / "all.parquet").to_pylist()
    assert [row["uri"] for row in rows] == [*URIS[:2], '/"q"\n\\udcff.wav']
    assert rows[2]["labels"] == [
        {"name": "Dog", "mid": "/m/0bt9lr", "score": 0.5},
        {"name": "Bark", "mid": "/m/05tny_", "score": 0.25},
    ]
    assert [row["warning"] for row in rows] == [None, None, "cut"]
    assert [row["human_labels"] for row in rows] == [[], ["Bark"], []]
    assert [row["human_events"] for row in rows] == [[], SAID, []]
    assert json.loads(rows[1]["tags"]) == {"id": 17.0, "ok": True}
    if which == "clips":
        np.testing.assert_array_equal([row["vector"] for row in rows], local.vectors(URIS))
    if which == "segments":
        for row, clip in zip(rows, CLIPS, strict=True):
            np.testing.assert_array_equal(row["vectors"], clip.embeddings)
            np.testing.assert_array_equal(row["levels"], clip.segments["level"])


def test_csv_and_a_selection(lib, tmp_path):
    chosen = lib.where("tag['id'] is not missing")
    assert chosen.export(tmp_path / "some.CSV", vectors="clips") == 2
    with open(tmp_path / "some.CSV", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["uri"] for row in rows] == URIS[:2]
    assert [float(row["duration"]) for row in rows] == [c.record.duration for c in CLIPS[:2]]
    assert json.loads(rows[0]["labels"]) == {"Bark": 0.75}
    assert json.loads(rows[1]["tags"]) == {"id": 17.0, "ok": True}
    assert [json.loads(row["human_events"]) for row in rows] == [[], SAID]
    vectors = [[float(row[f"v{n}"]) for n in range(16)] for row in rows]
    np.testing.assert_array_equal(np.array(vectors, np.float32), lib.vectors(URIS[:2]))
    assert lib.export(tmp_path / "rows", format="csv") == 3
    assert (tmp_path / "rows").read_text("utf-8").splitlines()[0].endswith("human_events,tags")


@pytest.mark.parametrize("name", ["none.npz", "none.csv", "none.parquet"])
def test_nothing_to_export(local, tmp_path, name):
    pytest.importorskip("pyarrow")
    assert local.where("duration < 0").export(tmp_path / name) == 0
    if name.endswith("npz"):
        with np.load(tmp_path / name) as found:
            assert found["vectors"].shape == (0, 16) and found["uri"].shape == (0,)


def test_clips_that_go_meanwhile_are_left_out(tmp_path):
    store = create_store(place_of(tmp_path / "l"), SETTINGS)
    filled(store, [new_clip(f"/{number}.wav", 1, number) for number in range(5000)])
    store.close()
    with soundsearch.open(tmp_path / "l") as lib:
        seen = []

        def on_clip(uri):
            if not seen:
                lib.remove([f"/{number}.wav" for number in range(4096, 4999)])
            seen.append(uri)

        count = lib.export(tmp_path / "all.npz", vectors="segments", on_clip=on_clip)
    with np.load(tmp_path / "all.npz") as found:
        assert count == len(seen) == len(found["uri"]) == 4097
        assert found["uri"].tolist() == seen
        assert found["offsets"].tolist() == list(range(4098)) and len(found["vectors"]) == 4097


def test_a_file_is_complete_or_as_before(local, tmp_path, monkeypatch):
    path = tmp_path / "all.csv"
    path.write_text("before")

    def stop(uri):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        local.export(path, on_clip=stop)
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["all.csv"]
    for wrong, said in (
        ("all", "expected a name that ends in"),
        ("all.xls", r"got '\.xls'"),
        ("none/all.csv", "cannot be written"),
    ):
        with pytest.raises(errors.SoundsearchError, match=said):
            local.export(tmp_path / wrong)
    (tmp_path / "f.csv").mkdir()
    with pytest.raises(errors.ArgumentError, match="got a folder"):
        local.export(tmp_path / "f.csv")
    with pytest.raises(errors.ArgumentError, match="CSV file has a row for each clip"):
        local.export(path, vectors="segments")
    with pytest.raises(errors.ArgumentError, match="expected one of clips"):
        local.export(path, vectors="all")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(errors.MissingExtra, match=r"pip install 'soundsearch\[parquet\]'"):
        local.export(tmp_path / "all.parquet")


def test_memory_does_not_grow_with_the_library(tmp_path):
    store = create_store(place_of(tmp_path / "l"), SETTINGS)
    one = new_clip("/0.wav", 40, 0)
    peaks = []
    with soundsearch.open(tmp_path / "l") as lib:
        for begin in (0, 800):
            names = [AudioFile(f"/{begin + n}.wav", 1, 1) for n in range(800)]
            filled(store, [replace(one, record=replace(one.record, file=name)) for name in names])
            tracemalloc.start()
            lib.export(tmp_path / "all.npz", vectors="segments")
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    store.close()
    assert peaks[1] < 1.3 * peaks[0]


def test_the_command_offers_what_there_is():
    assert (cli.FORMATS, cli.VECTORS) == (exporting.FORMATS, exporting.VECTORS)
