"""The index of a local library beside kills, a full disk, and files cut short or gone."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from support.kills import killed
from support.mounts import in_mounts
from support.stores import SETTINGS, filled, new_clip, search

from soundsearch.stores.local import indexing, tuning
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.records import SEGMENT

VECTORS = np.random.default_rng(0).normal(0, 1, (1200, 16)).astype(np.float32)
CLIP = 20


def clips_of(begin, end):
    return [
        replace(
            new_clip(f"/{first}.wav", 1, first),
            embeddings=VECTORS[first : first + CLIP],
            segments=np.zeros(CLIP, SEGMENT),
        )
        for first in range(begin, end, CLIP)
    ]


def optimised(store):
    with store.writing():
        store.optimise()


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(indexing, "EXACT_ROWS", 200)
    monkeypatch.setattr(indexing, "_SHARD_ROWS", 500)
    monkeypatch.setattr(indexing, "_FILLED_ROWS", 500)
    monkeypatch.setattr(tuning, "_QUERIES", 20)  # what takes longest
    # The threads of a process are not those of a child that it forks.
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a child for each step")
@pytest.mark.parametrize(
    "indexed, rows", [(0, 700), (700, 800), (220, 900)], ids=["first", "extended", "trained anew"]
)
def test_a_build_that_is_killed_leaves_what_answers(memory_path, indexed, rows):
    folder = memory_path / "library"
    with closing(LocalStore.create(folder, SETTINGS)) as store:
        if indexed:
            filled(store, clips_of(0, indexed))
            optimised(store)
        filled(store, clips_of(indexed, rows))
    before = {path.name for path in folder.glob("index-*.faiss")}
    steps, alive, seen = 0, True, set()
    while alive:
        steps += 2  # one step of two, as each takes a build
        trial = shutil.copytree(folder, memory_path / f"trial-{steps}")

        def build(folder=trial):
            with closing(LocalStore(folder)) as store:
                optimised(store)

        alive = killed(build, steps)
        with closing(LocalStore(trial)) as store:
            with store.reading() as reading:
                files = reading._snapshot.vectors.index_files
            seen.add(0 if files is None else files.rows)
            assert bool(before) <= (files is not None)
            _, _, scores = search(store, VECTORS[:rows:7], 1)
            assert (scores > 0.999).mean() > 0.98  # each finds itself
            optimised(store)
            assert store.check() == []
            with store.reading() as reading:
                assert reading._snapshot.vectors.index_files.rows == rows
        known = {path.name for path in trial.glob("index-*")}
        assert all(name.endswith((".faiss", ".cells")) for name in known)
        shutil.rmtree(trial)
    assert steps > 40 and {indexed, rows} <= seen


def test_a_disk_that_is_full_in_the_middle_of_a_shard(tmp_path):
    in_mounts(
        """
from dataclasses import replace
from soundsearch.stores.local import indexing
from soundsearch.stores.records import SEGMENT
indexing.EXACT_ROWS, indexing._STALE_ROWS = 2000, 300
vectors = np.random.default_rng(0).normal(0, 1, (6000, 16)).astype(np.float32)
clips = [
    replace(new_clip(f"/{n}.wav", 1, n), embeddings=part, segments=np.zeros(100, SEGMENT))
    for n, part in enumerate(np.split(vectors, 60))
]
def answers():
    with closing(LocalStore(folder)) as store:
        return (search(store, vectors[:store.counts().segments:50], 1)[2] > 0.999).mean()

with closing(LocalStore.create(folder, SETTINGS)) as store, store.writing():
    store.add(clips[:30])
    store.optimise()
    old = {path.name: path.stat().st_ino for path in folder.glob("index-*")}
    store.add(clips[30:])
    assert answers() > 0.98
    fill()
    ballast = folder.parent / "ballast"
    whole = ballast.stat().st_size
    for left in range(4096, 1_000_000, 24_576):  # wherever in it the disk is full
        os.truncate(ballast, whole - left)
        try:
            store.optimise()
        except errors.LibraryDamaged:
            raise
        except errors.LibraryError as error:
            assert "stored" in str(error), error
        else:
            break
        there = {path.name: path.stat().st_ino for path in folder.glob("index-*")}
        assert old.items() <= there.items(), (left, there)
        assert all(name.endswith((".faiss", ".cells")) for name in there), (left, there)
        assert answers() > 0.98
    assert left > 50_000, left  # that it went wrong in the middle
    store.optimise()
    with store.reading() as reading:
        assert reading._snapshot.vectors.index_files.rows == 6000
    assert answers() > 0.98 and store.check() == []
""",
        tmp_path / "disk" / "library",
    )


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("what", ["cut short", "longer", "empty", "gone", "of zeros"])
def test_a_shard_that_is_not_what_was_written(tmp_path, which, what):
    folder = tmp_path / "library"
    with closing(LocalStore.create(folder, SETTINGS)) as store:
        filled(store, clips_of(0, 1200))
        optimised(store)
    names = sorted(folder.glob("index-*.faiss"), key=lambda path: int(path.name.split("-")[3]))
    assert len(names) == 3
    size = names[which].stat().st_size
    if what == "gone":
        names[which].unlink()
    elif what == "of zeros":
        names[which].write_bytes(bytes(size))
    else:
        os.truncate(names[which], {"cut short": size - 1, "longer": size + 1, "empty": 0}[what])
    with closing(LocalStore(folder)) as store:
        [finding] = store.check()
        assert finding.clips == ()
        _, _, scores = search(store, VECTORS[::7], 1)
        assert (scores > 0.999).mean() > 0.98
        optimised(store)
        assert store.check() == []
        with store.reading() as reading:
            assert reading._snapshot.vectors.index_files.rows == 1200
