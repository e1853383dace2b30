"""The HTTP API answers as the library does, whatever it is asked."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from support.server import Server, problem
from support.sounds import noise, tone, write

import soundsearch
from soundsearch import Examples, Labelled, Stored
from soundsearch.cli.main import main

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
if sys.platform == "win32":
    pytest.skip("workers are bounded on POSIX only", allow_module_level=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sounds, and a library `l` of them and of one that is no file."""
    top = tmp_path_factory.mktemp("web")
    for number in range(3):
        write(top / "s" / f"tone{number}.wav", tone(300 + 200 * number, 2))
    write(top / "s" / "deep" / "hiss.flac", noise(1, 5))
    write(top / "s" / "odd.aiff", tone(500, 3))
    (top / "s" / "broken.wav").write_text("no sound")
    with zipfile.ZipFile(top / "z.zip", "w") as archive:
        archive.write(top / "s" / "odd.aiff", "in/member.aiff")
    with soundsearch.open(top / "l") as lib:
        lib.ingest([top / "s", top / "z.zip"])
        lib.add(noise(2, 3), 16_000, uri="track:1", tags={"artist": "rain", "loud": True, "n": 1.0})
        lib.tag({str(top / "s" / "tone0.wav"): {"artist": "rain", "n": 2.0}})
        lib.use_key("n")
    return top


@pytest.fixture(scope="module")
def library(folder):
    with soundsearch.open(folder / "l") as lib:
        yield lib


@pytest.fixture(scope="module")
def server(folder):
    served = Server(folder / "l", questions=2, workers=1, upload_bytes=1 << 20, longest=4.0)
    yield served
    served.close()


def hits(answer) -> list[dict]:
    return [hit.to_dict() for hit in answer]


def test_answers_are_the_librarys(server, library, folder):
    first = str(folder / "s" / "tone0.wav")
    asked = {"k": 3, "where": "duration < 4", "per": "folder:2", "offset": 1, "min_score": -0.5}
    found = server.get("/similar", params={"clip": first, **asked}).json()
    where = asked.pop("where")
    assert found["hits"] == hits(library.where(where).similar(first, **asked))
    assert found["hits"][0]["rank"] == 2 and found["labels"]

    # Which number a file gets is a matter of which is heard first.
    one = next(clip.id for clip in library if clip.uri != first and not clip.tags)
    examples = {"like": [one, "key:1"], "unlike": [first], "label": ["Noise"], "label_weight": 0.3}
    found = server.query(json={**examples, "segments": True, "k": 4}).json()
    question = Examples([Stored(one), Stored(soundsearch.Key(1))], [Stored(first)])
    labelled = Labelled("Noise", question, 0.3)
    assert found["hits"] == hits(library.query(labelled, 4, segments=True))
    form = [
        *(("like", each) for each in (str(one), "key:1")),
        ("unlike", first),
        ("label", "Noise"),
    ]
    form += [("label_weight", "0.3"), ("segments", "true"), ("k", "4")]
    sent = server.query(files=[(name, (None, value)) for name, value in form]).json()
    assert sent["hits"] == found["hits"]
    found = server.query(json={"clip": 1, "label": ["Noise"], "k": 2}).json()["hits"]
    assert found == hits(library.query(Labelled("Noise", Stored(1)), 2))
    found = server.query(json={"label": ["Noise"]}).json()["hits"]
    assert found == hits(library.query(Labelled("Noise")))

    likes = {"liked": [1, 2], "disliked": [4], "weights": [1, 2.5], "half_life": 3, "k": 2}
    found = server.client.post("/recommend", json={**likes, "exclude": [3], "diversity": 0}).json()
    assert found["hits"] == hits(library.recommend(**likes, exclude=[3], diversity=0))


def test_an_upload_is_heard_as_a_file_is(server, library, folder):
    path = folder / "s" / "odd.aiff"
    response = server.hear(path, k=2, at="0.5-2", ranking="mean-best")
    answer = library.query(path, 2, at=(0.5, 2), ranking="mean-best")
    found = response.json()
    assert [hit["clip_id"] for hit in found["hits"]] == [hit.clip_id for hit in answer]
    assert [hit["score"] for hit in found["hits"]] == pytest.approx(
        [hit.score for hit in answer], abs=2e-4
    )
    assert found["labels"] == [label.to_dict() for label in answer.labels]
    assert found["warning"] is None
    times = response.headers["server-timing"].split(", ")
    assert [part.partition(";dur=")[0] for part in times] == ["wait", "search", "decode", "total"]
    # Steered by clips; longer than is heard; not in memory, nor on disk when it is over.
    steered = server.hear(path, like=["4"], unlike=["2"], k=1)
    assert steered.json()["hits"]
    assert (
        "only its first 4.00 s"
        in server.hear(folder / "s" / "deep" / "hiss.flac").json()["warning"]
    )
    assert not [name for name in os.listdir(server.service.folder) if "upload" in name]


def test_clips_are_listed_in_pages(server, library):
    every = [clip.to_dict() for clip in library]
    found, after = [], -1
    while after is not None:
        page = server.get("/clips", params={"after": after, "limit": 3}).json()
        assert page["total"] == len(every)
        found += page["clips"]
        after = page["next"]
    assert found == every
    page = server.get("/clips", params={"where": "tag['artist'] == 'rain'", "offset": 1}).json()
    assert [clip["uri"] for clip in page["clips"]] == ["track:1"]
    assert page["total"] == 2 and page["next"] is None
    assert server.get("/clips/1").json() == library.clip(1).to_dict()


def test_what_the_library_holds(server, library):
    labels = server.get("/labels", params={"least": 0.3}).json()
    assert labels["total"] == len(library) == 7
    counts = {row["name"]: row["clips"] for row in labels["labels"]}
    for name in ("Sine wave", "Noise", "White noise", "Dog"):
        assert counts[name] == len(library.where("label[:name] >= 0.3", name=name)), name
    assert counts["Noise"] and tuple(counts) == library.classes
    tags = {row["name"]: row for row in server.get("/tags").json()["tags"]}
    assert tags["artist"]["values"] == [{"value": "rain", "clips": 2}]
    assert tags["loud"]["values"] == [{"value": True, "clips": 1}] and tags["n"]["clips"] == 2
    failures = server.get("/failures").json()
    assert failures == {"failures": [each.to_dict() for each in library.failures()], "total": 1}
    info = server.get("/info").json()
    assert {name: info[name] for name in library.info()} == library.info()
    assert server.get("/ready").json() == {"status": "ok"}
    timeline = soundsearch.events(library.clip(1).uri)
    events = server.get("/clips/1/events").json()
    assert events["events"] == [{**event.to_dict(), "by": "head"} for event in timeline]


def test_metrics_are_prometheus_text(server):
    server.get("/health")
    response = server.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = {}
    for line in response.text.splitlines():
        if not line.startswith("# "):
            name, value = line.rsplit(" ", 1)
            samples[name] = float(value)
    assert samples['soundsearch_requests_total{operation="health",status="200"}'] >= 1
    whole = 'soundsearch_request_seconds_bucket{operation="health",le="+Inf"}'
    assert samples[whole] == samples['soundsearch_request_seconds_count{operation="health"}']
    assert samples["soundsearch_questions_waiting"] == 0


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"json": {}}, 422, "expected sound, clip, like, label or text"),
        ({"json": {"clip": 1, "k": 0}}, 422, "k: expected a whole number from 1 to 1000, got 0"),
        ({"json": {"clip": 1, "k": True}}, 422, "k: expected a whole number"),
        ({"json": {"clip": 99}}, 404, "99: no clip of"),
        ({"json": {"clip": "/etc/passwd"}}, 404, "no clip of"),
        ({"json": {"like": ["/etc/passwd"]}}, 404, "no clip of"),
        ({"json": {"label": ["Dog"], "like": ["/etc/hosts"]}}, 404, "no clip of"),
        ({"json": {"clip": "\0"}}, 422, "clip: expected a text"),
        ({"content": b'{"clip":"\\ud800"}'}, 422, "clip: expected a text"),
        ({"content": b'{"clip":1,"min_score":NaN}'}, 422, "min_score: expected a number"),
        ({"content": b'{"clip":1,"k":1e999}'}, 422, "k: expected"),
        ({"content": b'{"clip":1,"k":%b}' % (b"9" * 4000)}, 422, "k: expected"),
        ({"files": {"clip": (None, "1"), "min_score": (None, "9" * 900_000 + "x")}}, 422, "min_sc"),
        ({"json": {"clip": 2**80}}, 422, "clip: expected an id"),
        ({"json": {"clip": 1, "where": "("}}, 422, "filter"),
        ({"json": {"clip": 1, "where": "not " * 900 + "padded"}}, 422, "levels"),
        ({"json": {"like": [1], "at": "1-2"}}, 422, "at: expected sound or clip beside it"),
        ({"json": {"clip": 1, "at": "99-"}}, 422, "at: expected a start within the clip's"),
        ({"json": {"label": ["Dgo"]}}, 422, "similar: Dog"),
        ({"json": {"clip": 1, "K": 1}}, 422, "there is no parameter 'K'"),
        ({"json": [1]}, 422, "expected a JSON object"),
        ({"content": b"[" * 50_000}, 400, "expected JSON"),
        ({"content": b"\xff"}, 400, "expected JSON"),
        ({"content": b" " * (1 << 21)}, 413, "a request may have 1 MB"),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "'text/plain'"),
        ({"files": {"sound": ("../a\\b.wav", b"RIFF")}}, 422, "b.wav: "),
        ({"files": {"sound": ("x", b"")}}, 422, "x: is empty"),
        ({"files": {"sound": ("x", b"#EXTM3U\nfile:///etc/passwd")}}, 422, "not readable audio"),
        ({"files": {"other": ("x", b"x")}}, 422, "expected the file as 'sound'"),
        ({"files": [("sound", ("a", b"a")), ("sound", ("b", b"b"))]}, 400, "several files"),
        ({"files": {"sound": ("a", bytes(32 << 20))}}, 413, "a request may have 1 MB"),
        ({"files": {"sound": ("a", b"a")}, "data": {"at": "2-1"}}, 422, "an end after the start"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said(server, asked, status, said):
    if "content" in asked:
        asked = {"headers": {"content-type": "application/json"}, **asked}
    assert said in problem(server.query(**asked), status)
    assert server.get("/health").status_code == 200


@pytest.mark.parametrize(
    "body", [b"", b"--x", b"--x\r\n\r\n\r\n--x--", b"--x\r\nContent-Disposition: form-data\r\n\r\n"]
)
@pytest.mark.parametrize("boundary", ["", "; boundary=x", "; boundary=" + "x" * 999])
def test_damaged_forms_are_refused(server, body, boundary):
    kind = f"multipart/form-data{boundary}"
    response = server.query(content=body, headers={"content-type": kind})
    assert "damaged" in problem(response, 400)


def test_other_addresses_and_methods(server):
    assert "openapi.json" in problem(server.get("/nothing"), 404)
    refused = server.client.delete("/query")
    assert problem(refused, 405) and refused.headers["allow"] == "POST"
    assert "'x'" in problem(server.get("/clips/x"), 422)
    assert "got it 2 times" in problem(server.get("/similar?clip=1&clip=2"), 422)
    for path in ("/clips/..%2f..%2fetc%2fpasswd/audio", "/..%2f..%2fetc/passwd", "//etc/passwd"):
        assert problem(server.get(path), 404)


def test_many_at_once_are_answered_alike(server):
    expected = server.get("/similar?clip=1").json()
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(server.get, "/similar?clip=1") for _ in range(64)]
        assert all(each.result().json() == expected for each in asked)
    assert server.service.questions.running == server.service.questions.waiting == 0


@pytest.mark.slow
def test_milvus_answers_too(lite, folder, library):
    with soundsearch.open(lite) as lib:
        lib.ingest(folder / "s")
        expected = hits(lib.where("duration < 4").similar(1, 2))
    served = Server(lite, workers=1)
    try:
        params = {"clip": 1, "k": 2, "where": "duration < 4"}
        assert served.get("/similar", params=params).json()["hits"] == expected
        heard = served.hear(folder / "s" / "tone1.wav", k=1).json()["hits"]
        assert heard[0]["uri"].endswith("tone1.wav") and heard[0]["score"] > 0.99
        page = served.get("/clips", params={"where": "duration < 4", "limit": 1}).json()
        assert page["total"] == 4 and len(page["clips"]) == 1
        assert served.get("/labels").json()["total"] == 5
        assert served.get("/clips/1/events").json()["events"]
    finally:
        served.close()


def test_the_program_of_the_page(server, folder, tmp_path, monkeypatch, capsys):
    page = Path(__file__).parent.parent / "docs" / "serving.md"
    program = "\n".join(re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S))
    write(tmp_path / "clip.wav", tone(300, 3))
    monkeypatch.chdir(tmp_path)
    names = {"httpx": httpx}
    text = program.replace("http://127.0.0.1:8000", server.url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # as a reader's Python does
        exec(compile(text, "serving.md", "exec"), names)
    assert "404 no such.wav: no clip of" in capsys.readouterr().out
    assert (tmp_path / "moment.wav").read_bytes()[:4] == b"RIFF"
    assert pixel_size(tmp_path / "moment.png") == (600, 128)
    names["api"].close()


def pixel_size(path):
    return tuple(int.from_bytes(path.read_bytes()[at : at + 4], "big") for at in (16, 20))


# A library that changes


def test_a_library_that_changes_meanwhile(folder, tmp_path):
    place = tmp_path / "l"
    served = Server(place)
    try:
        assert "there is no library here" in problem(served.get("/clips"), 503)
        assert served.get("/ready").headers["retry-after"] == "5"
        assert served.get("/health").status_code == 200
        with soundsearch.open(place) as lib:
            lib.add(tone(300, 2), 16_000, uri="a")
            assert served.get("/clips").json()["total"] == 1
            lib.add(tone(400, 2), 16_000, uri="b")
            assert served.get("/clips").json()["total"] == 2
            with lib.writing():
                assert served.get("/similar?clip=1").json()["hits"][0]["uri"] == "b"
        shutil.rmtree(place)
        assert "there is no library here" in problem(served.get("/similar?clip=1"), 503)
        shutil.copytree(folder / "l", place)
        assert served.get("/clips").json()["total"] == 7
        (place / "catalog.sqlite").write_bytes(b"no database" * 500)
        assert problem(served.get("/clips"), 500)
    finally:
        served.close()


# Stopping


def serve(*arguments, **environment):
    """A server in a process of its own, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "soundsearch", "serve", "--port", "0", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("Serving"):
            return process, line.split(" at ")[1].split()[0].rstrip("/"), "".join(said)
    raise AssertionError("".join(said))


def test_a_signal_lets_requests_end(folder):
    process, url, said = serve("--library", folder / "l", "--host", "0.0.0.0")
    assert "there is no token; give one with --token" in said
    port = int(url.rpartition(":")[2])
    form = b'--x\r\nContent-Disposition: form-data; name="label"\r\n\r\nNoise\r\n--x--\r\n'
    head = b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += b"Content-Type: multipart/form-data; boundary=x\r\n"
    head += b"Content-Length: %d\r\n\r\n" % len(form)
    with socket.create_connection(("127.0.0.1", port)) as begun:
        begun.sendall(head + form[:20])
        assert httpx.get(f"http://127.0.0.1:{port}/api/v1/health", trust_env=False).is_success
        process.send_signal(signal.SIGTERM)
        while True:  # it takes no more connections
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                break
            time.sleep(0.01)
        begun.sendall(form[20:])
        with begun.makefile("rb") as answer:
            assert answer.read().startswith(b"HTTP/1.1 200 OK")
    assert process.wait(120) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_an_address_in_use_is_said(folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit) as stopped:
            main(["serve", "--port", port, "--library", str(folder / "l")])
    assert stopped.value.code == 1
    said = f"Error: cannot listen on 127.0.0.1, port {port}; is it in use?"
    assert said in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # as it was


def test_a_missing_extra_is_said(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit) as stopped:
        main(["serve", "--library", str(folder / "l")])
    assert stopped.value.code == 1
    assert "pip install 'soundsearch[web]'" in capsys.readouterr().err
