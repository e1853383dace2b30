"""What people take away from the server: ZIPs, tables and playlists, whatever clips are called."""

from __future__ import annotations

import csv
import io
import os
import socket
import sys
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.server import Server, problem
from support.sounds import RATE, noise, tone, write
from support.stores import SETTINGS, filled, new_clip
from support.waiting import until

import soundsearch
from soundsearch.stores.opening import create_store, place_of

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
if sys.platform == "win32":
    pytest.skip("workers are bounded on POSIX only", allow_module_level=True)

from soundsearch.web import questions
from soundsearch.web.filenames import FileNames

HOSTILE = [
    "=cmd|' \" calc'!A0.wav", "a\nb.wav", "CON.wav", "up\\..\\x.wav", "\u202egpj.wav",
    "#EXTM3U.wav", "<img src=x onerror=alert(1)>.wav", "\udcff.wav", "x" * 250 + ".wav",
    "ÄÖ \U0001f40b.wav",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    top = tmp_path_factory.mktemp("keep")
    for number, name in enumerate(("a/bell.wav", "b/bell.wav", "b/c/BELL.wav")):
        write(top / "s" / name, tone(300 + 100 * number, 2 + number))
    for number, name in enumerate(HOSTILE):
        write(top / "new.wav", tone(900 + 10 * number, 1))
        (top / "h").mkdir(exist_ok=True)
        os.rename(top / "new.wav", top / "h" / name)
    write(top / "t.flac", noise(1, 12))
    with tarfile.open(top / "in.tar", "w") as archive:
        archive.add(top / "t.flac", "deep/member.flac")
    os.unlink(top / "t.flac")
    with soundsearch.open(top / "l") as lib:
        lib.ingest([top / "s", top / "h", top / "in.tar"])
        lib.add(noise(2, 3), 16_000, uri="=1+1", tags={"note": "+1"})
        for place, when in (("a", 1_704_067_200), ("b", 1_717_200_000)):
            os.utime(top / "s" / place / "bell.wav", (when, when))
        lib.ingest(top / "s")
    return top


@pytest.fixture(scope="module")
def ids(folder):
    with soundsearch.open(folder / "l") as lib:
        return {clip.uri: clip.id for clip in lib}


@pytest.fixture(scope="module")
def server(folder):
    served = Server(folder / "l", workers=1, exports=1)
    yield served
    served.close()


def export(server, **values):
    return server.client.post("/export", json=values)


def unzipped(response) -> dict[str, bytes]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/zip"
    assert response.headers["content-disposition"] == 'attachment; filename="sounds.zip"'
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def samples(content):
    return soundfile.read(io.BytesIO(content))[0]


def test_moments_are_the_sound_from_when_to_when(server, folder, ids):
    bells = [ids[str(folder / "s" / name)] for name in ("a/bell.wav", "b/bell.wav", "b/c/BELL.wav")]
    member = next(id for uri, id in ids.items() if "member" in uri)
    found = unzipped(export(server, clip=[*bells, member], at=["0.5-1", "1-", "0-", "2-3.25"]))
    assert list(found) == [
        "bell 0.50-1.00.wav",
        "bell 1.00-3.00.wav",
        "BELL.wav",
        "member 2.00-3.25.wav",
    ]
    for name, hertz, first, last in (
        ("bell 0.50-1.00.wav", 300, 0.5, 1),
        ("bell 1.00-3.00.wav", 400, 1, 3),
        ("BELL.wav", 500, 0, 4),
    ):
        expected = tone(hertz, 4)[int(first * RATE) : int(last * RATE)]
        np.testing.assert_allclose(samples(found[name]), expected, atol=1e-4)
    expected = noise(1, 12)[2 * RATE : int(3.25 * RATE)]
    np.testing.assert_allclose(samples(found["member 2.00-3.25.wav"]), expected, atol=1e-4)
    # Without moments the whole sound; the same one twice has two names.
    twice = unzipped(export(server, clip=[bells[0], bells[1], bells[0]]))
    assert list(twice) == ["bell.wav", "bell (2).wav", "bell (3).wav"]
    assert twice["bell.wav"] == twice["bell (3).wav"]


def test_files_are_as_they_are(server, folder, ids):
    paths = [str(folder / "h" / name) for name in HOSTILE]
    member = next(uri for uri in ids if "member" in uri)
    response = export(server, clip=[ids[uri] for uri in (*paths, member)], sound="files")
    found = unzipped(response)
    assert [len(content) for content in found.values()][:-1] == [os.path.getsize(p) for p in paths]
    for path, content in zip(paths, found.values(), strict=False):
        assert content == Path(path).read_bytes()
    names = list(found)
    assert names[-1] == "member.flac" and len(samples(found["member.flac"])) == 12 * RATE
    assert names[:6] == [
        "=cmd_' _ calc'!A0.wav", "a_b.wav", "_CON.wav", "up_.._x.wav", "_gpj.wav", "#EXTM3U.wav"
    ]  # fmt: skip
    assert names[6] == "_img src=x onerror=alert(1)_.wav" and names[9] == "ÄÖ \U0001f40b.wav"
    assert all("/" not in name and "\\" not in name and len(name) <= 184 for name in names)


def test_what_is_gone_does_not_end_a_zip(folder, tmp_path):
    write(tmp_path / "s" / "gone.wav", tone(300, 2))
    write(tmp_path / "s" / "cut.wav", tone(300, 2))
    write(tmp_path / "s" / "there.wav", tone(400, 2))
    with soundsearch.open(tmp_path / "l") as lib:
        lib.ingest(tmp_path / "s")
        ids = {Path(clip.uri).stem: clip.id for clip in lib}
        ids["track"] = lib.add(noise(2, 3), 16_000, uri="track:\n1").id
    (tmp_path / "s" / "gone.wav").unlink()
    (tmp_path / "s" / "cut.wav").write_text("no sound any more")
    served = Server(tmp_path / "l", workers=1, export_bytes=700_000)
    try:
        asked = [ids["gone"], ids["cut"], ids["track"], 999, ids["there"], ids["there"]]
        at = [*["0-1"] * 4, "0.5-0.75", "7-8"]
        found = unzipped(export(served, clip=asked, at=at))
        assert list(found) == ["there 0.50-0.75.wav", "missing.txt"]
        lines = found["missing.txt"].decode().splitlines()
        said = ("gone.wav: No such file", "cut.wav: ", "track: 1: is no file", "999: is not in",
                "there.wav: has 2.00 s, and nothing from 7 s on")  # fmt: skip
        assert len(lines) == len(said)
        assert all(part in line for part, line in zip(said, lines, strict=True))
        assert list(unzipped(export(served, clip=[999]))) == ["missing.txt"]
        # Too large: before it begins, or where a file has grown since.
        assert "0.0 GB" in problem(export(served, clip=[ids["there"]] * 3, at=["0-"] * 3), 413)
        write(tmp_path / "s" / "there.wav", tone(400, 40))
        grown = unzipped(export(served, clip=[ids["there"]], sound="files"))
        assert list(grown) == ["missing.txt"] and b"would be too large" in grown["missing.txt"]
        row = next(csv.DictReader(io.StringIO(export(served, clip=[999], format="csv").text[1:])))
        assert row["id"] == "999" and not row["uri"]
        assert export(served, clip=[999], format="m3u").text.splitlines()[1].startswith("# 999: is")
    finally:
        served.close()


def test_tables_hold_no_formulas(server, folder, ids):
    paths = [str(folder / "h" / HOSTILE[0]), str(folder / "h" / "\udcff.wav"), "=1+1"]
    response = export(
        server,
        clip=[*paths[::2], "=nothing"],
        at=["0.5-", "0-1", "0-"],
        score=[-0.5, 1, 0],
        format="csv",
    )
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))
    assert rows[0]["uri"] == paths[0] and rows[0]["score"] == "-0.5" and rows[0]["end"] == "1.0"
    assert rows[1]["uri"] == "'=1+1" and rows[1]["tags"] == '{"note": "+1"}'
    assert rows[2]["id"] == "'=nothing" and rows[2]["uri"] == ""
    with soundsearch.open(folder / "l") as lib:
        [best, *_] = lib.clip("=1+1").labels
    assert f'"{best.name}": ' in rows[1]["labels"]
    surrogate = export(server, clip=[ids[paths[1]]], format="csv").text
    assert "\\udcff.wav" in surrogate


def test_no_spreadsheet_computes_a_name(tmp_path):
    """Not even one that parts cells at semicolons, as in Germany, where few quotes count."""
    signs = "=+-@\uff1d"
    befores = ("a;", 'a; ";', 'a";"', "a\n", "a\r", "a\t", " ")
    names = [f"{before}{sign}1+1" for before in befores for sign in signs]
    place = place_of(tmp_path / "l")
    store = create_store(place, SETTINGS)
    tags = {f"k;{sign}1": f"v;{sign}1" for sign in signs}
    filled(store, [new_clip(name, 1, n, tags=tags) for n, name in enumerate(names)])
    store.close()
    served = Server(place)
    try:
        text = export(served, clip=names, format="csv").content.decode("utf-8-sig")
    finally:
        served.close()
    for delimiter in ",;\t":
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            assert not [cell for cell in row if cell.lstrip(' "').startswith(tuple(signs))]
    uris = [row["uri"] for row in csv.DictReader(io.StringIO(text, newline=""))]
    assert [uri.replace("'", "") for uri in uris] == names and all("'" in uri for uri in uris)


def test_playlists_name_files_and_moments(server, folder, ids):
    clips = [ids[str(folder / "h" / name)] for name in HOSTILE[:2]] + [ids["=1+1"]]
    response = export(server, clip=clips, at=["0.25-0.75", "0-", "0-"], format="m3u")
    lines = response.content.decode().splitlines()
    assert lines == [
        "#EXTM3U",
        f"#EXTINF:0,{HOSTILE[0]}",
        "#EXTVLCOPT:start-time=0.25",
        "#EXTVLCOPT:stop-time=0.75",
        str(folder / "h" / HOSTILE[0]),
        "#EXTINF:1,a b.wav",
        f"file://{folder}/h/a%0Ab.wav",
        "# =1+1: is no file",  # lines of others, such as #EXTVLCOPT, would tell players what to do
    ]
    bytes_of_a_name = export(server, clip=[ids[str(folder / "h" / "\udcff.wav")]], format="m3u")
    assert os.fsencode(folder / "h") + b"/\xff.wav" in bytes_of_a_name.content


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"clip": []}, "clip: expected 1 to 1,000"),
        ({"clip": [1] * 1001}, "clip: expected 1 to 1,000"),
        ({"clip": [1, 2], "at": ["0-1"]}, "at: expected one for each of the 2 clips"),
        ({"clip": [1], "score": [1, 2]}, "score: expected one for each"),
        ({"clip": [1], "format": "rar"}, "format: expected one of zip, csv, m3u"),
        ({"clip": [1], "at": ["2-1"]}, "an end after the start"),
    ],
)
def test_what_cannot_be_taken_is_said(server, values, said):
    assert said in problem(export(server, **values), 422)


def test_a_client_that_goes_frees_its_place(server, folder, ids):
    body = b'{"clip":[%d],"at":["0-12"]}' % next(id for uri, id in ids.items() if "member" in uri)
    head = b"POST /api/v1/export HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for worker in server.service.workers._all:
        worker.process.kill()  # the next one starts, and writes when the client has gone
    with socket.create_connection(("127.0.0.1", server.port)) as gone:
        gone.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        gone.recv(20)
        busy = export(server, clip=[1])
        assert busy.status_code in (200, 503)  # the other may have been sent by now
    until(lambda: not server.service.exports.running)
    assert os.listdir(server.service.folder) == ["lock"]
    assert unzipped(export(server, clip=[ids[str(folder / "s" / "a" / "bell.wav")]]))


def test_names_are_usable_and_each_its_own():
    names = FileNames("missing.txt")
    wanted = ["", "...", "missing.TXT", "A.wav", "a.wav", "a (2).wav", "nul", "com1.txt", " . x . ",
              "e\u0301.wav", "\xe9.wav", "/etc/passwd", "a" * 300, "a.b" * 90,
              "conIN$"]  # fmt: skip
    given = [names.new(each) for each in wanted]
    assert given[:11] == [
        "sound", "sound (2)", "missing (2).TXT", "A.wav", "a (2).wav", "a (2) (2).wav", "_nul",
        "_com1.txt", "x", "\xe9.wav", "\xe9 (2).wav",
    ]  # fmt: skip
    assert given[11] == "_etc_passwd" and given[-1] == "_conIN$"
    assert len({each.casefold() for each in given}) == len(given)
    assert all(len(each.encode()) <= 190 for each in given)


def test_milvus_gives_the_same(lite, folder):
    with soundsearch.open(lite) as lib:
        lib.ingest(folder / "s")
    served = Server(lite, workers=1)
    try:
        found = served.get("/facets", params={"where": "modified < '2024-07'"}).json()
        months = [{"month": month, "clips": 1} for month in ("2024-01", "2024-06")]
        assert found["total"] == 2 and found["months"] == months
        uri = str(folder / "s" / "a" / "bell.wav")
        content = unzipped(export(served, clip=[uri], sound="files"))["bell.wav"]
        assert content == Path(uri).read_bytes()
        assert uri in export(served, clip=[uri], format="m3u").text
    finally:
        served.close()


# What filters can tell apart


def test_facets_are_what_filters_find(server, folder):
    with soundsearch.open(folder / "l") as lib:
        found = server.get("/facets", params={"least": 0.3}).json()
        assert found["total"] == len(lib) == 15
        labels = {tuple(row["path"]): row["clips"] for row in found["labels"]}
        assert ("Sounds of things",) in labels or len(labels) > 3
        for path, count in labels.items():
            assert len(lib.where("label[:name] >= 0.3", name=path[-1])) == count, path
        assert list(labels) == sorted(labels)
        folders = {row["folder"]: row["clips"] for row in found["folders"]}
        top = str(folder)
        assert folders == {f"{top}/s": 3, f"{top}/s/a": 1, f"{top}/s/b": 2, f"{top}/s/b/c": 1,
                           f"{top}/h": 10, f"{top}/in.tar": 1, top: 13}  # fmt: skip
        for row in found["folders"]:
            assert len(lib.where("uri like :p", p=row["pattern"])) == row["clips"], row
        for row in found["durations"]:
            least, below = row["least"], row["below"] or 1e9
            some = lib.where("duration >= :a and duration < :b", a=least, b=below)
            assert len(some) == row["clips"]
        assert sum(row["clips"] for row in found["durations"]) == 15
        months = {row["month"]: row["clips"] for row in found["months"]}
        assert months["2024-01"] == months["2024-06"] == 1
        assert len(lib.where("modified >= '2024-01' and modified < '2024-02'")) == 1
        assert found["undated"] == len(lib.where("modified is missing")) == 1
        some = server.get("/facets", params={"where": "duration < 2"}).json()
        assert some["total"] == 10 and some["folders"] == []
    assert "least: expected" in problem(server.get("/facets?least=2"), 422)


def test_all_who_ask_at_once_share_one_count(server, monkeypatch):
    counted, count = [], questions.facets_of

    def slowly(*given):
        counted.append(given)
        until(lambda: len(server._server.server_state.tasks) == 8)  # all have asked
        time.sleep(0.1)
        return count(*given)

    monkeypatch.setattr(questions, "facets_of", slowly)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: server.get("/facets?least=0.4").json(), range(8)))
    assert len(counted) == 1 and all(each == found[0] for each in found)
