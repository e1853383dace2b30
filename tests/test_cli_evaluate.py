"""``soundsearch evaluate`` on a library of which the answers are known."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support.sounds import noise, tone, write

import soundsearch
from soundsearch.cli.main import main


@pytest.fixture
def kinds(tmp_path):
    """Four tones and four noises, of two takes each, with a table of their classes."""
    folder = tmp_path / "kinds"
    rows = ["path,kind,take"]
    for number in range(4):
        write(folder / f"tone{number}.wav", tone(400 + 20 * number, 2))
        write(folder / f"noise{number}.wav", noise(number, 2))
        rows += [f"tone{number}.wav,tone,{number // 2}", f"noise{number}.wav,noise,{number // 2}"]
    (folder / "labels.csv").write_text("\n".join(rows))
    with soundsearch.open(tmp_path / "l") as lib:
        lib.ingest([folder])
    return folder


def run(*arguments, library, code=0):
    done = CliRunner().invoke(main, ["evaluate", "--library", str(library), *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


def test_what_is_measured(kinds, tmp_path):
    table = ["--labels", kinds / "labels.csv", "--class", "kind"]
    row = json.loads(run(*table, "--json", library=tmp_path / "l").stdout)
    assert (row["queries"], row["depth"], row["ranking"]) == (8, 50, "pooled")
    assert row["index"] is None  # exact
    perfect = {"mean": 1, "low": 1, "high": 1}
    assert row["measures"]["P@1"] == row["measures"]["mAP"] == perfect
    assert list(row["classes"]) == ["noise", "tone"]
    # Two of each class are in the query's own group: the five nearest hold only two.
    grouped = run(*table, "--group", "take", "--json", library=tmp_path / "l")
    assert json.loads(grouped.stdout)["measures"]["P@5"]["mean"] == pytest.approx(2 / 5)
    text = run(*table, library=tmp_path / "l").stdout
    assert "8 queries of 2 classes" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "" in text.splitlines() and "by class" in text.splitlines()


def test_classes_may_be_tags_and_selections_count(kinds, tmp_path):
    from soundsearch.tagfiles import read_tags

    with soundsearch.open(tmp_path / "l") as lib:
        lib.tag(read_tags(kinds / "labels.csv").tags)
    options = ["--class", "kind", "--where", "tag['take'] == 1", "--json"]
    row = json.loads(run(*options, library=tmp_path / "l").stdout)
    assert row["queries"] == 4
    assert "--class: expected" in run(library=tmp_path / "l", code=2).stderr


def test_against_another_library_and_ranking(kinds, tmp_path):
    (kinds / "noise3.wav").unlink()  # the other library has a clip less, in another order
    with soundsearch.open(tmp_path / "other", hop=0.48) as other:
        other.ingest(sorted(kinds.glob("*.wav"), reverse=True))
    table = ["--labels", kinds / "labels.csv", "--class", "kind", "--against", tmp_path / "other"]
    row = json.loads(run(*table, "--json", library=tmp_path / "l").stdout)
    assert row["queries"] == 7
    assert row["against"]["mAP"] == {"mean": 1, "difference": 0, "p": 1}
    text = run(*table, "--against-ranking", "best-pair", library=tmp_path / "l").stdout
    assert "difference" in text


def test_labels_that_do_not_fit_are_told(kinds, tmp_path):
    elsewhere = tmp_path / "elsewhere.csv"  # names alone are enough
    elsewhere.write_text((kinds / "labels.csv").read_text() + "\nnowhere.wav,tone,1\nbroken\n")
    done = run("--labels", elsewhere, "--class", "kind", library=tmp_path / "l")
    assert "8 queries" in done.stdout
    assert "1 clip of the labels not in the library, such as" in done.stderr
    assert "line 11: expected 3 columns" in done.stderr
    for options, expected in (
        (["--class", "nothing"], "nothing: no clip of the library has this column"),
        (["--group", "nothing", "--class", "kind"], "nothing: no clip of the library"),
        ([], "--class: expected the column or tag that holds the class, of: kind, take"),
    ):
        done = run("--labels", elsewhere, *options, library=tmp_path / "l", code=2)
        assert expected in done.stderr
    single = tmp_path / "single.csv"
    single.write_text("path,class\ntone0.wav,a\ntone1.wav,b\n")
    done = run("--labels", single, library=tmp_path / "l", code=2)
    assert "nothing to find" in done.stderr
    nothing = ["--labels", elsewhere, "--where", "duration > 100"]
    assert "none does" in run(*nothing, library=tmp_path / "l", code=2).stderr
    with soundsearch.open(tmp_path / "l") as lib:
        lib.add(tone(400, 2), 16_000, uri="/other/tone0.wav")
    done = run("--labels", elsewhere, "--class", "kind", library=tmp_path / "l")
    assert "1 clip of the labels with a name that several have, such as" in done.stderr
