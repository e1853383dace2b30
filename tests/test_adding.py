"""Sounds that are no files: added from arrays and streams, embedded, and asked with as vectors."""

from __future__ import annotations

import io
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from support.sounds import RATE, assert_same_embeddings, noise, tone, write

import soundsearch
from soundsearch import Embeddings, errors


@pytest.fixture(params=["local", "lite"])
def address(request, tmp_path):
    if request.param == "local":
        return tmp_path / "l"
    pytest.importorskip("milvus_lite")
    return f"milvus-lite:{tmp_path / 'l.db'}"


@pytest.fixture
def lib(tmp_path):
    with soundsearch.open(tmp_path / "l") as library:
        yield library


def stream(sound, name=None, rate=RATE):
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format="WAV", subtype="FLOAT")
    file.seek(0)
    if name is not None:
        file.name = name
    return file


class Pipe(io.RawIOBase):
    """A binary file that cannot seek."""

    def __init__(self, file):
        self._file = file

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._file.readinto(buffer)


def test_samples_are_stored_as_a_file_would_be(address, tmp_path):
    sound = np.stack([tone(440, 3.3), noise(1, 3.3)], axis=1)
    path = write(tmp_path / "s.wav", sound, subtype="FLOAT")
    with soundsearch.open(address) as lib:
        clip = lib.add(sound, RATE, uri="track:1", tags={"mic": "AKG", "take": 1})
        assert lib.ingest(path).added == 1
        filed = lib.clip(path)
        assert (clip.uri, clip.tags) == ("track:1", {"mic": "AKG", "take": 1})
        assert "track:1" in lib and "track:2" not in lib and len(lib) == 2
        assert lib.clip("track:1") == lib.clip(clip.id) == clip
        assert (clip.duration, clip.segments, clip.padded) == (filed.duration, 3, False)
        assert clip.labels == filed.labels
        assert_same_embeddings(lib.vectors("track:1"), lib.vectors(path))
        [hit] = lib.similar("track:1")
        assert hit.uri == str(path) and hit.score == pytest.approx(1, abs=1e-3)
        assert lib.remove(["track:1"]) == 1 and len(lib) == 1


def test_another_sound_replaces_and_the_same_does_not(lib, monkeypatch):
    first = lib.add(tone(440, 2), RATE, uri="x", tags={"a": "kept", "b": 1})
    short = lib.add(noise(1, 0.3), RATE, uri="x", tags={"b": None})
    assert (short.id, short.tags, short.padded) == (first.id, {"a": "kept"}, True)
    vectors = lib.vectors("x")
    monkeypatch.setattr(lib._session, "listener", None)  # nothing is heard
    same = lib.add(noise(1, 0.3), RATE, uri="x", tags={"c": True})
    assert (same.id, same.tags) == (first.id, {"a": "kept", "c": True})
    np.testing.assert_array_equal(lib.vectors("x"), vectors)
    with pytest.raises(TypeError):  # another rate is another sound
        lib.add(noise(1, 0.3), 2 * RATE, uri="x")


@pytest.mark.parametrize(
    ("source", "options", "error", "match"),
    [
        (tone(440, 1)[None], {"sample_rate": RATE}, errors.AudioError, "track:1: .*transpose"),
        (tone(440, 1), {}, errors.ArgumentError, "track:1: expected sample_rate"),
        (tone(440, 1), {"sample_rate": 1e30}, errors.ArgumentError, "sample_rate"),
        (np.zeros(0), {"sample_rate": RATE}, errors.AudioError, "track:1: expected"),
        (np.full(RATE, np.nan), {"sample_rate": RATE}, errors.AudioError, "finite"),
        ("clip.wav", {}, errors.ArgumentError, "ingest"),
        (None, {"sample_rate": RATE}, errors.ArgumentError, "expected a path"),
        (io.BytesIO(b"text"), {}, errors.AudioError, "track:1: .*not readable"),
        (tone(440, 1), {"sample_rate": RATE, "uri": ""}, errors.ArgumentError, "uri: expected"),
        (tone(440, 1), {"sample_rate": RATE, "uri": 7}, errors.ArgumentError, "uri: expected"),
        (tone(440, 1), {"sample_rate": RATE, "uri": "\ud800"}, errors.ArgumentError, "uri: exp"),
        (tone(440, 1), {"sample_rate": RATE, "tags": {"": 1}}, errors.ArgumentError, "key"),
    ],
)
def test_what_is_no_sound_is_refused(lib, source, options, error, match):
    lib.add(noise(1, 1), RATE, uri="before")
    with pytest.raises(error, match=match):
        lib.add(source, **{"uri": "track:1", **options})
    assert [clip.uri for clip in lib] == ["before"]


def test_binary_files(lib, tmp_path):
    sound = noise(3, 2)
    assert lib.add(stream(sound), uri="upload").duration == 2.0
    assert lib.add(Pipe(stream(sound)), uri="pipe").duration == 2.0
    path = write(tmp_path / "disk.wav", sound)
    named = [stream(sound, "song.wav"), io.BytesIO(b"text")]
    named[1].name = "text"
    outcomes = []
    with open(path, "rb") as on_disk:
        report = lib.ingest(
            [*named, on_disk],
            tags={"song.wav": {"a": "b"}},
            on_file=lambda *outcome: outcomes.append(outcome),
        )
    assert (report.added, report.seconds, report.tags.tagged) == (2, 4.0, 1)
    assert [failure.uri for failure in report.failed] == ["text"]
    assert {*outcomes} == {("text", "failed"), ("song.wav", "added"), (str(path), "added")}
    assert lib.ingest(named[0]).unchanged == 1
    with pytest.raises(errors.ArgumentError, match="with a name"):
        lib.ingest(stream(sound))
    assert len(lib) == 4
    # Neither is below a folder: a prune leaves them.
    assert lib.ingest(tmp_path, prune=True).removed == 0 and len(lib) == 4


def test_many_adds_lock_once(lib, tmp_path):
    with lib.writing():
        for n in range(3):
            lib.add(noise(n, 1), RATE, uri=f"{n}")
            assert len(lib) == n + 1  # readers see each at once
        lib.tag({"1": {"a": 1}})
        with (
            soundsearch.open(tmp_path / "l") as other,
            pytest.raises(errors.LibraryBusy),
        ):
            other.tag({"2": {"a": 1}})
        lib.remove(["2"])
    with soundsearch.open(tmp_path / "l") as other:
        assert [clip.tags for clip in other] == [{}, {"a": 1.0}]
        other.tag({"0": {"b": 1}})


@pytest.mark.slow
def test_threads_add_and_ask_together(address):
    with soundsearch.open(address) as lib, ThreadPoolExecutor(4) as pool:
        clips = list(
            pool.map(lambda n: lib.add(tone(200 + 50 * n, 2), RATE, uri=f"{n}"), range(12))
        )
        assert sorted(clip.uri for clip in lib) == sorted(f"{n}" for n in range(12))
        assert len({clip.id for clip in clips}) == 12
        hits = pool.map(lambda n: lib.query(vectors=lib.vectors(f"{n}"), k=1)[0].uri, range(12))
        assert list(hits) == [f"{n}" for n in range(12)]


# Waiting


def test_a_writer_waits_for_another(lib, tmp_path):
    lib.add(noise(1, 1), RATE, uri="1")
    said, told = [], threading.Event()

    def on_wait(text):
        said.append(text)
        told.set()

    with (
        ThreadPoolExecutor(1) as pool,
        soundsearch.open(tmp_path / "l", wait=True, on_wait=on_wait) as patient,
    ):
        with lib.writing():
            waiting = pool.submit(patient.add, noise(2, 1), RATE, uri="2")
            assert told.wait(30)
            brief = soundsearch.open(tmp_path / "l", wait=0.3)
            with brief, pytest.raises(errors.LibraryBusy, match="is writing"):
                brief.remove(["1"])
        assert waiting.result(30).uri == "2"
        assert len(said) == 1 and said[0].startswith("waiting, as ")
        ours, others = noise(1, 1), noise(3, 1)
        own = lib.vectors("1")
        for wants, meanwhile, left in (
            (lambda: patient.add(ours, RATE, uri="1"), lambda: lib.add(others, RATE, uri="1"), 2),
            (lambda: patient.add(ours, RATE, uri="1"), lambda: lib.remove("1"), 2),
            (lambda: patient.remove(["1", "2"]), lambda: lib.add(others, RATE, uri="1"), 0),
        ):
            told.clear()
            with lib.writing():
                waiting = pool.submit(wants)
                assert told.wait(30)
                meanwhile()
            waiting.result(30)
            assert len(lib) == left
            assert not left or np.array_equal(lib.vectors("1"), own)
    for wrong in (-1, "soon", None, float("nan")):
        with pytest.raises(errors.ArgumentError, match="wait: expected"):
            soundsearch.open(tmp_path / "l", wait=wrong)


def ingest(address, folder, results):
    with soundsearch.open(address, wait=True) as lib:
        results.put(lib.ingest(folder).to_dict())


def test_two_processes_make_one_library(tmp_path, sounds):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    both = [
        context.Process(target=ingest, args=(tmp_path / "new", sounds, results)) for _ in range(2)
    ]
    for process in both:
        process.start()
    reports = [results.get(timeout=60) for _ in both]
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(report["added"] for report in reports) == [0, 6]
    assert sorted(report["unchanged"] for report in reports) == [0, 6]


# Embeddings


def test_embeddings_of_a_sound_ask_as_the_sound_does(lib, sounds):
    lib.ingest(sounds)
    path = sounds / "chirp.flac"
    found = soundsearch.embed(path)
    assert (found.vectors.shape, found.vectors.dtype) == ((10, 128), np.float32)
    assert found.space == lib.info()["space"] and len(found) == 10
    np.testing.assert_array_equal(np.asarray(found), found.vectors)
    assert_same_embeddings(found.vectors, lib.vectors(path))
    part = soundsearch.embed(path, at=(4.0, 6.0), hop=0.48)
    np.testing.assert_allclose(part.times, [[4, 4.96], [4.48, 5.44], [4.96, 5.92]])
    rows = [(hit.uri, hit.start, round(hit.score, 4)) for hit in lib.query(path)]
    for answer in (lib.query(found), lib.query(vectors=found)):
        assert [(hit.uri, hit.start, round(hit.score, 4)) for hit in answer] == rows
        assert answer.labels == ()
    one = lib.vectors(sounds / "low.wav")[1]
    for given in (one, one.tolist(), one[None].astype(np.float64)):
        assert lib.query(vectors=given, k=1)[0].uri == str(sounds / "low.wav")
    selected = lib.where("duration < 4.5").query(vectors=found)
    assert str(path) not in [hit.uri for hit in selected] and len(selected) == 3


@pytest.mark.parametrize(
    ("vectors", "match"),
    [
        (np.zeros((2, 127)), "expected 128"),
        (np.ones(64), "expected 128"),
        (np.full(128, np.nan), "finite"),
        (np.full(128, np.inf), "finite"),
        (np.zeros(128), "zero"),
        (np.zeros((0, 128)), "expected"),
        (np.ones((1, 2, 128)), "expected"),
        (3.0, "expected"),
        (["a"] * 128, "numbers"),
        (np.ones(128, complex), "numbers"),
    ],
)
def test_vectors_that_are_none(lib, vectors, match):
    lib.add(noise(1, 2), RATE, uri="1")
    if match == "expected 128" or match == "zero":
        vectors = vectors + (match != "zero")
    with pytest.raises(errors.ArgumentError, match=match):
        lib.query(vectors=vectors)


def test_vectors_of_another_space(lib):
    sound = noise(1, 2)
    lib.add(sound, RATE, uri="1")
    other = Embeddings(soundsearch.embed(sound, sample_rate=RATE).vectors, space="mini-0")
    with pytest.raises(errors.SpaceMismatch, match="mini-0"):
        lib.query(other)
    with pytest.raises(errors.ArgumentError, match="both"):
        lib.query(sound, vectors=other)
    with pytest.raises(errors.ArgumentError, match="expected a path"):
        lib.query()
