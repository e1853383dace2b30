"""Filters compiled to Milvus expressions; the conformance suite checks that all stores agree."""

from __future__ import annotations

import random

import numpy as np
import pytest
from support.stores import CLIPS, filled, new_clip, search

from soundsearch.stores.base import ClipChanged
from soundsearch.stores.filters import And, Comparison, Label, Missing, Not, OneOf, Or, Plain, Tag
from soundsearch.stores.milvus import selecting
from soundsearch.stores.milvus.expressions import among, compile_filter
from soundsearch.stores.milvus.tables import Tables
from soundsearch.vectors import unit

pytest.importorskip("milvus_lite")


@pytest.fixture
def store(milvus_store):
    return milvus_store


def ids_of(store, filter):
    return [clip.id for clip in store.clips(filter)]


HOSTILE = [
    '" or id > 0 or uri == "', "' or true or '", '"] == 1 or tags["', "\\", '\\"', "a\nb", "%", "_",
    "${x}", "{x}", "\x00", "\u2028", "and", "\U0001f40b", '"; drop', "~1~0/", "\\u0041", "*",
]  # fmt: skip


def test_hostile_texts_are_texts(store):
    texts = [text for text in HOSTILE if text != "\x00"]
    ids = filled(
        store,
        [
            new_clip(f"/{n}{text.replace(chr(0), '')}.wav", 1, n, tags={text: text}, warning=text)
            for n, text in enumerate(texts)
        ],
    )
    for id, text in zip(ids, texts, strict=True):
        for field in (Tag(text), Plain("warning")):
            assert ids_of(store, Comparison(field, "==", text)) == [id]
            assert id not in ids_of(store, Comparison(field, "!=", text))
            assert id in ids_of(store, OneOf(field, (text, "else")))
        assert ids_of(store, Not(Missing(Tag(text)))) == [id]
    for text in HOSTILE:
        assert ids_of(store, Comparison(Plain("uri"), "==", text)) == []
        assert ids_of(store, Comparison(Tag("mic"), "==", text)) == []
        search(store, np.ones((1, 16), np.float32), 3, Comparison(Plain("uri"), ">", text))


def test_deep_and_long_filters(store):
    ids = filled(store, [new_clip(f"/{n}.wav", 1, n, tags={"n": float(n)}) for n in range(30)])
    many = Or(tuple(Comparison(Tag("n"), "==", float(n)) for n in range(5, 700)))
    assert ids_of(store, many) == ids[5:]
    assert ids_of(store, Not(many)) == ids[:5]
    assert ids_of(store, OneOf(Tag("n"), tuple(map(float, range(0, 900, 2))))) == ids[::2]
    everywhere = OneOf(Plain("uri"), tuple(f"/{n}.wav" for n in range(10, 3000)))
    assert ids_of(store, everywhere) == ids[10:]
    deep = Comparison(Tag("n"), "<", 7.0)
    for _ in range(45):
        deep = And((Or((deep, Comparison(Plain("duration"), "<", 0.0))), Not(Missing(Tag("n")))))
    assert ids_of(store, deep) == ids[:7]
    classes = frozenset(range(1, 527, 2))
    assert ids_of(store, Comparison(Label(classes), "<", 0.5)) == ids


@pytest.mark.slow
def test_more_clips_than_one_search_can_list(store, monkeypatch):
    clips = [new_clip(f"/{n}.wav", 1 + n % 3, n) for n in range(400)]
    ids = filled(store, clips)
    rng = random.Random(0)
    queries = np.random.default_rng(0).normal(0, 1, (3, 16)).astype(np.float32)
    for share in (0.02, 0.3, 0.5, 0.7, 0.98, 1.0):
        chosen = sorted(rng.sample(range(400), int(400 * share)))
        filter = OneOf(Plain("uri"), tuple(clips[n].record.uri for n in chosen))
        owners = [(ids[n], row) for n in chosen for row in range(len(clips[n].segments))]
        vectors = np.concatenate([clips[n].embeddings for n in chosen])
        cosines = unit(queries) @ unit(vectors).T
        for listed in (50_000, 60):
            monkeypatch.setattr(selecting, "_LISTED", listed)
            clip_ids, numbers, scores = search(store, queries, 7, filter)
            for row in range(len(queries)):
                best = np.argsort(-cosines[row])[:7]
                found = list(zip(clip_ids[row].tolist(), numbers[row].tolist(), strict=True))
                assert found == [owners[n] for n in best]
                np.testing.assert_allclose(scores[row], cosines[row][best], atol=1e-5)


def test_the_filter_is_applied_within_the_search(store, monkeypatch):
    ids = filled(store, CLIPS)
    asked = []
    real = Tables.nearest

    def nearest(tables, collection, queries, limit, fields, expression="", clips=None):
        found = real(tables, collection, queries, limit, fields, expression, clips)
        asked.append((expression, {hit["entity"]["clip"] for hits in found for hit in hits}))
        return found

    monkeypatch.setattr(Tables, "nearest", nearest)
    search(store, CLIPS[2].embeddings, 5, Comparison(Plain("segments"), "<", 5.0))
    [(expression, found)] = asked
    assert expression and found == set(ids[:2])


def test_a_clip_that_changed_since_it_was_selected(store):
    ids = filled(store, CLIPS)
    short = Comparison(Plain("segments"), "<", 5.0)
    with store.reading() as reading:
        assert reading.counts(short).clips == 2
        with store.writing():
            store.add([new_clip("/sounds/1.wav", 3, 70)])
        reading.search(CLIPS[1].embeddings, 5, short)
        with pytest.raises(ClipChanged):
            reading.rows([(ids[0], 0, 1)])
            reading.clips_by_id(ids[:1])
        assert reading.clips_by_id(ids[1:2])[ids[1]].uri == "/sounds/2.wav"


def test_lists_of_numbers_as_expressions():
    assert among("clip", [5]) == "clip in [5]"
    assert among("clip", [1, 2, 3, 4, 9]) == "((clip >= 1 and clip <= 4) or clip in [9])"
    assert among("clip", np.arange(7)) == "(clip >= 0 and clip <= 6)"
    rng = random.Random(1)
    for _ in range(50):
        values = sorted(rng.sample(range(2000), rng.randint(1, 1500)))
        text = among("clip", values)
        expression = compile(text, "expression", "eval")
        found = [clip for clip in range(2000) if eval(expression, {"clip": clip})]
        assert found == values
        assert text.count("(") < 250


def test_what_an_expression_cannot_say_is_widened():
    widely = Comparison(Plain("uri"), "like", "/field/%.wav")
    compiled = compile_filter(And((widely, Comparison(Plain("padded"), "==", True))), False)
    assert not compiled.exact and "padded == true" in compiled.text and "/field/" in compiled.text
    assert not compile_filter(Not(widely), False).exact
    assert compile_filter(Comparison(Plain("uri"), "like", "/field/%"), False).exact
    nothing = Comparison(Label(frozenset({3})), ">", 1.0)
    assert compile_filter(And((widely, nothing)), False).text is None
