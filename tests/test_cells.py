"""Cells of the local index, found through groups: no row is missed for want of one."""

from __future__ import annotations

import numpy as np
import pytest
from support.stores import index_over, vectors_of

from soundsearch.stores.local import index as local_index
from soundsearch.stores.local.building import build, extend, fill, write
from soundsearch.stores.local.shards import Bitmap, Shards, load_faiss
from soundsearch.vectors import unit


@pytest.fixture(autouse=True)
def small_filters(monkeypatch):
    monkeypatch.setattr(local_index, "_FEW_CHOSEN", 100)


def test_the_nearest_cells_are_found(tmp_path):
    vectors, queries = vectors_of(20_000), unit(vectors_of(200, 1))
    path = tmp_path / "1.faiss"
    build(vectors, path, lambda _text: None)
    opened = Shards([path], 16)
    middles = opened.middles()
    np.testing.assert_allclose(np.linalg.norm(middles, axis=1), 1, atol=1e-4)
    exact = queries @ middles.T
    order = np.argsort(-exact, axis=1)
    for count in (1, 8, 64, opened.cells):
        cells, scores = opened.nearest_cells(queries, count)
        np.testing.assert_allclose(scores, np.take_along_axis(exact, cells, 1), atol=1e-5)
        is_near = scores >= np.take_along_axis(exact, order[:, count - 1 : count], 1) - 1e-5
        assert is_near.mean() > 0.99
        assert opened.middles_compared(count) <= opened.cells + 64
    some = np.zeros(opened.cells, np.bool_)
    some[::50] = True
    cells, _ = opened.nearest_cells(queries, 10, Bitmap(some))
    allowed = np.flatnonzero(some)
    assert np.array_equal(cells, allowed[np.argsort(-exact[:, allowed], axis=1)[:, :10]])
    # Each row lies in its nearest cell, but for a few, which lie in one that is hardly farther.
    owner = np.empty(20_000, np.int64)
    for cell, rows in enumerate(opened.rows_by_cell(0)):
        owner[rows] = cell
    near = unit(vectors) @ middles.T
    lost = near.max(axis=1) - near[np.arange(20_000), owner]
    assert (lost > 1e-5).mean() < 0.03


def test_all_that_is_there_is_found_when_all_is_wanted(tmp_path):
    rng = np.random.default_rng(0)
    # Of sounds that are nearly alike, a graph of cells leads from few to others.
    vectors = np.repeat(rng.normal(size=(30, 16)), 200, axis=0) + rng.normal(size=(6000, 16)) / 1000
    vectors = vectors.astype(np.float32)
    path = tmp_path / "1.faiss"
    build(vectors, path, lambda _text: None)
    index, queries = index_over(vectors, np.arange(6000), path), unit(vectors[::600])
    for count in (1, 20, 128, 200, 256):
        assert (Shards([path], 16).nearest_cells(queries, count)[0] >= 0).all()
    for k in (1000, 6000, 9000):
        rows, _ = index.search(queries, k)
        assert [len(set(found) - {-1}) for found in rows.tolist()] == [min(k, 6000)] * 10


def test_cells_of_an_earlier_version_are_all_found(tmp_path):
    vectors = vectors_of(6000)
    index = load_faiss().index_factory(16, "IVF256_HNSW8,SQ8", load_faiss().METRIC_INNER_PRODUCT)
    index.train(unit(vectors))
    path = tmp_path / "1.faiss"
    fill(index, vectors, 0, 5000)
    write(index, path)
    extend(vectors, path, path)
    made = index_over(vectors, np.arange(6000), path)
    some = np.arange(0, 6000, 7)
    for among, parts in ((np.arange(6000), None), (some, made.among(some))):
        rows, _ = made.search(unit(vectors[::600]), 6000, parts)
        assert [sorted(set(found) - {-1}) for found in rows.tolist()] == [among.tolist()] * 10


def test_rare_sounds_among_what_is_nearly_alike_are_in_a_cell(tmp_path):
    # Groups of cells are alike where the hum is, and those of the rare sounds have few rows.
    rng = np.random.default_rng(1)
    vectors = 1 + rng.normal(0, 1e-3, (8000, 16)).astype(np.float32)
    rare = np.flatnonzero(rng.random(8000) < 0.005)
    vectors[rare] = rng.normal(size=(len(rare), 16))
    path = tmp_path / "1.faiss"
    build(vectors[:7000], path, lambda _text: None)
    extend(vectors, path, path)
    assert Shards([path], 16).sizes.sum() == 8000
    rows, scores = index_over(vectors, np.arange(8000), path).search(unit(vectors[rare]), 8000)
    assert (np.sort(rows, axis=1) == np.arange(8000)).all()
    assert (rows[:, 0] == rare).all() and scores[:, 0] == pytest.approx(1, abs=1e-5)
