"""What a server withstands: crashes of decoders, bombs, crowds, slow and foreign clients."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from support.server import API, Server, problem
from support.sounds import tone, write
from support.waiting import until

import soundsearch

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
from soundsearch.web import processes
from soundsearch.web.folders import Folder
from soundsearch.web.ranges import FileAnswer

if sys.platform == "win32":
    pytest.skip("workers are bounded on POSIX only", allow_module_level=True)

TOKEN = "a token that is long enough".replace(" ", "-")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    top = tmp_path_factory.mktemp("web")
    write(top / "s" / "a.wav", tone(300, 2))
    write(top / "s" / "b.wav", tone(500, 2))
    path = write(top / "s" / "</script>.wav", tone(300, 2))
    os.rename(path, os.fsencode(path) + b"\xff.wav")
    with soundsearch.open(top / "l") as lib:
        lib.ingest(top / "s")
    return top


@pytest.fixture
def serving(folder):
    """Starts servers."""
    started = []

    def start(**options) -> Server:
        started.append(Server(folder / "l", **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture(scope="module")
def plain(folder):
    """A server without a token."""
    served = Server(folder / "l", workers=1)
    yield served
    served.close()


@pytest.fixture(scope="module")
def guarded(folder):
    """A server with a token."""
    served = Server(folder / "l", token=TOKEN)
    yield served
    served.close()


def test_what_a_killed_server_left_is_removed_by_the_next(folder, monkeypatch):
    temporary = folder / "temporary"
    temporary.mkdir()
    program = (
        "import os, sys, signal; from soundsearch.web.folders import Folder\n"
        "folder = Folder(); open(folder.path + '/upload-1', 'w').write('x'); print(folder.path)\n"
        "sys.stdout.flush(); sys.stdin.read(1); os.kill(os.getpid(), signal.SIGKILL)"
    )
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=pipe,
        stdout=pipe,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    path = Path(process.stdout.readline().decode().strip())
    (temporary / "soundsearch-web-new").mkdir()  # one that is just being made
    (temporary / "soundsearch-web-link").symlink_to(folder / "s")
    shut = [temporary / f"soundsearch-web-shut{number}" for number in range(16)]
    for each in shut:  # that cannot be looked into, as another user's
        each.mkdir()
        (each / "lock").symlink_to("x" * 300)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    alive = Folder()
    assert (path / "upload-1").exists()
    process.communicate(b"!")
    last = Folder()
    others = {"soundsearch-web-new", "soundsearch-web-link", *(each.name for each in shut)}
    used = {os.path.basename(each.path) for each in (alive, last)}
    assert {*os.listdir(temporary)} == {*others, *used}
    assert os.listdir(folder / "s")
    for _ in range(20):
        shutil.rmtree(last.path)  # cleaned away by the system, as old ones are
        with ThreadPoolExecutor(8) as threads:
            [again] = set(threads.map(lambda _: last.path, range(8)))
        assert os.path.isdir(again)
    alive.close()
    last.close()
    assert {*os.listdir(temporary)} == others


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0, identity", False),
        ("gzip;q=none", False),
        ("x-gzip", False),
        ("", False),
    ],
)
def test_answers_are_packed_for_those_who_take_it(plain, accepted, packed):
    response = plain.client.get(f"{plain.url}/page/main.js", headers={"Accept-Encoding": accepted})
    assert response.status_code == 200 and response.text
    assert (response.headers.get("content-encoding") == "gzip") is packed


# Workers


def test_a_crash_is_one_failed_request(folder, tmp_path, monkeypatch):
    (tmp_path / "soxr.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)  # what is there is no module of a worker
    before = threading.active_count()
    server = Server(folder / "l", workers=1, waiting_jobs=1)
    kept = server.service.folder
    path = folder / "s" / "a.wav"
    assert server.hear(path).is_success
    [worker] = server.service.workers._all
    with ThreadPoolExecutor(2) as pool:
        os.kill(worker.process.pid, signal.SIGSTOP)  # it is in the middle of the job
        asked = pool.submit(server.hear, path)
        until(lambda: server.service.workers.gate.running == 1)
        waits = pool.submit(server.hear, path)
        until(lambda: server.service.workers.gate.waiting == 1)
        refused = server.hear(path)
        assert "1 sounds are under way and 1 wait" in problem(refused, 503)
        assert refused.headers["retry-after"] == "1"
        assert server.get("/similar?clip=1").is_success  # questions go on
        os.kill(worker.process.pid, signal.SIGSEGV)
        os.kill(worker.process.pid, signal.SIGCONT)
        said = problem(asked.result(), 422)
        assert said == "a.wav: the decoder crashed on it (SIGSEGV); is it damaged?"
        assert waits.result().is_success
    [worker] = server.service.workers._all
    os.kill(worker.process.pid, signal.SIGSTOP)  # a decoder that never ends
    usual = server.service.workers._limits
    server.service.workers._limits = dataclasses.replace(usual, job_seconds=0.5)
    assert "takes more than 0.5 s to decode" in problem(server.hear(path), 422)
    assert "soundsearch_workers_lost_total 2" in server.get("/metrics").text
    server.service.workers._limits = usual
    assert server.hear(path).is_success
    [worker] = server.service.workers._all
    server.close()
    assert worker.process.poll() == -signal.SIGKILL
    assert threading.active_count() <= before and not os.path.exists(kept)


def test_a_worker_that_is_broken_is_not_the_sounds_fault(serving, folder, monkeypatch):
    path = folder / "s" / "a.wav"
    server = serving(workers=1)
    broken = "import sys; sys.modules['onnxruntime'] = None; " + processes._PROGRAM
    monkeypatch.setattr("soundsearch.web.processes._PROGRAM", broken)
    assert "the server's log says more" in problem(server.hear(path), 500)
    monkeypatch.setattr("soundsearch.web.processes._PROGRAM", "raise SystemExit(3)")
    refused = server.hear(path)
    assert "does not start (exit code 3)" in problem(refused, 503)
    assert refused.headers["retry-after"] == "5"
    assert server.get("/similar?clip=1").is_success


# Crowds and slow clients


def test_a_crowd_is_refused_kindly(serving):
    server = serving(questions=1, waiting_questions=2)
    inside, go_on = threading.Event(), threading.Event()

    def slow(_library):
        inside.set()
        assert go_on.wait(120)

    loop_of = server.service.workers.gate  # any coroutine of the server runs on its loop
    assert loop_of.running == 0
    with ThreadPoolExecutor(3) as pool:
        # The only thread that answers is held.
        server.service._threads.submit(slow, None)
        assert inside.wait(120)
        asked = [pool.submit(server.get, "/similar?clip=1") for _ in range(3)]
        until(lambda: server.service.questions.waiting == 2)
        refused = server.get("/clips")
        assert "1 questions are under way and 2 wait" in problem(refused, 503)
        assert refused.headers["retry-after"] == "1"
        assert server.get("/health").is_success
        go_on.set()
        assert all(each.result().is_success for each in asked)
    assert server.get("/clips").is_success


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), 120)


def test_slow_clients_are_let_go(serving, folder, monkeypatch):
    server = serving(uploads=1, header_seconds=0.3, send_seconds=0.3)
    with connected(server) as silent, connected(server) as half:
        half.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX-")
        assert silent.recv(1) == half.recv(1) == b""
    head = b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n"
    form = b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    with connected(server) as gone:
        gone.sendall(head + form)
        until(lambda: server.service.uploads.running == 1)
        refused = server.hear(folder / "s" / "a.wav")
        assert "1 uploads are under way" in problem(refused, 503)
    until(lambda: server.service.uploads.running == 0)
    server.service.limits = dataclasses.replace(server.service.limits, upload_seconds=0.3)
    with connected(server) as slow:
        slow.sendall(head + form)
        assert b" 408 " in slow.recv(100)
    # One that asks for much and reads nothing.
    write(folder / "s" / "b.wav", tone(500, 600))
    long = server.get("/clips", params={"where": "uri like '%b.wav'"}).json()["clips"][0]["id"]
    with connected(server) as idle:
        idle.sendall(f"GET {API}/clips/{long}/audio HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert idle.recv(10) == b"HTTP/1.1 2"
        until(lambda: len(server._server.server_state.connections) <= 1)
    # One that goes away: the rest is read for nobody.
    left: list[int] = []
    read = FileAnswer._read

    def reading(answer):
        found = read(answer)
        left.append(answer._left)
        return found

    monkeypatch.setattr(FileAnswer, "_read", reading)
    with connected(server) as gone:
        gone.sendall(f"GET {API}/clips/{long}/audio HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert gone.recv(10) == b"HTTP/1.1 2"
    until(lambda: not server._server.server_state.tasks)
    assert left[-1] > 0


# Tokens and foreign pages


def test_a_token_is_asked_for(guarded, caplog, capfd):
    server = guarded
    for path in ("/health", "/ready", "/openapi.json"):
        assert server.get(path).is_success
    for path in ("/info", "/clips", "/clips/1/audio", "/metrics", "/similar?clip=1"):
        response = server.get(path)
        assert "Authorization: Bearer TOKEN" in problem(response, 401)
        assert response.headers["www-authenticate"] == "Bearer"
    for given in (
        "Bearer",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \xff",
    ):
        headers = {"authorization": given.encode("latin-1")}
        assert problem(server.get("/info", headers=headers), 401)
    assert problem(server.get(f"/info?token={TOKEN}"), 401)
    assert problem(server.query(json={"clip": 1}), 401)
    right = {"authorization": f"bearer {TOKEN}"}
    assert server.get("/info", headers=right).is_success
    assert server.query(json={"clip": 1}, headers=right).is_success
    # Nothing that is written down holds it.
    assert TOKEN not in caplog.text + "".join(capfd.readouterr())
    assert TOKEN not in server.get("/metrics", headers=right).text


def test_a_cookie_stands_for_the_token(guarded):
    server = guarded
    assert "not the server's token" in problem(
        server.client.post("/session", json={"token": "x"}), 401
    )
    response = server.client.post("/session", json={"token": TOKEN})
    said = response.headers["set-cookie"].lower()
    assert "httponly" in said and "samesite=strict" in said and TOKEN not in said
    assert server.get("/info").is_success
    # Beside cookies of other programs, and of another server of this machine.
    [(name, kept)] = server.client.cookies.items()
    for other in ('a={"b": "c"}', "a=b c", "a[0]=\u00e9", "bare", "soundsearch=x"):
        cookie = f"{other}; {name}={kept}; {other}".encode("latin-1")
        assert server.get("/info", headers={"cookie": cookie}).is_success, other
    beside = Server(server.service.holding.place, token=f"{TOKEN}2", workers=1)
    beside.client.cookies = server.client.cookies
    before = beside.get("/info")
    beside.client.post("/session", json={"token": f"{TOKEN}2"})
    server.client.cookies = beside.client.cookies
    after = beside.get("/info")
    beside.close()
    assert problem(before, 401) and after.is_success and server.get("/info").is_success
    # Reading is all that it is good for, but for pages of this server.
    assert "a cookie is not enough" in problem(server.query(json={"clip": 1}), 403)
    own = {"origin": server.url, "sec-fetch-site": "same-origin"}
    assert server.query(json={"clip": 1}, headers=own).is_success
    # Behind a proxy that asks by the server's address, the browser knows its name for it.
    proxied = {"origin": "https://sounds.example", "sec-fetch-site": "same-origin"}
    assert server.query(json={"clip": 1}, headers=proxied).is_success
    for other in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": f"http://localhost:{server.port + 1}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        assert problem(server.query(json={"clip": 1}, headers=other), 403)
    assert server.client.delete("/session", headers=own).is_success
    assert problem(server.get("/info"), 401)


def test_foreign_pages_and_names_are_refused(plain):
    server = plain
    for host in (
        "evil.example",
        f"evil.example:{server.port}",
        "localhost.evil.example",
        "",
        "[",
        "a@b",
    ):
        response = server.get("/info", headers={"host": host})
        assert problem(response, 421)
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80", "192.168.1.2"):
        assert server.get("/info", headers={"host": host}).is_success
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert problem(server.query(json={"clip": 1}, headers=headers), 403)
    assert problem(server.get("/clips/1/audio", headers={"sec-fetch-site": "cross-site"}), 403)
    visit = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert httpx.get(server.url, headers=visit, trust_env=False).is_success


def test_every_answer_has_the_headers(plain):
    server = plain
    answers = [httpx.get(server.url, trust_env=False), server.get("/nothing")]
    answers += [server.get("/clips/1/audio"), server.get("/info", headers={"host": "x"})]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers
    assert '<a href="/api/v1/openapi.json">' in answers[0].text


def test_names_are_escaped(plain, folder):
    """Bytes of a name that are no text are as on the command line, and JSON for everyone."""
    odd = os.fsdecode(os.fsencode(folder / "s" / "</script>.wav") + b"\xff.wav")
    response = plain.query(
        content=json.dumps({"clip": odd}), headers={"content-type": "application/json"}
    )
    assert response.is_success, response.text
    [found] = [clip for clip in plain.get("/clips").json()["clips"] if clip["uri"] == odd]
    assert plain.get(f"/clips/{found['id']}/audio").content[:4] == b"RIFF"
