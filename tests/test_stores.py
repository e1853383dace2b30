"""What every store must do; and what only a local one can get wrong."""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import sqlite3
import threading
from contextlib import suppress

import numpy as np
import pytest
from soundsearch_ingest.discover import AudioFile

from soundsearch import errors
from soundsearch.labels.head import LABEL, silence
from soundsearch.stores.base import CLIP_LABELS, SEGMENT, NewClip, Settings, StoredFailure
from soundsearch.stores.local import store as local
from soundsearch.stores.local.index import SegmentIndex, build, extend, unit
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.opening import create_store, open_store, place_of

SETTINGS = Settings("mini", "mini-1", 16, 0.96, 0.96)


def new_clip(uri: str, count: int, seed: int, warning: str | None = None) -> NewClip:
    rng = np.random.default_rng(seed)
    segments = np.zeros(count, SEGMENT)
    segments["level"] = rng.uniform(-80, 20, count)
    segments["labels"]["class_index"] = rng.integers(0, 527, (count, 5))
    return NewClip(
        AudioFile(uri, count * 1000, seed),
        seed.to_bytes(32, "big"),
        count * 0.96,
        count == 1,
        warning,
        rng.normal(0, 2, (count, 16)).astype(np.float32),
        segments,
        silence(CLIP_LABELS),
    )


@pytest.fixture(params=["local", "lite", pytest.param("server", marks=pytest.mark.server)])
def place(request, tmp_path):
    """Where a store of each kind may be made."""
    if request.param == "server":
        address = request.getfixturevalue("milvus_server").address
        return place_of(f"milvus://{address}/t{secrets.token_hex(8)}")
    if request.param == "lite":
        pytest.importorskip("milvus_lite")
        return place_of(f"milvus-lite:{tmp_path / 'library.db'}")
    return place_of(tmp_path / "library")


@pytest.fixture
def store(place):
    with_store = create_store(place, SETTINGS)
    yield with_store
    with_store.close()


@pytest.fixture
def local_store(tmp_path):
    with_store = LocalStore.create(tmp_path / "library", SETTINGS)
    yield with_store
    with_store.close()


def rows(store, clip_id, first=0, last=None):
    """What is stored of one clip."""
    [count] = store.lengths(np.array([clip_id]))
    return store.rows([(clip_id, first, count if last is None else last)])


def filled(store, clips):
    with store.writing():
        store.add(clips)
    return [store.clip_at(clip.file.uri).id for clip in clips]


CLIPS = [new_clip(f"/sounds/{n}.wav", count, n) for n, count in enumerate((3, 1, 40, 7), 1)]


def test_what_goes_in_comes_out(store):
    awkward = new_clip("/sounds/new\nline 'quote' \udcff é.wav", 2, 9, "ends early")
    ids = filled(store, [*CLIPS, awkward])
    assert store.counts() == (5, 53, 0)
    assert [clip.id for clip in store.clips()] == ids
    by_id = store.clips_by_id([10**6, *reversed(ids)])
    assert len(by_id) == 5
    for clip_id, clip in zip(ids, [*CLIPS, awkward], strict=True):
        stored = by_id[clip_id]
        assert stored.id == store.clip_at(clip.file.uri).id
        assert (stored.file, stored.digest, stored.warning) == (
            clip.file,
            clip.digest,
            clip.warning,
        )
        assert (stored.duration, stored.padded, stored.count) == (
            clip.duration,
            clip.padded,
            len(clip.embeddings),
        )
        assert stored.labels.dtype == LABEL
        np.testing.assert_array_equal(rows(store, clip_id)[0], clip.embeddings)
        np.testing.assert_array_equal(store.rows([(clip_id, 0, 1)])[0], clip.embeddings[:1])
        assert (rows(store, clip_id)[1] == clip.segments).all()
        assert [found.id for found in store.clips_with(clip.digest)] == [clip_id]
    assert store.lengths(np.array([*reversed(ids), 10**6])).tolist() == [2, 7, 40, 1, 3, 0]
    together, _ = store.rows([(ids[2], 5, 7), (ids[0], 0, 3), (ids[2], 0, 1)])
    np.testing.assert_array_equal(together[:2], CLIPS[2].embeddings[5:7])
    np.testing.assert_array_equal(together[2:5], CLIPS[0].embeddings)
    np.testing.assert_array_equal(together[5:], CLIPS[2].embeddings[:1])
    assert len(store.rows([])[0]) == 0
    with pytest.raises(KeyError):
        store.rows([(ids[0], 0, 4)])
    assert store.clip_at("/nowhere") is None


def test_search_equals_brute_force(store):
    ids = filled(store, CLIPS)
    owners = [(i, n) for i, clip in zip(ids, CLIPS, strict=True) for n in range(len(clip.segments))]
    everything = unit(np.concatenate([clip.embeddings for clip in CLIPS]))
    queries = np.random.default_rng(0).normal(0, 3, (5, 16)).astype(np.float32)
    clip_ids, segments, scores = store.search(queries, 8)
    expected = unit(queries) @ everything.T
    for row in range(len(queries)):
        best = np.argsort(-expected[row])[:8]
        assert list(zip(clip_ids[row], segments[row], strict=True)) == [owners[i] for i in best]
        np.testing.assert_allclose(scores[row], expected[row, best], atol=1e-5)


def test_search_asks_for_more_than_there_is(store):
    queries = np.ones((1, 16), np.float32)
    assert store.search(queries, 5)[0].shape == (1, 0)
    filled(store, CLIPS[:1])
    clip_ids, _, _ = store.search(queries, 50)
    assert (clip_ids >= 0).sum() == 3


def test_replace_remove_and_move(store):
    ids = filled(store, CLIPS)
    changed = new_clip("/sounds/2.wav", 5, 77)
    with store.writing():
        store.add([changed])
        store.remove([ids[0]])
        store.move(ids[2], AudioFile("/elsewhere.wav", 1, 2))
    assert store.counts() == (3, 52, 0)
    np.testing.assert_array_equal(rows(store, ids[1])[0], changed.embeddings)
    assert not store.clips_by_id(ids[:1])
    assert store.clip_at("/sounds/3.wav") is None
    assert store.clip_at("/elsewhere.wav").id == ids[2]
    # What was removed or replaced is found no more.
    for gone in (CLIPS[0], CLIPS[1]):
        _, _, scores = store.search(gone.embeddings, 1)
        assert scores.max() < 0.999
    with pytest.raises(KeyError):
        store.rows([(ids[0], 0, 1)])
    [new_id] = filled(store, [CLIPS[0]])
    assert new_id not in ids  # an id never stands for another clip later


def test_move_onto_another_clip_takes_its_place(store):
    ids = filled(store, CLIPS)
    with store.writing():
        store.move(ids[0], CLIPS[1].file)
    assert store.clip_at("/sounds/2.wav").id == ids[0]
    assert not store.clips_by_id(ids[1:2])


def test_failures(store):
    file = AudioFile("/sounds/broken\udc80.wav", 5, 6)
    with store.writing():
        store.fail([StoredFailure(file, b"x" * 32, "is empty"), StoredFailure(file, None, "gone")])
    assert store.counts() == (0, 0, 1)
    assert [f.reason for f in store.failures()] == ["gone"]
    assert store.failure_at(file.uri).file == file
    with store.writing():
        store.add([new_clip(file.uri, 1, 3)])
    assert store.counts() == (1, 1, 0)
    with store.writing():
        store.fail([StoredFailure(file, b"x" * 32, "is empty")])
    assert store.failure_with(b"x" * 32).reason == "is empty"
    with store.writing():
        store.forget_failures([file.uri])
    assert store.failure_with(b"x" * 32) is None


def test_add_is_all_or_none(store):
    broken = new_clip("/sounds/2.wav", 2, 5)
    object.__setattr__(broken, "duration", None)  # refused by the catalogue, after a good one
    with pytest.raises(errors.LibraryError), store.writing():
        store.add([CLIPS[0], broken])
    assert store.counts() == (0, 0, 0)
    filled(store, CLIPS)
    np.testing.assert_array_equal(
        rows(store, store.clip_at("/sounds/1.wav").id)[0], CLIPS[0].embeddings
    )


def test_rebuild_keeps_answers(store):
    ids = filled(store, CLIPS)
    queries = np.random.default_rng(1).normal(0, 1, (3, 16)).astype(np.float32)
    with store.writing():
        store.remove([ids[2]])
    before = store.search(queries, 5)
    with store.writing():
        assert store.rebuild() == 0
    for a, b in zip(before, store.search(queries, 5), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_array_equal(rows(store, ids[3])[0], CLIPS[3].embeddings)
    filled(store, [new_clip("/more.wav", 3, 50)])
    np.testing.assert_array_equal(rows(store, ids[3])[0], CLIPS[3].embeddings)


def test_a_reader_sees_whole_clips_while_another_writes(store, place):
    reader = open_store(place)
    stop = threading.Event()
    wrong = []

    def read():
        try:
            ask()
        except errors.LibraryError as error:
            wrong.append(error)

    def ask():
        queries = np.ones((1, 16), np.float32)
        while not stop.is_set():
            clips, segments, _ = reader.counts()
            if segments != 10 * clips:
                wrong.append((clips, segments))
            for clip_id in reader.search(queries, 20)[0][0].tolist():
                with suppress(KeyError):  # was replaced since: a library asks again
                    if len(rows(reader, clip_id)[0]) != 10:
                        wrong.append(clip_id)

    thread = threading.Thread(target=read)
    thread.start()
    with store.writing():
        for n in range(30):
            store.add([new_clip(f"/{n}-{i}.wav", 10, n * 10 + i) for i in range(3)])
        for n in range(15):
            store.add([new_clip(f"/{n}-{i}.wav", 10, 1000 + n * 10 + i) for i in range(3)])
        store.rebuild()
    stop.set()
    thread.join()
    assert not wrong
    assert reader.counts()[0] == 90
    reader.close()


def hold(folder, ready, done):
    with LocalStore(folder).writing():
        ready.set()
        done.wait(30)


def test_a_second_writer_is_told_who_holds_the_library(local_store, tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path / "library", ready, done))
    other.start()
    assert ready.wait(30)
    with pytest.raises(errors.LibraryBusy, match=f"process {other.pid}"), local_store.writing():
        pass
    assert local_store.counts() == (0, 0, 0)  # reading does not wait
    other.kill()  # a killed writer holds nothing
    other.join()
    filled(local_store, CLIPS)
    assert local_store.counts()[0] == 4


def test_no_library(place):
    with pytest.raises(errors.LibraryNotFound, match="soundsearch ingest"):
        open_store(place)


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
def test_damaged_library_says_so(local_store, tmp_path, name):
    filled(local_store, CLIPS)
    local_store.close()
    damage(tmp_path / "library", name)
    with pytest.raises(errors.LibraryDamaged) as caught:
        damaged = LocalStore(tmp_path / "library")
        damaged.search(np.ones((1, 16), np.float32), 3)
    assert str(tmp_path / "library") in str(caught.value)


def test_writing_refuses_cut_off_vectors_and_rebuild_saves_the_rest(local_store, tmp_path):
    ids = filled(local_store, CLIPS)
    os.truncate(tmp_path / "library" / "vectors-1.f32", 10 * 64)
    with pytest.raises(errors.LibraryDamaged, match="rebuild"), local_store.writing():
        local_store.add([new_clip("/x.wav", 1, 99)])
    with local_store.writing():
        assert local_store.rebuild() == 2
    assert [clip.id for clip in local_store.clips()] == ids[:2]
    np.testing.assert_array_equal(rows(local_store, ids[0])[0], CLIPS[0].embeddings)


def test_a_newer_library_is_refused(local_store, tmp_path):
    local_store.close()
    with sqlite3.connect(tmp_path / "library" / "catalog.sqlite") as catalog:
        catalog.execute("PRAGMA user_version = 1000")
    catalog.close()
    with pytest.raises(errors.LibraryVersion, match="upgrade"):
        LocalStore(tmp_path / "library")


def clustered(rows, dimension=16, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (rows // 50, dimension))
    points = centres[rng.integers(0, len(centres), rows)] + rng.normal(0, 0.5, (rows, dimension))
    return points.astype(np.float32)


def test_approximate_index(tmp_path):
    vectors, queries = np.split(clustered(30_200), [30_000])
    queries = unit(queries)
    path = tmp_path / "index.faiss"
    build(vectors[:20_000], path, lambda _text: None)
    extend(vectors[:25_000], path, path)
    live = np.delete(np.arange(30_000), [3, 77, 21_000, 29_999])
    exact_rows, exact = SegmentIndex(vectors, live, None).search(queries, 10)
    rows, scores = SegmentIndex(vectors, live, path).search(queries, 10)
    assert (
        np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, exact_rows, strict=True)]) > 0.98
    )
    assert (scores <= exact + 1e-5).all()
    stored = unit(vectors[rows.ravel()]).reshape(200, 10, -1)
    np.testing.assert_allclose(scores, np.einsum("nd,nmd->nm", queries, stored), atol=1e-5)
    # The nearest row to a stored vector is that row, but for the removed ones.
    own, _ = SegmentIndex(vectors, live, path).search(unit(vectors[:100]), 1)
    assert own[3, 0] != 3 and own[77, 0] != 77
    assert (own[[0, 1, 2, 50], 0] == [0, 1, 2, 50]).all()


def test_index_on_disk_is_used_extended_and_not_needed(local_store, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "EXACT_ROWS", 2000)
    vectors, queries = np.split(clustered(4020), [4000])

    def clip(n, rows):
        return NewClip(
            AudioFile(f"/{n}.wav", n, n), bytes(32), 1.0, False, None, rows,
            np.zeros(len(rows), SEGMENT), silence(CLIP_LABELS),
        )  # fmt: skip

    filled(local_store, [clip(n, part) for n, part in enumerate(np.split(vectors[:3000], 30))])
    with local_store.writing():
        local_store.optimise()
    folder = tmp_path / "library"
    assert [path.name for path in folder.glob("index*")] == ["index-1-3000.faiss"]
    filled(local_store, [clip(99, vectors[3000:])])
    with local_store.writing():
        local_store.optimise()
    assert [path.name for path in folder.glob("index*")] == ["index-1-4000.faiss"]
    with_index = local_store.search(queries, 3)
    for spoil in (lambda path: os.truncate(path, 100), os.unlink):
        spoil(folder / "index-1-4000.faiss")
        again = LocalStore(folder)
        without = again.search(queries, 3)
        assert np.mean(with_index[2] >= without[2] - 1e-5) > 0.9
        again.close()


def test_settings_survive(local_store, tmp_path):
    assert LocalStore(tmp_path / "library").settings == SETTINGS
    holder = tmp_path / "library" / "writer.json"
    with local_store.writing():
        assert json.loads(holder.read_text())["pid"] == os.getpid()
    assert not holder.exists()
