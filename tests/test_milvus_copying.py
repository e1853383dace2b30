"""Copies to Milvus and from Milvus."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from soundsearch_ingest.discover import AudioFile
from support.commands import run
from support.stores import SETTINGS, filled, new_clip, rows, same_record, search

import soundsearch
from soundsearch import copying, errors
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.opening import create_store, open_store, place_of
from soundsearch.stores.records import Counts, FailureRecord

pytest.importorskip("milvus_lite")


@pytest.fixture
def uri(milvus):
    return milvus


def copied(source, target):
    with soundsearch.open(source) as library:
        return library.copy(target)


@pytest.mark.slow
def test_copy_there_and_back(tmp_path, uri):
    first, last = tmp_path / "first.lib", tmp_path / "last.lib"
    with closing(LocalStore.create(first, SETTINGS)) as store:
        clips = [
            new_clip(
                f"/{n}\udcff.wav",
                1 + n % 40,
                n,
                warning="short" * (n % 2),
                human_labels=(3, 500) * (n == 7),
                tags={"mic": "AKG", "n": float(n), "even": n % 2 == 0} if n % 3 else {},
            )
            for n in range(90)
        ]
        filled(store, clips)
        with store.writing():
            store.fail([FailureRecord(AudioFile("/bad.wav", 1, 2), None, "is text")])
    report = copied(first, uri)
    assert (report.copied, report.unchanged, report.failures) == (90, 0, 1)
    assert report.compared == 45
    with closing(open_store(place_of(uri))) as store, store.writing():
        store.remove([store.clip_at("/5\udcff.wav").id])
        store.add([new_clip("/6\udcff.wav", 2, 999)])
    report = copied(first, uri)
    assert (report.copied, report.replaced, report.unchanged) == (1, 1, 88)
    assert copied(uri, last).copied == 90
    with closing(LocalStore(first)) as one, closing(LocalStore(last)) as other:
        assert one.counts() == other.counts()
        assert list(one.failures()) == list(other.failures())
        for clip in one.clips():
            there = other.clip_at(clip.uri)
            assert same_record(there.record, clip.record)
            np.testing.assert_array_equal(rows(one, clip.id)[0], rows(other, there.id)[0])
            assert (rows(one, clip.id)[1] == rows(other, there.id)[1]).all()


COPY = """
import signal, sys, soundsearch
from soundsearch import copying
source, target, *limit = sys.argv[1:]
copying._CLIPS = 100  # are stored and reported at once
if limit:  # on the size of files, in place of a full disk
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit[0]),) * 2)
told = []
def on_clip(uri):
    print(uri, flush=True)
    told.append(uri)
    if len(told) == 300 and not limit:  # it has not ended when it is killed
        sys.stdin.read()
soundsearch.open(source).copy(target, on_clip=on_clip)
"""


COPIED = [new_clip(f"/{n}.wav", 1 + n % 9, n) for n in range(500)]


@pytest.fixture
def copied_there_and_back(tmp_path, uri):
    """Source and target of two copies: to Milvus, and from Milvus."""
    with closing(LocalStore.create(tmp_path / "first.lib", SETTINGS)) as store:
        filled(store, COPIED)
    return [(tmp_path / "first.lib", uri), (uri, tmp_path / "last.lib")]


def assert_completed(source, target, reported):
    """Run a copy again that was interrupted after these clips, and check that it completes."""
    with closing(open_store(place_of(target))) as store:
        assert reported <= {clip.uri for clip in store.clips()}
    report = copied(source, target)
    assert report.unchanged >= len(reported) > 0
    assert report.copied == len(COPIED) - report.unchanged > 0
    queries = np.random.default_rng(0).normal(0, 1, (9, 16)).astype(np.float32)
    answers = []
    for place in (source, target):
        with closing(open_store(place_of(place))) as store:
            assert store.counts() == Counts(len(COPIED), sum(len(c.segments) for c in COPIED), 0)
            clips = {clip.id: clip.uri for clip in store.clips()}
            assert set(clips.values()) == {clip.record.uri for clip in COPIED}
            clip_ids, segments, _ = search(store, queries, 8)
            answers.append((np.vectorize(clips.get)(clip_ids).tolist(), segments.tolist()))
    assert answers[0] == answers[1]


@pytest.mark.slow
def test_a_killed_copy_is_completed(copied_there_and_back):
    for source, target in copied_there_and_back:
        command = [sys.executable, "-c", COPY, source, target]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        reported = {process.stdout.readline().rstrip("\n") for _ in range(50)}
        process.kill()
        process.communicate()
        assert_completed(source, target, reported)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on files' sizes")
def test_a_copy_onto_a_full_disk_is_completed(copied_there_and_back, uri):
    if not place_of(uri).lite:
        pytest.skip("its disk is the server's")
    for (source, target), limit in zip(copied_there_and_back, (200_000, 120_000), strict=True):
        command = [sys.executable, "-c", COPY, source, target, str(limit)]
        run = subprocess.run(command, capture_output=True, text=True)
        last = run.stderr.splitlines()[-1]
        assert last.startswith("soundsearch.errors.LibraryError")
        assert "what was reported as done is stored" in last and "failed:" not in run.stderr
        assert_completed(source, target, set(run.stdout.splitlines()))


def test_others_write_while_a_library_is_copied(tmp_path):
    first, last = tmp_path / "first.lib", tmp_path / "last.lib"
    with closing(LocalStore.create(first, SETTINGS)) as store:
        filled(
            store, [new_clip("/a.wav", 8192, 1), *(new_clip(f"/{n}.wav", 2, n) for n in (2, 3, 4))]
        )

    def on_clip(uri):
        if uri == "/a.wav":  # a batch of its own; the others were listed with it
            with other.writing():
                other.add([new_clip("/2.wav", 2, 8)])
                other.remove([other.clip_at("/3.wav").id])

    def on_step(text):
        if text.startswith("comparing"):
            with other.writing():
                other.add([new_clip("/new.wav", 2, 9), new_clip("/4.wav", 2, 10)])
            with closing(LocalStore(last)) as there, pytest.raises(errors.LibraryBusy):
                there.writing().__enter__()

    with soundsearch.open(first) as lib, closing(LocalStore(first)) as other:
        report = lib.copy(last, on_clip=on_clip, on_step=on_step)
        assert (report.copied, report.compared) == (3, 1)
        with closing(LocalStore(last)) as there:
            ours, theirs = other.clip_at("/2.wav"), there.clip_at("/2.wav")
            assert same_record(ours.record, theirs.record)
            np.testing.assert_array_equal(rows(other, ours.id)[0], rows(there, theirs.id)[0])
        assert (lib.copy(last).copied, lib.copy(last).unchanged) == (1, 4)


def test_copy_refuses_another_space_and_itself(tmp_path):
    LocalStore.create(tmp_path / "a", SETTINGS).close()
    LocalStore.create(tmp_path / "b", replace(SETTINGS, space="mini-2")).close()
    with pytest.raises(errors.LibraryError, match="mini-2"):
        copied(tmp_path / "a", tmp_path / "b")
    with pytest.raises(errors.LibraryError, match="itself"):
        copied(tmp_path / "a", tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(errors.LibraryError, match="itself"):
        copied(tmp_path / "a", tmp_path / "link")
    with pytest.raises(errors.LibraryNotFound):
        copied(tmp_path / "c", tmp_path / "a")


def test_copy_refuses_itself_in_other_spelling(tmp_path, lite):
    with closing(create_store(place_of(lite), SETTINGS)):
        pass
    (tmp_path / "link").symlink_to(tmp_path)
    for other in (f"{lite}#sounds", lite.replace(str(tmp_path), str(tmp_path / "link"))):
        with pytest.raises(errors.LibraryError, match="itself"):
            copied(lite, other)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("milvus://localhost/x", "milvus://me:secret@127.0.0.1:19530/default/x?shards=2", True),
        ("milvus://localhost/x", "milvuss://LOCALHOST:19530/x", True),
        ("milvus://nowhere.invalid/x", "milvus://Nowhere.invalid:19530/x?index=flat", True),
        ("milvus://localhost/x", "milvus://localhost/y", False),
        ("milvus://localhost/x", "milvus://localhost:19531/x", False),
        ("milvus://localhost/x", "milvus://localhost/other/x", False),
        ("milvus://localhost/x", "milvus-lite:x.db#x", False),
    ],
)
def test_addresses_of_one_library(one, other, same):
    assert copying._same(place_of(one), place_of(other)) is same


def test_copy_from_the_command_line(sounds, tmp_path, lite):
    library = tmp_path / "cli.lib"
    assert run("ingest", sounds, library=library).returncode == 0
    done = run("copy", "--to", lite, library=library)
    assert done.returncode == 0, done.stderr
    assert "6 copied" in done.stdout and "6 clips compared, equal" in done.stdout
    shutil.rmtree(library)
    found = run("query", sounds / "low.wav", "-k", 1, library=lite)
    assert "low.wav" in found.stdout
