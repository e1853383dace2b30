"""The server's page: its files, addresses, list and player, in a real browser."""

from __future__ import annotations

import gzip
import re
from importlib.resources import files

import httpx
import pytest
from support.browser import chromium
from support.page import shown
from support.server import Server
from support.sounds import noise, tone, write

import soundsearch

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

MARKUP = '<img src=x onerror="hacked=1">&amp;.wav'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    top = tmp_path_factory.mktemp("page")
    for number in range(4):
        write(top / "s" / f"tone{number}.wav", tone(300 + 200 * number, 2 + number))
    write(top / "s" / "deep" / MARKUP, noise(1, 3))
    with soundsearch.open(top / "l") as lib:
        lib.ingest(top / "s")
        lib.add(noise(2, 2), 16_000, uri="track:1", tags={"<b>": "</script>"})
    return top


@pytest.fixture(scope="module")
def server(folder):
    served = Server(folder / "l", workers=1)
    yield served
    served.close()


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser, server):
    with shown(browser, server) as made:
        yield made


def test_files_are_those_of_the_page_and_no_others(server):
    client = httpx.Client(base_url=server.url, trust_env=False)
    names = {each.name for each in files("soundsearch.web").joinpath("page").iterdir()}
    total = 0
    for name in {"scatter.js", *names} - {"index.html", "vendor"}:
        found = client.get(f"/page/{name}")
        assert found.status_code == 200 and found.headers["content-encoding"] == "gzip", name
        total += len(gzip.compress(found.content))
        again = client.get(f"/page/{name}", headers={"If-None-Match": found.headers["etag"]})
        assert again.status_code == 304 and not again.content
    assert total < 200_000
    for name in ["index.html", "vendor", "vendor/package.json", "../pages.py", "%2e%2e%2fpages.py"]:
        assert client.get(f"/page/{name}").status_code == 404
    first, second = client.get("/"), client.get("/clip/1")
    policy = first.headers["content-security-policy"]
    assert "unsafe" not in policy and policy != second.headers["content-security-policy"]
    nonce = re.search(r"style-src 'self' 'nonce-([\w-]+)';", policy)[1]
    assert f'nonce="{nonce}"' in first.text and "{nonce}" not in first.text
    client.close()


def test_an_address_shows_its_answer(page, server):
    first = server.get("/clips", params={"limit": 1}).json()["clips"][0]
    page.go(f"/?clip={first['id']}")
    hits = server.query(json={"clip": first["id"], "k": 50}).json()["hits"]
    assert len(page.names()) == len(hits) == 5
    assert page.page.title() == f"like {first['id']} – soundsearch"
    assert MARKUP in page.names() and page.at(".tag").inner_text() == "<b> </script>"
    assert page.violations() == []


def test_what_is_nowhere_is_said_so(page):
    page.go("/no/such")
    assert "nothing at this address" in page.at("h1").inner_text()
    page.at("main a").click()
    assert page.address == "/"
