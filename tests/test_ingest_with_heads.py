"""Libraries of real sound with a head of their own, in Python and on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from soundsearch_ingest.audioset import Record, write_records
from support import commands
from support.heads import DOG, NAMES, spec, written
from support.stores import as_if_older

import soundsearch
from soundsearch import Labelled, errors
from soundsearch.labels.head import Head
from soundsearch.labels.predict import predict


@pytest.fixture
def real(tmp_path):
    return written(tmp_path / "real.head", spec(2, "mini-6", 128, made={"note": "ä"}))


def test_ingest_with_a_head(sounds, tmp_path, real):
    path = tmp_path / "x.lib"
    with soundsearch.open(path, head=real) as lib:
        assert lib.ingest(sounds).added == 6
        assert {label.name for clip in lib for label in clip.labels} <= {*NAMES, "Silence"}
        heard = soundsearch.label(sounds / "low.wav", head=real)
        assert heard.labels == lib.label(sounds / "low.wav").labels
        scores = {label.name: label.score for label in heard.labels}
        stored = lib.clip(str(sounds / "low.wav")).labels
        assert {label.name: label.score for label in stored} == pytest.approx(scores, abs=0.03)
        assert lib.query(sounds / "low.wav").labels == heard.labels
        noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
        added = lib.add(noise, 16_000, uri="noise")
        assert {label.name for label in added.labels} <= set(NAMES)
        labels = {clip.uri: clip.labels for clip in lib}
    # The same head again, or none said; but not another one.
    for head in (real, None):
        with soundsearch.open(path, head=head) as lib:
            assert lib.ingest(sounds).unchanged == 6
    other = written(tmp_path / "other one.head", spec(3, "mini-6", 128))
    with pytest.raises(errors.ArgumentError, match=r"head use '.*other one\.head'"):
        soundsearch.open(path, head=other)
    with soundsearch.open(path) as lib:
        lib.use_head(None)  # which the encoder's own does, from the vectors
        [label] = [each for each in lib.clip(str(sounds / "low.wav")).labels if each.score > 0.9]
        assert lib.query(sounds / "low.wav").labels[0].name == label.name == "Sine wave"
        asked = lib.query(sounds / "low.wav", head=real)
        assert asked.labels == heard.labels and asked[0].labels[0].mid
        lib.use_head(real)
        assert {clip.uri: clip.labels for clip in lib} == labels
    with pytest.raises(errors.SpaceMismatch, match="a new library with the encoder mini"):
        soundsearch.open(tmp_path / "y.lib", head=written(tmp_path / "f", spec())).ingest(sounds)
    assert not (tmp_path / "y.lib").exists()
    with pytest.raises(errors.SpaceMismatch, match=r"the encoder mini.*'mini-1'"):
        soundsearch.label(sounds / "low.wav", head=tmp_path / "f")


def test_an_empty_library_takes_a_head_with_its_first_ingest(sounds, tmp_path, real):
    path = tmp_path / "x.lib"
    with soundsearch.open(path) as lib:
        lib.ingest(sounds / "low.wav")
        lib.remove([sounds / "low.wav"])
    with soundsearch.open(path, head=real) as lib:
        lib.ingest(sounds)
        assert lib.head is not None
        assert {label.name for clip in lib for label in clip.labels} <= {*NAMES, "Silence"}


def test_embedding_again_lets_the_head_go(sounds, tmp_path, real):
    with soundsearch.open(tmp_path / "x.lib") as lib:
        lib.ingest(sounds)
    with soundsearch.open(tmp_path / "y.lib") as plain:
        plain.ingest(sounds)
        wanted = {clip.uri: clip.labels for clip in plain}
    as_if_older(tmp_path / "x.lib")
    with soundsearch.open(tmp_path / "x.lib") as lib:
        with pytest.raises(errors.SpaceMismatch, match="mini-0"):
            lib.use_head(real)
        lib.use_head(written(tmp_path / "older.head", spec(2, "mini-0", 128)))
        assert lib.query(Labelled("my drill"))
        with pytest.raises(errors.SpaceMismatch, match="reads 'mini-0'"):
            lib.label(sounds / "low.wav")
        steps = []
        lib.reembed(on_step=steps.append)
        assert any("its head reads the space mini-0" in step for step in steps)
        assert lib.head is None
        assert {clip.uri: clip.labels for clip in lib} == wanted


def test_audiosets_features_have_labels_of_a_head(tmp_path):
    features = np.random.default_rng(0).integers(0, 256, (4, 10, 128), np.uint8)
    records = [Record(f"id-{n}", 30.0, 40.0, (DOG,), each) for n, each in enumerate(features)]
    write_records(tmp_path / "00.tfrecord", records[:2])
    write_records(tmp_path / "01.tfrecord", records[2:])
    mine = written(tmp_path / "my.head", spec(4, "vggish-audioset8", 128))
    with soundsearch.open(tmp_path / "a.lib") as lib:
        lib.ingest(tmp_path / "00.tfrecord")
        lib.use_head(mine)
        lib.ingest(tmp_path / "01.tfrecord")
        head = Head(mine)
        for record in records:
            clip = lib.clip(f"https://www.youtube.com/watch?v={record.video_id}&t=30")
            levels = np.zeros(10, np.float32)
            [(_, labels)] = predict(head, [(lib.vectors(clip.uri), levels)], 5, 10)
            assert clip.labels == head.vocabulary.named(labels) != ()
            assert [label.name for label in clip.human_labels] == ["Dog"]
        assert lib.check() == []
    assert (tmp_path / "a.lib" / "vectors-2.u8").stat().st_size == 40 * 128


# On the command line


def run(*arguments, library=None, code=0):
    done = commands.run(*arguments, library=library)
    assert done.returncode == code, done.stderr
    return done


def test_head_commands(sounds, tmp_path, real):
    path, low = tmp_path / "x.lib", sounds / "low.wav"
    assert "6 added" in run("ingest", sounds, "--head", real, library=path).stdout
    with soundsearch.open(path) as lib:
        labels = [label.to_dict() for label in lib.clip(str(low)).labels]
        assert labels[0]["path"] == [labels[0]["name"]] and labels[0]["mid"] in ("", "/m/0bt9lr")
    for line in run("clips", "--json", library=path).stdout.splitlines():
        clip = json.loads(line)
        assert clip["uri"] != str(low) or clip["labels"] == labels
    [found] = run("query", "--label", "my drill", "-k", 1, "--json", library=path).stdout.split(
        "\n"
    )[:-1]
    assert "my drill" in [label["name"] for label in json.loads(found)["labels"]]
    wrong = run("query", "--label", "my dril", library=path, code=2)
    assert "similar: my drill" in wrong.stderr
    shown = run("head", "show", library=path).stdout
    assert shown == run("head", "show", real).stdout
    assert shown.splitlines() == [
        "3 classes, 2 of them its own; sigmoid, power",
        "space      mini-6",
        "layers     128 > 3",
        "note       ä",
        "classes    my drill, Dog (AudioSet's), kettle",
    ]
    [facts] = map(json.loads, run("head", "show", real, "--json").stdout.splitlines())
    assert facts["made"] == {"note": "ä"} and facts["layers"] == [128, 3]
    assert "3 classes, 2 of them its own" in run("info", library=path).stdout
    other = written(tmp_path / "other.head", spec(3, "mini-6", 128, names=("pump", "Dog")))
    refused = run("ingest", sounds, "--head", other, library=path, code=2)
    assert f"head use {other} --library {path}" in refused.stderr
    assert "6 clips labelled" in run("head", "use", other, library=path).stdout
    [info] = map(json.loads, run("info", "--json", library=path).stdout.splitlines())
    assert info["head"]["own_classes"] == ["pump"]
    assert "the encoder's own head" in run("head", "use", "--default", library=path).stdout
    assert "are of its encoder's own head" in run("head", "show", library=path).stdout
    assert run("head", "show", "--json", library=path).stdout == "{}\n"
    assert "Sine wave" in run("label", low).stdout
    assert "my drill" in run("label", low, "--head", real, "--encoder", "mini").stdout
    asked = run("query", low, "--head", real, library=path).stdout
    assert "sounds like: " in asked and "kettle" in asked.splitlines()[0]
    assert "expected FILE" in run("head", "use", library=path, code=2).stderr
    assert "No such file" in run("head", "use", tmp_path / "none", library=path, code=1).stderr
