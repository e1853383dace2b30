"""Training a head from a library: what comes out, and what cannot be trained with."""

from __future__ import annotations

import json
import signal
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from support.sounds import noise, tone, write

import soundsearch
from soundsearch import ArgumentError, MissingExtra
from soundsearch.cli.main import main
from soundsearch.labels.head import Head
from soundsearch.learn.bags import Bags
from soundsearch.learn.data import human_labels
from soundsearch.learn.fitting import Recipe, validated
from soundsearch.learn.growth import growth

GROWING = "with 4 of 8 parts of the clips, to compare"


@pytest.fixture
def kinds(tones_and_noises):
    """The class of each of six tones, six noises, and six of both."""
    return {clip.uri: clip.uri.split("/")[-1][:-5] for clip in tones_and_noises}


@pytest.fixture
def several(kinds):
    return {uri: ("tone", "noise") if kind == "both" else (kind,) for uri, kind in kinds.items()}


def scores(head, lib, uris):
    """What a head's file makes of clips; columns as its own classes are."""
    columns = [head.vocabulary.index(name) for name in head.spec.names]
    return np.stack(
        [
            head.clip_scores(v, np.full(len(v), 1, np.float32), np.array([0]))[0, columns]
            for v in map(lib.vectors, uris)
        ]
    )


def test_one_label_a_clip(tones_and_noises, kinds, tmp_path):
    training = soundsearch.train(tones_and_noises, kinds, folds=3)
    assert training.report.measures["accuracy"] == 1
    assert training.head.names == ("Noise", "both", "tone")  # AudioSet's own name comes first
    assert training.head.output == "softmax" and not training.warnings
    assert training.head.made["classes"] == {"Noise": 6, "both": 6, "tone": 6}
    assert training.report.measures["calibration error"] < 0.2
    training.save(tmp_path / "a.head")
    head = Head(tmp_path / "a.head")
    found = scores(head, tones_and_noises, kinds)
    names = [head.spec.names[column].lower() for column in found.argmax(1)]
    assert names == list(kinds.values())
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    tones_and_noises.use_head(tmp_path / "a.head")
    assert [clip.labels[0].name.lower() for clip in tones_and_noises] == list(kinds.values())
    soundsearch.train(tones_and_noises, kinds, folds=3).save(tmp_path / "b.head")
    assert (tmp_path / "a.head").read_bytes() == (tmp_path / "b.head").read_bytes()


@pytest.mark.parametrize("pooling", ["mean", "max", "attention"])
def test_several_labels_a_clip(tones_and_noises, several, pooling, tmp_path):
    training = soundsearch.train(tones_and_noises, several, folds=3, pooling=pooling)
    assert training.head.names == ("Noise", "tone") and training.head.output == "sigmoid"
    assert training.report.measures["mAP"] > 0.9
    training.save(tmp_path / "h")
    found = scores(Head(tmp_path / "h"), tones_and_noises, several)
    true = [["noise" in names, "tone" in names] for names in several.values()]
    assert ((found > 0.5) == np.array(true)).mean() > 0.9


def test_a_clip_without_labels_is_an_example_against_all(tones_and_noises, several):
    none = {uri: () if names == ("noise",) else names for uri, names in several.items()}
    found = soundsearch.train(tones_and_noises, none, folds=3).report
    assert {each.name: each.clips for each in found.classes} == {"Noise": 6, "tone": 12}


def test_classes_above_labels_are_true_too(tones_and_noises, kinds):
    labels = {uri: ("Dog",) if kind == "tone" else ("Animal",) for uri, kind in kinds.items()}
    found = soundsearch.train(tones_and_noises, labels, folds=2, min_clips=1).report
    assert {each.name: each.clips for each in found.classes} == {"Animal": 18, "Dog": 6}


@pytest.mark.parametrize("name", ["white noise", "White_Noise", "/m/0chx_"])
def test_classes_of_audioset_are_known_by_name_or_id(tones_and_noises, kinds, name):
    labels = {uri: name if kind == "noise" else kind for uri, kind in kinds.items()}
    head = soundsearch.train(tones_and_noises, labels, folds=2).head
    assert (head.names[0], head.mids[0]) == ("White noise", "/m/0chx_")


def test_groups_stay_together(tones_and_noises, kinds):
    groups = {uri: int(uri[-5]) // 2 for uri in kinds}
    training = soundsearch.train(tones_and_noises, kinds, groups=groups, folds=3)
    assert training.head.made["groups"] == 3
    found = soundsearch.train(tones_and_noises, kinds, groups=groups, folds=groups)
    assert found.head.made["folds"] == 3 and found.report.measures["accuracy"] == 1
    overlapping = {uri: int(uri[-5]) for uri in kinds}
    with pytest.raises(ArgumentError, match=r"each group in one fold, got '\d' in '\d', '\d'"):
        soundsearch.train(tones_and_noises, kinds, groups=groups, folds=overlapping)
    with pytest.raises(ArgumentError, match="at least two groups of every class"):
        soundsearch.train(tones_and_noises, kinds, groups=kinds)
    with pytest.raises(ArgumentError, match="one for every labelled clip, got none for"):
        soundsearch.train(tones_and_noises, kinds, folds={next(iter(kinds)): 1})


def test_augmentation_is_compared_with_none(tones_and_noises, kinds):
    kinds_of = ["mixup", "shuffle", "drop"]
    training = soundsearch.train(tones_and_noises, kinds, folds=2, augment=kinds_of)
    assert training.without.keys() == training.report.measures.keys()
    assert training.head.made["augment"] == kinds_of


def test_fewer_clips_say_whether_more_would_help(tones_and_noises, kinds, several):
    steps = []
    found = soundsearch.train(tones_and_noises, kinds, folds=2, on_step=steps.append).report
    # Of 18 clips, 9 are trained with: parts of 1 or 2 eighths have fewer clips than classes.
    [(fewer, few), (clips, all_of_them)] = found.by_clips
    assert 3 <= fewer <= 6 and clips == 9 and all_of_them == found.measures
    assert few.keys() == found.measures.keys() and 0 <= few["accuracy"] <= 1
    assert [text for text in steps if "parts" in text] == [
        "with 4 of 8 parts of the clips, to compare"
    ]
    again = soundsearch.train(tones_and_noises, kinds, folds=2, augment=["mixup"]).report
    assert [count for count, _ in again.by_clips] == [fewer, clips]
    measured = soundsearch.train(tones_and_noises, several, folds=3).report.by_clips
    assert next(iter(measured[0][1])) == "mAP" and measured[0][0] < measured[-1][0] == 12
    assert not soundsearch.train(tones_and_noises, kinds, folds=0).report


def test_growth_keeps_groups_whole_and_shares_nested(monkeypatch):
    random = np.random.default_rng(0)
    count, one = 240, np.ones(240)
    targets = np.eye(3)[np.arange(count) % 3]
    centres = random.normal(size=(3, 4))
    vectors = targets @ centres + 1.5 * random.normal(size=(count, 4))
    bags = Bags(vectors, one, np.arange(count), targets, one[:, None])
    groups, folds = np.arange(count) // 6, np.arange(count) // 6 % 4
    seen = []

    def watched(recipe, bags, folds, on_step, heard, kept):
        seen.append(kept)
        return validated(recipe, bags, folds, on_step, heard, kept)

    monkeypatch.setattr("soundsearch.learn.growth.validated", watched)
    found, stopped = growth(Recipe("softmax"), bags, folds, groups, lambda _text: None)
    assert not stopped and [clips for clips, _ in found] == [
        round(kept.sum() * 3 / 4) for kept in seen
    ]
    for kept, part in zip(seen, (1 / 8, 1 / 4, 1 / 2), strict=True):
        assert kept.mean() == pytest.approx(part, abs=0.03)
        assert all(len(set(kept[groups == group])) == 1 for group in range(40))
    assert not (seen[0] & ~seen[1]).any() and not (seen[1] & ~seen[2]).any()
    assert found[-1][1]["accuracy"] > 0.4
    wide = Bags(np.zeros((2001, 4)), one, np.arange(2001), np.ones((2001, 1000)), one)
    assert growth(Recipe("sigmoid"), wide, folds, groups, print) == ([], False)  # too many


def test_a_network(tones_and_noises, kinds, several, tmp_path):
    pytest.importorskip("sklearn")
    for labels, output in ((kinds, "softmax"), (several, "sigmoid")):
        training = soundsearch.train(
            tones_and_noises, labels, folds=2, model="network", augment=["mixup"]
        )
        assert training.head.output == output and len(training.head.layers) == 2
        training.save(tmp_path / "n")
        assert not Head(tmp_path / "n").is_linear
        assert training.report.measures["mAP"] > 0.9


def test_a_network_needs_scikit_learn(tones_and_noises, kinds, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtra, match=r"pip install 'soundsearch\[learn\]'"):
        soundsearch.train(tones_and_noises, kinds, model="network")
    soundsearch.train(tones_and_noises, kinds, folds=2)  # and nothing else does


def test_a_head_is_adapted_to_other_sound(tones_and_noises, kinds, tmp_path):
    for number in range(6):
        write(tmp_path / "far" / f"{number}.wav", 0.05 * tone(300 + 10 * number, 4))
        write(tmp_path / "far" / f"n{number}.wav", 0.05 * noise(number, 4))
    (tmp_path / "far" / "broken.wav").write_bytes(b"RIFF")
    plain = soundsearch.train(tones_and_noises, kinds, folds=2)
    adapted = soundsearch.train(tones_and_noises, kinds, folds=2, adapt=[tmp_path / "far"])
    assert adapted.head.made["adapted"]["files"] == 12
    assert any("1 files to adapt to could not be heard" in text for text in adapted.warnings)
    assert adapted.report.measures == pytest.approx(plain.report.measures)
    assert (adapted.head.layers[0][0] != plain.head.layers[0][0]).any()
    write(tmp_path / "short.wav", tone(440, 1))
    with pytest.raises(ArgumentError, match=r"adapt: expected sound in .*short.wav, at least 20"):
        soundsearch.train(tones_and_noises, kinds, adapt=[tmp_path / "short.wav"])


def test_human_labels(tmp_path):
    pytest.importorskip("google_crc32c")
    from soundsearch_ingest.audioset import Record, write_records

    rng = np.random.default_rng(0)
    records = []
    for number in range(12):
        kind = number % 2
        features = np.clip(rng.normal(90 + 60 * kind, 20, (10, 128)), 0, 255).astype(np.uint8)
        # Dog and Bark, or Speech.
        records.append(Record(f"id{number}", 0.0, 10.0, (74, 75) if kind else (0,), features))
    write_records(tmp_path / "00.tfrecord", records)
    with soundsearch.open(tmp_path / "l") as lib:
        lib.ingest([tmp_path / "00.tfrecord"])
        labels = human_labels(lib)
        training = soundsearch.train(lib, labels, folds=3)
    assert len(labels) == 12 and training.head.names[0] == "Speech"
    assert training.report.measures["mAP"] == 1


# Bad input


def one_of(kinds, wanted):
    return next(uri for uri, kind in kinds.items() if kind == wanted)


def test_labels_that_cannot_be_trained_with(tones_and_noises, kinds):
    lib, first = tones_and_noises, next(iter(kinds))
    single = {uri: kind for uri, kind in kinds.items() if kind != "tone"}
    single[one_of(kinds, "tone")] = "tone"
    for labels, options, expected in (
        ({}, {}, "expected the class of at least some clips"),
        ({"/nowhere.wav": "a"}, {}, "1 labelled clips not in the library, such as /nowhere.wav"),
        ({**kinds, first: float("nan")}, {}, f"the name of a class for {first}, got nan"),
        ({**kinds, first: "NaN"}, {}, f"the name of a class for {first}, got 'NaN'"),
        ({**kinds, first: ""}, {}, f"the name of a class for {first}, got nothing"),
        ({**kinds, first: None}, {}, f"the name of a class for {first}, got nothing"),
        ({**kinds, first: "a\nb"}, {}, "printable and on one line"),
        (dict.fromkeys(kinds, "tone"), {}, "at least two classes, .* got tone"),
        (dict.fromkeys(kinds, ()), {}, "at least two classes, .* got none"),
        (single, {}, "at least two clips of every class, .* got one of 'tone'"),
        (kinds, {"folds": 1}, "folds: expected at least 2, or 0"),
        (kinds, {"min_clips": 7}, "at least two classes, .* got none"),
        (kinds, {"ontology": True}, r"'both'; 'tone' \(similar: .*--ontology"),
    ):
        with pytest.raises(ArgumentError, match=f"(?s){expected}"):
            soundsearch.train(lib, labels, **options)


def test_what_is_left_out_is_told(tones_and_noises, kinds, tmp_path):
    write(tmp_path / "s" / "silent.wav", np.zeros(32_000, np.float32))
    tones_and_noises.ingest([tmp_path / "s"])
    silent = str(tmp_path / "s" / "silent.wav")
    labels = {**kinds, silent: "tone", "/nowhere.wav": "tone", one_of(kinds, "both"): "rare"}
    training = soundsearch.train(tones_and_noises, labels, folds=2, min_clips=2)
    assert [text.partition(",")[0] for text in training.warnings] == [
        "1 of 20 labelled clips not in the library",
        "1 near-silent or damaged clips left out",
        "1 classes of fewer than 2 clips left out: rare",
    ]
    assert training.head.made["clips"] == 17


def test_nothing_needs_to_be_held_back(tones_and_noises, kinds, tmp_path):
    few = {one_of(kinds, kind): kind for kind in ("tone", "noise")}
    training = soundsearch.train(tones_and_noises, few, folds=0)
    assert training.report is None and "measures" not in training.head.made
    training.save(tmp_path / "h")
    found = scores(Head(tmp_path / "h"), tones_and_noises, few)
    assert found.argmax(1).tolist() == [1, 0]


@pytest.mark.parametrize(
    "when",
    [
        "fold 2 of 3",
        "all clips",
        "without augmentation, to compare",
        GROWING,
    ],
)
def test_a_stopped_training_keeps_the_best_head(tones_and_noises, kinds, tmp_path, when):
    def stop(step):
        if step == when:
            signal.raise_signal(signal.SIGINT)

    options = {"folds": 3, "augment": ["mixup"], "on_step": stop}
    training = soundsearch.train(tones_and_noises, kinds, **options)
    assert training.was_stopped and training.head.made["stopped"] == (when != GROWING)
    assert training.warnings == ("training was stopped: this is the best head so far",)
    training.save(tmp_path / "h")
    names = Head(tmp_path / "h").spec.names
    found = scores(Head(tmp_path / "h"), tones_and_noises, kinds).argmax(1)
    assert (
        np.mean([names[n].lower() == kind for n, kind in zip(found, kinds.values(), strict=True)])
        > 0.9
    )


def test_a_training_stopped_before_there_is_a_head(tones_and_noises, kinds):
    def stop(_step):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        soundsearch.train(tones_and_noises, kinds, on_step=stop)


# The command


def run(*arguments, library, code=0):
    done = CliRunner().invoke(main, ["train", "--library", str(library), *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def table(tones_and_noises, kinds, tmp_path):
    rows = [f"{uri},{kind},{int(uri[-5])}" for uri, kind in kinds.items()]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["path,kind,take", *rows]))
    return path


def test_the_command(table, kinds, tmp_path):
    library, out, page = tmp_path / "l", tmp_path / "my.head", tmp_path / "page.html"
    options = ["--labels", table, "--class", "kind", "--out", out]
    text = run(*options, "--group", "take", "--report", page, library=library).stdout
    assert "18 clips of 3 classes, 6 groups; logistic, pooling mean" in text
    assert "Would more labels help?" in page.read_text() and "\nclips trained with  " in text
    assert "accuracy" in text and all(len(line) <= 80 for line in text.splitlines()[:-1])
    assert f"soundsearch head use {out} --library {library}" in text
    assert page.read_text().startswith("<!doctype html>") and "<svg" in page.read_text()
    [row] = map(
        json.loads, run(*options, "--folds", "take", "--json", library=library).stdout.splitlines()
    )
    assert row["made"]["folds"] == 6 and row["report"]["measures"]["accuracy"] == 1
    assert row["report"]["curve"][0].keys() == {"step", "trained", "held_back"}
    assert row["report"]["by_clips"][-1] == {"clips": 15, **row["report"]["measures"]}


def test_classes_from_folders_tags_and_cells_of_several(table, kinds, tmp_path):
    library, out = tmp_path / "l", tmp_path / "my.head"
    with soundsearch.open(library) as lib:
        lib.tag({uri: {"of": kind.replace("both", "noise|tone")} for uri, kind in kinds.items()})
    row = json.loads(
        run("--tag", "of", "--folds", 2, "--json", "--out", out, library=library).stdout
    )
    assert row["classes"] == ["Noise", "noise|tone", "tone"]
    several = ["--tag", "of", "--several", "|", "--folds", 2, "--json", "--out", out]
    row = json.loads(run(*several, library=library).stdout)
    assert row["classes"] == ["Noise", "tone"]
    done = run("--folders", "--out", out, library=library, code=2)
    assert "at least two classes, to tell one from another, got s;" in done.stderr


def test_the_options_are_those_of_the_library():
    from soundsearch.cli import training
    from soundsearch.learn.distilling import TEACHERS
    from soundsearch.learn.fitting import KINDS, MODELS, POOLINGS

    assert (training.MODELS, training.POOLINGS) == (MODELS, POOLINGS)
    assert training.AUGMENTATIONS == KINDS
    assert training.TEACHERS == TEACHERS


def test_commands_that_cannot_be(table, kinds, tmp_path):
    library, out = tmp_path / "l", tmp_path / "my.head"
    first = next(iter(kinds))
    twice, empty = tmp_path / "twice.csv", tmp_path / "empty.csv"
    twice.write_text(f"path,class\n{first},a\n{first},b\n")
    empty.write_text(f"path,class\n{first},\n")
    named = tmp_path / "named.csv"  # by its path, and by its name
    name = first.rpartition("/")[2]
    named.write_text(f"path,class\n{first},a\n{tmp_path}/elsewhere/{name},b\n")
    labels = ["--labels", table, "--class", "kind"]
    for options, expected in (
        ([*labels, "--out", tmp_path / "none" / "my.head"], "cannot be written (No such file"),
        ([*labels, "--out", tmp_path], "expected the name of a file to write, got a folder"),
        ([*labels, "--out", out, "--report", tmp_path], "expected the name of a file"),
        (["--out", out], "expected one of --labels, --folders, --tag and --human"),
        ([*labels, "--human", "--out", out], "expected one of --labels"),
        (["--human", "--out", out], "people gave no label to any clip"),
        (["--labels", twice, "--out", out], "twice.csv, line 3: "),
        (["--labels", named, "--out", out], "two that differ for"),
        (["--labels", empty, "--out", out], "expected the column or tag that holds the class"),
        ([*labels, "--folds", "none", "--out", out], "none: no clip of the library has this"),
        ([*labels, "--augment", "louder", "--out", out], "augment: expected mixup or"),
        (["--tag", "none", "--out", out], "none: no clip of the library has this column or tag"),
    ):
        done = run(*options, library=library, code=2)
        assert expected in done.stderr
        assert not out.exists()
