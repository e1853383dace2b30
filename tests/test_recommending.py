"""Ranking by company, and recommendations: on every store, and by their definitions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from support.sounds import tone, write
from support.stores import filled, new_clip

from soundsearch import Embeddings, Examples, Labelled, Sound, Stored, errors
from soundsearch.asking import ranking, recommending, related
from soundsearch.asking.recommending import Likes, diverse, find_recommended, tastes
from soundsearch.asking.related import find_related, moved, reranked
from soundsearch.cli.main import main
from soundsearch.stores.filters import Comparison, Plain
from soundsearch.vectors import unit

NAN, INF = float("nan"), float("inf")


def around(centre, count, spread, seed):
    """Unit vectors around one."""
    random = np.random.default_rng(seed)
    return unit((centre + spread * random.normal(size=(count, len(centre)))).astype(np.float32))


# Scores by company


def test_moved_by_hand():
    vectors = around(np.eye(8)[0], 30, 0.4, 0)
    cosines = vectors @ vectors.T
    found = moved(vectors, cosines)
    for number, row in enumerate(cosines):
        company = np.argsort(-row)[: related.COMPANY + 1]
        assert company[0] == number
        total = sum(max(row[other], 0) ** 3 * vectors[other] for other in company)
        np.testing.assert_allclose(found[number], total / np.linalg.norm(total), atol=1e-5)
    apart = np.where(np.eye(30, dtype=bool), cosines, -1)
    np.testing.assert_allclose(moved(vectors, apart), vectors, atol=1e-6)


def test_company_tells_what_a_cosine_does_not():
    """Of two clips that are as near, the one that is of the question's crowd comes first."""
    axes = np.eye(16, dtype=np.float32)
    crowd = around(axes[0], 20, 0.05, 1)
    others = around(axes[1], 20, 0.05, 2)
    question = unit((axes[0] + 0.8 * axes[1])[None])[0]
    lonely = unit((question + 0.9 * axes[2])[None])
    near = np.concatenate([lonely, crowd, others])
    plain, company = near @ question, reranked(question, near)
    assert plain[1:21].mean() == pytest.approx(0.78, abs=0.05)
    assert company[1:21].min() > company[21:].max()
    assert company[1:21].min() - plain[1:21].min() > 0.1


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_little_company(count):
    near = around(np.ones(4), count, 0.3, count)
    scores = reranked(near[0], near)
    assert scores.shape == (count,) and np.isfinite(scores).all()
    assert scores[0] == scores.max()
    assert np.isfinite(reranked(near[0], np.zeros((3, 4), np.float32))).all()


# Tastes and turns


def test_tastes_are_what_is_alike():
    axes = np.eye(16, dtype=np.float32)
    liked = np.concatenate([around(axes[n], 4, 0.1, n) for n in range(3)])
    order = np.random.default_rng(0).permutation(12)
    vectors, weights = tastes(liked[order], np.arange(12, dtype=np.float32)[order] + 1)
    assert (vectors @ axes[:3].T).argmax(1).tolist() in ([2, 1, 0], [0, 1, 2])
    assert sorted(weights.tolist()) == [10, 26, 42]
    assert (vectors @ axes[:3].T).max(1).min() > 0.95
    alone, [one] = tastes(liked[:1], np.ones(1, np.float32))
    np.testing.assert_allclose(alone, liked[:1], atol=1e-6)
    assert one == 1
    # However many and different they are, there are few.
    many = around(np.zeros(16), 500, 1, 0)
    vectors, weights = tastes(many, np.ones(500, np.float32))
    assert len(vectors) <= 8 and weights.sum() == 500
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def chosen_by_hand(scores, vectors, weights, count, diversity):
    had, chosen = [0] * len(weights), []
    while len(chosen) < count:
        open_ = [
            t
            for t in range(len(weights))
            if any(np.isfinite(s) and c not in chosen for c, s in enumerate(scores[t]))
        ]
        if not open_:
            break
        taste = max(open_, key=lambda t: weights[t] / (2 * had[t] + 1))
        had[taste] += 1

        def gain(clip, taste=taste):
            near = max([0, *(float(vectors[clip] @ vectors[c]) for c in chosen)])
            return (1 - diversity) * scores[taste][clip] - diversity * near

        left = [c for c in range(len(vectors)) if np.isfinite(scores[taste][c])]
        chosen.append(max((c for c in left if c not in chosen), key=gain))
    return chosen


@pytest.mark.parametrize("diversity", [0, 0.3, 0.7, 1])
def test_choices_by_hand(diversity):
    random = np.random.default_rng(3)
    vectors = around(np.ones(6), 40, 1, 4)
    scores = random.normal(size=(3, 40)).astype(np.float32)
    scores[random.random(scores.shape) < 0.4] = -INF
    weights = np.array([5, 2, 1], np.float32)
    for count in (1, 7, 60):
        found = [clip for _, clip in diverse(scores, vectors, weights, count, diversity)]
        assert found == chosen_by_hand(scores, vectors, weights, count, diversity)
        assert len(set(found)) == len(found)
    assert len(found) == np.isfinite(scores).any(axis=0).sum()
    # A weight next to nothing does not keep the others waiting.
    tiny = np.array([1, 1e-30, 0], np.float32)
    assert len(diverse(scores, vectors, tiny, 60, diversity)) == len(found)


# Every store


def in_groups():
    """Clips of three kinds, one of them long, in a store's space."""
    clips = []
    for number in range(24):
        clip = new_clip(f"/{number:02}.wav", 30 if number == 20 else 2, number)
        centre = np.eye(16)[number % 3] * 4
        clip.embeddings[:] = centre + np.random.default_rng(number).normal(0, 0.7, (1, 16))
        if number == 20:  # its kind is to be heard at its end only
            clip.embeddings[:22] = -centre
        clip.segments["level"] = 0
        clips.append(clip)
    return clips


def test_every_store_ranks_and_recommends_alike(store):
    clips = in_groups()
    ids = filled(store, clips)
    kind = {id: number % 3 for number, id in enumerate(ids)}
    with store.reading() as reading:
        query, levels = clips[0].embeddings, clips[0].segments["level"]
        options = {"without": frozenset([ids[0]])}
        hits = find_related(reading, store.settings, query, levels, 99, **options)
        assert len(hits) == 23 and [hit.rank for hit in hits] == list(range(1, 24))
        assert [kind[hit.clip_id] for hit in hits[:7]] == [0] * 7
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        first = np.stack([unit(clip.embeddings.sum(0)[None])[0] for clip in clips[1:20]])
        expected = reranked(unit(query.sum(0)[None])[0], first)  # without the long one
        best = dict(zip(ids[1:20], expected.tolist(), strict=True))
        assert hits[0].score == pytest.approx(best[hits[0].clip_id], abs=0.05)
        pages = [
            hit.clip_id
            for offset in range(0, 24, 5)
            for hit in find_related(
                reading, store.settings, query, levels, 5, offset=offset, **options
            )
        ]
        assert pages == [hit.clip_id for hit in hits]
        few = Comparison(Plain("uri"), "<", "/05.wav")
        some = find_related(reading, store.settings, query, levels, 9, few, **options)
        assert {hit.uri for hit in some} == {f"/0{n}.wav" for n in range(1, 5)}

        likes = Likes([ids[0], ids[3], ids[2]])
        what = reading, store.settings, likes, [ids[0], ids[3], ids[2]]
        hits = find_recommended(*what, [], 9, None)
        assert [kind[hit.clip_id] for hit in hits].count(0) == 6
        assert [kind[hit.clip_id] for hit in hits].count(2) == 3
        [long] = [hit for hit in find_recommended(*what, [], 99, None) if hit.uri == "/20.wav"]
        assert long.start >= 22 * 0.96 - 1e-6
        assert long.rank <= 22
        everything = find_recommended(*what, [ids[1]], 99, None, exclude=[ids[4]])
        assert {hit.clip_id for hit in everything} == set(ids) - set(ids[:5])
        assert not find_recommended(*what, [], 9, None, exclude=ids)


def test_beyond_the_head(store, monkeypatch):
    """A list goes on where the company ends, each clip once."""
    monkeypatch.setattr(related, "HEAD", 4)
    monkeypatch.setattr(recommending, "HEAD", 4)
    monkeypatch.setattr(ranking, "_ROWS", 5)
    clips = in_groups()
    ids = filled(store, clips)
    with store.reading() as reading:
        query, levels = clips[0].embeddings, clips[0].segments["level"]
        hits = find_related(reading, store.settings, query, levels, 99)
        assert sorted(hit.clip_id for hit in hits) == sorted(ids)
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        what = reading, store.settings, Likes(ids[:2]), ids[:2], []
        hits = find_recommended(*what, 99, None)
        assert sorted(hit.clip_id for hit in hits) == sorted(ids[2:])
        assert [hit.score for hit in hits[8:]] == sorted(
            (hit.score for hit in hits[8:]), reverse=True
        )
        pages = [find_recommended(*what, 3, None, offset=offset) for offset in range(0, 24, 3)]
        assert [hit.clip_id for page in pages for hit in page] == [hit.clip_id for hit in hits]


# A library


@pytest.fixture
def lib(tones_and_noises):
    return tones_and_noises


def path(lib, name):
    return next(clip.uri for clip in lib if clip.uri.endswith(f"/{name}.wav"))


def kinds(answer):
    return [hit.uri.rpartition("/")[2].rstrip("0123456789.wav") for hit in answer]


def test_every_question_can_be_ranked_by_company(lib):
    uri = path(lib, "tone2")
    stored = lib.similar(uri, 99, ranking="related")
    assert len(stored) == 17 and kinds(stored)[:5] == ["tone"] * 5
    heard = lib.query(Sound(uri), 99, ranking="related")
    assert uri in {hit.uri for hit in heard} and kinds(heard)[:6] == ["tone"] * 6
    for question in (Examples([uri]), Embeddings(lib.vectors(uri)), Stored(lib.clip(uri).id)):
        answer = lib.query(question, 6, ranking="related")
        assert {*kinds(answer)[:5]} == {"tone"}
    noisy = lib.where("uri like '%noise%'").similar(uri, 99, ranking="related")
    assert kinds(noisy) == ["noise"] * 6
    least = lib.similar(uri, 99, ranking="related", min_score=stored[3].score)
    assert [hit.clip_id for hit in least] == [hit.clip_id for hit in stored[:4]]
    with pytest.raises(errors.ArgumentError, match="related beside a label"):
        lib.query(Labelled("Noise"), ranking="related")


def test_recommendations(lib):
    tones = [path(lib, f"tone{n}") for n in range(2)]
    noises = [path(lib, f"noise{n}") for n in range(2)]
    both = lib.recommend([*tones, *noises], k=4)
    assert sorted(kinds(both)) == ["noise", "noise", "tone", "tone"]
    assert not {hit.uri for hit in both} & {*tones, *noises}
    assert kinds(lib.recommend([tones[0], noises[0]], k=3, weights=[1, 0])) == ["tone"] * 3
    heavy = kinds(lib.recommend([tones[0], noises[0]], k=5, weights=[4, 1], diversity=0))
    assert heavy.count("tone") == 4
    session = [tones[0], noises[0]]
    latest = kinds(lib.recommend(session, k=4, half_life=0.5, diversity=0))
    assert latest.count("noise") == 3
    assert kinds(lib.recommend(session[::-1], k=1, half_life=0.5)) == ["tone"]
    assert kinds(lib.recommend(noises, tones[0], k=4)) == ["noise"] * 4
    mixed = path(lib, "both0")
    nearest = lib.recommend(mixed, k=12, diversity=0)
    without = lib.recommend(mixed, nearest[0].clip_id, k=11, diversity=0)
    assert nearest[0].clip_id not in {hit.clip_id for hit in without}
    selection = lib.where("uri like '%both%'")
    assert kinds(selection.recommend(tones, k=99)) == ["both"] * 6
    assert not len(lib.where("uri == 'none'").recommend(tones))
    assert len(lib.recommend(tones, k=10**6)) == 16
    assert not len(lib.recommend(tones, exclude=[*(clip.id for clip in lib), 10**9, "gone"]))
    ids = np.array([lib.clip(uri).id for uri in tones])
    by_id = lib.recommend(ids, exclude=ids)
    assert [hit.clip_id for hit in by_id] == [hit.clip_id for hit in lib.recommend(tones)]
    assert len(lib.recommend(tones, per="folder:3")) == 3


def test_diversity_keeps_copies_apart(lib, tmp_path):
    for number in range(3):
        write(tmp_path / "copies" / f"copy{number}.wav", tone(300, 2) * (1 - number / 1000))
    lib.ingest([tmp_path / "copies"])
    uri = path(lib, "tone0")
    assert "copy" in kinds(lib.recommend(uri, k=3, diversity=0))
    spread = kinds(lib.recommend(uri, k=4, diversity=0.6))
    assert spread.count("copy") <= 1


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"liked": []}, "liked: expected at least one"),
        ({"liked": [None]}, "liked: expected uris, ids or Keys of clips, got None"),
        ({"liked": 1.5}, "liked: expected uris, ids or Keys"),
        ({"liked": [True]}, "liked: expected uris, ids or Keys"),
        ({"disliked": [b"x"]}, "disliked: expected uris, ids or Keys"),
        ({"exclude": [()]}, "exclude: expected uris, ids or Keys"),
        ({"weights": [1, 2]}, "weights: expected 1, one for each"),
        ({"weights": [NAN]}, "weights: expected finite"),
        ({"weights": [-1]}, "of at least 0"),
        ({"weights": [0]}, "not all 0"),
        ({"weights": ["x"]}, "weights: expected numbers"),
        ({"half_life": 0}, "half_life: expected a number above 0"),
        ({"half_life": NAN}, "half_life"),
        ({"diversity": 1.1}, "diversity: expected a number from 0 to 1, got 1.1"),
        ({"diversity": NAN}, "diversity"),
        ({"diversity": "much"}, "diversity"),
        ({"k": 0}, "k: expected"),
        ({"offset": -1}, "offset: expected"),
        ({"min_score": NAN}, "min_score: expected"),
        ({"per": "artist"}, "per: expected"),
    ],
)
def test_what_cannot_be_recommended(lib, given, match):
    with pytest.raises(errors.ArgumentError, match=match):
        lib.recommend(**{"liked": [path(lib, "tone0")], **given})


def test_what_counts_for_nothing_and_came_last_lets_the_others_count():
    assert Likes(["a", "b", "c"], weights=[2, 1, 0], half_life=1e-4).weights.tolist() == [0, 1, 0]


def test_clips_that_cannot_be_liked(lib):
    uri = path(lib, "tone0")
    with pytest.raises(errors.ArgumentError, match="liked and disliked at once, got clip"):
        lib.recommend(uri, lib.clip(uri).id)
    with pytest.raises(errors.ClipNotFound, match="nowhere"):
        lib.recommend([uri, "nowhere.wav", 999, 10**30])
    with pytest.raises(errors.ClipNotFound, match="-3"):
        lib.recommend(uri, [-3])


def test_on_the_command_line(lib):
    def run(*arguments, code=0):
        options = ["--library", str(lib.address)]
        done = CliRunner().invoke(main, ["recommend", *map(str, arguments), *options])
        assert done.exit_code == code, done.output
        return done

    liked = [path(lib, "tone0"), path(lib, "noise0")]
    options = ["--liked", liked[0], "--liked", liked[1], "--weight", 3, "--weight", 1, "-k", 5]
    more = ["--disliked", path(lib, "tone1"), "--exclude", path(lib, "noise1"), "--half-life", 9]
    found = run(*options, *more, "--diversity", 0.2, "--json").stdout.splitlines()
    expected = lib.recommend(
        liked, more[1], 5, weights=[3, 1], exclude=more[3], half_life=9, diversity=0.2
    )
    assert [json.loads(line)["clip_id"] for line in found] == [hit.clip_id for hit in expected]
    assert "tone" in run(*options).stdout
    assert "nothing more" in run(*options, "--offset", 99).stdout
    assert "diversity: expected" in run(*options, "--diversity", 2, code=2).stderr
    assert "--liked" in run(code=2).stderr
