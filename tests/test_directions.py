"""Searching along directions, and the labels that people gave: what questions by label need."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.stores import CLIPS, filled, new_clip

from soundsearch.stores.filters import And, Comparison, HumanLabel, Not, Plain, matches
from soundsearch.stores.local import indexing, products
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.local.sums import block_sums
from soundsearch.stores.records import NewClip, Settings
from soundsearch.vectors import scores_along


def test_directions_equal_brute_force(store):
    ids = filled(store, CLIPS)
    rng = np.random.default_rng(0)
    groups = [
        (rng.normal(size=(count, 16)).astype(np.float32), rng.normal(size=count).astype("f4"))
        for count in (1, 3)
    ]
    long = Comparison(Plain("segments"), ">", 2.0)
    for along in (groups[:1], groups[1:], groups):
        for filter, those in (
            (None, CLIPS),
            (long, [clip for clip in CLIPS if len(clip.segments) > 2]),
        ):
            owners = [
                (id, number)
                for id, clip in zip(ids, CLIPS, strict=True)
                if clip in those
                for number in range(len(clip.segments))
            ]
            scores = scores_along(np.concatenate([clip.embeddings for clip in those]), along)
            order = [owners[row] for row in np.argsort(-scores)]
            with store.reading() as reading:
                for k in (1, 7, 1000):
                    clips, numbers = reading.highest(along, k, filter)
                    assert list(zip(clips.tolist(), numbers.tolist(), strict=True)) == order[:k]
                assert reading.ids(long).tolist() == sorted(ids[n] for n in (0, 2, 3))
                none = And((long, Not(long)))
                assert not len(reading.ids(none)) and not len(reading.highest(along, 5, none)[0])


def test_an_empty_store_has_no_directions(store):
    along = [(np.ones((1, 16), np.float32), np.zeros(1, np.float32))]
    with store.reading() as reading:
        assert not len(reading.highest(along, 5)[0])


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A local store with an index, part of which is not in it or removed; its live vectors."""
    monkeypatch.setattr(indexing, "EXACT_ROWS", 1000)
    monkeypatch.setattr(products, "_SCORED", 1500)
    monkeypatch.setattr(products, "_SCORED_PER_RESULT", 4)
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(40, 16))
    vectors = (middles[rng.integers(0, 40, 8000)] + 0.3 * rng.normal(size=(8000, 16))) * (
        rng.lognormal(0, 0.4, (8000, 1))
    )
    store = LocalStore.create(tmp_path / "large", Settings("mini", "mini-1", 16, 0.96, 0.96))
    clips = []
    for number in range(1600):
        clip = new_clip(f"/{number:04}.wav", 5, number, padded=number % 50 == 0)
        part = vectors[5 * number : 5 * number + 5].astype(np.float32)
        clips.append(NewClip(record=clip.record, embeddings=part, segments=clip.segments))
    with store.writing():
        store.add(clips[:1500])
        store.optimise()
        store.add(clips[1500:])
        store.remove(range(1, 1600, 7))
    live = [n for n in range(1600) if n % 7]
    yield store, live, np.concatenate([clips[n].embeddings for n in live])
    store.close()


def test_an_index_finds_nearly_all(large):
    store, live, vectors = large
    padded = Comparison(Plain("padded"), "==", True)
    rng = np.random.default_rng(1)
    of_cells = []
    for forget in (False, True):  # what is known of cells, as of an index of an older version
        if forget:
            with store.writing(), store._held.transaction() as _:
                index, tuning = store._held.catalog.index(), store._held.catalog.tuning()
                shards = tuple(replace(shard, cell_sums=None) for shard in index.shards)
                store._held.catalog.set_index(replace(index, shards=shards), tuning)
            store._snapshots._newest = None
        recalls, narrow = [], []
        for _ in range(20):
            along = [(rng.normal(size=(2, 16)).astype(np.float32), rng.normal(size=2).astype("f4"))]
            scores = scores_along(vectors, along).reshape(-1, 5)
            with store.reading() as reading:
                assert reading._snapshot.vectors.index_files is not None
                for filter, found in ((None, recalls), (padded, narrow)):
                    let = [row for row, n in enumerate(live) if filter is None or n % 50 == 0]
                    best = np.sort(scores[let].ravel())[::-1][20]
                    clips, numbers = reading.highest(along, 20, filter)
                    places = np.searchsorted(live, clips - 1)
                    assert (np.array(live)[places] == clips - 1).all() and len(clips) == 20
                    own = scores[places, numbers]
                    assert (np.diff(own) <= 1e-5).all()
                    found.append((own > best).mean())
        assert np.mean(recalls) > 0.97 and min(recalls) > 0.7
        assert np.mean(narrow) == 1
        of_cells.append(reading._snapshot.vectors.products().covered.cells)
        rng = np.random.default_rng(1)
    for part in ("longest", "shortest", "spread", "norms"):
        np.testing.assert_allclose(*(getattr(each, part) for each in of_cells), rtol=1e-6)


def cut(data):
    return data[:-8]


def flipped(data):
    return data[:100] + bytes([data[100] ^ 16]) + data[101:]


def endless(data):
    return np.full(len(data) // 4, np.nan, "<f4").tobytes()


@pytest.mark.parametrize("spoil", [cut, flipped, endless])
def test_a_damaged_file_of_cells_is_done_without(large, spoil):
    store, _, _ = large
    along = [(np.ones((1, 16), np.float32), np.zeros(1, np.float32))]
    with store.reading() as reading:
        before = [part.tolist() for part in reading.highest(along, 20)]
    [path] = Path(store.address).glob("index-*.cells")
    path.write_bytes(spoil(path.read_bytes()))
    if spoil is endless:  # by somebody who knows about checksums
        with store.writing(), store._held.transaction():
            catalog = store._held.catalog
            [shard] = catalog.index().shards
            known = (replace(shard, cell_sums=tuple(block_sums(path))),)
            catalog.set_index(replace(catalog.index(), shards=known), catalog.tuning())
    else:
        [finding] = store.check()
        assert "the index is missing or not what was written" in str(finding)
    store._snapshots._newest = None
    with store.reading() as reading:
        assert [part.tolist() for part in reading.highest(along, 20)] == before


def test_labels_of_people_are_kept_up_to_date(tmp_path):
    store = LocalStore.create(tmp_path / "l", Settings("mini", "mini-1", 16, 0.96, 0.96))
    draw = random.Random(0)
    given = lambda: tuple(draw.sample(range(4), draw.randint(0, 3)))  # noqa: E731
    for step in range(12):
        with store.writing():
            store.add(
                [
                    new_clip(f"/{draw.randrange(40)}.wav", 1, 100 * step + n, human_labels=given())
                    for n in range(6)
                ]
            )
            there = list(store.clips())
            store.remove([draw.choice(there).id])
            some = draw.sample(list(store.clips()), 3)
            fields = {clip.id: clip.record for clip in some}
            store.amend(
                {id: new_clip(r.uri, 1, 1, human_labels=given()).record for id, r in fields.items()}
            )
        for index in range(4):
            filter = Comparison(HumanLabel(frozenset({index})), "==", True)
            let = [clip.id for clip in store.clips() if matches(filter, clip)]
            with store.reading() as reading:
                assert reading.ids(filter).tolist() == let
    store.close()
