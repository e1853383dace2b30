"""The parts of training, against known answers, scikit-learn, and their own definitions."""

from __future__ import annotations

import signal
from dataclasses import replace
from itertools import islice, product

import numpy as np
import pytest
from scipy.optimize import check_grad, minimize

from soundsearch.errors import ArgumentError
from soundsearch.labels.head import Head, HeadSpec, write_head
from soundsearch.labels.vocabulary import Vocabulary
from soundsearch.learn.adapt import coral
from soundsearch.learn.augment import augmented
from soundsearch.learn.bags import Bags, balanced_weights, joined
from soundsearch.learn.calibrate import calibration
from soundsearch.learn.fitting import POOLINGS, Recipe, fit
from soundsearch.learn.folds import check_folds, dealt
from soundsearch.learn.linear import objective, regressions
from soundsearch.learn.measures import (
    area_under_curve,
    average_precisions,
    confusions,
    d_prime,
    pairs,
    reliability,
)
from soundsearch.learn.models import Model, sigmoid
from soundsearch.learn.network import networks

KINDS = list(product(("softmax", "sigmoid"), POOLINGS))


def bags(clips=40, classes=3, dimension=5, seed=0, *, one_label=True) -> Bags:
    """Clips of 1 to 4 segments about a centre for each class."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 5, clips)
    kinds = np.arange(clips) % classes
    targets = np.eye(classes)[kinds]
    if not one_label:
        targets = np.maximum(targets, rng.random(targets.shape) < 0.3)
    centres = np.random.default_rng(99).normal(size=(classes, dimension))
    middles = np.repeat(targets @ centres, lengths, axis=0)
    shares = rng.uniform(0.2, 1, lengths.sum())
    starts = np.cumsum(lengths) - lengths
    shares /= np.repeat(np.add.reduceat(shares, starts), lengths)
    vectors = middles + rng.normal(size=middles.shape)
    return Bags(vectors, shares, starts, targets.astype(float), np.ones((clips, 1)))


def nth(models, count):
    """The last of the first so many."""
    return list(islice(models, count))[-1]


# Models


@pytest.mark.parametrize(("output", "pooling"), KINDS)
def test_the_gradient_is_that_of_the_loss(output, pooling):
    some = bags(12, one_label=output == "softmax")
    weights = balanced_weights(some.targets, one_label=output == "softmax")
    value = objective(replace(some, weights=weights), output, pooling, 0.1)
    parameters = np.random.default_rng(1).normal(size=3 * 6 + 5 * (pooling == "attention"))
    slope = np.linalg.norm(value(parameters)[1])
    error = check_grad(lambda x: value(x)[0], lambda x: value(x)[1], parameters)
    assert slope > 0.01 and error < 1e-5 * max(1, slope)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_the_optimum_is_that_of_scikit_learn(output):
    linear_model = pytest.importorskip("sklearn.linear_model")
    some = bags(60, one_label=output == "softmax")
    weights = np.random.default_rng(2).uniform(0.5, 2, (60, 1))
    some = replace(some, weights=weights)
    strength = 0.05
    size = 3 * 6
    found = minimize(
        objective(some, output, "mean", strength),
        np.zeros(size),
        jac=True,
        method="L-BFGS-B",
        options={"gtol": 1e-9, "ftol": 1e-14},
    ).x.reshape(3, 6)
    # Its penalty is on the sum of the losses, not on their mean.
    theirs = linear_model.LogisticRegression(C=1 / (strength * weights.sum()), tol=1e-9)
    shares = weights.ravel()
    if output == "softmax":
        theirs.fit(some.means(), some.targets.argmax(1), shares)
        np.testing.assert_allclose(found[:, :-1], theirs.coef_, atol=1e-4)
        return
    for ours, true in zip(found, some.targets.T, strict=True):
        theirs.fit(some.means(), true, shares)
        np.testing.assert_allclose(ours, [*theirs.coef_[0], *theirs.intercept_], atol=1e-4)


@pytest.mark.parametrize(("output", "pooling"), KINDS)
def test_a_head_scores_clips_as_its_model_does(output, pooling, tmp_path):
    some = bags(one_label=output == "softmax")
    model = nth(regressions(some, output, pooling), 4)
    names = ("Dog", "mine", "Speech")
    layers = tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in model.layers)
    attention = None if model.attention is None else model.attention.astype(np.float32)
    spec = HeadSpec("s", layers, names, output=output, pooling=pooling, attention=attention)
    write_head(tmp_path / "h", spec)
    columns = [Vocabulary(("mine",)).index(name) for name in names]
    seen = some.evened() if pooling == "attention" else some
    scores = Head(tmp_path / "h").clip_scores(
        some.vectors.astype(np.float32), some.shares.astype(np.float32), some.starts
    )
    np.testing.assert_allclose(scores[:, columns], model.probabilities(seen), atol=1e-5)


@pytest.mark.parametrize(("output", "pooling"), KINDS)
def test_models_learn(output, pooling):
    recipe = Recipe(output, pooling=pooling)
    some, others = (
        recipe.prepared(bags(200, seed=s, one_label=output == "softmax")) for s in (0, 1)
    )
    fitted = fit(recipe, some, others)
    found = average_precisions(fitted.model.probabilities(others), others.targets)
    assert found.min() > others.targets.mean(0).max() + 0.15


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_networks_learn_and_are_repeated(output, classes):
    pytest.importorskip("sklearn")
    some, others = (bags(200, classes, seed=seed) for seed in (0, 1))
    recipe = Recipe(output, "network")
    fitted, again = (fit(recipe, some.collapsed(), others.collapsed()) for _ in range(2))
    chosen = fitted.model.probabilities(others).argmax(1)
    assert (chosen == others.targets.argmax(1)).mean() > 0.6
    for layer, other in zip(fitted.model.layers, again.model.layers, strict=True):
        for array, same in zip(layer, other, strict=True):
            np.testing.assert_array_equal(array, same)


def test_a_network_sees_mixed_clips_as_a_soft_loss_would():
    pytest.importorskip("sklearn")
    from soundsearch.learn.network import _rows

    soft = np.array([[0.7, 1, 0.3, 0], [0.4, 0.4, 0.6, 1], [0, 1, 0, 1]])
    some = bags(3, 4).collapsed()
    weights = np.array([[1.0], [2.0], [0.5]])
    clips, answers, counted = _rows(replace(some, targets=soft, weights=weights), "sigmoid")
    for clip, (target, weight) in enumerate(zip(soft, weights[:, 0], strict=True)):
        mine = clips == clip
        np.testing.assert_allclose(answers[mine].T @ counted[mine] / counted[mine].sum(), target)
        assert counted[mine].sum() / counted.sum() == pytest.approx(weight / weights.sum())


def test_a_stopped_fit_keeps_the_best_so_far():
    class Stopping(Recipe):
        def models(self, clips, more=None):
            yield from islice(regressions(clips, "softmax", "mean"), 2)
            signal.raise_signal(signal.SIGINT)

    recipe = Stopping("softmax")
    fitted = fit(recipe, bags(), bags(seed=1))
    assert fitted.was_stopped and len(fitted.curve) == 2
    assert fitted.curve[fitted.step][1] == min(held for _, held in fitted.curve)


def test_reading_through_a_map():
    matrix, offset = np.random.default_rng(0).normal(size=(5, 5)), np.arange(5.0)
    for output, pooling in KINDS:
        some = bags()
        model = nth(regressions(some, output, pooling), 3)
        moved = replace(some, vectors=some.vectors @ matrix.T + offset)
        found = model.reading(matrix, offset).probabilities(some)
        np.testing.assert_allclose(found, model.probabilities(moved), atol=1e-9)


# Calibration and measures


def test_a_temperature_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 3))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    kinds = (chances.cumsum(1) > rng.random((4000, 1))).argmax(1)
    one = np.ones(4000)
    some = Bags(logits * 3, one, np.arange(4000), np.eye(3)[kinds], one[:, None])
    model = Model(((np.eye(3), np.zeros(3)),), "softmax", "mean")
    found = calibration([model], [some])
    np.testing.assert_allclose(found.scale, 1 / 3, rtol=0.05)
    before, after = (
        reliability(m.probabilities(some), some.targets, one_label=True).error
        for m in (model, found.of(model))
    )
    assert after < 0.03 < before


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_platts_scaling_is_found_again(pooling):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1, (20_000, 3))
    scale, shift = np.array([1.5, 0.5, 2]), np.array([-1, 0, -2])
    targets = (rng.random(logits.shape) < sigmoid(logits * scale + shift)).astype(float)
    one = np.ones(len(logits))
    some = Bags(logits, one, np.arange(len(logits)), targets, one[:, None])
    model = Model(((np.eye(3), np.zeros(3)),), "sigmoid", pooling)
    found = calibration([model], [some])
    np.testing.assert_allclose(found.scale, scale, atol=0.1)
    np.testing.assert_allclose(found.shift, shift, atol=0.1)


def test_calibration_of_hopeless_and_of_perfect_classes_is_finite_and_keeps_the_order():
    rows = np.linspace(-1, 1, 100)
    logits = np.stack([rows, -rows, np.zeros(100)], axis=1)
    targets = np.tile((rows > 0)[:, None], (1, 3)).astype(float)
    one = np.ones(100)
    some = Bags(logits, one, np.arange(100), targets, one[:, None])
    found = calibration([Model(((np.eye(3), np.zeros(3)),), "sigmoid", "mean")], [some])
    assert np.isfinite([found.scale, found.shift]).all() and (found.scale > 0).all()


def test_measures_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    targets = (rng.random((300, 4)) < 0.2).astype(float)
    scores = np.round(rng.random((300, 4)) + 0.3 * targets, 1)  # with many that are equal
    for found, of in (
        (average_precisions(scores, targets), metrics.average_precision_score),
        (area_under_curve(scores, targets), metrics.roc_auc_score),
    ):
        theirs = [of(true, said) for true, said in zip(targets.T, scores.T, strict=True)]
        np.testing.assert_allclose(found, theirs, rtol=1e-12)
    kinds, taken = rng.integers(0, 4, (2, 50))
    np.testing.assert_array_equal(
        confusions(np.eye(4)[taken] > 0, np.eye(4)[kinds]), metrics.confusion_matrix(kinds, taken)
    )


def test_classes_without_clips_have_no_measures():
    targets = np.array([[1.0, 0, 1], [1, 0, 0]])
    scores = np.array([[0.9, 0.5, 0.2], [0.8, 0.1, 0.3]])
    np.testing.assert_array_equal(average_precisions(scores, targets), [1, np.nan, 0.5])
    np.testing.assert_array_equal(area_under_curve(scores, targets), [np.nan, np.nan, 0])


def test_d_prime():
    # Hershey et al. (2017): an AUC of 0.926 is a d' of 2.041.
    assert d_prime(0.926, 1e9) == pytest.approx(2.041, abs=0.01)
    assert d_prime(0.5, 10) == pytest.approx(0, abs=1e-12)
    targets = np.array([[1.0], [0], [0]])
    assert np.isfinite(d_prime(np.array([1.0]), pairs(targets))).all()


def test_the_calibration_error_by_hand():
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.35, 0.65]])
    targets = np.array([[1.0, 0], [0, 1], [0, 1], [1, 0]])
    found = reliability(scores, targets, one_label=True)
    # Bins of a fifteenth: two at 0.9, half of them right; 0.7, right; 0.65, wrong.
    assert found.counts.tolist() == [1, 1, 2]
    assert found.error == pytest.approx((0.65 + 0.3 + 2 * 0.4) / 4)


# Folds, augmentation, adaptation


@pytest.mark.parametrize("seed", range(5))
def test_folds_are_fair_and_no_group_is_in_two(seed):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 4, 200)
    groups = np.unique(rng.integers(0, 30, 200) * 4 + kinds, return_inverse=True)[1]
    targets = np.eye(4)[kinds]
    folds = dealt(targets, groups, 5, seed)
    assert len({(g, f) for g, f in zip(groups, folds, strict=True)}) == groups.max() + 1
    np.testing.assert_array_equal(folds, dealt(targets, groups, 5, seed))
    counts = np.stack([targets[folds == fold].sum(0) for fold in range(5)])
    assert (counts.max(0) - counts.min(0)).max() <= 6
    alone = dealt(targets, np.arange(200), 5, seed)
    counts = np.stack([targets[alone == fold].sum(0) for fold in range(5)])
    assert (counts.max(0) - counts.min(0)).max() <= 1


def test_given_folds_are_checked():
    targets = np.eye(2)[[0, 0, 1, 1]]
    names = {"classes": ["a", "b"], "group_names": ["tape", "disc"], "fold_names": ["1", "2"]}

    def check(groups, folds):
        check_folds(targets, np.array(groups), np.array(folds), **names)

    check([0, 1, 0, 1], [0, 1, 0, 1])
    with pytest.raises(ArgumentError, match=r"got 'tape' in '1', '2' \(2 of 2 groups"):
        check([0, 0, 1, 1], [0, 1, 0, 1])
    with pytest.raises(ArgumentError, match="got those of 'a' in '1' alone"):
        check([0, 0, 1, 1], [0, 0, 1, 1])
    names["fold_names"] = ["1"]
    with pytest.raises(ArgumentError, match="at least two"):
        check([0, 1, 0, 1], [0, 0, 0, 0])


def test_mixup_mixes_means_and_labels():
    some = bags(30)
    more = augmented(some, ["mixup"], 0).take(np.arange(30, 60))
    np.testing.assert_allclose(np.add.reduceat(more.shares, more.starts), 1)
    np.testing.assert_allclose(more.targets.sum(1), 1)
    # A mean is that of a clip and of another, by the shares of their labels.
    share, others = mixed_with(some, more)
    expected = share * some.means() + (1 - share) * some.means()[others]
    np.testing.assert_allclose(more.means(), expected, atol=1e-9)
    assert share.std() > 0.01


def mixed_with(some, more):
    shares, others = [], []
    for clip in range(len(some)):
        own = more.vectors[more.starts[clip] :][: some.lengths[clip]]
        np.testing.assert_array_equal(own, some.take(np.array([clip])).vectors)
        rest = more.take(np.array([clip]))
        shares.append(rest.shares[: some.lengths[clip]].sum())
        first = rest.vectors[some.lengths[clip]]
        others.append(int(np.flatnonzero((some.vectors[some.starts] == first).all(1))[0]))
    return np.array(shares)[:, None], others


def test_shuffled_clips_have_the_segments_of_their_class_each_once():
    some = bags(30)
    more = augmented(some, ["shuffle"], 0).take(np.arange(30, 60))
    kinds = [np.repeat(each.targets.argmax(1), each.lengths) for each in (some, more)]
    for kind in range(3):
        before, after = some.vectors[kinds[0] == kind], more.vectors[kinds[1] == kind]
        assert sorted(map(tuple, before)) == sorted(map(tuple, after))
        assert (before != after).any()


def test_dropped_segments_never_leave_a_clip_empty():
    some = bags(200)
    more = augmented(some, ["drop"], 0).take(np.arange(200, 400))
    assert more.lengths.min() == 1 and len(more.vectors) < 0.8 * len(some.vectors)
    np.testing.assert_allclose(np.add.reduceat(more.shares, more.starts), 1)
    assert set(map(tuple, more.vectors)) <= set(map(tuple, some.vectors))


def test_bags_taken_and_joined_stay_whole():
    some = bags(10)
    order = np.array([7, 2, 2])
    taken = joined([some.take(order), some.take(np.array([0]))])
    np.testing.assert_allclose(taken.means(), some.means()[[7, 2, 2, 0]])
    np.testing.assert_array_equal(taken.lengths, some.lengths[[7, 2, 2, 0]])


@pytest.mark.parametrize("most", [1, 3, 7, 1000])
def test_blocks_are_all_clips_in_order(most):
    some = bags(10)
    parts = list(some.blocks(most))
    assert sum(map(len, parts)) == 10
    assert all(len(part.vectors) <= most or len(part) == 1 for part in parts)
    for field in ("vectors", "shares", "starts", "targets", "weights"):
        np.testing.assert_array_equal(getattr(joined(parts), field), getattr(some, field))


@pytest.mark.parametrize(("output", "pooling"), KINDS)
def test_the_loss_is_the_same_in_blocks(output, pooling, monkeypatch):
    some = bags(60, one_label=output == "softmax")
    some = replace(some, weights=balanced_weights(some.targets, one_label=output == "softmax"))
    parameters = np.random.default_rng(1).normal(size=3 * 6 + 5 * (pooling == "attention"))
    loss, slope = objective(some, output, pooling, 0.1)(parameters)
    model = nth(regressions(some, output, pooling), 2)
    scores = model.probabilities(some)
    scale = calibration([model], [some]).scale
    monkeypatch.setattr("soundsearch.learn.linear._AT_ONCE", 12)
    monkeypatch.setattr("soundsearch.learn.models._SEGMENTS", 5)
    monkeypatch.setattr("soundsearch.learn.calibrate._SEGMENTS", 5)
    monkeypatch.setattr("soundsearch.learn.calibrate._AT_ONCE", 2)
    found = objective(some, output, pooling, 0.1)(parameters)
    assert found[0] == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(found[1], slope, atol=1e-12)
    np.testing.assert_allclose(model.probabilities(some), scores, rtol=1e-12)
    np.testing.assert_allclose(calibration([model], [some]).scale, scale, rtol=1e-6)


def test_coral_gives_the_target_the_moments_of_the_source():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(3000, 4)) @ rng.normal(size=(4, 4)) + 3
    target = rng.normal(size=(2000, 4)) @ rng.normal(size=(4, 4)) - 5
    matrix, offset = coral(source, target, shrinkage=0)
    moved = target @ matrix.T + offset
    np.testing.assert_allclose(moved.mean(0), source.mean(0), atol=1e-9)
    np.testing.assert_allclose(np.cov(moved.T, ddof=0), np.cov(source.T, ddof=0), atol=1e-8)
    assert np.isfinite(coral(source, target[:2])[0]).all()  # fewer than it has dimensions


def test_networks_yield_one_model_an_epoch():
    pytest.importorskip("sklearn")
    models = networks(bags().collapsed(), "softmax", 0)
    first, second = next(models), next(models)
    assert (first.layers[0][0] != second.layers[0][0]).any()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"model": "forest"}, "model: expected logistic or network, got 'forest'"),
        ({"pooling": "median"}, "pooling: expected mean or max or attention, got 'median'"),
        ({"augment": ("louder",)}, "augment: expected mixup or .* or reverb, got 'louder'"),
        ({"model": "network", "pooling": "max"}, "expected mean with a network, got 'max'"),
    ],
)
def test_recipes_that_cannot_be(arguments, expected):
    with pytest.raises(ArgumentError, match=expected):
        Recipe("softmax", **arguments)
