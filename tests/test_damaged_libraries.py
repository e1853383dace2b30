"""A library whose files were damaged, as its users meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.sounds import noise, write

import soundsearch
from soundsearch.cli.main import main
from soundsearch.stores.local import upkeep


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
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 10)
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
    assert f"soundsearch rebuild --library {library}" in err
    out, _ = run("ingest", folder, "--library", library, "--json", code=1)
    assert damaged in json.loads(out)["damage"]
