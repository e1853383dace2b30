"""The papers' systems: each in miniature, their measures, and going on after an interruption."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from soundsearch_ingest.audioset import Record, write_records

from recipes.papers import __main__ as papers
from recipes.papers import aziz, data, measures, outputs, synthetic
from recipes.papers.attention import NETWORKS, balanced, build
from recipes.papers.job import Job, interval, table
from recipes.papers.training import fit, keras
from soundsearch.errors import SoundsearchError
from soundsearch.labels.ontology import CLASSES, ontology

pytestmark = pytest.mark.papers

ROOT = Path(__file__).parent.parent
needs_keras = pytest.mark.skipif(
    not all(map(find_spec, ("keras", "matplotlib", "sklearn"))),
    reason="pip install -r recipes/papers/requirements.txt",
)


@needs_keras
@pytest.mark.parametrize("system", papers.SYSTEMS)
def test_a_miniature_runs(system, tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    arguments = [system, str(data), "--quick", "--out", str(out)]
    assert papers.main(arguments) == 0
    report = capsys.readouterr().out
    assert report.startswith("# ") and "made-up features" in report
    assert not re.search(r"\bnan\b", report)
    assert (out / f"{system}.md").read_text("utf-8") == report
    # All trials are kept: the same command makes none again.
    assert papers.main(arguments) == 0
    again = capsys.readouterr()
    assert again.out == report and not again.err


def test_results_of_another_command_are_refused(tmp_path):
    Job("frozen", tmp_path, tmp_path / "out")
    Job("frozen", tmp_path, tmp_path / "out")
    with pytest.raises(SoundsearchError, match=r"settings\.json: expected the results of"):
        Job("frozen", tmp_path, tmp_path / "out", seed=2)
    with pytest.raises(SoundsearchError, match="expected a folder of data"):
        Job("frozen", tmp_path / "none", tmp_path / "out")


def test_a_trial_is_made_once_and_a_cut_one_again(tmp_path):
    job = Job("frozen", tmp_path, tmp_path / "out")

    def cut(folder):
        (folder / "checkpoint").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.trial("width 8, seed 1", cut)
    kept = []
    found = job.trial("width 8, seed 1", lambda folder: kept.extend(folder.iterdir()) or [1, 2])
    assert [path.name for path in kept] == ["checkpoint"]
    assert found == job.trial("width 8, seed 1", lambda _: pytest.fail("made twice")) == [1, 2]
    (tmp_path / "out" / "trials" / "width-8-seed-1.json").write_text("[1,")
    with pytest.raises(SoundsearchError, match=r"seed-1\.json: expected JSON.*remove the file"):
        job.trial("width 8, seed 1", lambda _: 3)


def test_interval_and_table():
    assert interval([0.5]) == "0.500"
    assert interval([1, 2, 3, 4], 2) == "2.50 ± 2.05"  # 3.182 * 1.291 / 2
    assert table(("a", "b"), [(1, 2)]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


@needs_keras
def test_cut_training_gives_what_uncut_training_gives(tmp_path):
    k = keras()
    x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.intp)
    scores = iter([0.1, 0.9, 0.2, 0.3, 0.4, 0.5])

    def trained(folder, score):
        k.utils.set_random_seed(1)
        layers = [k.layers.Input((8,)), k.layers.Dropout(0.5), k.layers.Dense(2, "softmax")]
        model = k.Sequential(layers)
        model.compile("adam", "sparse_categorical_crossentropy")
        found = fit(model, x, y, epochs=6, batch=16, seed=1, folder=folder, score=score, every=0)
        return found, [k.ops.convert_to_numpy(v.value) for v in model.variables]

    uncut = trained(None, lambda _: next(scores))
    expected = [0.1, 0.9, 0.2, 0.3, 0.4, 0.5]
    seen = []

    def cut(_):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(expected[len(seen)])
        return seen[-1]

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, cut)
    rest = iter(expected[3:])
    found = trained(tmp_path, lambda _: next(rest))
    assert found[0] == uncut[0] == expected
    for got, want in zip(found[1], uncut[1], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)


@needs_keras
def test_a_killed_run_goes_on(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    command = [sys.executable, "-m", "recipes.papers", "frozen", data, "--quick", "--out", out]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert "seed 1 fold 1" in process.stderr.readline()
        process.kill()
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "trials").glob("*.json")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert kept and "seed 1 fold 1" not in done.stderr and "seed 1 fold 3" in done.stderr
    for name, time in kept.items():
        assert (out / "trials" / name).stat().st_mtime_ns == time


def test_without_keras_the_message_says_how_to_install_it(tmp_path):
    blocked = "import sys; sys.modules['keras'] = None; from recipes.papers.__main__ import main; "
    blocked += f"sys.exit(main(['frozen', {str(tmp_path)!r}, '--quick']))"
    done = subprocess.run(
        [sys.executable, "-c", blocked], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "pip install -r recipes/papers/requirements.txt" in done.stderr
    assert "Traceback" not in done.stderr


# Data


def clips(folder, *labels, seconds=10, name="00.tfrecord"):
    folder.mkdir(parents=True, exist_ok=True)
    made = [
        Record(f"{name}{i}", 0, 10, one, np.full((seconds, 128), i, np.uint8))
        for i, one in enumerate(labels)
    ]
    write_records(folder / name, made)


def test_real_features_are_read_by_folder(tmp_path):
    top = tmp_path / "features"
    clips(top / "bal_train", (0, 5), (526,))
    clips(top / "unbal_train", (1,), seconds=3)
    clips(top / "eval", (2,), ())
    found = data.audioset(Job("aziz", tmp_path, tmp_path / "out"), 1, 1)
    assert found.real and "AudioSet's features, 3 clips" in found.origin
    assert found.train.features.shape == (3, 10, 128)  # three seconds came again
    assert [np.flatnonzero(row).tolist() for row in found.train.labels] == [[0, 5], [526], [1]]
    assert found.test.labels.sum(1).tolist() == [1, 0]
    quick = data.audioset(Job("aziz", tmp_path, tmp_path / "quick", quick=True), 1, 1)
    assert len(quick.train.labels) == len(quick.test.labels) == 1


def test_faults_in_features_are_told(tmp_path, capsys):
    folder = tmp_path / "data"
    clips(folder / "bal_train", (0,))
    assert papers.main(["aziz", str(folder), "--quick"]) == 1
    assert "expected TFRecord files in a folder eval, got 1 files elsewhere" in (
        capsys.readouterr().err
    )
    clips(folder / "eval", (1,), (2,))
    path = folder / "eval" / "00.tfrecord"
    path.write_bytes(path.read_bytes()[:-5])
    assert papers.main(["aziz", str(folder), "--quick"]) == 1
    assert f"error: {path}: record 2" in capsys.readouterr().err


def test_made_up_features_have_the_labels_of_the_lists(tmp_path):
    folder = tmp_path / "data" / "audioset"
    folder.mkdir(parents=True)
    bark, music = (next(n for n in ontology().classes if n.name == x) for x in ("Bark", "Music"))
    row = f'x{{}}, 0.000, 10.000, "{bark.mid},{music.mid},/m/none"\n'
    for name in ("balanced_train_segments.csv", "eval_segments.csv"):
        (folder / name).write_text("# a\n" + "".join(row.format(i) for i in range(5)))
    found = data.audioset(Job("aziz", folder.parent, tmp_path / "out"), 3, 2)
    assert not found.real and "made-up features" in found.origin
    assert found.train.labels.shape == (3, CLASSES) and found.test.labels.shape == (2, CLASSES)
    expected = sorted(node.class_index for node in (bark, music))
    assert all(np.flatnonzero(row).tolist() == expected for row in found.train.labels)


def test_made_up_features_depend_on_labels_and_seed_alone():
    def made(labels, seed):
        return [record.features for record in synthetic.records(labels, seed, "eval")]

    assert np.array_equal(made([(3,), (4,)], 1), made([(3,), (4,)], 1))
    assert not np.array_equal(made([(3,)], 1), made([(3,)], 2))
    drawn = synthetic.drawn_labels(200, 1)
    assert drawn == synthetic.drawn_labels(200, 1)
    assert all(list(one) == sorted(set(one)) and 0 < len(one) < 4 for one in drawn)


def test_a_source_is_on_one_side_of_a_split():
    sources = np.random.default_rng(0).integers(0, 40, 300)
    test = data.unseen(sources, 0.25, seed=1)
    assert len(set(sources[test])) == 10
    assert not set(sources[test]) & set(sources[~test])


def test_small_classes_grow_by_their_own_clips_with_the_seconds_in_another_order():
    features = np.random.default_rng(0).integers(0, 256, (9, 10, 128), dtype=np.uint8)
    classes = np.array([0] * 6 + [2] * 3)
    images = aziz.Images(features, classes, np.arange(9), ("a", "b", "c"), "", "")
    found = aziz.shuffled_copies(images, seed=1)
    assert np.bincount(found.classes).tolist() == [6, 0, 6]
    assert np.array_equal(found.features[:9], features)
    for image, source in zip(found.features[9:], found.sources[9:], strict=True):
        original = features[source]
        assert classes[source] == 2 and not np.array_equal(image, original)
        assert sorted(map(bytes, image)) == sorted(map(bytes, original))


@needs_keras
def test_copies_before_the_split_find_classes_in_noise():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1], (200, 50))
    noise = rng.integers(0, 256, (250, 10, 128), dtype=np.uint8)
    images = aziz.Images(noise, classes, np.arange(250), ("a", "b"), "", "")
    learned, own, others = aziz.parted(images, "copies before the split", seed=1)
    assert set(own.sources) & set(learned.sources) and not set(others.sources) & set(own.sources)
    model = aziz.network(aziz.Setting(), 2, seed=1)
    targets = np.eye(2, dtype=np.float32)[learned.classes]
    fit(model, learned.features, targets, epochs=25, batch=16, seed=1)

    def found(part):
        small = part.features[part.classes == 1]
        return model.predict(small, verbose=0).argmax(1).mean()

    # There is nothing to learn but the clips themselves, of which the test part has copies.
    assert found(own) > 0.6 and found(others) < 0.5
    for way in ("no copies", "copies after the split"):
        learned, own, others = aziz.parted(images, way, seed=1)
        assert not {*own.sources, *others.sources} & {*learned.sources}


# Measures


def test_measures_of_rankings():
    truth = np.array([[1, 0, 0], [0, 0, 0], [1, 0, 1]], bool)
    scores = np.array([[0.9, 0.5, 0.2], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7]], np.float32)
    # The first class is found at ranks 1 and 3, the third at 1, the second is nowhere.
    if find_spec("sklearn"):
        mean = measures.mean_average_precision(truth, scores)
        assert mean == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
        assert measures.area_under_roc(truth, scores) == pytest.approx((0.5 + 1) / 2)
    assert measures.d_prime(0.5) == pytest.approx(0)
    # Two unit normal distributions that are d apart: the area is Phi(d / sqrt 2).
    assert measures.d_prime(0.9213503964748575) == pytest.approx(2)
    assert measures.accuracy(np.array([0, 0, 2]), scores) == 1.0


@needs_keras
def test_answers_over_a_threshold():
    truth = np.array([[1, 1, 0], [0, 0, 1]], bool)
    scores = np.array([[0.9, 0.2, 0.6], [0.3, 0.1, 0.4]], np.float32)
    found = outputs.answered(truth, scores, 0.5)
    assert found["precision"] == 1 / 2 and found["recall"] == 1 / 3
    assert found["over"] == 1.0 and found["first"] == 1.0
    assert outputs.answered(truth, scores, 1.0)["precision"] == 0


def test_the_best_threshold_is_that_of_a_search():
    rng = np.random.default_rng(0)
    truth = rng.random((30, 4)) < 0.2
    scores = (0.3 * truth + rng.random((30, 4))).astype(np.float32)

    def f1(threshold):
        over = scores > threshold
        return 2 * (over & truth).sum() / (over.sum() + truth.sum())

    best = max(f1(np.nextafter(one, np.float32(-1))) for one in scores.ravel())
    assert f1(outputs.best_threshold(truth, scores)) == best


# Attention


def test_every_class_has_its_turn():
    labels = np.zeros((50, 3), bool)
    labels[:, 0] = True
    labels[7, 2] = True
    rows = balanced(labels, 20, seed=1)
    assert (rows(0) == 7).sum() >= 10  # a class with one clip: half of the draws
    assert np.array_equal(rows(3), rows(3)) and not np.array_equal(rows(3), rows(4))


@needs_keras
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_pool_over_seconds(network):
    model = build(network, (10, 8), 3, 4, seed=1)
    x = np.random.default_rng(0).normal(size=(5, 10, 8)).astype(np.float32)

    def scores(sound):
        return keras().ops.convert_to_numpy(model(sound))

    found = scores(x)
    assert found.shape == (5, 3) and (found > 0).all() and (found < 1).all()
    np.testing.assert_allclose(scores(x[:, ::-1]), found, rtol=1e-5)  # order says nothing
    if network != "multi-level attention":
        # A sound that does not change scores as its only second, whatever the weights are.
        even = np.repeat(x[:, :1], 10, 1)
        one = build(network, (1, 8), 3, 4, seed=1)
        np.testing.assert_allclose(
            scores(even), keras().ops.convert_to_numpy(one(x[:, :1])), rtol=1e-5
        )


@needs_keras
def test_networks_have_the_size_of_the_original():
    # Three layers with batch normalisation, then one or two of 527 outputs a level.
    body = sum(n * 1024 + 5 * 1024 for n in (128, 1024, 1024))
    level = 1024 * 527 + 527
    expected = {
        "average pooling": body + level,
        "max pooling": body + level,
        "single attention": body + 2 * level,
        "multi-level attention": body + 4 * level + 2 * 527 * 527 + 527,
        "feature-level attention": body + 2 * (1024 * 1024 + 1024) + 4 * 1024 + level,
    }
    found = {name: build(name, (10, 128), 527, 1024, seed=1).count_params() for name in NETWORKS}
    assert found == expected


@needs_keras
def test_the_small_networks_are_azizs():
    # Filters of 1 x 6 over 1, 16 and 32 planes; the classes see 10 x 16 x 32 or twice as much.
    filters = 16 * (6 + 1) + 32 * (16 * 6 + 1) + 32 * (32 * 6 + 1)
    for name, last in ((aziz.CNN, 10 * 16 * 32), (aziz.CNN_WIDE, 10 * 32 * 32)):
        model = aziz.network(aziz.Setting(name), 4, seed=1)
        assert model.count_params() == filters + (last + 1) * 4
    model = aziz.network(aziz.Setting(aziz.DENSE), 4, seed=1)
    assert model.count_params() == 1281 * 100 + 101 * 1000 + 1001 * 4


@needs_keras
def test_bytes_that_are_not_divided_leave_outputs_stuck():
    made = synthetic.records(synthetic.drawn_labels(50, 1), 1, "eval")
    features = np.stack([record.features for record in made])
    clips = data.Seconds(features, np.zeros((50, CLASSES), bool))

    def stuck(scaled):
        way = outputs.Formulation("", "sigmoid", "binary", scaled=scaled)
        scores = outputs.network(way, clips, seed=1).predict(features, verbose=0)
        # Beyond these, Keras's cross-entropy of probabilities has no gradient.
        return ((scores < 1e-7) | (scores > 1 - 1e-7)).mean()

    assert stuck(scaled=True) == 0
    assert stuck(scaled=False) > 0.5
