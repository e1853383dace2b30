"""Looking after a library by HTTP: ingests, labels by people, and what a server outlives."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import httpx
import pytest
from support.mounts import in_mounts
from support.server import Server, problem
from support.sounds import noise, tone, write
from support.waiting import until

import soundsearch
from soundsearch.stores.local.store import LocalStore

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
if sys.platform == "win32":
    pytest.skip("workers are bounded on POSIX only", allow_module_level=True)

TOKEN = "a-token-that-is-long-enough"


@pytest.fixture
def folder(tmp_path):
    """Sounds in `s`, a library `l` of those in `s/old`, and a secret beside them."""
    for number in range(2):
        write(tmp_path / "s" / "old" / f"tone{number}.wav", tone(300 + 200 * number, 2))
    write(tmp_path / "s" / "new" / "hiss.wav", noise(1, 2))
    (tmp_path / "s" / "new" / "broken.wav").write_text("no sound")
    write(tmp_path / "secret" / "a.wav", noise(2, 2))
    os.symlink(tmp_path / "secret", tmp_path / "s" / "link")
    with soundsearch.open(tmp_path / "l") as lib:
        lib.ingest(tmp_path / "s" / "old")
    return tmp_path


@pytest.fixture
def serving(folder):
    """Starts servers."""
    started = []

    def start(**options) -> Server:
        started.append(Server(options.pop("library", folder / "l"), **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def ended(server, **of) -> dict:
    until(lambda: server.get("/ingest").json()["state"] != "running")
    found = server.get("/ingest").json()
    assert found.items() >= of.items(), found
    return found


# Ingests


def test_an_ingest_beside_questions(folder, serving):
    server = serving(ingest=[str(folder / "s")])
    asked = server.get("/ingest").json()
    assert asked["state"] == "none" and asked["folders"] == [str(folder / "s")]
    assert asked["command"] == f"soundsearch ingest FOLDER --library {folder / 'l'}"
    started = server.client.post("/ingest", json={"folder": str(folder / "s" / "new")})
    process = server.service.ingests._run.process
    process.send_signal(signal.SIGSTOP)  # it has not ended when these are asked
    assert started.json()["state"] == "running"
    assert server.get("/similar?clip=1").is_success
    again = server.client.post("/ingest", json={"folder": str(folder / "s")})
    assert "is under way" in problem(again, 409)
    assert "is under way" in problem(
        server.client.post("/clips/1/labels", json={"label": "Dog"}), 409
    )
    process.send_signal(signal.SIGCONT)
    found = ended(server, state="done", files=2, total=2, sound=2.0, left=None, message=None)
    assert found["outcomes"] == {"added": 1, "failed": 1} and found["seconds"] > 0
    assert server.get("/clips").json()["total"] == 3
    [failure] = server.get("/failures").json()["failures"]
    assert failure["uri"].endswith("broken.wav") and failure["reason"]


def test_no_other_folder_is_looked_at(folder, serving, monkeypatch):
    server = serving(ingest=[str(folder / "s" / "new"), str(folder / "s" / "link" / "none")])

    def refused(path, status=403, of=server):
        return problem(of.client.post("/ingest", json={"folder": str(path)}), status)

    inside = folder / "s" / "new"
    told = (
        f"start the server with: soundsearch serve --allow-ingest FOLDER --library {folder / 'l'}"
    )
    for path in (
        folder / "secret",
        inside / ".." / "old",
        "s/new",
        f"{inside}er",
    ):
        assert f"in none of the folders that may be ingested; {told}" in refused(path)
    os.symlink(folder / "secret", inside / "out")
    assert "in none of the folders" in refused(inside / "out")
    assert "expected a folder (No such file" in refused(inside / "gone", 422)
    assert "expected a folder, got a file" in refused(inside / "hiss.wav", 422)
    off = serving()
    assert "without --allow-ingest" in refused(inside, of=off)
    assert off.get("/ingest").json()["is_allowed"] is False
    # Those that hold clips; all clips are read for that, but not while an ingest is followed.
    monkeypatch.setattr("soundsearch.web.ingests._KNOWN_SECONDS", 0)
    monkeypatch.setattr("soundsearch.web.ingests._KNOWN_TIMES", 0)
    known = serving(ingest=[])
    assert known.get("/ingest").json()["folders"] == [str(folder / "s" / "old")]
    refused(inside, of=known)
    path = folder / "s" / "old"
    assert known.client.post("/ingest", json={"folder": str(path)}).is_success
    process = known.service.ingests._run.process
    process.send_signal(signal.SIGSTOP)
    assert known.service.ingests.known == [str(path)]
    process.send_signal(signal.SIGCONT)
    ended(known, state="done", outcomes={"unchanged": 2})
    assert known.service.ingests.known is None


def test_an_ingest_that_is_stopped_killed_or_refused(folder, serving, monkeypatch):
    write(folder / "s" / "long.wav", noise(3, 120))
    server = serving(ingest=[str(folder / "s")])

    def start():
        return server.client.post("/ingest", json={"folder": str(folder / "s")})

    def process():
        return server.service.ingests._run.process

    assert start().is_success
    found = server.client.delete("/ingest").json()
    assert found["state"] == "stopped" and process().poll() is not None
    assert server.client.delete("/ingest").json()["state"] == "stopped"
    assert start().is_success
    os.kill(process().pid, signal.SIGKILL)
    found = ended(server, state="failed")
    assert "ended (SIGKILL); what it had stored is stored" in found["message"]
    with LocalStore(folder / "l").writing():
        assert start().is_success
        assert "is writing to it" in ended(server, state="failed")["message"]
        busy = server.client.post("/clips/1/labels", json={"label": "Dog"})
        assert "is writing to it" in problem(busy, 503) and busy.headers["retry-after"]
    assert start().is_success
    child = process()
    server.close()  # stops it
    assert child.poll() is not None
    with soundsearch.open(folder / "l") as lib:
        assert len(lib) >= 2 and not lib.check()


def test_the_ingest_ends_with_a_server_that_is_killed(folder):
    write(folder / "s" / "long.wav", noise(3, 120))
    program = [sys.executable, "-m", "soundsearch", "serve", "--port", "0", "--library"]
    command = [*program, str(folder / "l"), "--allow-ingest", str(folder / "s")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        url = server.stderr.readline().split()[3]
        with httpx.Client(base_url=f"{url}api/v1", trust_env=False, timeout=30) as api:
            api.post("/ingest", json={"folder": str(folder / "s")}).raise_for_status()
            while not api.get("/ingest").json()["files"]:
                time.sleep(0.02)
        server.kill()
    with soundsearch.open(folder / "l", wait=30) as lib, lib.writing():
        assert len(lib) >= 2


def test_milvus_lite_is_of_one_process(tmp_path, serving):
    pytest.importorskip("milvus_lite")
    address = f"milvus-lite:{tmp_path / 'l.db'}"
    with soundsearch.open(address) as lib:
        lib.ingest(tmp_path / "s" / "old")
    server = serving(library=address, ingest=[str(tmp_path / "s")])
    asked = server.client.post("/ingest", json={"folder": str(tmp_path / "s")})
    assert f"type: soundsearch ingest {tmp_path / 's'} --library {address}" in problem(asked, 409)
    assert server.client.post("/clips/1/labels", json={"label": "Dog"}).is_success


FULL = """
import tempfile
from support.server import Server, problem
tempfile.tempdir = str(folder.parent)
top = folder.parent.parent
server = Server(top / "l", workers=1)
sound = top / "s" / "odd.aiff"
assert server.hear(sound).is_success
fill()
with closing(server):
    answers = [server.hear(sound), server.get("/clips/3/audio")]
    for answer in [*answers, server.get("/clips/1/audio?at=0-1.5")]:
        assert "disk for temporary files is full" in problem(answer, 503)
        assert answer.headers["retry-after"] == "30"
    assert server.get("/similar?clip=1").is_success
    os.unlink(folder.parent / "ballast")
    assert server.hear(sound).is_success and server.get("/clips/3/audio").is_success
    assert server.service.room.taken == 0
"""


def test_a_full_disk_for_temporary_files(folder):
    write(folder / "s" / "odd.aiff", tone(500, 2))
    with soundsearch.open(folder / "l") as lib:
        lib.ingest(folder / "s" / "odd.aiff")
    in_mounts(FULL, folder / "m" / "t")


# Labels by people


def test_labels_of_people(folder, serving):
    server = serving()
    before = server.get("/clips/1/events").json()
    assert before["said"] == [] and {each["by"] for each in before["events"]} <= {"head"}
    say = {"label": "dog", "at": "0.5-1.25"}
    now = server.client.post("/clips/1/labels", json=say).json()
    assert now == server.get("/clips/1/events").json()
    [given] = [each for each in now["events"] if each["by"] == "people"]
    assert (given["onset"], given["offset"], given["label"]["name"]) == (0.5, 1.25, "Dog")
    assert server.get("/clips/1").json()["human_labels"] == [{"name": "Dog", "mid": "/m/0bt9lr"}]
    [hit] = server.query(json={"label": ["Dog"], "where": "human_label['Dog']"}).json()["hits"]
    assert hit["clip_id"] == 1 and hit["score"] == 1
    counts = {each["name"]: each["clips"] for each in server.get("/labels").json()["labels"]}
    assert counts["Dog"] == 1
    no = server.client.post("/clips/1/labels", json={**say, "heard": "no"}).json()
    assert no["said"] == [{"label": given["label"], "onset": 0.5, "offset": 1.25, "heard": False}]
    back = server.client.post("/clips/1/labels", json={**say, "heard": "unsaid"}).json()
    assert back == before
    counts = {each["name"]: each["clips"] for each in server.get("/labels").json()["labels"]}
    assert counts["Dog"] == 0
    for wrong, status, message in (
        ({"label": "Dgo"}, 422, "similar: Dog"),
        ({"label": "Dog", "at": "2-3"}, 422, "within its 2.00 s"),
        ({"label": "Dog", "heard": "maybe"}, 422, "heard: expected"),
        ({}, 422, "label: expected it"),
    ):
        assert message in problem(server.client.post("/clips/1/labels", json=wrong), status)
    assert "99" in problem(server.client.post("/clips/99/labels", json={"label": "Dog"}), 404)


def test_foreign_pages_change_nothing(serving):
    server = serving(token=TOKEN, ingest=[])
    [(name, kept)] = server.client.post("/session", json={"token": TOKEN}).cookies.items()
    server.client.cookies.clear()
    cookie = {"Cookie": f"{name}={kept}"}
    for path, body in (("/clips/1/labels", {"label": "Dog"}), ("/ingest", {"folder": "/"})):
        for headers in ({}, cookie, {**cookie, "Origin": "http://evil.example"}):
            answer = server.client.post(path, json=body, headers=headers)
            assert answer.status_code in (401, 403)
    text = server.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert 'soundsearch_requests_total{operation="refused",status="403"} 4' in text
    assert 'soundsearch_requests_total{operation="refused",status="401"} 2' in text


# What a server outlives


def test_strangers_are_not_told_of_the_library(tmp_path):
    server = Server(tmp_path / "none", token=TOKEN)
    said = problem(server.get("/ready"), 503)
    assert said == "the library cannot be asked; /api/v1/info says why"
    known = server.get("/info", headers={"Authorization": f"Bearer {TOKEN}"})
    assert str(tmp_path / "none") in problem(known, 503)
    server.close()


def test_uploads_have_so_many_bytes_at_once(folder, serving):
    size = (folder / "s" / "old" / "tone0.wav").stat().st_size
    server = serving(workers=1, waiting_bytes=size + 100)
    path = folder / "s" / "old" / "tone0.wav"
    assert server.hear(path).is_success and server.service.room.taken == 0
    server.service.room.take(101)
    refused = server.hear(path)
    assert "uploads that are under way have" in problem(refused, 503)
    assert refused.headers["retry-after"] == "2"
    server.service.room.give_back(101)
    assert server.service.room.taken == 0 and server.hear(path).is_success
    assert not [name for name in os.listdir(server.service.folder) if name.startswith("upload")]


def test_ipv6(folder):
    server = Server(folder / "l", host="::1", token=TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert server.url.startswith("http://[::1]:")
    assert server.get("/similar?clip=1", headers=headers).is_success
    assert server.get("/info", headers={**headers, "Host": "[::2]"}).is_success
    assert server.get("/info", headers={**headers, "Host": "evil.example"}).status_code == 421
    own = {**headers, "Origin": server.url}
    assert server.client.post("/clips/1/labels", json={"label": "Dog"}, headers=own).is_success
    server.close()


def test_two_servers_and_a_library_that_is_made_anew(folder, serving):
    one, other = serving(), serving()
    assert one.client.post("/clips/1/labels", json={"label": "Dog"}).is_success
    assert other.get("/clips/1").json()["human_labels"]
    shutil.rmtree(folder / "l")
    for server in (one, other):
        assert "there is no library here" in problem(server.get("/clips"), 503)
    with soundsearch.open(folder / "l") as lib:
        lib.ingest(folder / "s" / "new")
    for server in (one, other):
        assert server.get("/clips").json()["total"] == 1
    assert other.client.post("/clips/1/labels", json={"label": "Cat"}).is_success
    assert [each["name"] for each in one.get("/clips/1").json()["human_labels"]] == ["Cat"]
