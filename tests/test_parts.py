"""An ingest into Milvus in parts, by many processes at once."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress

import numpy as np
import pytest
from support.commands import run
from support.milvus_places import Killed, all_segments, die
from support.sounds import noise, tone, write
from support.stores import SETTINGS, new_clip, rows

import soundsearch
from soundsearch import errors
from soundsearch.stores.milvus import parts
from soundsearch.stores.milvus.client import MilvusClient
from soundsearch.stores.milvus.collections import NUMBERS, state_of
from soundsearch.stores.milvus.lease import Lease, _machine, is_over
from soundsearch.stores.milvus.parts import drop_ended
from soundsearch.stores.milvus.rows import state_row
from soundsearch.stores.milvus.store import MilvusStore
from soundsearch.stores.opening import open_store, place_of
from soundsearch.stores.parts import Part
from soundsearch.stores.records import Counts

pytest.importorskip("milvus_lite")

MANY = [new_clip(f"/sounds/{n:03}.wav", 1 + n % 5, n) for n in range(1, 61)]
SEGMENTS = sum(len(clip.embeddings) for clip in MANY)


def of_part(part):
    return [clip for clip in MANY if part.has(clip.record.uri)]


def state_of_parts(store):
    client, state = store._client, f"{store.uri.name}_state"
    return client.query(state, "id >= 1000 and id < 65536", ["id", "data"], "Strong")


def is_whole(address, segments=SEGMENTS):
    """Assert that all clips are there once, whole, and that nothing else is."""
    with closing(open_store(place_of(address))) as store:
        clips = list(store.clips())
        assert sorted(clip.uri for clip in clips) == [clip.record.uri for clip in MANY]
        assert len({clip.id for clip in clips}) == len(MANY)
        by_uri = {clip.record.uri: clip for clip in MANY}
        for clip in clips:
            np.testing.assert_array_equal(rows(store, clip.id)[0], by_uri[clip.uri].embeddings)
        with store.writing():
            pass
        assert len(all_segments(store)) == segments
        assert state_of_parts(store) == []


@pytest.mark.parametrize("count", [1, 2, 3, 64, 60_000])
def test_each_file_falls_to_one_part_and_parts_are_alike(count):
    uris = [f"/sounds/{n}/\udcff{n}.wav" for n in range(2000)]
    numbers = {Part(n, count) for n in range(1, min(count, 64) + 1)}
    found = [sum(part.has(uri) for part in numbers) for uri in uris]
    if count <= 64:
        assert set(found) == {1}
        shares = [sum(part.has(uri) for uri in uris) for part in numbers]
        assert max(shares) < 2000 / count + 6 * (2000 / count) ** 0.5
    else:
        assert max(found) <= 1


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/60001", "1/4 ", "a/b"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(errors.ArgumentError, match="shard: expected I/N"):
        Part.parse(text)


@pytest.mark.slow
def test_parts_at_once_are_the_ingest_of_one(milvus):
    MilvusStore.create(milvus, SETTINGS).close()
    problems = []

    def write_part(number):
        try:
            part = Part(number, 4)
            with closing(open_store(place_of(milvus))) as store, store.writing(part):
                for clip in of_part(part):
                    store.add([clip])
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=write_part, args=[n]) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    is_whole(milvus)


@pytest.mark.slow
def test_a_part_draws_block_after_block_and_changes_what_another_wrote(milvus, monkeypatch):
    monkeypatch.setattr("soundsearch.stores.milvus.parts._BLOCK", 3)
    with closing(MilvusStore.create(milvus, SETTINGS)) as store:
        with store.writing():
            store.add([new_clip(clip.record.uri, 2, 900) for clip in MANY[:20]])
        was = {clip.uri: clip.id for clip in store.clips()}
        with closing(open_store(place_of(milvus))) as other:
            with store.writing(Part(1, 2)), other.writing(Part(2, 2)):
                for mine, theirs in zip(of_part(Part(1, 2)), of_part(Part(2, 2)), strict=False):
                    store.add([mine])
                    other.add([theirs])
            for writer, part in ((store, Part(1, 2)), (other, Part(2, 2))):
                with writer.writing(part):
                    writer.add(of_part(part))
        assert {clip.uri: clip.id for clip in store.clips()}.items() >= was.items()
    is_whole(milvus)


def test_who_may_write_beside_whom(milvus):
    def refused(store, part, message):
        with pytest.raises(errors.LibraryBusy, match=message), store.writing(part):
            pass

    store = MilvusStore.create(milvus, SETTINGS)
    other = open_store(place_of(milvus))
    with closing(store), closing(other):
        with store.writing(Part(1, 4)):
            refused(other, None, "part 1/4 of an ingest")
            refused(other, Part(1, 4), "part 1/4 of an ingest")
            refused(other, Part(2, 5), r"part 1/4 .*would be part 2/5")
            with other.writing(Part(4, 4)):
                other.add(MANY[:1])
        with store.writing():
            refused(other, Part(1, 4), "writing to the library")
        with other.writing(Part(3, 5)):
            pass
        assert state_of_parts(store) == []


@pytest.mark.slow
@pytest.mark.parametrize("next_writer", ["part", "whole"])
@pytest.mark.parametrize("left", range(1, 9))
def test_a_part_killed_at_any_write(lite, monkeypatch, left, next_writer):
    """At each of its first writes: of state, of segments, of clips."""
    with closing(MilvusStore.create(lite, SETTINGS)) as store:
        with store.writing():
            store.add([new_clip(clip.record.uri, 2, 900) for clip in MANY[:5]])
        real, writes = MilvusClient.upsert, []

        def killed(client, collection, added):
            writes.append(collection)
            if len(writes) == left:
                die()
            real(client, collection, added)

        first, second = Part(1, 2), Part(2, 2)
        with closing(open_store(place_of(lite))) as other, other.writing(second):
            with monkeypatch.context() as patch, suppress(Killed):
                patch.setattr(MilvusClient, "upsert", killed)
                with store.writing(first):
                    for clip in of_part(first):
                        store.add([clip])
            other.add(of_part(second)[:10])
            if next_writer == "part":
                with store.writing(first):
                    store.add(of_part(first))
            other.add(of_part(second)[10:])
        if next_writer == "whole":
            with store.writing():
                store.add(of_part(first))
    is_whole(lite)


@pytest.fixture
def folder(tmp_path):
    for n in range(40):
        write(tmp_path / "s" / f"{n:03}.wav", noise(n, 2) + tone(200 + 20 * n, 2))
    (tmp_path / "s" / "broken.wav").write_bytes(b"RIFF\0\0\0\0WAVE")
    return tmp_path / "s"


@pytest.mark.slow
def test_the_command_line_in_three_parts(folder, lite, tmp_path):
    for number in (3, 1, 2):
        done = run("ingest", folder, "--shard", f"{number}/3", library=lite)
        broken = Part(number, 3).has(str(folder / "broken.wav"))
        assert done.returncode == (3 if broken else 0), done.stderr
    with soundsearch.open(lite) as lib, soundsearch.open(tmp_path / "whole") as whole:
        whole.ingest(folder)
        assert len(lib) == len(whole) == 40
        assert [each.uri for each in lib.failures()] == [str(folder / "broken.wav")]
        for n in (0, 17):
            found, expected = (each.query(folder / f"{n:03}.wav", k=40) for each in (lib, whole))
            assert [hit.uri for hit in found] == [hit.uri for hit in expected]
            np.testing.assert_allclose(
                [hit.score for hit in found], [hit.score for hit in expected], atol=1e-5
            )
        (folder / "000.wav").unlink()
        report = lib.ingest(folder, shard="1/1")
        assert (report.unchanged, report.failed_before, report.missing) == (39, 1, [])


def test_what_needs_the_whole_is_refused(folder, lite, tmp_path):
    for options, message in (
        (["--prune"], "shard: cannot be given with prune; ingest the same targets with it"),
        (["--reembed"], "--shard cannot be given with --reembed"),
        (["--tags", tmp_path / "none.csv"], "--shard cannot be given with"),
    ):
        done = run("ingest", folder, "--shard", "1/2", *options, library=lite)
        assert done.returncode in (1, 2) and message in done.stderr
    done = run("ingest", folder, "--shard", "9/2", library=lite)
    assert "shard: expected I/N with I from 1 to N" in done.stderr and done.returncode == 2
    done = run("ingest", folder, "--shard", "1/2", library=tmp_path / "lib")
    assert done.returncode == 1 and "a folder is written by one process at a time" in done.stderr


@pytest.mark.server
def test_processes_of_which_one_is_killed(folder, milvus_server):
    address = f"milvus://{milvus_server.address}/parts{time.time_ns()}"

    def start(number):
        arguments = ["ingest", folder, "--library", address, "--shard", f"{number}/3", "-v"]
        command = [sys.executable, "-m", "soundsearch", *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    processes = [start(number) for number in (1, 2, 3)]
    for line in processes[1].stdout:
        if line.startswith("added"):
            break
    processes[1].kill()
    codes = []
    for process in processes:
        process.communicate(timeout=300)
        codes.append(process.returncode)
    assert codes[1] in (-9, 0, 3) and set(codes) - {codes[1]} <= {0, 3}
    again = start(2)
    again.communicate(timeout=300)
    assert again.returncode in (0, 3)
    with closing(open_store(place_of(address))) as store:
        assert store.counts() == Counts(40, 80, 1)
        assert len({clip.uri for clip in store.clips()}) == 40
        assert len(all_segments(store)) == 80
        assert state_of_parts(store) == []


@pytest.fixture
def pair(lite):
    """Two stores of one library, as two processes have them."""
    with (
        closing(MilvusStore.create(lite, SETTINGS)) as store,
        closing(open_store(place_of(lite))) as other,
    ):
        yield store, other


@contextmanager
def suspended(store):
    """While its process is suspended, for so long that its lease expires."""
    lease = store.writer.lease
    lease._end()
    row = json.loads(state_row(lease._row, lease.holder())["data"])
    store._client.upsert(lease._collection, [state_row(lease._row, {**row, "time": 0.0})])
    yield
    lease._renewed -= 120


def numbers_of(store):
    return state_of(store._client, f"{store.uri.name}_state", NUMBERS)


def clip_ids(store):
    ids = {clip.uri: clip.id for clip in store.clips()}
    assert len(set(ids.values())) == len(ids)
    return ids


@pytest.mark.parametrize("writes", [True, False])
def test_a_writer_that_was_suspended_takes_no_numbers_back(pair, writes):
    store, other = pair
    expected = pytest.raises(errors.LibraryBusy, match="was suspended") if writes else nullcontext()
    with expected, store.writing():
        store.add(MANY[:3])
        with suspended(store), other.writing():
            other.add(MANY[3:40])
        was = clip_ids(other)
        if writes:
            store.writer.counters._reserved["id"] = 0
            store.add([new_clip("/other.wav", 2, 900)])
    with other.writing():
        other.add(MANY[40:])
    assert clip_ids(other).items() >= was.items()
    is_whole(other.address)


def test_a_part_that_was_suspended_adds_nothing_after_another_took_its_place(pair):
    store, other = pair
    part = Part(1, 1)
    with pytest.raises(errors.LibraryBusy, match="was suspended"), store.writing(part):
        store.add(MANY[:1])
        with suspended(store), other.writing(part):
            other.add(MANY)
        store.add(MANY[1:2])
    is_whole(other.address)


def test_a_part_that_was_suspended_finds_the_whole_being_written(pair, monkeypatch):
    store, other = pair

    def wake(*arguments):
        store.writer.lease._renewed -= 120
        with suppress(errors.LibraryBusy):
            store.writer.lease.check()
        drop_ended(*arguments)

    monkeypatch.setattr("soundsearch.stores.milvus.store.drop_ended", wake)
    lost = pytest.raises(errors.LibraryBusy, match="suspended")
    with ExitStack() as whole, lost, store.writing(Part(1, 1)):
        with suspended(store):
            whole.enter_context(other.writing())
            other.add(MANY)
        store.add(MANY[:1])
    monkeypatch.undo()
    is_whole(other.address)


def test_numbers_are_drawn_once_though_a_turn_was_lost(pair, monkeypatch):
    store, other = pair
    real, reads = parts.numbers_of, []

    def overtaken(client, uri):
        numbers = real(client, uri)
        reads.append(numbers)
        if len(reads) == 2:  # within the first turn of the first part
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("soundsearch.stores.milvus.lease._SECONDS", -1.0)
                with monkeypatch.context() as inner:
                    inner.setattr(parts, "numbers_of", real)
                    other.writer.counters._draw(1)
        return numbers

    with store.writing(Part(1, 2)), other.writing(Part(2, 2)):
        reads.clear()
        reads.append(None)
        monkeypatch.setattr(parts, "numbers_of", overtaken)
        store.add(of_part(Part(1, 2)))
        other.add(of_part(Part(2, 2)))
    assert len(reads) == 3
    is_whole(other.address)


def test_a_part_begins_though_another_draws_numbers_just_then(pair, monkeypatch):
    store, other = pair
    real = Lease.holder

    def holder(lease):
        """What nobody held a moment ago is held in turn."""
        found = real(lease)
        if lease._row == 2 and "drawing" not in lease._mine:
            monkeypatch.setattr(Lease, "holder", real)
            Lease(other._client, other.uri, drawing=True)._write()
        return found

    monkeypatch.setattr(Lease, "holder", holder)
    with store.writing(Part(1, 2)):
        assert Lease(other._client, other.uri).holder()["drawing"]


def test_parts_of_different_numbers_that_begin_at_once(pair, monkeypatch):
    store, other = pair
    real = Lease.take
    with ExitStack() as held:

        def take(lease):
            monkeypatch.setattr(Lease, "take", real)
            held.enter_context(other.writing(Part(2, 5)))
            real(lease)

        monkeypatch.setattr(Lease, "take", take)
        with pytest.raises(errors.LibraryBusy, match=r"part 2/5 .*would be part 1/4"):
            held.enter_context(store.writing(Part(1, 4)))
    assert state_of_parts(store) == []


def test_a_part_with_nothing_new_draws_no_numbers(pair):
    store, _ = pair
    with store.writing():
        store.add(MANY)
    was = numbers_of(store)
    with store.writing(Part(1, 2)):
        assert store.clip_at(MANY[0].record.uri) is not None
    assert numbers_of(store) == was
    is_whole(store.address)


def test_a_lease_is_looked_at_after_this_machine_slept(pair):
    """As a laptop does; the clock that cannot be set does not count that time."""
    store, other = pair
    with pytest.raises(errors.LibraryBusy), store.writing():
        with suspended(store), other.writing():
            pass
        store.writer.lease._renewed += 120
        store.writer.lease._renewed_at -= 120
        store.add(MANY[:1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux")
def test_machines_of_one_name_are_told_apart():
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    host = f"{socket.gethostname()}/{os.readlink('/proc/self/ns/pid')}"
    holder = {"time": time.time(), "pid": int(ended.stdout), "host": _machine()}
    assert is_over(holder)
    assert not is_over({**holder, "host": host})
