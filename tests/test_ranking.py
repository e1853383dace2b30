"""Clip scores on vectors whose answers are known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from soundsearch.asking.ranking import RANKINGS, spans
from soundsearch.vectors import loudness_weights

AXES = np.eye(8, dtype=np.float32)
EVEN = np.zeros(100, np.float32)  # levels, dB


def rank(ranking, query, clip, levels, query_levels=EVEN):
    """Score one clip."""
    scores, moments = RANKINGS[ranking](
        query,
        loudness_weights(query_levels[: len(query)]),
        clip,
        loudness_weights(levels),
        np.array([0]),
    )
    return float(scores[0]), int(moments[0])


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("ranking", RANKINGS)
def test_a_clip_matches_itself(ranking):
    clip = np.random.default_rng(0).normal(0, 3, (7, 8)).astype(np.float32)
    score, moment = rank(ranking, clip, clip, EVEN[:7])
    assert score == pytest.approx(1, abs=1e-6)
    assert 0 <= moment < 7


@pytest.mark.parametrize("ranking", RANKINGS)
def test_scores_are_cosines(ranking):
    rng = np.random.default_rng(1)
    for _ in range(50):
        query = rng.normal(0, 5, (rng.integers(1, 6), 8)).astype(np.float32)
        clip = rng.normal(0, 5, (rng.integers(1, 20), 8)).astype(np.float32)
        score, moment = rank(ranking, query, clip, EVEN[: len(clip)])
        assert -1 - 1e-6 <= score <= 1 + 1e-6
        assert 0 <= moment < len(clip)


def test_pooled_is_the_cosine_of_raw_means():
    rng = np.random.default_rng(2)
    query, clip = rng.normal(0, 1, (2, 5, 8)).astype(np.float32)
    score, _ = rank("pooled", query, clip, EVEN[:5])
    assert score == pytest.approx(cosine(query.mean(0), clip.mean(0)), abs=1e-6)


def test_pooled_finds_a_short_event_in_a_long_recording():
    clip = np.tile(AXES[0] * 5, (60, 1))
    clip[33:35] = AXES[1]
    score, moment = rank("pooled", AXES[[1, 1]], clip, EVEN[:60])
    assert score == pytest.approx(1)
    assert moment in (33, 34)


def test_loud_segments_count_more():
    clip = AXES[[0, 1, 0, 0, 0]]
    levels = np.array([-80, 0, -80, -80, -80], np.float32)  # one sound, silence around it
    score, _ = rank("pooled", np.tile(AXES[1], (5, 1)), clip, levels)
    assert score == pytest.approx(1, abs=1e-3)
    score, _ = rank("pooled", clip, np.tile(AXES[1], (5, 1)), EVEN[:5], levels)
    assert score == pytest.approx(1, abs=1e-3)
    score, _ = rank("mean-best", clip, np.tile(AXES[1], (5, 1)), EVEN[:5], levels)
    assert score == pytest.approx(1 / 1.04, abs=1e-3)
    softer = rank("pooled", AXES[:2], clip, levels - 30)
    assert softer == pytest.approx(rank("pooled", AXES[:2], clip, levels))


def test_spans_hold_every_window_that_holds_a_hit():
    rng = np.random.default_rng(3)
    for _ in range(200):
        count, length = int(rng.integers(1, 60)), int(rng.integers(1, 12))
        hits = rng.integers(0, count, rng.integers(1, 6))
        found = spans(hits, length - 1, count)
        assert all(a[1] < b[0] for a, b in pairwise(found))
        assert found[0][0] >= 0 and found[-1][1] <= count
        for hit in hits:
            for start in range(max(0, hit - length + 1), min(hit, count - length) + 1):
                assert any(a <= start and start + length <= b for a, b in found)


@pytest.mark.parametrize("ranking", RANKINGS)
def test_many_clips_at_once_score_as_one_by_one(ranking):
    rng = np.random.default_rng(4)
    query = rng.normal(0, 1, (3, 8)).astype(np.float32)
    lengths = rng.integers(1, 9, 30)
    starts = np.cumsum(lengths) - lengths
    vectors = rng.normal(0, 1, (lengths.sum(), 8)).astype(np.float32)
    levels = rng.uniform(-60, 10, len(vectors)).astype(np.float32)
    scores, moments = RANKINGS[ranking](
        query, loudness_weights(EVEN[:3]), vectors, loudness_weights(levels), starts
    )
    for start, length, score, moment in zip(starts, lengths, scores, moments, strict=True):
        part = slice(start, start + length)
        alone, alone_moment = rank(ranking, query, vectors[part], levels[part])
        assert score == pytest.approx(alone, abs=1e-6)
        assert moment == start + alone_moment
