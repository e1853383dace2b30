"""Ingests of long files that are killed within one: what was heard is not heard again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from soundsearch_ingest import keeping, pipeline
from soundsearch_ingest.discover import stat_file
from soundsearch_ingest.encoders import load
from soundsearch_ingest.keeping import Keeper
from support.sounds import assert_same_embeddings, noise, write

import soundsearch
from soundsearch.errors import LibraryBusy

SECONDS = 700
INGEST = (
    "import sys, soundsearch; soundsearch.open(sys.argv[1], encoder='mini').ingest(sys.argv[2])"
)


class Counting:
    """The encoder, which counts the segments that it hears."""

    def __init__(self):
        self._encoder = load()
        self.heard = 0

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def embed(self, mel):
        self.heard += mel.shape[0] * mel.shape[1] // 96
        return self._encoder.embed(mel)


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    return write(tmp_path_factory.mktemp("long") / "long.wav", noise(1, SECONDS))


def heard(path, keeper=None, **options):
    """What comes of a file, and how many segments were heard for it."""
    encoder = Counting()
    [result] = pipeline.run([stat_file(str(path))], encoder, 0.96, keeper=keeper, **options)
    return result, encoder.heard


@pytest.fixture(scope="module")
def undisturbed(long_file):
    return heard(long_file)


def same(found, expected):
    np.testing.assert_array_equal(found.embeddings, expected.embeddings)
    np.testing.assert_array_equal(found.levels, expected.levels)
    assert found.duration == expected.duration


KEEPERS = []


@pytest.fixture(autouse=True)
def close_keepers():
    yield
    while KEEPERS:
        KEEPERS.pop().close()


def keeper_in(tmp_path, identity="mini"):
    KEEPERS.append(Keeper(tmp_path / "heard", identity, 128))
    return KEEPERS[-1]


def begun(tmp_path, path, stretches=3):
    """Hear a file and keep some stretches of it, as a run does that is killed; their file."""
    full = keeper_in(tmp_path / "all")
    result, _ = heard(path, full)
    full.close()
    [file] = (tmp_path / "all" / "heard").iterdir()
    (tmp_path / "heard").mkdir()
    kept = tmp_path / "heard" / file.name
    records = file.read_bytes()
    end = 0
    for _ in range(stretches):
        _, _, count, dimension, _ = keeping._HEAD.unpack_from(records, end)
        end += keeping._HEAD.size + count * (dimension + 1) * 4
    assert end < len(records)
    kept.write_bytes(records[:end])
    return kept, result


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_bytes_on_any_number_of_cores(long_file, undisturbed, workers):
    result, _ = heard(long_file, workers=workers)
    same(result, undisturbed[0])


def test_beside_others_it_is_heard_as_alone(long_file, undisturbed, tmp_path):
    paths = [write(tmp_path / f"{n}.wav", noise(n, 5 + n)) for n in range(9)]
    files = [stat_file(str(path)) for path in [*paths[:4], long_file, *paths[4:]]]
    results = {r.file.uri: r for r in pipeline.run(files, load(), 0.96, workers=2)}
    same(results[str(long_file)], undisturbed[0])


def test_a_query_hears_the_same_on_all_cores(long_file, undisturbed):
    told = []
    found = soundsearch.embed(long_file, on_sound=told.append)
    assert_same_embeddings(found.vectors, undisturbed[0].embeddings)
    assert sum(told) == pytest.approx(SECONDS)
    part = soundsearch.embed(long_file, at=(0, 300))
    assert_same_embeddings(found.vectors[:300], part.vectors[:300])


def test_what_was_kept_is_not_heard_again(long_file, undisturbed, tmp_path):
    kept, _ = begun(tmp_path, long_file)
    result, count = heard(long_file, keeper_in(tmp_path))
    same(result, undisturbed[0])
    assert count <= undisturbed[1] - 3 * 120
    keeper = keeper_in(tmp_path)
    assert sum(len(levels) for _, levels in keeper.of(result.digest).stretches.values()) == len(
        undisturbed[0].levels
    )
    keeper.drop(result.digest)
    assert not kept.parent.exists()


@pytest.mark.parametrize("fault", ["cut", "flipped", "not ours", "a link", "a folder", "empty"])
def test_a_damaged_file_does_no_harm(long_file, undisturbed, tmp_path, fault):
    kept, _ = begun(tmp_path, long_file)
    content = bytearray(kept.read_bytes())
    if fault == "cut":
        kept.write_bytes(content[:-1000])
    elif fault == "flipped":
        content[len(content) // 2] ^= 4
        kept.write_bytes(content)
    elif fault == "not ours":
        kept.write_bytes(bytes(range(256)) * 1000)
    elif fault == "empty":
        kept.write_bytes(b"")
    else:
        kept.unlink()
        other = tmp_path / "other"
        other.write_bytes(b"precious")
        kept.symlink_to(other) if fault == "a link" else kept.mkdir()
    keeper = keeper_in(tmp_path)
    result, count = heard(long_file, keeper)
    same(result, undisturbed[0])
    whole = undisturbed[1]
    assert count < whole - 100 if fault in ("cut", "flipped") else count == whole
    keeper.drop(result.digest)
    if fault == "a link":
        assert other.read_bytes() == b"precious"


@pytest.mark.slow
def test_other_sound_or_another_encoder_takes_nothing_of_it(long_file, undisturbed, tmp_path):
    kept, _ = begun(tmp_path, long_file)
    _, count = heard(long_file, keeper_in(tmp_path, "mini of another version"))
    assert count == undisturbed[1]
    changed = write(tmp_path / "changed.wav", noise(2, SECONDS))
    [other], (expected, _) = [heard(changed, keeper_in(tmp_path))[0]], heard(changed)
    same(other, expected)
    another = keeper_in(tmp_path, "x")
    kept.rename(another._place(b"1" * 32)[0])  # the checksums know whose they are
    assert not another.of(b"1" * 32).stretches


def test_a_file_that_changes_meanwhile_keeps_nothing_of_that(long_file, tmp_path):
    path = tmp_path / "changing.wav"
    path.write_bytes(long_file.read_bytes())

    def touch(_uri, seconds, _all):
        if seconds < 40:
            os.utime(path, (1, 1))

    keeper = keeper_in(tmp_path)
    result, _ = heard(path, keeper, on_long=touch)
    assert isinstance(result, pipeline.Failed) and "changed while it was read" in result.reason
    keeper.close()
    assert all(file.stat().st_size == 0 for file in (tmp_path / "heard").iterdir())


def test_files_are_few_and_not_for_ever(tmp_path, monkeypatch):
    keeper = keeper_in(tmp_path)
    for n in range(5):
        keeper.of(bytes([n]) * 32).add(0, np.zeros((10, 128), np.float32), np.zeros(10, np.float32))
    keeper.close()
    files = sorted((tmp_path / "heard").iterdir())
    os.utime(files[0], (1, 1))
    keeper.of(b"x" * 32)
    assert {*files[1:]} == {*(tmp_path / "heard").iterdir()} - {keeper._place(b"x" * 32)[0]}
    keeper.close()
    monkeypatch.setattr(keeping, "_BYTES", 3 * files[1].stat().st_size)
    keeper.of(b"x" * 32)
    assert len([*(tmp_path / "heard").iterdir()]) == 4
    keeper.clear()
    assert not (tmp_path / "heard").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on files")
def test_a_full_disk_only_forgets(long_file, undisturbed, tmp_path):
    # A limit on the size of files stands in for a full disk: writing fails half-way.
    script = (
        "import resource, signal, sys, numpy\n"
        "from pathlib import Path\n"
        "from soundsearch_ingest import pipeline, encoders, keeping\n"
        "from soundsearch_ingest.discover import stat_file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "keeper = keeping.Keeper(Path(sys.argv[2]), 'mini', 128)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))\n"
        "run = pipeline.run([stat_file(sys.argv[1])], encoders.load(), 0.96, keeper=keeper)\n"
        "[result] = run\n"
        "assert not list(Path(sys.argv[2]).iterdir())\n"
        "sys.stdout.buffer.write(result.embeddings.tobytes())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(long_file), str(tmp_path / "heard")],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == undisturbed[0].embeddings.tobytes()


def kept_bytes(folder):
    try:
        return sum(file.stat().st_size for file in folder.iterdir())
    except OSError:
        return 0


def kill_within(library, target, least=150_000):
    """Ingest in a process that is killed when something of the long file is kept."""
    process = subprocess.Popen([sys.executable, "-c", INGEST, str(library), str(target)])
    try:
        while kept_bytes(library / "heard") < least:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.002)
        process.send_signal(signal.SIGSTOP)  # it has not ended when it is killed
        with soundsearch.open(library) as lib, pytest.raises(LibraryBusy):
            lib.ingest(target)  # two at once
    finally:
        process.kill()
        process.wait()
    return kept_bytes(library / "heard")


@pytest.mark.slow
def test_killed_within_a_file_it_goes_on(tmp_path):
    path = write(tmp_path / "s" / "long.wav", noise(3, 1500))
    library = tmp_path / "killed.lib"
    assert kill_within(library, path.parent) >= 150_000
    told = []
    with soundsearch.open(library) as lib:
        assert len(lib) == 0
        report = lib.ingest(path.parent, on_long=lambda *of: told.append(of))
        assert report.added == 1 and report.seconds == 1500
        vectors = lib.vectors(str(path))
        assert lib.check() == []
    assert not (library / "heard").exists()
    assert told[0][0] == str(path) and told[-1][1:] == (1500, 1500)
    assert [heard for _, heard, _ in told] == sorted(heard for _, heard, _ in told)
    with soundsearch.open(tmp_path / "other.lib", encoder="mini") as other:
        other.ingest(path.parent)
        np.testing.assert_array_equal(other.vectors(str(path)), vectors)


def test_what_is_kept_of_a_file_that_is_gone_goes_with_prune(tmp_path):
    path = write(tmp_path / "s" / "long.wav", noise(4, 1500))
    write(tmp_path / "s" / "short.wav", noise(5, 3))
    library = tmp_path / "killed.lib"
    kill_within(library, path.parent)
    path.unlink()
    write(tmp_path / "s" / "another.wav", noise(6, 3))
    with soundsearch.open(library) as lib:
        lib.ingest(path.parent, prune=True)
        assert len(lib) == 2
    assert not (library / "heard").exists()
