"""One vector for each stretch of a clip: every store gives those of brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.stores import CLIPS, SETTINGS, amend, filled, new_clip

from soundsearch.stores.base import ClipChanged
from soundsearch.stores.filters import Comparison, Plain
from soundsearch.stores.pooling import pieces, pool, stretch_counts, stretch_length
from soundsearch.vectors import loudness_weights, unit

LENGTH = 11  # segments in ten seconds
COUNTS = (1, 2, 10, 11, 12, 17, 18, 40, 100)


def stretches_of(clip):
    """Its vectors, one after the other, by the definition."""
    count, levels = len(clip.embeddings), clip.segments["level"]
    begins = [0]
    while begins[-1] + LENGTH < count:
        begins.append(min(begins[-1] + 6, count - LENGTH))
    weighted = clip.embeddings * loudness_weights(levels)[:, None]
    return unit(np.array([weighted[begin : begin + LENGTH].sum(axis=0) for begin in begins]))


def nearest(clips, ids, queries, k):
    """Ids and scores of the nearest clips of each query, by brute force."""
    best = np.array([(unit(queries) @ stretches_of(clip).T).max(axis=1) for clip in clips]).T
    order = np.argsort(-best, axis=1)[:, :k]
    return np.array(ids)[order], np.take_along_axis(best, order, 1)


def same(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


def test_pooled_vectors_are_those_of_brute_force(store):
    clips = [new_clip(f"/{count}.wav", count, count) for count in COUNTS]
    ids = filled(store, clips)
    queries = np.random.default_rng(0).normal(0, 3, (7, 16)).astype(np.float32)
    few = Comparison(Plain("segments"), "<", 12.0)
    with store.reading() as reading:
        assert reading.ids().tolist() == sorted(ids)
        assert reading.ids(few).tolist() == sorted(ids[:4])
        asked = np.array([ids[8], ids[0], ids[8], ids[5]])
        owners, vectors = reading.pooled(asked)
        assert (owners.dtype, vectors.dtype) == (np.int64, np.float32)
        chosen = [clips[8], clips[0], clips[8], clips[5]]
        expected = [stretches_of(clip) for clip in chosen]
        assert owners.tolist() == [n for n, each in enumerate(expected) for _ in each]
        np.testing.assert_allclose(vectors, np.concatenate(expected), atol=1e-6)
        for k in (1, 4, 9):
            same(reading.search_pooled(queries, k), nearest(clips, ids, queries, k))
        assert reading.search_pooled(queries, 1000)[0].shape == (7, 9)
        same(reading.search_pooled(queries, 3, few), nearest(clips[:4], ids, queries, 3))
        assert reading.search_pooled(queries, 3, Comparison(Plain("segments"), "<", 1.0))[
            0
        ].shape == (7, 0)
        assert reading.search_pooled(queries[:0], 3)[0].shape[0] == 0
        assert len(reading.pooled(np.empty(0, np.int64))[0]) == 0
        with pytest.raises(ClipChanged):
            reading.pooled(np.array([ids[0], 10**6]))


def test_pooled_vectors_follow_what_is_written(store):
    ids = filled(store, CLIPS)
    queries = np.random.default_rng(0).normal(0, 3, (5, 16)).astype(np.float32)

    def check(clips, ids):
        with store.reading() as reading:
            same(reading.search_pooled(queries, 9), nearest(clips, ids, queries, 9))
            _, vectors = reading.pooled(np.array(ids))
            expected = np.concatenate([stretches_of(clip) for clip in clips])
            np.testing.assert_allclose(vectors, expected, atol=1e-6)

    check(CLIPS, ids)
    more = [new_clip("/sounds/2.wav", 30, 21), new_clip("/new.wav", 13, 22)]
    filled(store, more)  # one is replaced
    clips = [CLIPS[0], more[0], *CLIPS[2:], more[1]]
    ids = [store.clip_at(clip.record.uri).id for clip in clips]
    check(clips, ids)
    with store.writing():
        store.remove(ids[2:3])
    del clips[2], ids[2]
    check(clips, ids)
    amend(store, ids[0], tags={"a": 1.0})
    for finish in (store.optimise, store.rebuild):
        with store.writing():
            finish()
        check(clips, ids)


def test_parts_of_a_long_clip_have_its_stretches():
    rng = np.random.default_rng(0)
    for count in range(1, 400):
        vectors = rng.normal(0, 1, (count, 4)).astype(np.float32)
        levels = rng.uniform(-40, 0, count).astype(np.float32)
        for length in (1, 2, 7, 11):
            whole = pool(vectors, levels, np.array([count]), length)
            assert len(whole) == stretch_counts(np.array([count]), length)[0]
            parts = [
                pool(vectors[begin:end], levels[begin:end], np.array([end - begin]), length)
                for begin, end in pieces(count, length, 50)
            ]
            np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_damaged_segments_have_no_direction():
    vectors = np.ones((4, 3), np.float32)
    vectors[1, 1], vectors[2] = np.nan, 3e38
    pooled = pool(vectors, np.full(4, -20, np.float32), np.ones(4, np.int64), 11)
    assert pooled.any(axis=1).tolist() == [True, False, False, True]
    assert np.isfinite(pooled).all()


def test_a_clip_of_ten_seconds_is_one_stretch():
    for hop, length in ((0.96, 11), (1.0, 10), (0.1, 100), (0.48, 21), (20.0, 1)):
        assert stretch_length(replace(SETTINGS, hop=hop)) == length
