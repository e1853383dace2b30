"""The clips nearest to many at once, and the whole graph, from every store."""

from __future__ import annotations

import csv
import io
import json
import pickle

import numpy as np
import pytest
from click.testing import CliRunner
from support.sounds import noise, tone, write
from support.stores import SETTINGS, filled, new_clip

import soundsearch
from soundsearch import Neighbours, errors
from soundsearch.cli.main import main
from soundsearch.stores.opening import create_store
from soundsearch.stores.pooling import pool

COUNTS = (1, 2, 3, 5, 8, 11, 12, 30, 90, 4, 4, 4)


@pytest.fixture
def lib(place):
    """A library of random clips on every store, some of several stretches."""
    store = create_store(place, SETTINGS)
    clips = [new_clip(f"/s/{n}.wav", count, n + 1) for n, count in enumerate(COUNTS)]
    filled(store, clips)
    store.close()
    with soundsearch.open(str(place)) as library:
        yield library


def expected(lib, ids, among):
    """All clips by their cosine to each of some, by brute force."""
    stretches = {}
    with lib._session.store.reading() as reading:
        for clip in lib:
            vectors, segments = reading.rows([(clip.id, 0, clip.segments)])
            levels = segments["level"]
            stretches[clip.id] = pool(vectors, levels, np.array([clip.segments]), 11)
    found = []
    for id in ids:
        others = [other for other in among if other != id]
        scores = [float((stretches[id] @ stretches[other].T).max()) for other in others]
        found.append(sorted(zip(others, scores, strict=True), key=lambda row: -row[1]))
    return found


def same(found, rows):
    for ids, scores, row in zip(found.ids, found.scores, rows, strict=True):
        row = row[: len(ids)]
        assert ids[: len(row)].tolist() == [id for id, _ in row]
        assert scores[: len(row)] == pytest.approx([score for _, score in row], abs=1e-5)
        assert (ids[len(row) :] == -1).all() and (scores[len(row) :] == -np.inf).all()


def test_many_at_once_are_as_by_brute_force(lib):
    uris = {clip.id: clip.uri for clip in lib}
    ids = list(uris)
    asked = [ids[8], ids[0], ids[8], ids[6]]
    found = lib.similar(asked, 5)
    assert isinstance(found, Neighbours) and len(found) == 4
    assert (found.ids.dtype, found.scores.dtype, found.ids.shape) == (np.int64, np.float32, (4, 5))
    assert found.clips.tolist() == asked
    same(found, expected(lib, asked, ids))
    assert found.uris() == [[uris[id] for id in row] for row in found.ids.tolist()]
    assert found.clip_uris() == [uris[id] for id in asked]
    same(lib.similar(np.array(asked), 10**9), expected(lib, asked, ids))
    same(lib.similar((uris[id] for id in asked), 5), expected(lib, asked, ids))
    short = lib.where("segments < 5")
    few = [id for id, count in zip(ids, COUNTS, strict=True) if count < 5]
    same(short.similar([ids[8], few[0]], 10), expected(lib, [ids[8], few[0]], few))
    assert lib.similar([], 5).ids.shape == (0, 0)
    assert lib.where("segments > 1000").similar(asked, 5).ids.shape == (4, 0)


def test_the_graph_is_what_many_at_once_are(lib, monkeypatch):
    monkeypatch.setattr("soundsearch.neighbours._TOGETHER", 40)
    told = []
    blocks = list(lib.neighbours(3, on_clips=told.append))
    assert len(blocks) > 2 and sum(told) == len(COUNTS)
    ids = np.concatenate([block.clips for block in blocks])
    assert ids.tolist() == [clip.id for clip in lib]
    many = lib.similar(ids, 3)
    np.testing.assert_array_equal(np.concatenate([block.ids for block in blocks]), many.ids)
    same(many, expected(lib, ids.tolist(), ids.tolist()))
    short = lib.where("segments < 5")
    few = [clip.id for clip in short]
    [block] = short.neighbours(100)
    assert block.clips.tolist() == few
    same(block, expected(lib, few, few))


def test_copies_hold_what_was_found_and_no_library(lib):
    found = lib.similar([2, 1], k=3)
    assert all(clip in lib for clip in found.ids[0])  # of NumPy
    copied = pickle.loads(pickle.dumps(found))
    for name in ("clips", "ids", "scores"):
        np.testing.assert_array_equal(getattr(copied, name), getattr(found, name))
    with pytest.raises(errors.ArgumentError, match="ask for their uris before"):
        copied.uris()


def test_what_is_unknown_is_named_and_what_is_near(lib):
    [first, *_] = lib
    with pytest.raises(errors.ClipNotFound, match=r"/s/1,wav: .*near it are: /s/1\.wav"):
        lib.similar([first.uri, "/s/1,wav", 10**9, 10**30, -1])
    with pytest.raises(errors.ClipNotFound, match=r"^1000000000: .*3 are unknown, .*, -1\)$"):
        lib.similar([10**9, 10**30, -1, 10**9])
    with pytest.raises(errors.ClipNotFound, match=r"1000 are unknown, also .*, \.\.\.\)$"):
        lib.similar(range(10**6, 10**6 + 1000))
    with pytest.raises(errors.ClipNotFound, match=r"/s/11wav: no clip .* uri; near it are: /s/11"):
        lib.similar("/s/11wav")
    for wrong in ([None], [True], [1.5], [["/s/1.wav"]], [b"/s/1.wav"]):
        with pytest.raises(errors.ArgumentError, match="expected the uri, id or Key"):
            lib.similar(wrong)
    with pytest.raises(errors.ArgumentError, match="expected one clip"):
        lib.similar([first.id], ranking="best-pair")
    for method in (lambda k: lib.similar([first.id], k), lib.neighbours):
        with pytest.raises(errors.ArgumentError, match="k: expected"):
            method(0)


@pytest.fixture
def sounding(tmp_path):
    """A library of clips of four seconds, of sound throughout."""
    folder = tmp_path / "sounds"
    for n in range(8):
        sound = noise(n, 4) if n % 2 else tone(200 * 2 ** (n / 2), 4)
        write(folder / f"{n}.wav", sound)
    with soundsearch.open(tmp_path / "l") as library:
        library.ingest([folder])
        yield library


def test_clips_of_one_length_are_compared_as_one_at_a_time(sounding):
    ids = [clip.id for clip in sounding]
    found = sounding.similar(ids, 7)
    for id, row, scores in zip(ids, found.ids, found.scores, strict=True):
        answer = sounding.similar(id, 7)
        by_id = {hit.clip_id: hit.score for hit in answer}
        assert scores == pytest.approx([by_id[other] for other in row.tolist()], abs=1e-3)


def run(*arguments, code=0):
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.stdout


def test_on_the_command_line(sounding):
    library = ["--library", sounding.address]
    uris = [clip.uri for clip in sounding]
    found = sounding.similar([1, 2], 3)
    rows = [
        json.loads(line)
        for line in run("similar", 1, uris[1], "-k", 3, "--json", *library).splitlines()
    ]
    assert [row["query"] for row in rows] == [uris[0]] * 3 + [uris[1]] * 3
    assert [row["rank"] for row in rows] == [1, 2, 3] * 2
    assert [row["clip_id"] for row in rows] == found.ids.ravel().tolist()
    assert [row["uri"] for row in rows] == [uri for each in found.uris() for uri in each]
    assert [row["score"] for row in rows] == pytest.approx(found.scores.ravel(), abs=1e-4)
    shown = run("similar", 1, 2, "-k", 1, *library)
    assert all(uri in shown for uri in (*uris[:2], found.uris()[0][0]))
    assert (
        "--ranking"
        in CliRunner()
        .invoke(main, ["similar", "1", "2", "--ranking", "best-pair", *map(str, library)])
        .stderr
    )

    [graph] = sounding.neighbours(2)
    lines = [
        json.loads(line) for line in run("neighbours", "-k", 2, "--json", *library).splitlines()
    ]
    assert [line["uri"] for line in lines] == uris
    assert [
        [each["clip_id"] for each in line["neighbours"]] for line in lines
    ] == graph.ids.tolist()
    table = list(csv.DictReader(io.StringIO(run("neighbours", "-k", 2, "--csv", *library))))
    assert len(table) == 16
    assert [(row["uri"], row["neighbour"]) for row in table[:2]] == [
        (uris[0], uri) for uri in graph.uris()[0]
    ]
    assert [float(row["score"]) for row in table] == pytest.approx(graph.scores.ravel(), abs=1e-4)
    none = run("neighbours", "--where", "duration < 0", *library)
    assert none == "No clip of the library matches the filter.\n"
    run("neighbours", "--csv", "--json", *library, code=2)
