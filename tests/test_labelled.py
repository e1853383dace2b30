"""Questions by label, alone and beside a sound, on every store."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner
from support.stores import filled, new_clip

import soundsearch
from soundsearch import Embeddings, Examples, Labelled, Stored, Words, errors
from soundsearch.asking.labelled import LABEL_WEIGHT
from soundsearch.cli import options
from soundsearch.cli.main import main
from soundsearch.labels.head import Head, HeadSpec, best_labels, bundled_head, write_head
from soundsearch.labels.ontology import ontology
from soundsearch.stores.opening import create_store, place_of
from soundsearch.stores.records import NewClip, Settings
from soundsearch.vectors import unit

SPACE = bundled_head().space
BARK, DOG, RAIN, SILENCE = (
    next(node.class_index for node in ontology().classes if node.name == name)
    for name in ("Bark", "Dog", "Rain", "Silence")
)
QUIET = -200.0


def clips_in(space: str, count: int, dimension: int = 128) -> list[NewClip]:
    """Clips that a head hears something in: in two folders, by three artists or by none."""
    rng = np.random.default_rng(0)
    weight = bundled_head().directions(range(527))[0]
    clips = []
    for number in range(count):
        length = int(rng.integers(1, 5))
        clip = new_clip(
            f"/{'ab'[number % 2]}/{number}.wav",
            length,
            number,
            tags={"artist": f"artist {number % 3}"} if number % 4 else {},
            human_labels=(BARK,) if number % 9 == 0 else (RAIN, DOG) if number % 10 == 0 else (),
        )
        vectors = np.zeros((length, 128), np.float32)
        for classes in ([BARK, DOG, RAIN], range(527)):
            chosen = rng.choice(np.array(classes), (length, 2))
            strength = rng.uniform(0, 9, (length, 2, 1)).astype(np.float32)
            vectors += (strength * weight[chosen]).sum(axis=1)
        silent = rng.random(length) < 0.1
        clip.segments["level"] = np.where(silent, QUIET, 0)
        vectors[silent] = 40 * weight[SILENCE]  # as near-silence is heard
        scores = bundled_head().scores(vectors)
        clip.segments["labels"] = best_labels(scores, 5)
        clip.record.labels[:] = best_labels(scores.max(axis=0, keepdims=True), 10)[0]
        clips.append(
            NewClip(record=clip.record, embeddings=vectors[:, :dimension], segments=clip.segments)
        )
    return clips


CLIPS_HEARD = clips_in(SPACE, 60)


def filled_library(place):
    store = create_store(place, Settings("mini", SPACE, 128, 0.96, 0.96))
    filled(store, CLIPS_HEARD)
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


def score_of(clip: NewClip, classes: frozenset[int]) -> np.ndarray:
    """The score of each segment for a label."""
    if not classes.isdisjoint(clip.record.human_labels):
        return np.ones(len(clip.segments), np.float32)
    weights, biases = bundled_head().directions(classes)
    logits = (clip.embeddings.astype(np.float64) @ weights.T + biases).max(axis=1)
    scores = 1 / (1 + np.exp(-np.round(logits, 9)))
    by_head = bundled_head().scores(clip.embeddings)[:, sorted(classes)].max(axis=1)
    np.testing.assert_allclose(scores, by_head, atol=1e-5)
    return np.where(clip.segments["level"] == QUIET, float(SILENCE in classes), scores)


def expected(lib, labels, let=lambda clip: True):
    """Score, id and number of the best segment of every clip, best first."""
    found = []
    for stored, clip in zip(lib, CLIPS_HEARD, strict=True):
        each = [score_of(clip, ontology().classes_below(name)) for name in labels]
        scores = np.min(each, axis=0)
        if let(clip.record) and scores.max() > 0:
            found.append((float(scores.max()), stored.id, int(scores.argmax())))
    return sorted(found, key=lambda row: (-row[0], row[1]))


def rows(answer):
    return [(hit.rank, hit.clip_id, round(hit.score, 4), hit.start) for hit in answer]


# Questions


def assert_found(lib, labels, k=100):
    best = expected(lib, labels)[:k]
    answer = lib.query(Labelled(labels), k)
    assert [hit.clip_id for hit in answer] == [clip for _, clip, _ in best]
    assert [hit.score for hit in answer] == pytest.approx([row[0] for row in best], abs=1e-5)
    for hit, (score, _, number) in zip(answer, best, strict=True):
        if score < 1:
            assert hit.start == pytest.approx(0.96 * number)


@pytest.mark.slow
def test_every_store_gives_the_heads_scores(every):
    assert_found(every, ["Dog", "Rain"])
    assert_found(every, ["Animal"], 20)
    let = every.where("uri like '/a/%' and tag['artist'] == 'artist 1'")
    best = expected(
        every, ["Dog"], lambda r: r.uri.startswith("/a/") and r.tags.get("artist") == "artist 1"
    )
    assert [hit.clip_id for hit in let.query(Labelled("Dog"), 100)] == [row[1] for row in best]
    beside = every.query(Labelled("Dog", like=Embeddings(CLIPS_HEARD[7].embeddings)), 100)
    assert len(beside) == 60
    per_artist = every.query(Labelled("Dog"), 4, offset=2, per="tag[artist]:2")
    assert [hit.clip_id for hit in per_artist] == limited(every.query(Labelled("Dog"), 100), 2)[2:6]


def limited(answer, count):
    """The ids of hits, at most so many by each artist."""
    by_artist = Counter()
    kept = []
    for hit in answer:
        artist = hit.tags.get("artist", hit.clip_id)
        by_artist[artist] += 1
        if by_artist[artist] <= count:
            kept.append(hit.clip_id)
    return kept


def test_scores_are_the_heads(lib):
    for labels in (
        ["Bark"],
        ["dog"],
        ["Animal"],
        ["Silence"],
        ["Dog", "Rain"],
        ["Bark", "Cat", "Rain"],
    ):
        assert_found(lib, labels)
        answer = lib.query(Labelled(labels), 100)
        pages = [rows(lib.query(Labelled(labels), 7, offset=at)) for at in range(0, 63, 7)]
        assert [row for page in pages for row in page] == rows(answer)
    whole = lib.query(Labelled("Bark"), 100)
    least = whole[20].score
    assert rows(lib.query(Labelled("Bark"), 100, min_score=least)) == rows(whole[:21])
    assert rows(lib.query(Labelled("Bark"), 10**6)) == rows(whole)
    of_dog = {hit.clip_id: hit.score for hit in lib.query(Labelled("Dog"), 100)}
    assert all(of_dog[hit.clip_id] >= hit.score for hit in whole)  # a parent's is never lower


def test_labels_by_name_id_and_path(lib):
    bark = rows(lib.query(Labelled("Bark")))
    for label in (
        "bark",
        "/m/05tny_",
        "Dog > Bark",
        "Animal > Domestic animals, pets > dog > BARK",
    ):
        assert rows(lib.query(Labelled(label))) == bark
    assert Labelled(["Bark", "Bark"]) == Labelled("Bark")


def test_a_moment_of_what_people_labelled_is_the_heads(lib):
    given = [hit for hit in lib.query(Labelled("Bark"), 100) if hit.human_labels and hit.score == 1]
    assert len(given) == 7
    uris = [clip.record.uri for clip in CLIPS_HEARD]
    for hit in given:
        clip = CLIPS_HEARD[uris.index(hit.uri)]
        scores = bundled_head().scores(clip.embeddings)[:, BARK]
        scores = np.where(clip.segments["level"] == QUIET, 0, scores)
        assert scores[round(hit.start / 0.96)] == scores.max()  # several may be 1


def test_selections(lib):
    nothing = lib.where("duration > 1 and duration < 1")
    for question in (Labelled("Dog"), Labelled("Dog", like=Embeddings(np.ones(128)))):
        assert len(nothing.query(question)) == 0
        assert len(nothing.query(question, segments=True)) == 0
    given = lib.where("human_label['Bark']").query(Labelled("Bark"), 100)
    assert [hit.score for hit in given] == [1] * 7


def test_moments(lib):
    for labels in (["Dog"], ["Dog", "Rain"]):
        every = []
        for stored, clip in zip(lib, CLIPS_HEARD, strict=True):
            each = [score_of(clip, ontology().classes_below(name)) for name in labels]
            every += [
                (-float(score), stored.id, number)
                for number, score in enumerate(np.min(each, axis=0))
                if score > 0
            ]
        answer = lib.query(Labelled(labels), 30, segments=True)
        found = [(hit.clip_id, round(hit.start / 0.96)) for hit in answer]
        assert found == [row[1:] for row in sorted(every)[:30]]
        page = lib.query(Labelled(labels), 10, segments=True, offset=10)
        assert rows(page) == rows(answer[10:20])


# Beside a sound


def test_beside_a_sound_the_score_is_the_weighted_mean(lib):
    vectors = CLIPS_HEARD[7].embeddings
    vectors = np.concatenate([vectors, vectors])[:4]  # as long as the longest clip
    sound = Embeddings(vectors)
    near = {hit.clip_id: hit.score for hit in lib.query(sound, 100)}
    heard = {hit.clip_id: hit.score for hit in lib.query(Labelled(["Dog", "Rain"]), 100)}
    for weight in (0, 0.25, 1):
        answer = lib.query(Labelled(["Dog", "Rain"], like=sound, weight=weight), 100)
        whole = {id: (1 - weight) * near[id] + weight * heard.get(id, 0) for id in near}
        assert {hit.clip_id: hit.score for hit in answer} == pytest.approx(whole, abs=1e-4)
        scores = [hit.score for hit in answer]
        assert scores == sorted(scores, reverse=True) and len(scores) == 60
        pages = [
            rows(lib.query(Labelled(["Dog", "Rain"], sound, weight), 20, offset=at))
            for at in (0, 20, 40)
        ]
        assert [row for page in pages for row in page] == rows(answer)


def test_beside_clips_and_moments(lib):
    own = next(iter(lib)).id
    answer = lib.query(Labelled("Rain", like=Stored(own)), 100)
    assert own not in {hit.clip_id for hit in answer} and len(answer) == 59
    both = Examples([own, Embeddings(CLIPS_HEARD[3].embeddings)])
    assert own not in {hit.clip_id for hit in lib.query(Labelled("Rain", like=both), 100)}
    vector = CLIPS_HEARD[5].embeddings[0]
    moments = lib.query(Labelled("Rain", like=Embeddings(vector), weight=0.5), 300, segments=True)
    assert len(moments) == sum(len(clip.segments) for clip in CLIPS_HEARD)
    by_id = dict(zip([clip.id for clip in lib], CLIPS_HEARD, strict=True))
    for hit in moments[::10]:
        clip, number = by_id[hit.clip_id], round(hit.start / 0.96)
        cosine = unit(clip.embeddings)[number] @ unit(vector[None])[0]
        rain = score_of(clip, ontology().classes_below("Rain"))[number]
        assert hit.score == pytest.approx(0.5 * cosine + 0.5 * rain, abs=1e-4)


# Without the head


def test_where_no_head_reads_the_vectors_what_was_kept_counts(place):
    store = create_store(place, Settings("vggish", "elsewhere", 64, 0.96, 0.96))
    clips = clips_in("elsewhere", 40, 64)
    filled(store, clips)
    store.close()
    with soundsearch.open(place) as lib:  # needs no encoder either
        for name in ("Dog", "Silence"):
            classes = ontology().classes_below(name)
            best = {}
            for stored, clip in zip(lib, clips, strict=True):
                kept = clip.segments["labels"]
                scores = np.where(np.isin(kept["class_index"], list(classes)), kept["score"], 0)
                human = not classes.isdisjoint(clip.record.human_labels)
                of_clip = classes & set(clip.record.labels["class_index"].tolist())
                if human or (of_clip and scores.max() > 0):
                    best[stored.id] = 1 if human else float(scores.max())
            answer = lib.query(Labelled(name), 100)
            assert {hit.clip_id: hit.score for hit in answer} == pytest.approx(best)
            assert [hit.rank for hit in answer] == list(range(1, len(best) + 1))
        like = Embeddings(clips[0].embeddings)
        assert len(lib.query(Labelled("Dog", like=like), 100)) == 40


def test_a_label_that_the_head_lacks(tmp_path, monkeypatch):
    place = place_of(tmp_path / "library")
    weight = np.random.default_rng(0).normal(size=(525, 128)).astype(np.float32)
    names = [node.name for node in ontology().classes if node.class_index not in (1, 2)]
    spec = HeadSpec(SPACE, ((weight, np.zeros(525, np.float32)),), tuple(names))
    write_head(tmp_path / "head.npz", spec)
    monkeypatch.setattr("soundsearch.session.head_of", lambda *_: Head(tmp_path / "head.npz"))
    store = create_store(place, Settings("mini", SPACE, 128, 0.96, 0.96))
    lacked = "Male speech, man speaking"
    clip = new_clip("/given.wav", 2, 1, human_labels=(1,))
    clip = NewClip(record=clip.record, embeddings=weight[:2], segments=clip.segments)
    filled(store, [*CLIPS_HEARD[:5], clip])
    store.close()
    with soundsearch.open(place) as lib:
        answer = lib.query(Labelled(lacked))
        assert [(hit.uri, hit.score) for hit in answer] == [("/given.wav", 1)]
        assert "Male speech, man speaking: is not predicted" in answer.warning
        assert len(lib.query(Labelled([lacked, "Dog"]))) == 1
        assert lib.query(Labelled("Dog")).warning is None


# Bad input


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"label": []}, "label: expected a name, or 1 to 5"),
        ({"label": ["Dog", "Cat", "Rain", "Bell", "Wind", "Siren"]}, "1 to 5 of them"),
        ({"label": None}, "label: expected a name"),
        ({"label": ["Dog", 3]}, "label: expected a name"),
        ({"label": "Dog", "weight": 1.5}, "weight: expected a number from 0 to 1"),
        ({"label": "Dog", "weight": float("nan")}, "weight: expected"),
        ({"label": "Dog", "weight": True}, "weight: expected"),
        ({"label": "Dog", "like": 3}, "expected a path"),
    ],
)
def test_invalid_labels(given, match):
    with pytest.raises(errors.ArgumentError, match=match):
        Labelled(**given)


def test_numbers_of_numpy_are_numbers():
    share = np.float32(0.25)
    assert repr(Labelled("Dog", weight=share).weight) == repr(Words("dog", weight=share).weight)
    words = Words("dog", {"Dog": share, "Cat": np.int64(-1)}, weight=np.int64(1))
    assert repr((*words.classes, words.weight)) == "({'Dog': 0.25}, {'Cat': -1.0}, 1.0)"


@pytest.mark.parametrize(
    ("label", "match"),
    [
        ("Bakr", "label: expected the name, .* got 'Bakr'; similar: Bark"),
        ("Cat > Bark", "got 'Cat > Bark'; similar: Bark"),
        ("", "label: expected the name"),
    ],
)
def test_names_that_a_library_does_not_know(lib, label, match):
    with pytest.raises(errors.ArgumentError, match=match):
        lib.query(Labelled(["Dog", label], like="no such file"))


def test_filters_take_paths_too(lib):
    assert len(lib.where("human_label['Dog > Bark']")) == 7
    with pytest.raises(errors.ArgumentError, match="similar: Bark"):
        lib.where("label['Dog > Bakr'] > 0.5")


def test_an_empty_library_and_none(place, tmp_path):
    create_store(place, Settings("mini", SPACE, 128, 0.96, 0.96)).close()
    with soundsearch.open(place) as lib:
        for question in (Labelled("Dog"), Labelled("Dog", like=Embeddings(np.ones(128)))):
            assert len(lib.query(question, 10**6, per="folder:1")) == 0
        with pytest.raises(errors.ArgumentError, match="k: expected"):
            lib.query(Labelled("Dog"), 0)
    with pytest.raises(errors.LibraryNotFound), soundsearch.open(tmp_path / "none") as lib:
        lib.query(Labelled("Dog"))


# The command line


def test_on_the_command_line(lib):
    assert options.LABEL_WEIGHT == LABEL_WEIGHT
    address = str(lib.address)
    by_python = [hit.clip_id for hit in lib.query(Labelled(["Dog", "Rain"]), 4)]
    moments = [hit.start for hit in lib.query(Labelled("Dog"), 4, segments=True)]
    beside = Labelled("Dog", like=Examples([3]), weight=0.9)
    beside_example = [hit.clip_id for hit in lib.query(beside, 4)]

    def run(*arguments, code=0):
        done = CliRunner().invoke(main, [*map(str, arguments), "--library", address])
        assert done.exit_code == code, done.output
        return done

    def found(key, *arguments):
        lines = run("query", *arguments, "-k", 4, "--json").stdout.splitlines()
        return [json.loads(line)[key] for line in lines]

    assert found("clip_id", "--label", "Dog", "--label", "Rain") == by_python
    assert found("start", "--label", "Dog", "--segments") == moments
    both = ["--label", "Dog", "--like", 3, "--label-weight", 0.9]
    assert found("clip_id", *both) == beside_example
    table = run("query", "--label", "Dog > Bark", "--offset", 2, "-k", 2).stdout
    assert "sounds like" not in table and "  3  1.000" in table
    assert (
        "No clip of the library matches"
        in run("query", "--label", "Dog", "--where", "duration > 9 and duration < 9").stdout
    )
    for arguments, said in (
        (["--label", "Bakr"], "similar: Bark"),
        (["--label", "Dog", "--at", "1-2"], "--at needs CLIPS"),
        (["--label", "Dog", "--unlike", 3], "--unlike needs --like"),
        ([], "expected CLIPS, --like, --label or --text"),
    ):
        assert said in run("query", *arguments, code=2).stderr
