"""Libraries in Milvus: the same answers as local ones, and what only Milvus can get wrong."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pytest
from conftest import noise, write
from milvus_server import MilvusServer, why_not
from soundsearch_ingest.discover import AudioFile
from test_library import INGEST, outcome
from test_stores import CLIPS, SETTINGS, filled, new_clip, rows

import soundsearch
import soundsearch.copying
from soundsearch import errors
from soundsearch.stores.base import StoredFailure
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.milvus import client as milvus_client
from soundsearch.stores.milvus import collections as milvus_schema
from soundsearch.stores.milvus import store as milvus
from soundsearch.stores.milvus.client import MilvusUri
from soundsearch.stores.milvus.store import MilvusStore
from soundsearch.stores.opening import create_store, open_store, place_of

pytest.importorskip("milvus_lite")

KINDS = ["lite", pytest.param("server", marks=pytest.mark.server)]


@pytest.fixture
def lite(tmp_path):
    return f"milvus-lite:{tmp_path / 'sounds.db'}"


@pytest.fixture(params=KINDS)
def uri(request, lite):
    if request.param == "lite":
        return lite
    address = request.getfixturevalue("milvus_server").address
    return f"milvus://{address}/t{secrets.token_hex(8)}"


@pytest.fixture
def store(uri):
    with closing(MilvusStore.create(uri, SETTINGS)) as store:
        yield store


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
            expected, got = local.search(queries, k), remote.search(queries, k)
            np.testing.assert_allclose(got[2], expected[2], atol=1e-3)
            # Neighbours may swap where their scores are the same but for the last bit.
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
            assert outcome(lib.ingest([sounds])) == (0, 0, 0, 6, 0)
            answers.append(
                [
                    [(hit.uri, hit.start, pytest.approx(hit.score, abs=1e-3)) for hit in answer]
                    for answer in (lib.query(path, 6) for path in sorted(sounds.rglob("*.*")))
                ]
            )
    assert answers[0] == answers[1]
    (sounds / "low.wav").rename(sounds / "other.wav")
    with soundsearch.open(uri) as lib:
        assert outcome(lib.ingest([sounds])) == (0, 0, 1, 5, 0)
        assert lib.info()["store"] == str(place_of(uri))


def test_killed_at_any_instant_the_same_command_completes(tmp_path, uri):
    folder = tmp_path / "s"
    for n in range(120):
        write(folder / f"{n:03}.wav", noise(n, 3))
    command = [sys.executable, "-c", INGEST, uri, str(folder)]
    reported = set()
    for attempt in range(3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            if line.startswith("added"):
                reported.add(line.rstrip("\n").partition(" ")[2])
                if len(reported) > 20 + 30 * attempt:
                    break
        time.sleep(0.1 * attempt)
        process.kill()
        rest = process.communicate()[0]
        done = [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        reported |= {line[6:-1] for line in done if line.startswith("added ")}
        with closing(open_store(place_of(uri))) as store:
            assert reported <= {clip.file.uri for clip in store.clips()}
            for clip in store.clips():
                assert rows(store, clip.id)[0].shape == (3, 128)
    subprocess.run(command, check=True)
    with closing(open_store(place_of(uri))) as store:
        assert store.counts() == (120, 360, 0)
        assert len({clip.file.uri for clip in store.clips()}) == 120
        assert len(all_segments(store)) == 360


def all_segments(store):
    return store._ask(store._segments, "id > 0", ["id"], "Strong")


def test_what_a_killed_writer_left_is_invisible_and_goes(store, uri, monkeypatch):
    ids = filled(store, CLIPS)

    def die(*_):
        raise RuntimeError("killed")

    for what in ("_forget", "_delete_segments"):  # after the clip rows
        with monkeypatch.context() as patch, pytest.raises(RuntimeError), store.writing():
            patch.setattr(store, what, die)
            store.add([new_clip("/sounds/1.wav", 4, 60)])
    left = new_clip("/new.wav", 30, 61)
    real = milvus_client.MilvusClient._call

    def before_the_clip_rows(client, method, collection=None, *args, **options):
        if method == "upsert" and collection == store._clips:
            die()
        return real(client, method, collection, *args, **options)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError), store.writing():
        patch.setattr(milvus_client.MilvusClient, "_call", before_the_clip_rows)
        store.add([left])
    assert len(all_segments(store)) > 52 + 30 - 1
    assert store.clip_at("/new.wav") is None
    assert store.counts() == (4, 52, 0)
    for k in (1, 20):
        clip_ids, _, scores = store.search(left.embeddings, k)
        assert (clip_ids > 0).all() and scores.max() < 0.999
        assert clip_ids.shape == (30, k)
    with store.writing():
        pass
    with store.writing():
        store.rebuild()
    assert len(all_segments(store)) == 52
    assert [clip.id for clip in store.clips()] == ids


def test_a_move_that_was_cut_short(store, monkeypatch):
    ids = filled(store, CLIPS)

    def die(*_):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError), store.writing():
        patch.setattr(store, "_delete_clips", die)
        store.move(ids[3], CLIPS[0].file)
    assert store.clip_at("/sounds/1.wav").id == ids[3]
    with store.writing():
        assert store.clip_at("/sounds/1.wav").id == ids[3]
    assert [clip.id for clip in store.clips()] == ids[1:]


def test_lost_segments_are_told_and_rebuild_lets_their_clip_go(store):
    ids = filled(store, CLIPS)
    take = store._takes([ids[2]])[ids[2]][0]
    store._delete(store._segments, milvus_schema.segment_ids(take, 3, 5).tolist())
    with pytest.raises(errors.LibraryDamaged, match="rebuild"):
        rows(store, ids[2])
    with store.writing():
        assert store.rebuild() == 1
    assert [clip.id for clip in store.clips()] == [ids[0], ids[1], ids[3]]


def test_one_writer_at_a_time(store, uri, monkeypatch):
    with closing(open_store(place_of(uri))) as other:
        with store.writing():
            with pytest.raises(errors.LibraryBusy, match=f"process {os.getpid()}"), other.writing():
                pass
            assert other.counts() == (0, 0, 0)
        filled(other, CLIPS)
        assert len(filled(store, [new_clip("/x.wav", 1, 9)])) == 1
        # A lease that nobody renews ends; who held it writes no more.
        with pytest.raises(errors.LibraryBusy), store.writing():
            monkeypatch.setattr("soundsearch.stores.milvus.lease._SECONDS", -1.0)
            with other.writing():
                monkeypatch.undo()
                lease = store._held[0]
                lease._renewed = -1e6
                store.add([new_clip("/y.wav", 1, 10)])
        assert store.clip_at("/y.wav") is None


def test_a_killed_writer_holds_nothing(tmp_path, request):
    server = request.getfixturevalue("milvus_server")
    uri = f"milvus://{server.address}/t{secrets.token_hex(8)}"
    MilvusStore.create(uri, SETTINGS).close()
    script = (
        "import sys, time; from soundsearch.stores.milvus.store import MilvusStore\n"
        "with MilvusStore(sys.argv[1]).writing(): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, uri], stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"held\n"
    with closing(MilvusStore(uri)) as store:
        with pytest.raises(errors.LibraryBusy, match=f"process {other.pid}"), store.writing():
            pass
        other.kill()
        other.communicate()
        filled(store, CLIPS)


test_a_killed_writer_holds_nothing = pytest.mark.server(test_a_killed_writer_holds_nothing)


def test_a_second_process_is_told_that_lite_serves_one(store, uri):
    if not uri.startswith("milvus-lite"):
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
    from test_cli import run

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
    assert b"6 added" in run("ingest", sounds, library=library, **trusting).stdout
    library = f"milvuss://{address}/music/sounds"
    found = run("query", sounds / "low.wav", "-k", 1, library=library,
                MILVUS_TOKEN="root:Milvus", **trusting)  # fmt: skip
    assert b"low.wav" in found.stdout
    for library, environment, expected in [
        (f"https://root:Secret.2@{address}/music/sounds", trusting, "not accept the token"),
        (f"https://Secret.2@{address}/music/sounds", trusting, "not accept the token"),
        (f"https://{address}/music/sounds", trusting, "missing token"),
        (f"https://guest:Secret.1@{address}/music/sounds", trusting, "not let it"),
        (f"https://root:Milvus@{address}/musik/sounds", trusting, "no database musik"),
        (f"https://root:Milvus@{address}/sounds", trusting, "no library here"),
        (f"https://root:Milvus@{address}/music/sounds", {}, "certificate one that this machine"),
        (f"milvus://root:Milvus@{address}/music/sounds", {}, "no Milvus server answers"),
    ]:
        began = time.monotonic()
        refused = run("info", library=library, **environment)
        assert refused.returncode == 1 and not refused.stdout
        [line] = refused.stderr.decode().splitlines()
        assert expected in line and "Secret" not in line
        assert time.monotonic() - began < 15


def test_a_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(errors.MissingExtra, match=r"soundsearch\[milvus\]"):
        soundsearch.open("milvus://127.0.0.1:9/sounds")


def test_a_foreign_collection(uri):
    import pymilvus

    where = place_of(uri)
    for name in ("clips", "state"):
        client = pymilvus.MilvusClient(where.address)
        client.create_collection(f"{where.name}_{name}", dimension=8)
        client.close()
        with pytest.raises(errors.LibraryError, match="is there and is not soundsearch's"):
            create_store(where, SETTINGS)


def test_another_schema_and_another_space(sounds, uri):
    with soundsearch.open(uri) as lib:
        lib.ingest(sounds)
    with closing(open_store(place_of(uri))) as store:
        row = milvus.settings_row(store.settings, 1)
        for change in ({"space": "mini-0"}, {"schema": 99}):
            store._client.upsert(store._state, [milvus_schema.state_row(0, {**row, **change})])
            if "space" in change:
                with soundsearch.open(uri) as lib:
                    for refused in (lib.query, lib.ingest):
                        with pytest.raises(errors.SpaceMismatch, match="mini-0"):
                            refused(sounds / "low.wav")
    with pytest.raises(errors.LibraryVersion, match="upgrade"):
        soundsearch.open(uri)


def test_embedding_anew(sounds, uri):
    with soundsearch.open(uri) as lib:
        lib.ingest(sounds)
        (sounds / "broken.wav").write_text("text")
        lib.ingest(sounds)
        before = lib.query(sounds / "low.wav", 6).hits
    with closing(open_store(place_of(uri))) as store:
        row = {**milvus.settings_row(store.settings, 1), "space": "mini-0"}
        store._client.upsert(store._state, [milvus_schema.state_row(0, row)])
        with soundsearch.open(uri) as lib:

            def interrupt(_uri, _outcome):
                raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                lib.reembed(on_file=interrupt)
            assert lib.info()["space"] == "mini-0" and lib.info()["clips"] == 6
            done = []
            assert not lib.reembed(on_file=lambda _uri, outcome: done.append(outcome)).failed
            assert "unchanged" in done
            assert lib.query(sounds / "low.wav", 6).hits == before
            assert len(lib.failures()) == 1
        with pytest.raises(errors.LibraryError, match="open it again"):
            store.search(np.ones((1, 128), np.float32), 1)
    with soundsearch.open(uri) as lib:
        assert lib.query(sounds / "low.wav", 6).hits == before
        assert lib.ingest(sounds).unchanged == 6


def test_index_by_size_and_by_wish(store, uri, monkeypatch):
    ids = filled(store, CLIPS)
    assert store._index == "FLAT"
    expected = store.search(CLIPS[2].embeddings, 5)
    monkeypatch.setattr(milvus_schema, "_INDEXES", ((0, "FLAT"), (50, "HNSW")))
    with closing(open_store(place_of(uri))) as reader:
        with store.writing():
            store.optimise()
        for each in (store, reader):
            assert milvus_schema.index_type(each._client, each._segments) == "HNSW"
            for a, b in zip(expected, each.search(CLIPS[2].embeddings, 5), strict=True):
                np.testing.assert_allclose(a, b, atol=1e-5)
    with closing(open_store(place_of(f"{uri}?index=IVF_SQ8"))) as wished:
        with wished.writing():
            wished.optimise()
        assert milvus_schema.index_type(wished._client, wished._segments) == "IVF_SQ8"
        assert wished.search(CLIPS[2].embeddings, 1)[0].tolist() == [[ids[2]]] * 40


def test_an_index_that_there_is_not_even_if_lite_pretends_to_have_it(lite):
    with pytest.raises(errors.LibraryError, match="no index DISKANN"):
        MilvusStore.create(f"{lite}?index=DISKANN", SETTINGS)
    with pytest.raises(errors.LibraryError, match="no index HMSW; take FLAT, HNSW"):
        MilvusStore.create("milvus://127.0.0.1:9/sounds?index=hmsw", SETTINGS)


def test_calls_wait_for_what_passes(store, monkeypatch, caplog):
    filled(store, CLIPS)
    answers = iter([Exception("UNAVAILABLE: recovering"), Exception("rate limit exceeded")])
    real = store._client._client.query

    def query(*args, **options):
        if (error := next(answers, None)) is not None:
            raise error
        return real(*args, **options)

    monkeypatch.setattr(store._client._client, "query", query)
    assert store.clip_at("/sounds/1.wav") is not None
    assert "waiting for Milvus" in caplog.text
    monkeypatch.setattr(milvus_client, "_PATIENCE_SECONDS", 0.1)
    answers = iter([Exception("UNAVAILABLE")] * 9)
    with pytest.raises(errors.LibraryError, match="what was reported as done is stored"):
        store.clip_at("/sounds/1.wav")
    answers = iter([Exception("disk quota exceeded")])
    with pytest.raises(errors.LibraryError, match="no room left"):
        store.clip_at("/sounds/1.wav")


@pytest.mark.server
def test_the_server_is_killed_during_an_ingest(tmp_path):
    if reason := why_not():
        pytest.skip(reason)
    # One of its own: with the collections of other tests it needs minutes to start again.
    with closing(MilvusServer(tmp_path / "server")) as server:
        kill_during_ingest(server, tmp_path / "s")


def kill_during_ingest(server, folder):
    for n in range(200):
        write(folder / f"{n:03}.wav", noise(n, 3))
    uri = f"milvus://{server.address}/sounds"
    started = threading.Event()
    seen = []

    def kill_and_start():
        server.drop()
        time.sleep(0.3)
        server.kill()
        server.start()
        started.set()

    def on_file(_uri, _outcome):
        seen.append(1)
        if len(seen) == 1:
            threading.Thread(target=kill_and_start).start()

    with soundsearch.open(uri) as lib:
        assert lib.ingest(folder, on_file=on_file).added == 200
        assert started.wait(200)
        assert (lib.info()["clips"], lib.info()["segments"]) == (200, 600)
    with closing(open_store(place_of(uri))) as store:
        assert len(all_segments(store)) == 600
        for clip in store.clips():
            assert rows(store, clip.id)[0].shape == (3, 128)


def test_copy_there_and_back(tmp_path, uri):
    first, last = tmp_path / "first.lib", tmp_path / "last.lib"
    with closing(LocalStore.create(first, SETTINGS)) as store:
        clips = [new_clip(f"/{n}\udcff.wav", 1 + n % 40, n, "short" * (n % 2)) for n in range(90)]
        object.__setattr__(clips[7], "human", (3, 500))
        filled(store, clips)
        with store.writing():
            store.fail([StoredFailure(AudioFile("/bad.wav", 1, 2), None, "is text")])
    report = soundsearch.copying.copy(first, uri)
    assert (report.copied, report.unchanged, report.failures) == (90, 0, 1)
    assert report.compared == 45
    with closing(open_store(place_of(uri))) as store, store.writing():
        store.remove([store.clip_at("/5\udcff.wav").id])
        store.add([new_clip("/6\udcff.wav", 2, 999)])
    report = soundsearch.copying.copy(first, uri)
    assert (report.copied, report.replaced, report.unchanged) == (1, 1, 88)
    assert soundsearch.copying.copy(uri, last).copied == 90
    with closing(LocalStore(first)) as one, closing(LocalStore(last)) as other:
        assert one.counts() == other.counts()
        assert list(one.failures()) == list(other.failures())
        for clip in one.clips():
            there = other.clip_at(clip.file.uri)
            assert (there.file, there.digest, there.human, there.warning) == (
                clip.file, clip.digest, clip.human, clip.warning,
            )  # fmt: skip
            assert there.labels.tobytes() == clip.labels.tobytes()
            np.testing.assert_array_equal(rows(one, clip.id)[0], rows(other, there.id)[0])
            assert (rows(one, clip.id)[1] == rows(other, there.id)[1]).all()


COPY = """
import signal, sys, soundsearch.copying
source, target, *limit = sys.argv[1:]
if limit:  # on the size of files; stands in for a full disk
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit[0]),) * 2)
soundsearch.copying.copy(source, target, on_clip=lambda uri: print(uri, flush=True))
"""
COPIED = [new_clip(f"/{n}.wav", 1 + n % 9, n) for n in range(3000)]


@pytest.fixture
def copied_there_and_back(tmp_path, uri):
    """Where to copy from and to, first into Milvus and then out of it."""
    with closing(LocalStore.create(tmp_path / "first.lib", SETTINGS)) as store:
        filled(store, COPIED)
    return [(tmp_path / "first.lib", uri), (uri, tmp_path / "last.lib")]


def assert_completed(source, target, reported):
    """The same copy again completes one that was cut short after these clips."""
    with closing(open_store(place_of(target))) as store:
        assert reported <= {clip.file.uri for clip in store.clips()}
    report = soundsearch.copying.copy(source, target)
    assert report.unchanged >= len(reported) > 0
    assert report.copied == len(COPIED) - report.unchanged > 0
    queries = np.random.default_rng(0).normal(0, 1, (9, 16)).astype(np.float32)
    answers = []
    for place in (source, target):
        with closing(open_store(place_of(place))) as store:
            assert store.counts() == (len(COPIED), sum(len(c.segments) for c in COPIED), 0)
            clips = {clip.id: clip.file.uri for clip in store.clips()}
            assert set(clips.values()) == {clip.file.uri for clip in COPIED}
            clip_ids, segments, _ = store.search(queries, 8)
            answers.append((np.vectorize(clips.get)(clip_ids).tolist(), segments.tolist()))
    assert answers[0] == answers[1]


def test_a_killed_copy_is_completed(copied_there_and_back):
    for source, target in copied_there_and_back:
        command = [sys.executable, "-c", COPY, source, target]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        reported = {process.stdout.readline().rstrip("\n") for _ in range(1500)}
        process.kill()
        process.communicate()
        assert_completed(source, target, reported)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on files' sizes")
def test_a_copy_onto_a_full_disk_is_completed(copied_there_and_back, uri):
    if not uri.startswith("milvus-lite"):
        pytest.skip("its disk is the server's")
    for (source, target), limit in zip(copied_there_and_back, (1_500_000, 800_000), strict=True):
        command = [sys.executable, "-c", COPY, source, target, str(limit)]
        run = subprocess.run(command, capture_output=True, text=True)
        last = run.stderr.splitlines()[-1]
        assert last.startswith("soundsearch.errors.LibraryError")
        assert "what was reported as done is stored" in last and "failed:" not in run.stderr
        assert_completed(source, target, set(run.stdout.splitlines()))


def test_copy_refuses_another_space_and_itself(tmp_path):
    from dataclasses import replace

    LocalStore.create(tmp_path / "a", SETTINGS).close()
    LocalStore.create(tmp_path / "b", replace(SETTINGS, space="mini-2")).close()
    with pytest.raises(errors.LibraryError, match="mini-2"):
        soundsearch.copying.copy(tmp_path / "a", tmp_path / "b")
    with pytest.raises(errors.LibraryError, match="itself"):
        soundsearch.copying.copy(tmp_path / "a", tmp_path / "a")
    with pytest.raises(errors.LibraryNotFound):
        soundsearch.copying.copy(tmp_path / "c", tmp_path / "a")


def test_copy_from_the_command_line(sounds, tmp_path, lite):
    from test_cli import run

    library = tmp_path / "cli.lib"
    assert run("ingest", sounds, library=library).returncode == 0
    done = run("copy", "--to", lite, library=library)
    assert done.returncode == 0, done.stderr
    assert b"6 copied" in done.stdout and b"6 clips compared, equal" in done.stdout
    shutil.rmtree(library)
    found = run("query", sounds / "low.wav", "-k", 1, library=lite)
    assert b"low.wav" in found.stdout
