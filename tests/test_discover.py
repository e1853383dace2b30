"""Discovery of files through folders, links, globs and awkward names."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from soundsearch_ingest.discover import Absence, discover, expand, stat_file
from soundsearch_ingest.errors import AudioError

RIFF = b"RIFF\x00\x00\x00\x00WAVEfmt "


def names(folder, skipped=None, **options):
    return [
        os.path.relpath(file.uri, folder) for file in discover(expand([folder]), skipped, **options)
    ]


def test_folder(tmp_path):
    for name in ("b.wav", "a.FLAC", "sub/c.Mp3", ".hidden.wav", ".git/d.wav", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"hello, world: no audio")
    (tmp_path / "recording").write_bytes(RIFF)
    (tmp_path / "picture.webp").write_bytes(b"RIFF\x00\x00\x00\x00WEBPVP8 ")
    skipped = Counter()
    found = names(tmp_path, skipped)
    assert found == ["a.FLAC", "b.wav", "recording", os.path.join("sub", "c.Mp3")]
    assert skipped == {"hidden": 2, "not audio": 2}


def test_known_files_are_included_whatever_they_hold(tmp_path):
    asked = []
    for name in ("a.txt", "b.wav", "noname", "z.txt"):
        (tmp_path / name).write_text("text")

    def known(paths):
        asked.append([os.path.basename(path) for path in paths])
        return {str(tmp_path / "noname")}

    skipped = Counter()
    assert names(tmp_path, skipped, known=known) == ["b.wav", "noname"]
    assert asked == [["a.txt", "noname", "z.txt"]]
    assert skipped == {"not audio": 2}


def test_state_of_a_file(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"x" * 77)
    os.utime(path, ns=(5, 123_456_789))
    [file] = discover([str(path)])
    assert (file.uri, file.size, file.mtime_ns) == (str(path), 77, 123_456_789)


@pytest.mark.parametrize("seconds", [9_300_000_000, -9_300_000_000])
def test_dates_that_64_bits_of_nanoseconds_do_not_hold(tmp_path, seconds):
    path = tmp_path / "a.wav"
    path.write_bytes(RIFF)
    try:
        os.utime(path, (seconds, seconds))
    except OSError:
        pytest.skip("this file system has no such dates")
    [file] = discover(expand([tmp_path]))
    assert file == stat_file(str(path))
    assert -(1 << 63) <= file.mtime_ns < 1 << 63


def test_links_broken_and_looping(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.wav").write_bytes(RIFF)
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.wav").symlink_to(tmp_path / "self.wav")
    skipped = Counter()
    assert len(names(tmp_path, skipped)) == 1
    assert skipped["broken link"] == 2


def test_globs_follow_no_loops(tmp_path):
    folder = tmp_path
    for name in ("a", "b", "c"):
        folder = folder / name
        folder.mkdir()
        (folder / f"{name}.wav").write_bytes(RIFF)
        (folder / "up").symlink_to(tmp_path)
        (folder / f"again-{name}").symlink_to(folder)
    (tmp_path / "a" / ".hidden").mkdir()
    (tmp_path / "a" / ".hidden" / "x.wav").write_bytes(RIFF)
    for pattern in ("**/*.wav", "**", "a/**/*.wav", "**/b/**"):
        found = [Path(path).name for path in map(os.path.basename, expand([tmp_path / pattern]))]
        assert len(found) == len(set(found)) <= 6, pattern
    files = [file.uri for file in discover(expand([tmp_path / "**" / "*.wav"]))]
    assert sorted(map(os.path.basename, files)) == ["a.wav", "b.wav", "c.wav"]
    assert len(list(discover(expand([tmp_path / "**"])))) == 3


def test_absence_is_certain_only_if_a_folder_can_be_listed(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.wav").write_bytes(RIFF)
    (tmp_path / "file").write_bytes(RIFF)
    absence = Absence()
    for there in ("here", "here/a.wav"):
        assert not absence.is_certain(str(tmp_path / there))
    for gone in ("here/b.wav", "was/here/too/c.wav", "file/d.wav", "was"):
        assert absence.is_certain(str(tmp_path / gone)), gone
    assert not absence.is_certain("relative.wav")
    assert not absence.is_certain("https://example.org/a.wav")

    def fails(_folder):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "listdir", fails)
    assert not Absence().is_certain(str(tmp_path / "here" / "b.wav"))


def test_nothing_comes_twice(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.wav", "sub/b.wav"):
        (tmp_path / name).write_bytes(RIFF)
    roots = expand([tmp_path / "sub" / "b.wav", tmp_path, tmp_path / "sub", tmp_path / "*.wav"])
    assert len(list(discover(roots))) == 2


@pytest.mark.parametrize("name", [b"new\nline.wav", b"quo\"te'.wav", b"\xff\xfe.wav", b"[a].wav"])
def test_awkward_names(tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), name)
    Path(os.fsdecode(path)).write_bytes(RIFF)
    assert [os.fsencode(file.uri) for file in discover(expand([tmp_path]))] == [path]
    assert [os.fsencode(file.uri) for file in discover(expand([os.fsdecode(path)]))] == [path]


def test_globs_and_missing_files(tmp_path):
    for name in ("a.wav", "b.wav", "c.mp3"):
        (tmp_path / name).write_bytes(RIFF)
    assert len(expand([tmp_path / "*.wav"])) == 2
    with pytest.raises(AudioError, match="nowhere"):
        expand([tmp_path / "nowhere"])


def test_a_pipe_is_not_ingested(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert names(tmp_path) == []
