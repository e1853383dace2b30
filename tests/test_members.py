"""Sounds in zip and tar archives: found, heard, known again, and what may be wrong with them."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile

import numpy as np
import pytest
from soundsearch_ingest import members
from soundsearch_ingest.discover import Absence, discover, expand
from support.sounds import noise, tone, write

import soundsearch
from soundsearch import errors


@pytest.fixture
def folder(tmp_path):
    """Four sounds, two of them below, and what is none."""
    folder = tmp_path / "s"
    for name, sound in {
        "a.wav": tone(220, 1),
        "b.flac": tone(880, 2),
        "below/c.wav": noise(1, 1),
        "below/d.WAV": noise(2, 1),
    }.items():
        write(folder / name, sound)
    (folder / "notes.txt").write_text("no sound")
    write(folder / ".hidden.wav", tone(300, 1))
    return folder


def zipped(path, folder, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def tarred(path, folder, mode="w"):
    with tarfile.open(path, mode) as archive:
        archive.add(folder, ".")
    return path


@pytest.fixture
def lib(tmp_path):
    with soundsearch.open(tmp_path / "m.lib") as library:
        yield library


def uris(lib):
    return sorted(clip.uri for clip in lib)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_holds_what_its_folder_held(lib, folder, tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        zipped(path, folder, compression=zipfile.ZIP_DEFLATED)
    else:
        tarred(path, folder, f"w:{kind.partition('.')[2]}")
    report = lib.ingest(path)
    assert (report.added, report.failed) == (4, [])
    assert report.skipped == {"hidden": 1, "not audio": 1}
    protocol, dot = ("zip", "") if kind == "zip" else ("tar", "./")
    assert uris(lib) == sorted(
        f"{protocol}://{dot}{name}::{path}"
        for name in ("a.wav", "b.flac", "below/c.wav", "below/d.WAV")
    )
    assert lib.ingest(path).unchanged == 4
    assert lib.ingest(folder).added == 4  # copies, not embedded again
    for clip in lib:
        name = clip.uri.partition("::")[0].partition("://")[2]
        if name:
            same = lib.clip(str(folder / name))
            assert (lib.vectors(clip.uri) == lib.vectors(same.uri)).all()
            assert clip.duration == same.duration


def test_names_are_those_of_fsspec(folder, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    for path in (zipped(tmp_path / "x.zip", folder), tarred(tmp_path / "x.tar", folder)):
        for file in discover([str(path)]):
            with fsspec.open(file.uri, "rb") as stream, members.fetch(file.uri) as copy:
                assert stream.read() == copy.read()


def test_parts_of_an_archive(folder, tmp_path):
    path = zipped(tmp_path / "x.zip", folder)

    def found(*members):
        targets = expand([f"zip://{member}::{path}" for member in members])
        return [file.uri.partition("::")[0][6:] for file in discover(targets)]

    assert found("a.wav") == ["a.wav"]
    assert found("notes.txt") == ["notes.txt"]  # what is named is tried
    assert found("below") == found("below/") == found("below/*") == ["below/c.wav", "below/d.WAV"]
    assert found("**.wav") == [".hidden.wav", "a.wav", "below/c.wav"]
    assert found("*.flac", "b.flac", "") == ["b.flac", "a.wav", "below/c.wav", "below/d.WAV"]
    for missing in ("nope.wav", "*.mp3", "belo"):
        with pytest.raises(errors.AudioError, match=r"x\.zip: .*matches nothing"):
            found(missing)
    with pytest.raises(errors.AudioError, match=r"zip://a\.wav::.*nowhere\.zip"):
        expand([f"zip://a.wav::{tmp_path}/nowhere.zip"])


def test_a_changed_archive_gives_up_only_what_changed(lib, folder, tmp_path):
    path = zipped(tmp_path / "x.zip", folder)
    lib.ingest(path)
    write(folder / "a.wav", tone(440, 1))  # of the same size, and within the same two seconds
    write(folder / "e.wav", tone(500, 1))
    (folder / "b.flac").unlink()
    zipped(path, folder)
    report = lib.ingest(path)
    assert (report.added, report.replaced, report.unchanged) == (1, 1, 2)
    assert report.missing == [f"zip://b.flac::{path}"]
    assert lib.ingest(path, prune=True).removed == 1
    (tmp_path / "y").mkdir()
    moved = path.rename(tmp_path / "y" / "y.zip")
    report = lib.ingest(moved)
    assert report.renamed == 4 and all("y.zip" in uri for uri in uris(lib))
    moved.unlink()
    assert len(lib.ingest(tmp_path / "y").missing) == 4  # below the folder of their archive


def test_damage_and_locks_are_failures_of_members(lib, folder, tmp_path):
    path = zipped(tmp_path / "x.zip", folder)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        damaged, locked = archive.getinfo("a.wav"), archive.getinfo("below/c.wav")
        entry = content.rindex(b"below/c.wav") - 46
    content[damaged.header_offset + 200] ^= 1
    for place in (locked.header_offset + 6, entry + 8):  # says that it is encrypted
        content[place] |= 1
    path.write_bytes(content)
    report = lib.ingest(path)
    reasons = {f.uri.partition("::")[0]: f.reason for f in report.failed}
    assert report.added == 2 and len(reasons) == 2
    assert "damaged in its archive (Bad CRC-32" in reasons["zip://a.wav"]
    assert "is encrypted; unpack" in reasons["zip://below/c.wav"]
    zipped(path, folder)
    assert lib.ingest(path).added == 2 and lib.failures() == []


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_what_is_no_archive_is_a_failure(lib, folder, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\x1f\x8b" * 500)
    report = lib.ingest([path, folder])
    assert report.added == 4
    [failure] = report.failed
    assert failure.uri == f"{name[2:5]}://::{path}" and "cannot be opened as a" in failure.reason
    (zipped if name == "x.zip" else tarred)(path, folder)
    assert lib.ingest(path).added == 4
    assert lib.failures() == []


def test_a_truncated_archive(lib, folder, tmp_path):
    path = tarred(tmp_path / "x.tar", folder)
    with tarfile.open(path) as archive:
        last = max(archive.getmembers(), key=lambda member: member.offset_data)
    os.truncate(path, last.offset_data + 100)
    report = lib.ingest(path)
    assert report.added + len(report.failed) >= 1
    assert not any(failure.reason.startswith("unexpected ") for failure in report.failed)


def test_what_unpacks_to_more_than_there_is_room_for(lib, tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", bytes(1 << 20))
    content = path.read_bytes()
    huge = 0xFFFF_FFF0
    for place in (content.index(b"PK\x03\x04") + 22, content.index(b"PK\x01\x02") + 24):
        content = content[:place] + struct.pack("<I", huge) + content[place + 4 :]
    path.write_bytes(content)
    [failure] = lib.ingest(path).failed
    assert "no room" in failure.reason or "ended after" in failure.reason
    assert "4,294,967,280 bytes" in failure.reason


LIMITED = """
import resource, sys
import soundsearch
with soundsearch.open(sys.argv[1]) as lib:
    lib.ingest(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    from soundsearch_ingest import members
    try:
        members.fetch(sys.argv[3])
    except OSError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
def test_a_full_disk_while_copying_names_the_folder(folder, tmp_path):
    write(folder / "long.wav", noise(3, 20))
    path = zipped(tmp_path / "x.zip", folder)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            LIMITED,
            tmp_path / "l",
            folder / "a.wav",
            f"zip://long.wav::{path}",
        ],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == f"cannot be copied to {tmp_path}: File too large\n", done.stderr
    assert not any(item.name.startswith("tmp") for item in tmp_path.iterdir())


def test_links_and_odd_names_within_an_archive(lib, folder, tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(folder / "a.wav", "a.wav")
        for name, kind, target in (
            ("same.wav", tarfile.LNKTYPE, "a.wav"),
            ("away.wav", tarfile.SYMTYPE, "/etc/passwd"),
            ("gone.wav", tarfile.LNKTYPE, "nowhere.wav"),
        ):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            archive.addfile(link)
        sound = (folder / "b.flac").read_bytes()
        for name in ("../up.flac", "/abs.flac", "new\nline.flac", "b::c.flac"):
            member = tarfile.TarInfo(name)
            member.size = len(sound)
            archive.addfile(member, io.BytesIO(sound))
    report = lib.ingest(path)
    names = [uri.partition("::")[0][6:] for uri in uris(lib)]
    assert names == sorted(["a.wav", "same.wav", "/abs.flac", "new\nline.flac"])
    assert report.failed == [] and report.skipped == {"hidden": 1, "not audio": 1}
    assert not (tmp_path.parent / "up.flac").exists()


def test_audioset_features_in_an_archive(tmp_path):
    pytest.importorskip("google_crc32c")
    from soundsearch_ingest.audioset import Record, write_records

    features = np.random.default_rng(0).integers(0, 256, (10, 128), np.uint8)
    (tmp_path / "f").mkdir()
    write_records(tmp_path / "f" / "a.tfrecord", [Record("id-00", 30.0, 40.0, (74,), features)])
    (tmp_path / "f" / "b.tfrecord").write_bytes(b"no records")
    path = zipped(tmp_path / "x.zip", tmp_path / "f")
    with soundsearch.open(tmp_path / "r.lib") as lib:
        report = lib.ingest(f"zip://a.tfrecord::{path}")
        assert report.added == 1 and uris(lib) == ["https://www.youtube.com/watch?v=id-00&t=30"]
        report = lib.ingest(path, prune_all=True)
        assert (report.unchanged, len(report.failed), report.removed) == (1, 1, 0)


def test_many_threads_read_one_archive(folder, tmp_path):
    for path in (zipped(tmp_path / "x.zip", folder), tarred(tmp_path / "x.tar.gz", folder, "w:gz")):
        files = [file.uri for file in discover([str(path)])]
        wrong = []

        def check(files=files, wrong=wrong):
            for uri in files * 5:
                name = uri.partition("::")[0].partition("://")[2]
                with members.fetch(uri) as copy:
                    if copy.read() != (folder / name).read_bytes():
                        wrong.append(uri)

        threads = [threading.Thread(target=check) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_a_member_is_gone_only_where_its_archive_says_so(folder, tmp_path):
    path = zipped(tmp_path / "x.zip", folder)
    assert not Absence().is_certain(f"zip://a.wav::{path}")
    assert Absence().is_certain(f"zip://z.wav::{path}")
    path.write_bytes(b"no zip any more")
    assert not Absence().is_certain(f"zip://z.wav::{path}")
    path.unlink()
    assert Absence().is_certain(f"zip://a.wav::{path}")
    assert not Absence().is_certain("zip://a.wav::x.zip")


def test_an_archive_is_asked_with_and_removed(lib, folder, tmp_path):
    path = zipped(tmp_path / "x.zip", folder)
    lib.ingest(path)
    member = f"zip://a.wav::{path}"
    assert lib.query(member, k=1)[0].uri == member
    assert soundsearch.label(member).uri == member
    with pytest.raises(errors.AudioError, match=r"zip://no\.wav::.*is not in the archive"):
        lib.query(f"zip://no.wav::{path}")
    assert len(lib.query(folder / "a.wav", k=4, per="folder:1")) == 2
    assert lib.remove([f"zip://below/*::{path}"]) == 2
    assert lib.remove([path]) == 2
