"""Valid and invalid questions, and retries that end."""

from __future__ import annotations

import numpy as np
import pytest
from support.sounds import RATE, tone

import soundsearch
from soundsearch import Examples, Key, Labelled, Sound, Stored, errors
from soundsearch.asking.ranking import RANKINGS
from soundsearch.stores.base import ClipChanged

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def lib(sounds, tmp_path):
    with soundsearch.open(tmp_path / "sounds.lib") as library:
        library.ingest([sounds])
        yield library


def rows(answer):
    return [(hit.rank, hit.clip_id, hit.start, round(hit.score, 3)) for hit in answer]


def test_one_verb_takes_every_question(lib, sounds):
    path = sounds / "low.wav"
    clip = next(clip for clip in lib if clip.uri == str(path))
    assert rows(lib.query(Sound(path))) == rows(lib.query(path))
    part = lib.query(Sound(path, at=(1.0, 2.5)), 2)
    assert rows(part) == rows(lib.query(path, 2, at=(1.0, 2.5)))
    for stored in (Stored(path), Stored(str(path)), Stored(clip.id)):
        answer = lib.query(stored, 3)
        assert rows(answer) == rows(lib.similar(path, 3))
        assert clip.id not in [hit.clip_id for hit in answer]
        assert answer.labels == clip.labels
    for unknown in (Stored("none.wav"), Stored(10**6)):
        with pytest.raises(errors.ClipNotFound, match=str(unknown.clip)):
            lib.query(unknown)
    np.testing.assert_array_equal(lib.vectors(clip.id), lib.vectors(path))
    for whole in (Sound(path, at=(1.0, INF)), Sound(path, at=np.array([1, INF]))):
        assert rows(lib.query(whole)) == rows(lib.query(path, at=(1.0, None)))
    assert rows(lib.query(Stored(path, at=(1, INF)))) == rows(lib.query(Stored(path, at=(1, None))))
    # What would be left out unsaid.
    for asked in (Sound(path), Stored(path), Labelled("Bell"), Examples([path])):
        for name, beside in {"at": (1, 2), "sample_rate": RATE}.items():
            with pytest.raises(errors.ArgumentError, match=f"{name}: expected it only beside"):
                lib.query(asked, **{name: beside})
    with pytest.raises(errors.ArgumentError, match="at: expected it only beside"):
        lib.query(vectors=lib.vectors(path), at=(1, 2))
    with pytest.raises(errors.ArgumentError, match="at: expected it only beside"):
        soundsearch.label(Sound(path), at=(1, 2))


@pytest.mark.parametrize("k", [0, -1, 2.5, "10", None, True, NAN])
def test_k_is_a_number_of_clips(lib, sounds, k):
    with pytest.raises(errors.ArgumentError, match="k: expected a whole number"):
        lib.query(sounds / "low.wav", k)
    with pytest.raises(errors.ArgumentError, match="k: expected a whole number"):
        lib.similar(sounds / "low.wav", k)


def test_k_beyond_the_number_of_clips(lib, sounds):
    assert len(lib.query(sounds / "low.wav", np.int64(1_000_000))) == 6


@pytest.mark.parametrize(
    "at",
    [(-3, None), (3, 2), (2, 2), (NAN, None), (INF, None), (0, NAN), (0, -1), 3, "ab", "01", (1,)],
)
@pytest.mark.parametrize("kind", ["file", "array"])
def test_invalid_parts(lib, sounds, at, kind):
    source = sounds / "low.wav" if kind == "file" else tone(440, 3)
    for ask in (lib.query, lib.label, soundsearch.label):
        with pytest.raises(errors.ArgumentError, match="at: expected"):
            ask(source, at=at, sample_rate=RATE)


@pytest.mark.parametrize("rate", [0, -1, NAN, INF, 1e30, "16000", 0.5])
def test_invalid_sample_rates(lib, rate):
    for ask in (lib.query, lib.label):
        with pytest.raises(errors.ArgumentError, match="sample_rate: expected"):
            ask(tone(440, 3), sample_rate=rate)


@pytest.mark.parametrize(
    "source", [None, b"RIFF", bytearray(b"RIFF"), 3, 2.5, True, Key("t1"), ["a.wav", "b.wav"], {}]
)
def test_sources_that_are_not_sound(lib, source):
    advice = r"io\.BytesIO" if isinstance(source, (bytes, bytearray)) else r"Stored\(clip\)"
    with pytest.raises(errors.ArgumentError, match=rf"expected a path, a binary .* {advice}"):
        lib.query(source)


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros((2, RATE), np.float32),  # channels first, as in librosa and torch
        np.zeros((RATE, 2, 2)),
        np.zeros(0),
        np.full(RATE, NAN),
        np.full(RATE, 1e300),
        np.zeros(RATE, complex),
        np.array(["a"] * RATE),
    ],
)
def test_arrays_that_are_not_sound(lib, sound):
    with pytest.raises(errors.AudioError, match="array: expected"):
        lib.query(sound, sample_rate=RATE)


def test_a_faulty_step_is_not_tried_again(lib, sounds, monkeypatch):
    calls = []

    def faulty(*_arguments):
        calls.append(1)
        return {}["a bug"]

    monkeypatch.setitem(RANKINGS, "faulty", faulty)
    for ask in (lib.query, lib.similar):
        calls.clear()
        with pytest.raises(KeyError, match="a bug"):
            ask(sounds / "low.wav", ranking="faulty")
        assert len(calls) == 1


def test_retries_end_if_clips_keep_changing(lib, sounds, monkeypatch):
    calls = []

    def changed(*_arguments):
        calls.append(1)
        raise ClipChanged("again")

    monkeypatch.setitem(RANKINGS, "changed", changed)
    with pytest.raises(errors.LibraryBusy, match="ask again"):
        lib.query(sounds / "low.wav", ranking="changed")
    assert 2 <= len(calls) <= 100


def test_a_closed_library_says_so(lib, sounds):
    lib.close()
    for ask in (
        lambda: lib.query(sounds / "low.wav"),
        lambda: len(lib),
        lambda: list(lib),
        lambda: lib.ingest(sounds),  # it would open it once more, and say that it made it
        lambda: lib.add(np.zeros(RATE), RATE, uri="silence"),
    ):
        with pytest.raises(errors.LibraryNotFound, match="was closed"):
            ask()


def test_labels_open_the_encoder_once(lib, sounds, monkeypatch):
    from soundsearch_ingest import encoders

    opened = []
    load = encoders.load
    monkeypatch.setattr(encoders, "load", lambda *a, **k: opened.append(a) or load(*a, **k))
    lib.query(sounds / "low.wav")
    for _ in range(3):
        assert lib.label(sounds / "low.wav").labels
    assert len(opened) <= 1
