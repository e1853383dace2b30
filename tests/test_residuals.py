"""Shards keep what lies between vectors and their cells: what is near is found by it."""

import faiss
import numpy as np
import pytest

from soundsearch.stores.local.building import build, extend
from soundsearch.stores.local.shards import Shards
from soundsearch.vectors import unit


def silent(_text):
    """Where nobody wants to know the steps."""


def found(path, queries, count):
    """Rows that seem nearest, of all cells."""
    shards = Shards([path], queries.shape[1])
    cells = shards.nearest_cells(queries, shards.cells)
    return shards.search(queries, count, *cells)


def recall(rows, queries, vectors):
    """The share of the ten nearest that are among some rows."""
    nearest = np.argsort(-(queries @ unit(vectors).T), axis=1)[:, :10]
    return np.mean([len(np.intersect1d(*pair)) / 10 for pair in zip(rows, nearest, strict=True)])


@pytest.mark.parametrize("dimension", [16, 100, 128, 1024])
def test_few_candidates_hold_the_nearest_also_far_from_the_origin(tmp_path, dimension):
    rng = np.random.default_rng(dimension)
    # As of encoders whose embeddings share one direction: cosines of all pairs are above 0.9.
    shared = rng.normal(0, 1, dimension) * 10 / np.sqrt(dimension)
    vectors, queries = (
        (shared + rng.normal(0, 2 / np.sqrt(dimension), (n, dimension))).astype(np.float32)
        for n in (4000, 200)
    )
    queries = unit(queries)
    build(vectors, tmp_path / "index.faiss", silent)
    assert recall(found(tmp_path / "index.faiss", queries, 15), queries, vectors) > 0.99


def test_what_is_unlike_all_that_the_cells_were_made_of_is_found(tmp_path):
    rng = np.random.default_rng(0)
    alike = 1 + rng.normal(0, 0.01, (5000, 128)).astype(np.float32)
    others = rng.normal(0, 1, (20, 128)).astype(np.float32)
    build(alike, tmp_path / "old.faiss", silent)
    extend(np.concatenate((alike, others)), tmp_path / "old.faiss", tmp_path / "index.faiss")
    rows = found(tmp_path / "index.faiss", unit(others), 10)
    assert (rows == np.arange(5000, 5020)[:, None]).any(axis=1).all()


def test_a_query_without_sound_is_answered(tmp_path):
    vectors = np.random.default_rng(0).normal(0, 1, (500, 16)).astype(np.float32)
    vectors[:5] = 0
    build(vectors, tmp_path / "index.faiss", silent)
    rows = found(tmp_path / "index.faiss", np.zeros((2, 16), np.float32), 7)
    assert (rows >= 0).all()


def test_an_index_of_8_bit_vectors_is_extended_as_it_is_and_stays_apart(tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 1, (3000, 16)).astype(np.float32)
    earlier = faiss.index_factory(16, "IVF50,SQ8", faiss.METRIC_INNER_PRODUCT)
    earlier.by_residual = False
    earlier.train(unit(vectors[:2000]))
    earlier.add(unit(vectors[:2000]))
    faiss.write_index(earlier, str(tmp_path / "earlier.faiss"))
    extend(vectors, tmp_path / "earlier.faiss", tmp_path / "extended.faiss")
    queries = unit(rng.normal(0, 1, (100, 16)).astype(np.float32))
    assert recall(found(tmp_path / "extended.faiss", queries, 20), queries, vectors) > 0.99

    now = faiss.read_index(str(tmp_path / "earlier.faiss"))
    now.by_residual = True
    faiss.write_index(now, str(tmp_path / "now.faiss"))
    with pytest.raises(ValueError, match=r"now\.faiss: is not an index of these vectors"):
        Shards([tmp_path / "earlier.faiss", tmp_path / "now.faiss"], 16)
