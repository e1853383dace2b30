"""Heads of one's own: what they score, how their file is read, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from soundsearch import errors
from soundsearch.labels.head import Head, HeadSpec, best_labels, write_head
from soundsearch.labels.ontology import CLASSES, ontology
from soundsearch.labels.predict import predict
from soundsearch.labels.vocabulary import AUDIOSET, Vocabulary

INDEX = {node.name: node.class_index for node in ontology().classes}
WEIGHT = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
BIAS = np.array([0, -1, 0.5], np.float32)
# The second is AudioSet's Dog, whatever its case.
NAMES = ("my drill", "dog", "kettle > lid")
COLUMNS = [527, INDEX["Dog"], 528]
LINEAR = HeadSpec("test-1", ((WEIGHT, BIAS),), NAMES)
EMBEDDINGS = np.array([[1, 2], [-3, 0.5], [0.25, 0]], np.float32)
LOGITS = np.array([[1, 1, 3.5], [-3, -0.5, -2.0], [0.25, -1, 0.75]])


def saved(tmp_path, spec) -> Head:
    write_head(tmp_path / "my.head", spec)
    return Head(tmp_path / "my.head")


def sigmoid(values):
    return 1 / (1 + np.exp(-np.asarray(values, float)))


def test_own_classes_come_after_audiosets(tmp_path):
    head = saved(tmp_path, LINEAR)
    assert head.vocabulary == Vocabulary(("my drill", "kettle > lid"))
    assert len(head.vocabulary) == 529
    assert head.spec.names == ("my drill", "Dog", "kettle > lid")
    assert head.spec.mids == ("", "/m/0bt9lr", "")
    label = head.vocabulary.label(527, 0.5)
    assert (label.name, label.mid, label.path) == ("my drill", "", ("my drill",))
    assert head.vocabulary.classes_below("My Drill ") == {527}
    assert head.vocabulary.classes_below("Kettle > lid") == {528}
    assert head.vocabulary.classes_below("Dog") == AUDIOSET.classes_below("Dog")
    with pytest.raises(errors.SoundsearchError, match="similar: my drill"):
        head.vocabulary.classes_below("my dril")
    with pytest.raises(errors.SoundsearchError, match=r"similar: .*Drill"):
        AUDIOSET.classes_below("dril")
    with pytest.raises(errors.LibraryDamaged, match="529 only"):
        head.vocabulary.label(529, 1.0)


def test_an_own_class_named_as_a_node_that_is_no_class():
    vocabulary = Vocabulary(("Human sounds",))
    assert vocabulary.classes_below("human sounds") == AUDIOSET.classes_below("Human sounds") | {
        527
    }


def test_sigmoid_scores(tmp_path):
    scores = saved(tmp_path, LINEAR).scores(EMBEDDINGS)
    assert scores.dtype == np.float32 and scores.shape == (3, 529)
    np.testing.assert_allclose(scores[:, COLUMNS], sigmoid(LOGITS), rtol=1e-6)
    above = [INDEX["Animal"], INDEX["Domestic animals, pets"]]
    np.testing.assert_allclose(scores[:, above], sigmoid(LOGITS)[:, [1, 1]], rtol=1e-6)
    others = np.ones(529, bool)
    others[[*COLUMNS, *above]] = False
    assert not scores[:, others].any()


def test_softmax_scores_are_the_models(tmp_path):
    head = saved(tmp_path, replace(LINEAR, output="softmax"))
    powers = np.exp(LOGITS)
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(head.scores(EMBEDDINGS)[:, COLUMNS], expected, rtol=1e-6)
    assert not head.is_linear
    with pytest.raises(ValueError, match="linear"):
        head.directions({527})
    extreme = np.array([[1e30, -1e30], [0, 0]], np.float32)
    assert np.isfinite(head.scores(extreme)).all()


def test_layers_with_relu_between(tmp_path):
    first = np.array([[1, -1], [2, 0]], np.float32), np.array([0.5, -1], np.float32)
    head = saved(tmp_path, replace(LINEAR, layers=(first, (WEIGHT, BIAS))))
    hidden = np.maximum(EMBEDDINGS @ first[0].T + first[1], 0)
    expected = sigmoid(hidden @ WEIGHT.T + BIAS)
    np.testing.assert_allclose(head.scores(EMBEDDINGS)[:, COLUMNS], expected, rtol=1e-6)
    assert head.dimension == 2 and not head.is_linear
    extreme = np.array([[1e30, -1e30], [-1e30, 1e30]], np.float32)
    assert np.isfinite(head.scores(extreme)).all()


def test_normalised_embeddings(tmp_path):
    head = saved(tmp_path, replace(LINEAR, normalised=True))
    rows = np.concatenate((EMBEDDINGS, np.zeros((1, 2), np.float32)))
    norms = np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)
    expected = sigmoid(np.concatenate((EMBEDDINGS / norms, [[0, 0]])) @ WEIGHT.T + BIAS)
    np.testing.assert_allclose(head.scores(rows)[:, COLUMNS], expected, rtol=1e-6)
    assert not head.is_linear


SHARES = np.array([1, 3, 2], np.float32)
TOWARDS = np.array([0.5, -1], np.float32)


def pooled(pooling, embeddings, shares):
    """What the definition of a pooling says of one clip, in float64."""
    vectors, weights = embeddings.astype(float), shares.astype(float)
    each = sigmoid(vectors @ WEIGHT.T + BIAS)
    if pooling == "power":
        return np.sqrt((each**2 * weights[:, None]).sum(0) / weights.sum())
    if pooling == "max":
        return each.max(0)
    if pooling == "attention":
        weights = np.exp(vectors @ TOWARDS)
    return sigmoid((vectors * weights[:, None]).sum(0) / weights.sum() @ WEIGHT.T + BIAS)


@pytest.mark.parametrize("pooling", ["power", "mean", "max", "attention"])
def test_pooling_of_segments(tmp_path, pooling):
    attention = TOWARDS if pooling == "attention" else None
    head = saved(tmp_path, replace(LINEAR, pooling=pooling, attention=attention))
    found = head.clip_scores(EMBEDDINGS, SHARES, np.array([0, 2]))
    expected = [pooled(pooling, EMBEDDINGS[rows], SHARES[rows]) for rows in (slice(2), slice(2, 3))]
    np.testing.assert_allclose(found[:, COLUMNS], expected, rtol=1e-5)
    # More segments than are scored at a time, and clips that end within a block.
    rng = np.random.default_rng(0)
    many = rng.normal(size=(3000, 2)).astype(np.float32)
    shares = rng.uniform(0.1, 1, 3000).astype(np.float32)
    starts = np.array([0, 5, 1500, 2999])
    found = head.clip_scores(many, shares, starts)[:, COLUMNS]
    for row, begin, end in zip(found, starts, [*starts[1:], 3000], strict=True):
        expected = pooled(pooling, many[begin:end], shares[begin:end])
        np.testing.assert_allclose(row, expected, rtol=1e-4)
    # And as clips are labelled: the quiet segment has no say.
    levels = np.array([0, 12, -80], np.float32)
    [(segments, labels)] = predict(head, [(EMBEDDINGS, levels)], 5, 10)
    heard = head.clip_scores(EMBEDDINGS[:2], 10 ** (levels[:2] / 40), np.array([0]))
    assert labels.tolist() == best_labels(heard, 10)[0].tolist()
    assert segments[0].tolist() == best_labels(head.scores(EMBEDDINGS[:1]), 5)[0].tolist()
    assert [label.name for label in head.vocabulary.named(segments[2])] == ["Silence"]


def test_pooling_of_normalised_embeddings(tmp_path):
    head = saved(tmp_path, replace(LINEAR, pooling="mean", normalised=True))
    units = EMBEDDINGS / np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)
    [found] = head.clip_scores(EMBEDDINGS, SHARES, np.array([0]))
    np.testing.assert_allclose(found[COLUMNS], pooled("mean", units, SHARES), rtol=1e-5)


def test_the_same_head_is_the_same_file(tmp_path):
    made = {"seed": 3, "classes": {"my drill": 20}, "note": "ä\n"}
    head = saved(tmp_path, replace(LINEAR, made=made))
    assert head.spec.made == made
    write_head(tmp_path / "again.head", head.spec)
    content = (tmp_path / "my.head").read_bytes()
    assert (tmp_path / "again.head").read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.head", "my.head"]
    assert Head(tmp_path / "gone.head", content).vocabulary == head.vocabulary


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": ()}, "no layer"),
        ({"layers": ((WEIGHT, BIAS), (WEIGHT, BIAS))}, r"weight \[3, 3\].*got \[3, 2\]"),
        ({"layers": ((WEIGHT[:2], BIAS[:2]),)}, r"weight \[3, dimension\].*got \[2, 2\]"),
        ({"layers": ((WEIGHT, BIAS[:2]),)}, r"bias \[3\].*got \[3, 2\] and \[2\]"),
        ({"layers": ((WEIGHT * np.nan, BIAS),)}, "not finite"),
        ({"layers": ((WEIGHT.astype(float) * 1e300, BIAS),)}, "not finite"),
        ({"layers": ((np.zeros((3, 1 << 23)), BIAS),)}, "at most"),
        ({"names": ("a", "b")}, "2 names and 3 ids"),
        ({"names": ("a", "b"), "mids": ()}, r"weight \[2, dimension\]"),
        ({"names": ("a",), "mids": (), "output": "softmax"}, "2 to 4096 classes"),
        ({"names": ("a", "b", "A")}, "'A' twice"),
        ({"names": ("a", "Dog", "/m/0bt9lr")}, "'Dog' twice"),
        ({"names": ("a", "b", "")}, "name"),
        ({"names": ("a", "b", "c\nd")}, "name"),
        ({"names": ("a", "b", "x" * 201)}, "201"),
        ({"mids": ("", "", "/m/nowhere")}, "nowhere"),
        ({"mids": ("",)}, "1 ids"),
        ({"output": "relu"}, "sigmoid or softmax, got 'relu'"),
        ({"pooling": "median"}, "got 'median'"),
        ({"pooling": "attention"}, "attention"),
        ({"attention": TOWARDS}, "attention"),
        ({"pooling": "attention", "attention": BIAS}, r"expected \[2\], got \[3\]"),
        ({"space": ""}, "space"),
        ({"made": {"x": float("nan")}}, "JSON"),
        ({"made": {"x": object()}}, "JSON"),
    ],
)
def test_what_cannot_be_a_head(wrong, message):
    with pytest.raises(errors.ArgumentError, match=message):
        replace(LINEAR, **wrong)


def test_files_that_are_no_heads(tmp_path):
    path = tmp_path / "my.head"
    write_head(path, LINEAR)
    whole = path.read_bytes()
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for wrong in (
        {"made": np.array("{")},
        {"made": np.array(json.dumps([1]))},
        {"weight_0": WEIGHT[:, :, None]},
        {"output": np.array("none")},
        {"names": np.array([{}, {}, {}], object)},
        *({name: None} for name in arrays),
    ):
        parts = {**arrays, **wrong}
        np.savez(tmp_path / "wrong", **{k: v for k, v in parts.items() if v is not None})
        with pytest.raises(errors.EncoderError, match=r"wrong\.npz.*expected a file"):
            Head(tmp_path / "wrong.npz")
    for length in range(0, len(whole), 211):
        path.write_bytes(whole[:length])
        with pytest.raises(errors.EncoderError, match=r"my\.head"):
            Head(path)
    with pytest.raises(errors.EncoderError, match="No such file"):
        Head(tmp_path / "none.head")


def test_all_classes_of_audioset_by_their_names():
    assert [AUDIOSET.index(node.name.upper()) for node in ontology().classes] == [*range(CLASSES)]
    assert AUDIOSET.names[INDEX["Dog"]] == "Dog"
    with pytest.raises(ValueError, match="my drill"):
        AUDIOSET.index("my drill")
