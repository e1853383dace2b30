"""Libraries in Milvus made by version 0.1.0: opened, upgraded, and answering alike."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
import zipfile
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from soundsearch_ingest.discover import AudioFile
from support.milvus_places import KINDS, Killed, die, is_lease
from support.stores import SETTINGS, filled, new_clip, rows, search

import soundsearch
from soundsearch import errors
from soundsearch.stores.filters import Comparison, HumanLabel, Label, Missing, Plain
from soundsearch.stores.milvus import upgrades
from soundsearch.stores.milvus.client import Forbidden, MilvusClient
from soundsearch.stores.milvus.collections import SETTINGS as SETTINGS_ROW
from soundsearch.stores.milvus.collections import state_of
from soundsearch.stores.milvus.lease import Lease
from soundsearch.stores.milvus.rows import state_row
from soundsearch.stores.milvus.store import MilvusStore
from soundsearch.stores.milvus.uri import MilvusUri

pytest.importorskip("milvus_lite")

OLD = Path(__file__).parent / "data" / "milvus-0.1"
EXPECTED = json.loads((OLD / "expected.json").read_text("utf-8"))
DIMENSIONS = {"sounds": 128, "awkward": 16}


@pytest.fixture(params=KINDS)
def old(request, tmp_path):
    """Make the address of one of the old libraries, in Milvus Lite or on a server."""
    folder = tmp_path / "old.db"
    zipfile.ZipFile(OLD / "library.zip").extractall(folder)
    if request.param == "lite":
        return lambda name: f"milvus-lite:{folder}#{name}"
    address = request.getfixturevalue("milvus_server").address

    def moved(name):
        new = f"t{secrets.token_hex(8)}"
        move(f"milvus-lite:{folder}#{name}", f"milvus://{address}/{new}", DIMENSIONS[name])
        return f"milvus://{address}/{new}"

    return moved


def move(source: str, target: str, dimension: int) -> None:
    """Make an old library's collections on a server, row by row."""
    here, there = MilvusUri.parse(source), MilvusUri.parse(target)
    with closing(MilvusClient(here)) as ours, closing(MilvusClient(there)) as theirs:
        for name in ours.collections():
            if name.startswith(f"{here.name}_"):
                move_collection(ours, theirs, name, name.replace(here.name, there.name), dimension)


def move_collection(ours, theirs, name, new, dimension):
    from pymilvus import DataType
    from pymilvus import MilvusClient as Client

    schema = Client.create_schema(auto_id=False, enable_dynamic_field=False)
    for field in ours.fields(name):
        if field == "vector":
            size = dimension if "segments" in name else 2
            schema.add_field(field, DataType.FLOAT_VECTOR, dim=size)
        elif field in ("id", "clip", "take", "count"):
            schema.add_field(field, DataType.INT64, is_primary=field == "id")
        elif field == "level":
            schema.add_field(field, DataType.FLOAT)
        else:
            schema.add_field(field, DataType.VARCHAR, max_length=65_535)
    theirs.create_collection(new, schema, 1)
    theirs.create_index(new, "FLAT", {})
    theirs.load_collection(new)
    ours.load_collection(name)
    moved = ours.query(name, "id > -9223372036854775807", ours.fields(name), "Strong", 1000)
    theirs.upsert(new, moved)


def collections(uri):
    place = MilvusUri.parse(uri)
    with closing(MilvusClient(place)) as client:
        prefix = f"{place.name}_"
        return {name.removeprefix(prefix) for name in client.collections() if prefix in name}


def test_it_answers_as_it_did(old):
    uri = old("sounds")
    with closing(MilvusStore(uri)) as store:
        assert {clip.uri for clip in store.clips()} == set(EXPECTED["sounds"])
        for clip in store.clips():
            then = EXPECTED["sounds"][clip.uri]
            record = clip.record
            assert (clip.id, clip.count, record.duration) == (
                then["id"], then["count"], then["duration"],
            )  # fmt: skip
            assert record.file == AudioFile(clip.uri, then["size"], then["mtime_ns"])
            assert record.digest.hex() == then["digest"]
            assert record.labels.tolist() == [tuple(label) for label in then["labels"]]
            assert (record.warning, record.padded) == (then["warning"], then["padded"])
            assert (record.human_labels, record.tags) == ((), {})
            found = search(store, rows(store, clip.id)[0][:1], 6)
            nearest = list(zip(*(column[0].tolist() for column in found), strict=True))
            assert [hit[:2] for hit in nearest] == [tuple(hit[:2]) for hit in then["nearest"]]
            scores = [hit[2] for hit in then["nearest"]]
            np.testing.assert_allclose(found[2][0], scores, atol=1e-3)
        assert [[f.file.uri, f.reason] for f in store.failures()] == EXPECTED["failures"]
        best = Comparison(Label(frozenset({520})), ">", 0.9)
        assert [clip.uri for clip in store.clips(best)] == ["/sounds/hiss.wav"]
    with soundsearch.open(uri) as lib:
        assert lib.info()["clips"] == 4
    assert collections(uri) == {"state", "clips_v2", "segments", "stretches"}


def assert_upgraded(uri):
    """Check that what `awkward` held is there and can be filtered, changed and added to."""
    awkward = "/sounds/\udcff é.wav"
    with closing(MilvusStore(uri)) as store:
        assert store.settings == SETTINGS
        assert store.check() == []
        assert len(list(store.failures())) == 1
        clip = store.clip_at(awkward)
        assert (clip.record.human_labels, clip.record.warning) == ((3, 500), "ends early")
        np.testing.assert_array_equal(rows(store, clip.id)[0], new_clip(awkward, 3, 20).embeddings)
        assert [c.id for c in store.clips(Comparison(Plain("warning"), "==", "ends early"))] == [9]
        human = Comparison(HumanLabel(frozenset({500})), "==", True)
        assert search(store, np.ones((1, 16), np.float32), 9, human)[0].tolist() == [[9] * 3]
        with store.writing():
            store.amend({clip.id: replace(clip.record, tags={"mic": "AKG"})})
        assert store.clip_at(awkward).record.tags == {"mic": "AKG"}
        # The interrupted move: the clip that moved has the uri.
        assert store.clip_at("/sounds/1.wav").id == 7
        assert {c.id for c in store.clips()} == {2, 3, 4, 5, 6, 7, 9}
        assert len(list(store.clips(Missing(Plain("warning"))))) == 6
        assert min(filled(store, [new_clip("/new.wav", 2, 30)])) > 9
        # The unfinished successor is continued.
        with store.writing(), closing(store.successor(replace(SETTINGS, space="mini-2"))) as begun:
            assert [c.uri for c in begun.clips()] == ["/sounds/1.wav"]
            with begun.writing():
                begun.add([new_clip("/new.wav", 2, 31)])
            store.adopt(begun)
            assert {c.uri for c in store.clips()} == {"/sounds/1.wav", "/new.wav"}
    assert collections(uri) == {"state", "clips_v2_2", "segments_2", "stretches_2"}


def test_awkward_clips_are_kept(old):
    assert_upgraded(old("awkward"))


def test_vectors_are_not_written_again(old, monkeypatch):
    uri = old("sounds")
    written = []
    real = MilvusClient.upsert

    def upsert(client, name, rows):
        written.append(name)
        real(client, name, rows)

    monkeypatch.setattr(MilvusClient, "upsert", upsert)
    with closing(MilvusStore(uri)) as store, store.reading() as reading:
        ids = reading.ids()
        owners, vectors = reading.pooled(ids)
        assert len(owners) == len(ids) == 4
        found, scores = reading.search_pooled(vectors, 1)
        np.testing.assert_array_equal(found[:, 0], ids)
        np.testing.assert_allclose(scores, 1, atol=1e-5)
    assert written and not [name for name in written if "segments" in name]


CALLS = ("upsert", "create_collection", "drop_collection", "create_index", "flush")


# The 12th switches to schema 2, those after it clean up and go on to schemas 3 and 4.
@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 3, 6, 9, 12, 13, 14, 17, 20, 23, 26])
def test_killed_at_any_instant(old, monkeypatch, number):
    uri = old("awkward")
    left = number

    def counted(real):
        def call(*args, **options):
            nonlocal left
            left -= not is_lease()
            if left < 0 and not is_lease():
                die()
            return real(*args, **options)

        return call

    with monkeypatch.context() as patch, suppress(Killed):
        for name in CALLS:
            patch.setattr(MilvusClient, name, counted(getattr(MilvusClient, name)))
        MilvusStore(uri).close()
    assert_upgraded(uri)


def test_two_at_once(old):
    uri = old("awkward")
    found, wrong = [], []

    def open_it():
        try:
            with closing(MilvusStore(uri)) as store:
                found.append(len(list(store.clips())))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(set(found)) == 1
    assert_upgraded(uri)


@pytest.mark.server
def test_two_processes_at_once(milvus_server, tmp_path):
    folder = tmp_path / "old.db"
    zipfile.ZipFile(OLD / "library.zip").extractall(folder)
    uri = f"milvus://{milvus_server.address}/t{secrets.token_hex(8)}"
    move(f"milvus-lite:{folder}#awkward", uri, 16)
    script = (
        "import sys; from soundsearch.stores.milvus.store import MilvusStore\n"
        "print(len(list(MilvusStore(sys.argv[1]).clips())))"
    )
    command = [sys.executable, "-c", script, uri]
    opened = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert {process.communicate()[0] for process in opened} == {"8\n"}
    assert_upgraded(uri)


def test_a_user_who_may_not_upgrade_is_told_how(old, monkeypatch):
    uri = old("sounds")
    place = MilvusUri.parse(uri)
    with closing(MilvusClient(place)) as client:
        client.load_collection(f"{place.name}_state")
        lease = Lease(client, place)
        lease.take()
        monkeypatch.setattr(upgrades, "_PATIENCE_SECONDS", 0.1)
        monkeypatch.setattr(upgrades, "_POLL_SECONDS", 0.1)
        expected = r"an older soundsearch made it.*process \d+.*soundsearch info --library"
        with pytest.raises(errors.LibraryVersion, match=expected):
            MilvusStore(uri)
        lease.release()
        with monkeypatch.context() as patch:
            patch.setattr(MilvusClient, "upsert", refuse)
            with pytest.raises(errors.LibraryVersion, match=r"may not upgrade it.*permission"):
                MilvusStore(uri)
        # A version that never existed, and a newer one.
        row = state_of(client, f"{place.name}_state", SETTINGS_ROW)
        for schema, words in ((0, "never"), (5, "newer soundsearch made it.*pip install")):
            changed = state_row(SETTINGS_ROW, {**row, "schema": schema})
            client.upsert(f"{place.name}_state", [changed])
            with pytest.raises(errors.LibraryVersion, match=words):
                MilvusStore(uri)


def refuse(*_arguments):
    raise Forbidden("permission deny")
