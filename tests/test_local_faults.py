"""A local library beside kills, full disks, read-only folders, and others who write at once."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from support.stores import CLIPS, SETTINGS, filled, new_clip, rows

from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.records import Counts

NEWER = replace(SETTINGS, space="mini-2", dimension=8)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "library"


# Kills


class Fuse:
    """Ends the process, as a kill would, before its n-th step of the file system or SQLite."""

    EVENTS = ("open", "os.", "sqlite3.connect", "shutil.")

    def __init__(self, steps):
        self.left = steps

    def step(self, *_details):
        self.left -= 1
        if self.left == 0:
            os._exit(9)

    def light(self):
        fuse = self

        class Connection(sqlite3.Connection):
            def execute(self, *arguments):
                fuse.step(*arguments)
                return super().execute(*arguments)

            def executemany(self, *arguments):
                fuse.step(*arguments)
                return super().executemany(*arguments)

        connect = sqlite3.connect
        sqlite3.connect = lambda *places, **options: connect(
            *places, **{**options, "factory": Connection}
        )
        sys.addaudithook(
            lambda event, details: event.startswith(self.EVENTS) and fuse.step(event, *details)
        )


def killed(action, steps):
    """Do it in a child that is killed before a step; whether it got that far."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            Fuse(steps).light()
            action()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), code
    return code == 9


def embed_again(folder):
    """What `Library.reembed` does with a store."""
    with closing(LocalStore(folder)) as store:
        if store.settings == NEWER:
            return
        with store.writing():
            successor = store.successor(NEWER)
            with closing(successor), successor.writing():
                for clip in store.clips():
                    if successor.clip_at(clip.uri) is None:
                        new = replace(new_clip("", 2, clip.id), record=clip.record)
                        vectors = np.full((2, 8), clip.id, np.float32)
                        successor.add([replace(new, embeddings=vectors)])
            store.adopt(successor)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a child for each step")
def test_embedding_again_goes_on_wherever_it_was_killed(folder, tmp_path):
    import shutil

    with closing(LocalStore.create(folder, SETTINGS)) as store:
        ids = filled(store, CLIPS[:2])
    steps = 0
    alive = True
    while alive:
        steps += 1
        trial = shutil.copytree(folder, tmp_path / f"trial-{steps}")
        alive = killed(lambda: embed_again(trial), steps)  # noqa: B023
        with closing(LocalStore(trial)) as store:
            with store.writing():
                # Whatever is left of the successor does not hinder other writes.
                store.fail([])
                if store.settings == SETTINGS:
                    store.add([CLIPS[2]])
            assert {clip.id for clip in store.clips()} >= set(ids)
        if steps % 3 == 0:  # killed again where it goes on
            killed(lambda: embed_again(trial), steps // 2)  # noqa: B023
        embed_again(trial)
        with closing(LocalStore(trial)) as store:
            assert store.settings == NEWER
            for clip in store.clips():
                assert (rows(store, clip.id)[0] != 0).all()
            with store.writing():
                pass
        assert not (trial / "successor").exists()
        shutil.rmtree(trial)
    assert steps > 150


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a child for each step")
def test_a_library_is_made_wherever_making_it_was_killed(tmp_path):
    steps = 0
    alive = True
    while alive:
        steps += 1
        folder = tmp_path / str(steps)
        alive = killed(lambda: LocalStore.create(folder, SETTINGS), steps)  # noqa: B023
        with closing(LocalStore.create(folder, SETTINGS)) as store:
            filled(store, CLIPS)
            assert store.counts() == Counts(4, 51, 0)


def test_what_a_lost_catalogue_left_is_not_taken_for_the_new_ones(folder):
    """A folder whose deletion was killed: the log of the old catalogue is still there."""
    with closing(LocalStore.create(folder, SETTINGS)) as store, store.writing():
        store.add(CLIPS)
        log = (folder / "catalog.sqlite-wal").read_bytes()
    assert log
    for file in folder.iterdir():
        file.unlink()
    (folder / "catalog.sqlite-wal").write_bytes(log)
    with closing(LocalStore.create(folder, SETTINGS)) as store:
        assert store.counts() == Counts(0, 0, 0)
