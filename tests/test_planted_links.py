"""Links that were planted in a library's folder: no writer reaches another file through one."""

from __future__ import annotations

import os
import stat
from contextlib import closing, suppress
from dataclasses import replace

import numpy as np
import pytest
from support.stores import CLIPS, SETTINGS, filled, new_clip

from soundsearch import errors
from soundsearch.stores.local import indexing, stretching
from soundsearch.stores.local.store import LocalStore

NEWER = replace(SETTINGS, space="mini-2", dimension=8)
LARGE = new_clip("/large.wav", 600, 7)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="makes links")

SLOW = pytest.mark.slow
NAMES = [
    "catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm", "catalog.sqlite-journal",
    "catalog.sqlite.new", "catalog.sqlite.new-wal", "catalog.sqlite.new-shm",
    "catalog.sqlite.new-journal", "writer.lock", "writer.json", "vectors-1.f32",
    "segments-1.rows", "vectors-2.f32", "segments-2.rows", "vectors-3.f32", "segments-3.rows",
    *(
        f"{name}.{kind}"
        for name in ("index-1-651-0-651", "index-2-651-0-651")
        for kind in ("new", "new2", "tmp", "faiss", "cells")
    ),
    "stretches-1-651.new", "stretches-1-651.new2",
    "stretches-1-651.tmp", "stretches-1-651.f32", "stretches-1-651.faiss",
    "successor/catalog.sqlite",
    "successor/catalog.sqlite-wal", "successor/vectors-1.f32", "successor/writer.lock",
    "successor/writer.json",
]  # fmt: skip


def everything(folder):
    """Whatever a writer does."""
    with closing(LocalStore.create(folder, SETTINGS)) as store:
        filled(store, [*CLIPS, LARGE])
        with store.writing():
            store.optimise()
            store.rebuild()
            with closing(store.successor(NEWER)) as successor, successor.writing():
                vectors = np.ones((2, 8), np.float32)
                successor.add([replace(new_clip("/1.wav", 2, 1), embeddings=vectors)])
            store.adopt(successor)


@pytest.fixture(autouse=True)
def indexes_of_few(monkeypatch):
    monkeypatch.setattr(indexing, "EXACT_ROWS", 500)
    monkeypatch.setattr(stretching, "FEW_ROWS", 500)
    monkeypatch.setattr(stretching, "EXACT_STRETCHES", 100)


@pytest.mark.parametrize("made", [False, pytest.param(True, marks=SLOW)], ids=["new", "old"])
@pytest.mark.parametrize("link", [os.symlink, pytest.param(os.link, marks=SLOW)])
@pytest.mark.parametrize("name", NAMES)
def test_a_planted_link_leads_no_writer_elsewhere(tmp_path, name, link, made):
    folder, victim = tmp_path / "library", tmp_path / "victim"
    victim.write_bytes(bytes(100_000))
    before = victim.stat()
    if made:
        with closing(LocalStore.create(folder, SETTINGS)) as store:
            if not name.startswith("vectors-1"):
                filled(store, CLIPS[:1])
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    link(victim, path)
    with suppress(errors.LibraryError):
        everything(folder)
    after = victim.stat()
    assert victim.read_bytes() == bytes(100_000)
    assert (after.st_mtime_ns, after.st_mode) == (before.st_mtime_ns, before.st_mode)


def test_a_link_is_named_and_what_to_do(tmp_path):
    folder, victim = tmp_path / "library", tmp_path / "victim"
    LocalStore.create(folder, SETTINGS).close()
    victim.write_bytes(b"")
    (folder / "vectors-1.f32").symlink_to(victim)
    with pytest.raises(errors.LibraryDamaged, match=r"vectors-1\.f32: is a symbolic link.*copy"):
        everything(folder)
    (folder / "vectors-1.f32").unlink()
    os.link(victim, folder / "vectors-1.f32")
    with pytest.raises(errors.LibraryDamaged, match=r"vectors-1\.f32: .*several names.*copy"):
        everything(folder)


def test_a_successor_that_is_a_link_is_not_written_to(tmp_path):
    folder, other = tmp_path / "library", tmp_path / "other"
    LocalStore.create(folder, SETTINGS).close()
    with closing(LocalStore.create(other, NEWER)) as theirs:
        filled(theirs, [replace(CLIPS[0], embeddings=np.ones((3, 8), np.float32))])
    (folder / "successor").symlink_to(other)
    everything(folder)
    with closing(LocalStore(other)) as theirs:
        assert [clip.uri for clip in theirs.clips()] == [CLIPS[0].record.uri]
        assert theirs.check() == []


def test_a_library_of_links_can_be_read(tmp_path):
    """As caches of downloads lay folders out."""
    folder, linked = tmp_path / "library", tmp_path / "linked"
    with closing(LocalStore.create(folder, SETTINGS)) as store:
        filled(store, CLIPS)
    linked.mkdir()
    for file in folder.iterdir():
        (linked / file.name).symlink_to(file)
    with closing(LocalStore(linked)) as store:
        assert store.check() == []
        with pytest.raises(errors.LibraryDamaged, match="symbolic link"):
            filled(store, [LARGE])
    with closing(LocalStore(folder)) as store:
        assert store.counts().clips == 4


def test_who_may_read_is_up_to_the_umask(tmp_path):
    folder = tmp_path / "library"
    before = os.umask(0o027)
    try:
        with closing(LocalStore.create(folder, SETTINGS)) as store, store.writing():
            store.add(CLIPS)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    finally:
        os.umask(before)
    assert modes.pop("writer.json") == 0o600
    assert "catalog.sqlite-wal" in modes
    assert {name: mode for name, mode in modes.items() if mode != 0o640} == {}
