"""At most so many hits of a folder or with the same tag."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner
from soundsearch_ingest import encoders
from support.stores import filled, new_clip

import soundsearch
from soundsearch import Embeddings, errors
from soundsearch.asking import per
from soundsearch.asking.per import Per, at_most, parse_per
from soundsearch.cli.main import main
from soundsearch.stores.opening import create_store, place_of
from soundsearch.stores.records import NewClip, Settings


def filled_library(place):
    """Clips of few folders and artists, those of one folder nearest to the first axis."""
    store = create_store(place, Settings(encoders.BUNDLED, "mini-1", 16, 0.96, 0.96))
    rng = np.random.default_rng(0)
    clips = []
    for number in range(120):
        folder, artist = number % 5, number % 7
        uri = f"/{folder}/x/{number}.wav" if number % 11 else f"track:{number}"
        tags = {"artist": [None, "a", "b", 1.0, True, "1", "c"][artist]} if artist else {}
        clip = new_clip(uri, 2, number, tags=tags)
        vectors = 0.4 * rng.normal(size=(2, 16)) + (10 - 2 * folder) * np.eye(16)[0]
        clip.segments["level"] = 0
        clips.append(
            NewClip(record=clip.record, embeddings=vectors.astype("f4"), segments=clip.segments)
        )
    filled(store, clips)
    store.close()
    return soundsearch.open(place)


@pytest.fixture
def every(place):
    """A library of every kind."""
    with filled_library(place) as library:
        yield library


@pytest.fixture(scope="module")
def lib(tmp_path_factory):
    """A local one, which no test changes."""
    with filled_library(place_of(tmp_path_factory.mktemp("l") / "library")) as library:
        yield library


QUESTION = Embeddings(np.eye(16, dtype=np.float32)[0])


def limited(answer, group, count):
    """What is left of a list of hits, by a slower way."""
    counts, kept = Counter(), []
    for hit in answer:
        counts[group(hit)] += 1
        if counts[group(hit)] <= count:
            kept.append((hit.clip_id, round(hit.score, 4)))
    return kept


def by_folder(hit):
    return hit.uri.rpartition("/")[0] or hit.clip_id


def by_artist(hit):
    return repr(hit.tags.get("artist", hit.clip_id))


@pytest.mark.slow
def test_the_list_is_what_a_long_one_leaves(every, monkeypatch):
    lib = every
    monkeypatch.setattr(per, "_FIRST", 4)
    whole = lib.query(QUESTION, 120)
    for text, group, count in (
        ("folder:1", by_folder, 1),
        ("tag[artist]:2", by_artist, 2),
        ("tag['artist']:1", by_artist, 1),
    ):
        expected = limited(whole, group, count)
        answer = lib.query(QUESTION, 1000, per=text)
        assert [(hit.clip_id, round(hit.score, 4)) for hit in answer] == expected
        assert [hit.rank for hit in answer] == list(range(1, len(expected) + 1))
        pages = [lib.query(QUESTION, 3, offset=at, per=text) for at in range(0, 12, 3)]
        assert [hit for page in pages for hit in page] == list(answer)[:12]
    own = whole[0].clip_id
    similar = lib.similar(own, 1000, per="folder:2")
    expected = limited(lib.similar(own, 120), by_folder, 2)
    assert [(hit.clip_id, round(hit.score, 4)) for hit in similar] == expected
    some = lib.where("tag['artist'] is not missing")
    assert len(some.query(QUESTION, 100, per="tag[artist]:1")) == 6


def test_moments_are_limited_too(lib):
    whole = lib.query(QUESTION, 300, segments=True)
    answer = lib.query(QUESTION, 300, segments=True, per="folder:3")
    found = [(hit.clip_id, round(hit.score, 4)) for hit in answer]
    assert found == limited(whole, by_folder, 3)
    least = answer[6].score
    page = lib.query(QUESTION, 300, segments=True, per="folder:3", min_score=least)
    assert list(page) == list(answer)[:7]


def test_the_work_is_bounded_and_said_to_be(lib, monkeypatch):
    monkeypatch.setattr(per, "_FIRST", 4)
    monkeypatch.setattr(per, "_MOST", 8)
    monkeypatch.setattr(per, "_WIDEN", 2)
    answer = lib.query(QUESTION, 4, per="folder:1")  # the nearest are of one folder
    assert 0 < len(answer) < 4 and "there may be more hits" in answer.warning
    assert lib.query(QUESTION, 1, per="folder:1").warning is None


def test_pages_hold_where_a_wider_search_finds_better_ones(monkeypatch):
    monkeypatch.setattr(per, "_FIRST", 2)
    monkeypatch.setattr(per, "_WIDEN", 2)

    def hit(id, score):
        return soundsearch.Hit(0, score, f"/{id}/x", 0.0, 1.0, (), id)

    def nearest(count):  # the first is found by a wide search only
        every = [hit(9, 0.9), *(hit(id, 0.8 - id / 100) for id in range(5))]
        return every[1:3] if count < 4 else every[:count]

    limit = parse_per("folder:1")
    pages = [per.page(nearest, 2, at, limit)[0] for at in (0, 2, 4)]
    found = [hit.clip_id for page in pages for hit in page]
    assert found == [0, 1, 9, 2, 3, 4]


def test_at_most():
    hits = [soundsearch.Hit(0, 0.0, uri, 0.0, 1.0, (), 1) for uri in ("/a", "/b", "/x/a", "c", "c")]
    assert [hit.uri for hit in at_most(hits, Per(None, 1))] == ["/a", "/x/a", "c", "c"]
    assert list(at_most(iter(hits), Per("none", 1))) == hits


def test_copies_are_hidden():
    def hit(uri, id, start, digest):
        return soundsearch.Hit(0, 0.0, uri, start, 1.0, (), id, digest=digest)

    copy, moment = hit("/b/a", 2, 0.0, b"1"), hit("/a/a", 1, 4.0, b"1")
    hits = [hit("/a/a", 1, 0.0, b"1"), copy, moment, hit("/a/c", 3, 0.0, b"2"), hit("d", 4, 0, b"")]
    hits.append(hit("e", 5, 0.0, b""))  # of which nothing is known
    assert [each.clip_id for each in at_most(hits, *parse_per("content:1"))] == [1, 1, 3, 4, 5]
    both = at_most(hits, *parse_per("folder:2, content:1"))
    assert [each.clip_id for each in both] == [1, 1, 4, 5]


def test_copies_are_hidden_in_a_library(place):
    store = create_store(place, Settings(encoders.BUNDLED, "mini-1", 16, 0.96, 0.96))
    clips = [new_clip(f"/{n}/x.wav", 2, n % 3, digest=bytes([n % 3]) * 32) for n in range(9)]
    filled(store, clips)
    store.close()
    with soundsearch.open(place) as lib:
        every = lib.query(QUESTION, 9)
        answer = lib.query(QUESTION, 9, per="content:1")
        assert len(every) == 9 and len(answer) == 3
        assert [hit.score for hit in answer] == [every[n].score for n in (0, 3, 6)]
        assert len(lib.query(QUESTION, 9, per="content:2")) == 6
        moments = lib.query(QUESTION, 99, per="content:1", segments=True)
        assert len(moments) == 6 and len({hit.clip_id for hit in moments}) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("folder:2", Per(None, 2)),
        ("tag[artist]:10", Per("artist", 10)),
        ("tag['it''s]:3']:1", Per("it''s]:3", 1)),
        ('tag["a b"]:1', Per("a b", 1)),
        ("tag[']:1", Per("'", 1)),
        ("content:1", Per(None, 1, True)),
        ("folder:2,content:1", (Per(None, 2), Per(None, 1, True))),
        ("tag[a, b]:1, tag[c]:2", (Per("a, b", 1), Per("c", 2))),
    ],
)
def test_texts(text, expected):
    assert parse_per(text) == (expected if isinstance(expected, tuple) else (expected,))


@pytest.mark.parametrize(
    "text",
    ["", "folder", "folder:0", "folder:-1", "folder:x", "folder:1.5", "artist:1", "tag[]:1",
     "tag:1", "tag[a]", " folder:1", "folder:٣", None, 2, "folder:1,", "folder:1, content:0",
     ", folder:1", "content"],
)  # fmt: skip
def test_bad_texts(text):
    with pytest.raises(errors.ArgumentError, match=r"per: expected .* folder:2 or tag\[artist\]:1"):
        parse_per(text)


def test_on_the_command_line(lib):
    def run(*arguments, code=0):
        done = CliRunner().invoke(main, [*arguments, "--library", str(lib.address)])
        assert done.exit_code == code, done.output
        return done

    own = lib.query(QUESTION, 1)[0].clip_id
    for command in (["similar", str(own)], ["query", "--like", str(own)]):
        lines = run(*command, "--per", "tag[artist]:1", "--offset", "1", "--json").stdout
        found = [json.loads(line)["clip_id"] for line in lines.splitlines()]
        assert found == [hit.clip_id for hit in lib.similar(own, 10, offset=1, per="tag[artist]:1")]
    assert "as in folder:2" in run("similar", str(own), "--per", "artist", code=2).stderr
