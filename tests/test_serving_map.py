"""The map over HTTP: made in the background, kept, and placed on when the library changes."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from support.server import Server, problem
from support.stores import SETTINGS, amend, filled, new_clip

import soundsearch
from soundsearch.stores.opening import create_store, open_store, place_of

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
if sys.platform == "win32":
    pytest.skip("workers are bounded on POSIX only", allow_module_level=True)
from soundsearch.web import maps, processes
from soundsearch.web.messages import receive, send


def clips_of(numbers, folder="/s"):
    return [
        new_clip(f"{folder}/{n}.wav", 1 + n % 3, 1000 + n, tags={"n": float(n)}) for n in numbers
    ]


@pytest.fixture
def library(place):
    """A library of 20 clips on each store, and what adds clips to it and changes them."""
    store = create_store(place, SETTINGS)
    filled(store, clips_of(range(20)))
    store.close()
    return place


@pytest.fixture
def local(tmp_path):
    place = place_of(tmp_path / "lib")
    store = create_store(place, SETTINGS)
    filled(store, clips_of(range(20)))
    store.close()
    return place


@pytest.fixture
def serving():
    servers = []

    def serve(place, **limits):
        servers.append(Server(place, **limits))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


def unpacked(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


def uris_of(found):
    folders = unpacked(found["folder"], "<u4")
    return [
        found["uris"].get(str(row), f"{found['folders'][folders[row]]}/{name}")
        for row, name in enumerate(found["names"])
    ]


def places_of(found):
    return dict(
        zip(uris_of(found), unpacked(found["places"], "<f4").reshape(-1, 2).tolist(), strict=True)
    )


def made(server, **params):
    """The map once it is made."""
    for _ in range(600):
        response = server.get("/map", params=params)
        if response.status_code != 202:
            assert response.status_code == 200, response.text
            return response.json()
        assert response.headers["retry-after"] == "1"
        assert 0 <= response.json()["share"] <= 1
        time.sleep(0.05)
    raise AssertionError("the map is never made")


def test_a_map_is_of_the_clips_of_a_selection_on_every_store(library, serving):
    server = serving(str(library))
    found = made(server, method="pca", where="tag['n'] < 10")
    assert (found["count"], found["total"], found["method"]) == (10, 10, "pca")
    assert (found["warning"], found["placed"]) == (None, 0)
    ids = unpacked(found["ids"], "<f8").astype(int).tolist()
    for row, uri in enumerate(uris_of(found)):
        clip = server.get(f"/clips/{ids[row]}").json()
        assert clip["uri"] == uri
        assert unpacked(found["durations"], "<f4")[row] == pytest.approx(clip["duration"])
        first = unpacked(found["labels"], "<u2").reshape(10, 3)[row, 0]
        names = [label["name"] for label in clip["labels"]]
        assert (names[0] if names else None) == (
            None if first == 0xFFFF else found["classes"][first]
        )
        [tag] = found["tags"]
        at = unpacked(tag["clips"], "<u4").tolist().index(row)
        assert tag["values"][unpacked(tag["of"], "<u4")[at]] == f"{clip['tags']['n']:g}"
    where = server.get("/map", params={"method": "pca", "where": "tag['n'] > 99"})
    assert where.json()["count"] == 0 and places_of(where.json()) == {}
    server.close()
    with soundsearch.open(str(library)) as lib:
        expected = lib.where("tag['n'] < 10").map(method="pca")
    known = dict(zip(expected.uris, expected.places.tolist(), strict=True))
    for uri, place in places_of(found).items():
        assert place == pytest.approx(known[uri], abs=1e-5)


def test_what_a_client_has_is_not_sent_again(local, serving):
    server = serving(local)
    made(server, method="pca")
    asked = {"params": {"method": "pca"}}
    plain = server.get("/map", **asked, headers={"Accept-Encoding": "identity"})
    small = server.get("/map", **asked)
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip" and small.content == plain.content
    assert int(small.headers["content-length"]) < len(plain.content)
    again = server.get("/map", **asked, headers={"If-None-Match": small.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = server.get("/map", **asked, headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


def test_maps_are_made_one_at_a_time_while_others_ask(local, serving, monkeypatch):
    monkeypatch.setattr("soundsearch.web.maps._PATIENCE", 0.0)
    server = serving(local)
    first = server.get("/map", params={"method": "pca"})
    second = server.get("/map", params={"method": "pca", "where": "tag['n'] > 3"})
    assert first.status_code == second.status_code == 202
    assert second.json() == {"step": "waiting", "share": 0.0}
    assert server.get("/similar", params={"clip": 1}).json()["hits"]
    assert made(server, method="pca")["count"] == 20
    assert made(server, method="pca", where="tag['n'] > 3")["count"] == 16
    # No more than so many wait, and those that nobody asks about give way.
    monkeypatch.setattr(processes, "_PROGRAM", "import time; time.sleep(600)")
    for number in range(8):
        asked = {"method": "pca", "where": f"tag['n'] > {number}.5"}
        assert server.get("/map", params=asked).status_code == 202
    more = {"params": {"method": "pca", "where": "tag['n'] > 9"}}
    assert "8 maps wait" in problem(server.get("/map", **more), 503)
    monkeypatch.setattr(processes, "_PROGRAM", "raise SystemExit")
    monkeypatch.setattr("soundsearch.web.maps._ABANDONED", 0.0)
    assert server.get("/map", **more).status_code == 202
    until(lambda: server.get("/map", **more).status_code == 500)


def until(is_so):
    for _ in range(1000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def test_new_clips_are_placed_on_the_map_that_is_there(local, serving, monkeypatch):
    server = serving(local)
    before = made(server, method="pca")
    store = open_store(local)
    same = replace(clips_of([3])[0], record=replace(clips_of([3])[0].record))
    filled(store, [*clips_of([50]), replace(same)])
    assert made(server, method="pca") == before  # for a minute
    monkeypatch.setattr("soundsearch.web.maps._FRESH", 0.0)
    read, looked_at = maps._read, []
    monkeypatch.setattr(
        maps,
        "_read",
        lambda *args, ids, **more: looked_at.extend(ids) or read(*args, ids=ids, **more),
    )
    after = made(server, method="pca")
    assert (after["count"], after["placed"], after["method"]) == (21, 1, "pca")
    assert len(looked_at) == 1  # the others were read already
    assert (
        after["tags"][0]["values"][-1] == "50"
        and len(unpacked(after["tags"][0]["of"], "<u4")) == 21
    )
    old, new = places_of(before), places_of(after)
    assert {uri: new[uri] for uri in old} == old
    assert np.abs(new["/s/50.wav"]).max() <= 1 and new["/s/50.wav"] not in old.values()
    # Tags of the same clips: the map is given out while it is made again.
    monkeypatch.setattr("soundsearch.web.maps._GOOD", 0.0)
    amend(store, int(unpacked(after["ids"], "<f8")[0]), tags={"mic": "AKG"})
    assert made(server, method="pca") == after
    until(lambda: made(server, method="pca")["tags"][0]["key"] == "mic")
    # Most of it is new, and it is laid out anew.
    filled(store, clips_of(range(100, 160)))
    store.close()
    until(lambda: made(server, method="pca")["count"] == 81)
    anew = made(server, method="pca")
    assert anew["placed"] == 0
    assert places_of(anew)["/s/0.wav"] != old["/s/0.wav"]


def test_a_library_in_the_place_of_another_has_a_map_of_its_own(local, serving, monkeypatch):
    monkeypatch.setattr("soundsearch.web.maps._FRESH", 0.0)
    server = serving(local)
    assert uris_of(made(server, method="pca"))[0] == "/s/0.wav"
    shutil.rmtree(local)
    problem(server.get("/map", params={"method": "pca"}), 503)
    store = create_store(local, SETTINGS)
    filled(store, [replace(each) for each in clips_of(range(300, 320), "/t")])
    store.close()
    found = made(server, method="pca")
    assert (found["count"], found["placed"], uris_of(found)[0]) == (20, 0, "/t/300.wav")
    # The same sounds in another space.
    shutil.rmtree(local)
    store = create_store(local, replace(SETTINGS, space="mini-0"))
    filled(store, [*clips_of(range(300, 319), "/t"), *clips_of([1], "/t")])
    store.close()
    again = made(server, method="pca")
    assert (again["count"], again["placed"]) == (20, 0)
    assert places_of(again)["/t/300.wav"] != places_of(found)["/t/300.wav"]


def test_of_many_clips_an_even_choice_is_shown(local, serving, monkeypatch):
    monkeypatch.setattr("soundsearch.web.maps._FRESH", 0.0)
    server = serving(local, map_clips=8)
    some = made(server, method="pca")
    assert (some["count"], some["total"]) == (8, 20)
    store = open_store(local)
    filled(store, clips_of([60]))
    store.close()
    more = made(server, method="pca")
    assert (more["count"], more["total"]) == (8, 21)
    assert len({*uris_of(some)} & {*uris_of(more)}) >= 7


def test_without_the_extra_it_is_pca_and_said(local, serving, monkeypatch):
    without = "import sys; sys.modules['openTSNE'] = None; "
    monkeypatch.setattr(processes, "_PROGRAM", without + processes._PROGRAM)
    server = serving(local)
    found = made(server)
    assert found["method"] == "pca" and "pip install 'soundsearch[map]'" in found["warning"]
    monkeypatch.setattr("soundsearch.web.maps._FRESH", 0.0)
    store = open_store(local)
    filled(store, clips_of([70]))
    store.close()
    again = made(server)
    assert (again["placed"], again["warning"]) == (1, found["warning"])


def test_what_fails_is_told_and_tried_again(local, serving, monkeypatch, tmp_path):
    server = serving(local)
    usual = processes._PROGRAM
    monkeypatch.setattr(processes, "_PROGRAM", "raise SystemExit(3)")
    refused = server.get("/map", params={"method": "pca"})
    assert "was ended, or takes too much memory" in problem(refused, 500)
    monkeypatch.setattr(processes, "_PROGRAM", usual)
    assert "expected" in problem(server.get("/map", params={"where": "nonsense"}), 422)
    problem(server.get("/map", params={"method": "sne"}), 422)
    usual = server.service.maps._new_path
    os.symlink("/dev/full", tmp_path / "full")  # not that itself: what was written is removed
    server.service.maps._new_path = lambda: str(tmp_path / "full")
    assert "files is full" in problem(server.get("/map", params={"method": "pca"}), 503)
    server.service.maps._new_path = usual
    assert made(server, method="pca")["count"] == 20
    assert not [name for name in os.listdir(server.service.folder) if name.isdigit()]
    empty = serving(tmp_path / "none")
    assert "there is no library" in problem(empty.get("/map"), 503)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("openTSNE") is None, reason="needs openTSNE")
def test_it_ends_with_the_server(local, serving):
    """Also where that was killed: the process sees that nobody listens."""
    process = processes.spawn("laying", 1 << 32, 1 << 32)
    vectors = local.parent / "vectors"
    np.random.default_rng(0).normal(size=(2000, 32)).astype(np.float32).tofile(vectors)
    job = {"vectors": str(vectors), "dimension": 32, "method": "tsne", "places": None}
    send(process.stdin, {**job, "out": str(local.parent / "out")})
    assert receive(process.stdout)[0]["steps"] > 750
    assert os.getpriority(os.PRIO_PROCESS, process.pid) >= 10
    process.stdin.close()
    process.wait(10)
    process.stdout.close()
    assert not (local.parent / "out").exists()
    # Stopped in the middle.
    store = open_store(local)
    filled(store, clips_of(range(1000, 1500)))
    store.close()
    server = serving(local)
    assert server.get("/map").status_code == 202
    until(lambda: server.get("/map").json().get("share", 0) > 0 and server.service.maps._making)
    [making] = server.service.maps._making.values()
    server.close()
    assert making._process.poll() == -signal.SIGKILL
