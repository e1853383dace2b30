"""AudioSet's released features in a library: clips without sound files."""

from __future__ import annotations

import json
import os
from functools import partial

import numpy as np
import pytest
from soundsearch_ingest.audioset import Record, write_records
from support import commands
from support.sounds import tone, write

import soundsearch
from soundsearch import errors

DOG, BARK, MUSIC = 74, 75, 137


def records(seed, count, labels=(), seconds=10):
    rng = np.random.default_rng(seed)
    return [
        Record(
            f"id-{seed}-{n:05}",
            30.0,
            40.0,
            tuple(labels),
            rng.integers(0, 256, (seconds, 128), np.uint8),
        )
        for n in range(count)
    ]


@pytest.fixture
def features(tmp_path):
    folder = tmp_path / "bal_train"
    folder.mkdir()
    write_records(folder / "00.tfrecord", records(0, 30, (BARK,)))
    write_records(folder / "01.tfrecord", [*records(1, 20, (MUSIC, 600)), *records(2, 1, (), 3)])
    return folder


@pytest.fixture
def lib(features, tmp_path):
    with soundsearch.open(tmp_path / "a.lib") as library:
        report = library.ingest([features / "*.tfrecord"])
        assert (report.added, report.failed) == (51, [])
        yield library


def test_the_library_holds_what_the_records_hold(lib, tmp_path):
    info = lib.info()
    assert (info["clips"], info["segments"], info["space"]) == (51, 503, "vggish-audioset8")
    for record in (*records(0, 30), *records(1, 20), *records(2, 1, (), 3)):
        stored = lib.vectors(f"https://www.youtube.com/watch?v={record.video_id}&t=30")
        np.testing.assert_allclose(stored, record.features * 4.0 / 255 + 4 / 512 - 2, atol=1e-6)
    assert os.path.getsize(tmp_path / "a.lib" / "vectors-1.u8") == 503 * 128


def test_stored_clips_can_be_questions(lib):
    url = "https://www.youtube.com/watch?v=id-0-00003&t=30"
    answer = lib.similar(url, k=5)
    assert len(answer) == 5 and url not in [hit.uri for hit in answer]
    assert [label.name for label in answer.labels] == ["Bark"]


def test_what_people_say_outlives_a_feature_file_that_is_touched(lib, features):
    url = "https://www.youtube.com/watch?v=id-0-00003&t=30"
    lib.correct(url, "Bark", heard=False)
    lib.correct(url, "Cat", at=(1, 2))
    for file in features.iterdir():
        os.utime(file, ns=(1, 1))
    assert lib.ingest([features]).replaced
    assert [label.name for label in lib.clip(url).human_labels] == ["Cat"]


def test_human_labels(lib):
    dogs = list(lib.where("human_label['Dog']"))
    assert len(dogs) == 30 and len(lib.where("human_label['/m/0bt9lr']")) == 30
    assert len(lib.where("label['Dog'] == 1")) == 30
    assert [label.name for label in dogs[0].human_labels] == ["Bark"]
    assert dogs[0].human_labels[0].path[:2] == ("Animal", "Domestic animals, pets")
    assert dogs[0].labels == ()  # no predictions without sound
    assert len(lib.where("human_label['music']")) == 20  # class 600 does not exist
    assert len(lib) == len(list(lib)) == 51
    with pytest.raises(errors.SoundsearchError, match="Dgo"):
        lib.where("human_label['Dgo']")


def test_a_second_ingest_changes_nothing(lib, features, tmp_path):
    again = lib.ingest([features])
    assert (again.added, again.unchanged) == (0, 51)
    write_records(features / "00.tfrecord", records(3, 2, (DOG,)))
    report = lib.ingest([features])
    assert (report.added, report.unchanged) == (2, 21)
    assert lib.rebuild() == 0
    assert lib.info()["segments"] == 523
    assert os.path.getsize(tmp_path / "a.lib" / "vectors-2.u8") == 523 * 128


def test_records_before_the_damage_are_kept(tmp_path, features):
    path = features / "00.tfrecord"
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    (features / "text.tfrecord").write_text("no records at all")
    with soundsearch.open(tmp_path / "d.lib") as lib:
        report = lib.ingest([features / name for name in os.listdir(features)])
        assert report.added == 21 + 15
        assert sorted(os.path.basename(failure.uri) for failure in report.failed) == [
            "00.tfrecord",
            "text.tfrecord",
        ]
        assert all("record" in failure.reason for failure in report.failed)
        path.write_bytes(whole)
        assert lib.ingest([path]).added + 36 >= 51
        assert lib.info()["clips"] == 51


def test_features_and_sounds_do_not_mix(lib, features, sounds, tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDSEARCH_MODELS", str(tmp_path / "no models"))
    with pytest.raises(errors.EncoderError, match="vggish_pca_params"):
        lib.ingest([write(tmp_path / "tone.wav", tone(440, 2))])
    with pytest.raises(errors.EncoderError, match="vggish_pca_params"):
        lib.query(sounds / "low.wav")
    with soundsearch.open(tmp_path / "m.lib", encoder="mini") as other:
        other.ingest([sounds])
        report = other.ingest([features])
        assert [failure.reason.count("vggish-audioset8") for failure in report.failed] == [1, 1]
        assert other.info()["clips"] == 6


def test_on_the_command_line(features, tmp_path):
    run = partial(commands.run, library=tmp_path / "c.lib")
    done = run("ingest", features / "00.tfrecord", features / "01.tfrecord")
    assert done.returncode == 0 and "51 added" in done.stdout
    rows = [
        json.loads(line)
        for line in run("clips", "--human-label", "Bark", "--json").stdout.splitlines()
    ]
    assert len(rows) == 30
    assert rows[0]["human_labels"] == [{"name": "Bark", "mid": "/m/05tny_"}]
    assert "Bark" in run("clips").stdout
