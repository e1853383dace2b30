"""A library whose files were damaged, as its users meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.sounds import noise, write

import soundsearch
from soundsearch.cli.main import main
from soundsearch.stores.local import indexing
from soundsearch.stores.milvus.rows import SEGMENTS_PER_EDITION


def damage(library: Path, row: int) -> None:
    """Overwrite part of a stored vector."""
    with open(library / "vectors-1.f32", "r+b") as file:
        file.seek(row * 128 * 4)
        file.write(b"\xff\xff\xff")


def run(*arguments, code=0):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path):
    for n in range(12):
        write(tmp_path / "sounds" / f"{n:02}.wav", noise(n, 5))
    return tmp_path / "sounds"


@pytest.fixture
def library(folder, tmp_path):
    with soundsearch.open(tmp_path / "l") as lib:
        lib.ingest(folder)
    return tmp_path / "l"


def test_an_ingest_tells_of_damage_and_does_the_rest(library, folder, monkeypatch):
    monkeypatch.setattr(indexing, "EXACT_ROWS", 10)
    damage(library, 0)
    with soundsearch.open(library) as lib:
        damaged = next(iter(lib)).uri
    write(folder / "new.wav", noise(99, 5))
    (folder / "11.wav").unlink()
    with soundsearch.open(library) as lib:
        report = lib.ingest(folder, prune=True)
        assert (report.added, report.unchanged, report.removed) == (1, 11, 1)
        assert report.damage is not None and damaged in report.damage
    out, err = run("ingest", folder, "--library", library, code=1)
    assert out.startswith("12 unchanged; the library holds 12 clips")
    assert f"Error: {library}: no index is made" in err and damaged in err
    assert f"soundsearch check --library {library}" in err
    out, _ = run("ingest", folder, "--library", library, "--json", code=1)
    assert damaged in json.loads(out)["damage"]


def test_a_check_names_what_is_damaged_and_how_to_have_it_back(library, folder):
    out, err = run("check", "--library", library)
    assert out == "nothing is damaged; checked 12 clips and 60 segments\n"
    assert "checking the segments" in err
    assert run("check", "--library", library, "--json") == ("", err)
    with soundsearch.open(library) as lib:
        clips = list(lib)
        assert lib.check() == []
    there, gone = clips[2], clips[7]
    with soundsearch.open(library) as lib:
        lib.tag({there.uri: {"keep": "me"}})
    Path(gone.uri).unlink()
    for clip in (2, 7):
        damage(library, 5 * clip)
    out, _ = run("check", "--library", library, code=1)
    assert f"{library}: the segments of 2 of its clips are missing or not" in out
    assert f"\n  {there.uri}\n  {gone.uri}\n  What to do: the files of 1 of" in out
    assert "nothing is damaged" not in out
    out, _ = run("check", "--library", library, "--json", code=1)
    finding = json.loads(out)
    assert finding["clips"] == [there.uri, gone.uri]
    again = f"soundsearch ingest --again {there.uri} --library {library}"
    assert again in finding["remedy"]
    assert finding["remedy"].index(again) < finding["remedy"].index("soundsearch rebuild")
    # What it says works.
    out, _ = run(*again.split()[1:])
    assert out == "1 replaced; the library holds 12 clips\n"
    with soundsearch.open(library) as lib:
        assert lib.clip(there.id).tags == {"keep": "me"}
        [finding] = lib.check()
        assert finding.clips == (gone.uri,) and "--again" not in finding.remedy
        assert lib.rebuild() == 1
        assert lib.check() == [] and len(lib) == 11


def test_a_copy_of_a_file_whose_clip_is_damaged_is_embedded(library, folder):
    with soundsearch.open(library) as lib:
        clip = next(iter(lib))
    damage(library, 0)
    Path(folder / "copy.wav").write_bytes(Path(clip.uri).read_bytes())
    with soundsearch.open(library) as lib:
        assert lib.ingest(folder).added == 1
        assert len(lib.vectors(folder / "copy.wav")) == 5
        assert [finding.clips for finding in lib.check()] == [(clip.uri,)]


@pytest.fixture
def lite(tmp_path):
    pytest.importorskip("milvus_lite")
    with soundsearch.open(f"milvus-lite:{tmp_path / 'x.db'}") as lib:
        yield lib


def test_missing_segments_in_milvus(lite, folder):
    lite.ingest(folder)
    assert lite.check() == []
    store = lite._session.store
    clip = list(lite)[3]
    [row] = store._tables.by_ids(store._tables.clips, [clip.id], ("edition",))
    client = store._client
    client.delete(store._tables.segments, [row["edition"] * SEGMENTS_PER_EDITION + 2])
    counted = []
    [finding] = lite.check(on_clips=counted.append)
    assert finding.clips == (clip.uri,) and sum(counted) == 12
    assert f"ingest --again {clip.uri} --library milvus-lite:" in finding.remedy
    assert lite.ingest(clip.uri, again=True).replaced == 1
    assert lite.check() == []
