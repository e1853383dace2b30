"""Libraries in Milvus: addresses, servers, indexes, and the same answers as local ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest
from support.commands import run_apart
from support.milvus_places import Counted
from support.milvus_server import MilvusServer, why_not
from support.stores import CLIPS, SETTINGS, filled, new_clip, search

import soundsearch
from soundsearch import errors
from soundsearch.asking.searching import find_hits
from soundsearch.stores.filters import Comparison, Plain
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.milvus import client as milvus_client
from soundsearch.stores.milvus import collections as milvus_collections
from soundsearch.stores.milvus.rows import state_row
from soundsearch.stores.milvus.store import MilvusStore
from soundsearch.stores.milvus.uri import MilvusUri
from soundsearch.stores.opening import create_store, open_store, place_of

pytest.importorskip("milvus_lite")


@pytest.fixture
def uri(milvus):
    return milvus


@pytest.fixture
def store(milvus_store):
    return milvus_store


def test_addresses():
    uri = MilvusUri.parse("milvus://me:s%40cret@host/music/sounds?index=hnsw&shards=4")
    assert (uri.address, uri.token, uri.database, uri.name, uri.index, uri.shards) == (
        "http://host:19530", "me:s@cret", "music", "sounds", "HNSW", 4,
    )  # fmt: skip
    assert str(uri) == "milvus://host:19530/music/sounds"
    assert MilvusUri.parse("https://key@host/x").address == "https://host:443"
    assert MilvusUri.parse("milvuss://host:1/x").address == "https://host:1"
    assert MilvusUri.parse("milvus://[::1]/x").address == "http://[::1]:19530"
    assert "s@cret" not in repr(uri)
    lite = MilvusUri.parse("milvus-lite:some/where.db#birds")
    assert lite.lite and lite.name == "birds"
    assert lite.address == os.path.abspath("some/where.db")
    for wrong in ("milvus://host", "milvus://host/a/b/c", "milvus://host/x?indx=1",
                  "milvus://host:abc/x", "milvus://host:99999/x", "milvus://::1/x", "milvus://[::1/x",
                  "milvus:///x", "milvus-lite:x.sqlite", "milvus://host/a-b"):  # fmt: skip
        with pytest.raises(errors.LibraryError, match="expected milvus"):
            place_of(wrong)


def test_the_same_answers_as_a_local_library(tmp_path, uri):
    clips = [new_clip(f"/{n}.wav", 1 + n % 9, n) for n in range(300)]
    clips.insert(100, new_clip("/long.wav", 300, 1000))
    local = LocalStore.create(tmp_path / "local", SETTINGS)
    with closing(local), closing(create_store(place_of(uri), SETTINGS)) as remote:
        for store in (local, remote):
            for begin in range(0, len(clips), 64):
                filled(store, clips[begin : begin + 64])
        assert local.counts() == remote.counts()
        queries = np.random.default_rng(0).normal(0, 1, (40, 16)).astype(np.float32)
        queries = np.concatenate([queries, clips[100].embeddings[:5]])
        for k in (1, 10, 400, 5000):
            expected, got = search(local, queries, k), search(remote, queries, k)
            np.testing.assert_allclose(got[2], expected[2], atol=1e-3)
            # Neighbours may swap if their scores differ only in the last bit.
            apart = np.abs(np.diff(expected[2], axis=1, append=-9, prepend=9)) > 1e-6
            sure = apart[:, 1:] & apart[:, :-1]
            assert sure.mean() > 0.99
            np.testing.assert_array_equal(got[0][sure], expected[0][sure])
            np.testing.assert_array_equal(got[1][sure], expected[1][sure])


def test_ingest_and_ask(sounds, tmp_path, uri):
    answers = []
    for path in (tmp_path / "local.lib", uri):
        with soundsearch.open(path) as lib:
            assert lib.ingest([sounds]).added == 6
            again = lib.ingest([sounds])
            assert (again.added, again.unchanged, len(again.failed)) == (0, 6, 0)
            answers.append(
                [
                    [(hit.uri, hit.start, pytest.approx(hit.score, abs=1e-3)) for hit in answer]
                    for answer in (lib.query(path, 6) for path in sorted(sounds.rglob("*.*")))
                ]
            )
    assert answers[0] == answers[1]
    (sounds / "low.wav").rename(sounds / "other.wav")
    with soundsearch.open(uri) as lib:
        again = lib.ingest([sounds])
        assert (again.added, again.renamed, again.unchanged) == (0, 1, 5)
        assert lib.info()["store"] == str(place_of(uri))


@pytest.mark.slow
def test_a_second_process_is_told_that_lite_serves_one(store, uri):
    if not place_of(uri).lite:
        pytest.skip("a server serves many")
    script = "import sys; from soundsearch.cli.main import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", script, "info", "--library", uri], capture_output=True, text=True
    )
    assert run.returncode == 1
    assert "another process has it open" in run.stderr and "Traceback" not in run.stderr


def test_wrong_address(monkeypatch, tmp_path):
    monkeypatch.setattr(milvus_client, "_CONNECT_SECONDS", 1)
    with pytest.raises(errors.LibraryError, match=r"no Milvus server answers at .*:9/?.* running"):
        soundsearch.open("milvus://name:secret@127.0.0.1:9/sounds")
    with pytest.raises(errors.LibraryNotFound):
        soundsearch.open(f"milvus-lite:{tmp_path / 'none.db'}").info()
    assert not (tmp_path / "none.db").exists()


@pytest.mark.server
def test_a_server_with_passwords_databases_and_a_certificate(sounds, tmp_path):
    if reason := why_not() or (not shutil.which("openssl") and "needs openssl"):
        pytest.skip(reason)
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key],
        check=True,
        capture_output=True,
    )  # fmt: skip
    settings = {
        "common.security.authorizationEnabled": "true",
        "tls_mode": 1,
        "server_pem_path": str(certificate),
        "server_key_path": str(key),
    }
    with closing(MilvusServer(tmp_path / "server", settings)) as server:
        in_a_guarded_server(server.address, certificate, sounds)


def in_a_guarded_server(address, certificate, sounds):
    import pymilvus

    administrator = pymilvus.MilvusClient(
        f"https://{address}",
        token="root:Milvus",
        server_pem_path=str(certificate),
        server_name="127.0.0.1",
    )
    administrator.create_database("music")
    administrator.create_user("guest", "Secret.1")
    administrator.close()
    trusting = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(certificate)}
    library = f"https://root:Milvus@{address}/music/sounds"
    assert "6 added" in run_apart("ingest", sounds, library=library, **trusting).stdout
    library = f"milvuss://{address}/music/sounds"
    found = run_apart("query", sounds / "low.wav", "-k", 1, library=library,
                MILVUS_TOKEN="root:Milvus", **trusting)  # fmt: skip
    assert "low.wav" in found.stdout
    for library, environment, expected in [
        (f"https://root:Secret.2@{address}/music/sounds", trusting, "not accept the token"),
        (f"https://Secret.2@{address}/music/sounds", trusting, "not accept the token"),
        (f"https://{address}/music/sounds", trusting, "missing token"),
        (f"https://guest:Secret.1@{address}/music/sounds", trusting, "not let it"),
        (f"https://root:Milvus@{address}/musik/sounds", trusting, "no database musik"),
        (f"https://root:Milvus@{address}/sounds", trusting, "no library here"),
        (f"https://root:Milvus@{address}/music/sounds", {}, "this machine trust its certificate"),
        (f"milvus://root:Milvus@{address}/music/sounds", {}, "no Milvus server answers"),
    ]:
        began = time.monotonic()
        refused = run_apart("info", library=library, **environment)
        assert refused.returncode == 1 and not refused.stdout
        [line] = refused.stderr.splitlines()
        assert expected in line and "Secret" not in line
        assert time.monotonic() - began < 60


def test_a_query_waits_for_the_server_three_times(store, uri, monkeypatch):
    clips = [new_clip(f"/{n}.wav", 1 + n % 9, n) for n in range(120)]
    ids = filled(store, clips)
    asked = clips[8].embeddings
    short = Comparison(Plain("segments"), "<", 6.0)

    def hits(reading, vectors, without=frozenset(), filter=None):
        levels = np.full(len(vectors), -20, np.float32)
        return find_hits(reading, SETTINGS, vectors, levels, 10, "pooled", filter, without=without)

    def similar(reading):
        clip = reading.clip_at("/8.wav")
        vectors, _ = reading.rows([(clip.id, 0, clip.count)])
        return hits(reading, vectors, frozenset([clip.id]))

    with closing(open_store(place_of(uri))) as reader:
        for waits, requests, ask in (
            (3, 3, lambda reading: hits(reading, asked)),
            (3, 4, lambda reading: hits(reading, asked, filter=short)),
            (5, 5, similar),
        ):
            with monkeypatch.context() as patch, reader.reading() as reading:
                counted = Counted(patch)
                found = ask(reading)
            assert (counted.waits, counted.requests) == (waits, requests)
            assert len(found) == 10 and {hit.clip_id for hit in found} <= set(ids)


def test_a_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(errors.MissingExtra, match=r"soundsearch\[milvus\]"):
        soundsearch.open("milvus://127.0.0.1:9/sounds")


def test_a_foreign_collection(uri):
    import pymilvus

    where = place_of(uri)
    for name in ("clips_v2", "segments", "state"):
        client = pymilvus.MilvusClient(where.address)
        client.create_collection(f"{where.name}_{name}", dimension=8)
        client.close()
        with pytest.raises(errors.LibraryError, match="exists and is not soundsearch's"):
            create_store(where, SETTINGS)


def test_another_schema_and_another_space(sounds, uri):
    with soundsearch.open(uri) as lib:
        lib.ingest(sounds)
    with closing(open_store(place_of(uri))) as store:
        row = milvus_collections.settings_row(store.settings, 1)
        for change in ({"space": "mini-0"}, {"schema": 99}):
            store._client.upsert(store._tables.state, [state_row(0, {**row, **change})])
            if "space" in change:
                with soundsearch.open(uri) as lib:
                    for refused in (lib.query, lib.ingest):
                        with pytest.raises(errors.SpaceMismatch, match="mini-0"):
                            refused(sounds / "low.wav")
    with pytest.raises(errors.LibraryVersion, match=r"newer soundsearch made it.*pip install"):
        open_store(place_of(uri))


@pytest.mark.slow
def test_the_index_is_chosen_by_size_or_by_the_address(store, uri, monkeypatch):
    ids = filled(store, CLIPS)
    assert set(store._tables.indexes.values()) == {"FLAT"}
    expected = search(store, CLIPS[2].embeddings, 5)
    monkeypatch.setattr(milvus_collections, "_INDEXES", ((0, "FLAT"), (50, "HNSW")))
    with closing(open_store(place_of(uri))) as reader:
        with store.writing():
            store.optimise()
        for each in (store, reader):
            assert each._client.index_type(each._tables.segments) == "HNSW"
            for a, b in zip(expected, search(each, CLIPS[2].embeddings, 5), strict=True):
                np.testing.assert_allclose(a, b, atol=1e-5)
    with closing(open_store(place_of(f"{uri}?index=IVF_SQ8"))) as wished:
        with wished.writing():
            wished.optimise()
        assert wished._client.index_type(wished._tables.segments) == "IVF_SQ8"
        assert search(wished, CLIPS[2].embeddings, 1)[0].tolist() == [[ids[2]]] * 40
        short = Comparison(Plain("segments"), "<", 5.0)
        found = search(wished, CLIPS[2].embeddings, 9, short)[0]
        assert found.shape == (40, 4) and set(found.ravel().tolist()) == set(ids[:2])


def test_an_unknown_index_is_refused_even_if_lite_accepts_it(lite):
    with pytest.raises(errors.LibraryError, match="no index DISKANN"):
        MilvusStore.create(f"{lite}?index=DISKANN", SETTINGS)
    with pytest.raises(errors.LibraryError, match=r"no index HMSW in .*; use one of FLAT, HNSW"):
        MilvusStore.create("milvus://127.0.0.1:9/sounds?index=hmsw", SETTINGS)


def test_transient_errors_are_retried(store, monkeypatch, caplog):
    from pymilvus import MilvusException

    filled(store, CLIPS)
    real = store._client._client.query
    answers = iter([])

    def query(*args, **options):
        if (error := next(answers, None)) is not None:
            raise error
        return real(*args, **options)

    def says(*messages):
        return iter([MilvusException(message=message) for message in messages])

    monkeypatch.setattr(store._client._client, "query", query)
    answers = says("UNAVAILABLE: recovering", "rate limit exceeded")
    assert store.clip_at("/sounds/1.wav") is not None
    assert "waiting for Milvus" in caplog.text
    monkeypatch.setattr(milvus_client, "_PATIENCE_SECONDS", 0.1)
    answers = says(*["UNAVAILABLE"] * 9)
    with pytest.raises(errors.LibraryError, match="what was reported as done is stored"):
        store.clip_at("/sounds/1.wav")
    answers = says("disk quota exceeded")
    with pytest.raises(errors.LibraryError, match="no room left"):
        store.clip_at("/sounds/1.wav")
    # A bug is not caught, whatever its message.
    answers = iter([KeyError("connection timed out"), None])
    with pytest.raises(KeyError):
        store.clip_at("/sounds/1.wav")
    assert next(answers, "used") is None
