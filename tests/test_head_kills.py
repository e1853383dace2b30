"""A library killed or damaged while it takes a head: it is as before, or as it is to be."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
from contextlib import closing

import pytest
from support.heads import MANY, check_labelled, spec, written
from support.kills import killed
from support.stores import CLIPS, SETTINGS, filled

import soundsearch
from soundsearch import errors
from soundsearch.labels.kept import _heads as kept_heads
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.milvus.client import MilvusClient
from soundsearch.stores.opening import create_store, place_of


@pytest.fixture
def mine(tmp_path):
    return written(tmp_path / "my.head", spec())


def test_a_damaged_head_is_found(tmp_path, mine):
    folder = tmp_path / "library"
    with closing(LocalStore.create(folder, SETTINGS)) as store:
        filled(store, MANY)
    with soundsearch.open(folder) as lib:
        lib.use_head(mine)
    written(tmp_path / "other.head", spec(7))
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog, catalog:
        text = base64.b64encode((tmp_path / "other.head").read_bytes()).decode()
        catalog.execute(
            "UPDATE settings SET value = ? WHERE key = 'head_file'", (json.dumps(text),)
        )
    kept_heads.clear()
    with soundsearch.open(folder) as lib:
        [finding] = lib.check()
        assert "the head of its labels is not what was stored" in finding.what
        assert "head use FILE" in finding.remedy
        with pytest.raises(errors.LibraryDamaged, match="head use FILE"):
            list(lib)
        lib.use_head(None)
        lib.use_head(mine)
        check_labelled(lib, mine, MANY)
        assert lib.check() == []


def test_a_damaged_clip_stops_it_before_anything_is_changed(tmp_path, mine):
    folder = tmp_path / "library"
    with closing(LocalStore.create(folder, SETTINGS)) as store:
        filled(store, MANY)
    with open(folder / "vectors-1.f32", "r+b") as file:
        file.seek(500)
        file.write(b"xxxx")
    with soundsearch.open(folder) as lib:
        before = [clip.labels for clip in lib]
        with pytest.raises(errors.LibraryDamaged, match="soundsearch check"):
            lib.use_head(mine)
        assert [clip.labels for clip in lib] == before and lib.head is None


def use(folder, head):
    with soundsearch.open(folder) as lib:
        lib.use_head(head)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a child for each step")
def test_a_kill_at_any_step_leaves_the_library_as_it_was_or_as_it_is_to_be(memory_path):
    folder, clips = memory_path / "library", [*CLIPS[:2], MANY[4]]
    mine = written(memory_path / "my.head", spec())
    with closing(LocalStore.create(folder, SETTINGS)) as store:
        filled(store, clips)
    with soundsearch.open(folder) as lib:
        before = {clip.uri: clip.labels for clip in lib}
    outcomes = set()
    steps = 0
    alive = True
    while alive:
        steps += 2  # every step takes long
        trial = shutil.copytree(folder, memory_path / f"trial-{steps}")
        alive = killed(lambda: use(trial, mine), steps)  # noqa: B023
        with soundsearch.open(trial) as lib:
            outcomes.add(lib.head is not None)
            if lib.head is None:
                assert {clip.uri: clip.labels for clip in lib} == before
            else:
                check_labelled(lib, mine, clips)
            assert lib.check() == []
            if steps % 4:  # whatever is left does not hinder other writes
                lib.tag({"/given.wav": {"mic": "X"}})
            lib.use_head(mine)
            check_labelled(lib, mine, clips)
            assert lib.check() == []
        left = {path.name for path in trial.iterdir()}
        assert {n for n in left if n.startswith(("vectors", "segments"))} == {
            "vectors-2.f32",
            "segments-2.rows",
        }
        shutil.rmtree(trial)
    assert outcomes == {True, False} and steps > 30


class Killed(BaseException):
    """Raised in place of killing the process."""


@pytest.mark.slow
def test_a_kill_in_milvus_changes_nothing_and_the_next_run_goes_on(tmp_path, mine, monkeypatch):
    pytest.importorskip("milvus_lite")
    monkeypatch.setattr("soundsearch.stores.milvus.relabelling._CLIPS", 4)
    place = place_of(f"milvus-lite:{tmp_path / 'library.db'}")
    with closing(create_store(place, SETTINGS)) as store:
        filled(store, MANY)
    real = MilvusClient.upsert
    with soundsearch.open(place) as lib:
        before = {clip.uri: clip.labels for clip in lib}
        for writes in range(1, 60, 2):
            left = writes

            def upsert(client, name, rows):
                nonlocal left
                left -= 1
                if left == 0:
                    raise Killed
                real(client, name, rows)

            try:
                with monkeypatch.context() as patch:
                    patch.setattr(MilvusClient, "upsert", upsert)
                    lib.use_head(mine)
            except Killed:
                assert lib.head is None
                assert {clip.uri: clip.labels for clip in lib} == before
                if writes == 7:  # what changes meanwhile is not lost
                    with lib._session.store.writing():
                        lib._session.store.remove([lib.clip("/more/0.wav").id])
                    before.pop("/more/0.wav")
                    lib.tag({"/sounds/1.wav": {"mic": "X"}})
            else:
                break
        assert 7 < writes < 58
        check_labelled(lib, mine, [c for c in MANY if c.record.uri != "/more/0.wav"])
        assert lib.clip("/sounds/1.wav").tags == {"mic": "X"}
        assert lib.check() == []
        state = lib._session.store._client
        assert not any(name.endswith("_3") for name in state.collections())
