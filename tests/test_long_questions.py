"""Questions and clips that are long: in blocks as in one piece, and in bounded memory."""

from __future__ import annotations

import tracemalloc
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from support.stores import SETTINGS, filled, new_clip

from soundsearch.asking import ranking, searching
from soundsearch.asking.ranking import RANKINGS, span_blocks
from soundsearch.asking.searching import best_moments, find_hits
from soundsearch.stores.opening import create_store, place_of
from soundsearch.vectors import loudness_weights


def random_sound(rng, count, dimension=8):
    vectors = rng.normal(0, 2, (count, dimension)).astype(np.float32)
    return vectors, loudness_weights(rng.uniform(-60, 10, count).astype(np.float32))


def plainly(name, query, query_weights, vectors, weights):
    """The score of one span, as it is defined."""

    def unit(x):
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    pairs = unit(query) @ unit(vectors).T
    if name == "best-pair":
        return pairs.max()
    if name == "mean-best":
        return pairs.max(axis=1) @ query_weights / query_weights.sum()
    width = min(len(query), len(vectors))
    weighted = vectors.astype(np.float64) * weights[:, None]
    windows = [weighted[i : i + width].sum(0) for i in range(len(vectors) - width + 1)]
    return (unit(np.array(windows)) @ unit(query_weights @ query)).max()


@pytest.mark.parametrize("name", RANKINGS)
def test_scores_in_small_blocks_are_those_defined(name, monkeypatch):
    monkeypatch.setattr(ranking, "_ROWS", 7)
    monkeypatch.setattr(ranking, "_PAIRS", 50)
    rng = np.random.default_rng(0)
    for _ in range(30):
        query = random_sound(rng, int(rng.integers(1, 25)))
        lengths = rng.integers(1, 40, 12)
        starts = np.cumsum(lengths) - lengths
        vectors, weights = random_sound(rng, int(lengths.sum()))
        scores, moments = RANKINGS[name](*query, vectors, weights, starts)
        for begin, length, score, moment in zip(starts, lengths, scores, moments, strict=True):
            part = slice(begin, begin + length)
            assert score == pytest.approx(
                plainly(name, *query, vectors[part], weights[part]), abs=1e-5
            )
            assert begin <= moment < begin + length


def test_a_long_question_is_pooled_whole_and_compared_in_part(monkeypatch):
    monkeypatch.setattr(ranking, "_ONE_BY_ONE", 8)
    rng = np.random.default_rng(1)
    query, shares = random_sound(rng, 50)
    vectors, weights = random_sound(rng, 90)
    spread = np.linspace(0, 49, 8).astype(int)
    for name in RANKINGS:
        [score], _ = RANKINGS[name](query, shares, vectors, weights, np.array([0]))
        asked = (query, shares) if name == "pooled" else (query[spread], shares[spread])
        assert score == pytest.approx(plainly(name, *asked, vectors, weights), abs=1e-5)


@pytest.mark.parametrize("name", RANKINGS)
def test_memory_does_not_grow_with_the_pairs(name):
    rng = np.random.default_rng(2)
    query, clip = random_sound(rng, 40_000, 16), random_sound(rng, 45_000, 16)
    tracemalloc.start()
    RANKINGS[name](*query, *clip, np.array([0, 5]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6  # all pairs would be 7.2 GB


def test_blocks_hold_every_window_and_few_rows(monkeypatch):
    monkeypatch.setattr(ranking, "_ROWS", 20)
    monkeypatch.setattr(ranking, "_WIDEST", 16)
    rng = np.random.default_rng(3)
    for _ in range(100):
        width = int(rng.integers(1, 17))
        found = [
            (n, int(first), int(first + rng.integers(1, 120)))
            for n, first in enumerate(rng.integers(0, 9, 8))
        ]
        blocks = list(span_blocks(found, width))
        assert all(sum(last - first for _, first, last in block) < 20 + 32 for block in blocks)
        parts = [part for block in blocks for part in block]
        assert [clip for clip, *_ in parts] == sorted(clip for clip, *_ in parts)
        for clip, first, last in found:
            own = [(a, b) for n, a, b in parts if n == clip]
            windows = [(i, i + width) for i in range(first, max(first + 1, last - width + 1))]
            for begin, end in windows:
                assert sum(a <= begin and min(end, last) <= b for a, b in own) == 1


def test_what_is_near_to_the_whole_is_found_among_many_that_are_near_to_a_part(tmp_path):
    """Twelve sounds after each other, a dozen clips of each, and one clip of all at once."""
    sounds, of_all = np.eye(16, dtype=np.float32)[:12], np.ones((1, 16), np.float32)
    clips = [
        replace(new_clip(f"/{n}", 1, n), embeddings=vector)
        for n, vector in enumerate([*np.repeat(sounds, 12, axis=0)[:, None], of_all], 1)
    ]
    with closing(create_store(place_of(tmp_path / "l"), SETTINGS)) as store:
        ids = filled(store, clips)
        with store.reading() as reading:
            what = reading, store.settings, sounds, np.zeros(12, np.float32), 1
            first = {name: find_hits(*what, name)[0] for name in RANKINGS}
    assert first["pooled"].clip_id == ids[-1]
    assert first["pooled"].score == pytest.approx(np.sqrt(12) / 4, abs=1e-6)
    assert first["mean-best"].clip_id == ids[-1]
    assert first["best-pair"].score == pytest.approx(1)


@pytest.mark.slow
def test_a_store_answers_in_blocks_as_in_one(store, monkeypatch):
    """A question as long as a clip, beside longer and shorter ones."""
    clips = [new_clip(f"/{n}", count, n) for n, count in enumerate((60, 200, 60, 5, 1, 90, 7), 1)]
    ids = filled(store, clips)
    query, levels = clips[0].embeddings, clips[0].segments["level"]
    with store.reading() as reading:
        what = reading, store.settings, query, levels, 9
        expected = {name: find_hits(*what, name, without=frozenset(ids[:1])) for name in RANKINGS}
        monkeypatch.setattr(ranking, "_ROWS", 50)
        told = []
        for name, hits in expected.items():
            told.clear()
            found = find_hits(
                *what, name, without=frozenset(ids[:1]), on_compared=lambda *of: told.append(of)
            )
            assert [hit.clip_id for hit in found] == [hit.clip_id for hit in hits]
            assert [hit.start for hit in found] == [hit.start for hit in hits]
            assert [h.score for h in found] == pytest.approx([h.score for h in hits], abs=1e-6)
            assert len(told) > 2 and told == sorted(told)
            assert all(total == told[0][1] for _, total in told) and told[-1][0] == told[0][1]
        # A span that is cut has the best window of its parts.
        monkeypatch.setattr(ranking, "_WIDEST", 70)
        weights = loudness_weights(levels)
        [(_, best)] = best_moments(reading, query, weights, [(ids[1], 0, 200)], "pooled").items()
        [row] = [hit for hit in expected["pooled"] if hit.clip_id == ids[1]]
        assert best.score == pytest.approx(row.score, abs=1e-6)
        assert best.number == round(row.start / 0.96)


def test_a_search_stays_bounded_where_every_clip_is_long(tmp_path, monkeypatch):
    """What is held at a time are some rows, however many there are to compare."""
    held = []
    score = RANKINGS["pooled"]

    def counting(query, shares, vectors, weights, starts):
        held.append(len(vectors))
        return score(query, shares, vectors, weights, starts)

    monkeypatch.setitem(RANKINGS, "pooled", counting)
    monkeypatch.setattr(ranking, "_ROWS", 300)
    monkeypatch.setattr(searching, "_SEGMENTS", 2000)
    clips = [new_clip(f"/{n}", 250, n) for n in range(12)]
    with closing(create_store(place_of(tmp_path / "l"), SETTINGS)) as store:
        filled(store, clips)
        with store.reading() as reading:
            what = clips[3].embeddings, clips[3].segments["level"]
            find_hits(reading, store.settings, *what, 11, "pooled")
    assert sum(held) == 12 * 250 and max(held) <= 300
