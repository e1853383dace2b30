"""What a writer to Milvus asks: how much it costs, and that it sees what it wrote."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from soundsearch_ingest.discover import AudioFile
from support.milvus_places import Counted, Killed, die
from support.sounds import noise, write
from support.stores import filled, new_clip, rows, search

import soundsearch
from soundsearch.stores.milvus import lookups
from soundsearch.stores.milvus.client import MilvusClient
from soundsearch.stores.milvus.inserting import Numbers, insert
from soundsearch.stores.milvus.writer import Writer
from soundsearch.stores.opening import open_store, place_of
from soundsearch.stores.records import FailureRecord

pytest.importorskip("milvus_lite")


@pytest.fixture
def uri(milvus):
    return milvus


@pytest.fixture
def store(milvus_store):
    return milvus_store


@pytest.mark.slow
def test_a_writer_does_not_read_what_is_stored(store, uri, monkeypatch):
    clips = [new_clip(f"/{n}.wav", 1, n) for n in range(400)]
    costs = []
    for part in (clips[:10], clips[10:]):
        filled(store, part)
        with closing(open_store(place_of(uri))) as other, monkeypatch.context() as patch:
            counted = Counted(patch)
            with other.writing():
                other.add([new_clip(f"/new/{len(costs)}.wav", 1, 1000)])
                assert other.clip_at(f"/new/{len(costs)}.wav") is not None
            costs.append((counted.requests, counted.rows))
    # Requests and rows, with 10 clips and with 400; a server that lags is asked once more.
    assert np.abs(np.subtract(*costs)).max() <= 2, costs


def test_files_that_have_not_changed_are_looked_up_many_at_a_time(tmp_path, uri, monkeypatch):
    folder = tmp_path / "s"
    for n in range(40):
        write(folder / f"{n:03}.wav", noise(n, 1))
        (folder / f"{n:03}.txt").write_text("no sound")
    (folder / "bad.wav").write_text("no sound either")
    with soundsearch.open(uri) as lib:
        lib.ingest(folder)
        counted = Counted(monkeypatch)
        report = lib.ingest(folder)
    assert (report.unchanged, report.failed_before) == (40, 1)
    assert counted.requests < 20


@pytest.mark.slow
@pytest.mark.parametrize("remembered", [0, 7, 10_000])
def test_a_writer_sees_its_own_writes_at_once(store, monkeypatch, remembered):
    monkeypatch.setattr(lookups, "_REMEMBERED", remembered)
    rng = random.Random(remembered)
    uris = [f"/{n}.wav" for n in range(6)]
    digests = [bytes([n]) * 32 for n in range(4)]
    clips: dict[str, bytes] = {}
    failures: dict[str, bytes] = {}
    with store.writing():
        for step in range(30):
            uri, digest = rng.choice(uris), rng.choice(digests)
            what = rng.choice(["add", "add", "move", "remove", "fail", "forget"])
            if what == "add":
                store.add([new_clip(uri, 1, step, digest=digest)])
                clips[uri] = digest
                failures.pop(uri, None)
            elif what == "fail":
                store.fail([FailureRecord(AudioFile(uri, 1, step), digest, "is no sound")])
                failures[uri] = digest
            elif what == "forget":
                store.forget_failures([uri])
                failures.pop(uri, None)
            elif clips:
                old = rng.choice(sorted(clips))
                clip = store.clip_at(old)
                digest = clips.pop(old)
                if what == "remove":
                    store.remove([clip.id])
                else:
                    store.amend({clip.id: replace(clip.record, file=AudioFile(uri, 9, step))})
                    clips[uri] = digest
                    failures.pop(uri, None)
            found = store.clips_at(uris)
            assert {at: clip.record.digest for at, clip in found.items()} == clips
            known = store.failures_at(uris)
            assert {at: failure.digest for at, failure in known.items()} == failures
            for digest in digests:
                there = {clip.uri for clip in store.clips_with(digest)}
                assert there == {at for at, each in clips.items() if each == digest}
                assert (store.failure_with(digest) is None) == (digest not in failures.values())
    assert {clip.uri: clip.record.digest for clip in store.clips()} == clips
    assert {each.file.uri: each.digest for each in store.failures()} == failures


def test_of_a_clip_that_is_replaced_twice_nothing_is_left(store):
    clips = [new_clip("/a.wav", count, count) for count in (3, 4, 5)]
    with store.writing():
        for clip in clips:
            store.add([clip])
    tables = store._tables
    left = tables.query(tables.segments, "id >= 0", ["id"], "Strong")
    assert len(left) == 5


def test_insertion_by_others_may_be_repeated(store, uri):
    """By a process that came back, after another had done its work, as the numbers say."""
    filled(store, [new_clip("/a.wav", 2, 1)])
    new = [new_clip("/a.wav", 3, 2), new_clip("/b.wav", 12, 3)]
    with store.writing():
        writer = store.writer
        pairs = list(zip(new, writer.draw(["/a.wav", "/b.wav"]), strict=True))
        with closing(open_store(place_of(uri))) as worker:
            for _ in range(2):
                found = insert(worker._tables, pairs, lambda: None)
        writer.settle(found)
        insert(store._tables, pairs, lambda: None)
    assert [Numbers(row["id"], row["edition"]) for row in found] == [each for _, each in pairs]
    tables = store._tables
    there = tables.query(tables.segments, "id >= 0", ["id"], "Strong")
    assert len(there) == 15 and len({row["id"] for row in there}) == 15
    for clip in new:
        vectors, _ = rows(store, store.clip_at(clip.record.uri).id)
        np.testing.assert_array_equal(vectors, clip.embeddings)


def test_an_insertion_whose_answer_was_lost_is_repeated_as_an_upsert(store, monkeypatch):
    from pymilvus import MilvusException

    real = MilvusClient._write
    methods = []

    def write(client, method, name, columns, **options):
        real(client, method, name, columns, **options)
        methods.append(method)
        if len(methods) == 1:
            raise MilvusException(message="UNAVAILABLE: the connection was lost")

    monkeypatch.setattr(MilvusClient, "_write", write)
    clip = new_clip("/a.wav", 5, 1)
    with store.writing():
        store.add([clip])
    assert [method for method in methods if method == "batch_insert"] == ["batch_insert"] * 2
    assert methods[1] == "upsert"
    monkeypatch.undo()
    assert search(store, clip.embeddings, 10)[0].shape == (5, 5)


def test_moves_that_were_cut_short_are_found_among_many(store, monkeypatch):
    clips = [new_clip(f"/{n}.wav", 1, n) for n in range(60)]
    ids = filled(store, clips)
    moved = {ids[n]: replace(clips[n].record, file=clips[n + 1].record.file) for n in (3, 40)}
    with monkeypatch.context() as patch, pytest.raises(Killed), store.writing():
        patch.setattr(Writer, "_delete_clips", die)
        store.amend(moved)
    with store.writing():
        assert [clip.id for clip in store.clips()] == [
            id for n, id in enumerate(ids) if n not in (4, 41)
        ]
