"""Heads trained with sound that is heard again, changed."""

from __future__ import annotations

import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.sounds import RATE, noise, pitch, tone, write

import soundsearch
from soundsearch import ArgumentError, MissingExtra
from soundsearch.cli.main import main
from soundsearch.learn import sounds
from soundsearch.learn.bags import Bags
from soundsearch.learn.fitting import Recipe, validated
from soundsearch.learn.rehearing import Reheard
from soundsearch.learn.sounds import CHANGES, changed

pytest.importorskip("audiomentations")


def made(sound, kind, *seed):
    return np.concatenate(list(changed([sound], kind, seed or [0])))


def decibels(sound):
    return 10 * np.log10(np.mean(np.square(sound, dtype=np.float64)))


# Sounds


@pytest.mark.parametrize("seed", range(5))
def test_each_kind_changes_what_it_says(seed):
    sound = tone(1000, 3)
    hiss = made(sound, "noise", seed) - sound
    assert 5 - 0.2 < decibels(sound) - decibels(hiss) < 30 + 0.2
    gained = made(sound, "gain", seed)
    factor = gained[100] / sound[100]
    assert 0.5 < factor < 2
    np.testing.assert_allclose(gained, factor * sound, rtol=1e-5)
    stretched = made(sound, "stretch", seed)
    assert len(sound) / 1.25 <= len(stretched) + 1 and len(stretched) <= len(sound) / 0.8
    assert pitch(stretched) == pytest.approx(1000, abs=2)
    moved = made(sound, "pitch", seed)
    assert len(moved) == len(sound)
    assert abs(12 * np.log2(pitch(moved) / 1000)) < 2.05
    for found in (stretched, moved):  # the level is kept
        assert decibels(found) == pytest.approx(decibels(sound), abs=0.5)


@pytest.mark.parametrize("seed", range(5))
def test_a_room_decays_exponentially_after_the_direct_sound(seed):
    click = np.zeros(3 * RATE, np.float32)
    click[RATE] = 1
    heard = made(click, "reverb", seed)
    assert np.abs(heard[:RATE]).max() < 1e-6 and heard[RATE] == pytest.approx(1, abs=0.2)
    room = heard[RATE + 1 :]
    assert -15.2 < decibels(room) + 10 * np.log10(len(room)) < 5.2  # beside the direct sound
    steps = [decibels(room[at : at + 400]) for at in range(0, 2400, 400)]
    # 60 dB within 0.2 to 1.5 s
    assert -300 * 1.5 < np.polyfit(np.arange(6) / 40, steps, 1)[0] < -40 * 0.7


@pytest.mark.parametrize("kind", CHANGES)
def test_the_same_seed_changes_the_same_and_others_differ(kind):
    sound = noise(0, 2)
    state = random.getstate(), np.random.get_state()  # noqa: NPY002
    first = made(sound, kind, 1, 2)
    assert random.getstate() == state[0]  # those of the process are left alone
    np.testing.assert_array_equal(np.random.get_state()[1], state[1][1])  # noqa: NPY002
    np.random.random(3)  # noqa: NPY002
    np.testing.assert_array_equal(made(sound, kind, 1, 2), first)
    other = made(sound, kind, 1, 3)
    assert len(other) != len(first) or (other != first).any()
    assert first.dtype == np.float32 and (first[: len(sound)] != sound[: len(first)]).any()


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("length", [1, 10, 399, 16_000])
def test_short_silent_and_loud_sounds_come_out_whole(kind, length):
    silent = np.zeros(length, np.float32)
    assert not made(silent, kind).any()
    found = made(tone(440, length / RATE, level=1.5), kind)
    assert len(found) >= 0.75 * length - 1 and np.isfinite(found).all()
    if length == 16_000:  # nothing is clipped or brought down to full scale
        assert np.abs(found).max() > (0.7 if kind == "gain" else 1.2)


@pytest.mark.parametrize("kind", CHANGES)
def test_long_sound_is_changed_in_pieces_each_as_the_others(kind, monkeypatch):
    sound = np.tile(tone(500, 1), 5)
    whole = made(sound, kind)
    monkeypatch.setattr(sounds, "_PIECE", 1)
    blocks = [sound[at : at + 1000] for at in range(0, len(sound), 1000)]
    pieces = list(changed(blocks, kind, [0]))
    assert len(pieces) == 5
    found = np.concatenate(pieces)
    assert len(found) == pytest.approx(len(whole), abs=5)
    assert pitch(found) == pytest.approx(pitch(whole), abs=2)
    if kind in ("gain", "reverb"):
        np.testing.assert_allclose(found, whole, atol=1e-5)
    if kind == "noise":  # as much of it, but not the same over again
        assert (pieces[0] - sound[:RATE] != pieces[1] - sound[:RATE]).any()


# Training


@pytest.fixture
def kinds(tones_and_noises):
    return {clip.uri: clip.uri.split("/")[-1][:-5] for clip in tones_and_noises}


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [("noise", "mean"), ("gain,stretch,pitch,reverb,mixup", "mean"), ("reverb", "attention")],
)
def test_a_head_learns_from_changed_sound(tones_and_noises, kinds, kind, pooling):
    options = {"folds": 2, "augment": kind.split(","), "pooling": pooling}
    training = soundsearch.train(tones_and_noises, kinds, **options)
    assert training.head.made["heard again"] == 18 * len({*options["augment"]} & {*CHANGES})
    assert training.without.keys() == training.report.measures.keys()
    plain = soundsearch.train(tones_and_noises, kinds, folds=2, pooling=pooling)
    assert training.without == plain.report.measures
    assert training.report.measures["accuracy"] > 0.8
    again = soundsearch.train(tones_and_noises, kinds, **options)
    for (weight, bias), other, without in zip(
        training.head.layers, again.head.layers, plain.head.layers, strict=True
    ):
        np.testing.assert_array_equal(weight, other[0])
        np.testing.assert_array_equal(bias, other[1])
        assert (weight != without[0]).any()


def test_nothing_is_made_of_what_is_held_back():
    seen = []

    class Watching(Recipe):
        def models(self, bags, more=None):
            seen.append((bags, more))
            return super().models(bags, more)

    random = np.random.default_rng(0)
    count = 12
    one, starts = np.ones(count), np.arange(count)
    targets = np.eye(2)[starts % 2]
    bags = Bags(random.normal(size=(count, 3)), one, starts, targets, one[:, None] * 2)
    origins = np.concatenate([starts, starts[:5]])
    made_of = bags.take(origins)
    nothing = np.zeros((len(origins), 1))
    heard = Reheard(replace(made_of, targets=nothing, weights=nothing), origins)
    folds = starts // 4
    validated(Watching("softmax"), bags, folds, lambda _text: None, heard)
    for fold, (trained, more) in enumerate(seen):
        held = bags.vectors[folds == fold]
        assert not (more.vectors[:, None] == held).all(2).any()
        assert len(more) == (folds[origins] != fold).sum() and len(trained) == 8
        places = [int(np.flatnonzero((bags.vectors == row).all(1))[0]) for row in more.vectors]
        np.testing.assert_array_equal(more.targets, targets[places])
        np.testing.assert_array_equal(more.weights, 2)


def test_files_that_are_gone_or_others_by_now(tones_and_noises, kinds):
    gone, other = [uri for uri, kind in kinds.items() if kind == "tone"][:2]
    os.remove(gone)
    write(Path(other), noise(99, 2))
    training = soundsearch.train(tones_and_noises, kinds, folds=2, augment=["gain", "reverb"])
    assert training.head.made["heard again"] == 2 * 16
    [warning] = training.warnings
    assert warning.startswith("2 of 18 clips could not be heard again, and are learnt from as they")
    assert f"{gone}: No such file" in warning or "has changed since it was ingested" in warning
    # The same content under another time is the same sound.
    touched = next(uri for uri, kind in kinds.items() if kind == "noise")
    os.utime(touched, (1, 1))
    training = soundsearch.train(tones_and_noises, kinds, folds=2, augment=["reverb"])
    assert training.head.made["heard again"] == 16
    for uri in kinds:
        if uri != gone:
            os.remove(uri)
    with pytest.raises(
        ArgumentError,
        match=r"augment: expected clips that can be heard again, to change their sound \(noise\), "
        r"got none of 18; .*soundsearch ingest FOLDER --library .*, or leave these .*: No such",
    ):
        soundsearch.train(tones_and_noises, kinds, folds=2, augment=["noise"])


def test_what_becomes_near_silent_is_not_learnt_from(tmp_path):
    labels = {}
    with soundsearch.open(tmp_path / "l") as lib:
        for number in range(4):
            kind = ("faint", "loud")[number % 2]
            level = (10 ** (-79 / 20), 0.3)[number % 2]
            labels[str(write(tmp_path / "s" / f"{number}.flac", noise(number, 2, level)))] = kind
        lib.ingest([tmp_path / "s"])
        heard = soundsearch.train(lib, labels, folds=2, augment=["gain"]).head.made["heard again"]
    assert 2 <= heard <= 4


def test_a_missing_package_is_named(tones_and_noises, kinds, monkeypatch):
    monkeypatch.setitem(sys.modules, "audiomentations", None)
    with pytest.raises(MissingExtra, match=r"pip install 'soundsearch\[augment\]'"):
        soundsearch.train(tones_and_noises, kinds, augment=["pitch"])
    soundsearch.train(tones_and_noises, kinds, folds=2, augment=["reverb"])  # which needs none


def run(*arguments, code=0):
    done = CliRunner().invoke(main, ["train", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


def test_the_command(tones_and_noises, kinds, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("path,class\n" + "\n".join(f"{uri},{kind}" for uri, kind in kinds.items()))
    out = tmp_path / "h"
    options = ["--library", tmp_path / "l", "--labels", table, "--out", out, "--folds", 2]
    text = run(*options, "--augment", "noise, mixup").stdout
    assert "(without augmentation " in text and out.exists()
    out.unlink()
    for file in kinds:
        os.remove(file)
    done = run(*options, "--augment", "noise", code=2)
    assert "to change their sound (noise), got none of 18" in done.stderr
    assert not out.exists()


def test_features_without_sound_are_refused(tmp_path):
    pytest.importorskip("google_crc32c")
    from soundsearch_ingest.audioset import Record, write_records

    random = np.random.default_rng(0)
    records = [
        Record(f"id{n}", 0.0, 10.0, (0,), random.integers(0, 256, (10, 128), np.uint8))
        for n in range(6)
    ]
    write_records(tmp_path / "00.tfrecord", records)
    with soundsearch.open(tmp_path / "l") as lib:
        lib.ingest([tmp_path / "00.tfrecord"])
        labels = {clip.uri: "ab"[n % 2] for n, clip in enumerate(lib)}
        with pytest.raises(ArgumentError, match=r"\(reverb\), got none of 6; .*id0"):
            soundsearch.train(lib, labels, folds=2, augment=["reverb"])


def test_a_ctrl_c_while_clips_are_heard_leaves_nothing(tones_and_noises, kinds):
    def stop(step):
        if step.startswith("hearing 3 of 18 again"):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        soundsearch.train(tones_and_noises, kinds, augment=["reverb"], on_step=stop)
