"""Manifests: lists of files to ingest."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from soundsearch_ingest.manifests import Manifest
from support.sounds import noise, write
from support.web import Web

import soundsearch
from soundsearch import errors


@pytest.fixture
def folder(tmp_path):
    for n in range(3):
        write(tmp_path / "s" / f"{n}.wav", noise(n, 1))
    return tmp_path / "s"


@pytest.fixture
def lib(tmp_path):
    with soundsearch.open(tmp_path / "m.lib") as library:
        yield library


def listed(path, *lines, end="\n"):
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode("utf-8", "surrogateescape"))
    return path


def test_a_manifest(lib, folder, tmp_path):
    lines = [
        "\ufeff# mine",
        "0.wav",
        "",
        f"  {folder}/1.wav  ",
        "../s/0.wav",
        "  # and",
        "nope.wav",
    ]
    told = []
    for end in ("\n", "\r\n"):
        path = listed(folder / "list.txt", *lines, end=end)
        told.clear()
        report = lib.ingest(manifest=path, on_file=lambda *what: told.append(what))
        assert [f.reason for f in report.failed] == [
            "No such file or directory (line 7 of list.txt)"
        ]
        assert sorted(told)[-1] == (f"{folder}/nope.wav", "failed") and len(told) == 3
    assert report.unchanged == 2
    assert [failure.uri for failure in lib.failures()] == [f"{folder}/nope.wav"]
    report = lib.ingest(folder, manifest=path)
    assert (report.unchanged, report.added, len(report.failed)) == (2, 1, 1)


def test_what_a_manifest_does_not_mean(lib, folder):
    path = listed(folder / "list.txt", "*.wav", ".", "~nobody/x.wav", "./#hash.wav")
    write(folder / "#hash.wav", noise(9, 1))
    write(folder / "[0].wav", noise(8, 1))
    report = lib.ingest(manifest=path)
    assert report.added == 1 and len(report.failed) == 3
    assert "is not a regular file (line 2 of list.txt)" in [f.reason for f in report.failed]
    assert lib.ingest(manifest=listed(path, "[0].wav", "caf\udce9.wav")).added == 1


def test_urls_and_members_in_a_manifest(lib, folder, tmp_path):
    pytest.importorskip("aiohttp")
    web = Web(folder)
    try:
        web.cut.add("2.wav")
        lines = [f"{web.url}/{name}.wav" for name in (0, 1, 2, "gone", 0)]
        path = listed(
            tmp_path / "list", *lines, "zip://a::no.zip", "foo://x", "http://nowhere.invalid/x.wav"
        )
        report = lib.ingest(manifest=path)
        assert report.added == 2
        reasons = {failure.uri: failure.reason for failure in report.failed}
        assert set(reasons) == {
            f"{web.url}/2.wav",
            f"{web.url}/gone.wav",
            f"zip://a::{tmp_path}/no.zip",
            "foo://x",
            "http://nowhere.invalid/x.wav",
        }
        assert reasons[f"{web.url}/gone.wav"].endswith("404) (line 4 of list)")
        assert "fsspec" in reasons["foo://x"]
        web.cut.clear()
        web.fetched()
        report = lib.ingest(manifest=path)
        assert (report.added, report.unchanged) == (1, 2)
        assert sorted(web.fetched()) == ["2.wav", "gone.wav", "gone.wav"]
    finally:
        web.close()


def test_what_is_listed_and_gone_is_pruned(lib, folder, tmp_path):
    for n in range(12):
        write(folder / f"more{n}.wav", noise(20 + n, 1))
    path = listed(folder / "list", *(f"more{n}.wav" for n in range(12)), "0.wav")
    lib.ingest(folder)
    (folder / "0.wav").unlink()
    (folder / "1.wav").unlink()  # not listed
    assert lib.ingest(manifest=path).missing == [f"{folder}/0.wav"]
    assert lib.ingest(manifest=path, prune=True).removed == 1
    assert f"{folder}/1.wav" in lib
    for n in range(12):
        (folder / f"more{n}.wav").unlink()
    with pytest.raises(errors.LibraryError, match=r"list: 12 of its 12 clips .*--prune-all"):
        lib.ingest(manifest=path, prune=True)
    assert lib.ingest(manifest=path, prune_all=True).removed == 12
    assert len(lib) == 2


@pytest.mark.parametrize(
    "content", [b"0.wav\n\x00\x01\x02", b"0.wav\n" + b"x" * 100_000, b"0.wav\nRIFF\x24\x08\0\0WAVE"]
)
def test_what_is_no_list(lib, folder, content):
    (folder / "list").write_bytes(content)
    with pytest.raises(errors.ArgumentError, match=r"list, line 2: expected a path or URL"):
        lib.ingest(manifest=folder / "list")
    assert len(lib) in (0, 1)
    with pytest.raises(errors.AudioError, match=r"nowhere: No such file"):
        lib.ingest(manifest=folder / "nowhere")
    with pytest.raises(errors.AudioError, match=r"s: Is a directory"):
        lib.ingest(manifest=folder)


def test_an_empty_manifest(lib, folder):
    report = lib.ingest(manifest=listed(folder / "list", "# nothing yet", ""))
    assert (report.added, report.failed) == (0, []) and len(lib) == 0


def test_a_long_manifest_is_not_held_in_memory(folder, monkeypatch):
    """Lines are read as files are wanted."""
    taken = 0

    def endless():
        nonlocal taken
        while True:
            yield from f"{folder}/{taken}.wav\n".encode()
            taken += 1

    class Pipe(io.RawIOBase):
        content = endless()

        def readable(self):
            return True

        def readinto(self, buffer):
            buffer[0] = next(self.content)
            return 1

    class Input:
        buffer = io.BufferedReader(Pipe(), 1)

    monkeypatch.setattr(sys, "stdin", Input)
    files = Manifest("-").files()
    assert [next(files).size > 0 for _ in range(5)] == [True] * 3 + [False] * 2
    assert taken < 10


def test_what_others_ingest_is_not_asked_for(folder, tmp_path):
    pytest.importorskip("aiohttp")
    web = Web(folder)
    try:
        path = listed(tmp_path / "list", *(f"{web.url}/{n}.wav" for n in range(3)))
        part = [file.uri for file in Manifest(path).files(lambda uri: uri.endswith("1.wav"))]
        assert part == [f"{web.url}/1.wav"] and web.requests == ["HEAD /1.wav"]
    finally:
        web.close()


def test_a_manifest_from_standard_input_and_pipes(folder, tmp_path):
    def run(command, **options):
        done = subprocess.run(
            ["bash", "-c", f"{command} --library '{tmp_path}/c.lib' --json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHON": sys.executable},
            **options,
        )
        return done.returncode, json.loads(done.stdout)

    ingest = '"$PYTHON" -m soundsearch ingest'
    code, report = run(f"printf 's/0.wav\\ns/nope.wav\\n' | {ingest} --manifest -")
    assert (code, report["added"]) == (3, 1)
    assert report["failed"][0]["reason"].endswith("(line 2 of standard input)")
    code, report = run(f"{ingest} s/1.wav --manifest <(find {folder} -name '*.wav')")
    assert (code, report["added"], report["unchanged"]) == (0, 2, 1)
