"""Files of a local library that are not what was written: found, named, mended."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.stores import CLIPS, SETTINGS, filled, new_clip, rows, search

from soundsearch import errors
from soundsearch.copying import copy
from soundsearch.stores.filters import Comparison, Label
from soundsearch.stores.local import indexing
from soundsearch.stores.local.placing import fill_places
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.opening import place_of
from soundsearch.stores.records import SEGMENT, Counts
from soundsearch.waiting import Patience


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "library"


@pytest.fixture
def store(folder):
    with_store = LocalStore.create(folder, SETTINGS)
    yield with_store
    with_store.close()


def flip(path, bit):
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def ignore(_text):
    pass


NO_PATIENCE = Patience.of(False, ignore)


@pytest.mark.parametrize("name", ["vectors-1.f32", "segments-1.rows"])
def test_any_bit_that_is_flipped_is_found_named_and_mended(store, folder, name, tmp_path):
    ids = filled(store, CLIPS)
    store.close()
    path = folder / name
    width = path.stat().st_size // 51
    rng = random.Random(0)
    for bit in rng.sample(range(path.stat().st_size * 8), 16):
        flip(path, bit)
        row = bit // 8 // width
        at = int(np.searchsorted([3, 4, 44, 51], row, side="right"))
        uri = CLIPS[at].record.uri
        with closing(LocalStore(folder)) as damaged:
            [finding] = damaged.check()
            assert finding.clips == (uri,)
            assert "rebuild" in finding.remedy
            with pytest.raises(errors.LibraryDamaged, match=rf"{uri}.*soundsearch check"):
                rows(damaged, ids[at], 0, 1)
            for other in set(range(4)) - {at}:
                np.testing.assert_array_equal(rows(damaged, ids[other])[0], CLIPS[other].embeddings)
            for clip in CLIPS:
                clips, numbers, scores = search(damaged, clip.embeddings[:1], 51)
                assert np.isfinite(scores[clips >= 0]).all() and (numbers[clips >= 0] >= 0).all()
            target = place_of(tmp_path / "copy")
            with pytest.raises(errors.LibraryDamaged, match=uri):
                copy(damaged, place_of(folder), target, NO_PATIENCE, ignore, ignore)
            shutil.rmtree(target)
        flip(path, bit)
    flip(path, 7)
    with closing(LocalStore(folder)) as damaged:
        said = []
        with damaged.writing():
            assert damaged.rebuild(said.append) == 1
        assert any(CLIPS[0].record.uri in text for text in said)
        assert damaged.check() == []
        assert [clip.id for clip in damaged.clips()] == ids[1:]
        for clip_id, clip in zip(ids[1:], CLIPS[1:], strict=True):
            np.testing.assert_array_equal(rows(damaged, clip_id)[0], clip.embeddings)


def test_what_an_older_version_stored_is_known_after_a_rebuild(store, folder):
    ids = filled(store, CLIPS)
    catalog = sqlite3.connect(folder / "catalog.sqlite")
    with closing(catalog), catalog:
        catalog.execute("UPDATE clips SET checksum = NULL")
        fill_places(catalog)
        catalog.execute("UPDATE settings SET value = value + 1 WHERE key = 'revision'")
    assert store.check() == []
    np.testing.assert_array_equal(rows(store, ids[0])[0], CLIPS[0].embeddings)
    with open(folder / "vectors-1.f32", "r+b") as file:
        file.write(np.float32("nan").tobytes())
        file.seek(3 * 16 * 4)
        file.write(np.float32(-2e38).tobytes())
    assert [finding.clips for finding in store.check()] == [("/sounds/1.wav", "/sounds/2.wav")]
    with closing(LocalStore(folder)) as again:
        with pytest.raises(errors.LibraryDamaged, match=r"/sounds/1\.wav"):
            rows(again, ids[0])
        with again.writing():
            assert again.rebuild() == 2
        flip(folder / "vectors-2.f32", 3)
        assert [finding.clips for finding in again.check()] == [("/sounds/3.wav",)]


@pytest.mark.parametrize("damage", ["x'00'", "zeroblob(36)", "'text'"])
def test_clips_are_counted_where_their_places_are_damaged(store, folder, damage):
    ids = filled(store, CLIPS)
    with store.writing():
        store.remove(ids[:1])
    expected = Counts(len(CLIPS) - 1, sum(len(clip.segments) for clip in CLIPS[1:]), 0)
    assert store.counts() == expected
    catalog = sqlite3.connect(folder / "catalog.sqlite")
    with closing(catalog), catalog:
        catalog.execute(f"UPDATE places SET places = {damage}")
    assert store.counts() == expected


def test_a_zeroed_or_missing_tail_is_found(store, folder):
    filled(store, CLIPS)
    with open(folder / "vectors-1.f32", "r+b") as file:
        file.seek(45 * 64)
        file.write(bytes(6 * 64))
    assert [finding.clips for finding in store.check()] == [("/sounds/4.wav",)]
    os.truncate(folder / "vectors-1.f32", 10 * 64)
    assert [finding.clips for finding in store.check()] == [("/sounds/3.wav", "/sounds/4.wav")]
    (folder / "segments-1.rows").unlink()
    [finding] = store.check()
    assert len(finding.clips) == 4


def test_a_long_clip_is_compared_where_it_is_copied(store, folder):
    [clip_id] = filled(store, [new_clip("/long.wav", 5000, 1)])
    flip(folder / "vectors-1.f32", 4000 * 64 * 8)
    with closing(LocalStore(folder)) as damaged:
        assert rows(damaged, clip_id, 0, 10)[0].shape == (10, 16)
        with pytest.raises(errors.LibraryDamaged, match=r"/long\.wav"):
            rows(damaged, clip_id)


def test_a_damaged_index_is_not_used_and_made_again(store, folder, monkeypatch):
    monkeypatch.setattr(indexing, "EXACT_ROWS", 2000)
    synced = []
    monkeypatch.setattr(indexing, "sync", lambda path: synced.append(path.name))
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 1, (4000, 16)).astype(np.float32)
    made = [
        replace(new_clip(f"/{n}.wav", 1, n), embeddings=part, segments=np.zeros(100, SEGMENT))
        for n, part in enumerate(np.split(vectors[:3000], 30))
    ]
    filled(store, made)
    with store.writing():
        store.optimise()
    assert synced == ["index-1-3000-0-3000.new"]
    assert not list(folder.glob("*.new"))
    path = folder / "index-1-3000-0-3000.faiss"
    assert store.check() == []
    flip(path, path.stat().st_size * 4)
    [finding] = store.check()
    assert path.name in finding.what and finding.clips == ()
    with closing(LocalStore(folder)) as damaged:
        exact = search(damaged, vectors[:50], 3)
        np.testing.assert_allclose(exact[2][:, 0], 1, atol=1e-5)
        # It is not extended either, but made from the vectors.
        extended = []
        monkeypatch.setattr(indexing, "emptied", lambda *_: extended.append(1))
        last = replace(made[0], embeddings=vectors[3000:], segments=np.zeros(1000, SEGMENT))
        filled(damaged, [replace(last, record=new_clip("/last.wav", 1, 99).record)])
        with damaged.writing():
            damaged.optimise()
        assert not extended
        assert damaged.check() == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -2e38])
def test_no_index_is_made_of_damaged_vectors(store, folder, monkeypatch, value):
    monkeypatch.setattr(indexing, "EXACT_ROWS", 1000)
    clips = [new_clip(f"/{n}.wav", 100, n) for n in range(15)]
    ids = filled(store, clips)
    with open(folder / "vectors-1.f32", "r+b") as file:
        file.seek(250 * 64)
        file.write(np.float32(value).tobytes())
    with closing(LocalStore(folder)) as damaged:
        for clip in clips:
            found, _, scores = search(damaged, clip.embeddings[:3], 1500)
            assert np.isfinite(scores[found >= 0]).all()
        with damaged.writing():
            with pytest.raises(errors.LibraryDamaged, match=r"no index.*/2\.wav.* check"):
                damaged.optimise()
            damaged.remove([ids[2]])
            with pytest.raises(errors.LibraryDamaged, match=r"no index.*removed.*rebuild"):
                damaged.optimise()
            assert damaged.rebuild() == 0
        assert damaged.check() == []
        assert (folder / "index-2-1400-0-1400.faiss").exists()


def test_a_check_beside_rebuilds_finds_nothing(store, folder):
    filled(store, CLIPS)
    done = threading.Event()

    def rebuild_on():
        with closing(LocalStore(folder)) as other, other.writing():
            while not done.is_set():
                other.rebuild()

    with ThreadPoolExecutor(1) as pool:
        rebuilding = pool.submit(rebuild_on)
        try:
            found = [store.check() for _ in range(50)]
        finally:
            done.set()
        rebuilding.result()
    assert found == [[]] * 50


def test_sums_cost_next_to_nothing():
    from timeit import timeit

    from soundsearch.stores.local.sums import rows_sum

    stored = np.random.default_rng(0).normal(0, 1, (10_000, 128)).astype(np.float32).tobytes()
    # A segment takes milliseconds to decode and embed.
    assert timeit(lambda: rows_sum(stored, 0), number=3) / 3 / 10_000 < 20e-6


@pytest.mark.parametrize(
    "change",
    ["duration = duration + 1", "labels = zeroblob(40)", "human_labels = x'0100'", "size = 7",
     "warning = 'no'", "tags = '{\"mic\":\"AKG\"}'", "padded = 1 - padded",
     "digest = randomblob(32)", "mtime_ns = mtime_ns + 1"],
)  # fmt: skip
def test_a_record_that_is_not_what_was_stored_is_found_named_and_mended(store, folder, change):
    ids = filled(store, CLIPS)
    store.close()
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog, catalog:
        catalog.execute(f"UPDATE clips SET {change} WHERE id = ?", (ids[1],))
    with closing(LocalStore(folder)) as damaged:
        [finding] = damaged.check()
        assert finding.clips == ("/sounds/2.wav",) and "rebuild" in finding.remedy
        with pytest.raises(errors.LibraryDamaged, match=r"/sounds/2\.wav is damaged"):
            damaged.clip_at("/sounds/2.wav")
        assert damaged.clip_at("/sounds/1.wav").id == ids[0]
        said = []
        with damaged.writing():
            assert damaged.rebuild(said.append) == 1
        assert any("/sounds/2.wav" in text for text in said)
        assert damaged.check() == []
        assert [clip.id for clip in damaged.clips()] == [ids[0], *ids[2:]]


def test_postings_and_settings_that_are_not_what_was_stored_are_found(store, folder):
    filled(store, CLIPS)
    store.close()
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog, catalog:
        [blob] = catalog.execute("SELECT postings FROM postings").fetchone()
        blob = bytes([blob[0] ^ 1]) + blob[1:]
        catalog.execute("UPDATE postings SET postings = ?", (blob,))
    with closing(LocalStore(folder)) as damaged:
        [finding] = damaged.check()
        assert "labels" in finding.what and "rebuild" in finding.remedy
        with pytest.raises(errors.LibraryDamaged, match="postings"), damaged.reading() as reading:
            reading.counts(Comparison(Label(frozenset([1])), ">", 0.5))
        with damaged.writing():
            damaged.rebuild()
        assert damaged.check() == []
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog, catalog:
        catalog.execute("UPDATE settings SET value = '0.86' WHERE key = 'hop'")
    with pytest.raises(errors.LibraryDamaged, match=r"settings.*hop=0\.86"):
        LocalStore(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fault would end the process")
@pytest.mark.parametrize("name", ["vectors-1.f32", "segments-1.rows"])
def test_a_file_that_is_cut_short_while_it_is_mapped_ends_no_reader(store, folder, name):
    [clip] = filled(store, [new_clip("/long.wav", 400, 1)])
    other = LocalStore(folder)
    assert len(rows(other, clip)[0]) == 400  # it is mapped now
    os.truncate(folder / name, 100)
    if (child := os.fork()) == 0:
        code = 1
        try:
            rows(other, clip)
        except errors.LibraryDamaged as error:
            code = 0 if f"{name}: expected at least" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert other.clip_at("/long.wav").id == clip and other.counts().clips == 1
    other.close()


def test_a_library_in_the_place_of_another_is_not_taken_for_it(store, folder, monkeypatch):
    filled(store, CLIPS)
    monkeypatch.chdir(folder.parent)
    with closing(LocalStore(Path(folder.name))) as reader:
        reader.counts()
        monkeypatch.chdir("/")
        assert reader.counts().clips == len(CLIPS)
        asking = (reader.counts, lambda: list(reader.clips()))
        entering = (reader.reading().__enter__, store.writing().__enter__)
        shutil.rmtree(folder)
        for ask in (*asking, *entering):
            with pytest.raises(errors.LibraryNotFound, match="was removed or moved while it was"):
                ask()
        folder.write_text("a file")
        for ask in asking:
            with pytest.raises(errors.LibraryNotFound, match="was removed or moved while it was"):
                ask()
        folder.unlink()
    with closing(LocalStore.create(folder, SETTINGS)) as new:
        filled(new, [new_clip("/new.wav", 3, 9)])
        for ask in (store.counts, lambda: store.clip_at("/new.wav"), store.writing().__enter__):
            with pytest.raises(errors.LibraryError, match="another library was put in the place"):
                ask()
        assert new.clip_at("/new.wav").count == 3 and not new.check()
