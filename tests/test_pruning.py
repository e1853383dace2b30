"""Clips of files that are gone are removed; those of unreachable files stay."""

from __future__ import annotations

import itertools
import os
import shutil

import pytest
from support.sounds import noise, tone, write
from support.stores import as_if_older

import soundsearch
from soundsearch import errors
from soundsearch.pruning import Targets


@pytest.fixture
def folder(tmp_path):
    for n in range(30):
        write(tmp_path / "disk" / "sounds" / f"{n % 3}" / f"{n}.wav", noise(n, 1))
    return tmp_path / "disk" / "sounds"


@pytest.fixture
def lib(folder, tmp_path):
    with soundsearch.open(tmp_path / "p.lib") as library:
        library.ingest(folder)
        yield library


def refused(lib, target, *expected):
    before = [clip.uri for clip in lib]
    with pytest.raises(errors.LibraryError, match="--prune-all") as caught:
        lib.ingest(target, prune=True)
    for text in expected:
        assert text in str(caught.value)
    assert [clip.uri for clip in lib] == before


def test_a_few_clips_are_removed(lib, folder):
    for n in range(10):
        (folder / f"{n % 3}" / f"{n}.wav").unlink()
    assert len(lib.ingest(folder).missing) == 10
    assert lib.ingest(folder, prune=True).removed == 10
    assert len(lib) == 20


def test_an_unmounted_disk_takes_nothing_with_it(lib, folder):
    shutil.move(folder, folder.with_name("elsewhere"))
    folder.mkdir()
    refused(lib, folder, "30 of its 30 clips", str(folder))
    # The clips of a small target are safe too, even if no file is left.
    (folder / "0").mkdir()
    refused(lib, folder / "0", "10 of its 10 clips")
    assert lib.ingest(folder, prune_all=True).removed == 30


def test_half_of_the_files_is_too_much(lib, folder):
    shutil.rmtree(folder / "0")
    shutil.rmtree(folder / "1")
    refused(lib, folder, "20 of its 30 clips")
    assert len(lib.ingest(folder).missing) == 20


def test_new_clips_are_stored_even_if_pruning_is_refused(lib, folder):
    shutil.rmtree(folder / "0")
    shutil.rmtree(folder / "1")
    write(folder / "new.wav", tone(300, 1))
    with pytest.raises(errors.LibraryError, match="--prune-all"):
        lib.ingest(folder, prune=True)
    assert len(lib) == 31


def test_a_folder_that_fails_keeps_its_clips(lib, folder, monkeypatch):
    listdir, scandir, lexists = os.listdir, os.scandir, os.path.lexists
    failing = str(folder / "1")

    def fails(real):
        def call(path=".", *rest):
            if str(path).startswith(failing):
                raise OSError(5, "Input/output error", str(path))
            return real(path, *rest)

        return call

    monkeypatch.setattr(os, "listdir", fails(listdir))
    monkeypatch.setattr(os, "scandir", fails(scandir))
    monkeypatch.setattr(
        os.path, "lexists", lambda path: not str(path).startswith(failing) and lexists(path)
    )
    (folder / "0" / "0.wav").unlink()
    assert lib.ingest(folder, prune=True).removed == 1
    # Nor does a copy elsewhere count as the moved file.
    shutil.copy(folder / "1" / "1.wav", folder / "copy.wav")
    report = lib.ingest(folder)
    assert (report.renamed, report.added) == (0, 1)
    monkeypatch.undo()
    assert len(lib) == 30


def test_what_the_run_saw_is_not_removed(lib, folder):
    """The disk disappears after the files were seen."""
    done = []

    def go(uri, _outcome):
        done.append(uri)
        if len(done) == 10:
            shutil.move(folder, folder.with_name("elsewhere"))
            folder.mkdir()

    report = lib.ingest(folder / "0", prune_all=True, on_file=go)
    assert (report.unchanged, report.removed) == (10, 0)
    assert len(lib) == 30


def test_reembedding_does_not_lose_a_library_to_an_unmounted_disk(lib, folder, tmp_path):
    lib.close()
    as_if_older(tmp_path / "p.lib")
    shutil.move(folder, folder.with_name("elsewhere"))
    folder.mkdir()
    with soundsearch.open(tmp_path / "p.lib") as old:
        with pytest.raises(errors.LibraryError, match="--prune-all"):
            old.reembed(prune=True)
        assert len(old) == 30
        assert old.info()["space"] == "mini-0"


def test_the_first_target_above_a_file_is_found_among_any():
    uris = ["/".join(("", *names)) for n in range(4) for names in itertools.product("ab", repeat=n)]
    targets = ["/a/b", "/b/a/", "/a", "/a/b/a", "/a", "/bb", "c", "/a/b"]
    for uri in [*uris, "/abc", "/bb/c", "c", "c/d", "https://a/b?c=1", "/b/a/"]:
        for some in (targets, targets[:1], targets[::-1], ["/"], []):
            above = [
                place
                for place, target in enumerate(some)
                if uri == target or uri.startswith(os.path.join(target, ""))
            ]
            assert Targets(some).above(uri) == min(above, default=None)
