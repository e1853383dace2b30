"""Questions of several examples, for and against; pages and least scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from support.sounds import RATE, tone, write
from support.stores import new_clip

import soundsearch
from soundsearch import Embeddings, Examples, Sound, Stored, errors
from soundsearch.asking import examples
from soundsearch.cli.main import main
from soundsearch.vectors import unit

NAN = float("nan")


@pytest.fixture
def lib(tones_and_noises):
    return tones_and_noises


def kinds(answer, count=5):
    return {hit.uri.rpartition("/")[2].rstrip("0123456789.wav") for hit in answer[:count]}


def rows(answer):
    return [(hit.rank, hit.clip_id, hit.start, round(hit.score, 4)) for hit in answer]


def path(lib, name):
    return next(clip.uri for clip in lib if clip.uri.endswith(f"/{name}.wav"))


def test_one_example_is_the_question_itself(lib):
    uri = path(lib, "tone2")
    [one] = [clip.id for clip in lib if clip.uri == uri]
    for example in (uri, one, Stored(uri)):
        answer = lib.query(Examples(example), 20)
        assert [hit[1] for hit in rows(answer)] == [hit[1] for hit in rows(lib.similar(uri, 20))]
        scores = [hit.score for hit in lib.similar(uri, 20)]
        assert [hit.score for hit in answer] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("few", [1 << 30, 0], ids=["mean", "model"])
def test_examples_for_and_against(lib, few, monkeypatch):
    monkeypatch.setattr(examples, "FEW", few)
    tones = [path(lib, f"tone{number}") for number in range(3)]
    noises = [path(lib, f"noise{number}") for number in range(3)]
    answer = lib.query(Examples(tones, noises), 50)
    assert len(answer) == 12  # none of the examples
    assert not {hit.uri for hit in answer} & {*tones, *noises}
    assert kinds(answer, 3) == {"tone"}
    assert kinds(lib.query(Examples(noises, tones), 3)) == {"noise"}
    # What is heard of files is what is stored of them, but for 8-bit rounding.
    heard = Examples([Sound(uri) for uri in tones], [Sound(uri) for uri in noises])
    found = {hit.clip_id: hit.score for hit in lib.query(heard, 50)}
    assert [found[hit.clip_id] for hit in answer] == pytest.approx(
        [hit.score for hit in answer], abs=0.02
    )


def test_weights_count(lib):
    pair = [path(lib, "tone0"), path(lib, "noise0")]
    for weights, kind in (([5, 1], "tone"), ([1, 5], "noise"), ([1, 0], "tone")):
        assert kinds(lib.query(Examples(pair, weights=weights), 3)) == {kind}
    alone = lib.query(Examples(pair, weights=[1, 0]), 50)
    only = [
        row for row in rows(lib.query(Examples(pair[0]), 50)) if row[1] != clip_id(lib, pair[1])
    ]
    assert [row[1] for row in rows(alone)] == [row[1] for row in only]


def clip_id(lib, uri):
    return lib.clip(uri).id


def test_selections_and_other_sources(lib):
    tones = Examples([Embeddings(lib.vectors(path(lib, "tone0"))), Sound(tone(320, 2), None, RATE)])
    noisy = lib.where("uri like '%noise%'")
    assert kinds(noisy.query(tones, 50), 50) == {"noise"}
    assert kinds(lib.query(tones, 3)) == {"tone"}


def test_a_direction_tells_apart():
    rng = np.random.default_rng(0)
    kind, other = unit(rng.normal(size=(2, 128)).astype(np.float32))
    near = lambda at, count: unit(at + 0.07 * rng.normal(size=(count, 128)).astype(np.float32))  # noqa: E731
    background = unit(rng.normal(size=(500, 128)).astype(np.float32))
    like, unlike = near(kind + other, 5), near(other, 5)
    along = examples.direction(like, np.ones(5, np.float32), unlike, background)
    # What they have in common with those against is not what was meant.
    to_kind, to_other = unit(along[None])[0] @ np.stack([kind, other], 1)
    mean_to_kind, mean_to_other = unit(like.mean(0, keepdims=True))[0] @ np.stack([kind, other], 1)
    assert mean_to_other == pytest.approx(mean_to_kind, abs=0.1)
    assert to_kind > 0.6 > 0.5 > to_other
    twice = examples.direction(
        np.concatenate([like, like[:1]]),
        np.array([0.5, 1, 1, 1, 1, 0.5], np.float32),
        unlike,
        background,
    )
    assert twice == pytest.approx(along, abs=1e-5)


def test_every_store_gives_a_sample(store):
    with store.reading() as reading:
        assert examples.sample(reading, 16).shape == (0, 16)
    clips = [new_clip(f"/{number}", 3, number) for number in range(40)]
    with store.writing():
        store.add(clips)
    with store.reading() as reading:
        found = examples.sample(reading, 16)
    stored = unit(np.concatenate([clip.embeddings for clip in clips]))
    cosines = (found @ stored.T).max(1)
    assert cosines == pytest.approx(1, abs=1e-5)
    assert len(found) > 100  # of 120


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"like": []}, "at least one"),
        ({"like": ["a"], "unlike": ["b", "a"]}, "for and against at once, got a"),
        ({"like": [3], "unlike": [Stored(3)]}, "for and against at once, got clip 3"),
        ({"like": [None]}, "like: expected paths"),
        ({"like": ["a"], "unlike": [b"x"]}, "unlike: expected paths"),
        ({"like": ["a"], "unlike": 1.5}, "unlike: expected paths"),
        ({"like": [True]}, "like: expected paths"),
        ({"like": ["a", "b"], "weights": [1]}, "weights: expected 2"),
        ({"like": ["a", "b"], "weights": [1, NAN]}, "weights: expected finite"),
        ({"like": ["a", "b"], "weights": [1, -1]}, "at least 0"),
        ({"like": ["a"], "weights": [0]}, "not all 0"),
        ({"like": ["a"], "weights": ["x"]}, "weights: expected numbers"),
        ({"like": ["a", "b"], "weights": [[1], [2, 3]]}, "weights: expected numbers"),
    ],
)
def test_invalid_examples(given, match):
    with pytest.raises(errors.ArgumentError, match=match):
        Examples(**given)


def test_examples_that_cannot_be_asked(lib):
    uri = path(lib, "tone0")
    with pytest.raises(errors.ArgumentError, match="for and against at once, got clip"):
        lib.query(Examples(uri, clip_id(lib, uri)))  # by two names
    with pytest.raises(errors.ClipNotFound, match="999"):
        lib.query(Examples(np.array([999])))
    with pytest.raises(errors.AudioError, match="nowhere"):
        lib.query(Examples([uri, "nowhere.wav"]))
    vectors = lib.vectors(uri)
    with pytest.raises(errors.ArgumentError, match="leave something"):
        lib.query(Examples([Embeddings(vectors), Embeddings(-vectors)]))


# Pages


def test_pages_are_parts_of_one_list(lib):
    uri = path(lib, "both1")
    for ask in (lib.similar, lib.query):
        whole = rows(ask(uri, 50))
        pages = [rows(ask(uri, 4, offset=offset)) for offset in range(0, 24, 4)]
        assert [row for page in pages for row in page] == whole
        assert [rank for rank, *_ in whole] == list(range(1, len(whole) + 1))
        assert rows(ask(uri, 4, offset=10**6)) == []


def test_pages_hold_under_ties(tmp_path):
    with soundsearch.open(tmp_path / "same") as library:
        for number in range(25):
            write(tmp_path / "t" / f"{number}.wav", tone(440, 1 + number / 1000))
        library.ingest([tmp_path / "t"])
        sound = tone(440, 1)
        pages = [library.query(sound, 5, sample_rate=RATE, offset=at) for at in range(0, 25, 5)]
        assert len({hit.clip_id for page in pages for hit in page}) == 25


def test_a_least_score(lib):
    uri = path(lib, "tone0")
    whole = lib.similar(uri, 50)
    least = whole[6].score
    assert rows(lib.similar(uri, 50, min_score=least)) == rows(whole[:7])
    assert rows(lib.similar(uri, 3, offset=5, min_score=least)) == rows(whole[5:7])
    assert len(lib.query(uri, min_score=1.1)) == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("offset", value) for value in (-1, 1.5, "1", None, True)],
        *[("min_score", value) for value in (NAN, "0.5", None, True)],
    ],
)
def test_invalid_pages(lib, option, value):
    with pytest.raises(errors.ArgumentError, match=f"{option}: expected"):
        lib.similar(path(lib, "tone0"), **{option: value})


# Segments


def test_segments_are_the_nearest_of_all(lib, store_of_all):
    vectors, places = store_of_all
    uri = path(lib, "both1")
    own = clip_id(lib, uri)
    query = lib.vectors(uri)[1]
    scores = unit(vectors) @ unit(query[None])[0]
    order = np.argsort(-scores, kind="stable")
    expected = [(*places[row], round(float(scores[row]), 4)) for row in order]
    found = lib.query(vectors=query, k=12, segments=True)
    assert [
        (hit.clip_id, round(hit.start / 0.96), round(hit.score, 4)) for hit in found
    ] == expected[:12]
    assert len({hit.clip_id for hit in found}) < 12
    page = lib.query(vectors=query, k=3, segments=True, offset=4)
    assert rows(page) == rows(found[4:7])
    noisy = lib.where("uri like '%noise%'").query(vectors=query, k=99, segments=True)
    assert kinds(noisy, 99) == {"noise"}
    everything = lib.query(vectors=query, k=999, segments=True)
    assert len(everything) == len(vectors)
    asked = lib.query(Stored(uri), 999, segments=True)
    assert len(asked) == len(vectors) - len(lib.vectors(uri))
    assert own not in {hit.clip_id for hit in asked}
    least = lib.query(vectors=query, k=99, segments=True, min_score=found[4].score)
    assert rows(least) == rows(found[:5])


@pytest.fixture
def store_of_all(lib):
    """All vectors of the library, and the clip and number of each."""
    vectors, places = [], []
    for clip in lib:
        own = lib.vectors(clip.id)
        vectors.append(own)
        places += [(clip.id, number) for number in range(len(own))]
    return np.concatenate(vectors), places


# The command line


def run(lib, *arguments, code=0):
    options = ["--library", str(lib.address)]
    done = CliRunner().invoke(main, [*map(str, arguments), *options])
    assert done.exit_code == code, done.output
    return done


def test_on_the_command_line(lib, tmp_path):
    uri, other = path(lib, "tone0"), path(lib, "noise0")
    write(tmp_path / "new.wav", tone(310, 2))
    like = ["--like", uri, "--like", tmp_path / "new.wav", "--unlike", clip_id(lib, other)]
    hits = [json.loads(line) for line in run(lib, "query", *like, "--json").stdout.splitlines()]
    expected = lib.query(Examples([uri, tmp_path / "new.wav"], [other]))
    assert [hit["clip_id"] for hit in hits] == [hit.clip_id for hit in expected]
    page = ["--offset", "2", "-k", "2", "--json"]
    ranks = [
        json.loads(line)["rank"] for line in run(lib, "similar", uri, *page).stdout.splitlines()
    ]
    assert ranks == [3, 4]
    assert "No more clips" in run(lib, "similar", uri, "--offset", "99").stdout
    assert "No more clips" in run(lib, "query", uri, "--min-score", "1.5").stdout
    moments = run(lib, "query", uri, "--segments", "-k", "4", "--json").stdout.splitlines()
    expected = lib.query(uri, 4, segments=True)
    assert [json.loads(line)["start"] for line in moments] == [hit.start for hit in expected]
    for arguments, said in (
        (["query"], "expected CLIPS, --like, --label or --text"),
        (["query", uri, "--like", uri], "CLIPS or --like, not both"),
        (["query", uri, "--unlike", other], "--unlike needs --like"),
        (["query", "--like", uri, "--at", "0-1"], "--at needs CLIPS"),
        (["query", "--like", uri, "--unlike", uri], "for and against at once"),
    ):
        assert said in run(lib, *arguments, code=2).stderr
