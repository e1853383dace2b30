"""Clips written by others than the holder of the lease, under numbers that it drew."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.milvus_places import Killed, all_segments, die
from support.stores import CLIPS, filled, new_clip, rows
from support.waiting import until

from soundsearch import errors
from soundsearch.stores.milvus import delegate
from soundsearch.stores.milvus.client import MilvusClient
from soundsearch.stores.milvus.store import MilvusStore
from soundsearch.stores.records import Counts, FailureRecord

pytest.importorskip("milvus_lite")

# A process that writes clips again and again, as one does that was given up and comes back.
WRITE = """
import pickle, sys
from soundsearch.stores.milvus.store import MilvusStore

address, path = sys.argv[1:]
permit, pairs = pickle.loads(open(path, "rb").read())
delegate = MilvusStore(address).delegate(permit)
for _ in range(5):
    delegate.add(pairs)
"""


@pytest.fixture
def store(milvus_store):
    return milvus_store


def drawn(store, clips):
    return list(zip(clips, store.writer.draw([clip.record.uri for clip in clips]), strict=True))


def test_clips_are_settled_that_another_wrote(store):
    ids = filled(store, CLIPS)
    changed, new = new_clip("/sounds/2.wav", 5, 77), new_clip("/new.wav", 7, 78)
    with closing(MilvusStore(store.uri)) as other, store.writing():
        writing = other.delegate(store.writer.lease.permit)
        failure = FailureRecord(new.record.file, b"x" * 32, "no sound")
        store.fail([failure])
        both = {b"x" * 32, CLIPS[0].record.digest}
        # A server shows what another wrote a moment later.
        until(lambda: writing.known(list(both), True, True) == both)
        assert writing.known([b"x" * 32, CLIPS[0].record.digest], False, False) == set()
        pairs = drawn(store, [changed, new])
        assert pairs[0][1].id == ids[1]
        store.writer.settle(writing.add(pairs), by_others=True)
        assert store.clip_at("/new.wav").record.digest == new.record.digest
        assert store.failure_at("/new.wav") is None
        assert len(all_segments(store)) == 51 - CLIPS[1].embeddings.shape[0] + 5 + 7
    np.testing.assert_array_equal(rows(store, ids[1])[0], changed.embeddings)


def test_nothing_is_written_once_the_lease_is_lost(store, monkeypatch):
    with closing(MilvusStore(store.uri)) as other:
        with store.writing():
            writing = other.delegate(store.writer.lease.permit)
            pairs = drawn(store, CLIPS)
            store.writer.settle(writing.add(pairs[:1]), by_others=True)
        monkeypatch.setattr(delegate, "_TRUSTED_SECONDS", 0.0)
        with pytest.raises(errors.LibraryBusy, match="does not hold"):
            writing.add(pairs[1:])
        with store.writing(), pytest.raises(errors.LibraryBusy, match="does not hold"):
            writing.add(pairs[1:])  # another's lease
    assert [clip.uri for clip in store.clips()] == [CLIPS[0].record.uri]


def test_what_was_drawn_and_not_settled_is_taken_away(store, monkeypatch):
    """However much was drawn and settled after it, when the writer was killed."""
    real = MilvusClient.upsert

    def before_the_clip_rows(client, collection, rows):
        if collection == store._tables.clips:
            die()
        real(client, collection, rows)

    with pytest.raises(Killed), store.writing():
        writing = store.delegate(store.writer.lease.permit)
        first = drawn(store, CLIPS[:1])
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(MilvusClient, "upsert", before_the_clip_rows)
            writing.add(first)
        store.writer.give_up(numbers for _, numbers in drawn(store, CLIPS[3:]))
        for n in range(3):
            store.writer.draw([f"/{n}/{m}.wav" for m in range(1000)])
            pairs = drawn(store, [new_clip(f"/{n}.wav", 3, n)])
            store.writer.settle(writing.add(pairs), by_others=True)
        die()
    assert len(all_segments(store)) == len(CLIPS[0].embeddings) + 9
    with store.writing():
        pass
    assert len(all_segments(store)) == 9
    assert store.counts() == Counts(3, 9, 0)


@pytest.mark.server
def test_two_that_write_the_same_at_once(milvus_server, tmp_path):
    uri = f"milvus://{milvus_server.address}/d{os.getpid()}"
    from support.stores import SETTINGS

    clips = [replace(clip) for clip in CLIPS]
    with closing(MilvusStore.create(uri, SETTINGS)) as store:
        with store.writing():
            pairs = drawn(store, clips)
            path = tmp_path / "pairs"
            path.write_bytes(pickle.dumps((store.writer.lease.permit, pairs)))
            command = [sys.executable, "-c", WRITE, uri, str(path)]
            environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
            both = [subprocess.Popen(command, env=environment) for _ in range(2)]
            assert [each.wait(120) for each in both] == [0, 0]
            written = store.delegate(store.writer.lease.permit).add(pairs)
            store.writer.settle(written, by_others=True)
        assert store.counts() == Counts(4, 51, 0)
        assert len(all_segments(store)) == 51
        for (clip, numbers), _ in zip(pairs, clips, strict=True):
            np.testing.assert_array_equal(rows(store, numbers.id)[0], clip.embeddings)
