"""What every store must do, and that all give the same answers."""

from __future__ import annotations

import random
import threading
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from soundsearch_ingest.discover import AudioFile
from support.stores import (
    CLIPS,
    VALUES,
    amend,
    awkward_clips,
    filled,
    new_clip,
    random_filter,
    rows,
    same_record,
    search,
)

from soundsearch import errors
from soundsearch.stores.base import ClipChanged
from soundsearch.stores.filters import And, Comparison, Label, Not, OneOf, Plain, Tag, matches
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.opening import open_store
from soundsearch.stores.records import CLIP_LABELS, LABEL, Counts, FailureRecord, HumanEvent
from soundsearch.vectors import unit

AWKWARD = "/sounds/new\nline 'quote' \udcff é.wav"


def test_clips_are_stored_unchanged(store):
    said = HumanEvent(5, 0.25, 1.5, True), HumanEvent(9, 0.0, 0.0, False)
    facts = {"warning": "ends early", "human_labels": (5, 526), "human_events": said}
    awkward = new_clip(AWKWARD, 2, 9, **facts)
    ids = filled(store, [*CLIPS, awkward])
    assert store.counts() == Counts(5, 53, 0)
    assert [clip.id for clip in store.clips()] == ids
    with store.reading() as reading:
        assert reading.counts() == store.counts()
        by_id = reading.clips_by_id([10**6, *reversed(ids)])
        assert len(by_id) == 5
        for clip_id, clip in zip(ids, [*CLIPS, awkward], strict=True):
            stored = by_id[clip_id]
            assert stored.id == clip_id == store.clip_at(clip.record.uri).id
            assert reading.clip_at(clip.record.uri).id == clip_id
            assert stored.uri == clip.record.uri
            assert same_record(stored.record, clip.record)
            assert stored.count == len(clip.embeddings)
            np.testing.assert_array_equal(rows(store, clip_id)[0], clip.embeddings)
            np.testing.assert_array_equal(reading.rows([(clip_id, 0, 1)])[0], clip.embeddings[:1])
            assert (rows(store, clip_id)[1] == clip.segments).all()
            assert [found.id for found in store.clips_with(clip.record.digest)] == [clip_id]
        assert reading.lengths(np.array([*reversed(ids), 10**6])).tolist() == [2, 7, 40, 1, 3, 0]
        together, _ = reading.rows([(ids[2], 5, 7), (ids[0], 0, 3), (ids[2], 0, 1)])
        np.testing.assert_array_equal(together[:2], CLIPS[2].embeddings[5:7])
        np.testing.assert_array_equal(together[2:5], CLIPS[0].embeddings)
        np.testing.assert_array_equal(together[5:], CLIPS[2].embeddings[:1])
        assert len(reading.rows([])[0]) == 0
        with pytest.raises(ClipChanged):
            reading.rows([(ids[0], 0, 4)])
        assert reading.clip_at("/nowhere") is None
    assert store.clip_at("/nowhere") is None
    uris = [clip.record.uri for clip in (*CLIPS, awkward)]
    many = [*uris[::-1], "/nowhere", *(f"/{number}" for number in range(1000))]
    assert {uri: clip.id for uri, clip in store.clips_at(many).items()} == dict(
        zip(uris, ids, strict=True)
    )
    assert store.clips_at([]) == {}


def test_tags_come_back_with_their_types(store):
    tags = {"mic": "AKG", "take": 2.0, "": "", 'a"b': True, "$.x": False, "é\U0001f40b": "\n'"}
    ids = filled(store, [new_clip("/a.wav", 1, 1, tags=tags), new_clip("/b.wav", 1, 2)])
    with store.reading() as reading:
        found = reading.clips_by_id(ids)
    assert found[ids[0]].record.tags == tags
    assert [type(value) for value in found[ids[0]].record.tags.values()] == [
        type(value) for value in tags.values()
    ]
    assert found[ids[1]].record.tags == {}
    amend(store, ids[0], tags={"mic": 1.0})
    assert store.clip_at("/a.wav").record.tags == {"mic": 1.0}
    assert [clip.id for clip in store.clips(Comparison(Tag("mic"), "==", 1.0))] == ids[:1]
    amend(store, ids[0], tags={})
    assert store.clip_at("/a.wav").record.tags == {}
    np.testing.assert_array_equal(rows(store, ids[0])[0], new_clip("/a.wav", 1, 1).embeddings)


def test_search_equals_brute_force(store):
    ids = filled(store, CLIPS)
    owners = [(i, n) for i, clip in zip(ids, CLIPS, strict=True) for n in range(len(clip.segments))]
    everything = unit(np.concatenate([clip.embeddings for clip in CLIPS]))
    queries = np.random.default_rng(0).normal(0, 3, (5, 16)).astype(np.float32)
    clip_ids, segments, scores = search(store, queries, 8)
    expected = unit(queries) @ everything.T
    for row in range(len(queries)):
        best = np.argsort(-expected[row])[:8]
        assert list(zip(clip_ids[row], segments[row], strict=True)) == [owners[i] for i in best]
        np.testing.assert_allclose(scores[row], expected[row, best], atol=1e-5)


def test_k_beyond_the_number_of_segments(store):
    queries = np.ones((1, 16), np.float32)
    assert search(store, queries, 5)[0].shape == (1, 0)
    filled(store, CLIPS[:1])
    clip_ids, _, _ = search(store, queries, 50)
    assert (clip_ids >= 0).sum() == 3


def test_filtered_search_equals_brute_force(store):
    ids = filled(store, CLIPS)
    queries = np.random.default_rng(0).normal(0, 3, (5, 16)).astype(np.float32)
    for filter, numbers in (
        (Comparison(Plain("segments"), ">", 2.0), (0, 2, 3)),
        (Comparison(Plain("padded"), "==", True), (1,)),
        (OneOf(Plain("uri"), ("/sounds/1.wav", "/sounds/4.wav", "/nowhere")), (0, 3)),
        (Comparison(Plain("duration"), "<", 0.0), ()),
    ):
        let = [CLIPS[number] for number in numbers]
        owners = [(ids[n], row) for n in numbers for row in range(len(CLIPS[n].segments))]
        everything = np.concatenate([np.empty((0, 16), "f4"), *(clip.embeddings for clip in let)])
        expected = unit(queries) @ unit(everything).T
        with store.reading() as reading:
            assert reading.counts(filter) == Counts(len(let), len(owners), 0)
            for k in (1, 8, 1000):
                clip_ids, segments, scores = reading.search(queries, k, filter)
                assert clip_ids.shape == segments.shape == scores.shape
                assert len(clip_ids) == 5 and clip_ids.shape[1] <= k
                for row in range(len(queries)):
                    best = np.argsort(-expected[row])[:k]
                    there = clip_ids[row] >= 0
                    found = list(zip(clip_ids[row, there], segments[row, there], strict=True))
                    assert found == [owners[i] for i in best]
                    np.testing.assert_allclose(scores[row, there], expected[row, best], atol=1e-5)
        assert [clip.id for clip in store.clips(filter)] == [ids[n] for n in numbers]


def test_filters_mean_what_matches_says(store):
    rng = random.Random(0)
    clips = awkward_clips(60, rng)
    filled(store, clips)
    # Some are replaced, amended or removed: their earlier state must not match.
    others = awkward_clips(60, rng)
    with store.writing():
        store.add([others[7], replace(others[8], record=clips[8].record)])
        store.remove([store.clip_at(clips[9].record.uri).id])
        for number in (3, 4, 5):
            clip = store.clip_at(clips[number].record.uri)
            record = replace(others[number + 10].record, file=clip.record.file)
            store.amend({clip.id: record})
        first = store.clip_at(clips[10].record.uri)
        store.amend({first.id: replace(first.record, file=clips[11].record.file)})
    stored = list(store.clips())
    assert len(stored) == 58
    queries = np.ones((1, 16), np.float32)
    for _ in range(300):
        filter = random_filter(rng)
        expected = [clip for clip in stored if matches(filter, clip)]
        with store.reading() as reading:
            counts = reading.counts(filter)
            found = reading.search(queries, 200, filter)[0]
        assert counts == Counts(len(expected), sum(clip.count for clip in expected), 0), filter
        assert set(found[found >= 0].tolist()) == {clip.id for clip in expected}, filter
        assert [clip.id for clip in store.clips(filter)] == [clip.id for clip in expected], filter


def test_types_of_tags_are_told_apart(store):
    values = [1.0, True, "1", "true", 0.0, False, ""]
    clips = [new_clip(f"/{n}.wav", 1, n, tags={"x": v}) for n, v in enumerate(values)]
    ids = filled(store, [*clips, new_clip("/none.wav", 1, 99)])
    with store.reading() as reading:
        for clip_id, value in zip(ids, values, strict=False):
            for filter in (Comparison(Tag("x"), "==", value), OneOf(Tag("x"), (value,))):
                assert reading.counts(filter).clips == 1, filter
                assert reading.search(np.ones((1, 16), np.float32), 9, filter)[0] == [[clip_id]]
        assert reading.counts(Comparison(Tag("x"), "!=", 2.0)).clips == 2
        assert reading.counts(Not(Comparison(Tag("x"), "!=", 2.0))).clips == 6


def test_filters_of_any_size(store):
    filled(store, CLIPS)
    uris = tuple(f"/sounds/{n}.wav" for n in range(3000))
    many = And(tuple(Not(Comparison(Plain("segments"), "==", float(n))) for n in range(2, 1200)))
    with store.reading() as reading:
        assert reading.counts(OneOf(Plain("uri"), uris)).clips == 4
        assert reading.counts(many).clips == 1
        assert reading.counts(And(())).clips == 4
        assert reading.counts(OneOf(Tag("x"), tuple(VALUES))).clips == 0


def test_filters_see_amended_labels(store):
    ids = filled(store, CLIPS)
    labels = np.zeros(CLIP_LABELS, LABEL)
    labels["class_index"] = np.arange(10)
    labels["score"] = np.linspace(0.9, 0.1, 10)
    silent = Label(frozenset([int(CLIPS[0].record.labels["class_index"][0])]))
    with store.reading() as reading:
        assert reading.counts(Comparison(silent, "==", 1.0)).clips == 4
    for _ in range(2):
        amend(store, ids[0], labels=labels)
        amend(store, ids[1], human_labels=(3,))
        with store.reading() as reading:
            assert reading.counts(Comparison(silent, "==", 1.0)).clips == 3
            assert reading.counts(Comparison(Label(frozenset([3])), ">", 0.5)).clips == 2
            assert reading.counts(Comparison(Label(frozenset([3])), "==", 1.0)).clips == 1
            assert reading.counts(Comparison(Label(frozenset([9])), "<", 0.2)).clips == 4
        with store.writing():
            store.rebuild()


def test_replace_remove_and_amend(store):
    ids = filled(store, CLIPS)
    changed = new_clip("/sounds/2.wav", 5, 77)
    with store.writing():
        store.add([changed])
        store.remove([ids[0]])
    moved = replace(CLIPS[2].record, file=AudioFile("/elsewhere.wav", 1, 2))
    with store.writing():
        store.amend({ids[2]: moved, ids[0]: CLIPS[0].record, 10**6: moved})
    assert store.counts() == Counts(3, 52, 0)
    np.testing.assert_array_equal(rows(store, ids[1])[0], changed.embeddings)
    with store.reading() as reading:
        assert not reading.clips_by_id(ids[:1])
    assert store.clip_at("/sounds/3.wav") is None
    assert store.clip_at("/elsewhere.wav").id == ids[2]
    assert same_record(store.clip_at("/elsewhere.wav").record, moved)
    # What was removed or replaced is no longer found.
    for gone in (CLIPS[0], CLIPS[1]):
        _, _, scores = search(store, gone.embeddings, 1)
        assert scores.max() < 0.999
    with store.reading() as reading, pytest.raises(ClipChanged):
        reading.rows([(ids[0], 0, 1)])
    [new_id] = filled(store, [CLIPS[0]])
    assert new_id not in ids  # an id is never reused for another clip


def test_every_field_can_be_amended(store):
    ids = filled(store, CLIPS)
    labels = np.zeros(CLIP_LABELS, LABEL)
    labels[:2] = [(4, 0.5), (5, 0.25)]
    records = {
        ids[0]: replace(CLIPS[0].record, labels=labels, human_labels=(9, 1), warning="odd"),
        ids[3]: replace(CLIPS[3].record, tags={"x": 1.0}, duration=1.5, padded=True),
    }
    with store.writing():
        store.fail([FailureRecord(CLIPS[0].record.file, b"x" * 32, "no sound any more")])
        store.amend(records)
    assert store.counts().failures == 1  # the clip is as its file was
    with store.reading() as reading:
        found = reading.clips_by_id(ids)
    for clip_id, clip in zip(ids, CLIPS, strict=True):
        assert same_record(found[clip_id].record, records.get(clip_id, clip.record))
        assert found[clip_id].count == len(clip.embeddings)
        np.testing.assert_array_equal(rows(store, clip_id)[0], clip.embeddings)


def test_amending_onto_another_clip_takes_its_place(store):
    ids = filled(store, CLIPS)
    amend(store, ids[0], file=CLIPS[1].record.file)
    assert store.clip_at("/sounds/2.wav").id == ids[0]
    assert store.clip_at("/sounds/1.wav") is None
    with store.reading() as reading:
        assert not reading.clips_by_id(ids[1:2])
        assert reading.counts().clips == 3


def test_clips_can_swap_places(store):
    ids = filled(store, CLIPS)
    with store.writing():
        store.amend(
            {
                ids[0]: replace(CLIPS[0].record, file=CLIPS[1].record.file),
                ids[1]: replace(CLIPS[1].record, file=CLIPS[0].record.file),
            }
        )
    assert store.clip_at("/sounds/2.wav").id == ids[0]
    assert store.clip_at("/sounds/1.wav").id == ids[1]
    assert store.counts().clips == 4


def test_failures(store):
    file = AudioFile("/sounds/broken\udc80.wav", 5, 6)
    with store.writing():
        store.fail([FailureRecord(file, b"x" * 32, "is empty"), FailureRecord(file, None, "gone")])
    assert store.counts() == Counts(0, 0, 1)
    assert [f.reason for f in store.failures()] == ["gone"]
    assert store.failure_at(file.uri).file == file
    with store.writing():
        store.add([new_clip(file.uri, 1, 3)])
    assert store.counts() == Counts(1, 1, 0)
    with store.writing():
        store.fail([FailureRecord(file, b"x" * 32, "is empty")])
    assert store.failure_with(b"x" * 32).reason == "is empty"
    with store.reading() as reading:
        assert reading.counts().failures == 1
    with store.writing():
        store.forget_failures([file.uri])
    assert store.failure_with(b"x" * 32) is None
    with store.writing():
        store.fail([FailureRecord(AudioFile("/there", 1, 1), None, "gone")])
    amend(store, store.clip_at(file.uri).id, file=AudioFile("/there", 1, 1))
    assert store.counts() == Counts(1, 1, 0)


def test_add_is_all_or_none(store):
    broken = new_clip("/sounds/2.wav", 2, 5)
    # Refused by the database, after a valid one.
    none = float("nan") if isinstance(store, LocalStore) else None
    object.__setattr__(broken.record, "duration", none)
    with pytest.raises(errors.LibraryError), store.writing():
        store.add([CLIPS[0], broken])
    assert store.counts() == Counts(0, 0, 0)
    filled(store, CLIPS)
    np.testing.assert_array_equal(
        rows(store, store.clip_at("/sounds/1.wav").id)[0], CLIPS[0].embeddings
    )


def test_rebuild_keeps_answers(store):
    ids = filled(store, CLIPS)
    queries = np.random.default_rng(1).normal(0, 1, (3, 16)).astype(np.float32)
    long = Comparison(Plain("segments"), ">", 3.0)
    with store.writing():
        store.remove([ids[2]])
    before = search(store, queries, 5), search(store, queries, 5, long)
    with store.writing():
        assert store.rebuild() == 0
    after = search(store, queries, 5), search(store, queries, 5, long)
    for a, b in zip([*before[0], *before[1]], [*after[0], *after[1]], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_array_equal(rows(store, ids[3])[0], CLIPS[3].embeddings)
    filled(store, [new_clip("/more.wav", 3, 50)])
    np.testing.assert_array_equal(rows(store, ids[3])[0], CLIPS[3].embeddings)


def test_a_successor_takes_over(store):
    tags = {"mic": "AKG"}
    clips = [*CLIPS[:2], new_clip("/sounds/3.wav", 4, 3, tags=tags, human_labels=(7,))]
    ids = filled(store, clips)
    settings = replace(store.settings, space="mini-2")
    with store.writing():
        store.fail([FailureRecord(AudioFile("/bad", 1, 1), None, "is empty")])
        successor = store.successor(settings)
        with successor.writing():
            successor.add([new_clip("/sounds/1.wav", 3, 101)])
        successor.close()
        successor = store.successor(settings)  # continues the unfinished one
        with successor.writing():
            third = new_clip("/sounds/3.wav", 4, 103, tags=tags, human_labels=(7,))
            successor.add([third, new_clip("/sounds/new.wav", 1, 104)])
            successor.fail([FailureRecord(AudioFile("/worse", 1, 1), None, "is gone")])
        assert store.counts() == Counts(3, 8, 1)
        store.adopt(successor)
    assert store.settings == settings
    assert store.counts().clips == 3 and store.counts().segments == 8
    assert store.clip_at("/sounds/1.wav").id == ids[0]
    assert store.clip_at("/sounds/3.wav").id == ids[2]
    assert store.clip_at("/sounds/2.wav") is None
    assert store.clip_at("/sounds/3.wav").record.tags == tags
    assert store.failure_at("/worse").reason == "is gone"
    np.testing.assert_array_equal(rows(store, ids[2])[0], third.embeddings)
    with store.reading() as reading:
        assert reading.counts(Comparison(Tag("mic"), "==", "AKG")).clips == 1
        assert reading.counts(Comparison(Label(frozenset([7])), "==", 1.0)).clips == 1
        assert reading.search(third.embeddings[:1], 1)[0] == [[ids[2]]]


@pytest.mark.slow
def test_a_reader_sees_whole_clips_while_another_writes(store, place):
    reader = open_store(place)
    stop = threading.Event()
    wrong = []

    def read():
        try:
            while not stop.is_set():
                with suppress(ClipChanged):  # replaced meanwhile: a library retries
                    ask()
        except BaseException as error:
            wrong.append(error)
            raise

    def ask():
        with reader.reading() as reading:
            counts = reading.counts()
            if counts.segments != 10 * counts.clips:
                wrong.append(counts)
            long = Comparison(Plain("segments"), "==", 10.0)
            for filter in (None, long):
                found = reading.search(np.ones((1, 16), np.float32), 20, filter)[0][0]
                ids = sorted({clip_id for clip_id in found.tolist() if clip_id >= 0})
                if len(reading.rows([(clip_id, 0, 10) for clip_id in ids])[0]) != 10 * len(ids):
                    wrong.append(ids)
                if sorted(reading.clips_by_id(ids)) != ids:
                    raise ClipChanged

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    with store.writing():
        for n in range(30):
            store.add([new_clip(f"/{n}-{i}.wav", 10, n * 10 + i) for i in range(3)])
        for n in range(15):
            store.add([new_clip(f"/{n}-{i}.wav", 10, 1000 + n * 10 + i) for i in range(3)])
        store.rebuild()
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert reader.counts().clips == 90
    reader.close()


def test_eight_threads_get_the_answers_of_one(store):
    filled(store, CLIPS)
    queries = np.random.default_rng(0).normal(0, 3, (8, 16)).astype(np.float32)
    filters = [None, Comparison(Plain("segments"), ">", 2.0)]
    expected = [[search(store, query[None], 8, f) for f in filters] for query in queries]
    start, wrong = threading.Barrier(8), []

    def ask(number):
        try:
            start.wait()
            for _ in range(5):
                for filter, answer in zip(filters, expected[number], strict=True):
                    for a, b in zip(
                        search(store, queries[number][None], 8, filter), answer, strict=True
                    ):
                        np.testing.assert_allclose(a, b, atol=1e-6)
        except BaseException as error:
            wrong.append(error)
            raise

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_no_library(place):
    with pytest.raises(errors.LibraryNotFound, match="soundsearch ingest"):
        open_store(place)
