"""The papers' systems: each in miniature, their measures, and going on after an interruption."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from recipes.papers import __main__ as papers
from recipes.papers.job import Job, interval, table
from soundsearch.errors import SoundsearchError

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
    from recipes.papers.training import fit, keras

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
        return found, model.get_weights()

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
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert kept and "seed 1 fold 1" not in done.stderr and "seed 2 fold 3" in done.stderr
    for name, time in kept.items():
        assert (out / "trials" / name).stat().st_mtime_ns == time
