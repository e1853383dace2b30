"""Retrieval metrics: cases worked out by hand, and trec_eval on the same rankings."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest

import soundsearch
from soundsearch import errors
from soundsearch.evaluate import (
    MEASURES,
    average_precision,
    evaluate,
    ndcg_at,
    precision_at,
    r_precision,
    reciprocal_rank,
    retrieval,
)


@pytest.mark.parametrize(
    ("relevant", "k", "expected"),
    [
        ([1, 0, 1, 1], 1, 1),
        ([1, 0, 1, 1], 2, 1 / 2),
        ([1, 0, 1, 1], 3, 2 / 3),
        ([0, 0], 1, 0),
        ([1, 1], 5, 2 / 5),  # what was not found is not relevant
        ([], 1, 0),
    ],
)
def test_precision_at(relevant, k, expected):
    assert precision_at(relevant, k) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("relevant", "options", "expected"),
    [
        ([1, 0, 1, 0], {}, (1 + 2 / 3) / 2),
        ([0, 1, 0, 0, 1, 1], {}, (1 / 2 + 2 / 5 + 3 / 6) / 3),
        ([1, 1, 1], {}, 1),
        ([0, 0], {}, 0),
        ([], {}, 0),
        # Two more that are relevant were not found.
        ([1, 0, 1, 0], {"total": 4}, (1 + 2 / 3) / 4),
        # Cut: what comes later counts as not found, as in trec_eval's map_cut.
        ([1, 0, 1, 0], {"depth": 2}, 1 / 2),
        ([1, 0, 1, 0], {"depth": 3}, (1 + 2 / 3) / 2),
        ([1, 0, 1, 0], {"depth": 99}, (1 + 2 / 3) / 2),
        ([0, 0, 1], {"depth": 2}, 0),
        ([1, 0, 1, 0], {"depth": 2, "total": 4}, 1 / 4),
    ],
)
def test_average_precision(relevant, options, expected):
    assert average_precision(relevant, **options) == pytest.approx(expected)


def test_measures_of_one_query():
    relevant = [0, 1, 0, 1]
    assert r_precision(relevant) == 1 / 2
    assert r_precision(relevant, total=5) == 2 / 5
    assert reciprocal_rank(relevant) == 1 / 2
    best = 1 + 1 / np.log2(3)
    assert ndcg_at(relevant, 10) == pytest.approx((1 / np.log2(3) + 1 / np.log2(5)) / best)
    assert ndcg_at([1, 0, 0], 2, total=9) == pytest.approx(1 / best)
    for nothing in (r_precision([0, 0]), reciprocal_rank([0]), ndcg_at([], 10), ndcg_at([0], 1)):
        assert nothing == 0


@pytest.mark.parametrize("depth", [None, 1, 7, 60])
def test_measures_are_trec_evals(depth):
    rng = np.random.default_rng(depth)
    classes = rng.integers(0, 6, 60)
    groups = rng.integers(0, 25, 60)
    scores = rng.normal(size=(60, 60))
    found = retrieval(scores, classes, groups, depth=depth)
    judged, ranked = [], []
    for query in range(60):
        others = np.flatnonzero(groups != groups[query])
        judged += [
            ir_measures.Qrel(str(query), str(i), int(classes[i] == classes[query])) for i in others
        ]
        ranked += [
            ir_measures.ScoredDoc(str(query), str(i), scores[query, i])
            for i in others[np.argsort(-scores[query, others])][:depth]
        ]
    names = ("P@1", "P@5", "Rprec", "AP", "RR", "nDCG@10")
    measures = [ir_measures.parse_measure(name) for name in names]
    row = {query: i for i, query in enumerate(found.names)}
    seen = 0
    for value in ir_measures.iter_calc(measures, judged, ranked):
        if value.query_id in row:  # the others have nothing to find
            column = measures.index(value.measure)
            assert found.values[row[value.query_id], column] == pytest.approx(value.value)
            seen += 1
    assert seen == found.values.size > 0


def test_impossible_arguments():
    for impossible in (
        lambda: r_precision([1, 1], total=1),
        lambda: ndcg_at([1, 1], 0),
        lambda: retrieval(np.zeros((2, 2)), [1, 1], depth=0),
        lambda: average_precision([1, 1], total=1),
        lambda: average_precision([1, 1], depth=0),
        lambda: precision_at([1, 1], 0),
        lambda: precision_at([[1, 1]], 1),
    ):
        with pytest.raises(errors.ArgumentError):
            impossible()


# Items 0, 1 and 3 are of a class a, 2 and 4 of b; 0 and 1 were cut from one recording.
CLASSES = ["a", "a", "b", "a", "b"]
GROUPS = [0, 0, 1, 2, 3]
SCORES = np.array(
    [
        [9.0, 8, 7, 6, 5],  # without groups: a b a b, with: b a b
        [8.0, 9, 5, 7, 6],  # a a b b; with: a b b
        [7.0, 5, 9, 4, 6],  # a b a a
        [6.0, 7, 4, 9, 8],  # b a a b
        [5.0, 6, 7, 8, 9],  # a b a a
    ]
)


def test_retrieval_leaves_the_query_out():
    found = retrieval(SCORES, CLASSES)
    precisions = [1, 1, 0, 0, 0]
    averages = [(1 + 2 / 3) / 2, (1 + 2 / 2) / 2, 1 / 2, (1 / 2 + 2 / 3) / 2, 1 / 2]
    assert found.queries == 5
    assert found.means()["P@1"] == pytest.approx(np.mean(precisions))
    assert found.means()["mAP"] == pytest.approx(np.mean(averages))


def test_retrieval_leaves_the_querys_group_out():
    found = retrieval(iter(SCORES), CLASSES, GROUPS)
    averages = [1 / 2, 1, 1 / 2, (1 / 2 + 2 / 3) / 2, 1 / 2]
    assert found.means()["P@1"] == pytest.approx(1 / 5)
    assert found.means()["mAP"] == pytest.approx(np.mean(averages))
    cut = retrieval(SCORES, CLASSES, GROUPS, depth=1)
    assert cut.means()["mAP"] == pytest.approx(np.mean([0, 1, 0, 0, 0]))


def test_queries_without_relevant_items_do_not_count():
    found = retrieval(SCORES, ["a", "a", "b", "c", "b"], GROUPS)
    assert found.queries == 2  # 0 and 1 have only each other, and 3 is alone
    assert found.means()["mAP"] == pytest.approx(1 / 2)
    with pytest.raises(errors.ArgumentError, match="nothing to find"):
        retrieval(SCORES, list("abcde"))


def test_equal_scores_rank_in_their_order():
    even = np.zeros((3, 3))
    assert retrieval(even, ["a", "a", "b"]).means()["P@1"] == 1
    assert retrieval(even, ["a", "b", "a"]).means()["P@1"] == 1 / 2


@pytest.mark.parametrize(
    ("scores", "classes", "groups"),
    [
        (np.zeros((2, 3)), ["a", "a", "a"], None),
        (np.zeros((4, 3)), ["a", "a", "a"], None),
        (np.zeros((3, 2)), ["a", "a", "a"], None),
        (np.full((3, 3), np.nan), ["a", "a", "a"], None),
        (np.zeros((3, 3)), ["a", "a", "a"], [0, 1]),
        (np.zeros((0, 0)), [], None),
    ],
)
def test_mismatched_arguments_are_refused(scores, classes, groups):
    with pytest.raises(errors.ArgumentError):
        retrieval(scores, classes, groups)


def noisy_scores(classes, noise, seed):
    """Scores that tell classes apart, the better the less noise."""
    rng = np.random.default_rng(seed)
    return (classes[:, None] == classes) + rng.normal(0, noise, (len(classes), len(classes)))


def test_an_interval_holds_the_mean_of_other_groups_as_often_as_it_says():
    classes = np.repeat(np.arange(20), 10)
    means = [retrieval(noisy_scores(classes, 1.0, s), classes).means()["mAP"] for s in range(20)]
    within = 0
    for seed in range(20, 60):
        low, high = retrieval(noisy_scores(classes, 1.0, seed), classes).intervals()["mAP"]
        within += low <= np.mean(means) <= high
    assert 33 <= within <= 40  # 95 % of 40, give or take chance


def test_an_interval_counts_groups_not_queries():
    classes = np.repeat(np.arange(20), 10)
    found = retrieval(noisy_scores(classes, 0.8, 1), classes)
    # Ten copies of each query tell nothing new.
    copied = type(found)(
        found.names * 10,
        np.tile(found.classes, 10),
        np.tile(found.groups, 10),
        np.tile(found.values, (10, 1)),
    )
    for name, interval in copied.intervals().items():
        assert interval == pytest.approx(found.intervals()[name])


def test_a_change_is_told_from_chance():
    classes = np.repeat(np.arange(20), 10)
    found = retrieval(noisy_scores(classes, 1.0, 1), classes)
    same = found.changes(retrieval(noisy_scores(classes, 1.0, 2), classes))["mAP"]
    better = found.changes(retrieval(noisy_scores(classes, 0.8, 3), classes))["mAP"]
    assert same.p > 0.01
    assert better.p < 0.001
    assert better.difference > 0
    assert all(change == (0, 1) for change in map(pair, found.changes(found).values()))
    with pytest.raises(errors.ArgumentError, match="same queries"):
        found.changes(retrieval(noisy_scores(classes[:10], 1.0, 1), classes[:10]))


def pair(change):
    return change.difference, change.p


def test_a_change_in_one_group_is_chance():
    classes, groups = np.repeat(np.arange(2), 50), np.arange(100)
    found = retrieval(noisy_scores(classes, 1.0, 1), classes, groups)
    one = type(found)(found.names, found.classes, found.groups * 0, found.values)
    better = type(found)(one.names, one.classes, one.groups, one.values + 0.1)
    assert one.changes(better)["mAP"].p > 0.9  # a fair coin comes up one way or the other


def test_a_library_is_asked_with_its_clips(tmp_path, sounds):
    with soundsearch.open(tmp_path / "l") as lib:
        lib.ingest([sounds])
        uris = [clip.uri for clip in lib]
        classes = {uri: index % 2 for index, uri in enumerate(uris)}
        asked: list[str] = []
        found = evaluate(lib, classes | {"/nowhere": 1}, on_clip=asked.append)
        assert sorted(asked) == list(found.names) == sorted(uris)
        for row, uri in zip(found.values, found.names, strict=True):
            near = [classes[hit.uri] == classes[uri] for hit in lib.similar(uri, 99)]
            expected = [precision_at(near, 1), precision_at(near, 5), r_precision(near)]
            expected += [average_precision(near), reciprocal_rank(near), ndcg_at(near, 10)]
            assert row == pytest.approx(expected)
        # Clips of unknown class are passed over, however many are nearer.
        known = dict(list(classes.items())[:4])
        few = evaluate(lib, known, depth=1)
        for row, uri in zip(few.values, few.names, strict=True):
            first = next(hit.uri for hit in lib.similar(uri, 99) if hit.uri in known)
            assert row[MEASURES.index("P@1")] == (known[first] == known[uri])
        with pytest.raises(errors.ArgumentError, match="nothing to find"):
            evaluate(lib, classes, dict.fromkeys(uris, "one recording"))
        with pytest.raises(errors.ArgumentError, match="nothing to find"):
            evaluate(lib, {})
