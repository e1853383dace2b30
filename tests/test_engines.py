"""Which engine an ingest may use, and what is said where it may not."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

import soundsearch
from soundsearch.cli.main import main
from soundsearch.clusters.choosing import check_engine
from soundsearch.errors import ArgumentError, MissingExtra
from soundsearch.stores.opening import place_of


@pytest.mark.parametrize("place", ["library", "lite"])
def test_ray_needs_a_server(place, sounds, tmp_path):
    address = f"milvus-lite:{tmp_path}/x.db" if place == "lite" else tmp_path / "library"
    with soundsearch.open(address) as lib:
        with pytest.raises(ArgumentError, match=r"Milvus server .*copy --to milvus://HOST"):
            lib.ingest(sounds, engine="ray")
        with pytest.raises(ArgumentError, match="expected one of local, ray, got 'spark'"):
            lib.ingest(sounds, engine="spark")
        with pytest.raises(ArgumentError, match="expected none with the engine local, got 'auto'"):
            lib.ingest(sounds, address="auto")
    assert not (tmp_path / "library").exists() and not (tmp_path / "x.db").exists()


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'soundsearch\[ray\]'"):
        check_engine("ray", None, place_of("milvus://127.0.0.1:1/x"))


def test_clips_are_not_embedded_again_by_ray():
    done = CliRunner().invoke(main, ["ingest", "--reembed", "--engine", "ray"])
    assert done.exit_code == 2 and "leave out --engine ray" in done.output
