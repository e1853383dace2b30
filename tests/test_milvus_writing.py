"""Writing to a library in Milvus: killed writers, the lease, lost segments, re-embedding."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from support.milvus_places import INGEST, Killed, all_segments, die
from support.milvus_server import MilvusServer, why_not
from support.sounds import noise, write
from support.stores import CLIPS, SETTINGS, filled, new_clip, rows, search

import soundsearch
from soundsearch import errors
from soundsearch.stores.milvus.client import MilvusClient
from soundsearch.stores.milvus.collections import settings_row
from soundsearch.stores.milvus.rows import segment_ids, state_row
from soundsearch.stores.milvus.store import MilvusStore
from soundsearch.stores.milvus.writer import Writer
from soundsearch.stores.opening import open_store, place_of
from soundsearch.stores.records import Counts

pytest.importorskip("milvus_lite")


@pytest.fixture
def uri(milvus):
    return milvus


@pytest.fixture
def store(milvus_store):
    return milvus_store


@pytest.mark.slow
def test_killed_at_any_instant_the_same_command_completes(tmp_path, uri):
    folder = tmp_path / "s"
    for n in range(60):
        write(folder / f"{n:03}.wav", noise(n, 3))
    command = [sys.executable, "-c", INGEST, uri, str(folder)]
    reported = set()
    for attempt in range(3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            if line.startswith("added"):
                reported.add(line.rstrip("\n").partition(" ")[2])
                if len(reported) > 10 + 15 * attempt:
                    break
        time.sleep(0.1 * attempt)
        process.kill()
        rest = process.communicate()[0]
        done = [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        reported |= {line[6:-1] for line in done if line.startswith("added ")}
        with closing(open_store(place_of(uri))) as store:
            assert reported <= {clip.uri for clip in store.clips()}
            for clip in store.clips():
                assert rows(store, clip.id)[0].shape == (3, 128)
    subprocess.run(command, check=True)
    with closing(open_store(place_of(uri))) as store:
        assert store.counts() == Counts(60, 180, 0)
        assert len({clip.uri for clip in store.clips()}) == 60
        assert len(all_segments(store)) == 180


def test_leftovers_of_a_killed_writer_are_invisible_and_are_deleted(store, uri, monkeypatch):
    ids = filled(store, CLIPS)

    for what in ("_delete_rows", "_delete_segments"):  # after the clip rows
        with monkeypatch.context() as patch, pytest.raises(Killed), store.writing():
            patch.setattr(Writer, what, die)
            store.add([new_clip("/sounds/1.wav", 4, 60)])
    left = new_clip("/new.wav", 30, 61)
    real = MilvusClient.upsert

    def before_the_clip_rows(client, collection, rows):
        if collection == store._tables.clips:
            die()
        real(client, collection, rows)

    with monkeypatch.context() as patch, pytest.raises(Killed), store.writing():
        patch.setattr(MilvusClient, "upsert", before_the_clip_rows)
        store.add([left])
    assert len(all_segments(store)) > 52 + 30 - 1
    assert store.clip_at("/new.wav") is None
    assert store.counts() == Counts(4, 52, 0)
    for k in (1, 20):
        clip_ids, _, scores = search(store, left.embeddings, k)
        assert (clip_ids > 0).all() and scores.max() < 0.999
        assert clip_ids.shape == (30, k)
    with store.writing():
        pass
    with store.writing():
        store.rebuild()
    assert len(all_segments(store)) == 52
    stretches = store._tables.query(store._tables.stretches, "id >= 0", ["clip"], "Strong")
    assert {row["clip"] for row in stretches} == set(ids)
    assert [clip.id for clip in store.clips()] == ids


def test_a_move_that_was_cut_short(store, monkeypatch):
    ids = filled(store, CLIPS)

    with monkeypatch.context() as patch, pytest.raises(Killed), store.writing():
        patch.setattr(Writer, "_delete_clips", die)
        store.amend({ids[3]: replace(CLIPS[3].record, file=CLIPS[0].record.file)})
    assert store.clip_at("/sounds/1.wav").id == ids[3]
    with store.writing():
        assert store.clip_at("/sounds/1.wav").id == ids[3]
    assert [clip.id for clip in store.clips()] == ids[1:]


def test_lost_segments_are_reported_and_rebuild_removes_their_clip(store):
    ids = filled(store, CLIPS)
    tables = store._tables
    [row] = tables.by_ids(tables.clips, [ids[2]], ["edition"])
    tables.delete(tables.segments, segment_ids(row["edition"], 3, 5).tolist())
    with pytest.raises(errors.LibraryDamaged, match="rebuild"):
        rows(store, ids[2])
    with store.writing():
        assert store.rebuild() == 1
    assert [clip.id for clip in store.clips()] == [ids[0], ids[1], ids[3]]


def test_one_writer_at_a_time(store, uri, monkeypatch):
    with closing(open_store(place_of(uri))) as other:
        with store.writing():
            with pytest.raises(errors.LibraryBusy, match=f"process {os.getpid()}"), other.writing():
                pass
            assert other.counts() == Counts(0, 0, 0)
        filled(other, CLIPS)
        assert len(filled(store, [new_clip("/x.wav", 1, 9)])) == 1
        # A lease that nobody renews expires; its holder can no longer write.
        with pytest.raises(errors.LibraryBusy), store.writing():
            monkeypatch.setattr("soundsearch.stores.milvus.lease._SECONDS", -1.0)
            with other.writing():
                monkeypatch.undo()
                lease = store.writer.lease
                lease._renewed = -1e6
                store.add([new_clip("/y.wav", 1, 10)])
        assert store.clip_at("/y.wav") is None


@pytest.mark.server
def test_a_killed_writer_holds_nothing(milvus_server):
    uri = f"milvus://{milvus_server.address}/t{secrets.token_hex(8)}"
    MilvusStore.create(uri, SETTINGS).close()
    script = (
        "import sys, time; from soundsearch.stores.milvus.store import MilvusStore\n"
        "with MilvusStore(sys.argv[1]).writing(): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, uri], stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"held\n"
    with closing(MilvusStore(uri)) as store:
        with pytest.raises(errors.LibraryBusy, match=f"process {other.pid}"), store.writing():
            pass
        other.kill()
        other.communicate()
        filled(store, CLIPS)


@pytest.mark.slow
def test_embedding_again(sounds, uri):
    with soundsearch.open(uri) as lib:
        lib.ingest(sounds)
        (sounds / "broken.wav").write_text("text")
        lib.ingest(sounds)
        before = lib.query(sounds / "low.wav", 6).hits
    with closing(open_store(place_of(uri))) as store:
        row = {**settings_row(store.settings, 1), "space": "mini-0"}
        store._client.upsert(store._tables.state, [state_row(0, row)])
    with closing(open_store(place_of(uri))) as store:
        with soundsearch.open(uri) as lib:

            def interrupt(_uri, _outcome):
                raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                lib.reembed(on_file=interrupt)
            assert lib.info()["space"] == "mini-0" and lib.info()["clips"] == 6
            done = []
            assert not lib.reembed(on_file=lambda _uri, outcome: done.append(outcome)).failed
            assert "unchanged" in done
            assert lib.query(sounds / "low.wav", 6).hits == before
            assert len(lib.failures()) == 1
        with pytest.raises(errors.LibraryError, match="open it again"):
            search(store, np.ones((1, 128), np.float32), 1)
    with soundsearch.open(uri) as lib:
        assert lib.query(sounds / "low.wav", 6).hits == before
        assert lib.ingest(sounds).unchanged == 6


@pytest.mark.server
def test_the_server_is_killed_during_an_ingest(tmp_path):
    if reason := why_not():
        pytest.skip(reason)
    # Its own server: with the collections of other tests it needs minutes to restart.
    with closing(MilvusServer(tmp_path / "server")) as server:
        kill_during_ingest(server, tmp_path / "s")


def kill_during_ingest(server, folder):
    for n in range(200):
        write(folder / f"{n:03}.wav", noise(n, 3))
    uri = f"milvus://{server.address}/sounds"
    started = threading.Event()
    seen = []

    def kill_and_start():
        server.drop()
        time.sleep(0.3)
        server.kill()
        server.start()
        started.set()

    def on_file(_uri, _outcome):
        seen.append(1)
        if len(seen) == 1:
            threading.Thread(target=kill_and_start).start()

    with soundsearch.open(uri) as lib:
        assert lib.ingest(folder, on_file=on_file).added == 200
        assert started.wait(200)
        assert (lib.info()["clips"], lib.info()["segments"]) == (200, 600)
    with closing(open_store(place_of(uri))) as store:
        assert len(all_segments(store)) == 600
        for clip in store.clips():
            assert rows(store, clip.id)[0].shape == (3, 128)


def test_a_rebuild_pools_what_is_missing(store):
    ids = filled(store, CLIPS)
    with store.reading() as reading:
        expected = reading.pooled(np.array(ids))
        found = reading.search_pooled(expected[1], 4)
    tables = store._tables
    lost = tables.query(tables.stretches, f"clip == {ids[2]}", ["id"])
    assert len(lost) > 1
    tables.delete(tables.stretches, [row["id"] for row in lost[1:]])
    with store.reading() as reading:  # pooled from the segments
        for one, other in zip(reading.pooled(np.array(ids)), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
    [finding] = store.check()
    assert "1 of its clips lack pooled vectors" in finding.what and "rebuild" in finding.remedy
    with store.writing():
        assert store.rebuild() == 0
    assert store.check() == []
    with store.reading() as reading:
        for one, other in zip(reading.search_pooled(expected[1], 4), found, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_no_stretches_are_left_of_clips_that_were_replaced_or_removed(store):
    ids = filled(store, CLIPS)
    filled(store, CLIPS[:2])
    with store.writing():
        store.remove(ids[2:3])
    tables = store._tables
    rows = tables.query(tables.stretches, "id >= 0", ["id", "clip"], "Strong")
    assert sorted(row["clip"] for row in rows) == sorted([ids[0], ids[1], ids[3]])
