"""Retrieval metrics on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from soundsearch import errors
from soundsearch.evaluate import average_precision, precision_at, retrieval


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


def test_impossible_arguments():
    for impossible in (
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
    assert found.precision_at_1 == pytest.approx(np.mean(precisions))
    assert found.mean_average_precision == pytest.approx(np.mean(averages))


def test_retrieval_leaves_the_querys_group_out():
    found = retrieval(iter(SCORES), CLASSES, GROUPS)
    averages = [1 / 2, 1, 1 / 2, (1 / 2 + 2 / 3) / 2, 1 / 2]
    assert found.precision_at_1 == pytest.approx(1 / 5)
    assert found.mean_average_precision == pytest.approx(np.mean(averages))
    cut = retrieval(SCORES, CLASSES, GROUPS, depth=1)
    assert cut.mean_average_precision == pytest.approx(np.mean([0, 1, 0, 0, 0]))


def test_queries_without_relevant_items_do_not_count():
    found = retrieval(SCORES, ["a", "a", "b", "c", "b"], GROUPS)
    assert found.queries == 2  # 0 and 1 have only each other, and 3 is alone
    assert found.mean_average_precision == pytest.approx(1 / 2)
    with pytest.raises(errors.ArgumentError, match="nothing to find"):
        retrieval(SCORES, list("abcde"))


def test_equal_scores_rank_in_their_order():
    even = np.zeros((3, 3))
    assert retrieval(even, ["a", "a", "b"]).precision_at_1 == 1
    assert retrieval(even, ["a", "b", "a"]).precision_at_1 == 1 / 2


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
