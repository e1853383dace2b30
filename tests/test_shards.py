"""A large local library: its index is of shards that are extended, not written again."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from support.stores import SETTINGS, filled, index_over, new_clip, search, vectors_of

from soundsearch.errors import LibraryError
from soundsearch.stores.local import index as local_index
from soundsearch.stores.local import indexing, sums
from soundsearch.stores.local import store as local_store
from soundsearch.stores.local.building import fill, train, write
from soundsearch.stores.local.cells import known_cells
from soundsearch.stores.local.live import Live
from soundsearch.stores.local.shards import Shards
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.records import SEGMENT
from soundsearch.vectors import scores_along, unit

SEGMENTS = 50


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(indexing, "EXACT_ROWS", 2000)
    monkeypatch.setattr(indexing, "_STALE_ROWS", 300)
    monkeypatch.setattr(indexing, "_SHARD_ROWS", 3000)
    monkeypatch.setattr(indexing, "_FILLED_ROWS", 3000)
    monkeypatch.setattr(local_index, "_TAIL", 128)
    monkeypatch.setattr(local_index, "_FEW_CHOSEN", 100)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "library"


@pytest.fixture
def store(folder):
    with closing(LocalStore.create(folder, SETTINGS)) as made:
        yield made


def clips_of(vectors, first):
    return [
        replace(
            new_clip(f"/{first + n}.wav", 1, first + n),
            embeddings=part,
            segments=np.zeros(SEGMENTS, SEGMENT),
        )
        for n, part in enumerate(np.split(vectors, len(vectors) // SEGMENTS))
    ]


def optimised(store):
    said = []
    with store.writing():
        store.optimise(said.append)
    return said


def shards(folder):
    return sorted(
        (path.name for path in folder.glob("index-*.faiss")),
        key=lambda name: int(name.split("-")[3]),
    )


def recall(store, queries, vectors, live):
    """Of the ten nearest live segments, by cosine."""
    nearest = np.sort(unit(queries) @ unit(vectors[live]).T, axis=1)[:, -10]
    return (search(store, queries, 10)[2] >= nearest[:, None] - 1e-5).mean()


@pytest.mark.slow
def test_a_library_that_grows_extends_its_index(store, folder):
    vectors, queries = vectors_of(12_000), vectors_of(60, 1)
    ids, kept, rng = [], {}, np.random.default_rng(0)
    for begin in range(0, 12_000, 600):
        ids += filled(store, clips_of(vectors[begin : begin + 600], begin // SEGMENTS))
        optimised(store)
        live = np.ones(begin + 600, np.bool_)
        if begin % 1800 == 0 and begin:
            gone = int(rng.integers(len(ids)))
            with store.writing():
                store.remove([ids[gone]])
            ids[gone] = None
        for place, clip_id in enumerate(ids):
            live[place * SEGMENTS : (place + 1) * SEGMENTS] = clip_id is not None
        assert recall(store, queries, vectors[: begin + 600], live) > 0.95
        names = shards(folder)
        for name in names:
            state = (folder / name).stat()
            assert kept.setdefault(name, state.st_ino) == state.st_ino
        assert len(names) <= 2 + begin // 3000 + 3
    with store.reading() as reading:
        files = reading._snapshot.vectors.index_files
        assert 12_000 - files.rows <= 300 and len(files.shards) > 3
        assert [shard.rows for shard in files.shards[:3]] == [3000, 3000, 3000]
        # And along directions, whatever shard it is in.
        along = [(rng.normal(size=(2, 16)).astype(np.float32), np.zeros(2, np.float32))]
        scores = np.where(live, scores_along(vectors, along), -np.inf)
        clips, numbers = reading.highest(along, 20)
        places = [ids.index(clip) * SEGMENTS + n for clip, n in zip(clips, numbers, strict=True)]
        assert scores[places].tolist() == sorted(scores, reverse=True)[:20]
    assert store.check() == []


def test_what_is_added_at_length_is_indexed_meanwhile(store, folder, monkeypatch):
    monkeypatch.setattr(local_store, "_MOST_UNINDEXED", 2500)
    vectors = vectors_of(6000)
    steps = []
    with store.writing():
        for begin in range(0, 6000, 500):
            store.add(clips_of(vectors[begin : begin + 500], begin // SEGMENTS), steps.append)
            if begin >= 2500:
                with store.reading() as reading:
                    assert reading._snapshot.vectors.index_files.rows > begin - 2500
    # What takes long is said; what is added to cells that are there, is not.
    assert [step.split()[0] for step in steps] == ["training", "adding", "tuning"]
    assert "2500 segments" in steps[0] and steps[1] == "adding 2500 segments to the index"
    assert store.tuning() is not None and store.check() == []


@pytest.mark.slow
def test_what_is_stored_is_not_said_to_have_failed_when_no_index_can_be(store, folder, monkeypatch):
    monkeypatch.setattr(local_store, "_MOST_UNINDEXED", 2500)

    def full(index, path):
        path.write_bytes(b"as far as it went")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(indexing, "write", full)
    with store.writing():
        store.add(clips_of(vectors_of(3000), 0))
        assert store.counts().clips == 60 and not list(folder.glob("index*"))
        with pytest.raises(LibraryError, match="No space left"):
            store.optimise()
    monkeypatch.undo()
    assert store.check() == []


def test_many_shards_answer_as_one_does(tmp_path):
    vectors, queries = vectors_of(5000), unit(vectors_of(100, 1))
    index = train(vectors, lambda _text: None)
    paths = [tmp_path / f"{n}.faiss" for n in range(4)]
    for path, (begin, end) in zip(
        paths, ((0, 5000), (0, 2500), (2500, 2600), (2600, 5000)), strict=True
    ):
        index.reset()
        fill(index, vectors, begin, end)
        write(index, path)
    live = np.arange(5000)[np.random.default_rng(0).random(5000) < 0.8]
    one, many = (index_over(vectors, live, part) for part in (paths[0], paths[1:]))
    half = live[::2]
    for k in (1, 10, 300):
        for chosen in (None, half, live[live < 2550], live[:50]):
            parts = [None if chosen is None else each.among(chosen) for each in (one, many)]
            rows, scores = one.search(queries, k, parts[0])
            _, others = many.search(queries, k, parts[1])
            np.testing.assert_allclose(scores, others, atol=1e-6)
            assert np.isin(rows[rows >= 0], live if chosen is None else chosen).all()


def test_small_shards_become_one(store, folder, monkeypatch):
    monkeypatch.setattr(indexing, "_STALE_SHARE", 0.01)
    monkeypatch.setattr(indexing, "_STALE_ROWS", 20)
    vectors, queries = vectors_of(3600), vectors_of(60, 1)
    made, counts = 2500, []
    filled(store, clips_of(vectors[:made], 0))
    optimised(store)
    for count in (50, 50, 50, 100, 200, 600):
        filled(store, clips_of(vectors[made : made + count], made // SEGMENTS))
        made += count
        optimised(store)
        with store.reading() as reading:
            counts.append([s.rows for s in reading._snapshot.vectors.index_files.shards])
        assert recall(store, queries, vectors[:made], slice(None)) > 0.95
        assert search(store, vectors[made - 7 : made - 6], 1)[2] == pytest.approx(1, abs=1e-5)
    assert counts[:4] == [[2500, 50], [2500, 100], [2500, 150], [2500, 250]]
    # Not smaller by more than eight times, and of no more than 3000 rows together.
    assert counts[4:] == [[2950], [2950, 600]] and store.check() == []
    # What is known of the cells of both, put together, is what there is.
    with store.reading() as reading:
        files = reading._snapshot.vectors.index_files
        first = Shards([folder / files.shards[0].name], 16)
        there = known_cells(first, [files.shards[0].cell_sums], vectors)
    rows = vectors[:2950]
    np.testing.assert_allclose(there.norms, np.linalg.norm(rows, axis=1), rtol=1e-5)
    middles = first.middles()
    for cell, own in enumerate(first.rows_by_cell(0)):
        apart = unit(rows[own]) - middles[cell]
        spread = np.sqrt((apart**2).mean()) if len(own) else 0
        assert there.spread[cell] == pytest.approx(spread, rel=1e-4)
        assert there.longest[cell] == max(there.norms[own], default=0)
        assert there.shortest[cell] == min(there.norms[own], default=np.inf)


def test_a_reader_opens_only_the_shards_that_are_new(store, folder, monkeypatch):
    read = []
    is_whole = sums.is_whole
    monkeypatch.setattr(
        "soundsearch.stores.local.shardfile.is_whole",
        lambda path, *rest: read.append(path.name) or is_whole(path, *rest),
    )
    vectors = vectors_of(8000)
    filled(store, clips_of(vectors[:7000], 0))
    optimised(store)
    with closing(LocalStore(folder)) as reader:
        search(reader, vectors[:1], 1)
        with reader.reading() as reading:
            before = reading._snapshot.vectors._shards
        filled(store, clips_of(vectors[7000:], 140))
        optimised(store)
        read.clear()
        assert search(reader, vectors[7777:7778], 1)[2] == pytest.approx(1, abs=1e-5)
        with reader.reading() as reading:
            after = reading._snapshot.vectors._shards
    old, new = (dict(zip(each.paths, each.indexes, strict=True)) for each in (before, after))
    kept = old.keys() & new.keys()
    assert len(kept) == 2 and all(old[path] is new[path] for path in kept)
    assert sorted(read) == sorted(path.name for path in new.keys() - kept)


def test_a_build_that_is_stopped_goes_on_where_it_was(store, folder, monkeypatch):
    vectors = vectors_of(8000)
    filled(store, clips_of(vectors, 0))
    fill = indexing.fill

    def stopped(index, vectors, begin, end):
        if begin >= 3000:
            raise KeyboardInterrupt
        fill(index, vectors, begin, end)

    monkeypatch.setattr(indexing, "fill", stopped)
    with pytest.raises(KeyboardInterrupt):
        optimised(store)
    [first] = shards(folder)
    inode = (folder / first).stat().st_ino
    monkeypatch.setattr(indexing, "fill", fill)
    with closing(LocalStore(folder)) as other:
        assert recall(other, vectors[::400], vectors, slice(None)) > 0.95
        said = optimised(other)
    assert not any("training" in text for text in said) and "tuning the index" in said
    assert shards(folder)[0] == first and (folder / first).stat().st_ino == inode
    assert len(shards(folder)) == 3 and not list(folder.glob("*.new*"))
    assert recall(store, vectors[::400], vectors, slice(None)) > 0.95


def test_a_build_that_is_stopped_again_loses_no_shard(store, folder, monkeypatch):
    vectors = vectors_of(8000)
    filled(store, clips_of(vectors, 0))
    fill = indexing.fill
    for end in (3000, 6000):

        def stopped(index, vectors, begin, to, end=end):
            if begin >= end:
                raise KeyboardInterrupt
            fill(index, vectors, begin, to)

        monkeypatch.setattr(indexing, "fill", stopped)
        with pytest.raises(KeyboardInterrupt):
            optimised(store)
        with store.reading() as reading:
            assert reading._snapshot.vectors.index_files.rows == end
    monkeypatch.setattr(indexing, "fill", fill)
    optimised(store)
    assert len(shards(folder)) == 3 and store.check() == []


@pytest.mark.slow
@pytest.mark.parametrize("whole", [0, 1])
def test_damage_of_cells_that_samples_miss_does_not_spread(store, folder, monkeypatch, whole):
    monkeypatch.setattr(sums, "_BLOCK", 1 << 12)
    vectors = vectors_of(7000)
    filled(store, clips_of(vectors[:3000], 0))
    optimised(store)
    if whole:
        filled(store, clips_of(vectors[3000:6000], 60))
        optimised(store)
    names = shards(folder)
    middles = Shards([folder / names[0]], 16).middles()
    for name in names[whole:]:
        with open(folder / name, "r+b") as file:
            at = file.read().find(middles[40:44].tobytes())
            file.seek(at)
            file.write(middles[::-1][: len(middles) // 2].tobytes())
    blocks = {(at + place) // (1 << 12) for place in range(middles.nbytes)}
    monkeypatch.setattr(
        sums.random, "sample", lambda all, k: [each for each in all if each not in blocks][:k]
    )
    filled(store, clips_of(vectors[len(names) * 3000 :][:1000], len(names) * 60))
    said = optimised(store)
    assert any("training" in text for text in said) == (not whole)
    new = Shards([folder / shards(folder)[-1]], 16).middles()
    assert np.array_equal(new, middles) == bool(whole)
    assert len(np.unique(new.round(5), axis=0)) == len(new)  # no cell twice, as in what is damaged


def test_shards_before_a_damaged_one_stay(store, folder):
    vectors = vectors_of(8000)
    filled(store, clips_of(vectors, 0))
    optimised(store)
    before = shards(folder)
    with open(folder / before[1], "r+b") as file:
        file.seek(20)
        file.write(b"\xff" * 200)
    [finding] = store.check()
    assert before[1] in finding.what
    with closing(LocalStore(folder)) as other:
        assert recall(other, vectors[::400], vectors, slice(None)) > 0.95
        assert not any("training" in text for text in optimised(other))
    assert shards(folder) == before and store.check() == []


def test_what_is_added_is_all_that_is_read_anew(store):
    vectors = vectors_of(1000)
    filled(store, clips_of(vectors, 0))
    search(store, vectors[:1], 1)
    with store.reading() as reading:
        before = dict(reading._snapshot.vectors.index()._tail)
    filled(store, clips_of(vectors_of(100, 1), 20))
    assert search(store, vectors_of(100, 1)[77:78], 1)[2] == pytest.approx(1, abs=1e-5)
    with store.reading() as reading:
        after = reading._snapshot.vectors.index()._tail
    assert [after[begin] is block for begin, block in before.items()] == [True] * 7 + [False]


def test_what_does_not_fit_into_memory_is_searched_all_the_same(monkeypatch):
    vectors, live = vectors_of(3000), np.arange(3000)[::3]
    queries = unit(vectors_of(50, 1))
    kept = index_over(vectors, live, None).search(queries, 7)
    monkeypatch.setattr(local_index, "_MOST_KEPT", 500)
    monkeypatch.setattr(local_index, "BLOCK", 256)
    index = index_over(vectors, live, None)
    for found in (index.search(queries, 7), index.search(queries, 7, index.among(live))):
        np.testing.assert_array_equal(found[0], kept[0])
        np.testing.assert_allclose(found[1], kept[1], atol=1e-6)
    few = index.search(queries, 7, index.among(live[:4]))
    assert few[0].shape == (50, 4) and np.isin(few[0], live[:4]).all()


@pytest.mark.parametrize("share", [1.0, 0.9, 0.1, 0.0])
def test_live_rows(share):
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, 200)
    firsts = np.cumsum(counts) - counts
    rows = int(counts.sum())
    kept = rng.random(200) < share
    expected = np.repeat(kept, counts)
    live = Live.of(firsts[kept], counts[kept], rows)
    for begin, end in ((0, None), (0, 0), (17, 300), (300, rows)):
        np.testing.assert_array_equal(
            live.numbers(begin, end), np.flatnonzero(expected[begin:end]) + begin
        )
        assert live.count(begin, end) == expected[begin:end].sum()
    mask = live.mask(300)
    assert (mask is None) == expected[:300].all()
    assert mask is None or (mask == expected[:300]).all()


def test_a_reader_knows_where_clips_are_whatever_happens_to_them(store, folder):
    rng = np.random.default_rng(0)
    with closing(LocalStore(folder)) as reader:
        there = {}
        for step in range(60):
            names = rng.integers(0, 40, 3).tolist()
            kind = int(rng.integers(4)) if there else 0
            with reader.reading() as reading:
                snapshot, columns = reading._snapshot, reading._snapshot.places.columns.copy()
            if kind == 0:
                clips = [new_clip(f"/{name}.wav", 1 + name % 3, step) for name in set(names)]
                filled(store, clips)
            elif kind == 1:
                with store.writing():
                    store.remove([store.clip_at(uri).id for uri in list(there)[:2]])
            elif kind == 2:  # one takes another's place
                one, other = rng.choice(list(there), 2)
                if one != other:
                    clip = store.clip_at(one)
                    moved = replace(clip.record, file=replace(clip.record.file, uri=str(other)))
                    with store.writing():
                        store.amend({clip.id: moved})
            elif step % 3 == 0:
                with store.writing():
                    store.rebuild()
            there = {clip.uri: clip for clip in store.clips()}
            with reader.reading():
                assert np.array_equal(snapshot.places.columns, columns)
            with reader.reading() as reading:
                assert reading.ids().tolist() == sorted(clip.id for clip in there.values())
                for clip in there.values():
                    assert reading.lengths(np.array([clip.id])) == clip.count
        assert store.check() == []
        with store.writing(), store._held.transaction():
            store._held.catalog.connection.execute(
                "UPDATE places SET places = zeroblob(36) WHERE number = 1"
            )
            store._held.catalog._clips_changed()
        [finding] = store.check()
        assert "where clips are" in finding.what
        with closing(LocalStore(folder)) as fresh, fresh.reading() as reading:
            assert len(reading.ids()) == len(there)
        with store.writing():
            store.rebuild()
        assert store.check() == []


def test_a_reading_of_an_older_state_beside_a_newer_one_that_is_stale(store, folder):
    filled(store, clips_of(vectors_of(1000), 0))
    with closing(LocalStore(folder)) as reader, reader.reading() as older:
        filled(store, clips_of(vectors_of(1000, 1), 20))
        with reader.reading() as newer:
            newer._snapshot.is_stale = True  # as where the files of its index are gone
        taken = reader._snapshots.of(older._catalog, reader.settings)
        np.testing.assert_array_equal(taken.ids, older.ids())
        with reader.reading() as newer:
            assert len(newer.ids()) == 40 and not newer._snapshot.is_stale


def test_a_shard_of_the_same_name_that_was_made_anew_is_opened(store, folder, monkeypatch):
    vectors = vectors_of(2500)
    filled(store, clips_of(vectors, 0))
    # As an older version of this package made it.
    monkeypatch.setattr(indexing, "train", lambda vectors, said: train(vectors[::-1], said))
    optimised(store)
    [name] = shards(folder)
    with closing(LocalStore(folder)) as reader:
        search(reader, vectors[:1], 1)
        with reader.reading() as reading:
            before = reading._snapshot.vectors._shards.middles()
        (folder / name).unlink()
        monkeypatch.setattr(indexing, "train", train)
        optimised(store)
        assert shards(folder) == [name]
        search(reader, vectors[:1], 1)
        with reader.reading() as reading:
            after = reading._snapshot.vectors._shards.middles()
    made = Shards([folder / name], 16).middles()
    assert not np.array_equal(made, before) and np.array_equal(after, made)
