"""The file of stretches of a local library: used, extended, never needed, never trusted."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing

import faiss
import numpy as np
import pytest
from support.stores import SETTINGS, filled, new_clip

from soundsearch.errors import LibraryDamaged
from soundsearch.stores.base import ClipChanged
from soundsearch.stores.filters import Comparison, Plain
from soundsearch.stores.local import stretches, stretching
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.local.sums import block_sums
from soundsearch.stores.pooling import pool

QUERIES = np.random.default_rng(0).normal(0, 3, (100, 16)).astype(np.float32)
SHORT = Comparison(Plain("segments"), "<", 8.0)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "library"


@pytest.fixture(autouse=True)
def files_of_few(monkeypatch):
    monkeypatch.setattr(stretching, "FEW_ROWS", 1000)
    monkeypatch.setattr(stretching, "EXACT_STRETCHES", 500)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A library with a file and an index."""
    folder = tmp_path_factory.mktemp("made") / "library"
    with pytest.MonkeyPatch.context() as patch, closing(LocalStore.create(folder, SETTINGS)) as new:
        patch.setattr(stretching, "FEW_ROWS", 1000)
        patch.setattr(stretching, "EXACT_STRETCHES", 500)
        filled(new, clips(range(1, 600)))
        with new.writing():
            new.optimise()
    return folder


@pytest.fixture
def store(made, folder):
    with closing(LocalStore(shutil.copytree(made, folder))) as with_store:
        yield with_store


def clips(numbers):
    return [new_clip(f"/{n}.wav", n % 15 + 1, n) for n in numbers]


def files(folder):
    return sorted(path.name for path in folder.glob("stretches-*"))


def answers(store):
    with store.reading() as reading:
        return (
            *reading.search_pooled(QUERIES, 10),
            *reading.search_pooled(QUERIES, 10, SHORT),
            *reading.pooled(reading.ids()),
        )


def derived(folder, tmp_path):
    """The answers of the same library without its files of stretches."""
    copied = shutil.copytree(folder, tmp_path / "without", dirs_exist_ok=True)
    for name in files(copied):
        (copied / name).unlink()
    with closing(LocalStore(copied)) as without:
        return answers(without)


def alike(found, expected, recall=0.9):
    """Whether answers are those of an exact search, but for what an index may miss."""
    for ids, scores, exact_ids, exact_scores in (
        (*found[:2], *expected[:2]),
        (*found[2:4], *expected[2:4]),
    ):
        assert ids.shape == exact_ids.shape and scores.shape == exact_scores.shape
        assert (ids >= 0).all() and all(len(set(row)) == 10 for row in ids.tolist())
        assert (scores >= exact_scores[:, -1:] - 1e-5).mean() >= recall
    np.testing.assert_array_equal(found[4], expected[4])
    np.testing.assert_allclose(found[5], expected[5], atol=1e-6)


def test_the_file_is_used_extended_and_not_needed(store, folder, tmp_path, monkeypatch):
    assert files(folder) == ["stretches-1-4799.f32", "stretches-1-4799.faiss"]
    assert store.check() == []
    expected = derived(folder, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(stretches, "pool", None)  # all of it is in the file
        alike(answers(store), expected)
    filled(store, clips(range(3, 600, 60)))  # these are replaced
    filled(store, clips(range(600, 610)))
    with store.writing():
        store.remove([clip.id for clip in store.clips() if clip.id % 50 == 7])
        store.optimise()
    assert files(folder) == ["stretches-1-4799.f32", "stretches-1-4799.faiss"]  # still fresh
    alike(answers(store), derived(folder, tmp_path))
    filled(store, clips(range(610, 660)))
    pooled = []
    with store.writing(), monkeypatch.context() as patch:
        patch.setattr(
            stretches, "pool", lambda *given: pooled.append(len(given[2])) or pool(*given)
        )
        store.optimise()
    assert sum(pooled) == 70  # what was added, no more
    [name, _] = files(folder)
    alike(answers(store), derived(folder, tmp_path))
    with store.writing():
        store.rebuild()
    assert len(files(folder)) == 2 and name not in files(folder)
    alike(answers(store), derived(folder, tmp_path))


def test_what_came_later_is_pooled_once(store, monkeypatch):
    pooled = []
    monkeypatch.setattr(
        stretches, "pool", lambda *given: pooled.append(len(given[2])) or pool(*given)
    )
    for number in range(600, 605):
        filled(store, clips([number]))
        answers(store)
    assert pooled == [1] * 5


SPOILED = {
    "gone": lambda path: path.unlink(),
    "cut off": lambda path: os.truncate(path, 100),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: os.truncate(path, path.stat().st_size + 8),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("name", ["stretches-1-4799.f32", "stretches-1-4799.faiss"])
@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_file_is_found_done_without_and_made_again(store, folder, tmp_path, name, how):
    expected = derived(folder, tmp_path)
    SPOILED[how](folder / name)
    with closing(LocalStore(folder)) as spoiled:
        alike(answers(spoiled), expected, 1)
        [finding] = spoiled.check()
        assert "stretches-1-4799.f32" in finding.what and "rebuild" in finding.remedy
        assert finding.clips == ()
    if (folder / name).is_dir():
        (folder / name).rmdir()
    with store.writing():
        store.rebuild()
    assert store.check() == []
    alike(answers(store), expected)


def forge(folder, change):
    """Change the file of stretches, and its checksums with it."""
    path = folder / "stretches-1-4799.f32"
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog, catalog:
        sql = "SELECT value FROM settings WHERE key = 'stretches'"
        stored = json.loads(catalog.execute(sql).fetchone()[0])
        owners = np.fromfile(path, "<i8", stored["count"])
        vectors = np.fromfile(path, "<f4", offset=owners.nbytes).reshape(-1, 16)
        change(stored, owners, vectors)
        path.write_bytes(owners.tobytes() + vectors.tobytes())
        stored["sums"] = block_sums(path)
        sql = "UPDATE settings SET value = ? WHERE key = 'stretches'"
        catalog.execute(sql, (json.dumps(stored),))


def _set(name, value):
    return lambda stored, _owners, _vectors: stored.update({name: value})


FORGED = {
    "owners in no order": lambda _stored, owners, _vectors: owners.sort() or owners[::-1].sort(),
    "owners of later clips": lambda _stored, owners, _vectors: owners.__setitem__(-1, 1 << 60),
    "owners of nothing": lambda _stored, owners, _vectors: owners.fill(-(1 << 60)),
    "no stretches": _set("count", 0),
    "more stretches": _set("count", 1 << 40),
    "fewer rows": _set("rows", 7),
    "more rows": _set("rows", 1 << 40),
    "rows of later clips": lambda stored, owners, _vectors: (
        stored.update(rows=1 << 40),
        owners.__setitem__(-1, 1 << 39),
    ),
    "another version's": _set("kind", [2, 1, 11]),
    "other stretches": _set("kind", [1, 1, 5]),
    "a file elsewhere": _set("name", "../stretches-1-4799"),
    "an index of another kind": _set("index", 3),
    "an untuned index": _set("index", {"sums": [], "trained": 3}),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_file_is_not_trusted(store, folder, tmp_path, how):
    expected = derived(folder, tmp_path)
    forge(folder, FORGED[how])
    with closing(LocalStore(folder)) as forged:
        alike(answers(forged), expected, 0.9 if how == "more rows" else 1)  # which is no harm


def test_a_forged_index_that_names_what_is_not_there(store, folder, tmp_path):
    expected = derived(folder, tmp_path)
    path = folder / "stretches-1-4799.faiss"
    index = faiss.read_index(str(path))
    for cell in range(index.nlist):
        if size := index.invlists.list_size(cell):
            faiss.rev_swig_ptr(index.invlists.get_ids(cell), size)[:] = 1 << 50
    faiss.write_index(index, str(path))
    forge(folder, lambda stored, *_: stored["index"].update(sums=block_sums(path)))
    with closing(LocalStore(folder)) as forged:
        alike(answers(forged), expected, 1)


def test_vectors_that_are_not_numbers_are_nobodys(store, folder):
    forge(folder, lambda _stored, _owners, vectors: vectors[:50].fill(np.nan))
    with closing(LocalStore(folder)) as forged:
        found = answers(forged)
        assert np.isfinite(found[1]).all() and np.isfinite(found[5]).all()
        assert not found[5][:50].any()


def test_a_reading_whose_file_is_gone_says_that_something_changed(store, folder):
    with closing(LocalStore(folder)) as reader:
        with reader.reading() as reading:
            assert len(reading.ids()) == 599
            filled(store, clips(range(600, 700)))
            with store.writing():
                store.optimise()
            with pytest.raises(ClipChanged):
                reading.search_pooled(QUERIES, 1)
        assert answers(reader)[0].shape == (100, 10)


def test_damaged_segments_are_pooled_to_nothing_and_named(folder, monkeypatch):
    monkeypatch.setattr(stretching, "FEW_ROWS", 100)
    with closing(LocalStore.create(folder, SETTINGS)) as store:
        ids = filled(store, clips(range(1, 50)))
        with open(folder / "vectors-1.f32", "r+b") as file:
            file.seek(64 * 2 + 10)
            file.write(b"\x11")  # of the first clip, of two segments, or the second, of three
        for _ in range(2):
            with store.reading() as reading:
                np.testing.assert_array_equal(np.sort(ids), reading.ids())
                reading.pooled(np.array(ids[2:]))
                reading.search_pooled(QUERIES, 5)
            with store.writing():
                store.optimise()
        assert files(folder) == ["stretches-1-374.f32"]
        with store.reading() as reading, pytest.raises(LibraryDamaged, match=r"/2\.wav"):
            reading.pooled(np.array(ids))
