"""A local library beside kills, full disks, read-only folders, and others who write at once."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.kills import killed
from support.mounts import in_mounts
from support.stores import CLIPS, SETTINGS, filled, new_clip, rows

from soundsearch import errors
from soundsearch.stores.local.connecting import unreadable
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.records import Counts

NEWER = replace(SETTINGS, space="mini-2", dimension=8)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "library"


# Kills


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


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a child for each step")
def test_embedding_again_goes_on_wherever_it_was_killed(memory_path):
    folder = memory_path / "library"
    with closing(LocalStore.create(folder, SETTINGS)) as store:
        ids = filled(store, CLIPS[:2])
    steps = 0
    alive = True
    while alive:
        steps += 5  # every step takes minutes
        trial = shutil.copytree(folder, memory_path / f"trial-{steps}")
        alive = killed(lambda: embed_again(trial), steps)  # noqa: B023
        with closing(LocalStore(trial)) as store:
            with store.writing():
                # Whatever is left of the successor does not hinder other writes.
                store.fail([])
                if store.settings == SETTINGS:
                    store.add([CLIPS[2]])
            assert {clip.id for clip in store.clips()} >= set(ids)
        if steps % 2 == 0:  # killed again where it goes on
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


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a child for each step")
def test_a_library_is_made_wherever_making_it_was_killed(memory_path):
    steps = 0
    alive = True
    while alive:
        steps += 2
        folder = memory_path / str(steps)
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


# Where nothing can be written


@pytest.mark.parametrize("left", ["a log", "a log alone", "none"])
def test_a_full_disk_can_be_read(tmp_path, left):
    in_mounts(
        f"""
left = {left!r}
LocalStore.create(folder, SETTINGS).close()
add(CLIPS, die=left != "none")
log = folder / "catalog.sqlite-wal"
assert (log.exists() and log.stat().st_size > 0) == (left != "none")
if left == "a log alone":
    (folder / "catalog.sqlite-shm").unlink()
fill()
with closing(LocalStore(folder)) as store:
    check(store, CLIPS)
    try:
        with store.writing():
            store.add([new_clip("/new.wav", 300, 9)])
        raise SystemExit("nothing was raised")
    except errors.LibraryDamaged:
        raise
    except errors.LibraryError as error:
        assert "space" in str(error), error
        assert "delete" not in str(error), error
    with soundsearch.open(folder) as lib:
        assert lib.info()["clips"] == 4
    (folder.parent / "ballast").unlink()
    add([new_clip("/new.wav", 300, 9)])
    assert store.counts() == Counts(5, 351, 0)
    check(store, [*CLIPS, new_clip("/new.wav", 300, 9)])
""",
        tmp_path / "disk" / "library",
    )


@pytest.mark.parametrize("left", ["a log", "a log alone", "none"])
def test_a_read_only_file_system_can_be_read(tmp_path, left):
    in_mounts(
        f"""
left = {left!r}
LocalStore.create(folder, SETTINGS).close()
add(CLIPS, die=left != "none")
if left == "a log alone":
    (folder / "catalog.sqlite-shm").unlink()
subprocess.run(["mount", "-o", "remount,ro", folder.parent], check=True)
with closing(LocalStore(folder)) as store:
    check(store, CLIPS)
    try:
        with store.writing():
            raise SystemExit("nothing was raised")
    except errors.LibraryError as error:
        assert "cannot be written to" in str(error)
""",
        tmp_path / "disk" / "library",
    )


def test_a_reader_that_may_not_write_sees_what_others_write(tmp_path):
    in_mounts(
        """
view = folder.parent.parent / "view"
LocalStore.create(folder, SETTINGS).close()
add(CLIPS[:1])
view.mkdir()
subprocess.run(["mount", "--bind", folder.parent, view], check=True)
subprocess.run(["mount", "-o", "remount,bind,ro", view], check=True)
with closing(LocalStore(view / folder.name)) as store:
    check(store, CLIPS[:1])
    add(CLIPS[1:2])
    check(store, CLIPS[:2])
    add(CLIPS[2:3], die=True)
    check(store, CLIPS[:3])
    (folder / "catalog.sqlite-shm").unlink()
    check(store, CLIPS[:3])
    add(CLIPS[3:4])
    check(store, CLIPS)
    add([], "remove")
    check(store, CLIPS[1:])
""",
        tmp_path / "disk" / "library",
    )


@pytest.mark.parametrize(
    "text", ["database or disk is full", "disk I/O error", "database is locked",
             "unable to open database file"],
)  # fmt: skip
def test_an_error_that_passes_is_not_called_damage(text):
    raised = unreadable(Path("/x/catalog.sqlite"), sqlite3.OperationalError(text))
    assert not isinstance(raised, errors.LibraryDamaged)
    assert "cannot be read just now" in str(raised) and text in str(raised)
    worse = unreadable(Path("/x"), sqlite3.DatabaseError("database disk image is malformed"))
    assert isinstance(worse, errors.LibraryDamaged)
    for error in (raised, worse):
        assert "delete" not in str(error)


def test_rows_that_cannot_be_read_just_now_are_not_called_lost(tmp_path, monkeypatch):
    def refused(*_arguments):
        raise OSError(5, "Input/output error")

    with closing(LocalStore.create(tmp_path / "library", SETTINGS)) as store:
        ids = filled(store, CLIPS)
        monkeypatch.setattr("soundsearch.stores.local.rows._check_length", refused)
        with pytest.raises(errors.LibraryError, match="just now") as caught:
            rows(store, ids[0])
        assert not isinstance(caught.value, errors.LibraryDamaged)
        assert "rebuild" not in str(caught.value)


# Two at once


MAKE = """
import sys, time
from pathlib import Path
from soundsearch import errors
from soundsearch.stores.local.store import LocalStore
from support.kills import killed
from support.mounts import in_mounts
from support.stores import CLIPS, SETTINGS
print("ready", flush=True)
for line in sys.stdin:
    folder = Path(line.rstrip())
    try:
        store = LocalStore.create(folder, SETTINGS)
        with store.writing():
            store.add(CLIPS)
            time.sleep(0.02)
        print("stored", flush=True)
    except errors.LibraryError as error:
        print(type(error).__name__, str(error), flush=True)
"""


@pytest.mark.slow
def test_two_who_make_a_library_at_once_make_one(tmp_path):
    both = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for turn in range(20):
        folder = tmp_path / str(turn)
        for process in both:
            process.stdin.write(f"{folder}\n")
            process.stdin.flush()
        said = [process.stdout.readline() for process in both]
        assert "stored\n" in said
        for text in said:
            assert text == "stored\n" or (
                text.startswith("LibraryBusy") and "is writing to it" in text
            ), text
        with closing(LocalStore(folder)) as store:
            assert store.counts() == Counts(4, 51, 0)
            assert store.check() == []
    for process in both:
        process.communicate()
