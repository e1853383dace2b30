"""What is particular to the local store: locks, damage, its index."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sqlite3
import stat
import tracemalloc
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from support.stores import (
    CLIPS,
    SETTINGS,
    amend,
    awkward_clips,
    filled,
    index_over,
    new_clip,
    random_filter,
    rows,
    search,
)

from soundsearch import errors
from soundsearch.stores.base import ClipChanged
from soundsearch.stores.filters import Comparison, Tag, matches
from soundsearch.stores.local import index as local_index
from soundsearch.stores.local import indexing
from soundsearch.stores.local.building import build, extend
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.records import SEGMENT, Counts
from soundsearch.vectors import unit


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "library"


@pytest.fixture
def store(folder):
    with_store = LocalStore.create(folder, SETTINGS)
    yield with_store
    with_store.close()


# Locks


def hold(folder, ready, done):
    with LocalStore(folder).writing():
        ready.set()
        done.wait(30)


def test_a_second_writer_is_told_who_holds_the_library(store, folder):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(folder, ready, done))
    other.start()
    assert ready.wait(30)
    with pytest.raises(errors.LibraryBusy, match=f"process {other.pid}"), store.writing():
        pass
    assert store.counts() == Counts(0, 0, 0)  # reading does not wait
    other.kill()  # a killed writer holds no lock
    other.join()
    filled(store, CLIPS)
    assert store.counts().clips == 4


def test_what_is_said_of_a_writer(store, folder):
    holder = folder / "writer.json"
    holder.write_text("left by a writer that was killed")
    with store.writing():
        assert json.loads(holder.read_text()).keys() == {"pid", "host"}
        assert json.loads(holder.read_text())["pid"] == os.getpid()
        if os.name != "nt":
            assert stat.S_IMODE(holder.stat().st_mode) == 0o600
    assert not holder.exists()


def test_writing_needs_to_be_held(store):
    with pytest.raises(RuntimeError, match="writing"):
        store.add(CLIPS)


def test_a_closed_store_says_so(store):
    filled(store, CLIPS)
    store.close()
    with pytest.raises(errors.LibraryError, match="closed"):
        store.counts()


# Readings


def test_a_reading_sees_one_state(store):
    ids = filled(store, CLIPS)
    tagged = Comparison(Tag("x"), "==", 1.0)
    with store.reading() as reading:
        counts = reading.counts()  # pins the state, as any answer does
        amend(store, ids[3], tags={"x": 1.0})
        with store.writing():
            store.remove(ids[:1])
            store.add([new_clip("/sounds/2.wav", 5, 77)])
            store.rebuild()
            store.add([new_clip("/sounds/9.wav", 5, 78)])
        assert reading.counts() == counts == Counts(4, 51, 0)
        assert list(reading.clips_by_id(ids)) == ids
        assert reading.lengths(np.array(ids)).tolist() == [3, 1, 40, 7]
        for clip_id, clip in zip(ids, CLIPS, strict=True):
            stored, _ = reading.rows([(clip_id, 0, len(clip.segments))])
            np.testing.assert_array_equal(stored, clip.embeddings)
            assert reading.search(clip.embeddings[:1], 1)[0] == [[clip_id]]
        assert reading.counts(tagged).clips == 0
        with store.reading() as newer:
            assert newer.counts() == Counts(4, 57, 0)
            assert newer.counts(tagged).clips == 1
        assert reading.counts(tagged).clips == 0


def test_states_that_are_read_step_by_step_are_those_read_at_once(store, folder):
    rng = random.Random(0)
    clips = awkward_clips(40, rng)
    for seed in range(60):
        with store.writing():
            at = rng.choice(clips).record.uri
            known = store.clip_at(at)
            match rng.choice(("add", "add", "remove", "amend", "rebuild")):
                case "remove" if known:
                    store.remove([known.id])
                case "amend" if known:
                    other = rng.choice(clips).record
                    store.amend({known.id: other})
                case "rebuild" if seed % 3 == 0:
                    store.rebuild()
                case _:
                    fields = {
                        "embeddings": new_clip("", 3, seed).embeddings,
                        "segments": np.zeros(3, SEGMENT),
                    }
                    store.add([replace(rng.choice(clips), **fields)])
        with closing(LocalStore(folder)) as other, other.reading() as fresh:
            check_alike(store, fresh, rng)


def check_alike(store, fresh, rng):
    with store.reading() as reading:
        stored = list(store.clips())
        ids = np.array([clip.id for clip in stored], np.int64)
        assert reading.lengths(ids).tolist() == fresh.lengths(ids).tolist() == [3] * len(ids)
        spans = [(clip_id, 0, 3) for clip_id in ids.tolist()]
        np.testing.assert_array_equal(reading.rows(spans)[0], fresh.rows(spans)[0])
        for _ in range(5):
            filter = random_filter(rng)
            assert reading.counts(filter) == fresh.counts(filter)
            assert reading.counts(filter).clips == sum(matches(filter, clip) for clip in stored)


def test_a_reading_whose_index_is_gone_says_that_something_changed(store, folder, monkeypatch):
    monkeypatch.setattr(indexing, "EXACT_ROWS", 2000)
    vectors = clustered(3000)
    filled(store, [clip_of(n, part) for n, part in enumerate(np.split(vectors, 30))])
    with store.writing():
        store.optimise()
    with store.reading() as reading:
        os.unlink(folder / "index-1-3000-0-3000.faiss")  # as building it again does
        with pytest.raises(ClipChanged):
            reading.search(vectors[:1], 1)
    assert search(store, vectors[:1], 1)[2] == pytest.approx(1, abs=1e-5)


# Damage


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "song.wav").write_bytes(b"x")
    with pytest.raises(errors.LibraryError, match=r"song\.wav"):
        LocalStore.create(tmp_path, SETTINGS)


def damage(folder, name):
    if name == "catalog cut off":
        path = folder / "catalog.sqlite"
        path.write_bytes(path.read_bytes()[:5000])
    elif name == "catalog is text":
        (folder / "catalog.sqlite").write_text("hello" * 1000)
    elif name == "catalog of another program":
        (folder / "catalog.sqlite").unlink()
        with sqlite3.connect(folder / "catalog.sqlite") as other:
            other.execute("CREATE TABLE t (x)")
        other.close()
    elif name == "catalog missing":
        (folder / "catalog.sqlite").unlink()
    elif name == "vectors missing":
        (folder / "vectors-1.f32").unlink()
    elif name == "vectors cut off":
        os.truncate(folder / "vectors-1.f32", 1000)


@pytest.mark.parametrize(
    "name",
    [
        "catalog cut off",
        "catalog is text",
        "catalog of another program",
        "catalog missing",
        "vectors missing",
        "vectors cut off",
    ],
)
def test_damaged_library_says_so(store, folder, name):
    filled(store, CLIPS)
    store.close()
    damage(folder, name)
    with pytest.raises(errors.LibraryDamaged) as caught:
        search(LocalStore(folder), np.ones((1, 16), np.float32), 3)
    assert str(folder) in str(caught.value)


def test_records_can_be_read_beside_damaged_vectors(store, folder):
    ids = filled(store, CLIPS)
    os.truncate(folder / "vectors-1.f32", 1000)
    with closing(LocalStore(folder)) as damaged, damaged.reading() as reading:
        assert damaged.counts() == reading.counts() == Counts(4, 51, 0)
        assert list(reading.clips_by_id(ids)) == ids
        with pytest.raises(errors.LibraryDamaged, match="rebuild"):
            reading.rows([(ids[0], 0, 1)])


def test_writing_refuses_cut_off_vectors_and_rebuild_saves_the_rest(store, folder):
    ids = filled(store, CLIPS)
    os.truncate(folder / "vectors-1.f32", 10 * 64)
    with pytest.raises(errors.LibraryDamaged, match=r"vectors-1\.f32: .*rebuild"), store.writing():
        store.add([new_clip("/x.wav", 1, 99)])
    with store.writing():
        assert store.rebuild() == 2
    assert [clip.id for clip in store.clips()] == ids[:2]
    np.testing.assert_array_equal(rows(store, ids[0])[0], CLIPS[0].embeddings)


def test_settings_survive(store, folder):
    with closing(LocalStore(folder)) as again:
        assert again.settings == SETTINGS
        assert again.address == str(folder)


# The index


def clustered(rows, dimension=16, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (rows // 50, dimension))
    points = centres[rng.integers(0, len(centres), rows)] + rng.normal(0, 0.5, (rows, dimension))
    return points.astype(np.float32)


def clip_of(n, vectors, **fields):
    clip = new_clip(f"/{n}.wav", 1, n, **fields)
    return replace(clip, embeddings=vectors, segments=np.zeros(len(vectors), SEGMENT))


def test_approximate_index(tmp_path):
    vectors, queries = np.split(clustered(30_200), [30_000])
    queries = unit(queries)
    path = tmp_path / "index.faiss"
    build(vectors[:20_000], path, lambda _text: None)
    extend(vectors[:25_000], path, path)
    live = np.delete(np.arange(30_000), [3, 77, 21_000, 29_999])
    exact_rows, exact = index_over(vectors, live, None).search(queries, 10)
    rows, scores = index_over(vectors, live, path).search(queries, 10)
    assert (
        np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, exact_rows, strict=True)]) > 0.98
    )
    assert (scores <= exact + 1e-5).all()
    stored = unit(vectors[rows.ravel()]).reshape(200, 10, -1)
    np.testing.assert_allclose(scores, np.einsum("nd,nmd->nm", queries, stored), atol=1e-5)
    # The nearest row to a stored vector is that row, but for the removed ones.
    own, _ = index_over(vectors, live, path).search(unit(vectors[:100]), 1)
    assert own[3, 0] != 3 and own[77, 0] != 77
    assert (own[[0, 1, 2, 50], 0] == [0, 1, 2, 50]).all()


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["at random", "far away", "few", "all but few", "late", "none"])
def test_a_filtered_search_finds_what_an_exact_one_does(tmp_path, monkeypatch, chosen):
    monkeypatch.setattr(local_index, "_FEW_ROWS", 500)
    monkeypatch.setattr(local_index, "_FEW_CHOSEN", 500)
    vectors, queries = np.split(clustered(30_200), [30_000])
    vectors, queries = unit(vectors), unit(queries)
    path = tmp_path / "index.faiss"
    build(vectors[:25_000], path, lambda _text: None)
    rng = np.random.default_rng(0)
    live = np.sort(rng.choice(30_000, 29_000, replace=False))
    choose = {
        "at random": lambda: live[rng.random(len(live)) < 0.05],
        # Those farthest from the first query: the cells that are visited first hold none of them.
        "far away": lambda: np.sort(live[np.argsort(vectors[live] @ queries[0])[:2000]]),
        "few": lambda: np.sort(rng.choice(live, 300, replace=False)),
        "all but few": lambda: live[rng.random(len(live)) < 0.95],
        "late": lambda: live[live > 25_000],
        "none": lambda: live[:0],
    }
    some = choose[chosen]()
    index = index_over(vectors, live, path)
    parts = index.among(some)
    for k in (10, 1500, 40_000):
        found, scores = index.search(queries, k, parts)
        assert found.shape == scores.shape == (200, found.shape[1])
        assert found.shape[1] <= k
        assert set(found[found >= 0].tolist()) <= set(some.tolist())
        if len(some) == 0:
            assert found.size == 0
            continue
        exact = queries @ vectors[some].T
        expected = -np.sort(-exact, axis=1)[:, :k]
        width = min(found.shape[1], expected.shape[1])
        assert (np.diff(scores[:, :width]) <= 1e-6).all()
        recall = (scores[:, :width] >= expected[:, width - 1 :][:, :1] - 1e-5).sum() / expected.size
        assert recall > (0.98 if k == 10 else 0.95), k


def test_many_results_need_little_memory(tmp_path):
    vectors = clustered(30_000, 64)
    path = tmp_path / "index.faiss"
    build(vectors, path, lambda _text: None)
    index = index_over(vectors, np.arange(30_000), path)
    tracemalloc.start()
    try:
        found, _ = index.search(unit(vectors[:64]), 6_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.shape == (64, 6_000)
    # All candidates' vectors at once would be 490 MB.
    assert peak < 150e6


def test_index_on_disk_is_used_extended_and_not_needed(store, folder, monkeypatch):
    monkeypatch.setattr(indexing, "EXACT_ROWS", 2000)
    files = lambda: sorted(path.name for path in folder.glob("index*"))  # noqa: E731
    vectors, queries = np.split(clustered(4020), [4000])
    filled(store, [clip_of(n, part) for n, part in enumerate(np.split(vectors[:2500], 25))])
    with store.writing():
        store.optimise()
    assert files() == ["index-1-2500-0-2500.cells", "index-1-2500-0-2500.faiss"]
    filled(store, [clip_of(99, vectors[2500:])])
    with store.writing():
        store.optimise()
    assert files() == ["index-1-2500-0-4000.cells", "index-1-2500-0-4000.faiss"]
    with_index = search(store, queries, 3)
    for spoil in (lambda path: os.truncate(path, 100), os.unlink):
        spoil(folder / "index-1-2500-0-4000.faiss")
        with closing(LocalStore(folder)) as again:
            without = search(again, queries, 3)
            assert np.mean(with_index[2] >= without[2] - 1e-5) > 0.9
    # A lost index is built again.
    with store.writing():
        store.optimise()
    assert files() == ["index-1-4000-0-4000.cells", "index-1-4000-0-4000.faiss"]
