"""Our measures of events are those of sed_eval."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.event_measures import Counts, event_based, segment_based

CLASSES = ["dog", "rain", "siren"]


def recording(rng, most):
    events = []
    for _ in range(rng.integers(0, most)):
        onset = round(rng.uniform(0, 28), 2)
        length = float(rng.choice([0.1, 0.5, 2.0, 6.0]))
        events.append((str(rng.choice(CLASSES)), onset, round(min(onset + length, 30), 2)))
    return events


def jittered(rng, events):
    """The events a little off, some left out, some more than once, and others."""
    found = []
    for name, onset, offset in events:
        for _ in range(rng.integers(0, 3)):
            begin = float(max(0, onset + rng.normal(0, 0.4)))
            found.append((name, begin, float(max(begin + 0.05, offset + rng.normal(0, 0.8)))))
    return [(name, onset, min(offset, 30.0)) for name, onset, offset in found] + recording(rng, 3)


def listed(events):
    dcase_util = pytest.importorskip("dcase_util")
    return dcase_util.containers.MetaDataContainer(
        [
            {"file": "a", "event_label": name, "onset": onset, "offset": offset}
            for name, onset, offset in events
        ]
    )


def evaluated(metrics, pairs):
    for truth, told in pairs:
        metrics.evaluate(reference_event_list=listed(truth), estimated_event_list=listed(told))
    return metrics


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    truths = [recording(rng, 9) for _ in range(40)]
    return [(truth, jittered(rng, truth)) for truth in truths]


@pytest.mark.parametrize("offsets", [False, True])
@pytest.mark.parametrize("collar", [0.2, 0.5, 1.0])
def test_event_based(pairs, collar, offsets):
    sed_eval = pytest.importorskip("sed_eval")
    metrics = sed_eval.sound_event.EventBasedMetrics(
        CLASSES, t_collar=collar, evaluate_offset=offsets, event_matching_type="optimal"
    )
    theirs = evaluated(metrics, pairs)
    ours = sum((event_based(*pair, collar, offsets=offsets) for pair in pairs), Counts(0, 0, 0))
    overall = theirs.overall
    assert (ours.true, ours.told, ours.right) == (overall["Nref"], overall["Nsys"], overall["Ntp"])
    assert 0.1 < ours.f1 == pytest.approx(theirs.overall_f_measure()["f_measure"])


def test_segment_based(pairs):
    sed_eval = pytest.importorskip("sed_eval")
    metrics = sed_eval.sound_event.SegmentBasedMetrics(CLASSES, time_resolution=1.0)
    theirs = evaluated(metrics, pairs)
    ours = sum((segment_based(*pair, 30.0) for pair in pairs), Counts(0, 0, 0))
    overall = theirs.overall
    assert (ours.true, ours.told, ours.right) == (overall["Nref"], overall["Nsys"], overall["Ntp"])
    assert 0.1 < ours.f1 == pytest.approx(theirs.overall_f_measure()["f_measure"])


def test_by_hand():
    truth = [("dog", 1.0, 2.0), ("dog", 1.3, 9.3), ("rain", 0.0, 30.0)]
    told = [("dog", 1.15, 2.1), ("dog", 1.19, 6.0), ("rain", 0.3, 29.0)]
    # Each of the dogs is near to both; one told has the long one's offset to within half of it.
    assert event_based(truth, told, 0.2, offsets=False) == Counts(3, 3, 2)
    assert event_based(truth, told, 0.2, offsets=True) == Counts(3, 3, 2)
    assert event_based(truth, [], 0.2, offsets=True).f1 == 0
    # Dog: seconds 1 to 9, of which 1 to 5 are told; rain: all 30, of which 0 to 28.
    assert segment_based(truth, told, 30.0) == Counts(39, 34, 34)
