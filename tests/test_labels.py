"""The ontology's facts, score propagation and the choice of labels worth showing."""

from __future__ import annotations

import numpy as np
import pytest
from soundsearch_ingest.logmel import SILENT

import soundsearch
from soundsearch.labels.head import LABEL, SILENCE, Head, best_labels, bundled_head
from soundsearch.labels.ontology import CLASSES, ontology
from soundsearch.labels.predict import predict
from soundsearch.labels.vocabulary import AUDIOSET

NODES = ontology().nodes
INDEX = {node.name: node.class_index for node in ontology().classes}


def test_ontology_facts():
    assert len(NODES) == 632
    assert len(ontology().classes) == CLASSES == 527
    assert sum(not node.parents for node in NODES.values()) == 7
    assert sum(len(node.parents) > 1 for node in NODES.values()) == 38
    four = {node.name for node in NODES.values() if len(node.parents) == 4}
    assert four == {"Growling", "Hiss"}
    restricted = [node.restrictions for node in NODES.values()]
    assert sum("blacklist" in marks for marks in restricted) == 67
    assert sum("abstract" in marks for marks in restricted) == 23
    assert ontology().classes[0].name == "Speech"
    assert NODES[SILENCE].name == "Silence"


def test_paths_and_ancestors():
    bark = "/m/05tny_"
    assert ontology().path(bark) == ("Animal", "Domestic animals, pets", "Dog", "Bark")
    assert all(mid not in ontology().ancestors(mid) for mid in NODES)
    # Also through nodes that are not classes: 49 classes reach a class only that way.
    through = 0
    for node in ontology().classes:
        direct = any(NODES[mid].class_index is not None for mid in node.parents)
        above = any(NODES[mid].class_index is not None for mid in ontology().ancestors(node.mid))
        through += above and not direct
    assert through == 49


@pytest.fixture
def head(tmp_path) -> Head:
    """A head of 521 classes that takes each class's logit from one dimension."""
    known = [node.mid for node in ontology().classes][:521]
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "head.npz",
        weight=rng.normal(0, 1, (521, 128)),
        bias=np.full(521, -1.0),
        space="test-1",
        mids=np.array(known),
    )
    return Head(tmp_path / "head.npz")


def test_no_child_above_its_parent(head):
    scores = head.scores(np.random.default_rng(1).normal(0, 1, (50, 128)).astype(np.float32))
    assert scores.shape == (50, 527)
    assert scores.min() >= 0 and scores.max() <= 1
    for parent, child in np.argwhere(ontology().above):
        assert (scores[:, parent] >= scores[:, child]).all()


def test_scores_are_independent_probabilities(head, tmp_path):
    embedding = np.random.default_rng(2).normal(0, 1, (1, 128)).astype(np.float32)
    with np.load(tmp_path / "head.npz") as stored:
        logits = stored["weight"] @ embedding[0] + stored["bias"]
    leaf = next(i for i in range(521) if not ontology().above[i].any())
    expected = 1 / (1 + np.exp(-logits[leaf]))
    assert head.scores(embedding)[0, leaf] == pytest.approx(expected, rel=1e-5)


def test_head_gives_finite_scores_for_any_embedding(head):
    extreme = np.array([[1e30] * 128, [-1e30] * 128, [0.0] * 128], np.float32)
    assert np.isfinite(head.scores(extreme)).all()


def test_best_labels_name_the_specific_class():
    scores = np.zeros((1, CLASSES), np.float32)
    scores[0, [INDEX["Animal"], INDEX["Dog"], INDEX["Bark"]]] = 0.9, 0.85, 0.8
    scores[0, [INDEX["Music"], INDEX["Guitar"]]] = 0.7, 0.1
    labels = AUDIOSET.named(best_labels(scores, 5)[0])
    # Guitar scores far below Music, so Music stays.
    assert [label.name for label in labels] == ["Bark", "Music", "Guitar"]
    assert labels[0].path == ("Animal", "Domestic animals, pets", "Dog", "Bark")
    assert labels[0].score == pytest.approx(0.8, abs=1e-3)


def test_nothing_worth_showing():
    assert AUDIOSET.named(best_labels(np.full((1, CLASSES), 0.001, np.float32), 5)[0]) == ()


def test_predicting_many_clips_equals_one_by_one(head):
    rng = np.random.default_rng(3)
    clips = []
    for length in (1, 3, 2000, 2, 5):
        levels = rng.uniform(-60, 20, length).astype(np.float32)
        clips.append((rng.normal(0, 1, (length, 128)).astype(np.float32), levels))
    clips.append((np.zeros((2, 128), np.float32), np.full(2, -80, np.float32)))
    together = predict(head, clips, 5, 10)
    assert len(together) == len(clips)
    for clip, (segments, labels) in zip(clips, together, strict=True):
        [(alone_segments, alone_labels)] = predict(head, [clip], 5, 10)
        assert segments.dtype == LABEL
        assert (segments["class_index"] == alone_segments["class_index"]).all()
        assert (labels["class_index"] == alone_labels["class_index"]).all()
        for row, quiet in zip(segments, clip[1] < SILENT, strict=True):
            names = [label.name for label in AUDIOSET.named(row)]
            assert (names == ["Silence"]) == bool(quiet)
    assert [label.name for label in AUDIOSET.named(together[-1][1])] == ["Silence"]


def test_bundled_head_knows_the_bundled_encoder():
    from soundsearch_ingest import encoders

    assert bundled_head().space == encoders.load().space


def test_bundled_encoder_names_pure_sounds():
    rng = np.random.default_rng(11)
    time = np.arange(32_000) / 16_000
    spectrum = np.fft.rfft(rng.normal(size=32_000))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 20)))
    sounds = {
        "Sine wave": 0.3 * np.sin(2 * np.pi * 1000 * time),
        "White noise": 0.1 * rng.normal(size=32_000),
        "Pink noise": 0.1 * pink / pink.std(),
    }
    for name, sound in sounds.items():
        for gain in (1.0, 0.25):
            labels = soundsearch.label((gain * sound).astype(np.float32), sample_rate=16_000).labels
            assert labels[0].name == name
            assert labels[0].score > 0.5
