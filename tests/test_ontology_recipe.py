"""What the recipe on labels of the ontology rests on: its losses, its network, its tasks."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from recipes.papers import dense
from recipes.papers.losses import LOSSES, check_masks, consistent, gradient
from recipes.papers.ontology_data import mean_ap, omitted, synthetic_task
from soundsearch.errors import ArgumentError
from soundsearch.labels.ontology import ontology
from soundsearch.labels.relabel import node_named


@pytest.fixture
def batch():
    """Targets, outputs and masks of eight clips and six classes; of one clip all are masked."""
    random = np.random.default_rng(0)
    targets = random.integers(0, 2, (8, 6)).astype(np.float32)
    outputs = random.uniform(0.05, 0.95, (8, 6)).astype(np.float32)
    masked = random.random((8, 6)) < 0.4
    masked[3] = True
    return targets, outputs, masked


@pytest.mark.parametrize("loss", LOSSES)
def test_masked_labels_take_no_part(batch, loss):
    targets, outputs, masked = batch
    value = LOSSES[loss](targets, outputs, masked)
    slope = gradient(loss, targets, outputs, masked)
    assert (slope[masked] == 0).all() and (slope[~masked] != 0).all()
    # Whatever is said of them, even nothing that is a number.
    for wrong in (1 - targets, np.full_like(targets, np.nan)):
        others = np.where(masked, wrong, targets)
        assert LOSSES[loss](others, outputs, masked) == value
        np.testing.assert_array_equal(gradient(loss, others, outputs, masked), slope)
    other = np.where(masked, 1 - outputs, outputs)
    assert LOSSES[loss](targets, other, masked) == value
    assert LOSSES[loss](targets, outputs, np.ones_like(masked)) == 0
    assert not gradient(loss, targets, outputs, np.ones_like(masked)).any()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_is_the_losses_slope(batch, loss):
    targets, outputs, masked = batch
    wide = outputs.astype(np.float64)
    found = gradient(loss, targets, outputs, masked)
    for place in np.ndindex(targets.shape):
        step = np.zeros_like(wide)
        step[place] = 1e-6
        up, down = (LOSSES[loss](targets, wide + s, masked) for s in (step, -step))
        assert found[place] == pytest.approx((up - down) / 2e-6, rel=1e-4, abs=1e-7)


def test_known_losses():
    targets, outputs = np.array([[1.0, 0.0, 1.0]]), np.array([[0.5, 0.25, 0.0]])
    masked = np.array([[False, False, True]])
    assert LOSSES["mse"](targets, outputs, masked) == (0.25 + 0.0625) / 2
    expected = -(np.log(0.5) + np.log(0.75)) / 2
    assert LOSSES["bce"](targets, outputs, masked) == pytest.approx(expected)


@pytest.mark.papers
@pytest.mark.skipif(
    not (find_spec("keras") and find_spec("jax")),
    reason="pip install -r recipes/papers/requirements.txt",
)
@pytest.mark.parametrize("loss", LOSSES)
def test_keras_has_the_same_losses_and_gradients(batch, loss):
    from recipes.papers.training import keras

    k = keras()
    if k.backend.backend() != "jax":
        pytest.skip("its gradients are taken with JAX")
    import jax

    targets, outputs, masked = batch
    ours = np.where(masked, np.nan, targets).astype(np.float32)

    def value(found):
        return LOSSES[loss](ours, found, masked, k.ops)

    assert value(outputs) == pytest.approx(LOSSES[loss](targets, outputs, masked), rel=1e-5)
    slope = np.asarray(jax.grad(value)(outputs))
    assert (slope[masked] == 0).all()
    np.testing.assert_allclose(slope, gradient(loss, targets, outputs, masked), rtol=1e-4)


def test_masks_that_hide_too_much_are_refused():
    labels = np.array([[True, False], [False, True], [False, False]])
    check_masks(labels, ~labels & [[True, True], [False, False], [True, False]])
    with pytest.raises(ArgumentError, match="clip 2: its mask hides every class"):
        check_masks(labels, np.array([[False, True], [True, False], [True, True]]))
    with pytest.raises(ArgumentError, match="clip 1: its mask hides one of its labels"):
        check_masks(labels, np.array([[False, True], [False, True], [False, True]]))
    with pytest.raises(ArgumentError, match=r"expected masks \[3, 2\] as labels are, got \[3, 1\]"):
        check_masks(labels, labels[:, :1])


def test_consistent_outputs():
    above = ontology().above
    scores = np.random.default_rng(0).random((5, len(above)), np.float32)
    found = consistent(scores, above)
    for parent, child in np.argwhere(above):
        assert (found[:, parent] >= found[:, child]).all()
    assert (found >= scores).all()
    lowest = ~above.any(1)
    np.testing.assert_array_equal(found[:, lowest], scores[:, lowest])
    np.testing.assert_array_equal(consistent(found, above), found)


def test_the_networks_gradients():
    random = np.random.default_rng(0)
    network = dense.Network((5, 4, 3), (6, 2), 0)
    x = random.normal(0, 1, (7, 5)).astype(np.float32)
    targets = random.integers(0, 2, (7, 2)).astype(np.float32)
    masked = np.zeros((7, 2), bool)
    masked[2, 1] = masked[5, 0] = True
    layers = network.layers(True)
    # In float64, so that the steps can be small.
    for layer in layers:
        layer.weights = [weight.astype(np.float64) for weight in layer.weights]

    def outputs():
        found = x.astype(np.float64)
        for layer in layers:
            found = layer.forward(found, True)
        return found

    slope = gradient("mse", targets, outputs(), masked)
    for layer in reversed(layers):
        slope = layer.backward(slope)
    for layer in layers:
        for weight, found in zip(layer.weights, layer.slopes, strict=True):
            for place in np.ndindex(weight.shape):
                kept, values = weight[place], []
                for step in (1e-4, -1e-4):
                    weight[place] = kept + step
                    values.append(LOSSES["mse"](targets, outputs(), masked))
                weight[place] = kept
                expected = (values[0] - values[1]) / 2e-4
                assert found[place] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_training_learns_and_keeps_the_best_epoch():
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (240, 8)).astype(np.float32)
    labels = np.stack([x[:, 0] > 0, x[:, 1] * x[:, 2] > 0], axis=1)
    masked = np.zeros_like(labels)

    def score(network):
        return mean_ap(labels[180:], network(x[180:]))

    start = dense.Network((8, 32, 16), (2,), 1)
    before = start.features(x)
    head, _ = dense.fit(
        start, x[:180], labels[:180], masked[:180], dense.Plan(5), 1, score, frozen=True
    )
    np.testing.assert_array_equal(head.features(x), before)
    best, scores = dense.fit(start, x[:180], labels[:180], masked[:180], dense.Plan(40), 1, score)
    assert score(best) == max(scores) > 0.8
    again = dense.Network((8, 32, 16), (2,), 1)
    other = best.with_head((4, 3), 2)
    np.testing.assert_array_equal(other.features(x), best.features(x))
    assert other(x).shape == (240, 3)
    assert (again(x) >= 0).all() and (again(x) <= 1).all()


def test_mean_ap():
    truth = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 0]], bool)
    scores = np.array([[0.9, 0.1, 0.2], [0.8, 0.1, 0.2], [0.7, 0.1, 0.3]], np.float32)
    assert mean_ap(truth, scores) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 3) / 2)
    masked = np.zeros_like(truth)
    masked[1, 0] = masked[2, 2] = True
    assert mean_ap(truth, scores, masked) == pytest.approx((1 + 1 / 2) / 2)


def test_what_people_leave_out():
    random = np.random.default_rng(0)
    table = ontology()
    bark = node_named("Bark")
    found = [omitted(table, bark, random) for _ in range(200)]
    known = {bark, *table.ancestors(bark)}
    assert all(each and each <= known for each in found)
    assert any(each == {bark} for each in found) and any(bark not in each for each in found)
    assert not any(table.nodes[mid].restrictions for each in found for mid in each)


@pytest.mark.parametrize("seconds", [None, 0.1])
def test_made_up_tasks(seconds):
    task = synthetic_task(3, 60, 24, seconds)
    again = synthetic_task(3, 60, 24, seconds)
    np.testing.assert_array_equal(task.x, again.x)
    assert task.given == again.given and task.target_classes == again.target_classes
    assert task.x.shape == (60 + 10 + 20 + 24 + 120 + 240, 800 if seconds else 128)
    assert np.isfinite(task.x).all() and task.x.dtype == np.float32
    rows = np.concatenate([*task.base, *task.target])
    assert sorted(rows) == list(range(len(task.x)))
    for row in np.concatenate(task.base):
        assert not task.true[row] & {*task.target_classes}
    both = [row for row in np.concatenate(task.target) if task.true[row] & {*task.base_classes}]
    assert both and all(task.true[row] & {*task.target_classes} for row in both)
    truth = task.truth(task.base[0], task.base_classes)
    for policy in ("ol", "pel", "pe-cml"):
        labels, masked = task.relabelled(policy, task.base[0])
        check_masks(labels, masked)
        assert not (labels & ~truth).any()  # people leave out, and make up nothing
    counts = [
        (~labels & ~masked & truth).sum()
        for labels, masked in (task.relabelled(p, task.base[0]) for p in ("ol", "pel", "pe-cml"))
    ]
    # Fewer and fewer labels are denied that are there.
    assert counts[0] > counts[1] > counts[2]


@pytest.mark.papers
@pytest.mark.skipif(not find_spec("keras"), reason="pip install -r recipes/papers/requirements.txt")
def test_networks_on_waveforms(tmp_path):
    from recipes.papers.waveforms import Convolutions

    assert 1.75e6 < Convolutions(4000, 1).weights < 1.85e6
    kit = Convolutions(400, 2, batch=8, blocks=((4,),))
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (20, 400)).astype(np.float32)
    labels = random.random((20, 3)) < 0.5
    network = kit.new((3,), 1)
    copy = network.with_head((4, 2), 2)
    np.testing.assert_array_equal(copy.features(x), network.features(x))
    before = network.features(x), network(x)
    masked = np.zeros_like(labels)
    found = kit.fit(network, x, labels, masked, 1, lambda _: 0.0, True, tmp_path / "head")
    np.testing.assert_array_equal(found.features(x), before[0])
    assert (found(x) != before[1]).any()
    np.testing.assert_array_equal(copy.features(x), before[0])
    masked = np.zeros((20, 2), bool)
    kit.fit(copy, x, labels[:, :2], masked, 1, lambda _: 0.0, False, tmp_path / "all")
    assert (copy.features(x) != before[0]).any()
    np.testing.assert_array_equal(network.features(x), before[0])
