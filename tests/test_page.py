"""The server's page: its files, addresses, list and player, in a real browser."""

from __future__ import annotations

import gzip
import json
import re
import socket
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
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
def clip(server):
    """The lowest tone's id, which the ingest may give to any clip."""
    clips = server.get("/clips", params={"limit": 100}).json()["clips"]
    return next(each["id"] for each in clips if each["uri"].endswith("tone0.wav"))


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


def test_the_package_has_the_page_but_not_how_it_is_made():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    root = Path(__file__).parent.parent
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert "soundsearch/web/page/vendor" in wheel["targets"]["wheel"]["exclude"]
    page = root / "soundsearch" / "web" / "page"
    own = [each for each in page.glob("*.js") if each.name != "vendor.js"]
    for each in own:
        text = each.read_text("utf-8")
        assert len(text.splitlines()) <= 300, each.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\b|https?://", text)
    lock = json.loads((page / "vendor" / "package-lock.json").read_text())["packages"]
    notices = (page / "vendor.js").read_text("utf-8")
    for name in lock[""]["dependencies"]:
        assert f"{name} {lock[f'node_modules/{name}']['version']} (" in notices
        assert name in (root / "NOTICE").read_text()


def test_an_address_shows_its_answer(page, server):
    first = server.get("/clips", params={"limit": 1}).json()["clips"][0]
    page.go(f"/?clip={first['id']}")
    hits = server.query(json={"clip": first["id"], "k": 50}).json()["hits"]
    assert len(page.names()) == len(hits) == 5
    name = first["uri"].rpartition("/")[2]
    page.until(f"document.title === 'like {name} – soundsearch'")
    assert MARKUP in page.names() and page.at(".tag").inner_text() == "<b> </script>"


def test_what_is_nowhere_is_said_so(page):
    page.go("/no/such")
    assert "nothing at this address" in page.at("h1").inner_text()
    page.at("main a").click()
    assert page.address == "/"


def chosen(page) -> str:
    """The name of the selected row, which must be the only one that Tab reaches."""
    assert page.at(".hit[tabindex='0']").count() == 1
    return page.at(".hit[aria-selected=true] .name b").inner_text()


def test_keys_move_through_the_list_and_play(page, server, clip):
    page.go(f"/?clip={clip}")
    names = page.names()
    hits = server.query(json={"clip": clip}).json()["hits"]
    page.press("j", "ArrowDown")
    assert chosen(page) == names[2]
    page.press("k")
    assert page.page.evaluate("document.activeElement.dataset.clip") == str(hits[1]["clip_id"])
    page.press("Space")
    page.until_player(f"m.position() > {hits[1]['start']} + 0.05")
    page.until_heard()
    playing = page.player()
    assert (playing["start"], playing["end"]) == (hits[1]["start"], hits[1]["end"])
    page.press("Space")
    page.until_player("m.player.value.state === 'paused'")
    page.press("Shift+Space")
    page.until_player("m.position() > 0.05")
    assert page.player()["end"] is None and page.at(".player .cut").inner_text() == names[1]
    page.at(".player input").focus()  # which takes no more than the keys that move it
    page.press("Escape")
    assert page.player()["state"] == "idle" and page.at(".player").count() == 0
    page.press("End")
    assert chosen(page) == names[-1]
    page.press("PageUp", "Home", "ArrowUp")
    assert chosen(page) == names[0]
    # What was near is fetched before it is asked for.
    page.press("j")
    page.page.wait_for_load_state("networkidle")
    page.page.context.set_offline(True)
    page.press("Space")
    page.until_heard()
    page.press("End", "Space", "Space")  # what was not fetched is given up
    assert page.player()["state"] in ("idle", "paused")
    page.page.context.set_offline(False)
    page.press("Home", "j", "Enter")
    page.until(f"location.search === '?clip={hits[1]['clip_id']}'")
    page.page.go_back()
    page.until("document.querySelector('.hit[aria-selected=true]')?.ariaRowIndex === '2'")
    assert page.address == f"/?clip={clip}" and page.names() == names


def test_what_cannot_be_played_says_why(page, server, clip):
    page.go(f"/?clip={clip}")
    page.at(".hit", has_text="track:1").locator(".press button").click()
    said = page.at(".player [role=alert]")
    said.wait_for()
    assert "is no file; the library keeps what was heard" in said.inner_text()
    page.press("Shift+Space")
    page.until_player("m.player.value.state === 'failed'")
    assert "is no file" in said.inner_text()
    page.press("k", "Space")  # others still are
    page.until_heard()


def test_a_spectrogram_is_shown_and_plays_from_where_it_is_clicked(page, clip):
    page.go(f"/?clip={clip}")
    page.names()
    page.press("s", "j")
    picture = page.at(".spectrogram img")
    page.until("document.querySelector('.spectrogram img')?.naturalWidth > 0")
    assert re.match(
        r"Spectrogram of tone\d.wav, 0:00.0 to 0:0\d.0, 50 to 8000 Hz", picture.get_attribute("alt")
    )
    assert page.at(".hertz span").all_inner_texts() == ["100", "500", "1k", "2k", "4k", "8k", "Hz"]
    size = page.at(".drawn").bounding_box()
    page.page.mouse.click(size["x"] + size["width"] / 2, size["y"] + 9)
    page.until_heard()
    assert page.player()["start"] >= 1
    assert page.violations(in_dark=True) == []
    page.press("s")
    assert picture.count() == 0


def test_more_rows_come_below_and_the_address_says_how_many(page, clip):
    page.go(f"/?clip={clip}&k=2")
    names = page.names()
    assert len(names) == 2
    page.press("End", "j")
    page.until("document.querySelectorAll('.hit').length === 5")
    assert page.names()[:2] == names and chosen(page) == page.names()[2]
    assert page.address == f"/?clip={clip}&k=52"
    page.page.reload()
    assert len(page.names()) == 5


def test_a_filter_alone_lists_clips(page):
    page.go("/?where=" + "duration%20%3E%202.5")
    assert sorted(page.names()) == sorted(["tone1.wav", "tone2.wav", "tone3.wav", MARKUP])
    assert page.at(".answers [role=status]").inner_text() == "4 clips"
    page.go("/?where=" + "duration%20%3E")
    assert "duration" in page.at(".problem").inner_text()


def test_keys_are_listed_and_not_taken_from_what_is_typed(page, clip):
    page.go(f"/?clip={clip}")
    names = page.names()
    page.press("?", "j")  # which is not the list's behind it
    page.at("dialog[open] dd", has_text="Play the moment").wait_for()
    assert page.violations() == []
    page.press("Escape")
    page.at("dialog").wait_for(state="hidden")
    assert chosen(page) == names[0]
    page.at("[aria-label='Use dark colours']").click()
    assert page.page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    page.page.reload()
    page.at("[aria-label='Use light colours']").wait_for()


def test_small_and_large_windows_hold_it(page, clip):
    for width in (390, 2560):
        page.page.set_viewport_size({"width": width, "height": 844})
        page.go(f"/?clip={clip}")
        page.names()
        assert page.page.evaluate("document.documentElement.scrollWidth") == width


def test_a_token_is_asked_for_once(browser, folder):
    served = Server(folder / "l", token="correct horse battery".replace(" ", "-"), workers=1)
    try:
        with shown(browser, served) as page:
            page.go("/?label=Sine%20wave")
            page.at("#token").fill("wrong")
            page.press("Enter")
            page.at(".token .problem", has_text="not the server's token").wait_for()
            assert page.violations() == []
            page.at("#token").fill("correct-horse-battery")
            page.press("Enter")
            assert len(page.names()) == 6 and page.at("#token").count() == 0
            page.page.reload()
            assert len(page.names()) == 6
    finally:
        served.close()


def break_off(port):
    """Be a server for a while, which is lost amid its answer to a question."""
    asked = b""
    with socket.create_server(("127.0.0.1", port)) as listener:
        while b"/query" not in asked:
            connection, _ = listener.accept()
            with connection:
                asked = connection.recv(1 << 16).partition(b"\r\n")[0]
                length = 2 if b"/health" in asked else 1000
                head = (
                    f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{{}}"
                )
                connection.sendall(head.encode())


def test_a_lost_server_is_waited_for(browser, folder, clip):
    served = Server(folder / "l", workers=1)
    with shown(browser, served) as page:
        page.go(f"/?clip={clip}")
        page.names()
        served.close()
        page.press("j", "Enter")
        break_off(served.port)
        page.until("document.querySelector('.banner, .answering .problem')")
        assert page.at(".answering .problem").count() == 0
        page.page.get_by_role("link", name="Tray").click()  # a view that was not loaded
        page.at(".banner", has_text="does not answer").wait_for()
        page.page.evaluate("history.go(-2)")
        page.until(f"location.search === '?clip={clip}'")
        page.names()
        page.page.go_forward()
        served = Server(folder / "l", port=served.port, workers=1)
        try:
            page.at(".banner").wait_for(state="detached")
            page.until("document.querySelector('.answers')?.ariaBusy === 'false'")
            assert page.address != f"/?clip={clip}" and len(page.names()) == 5
            page.page.get_by_role("link", name="Tray").click()
            page.at("main h1", has_text="Tray").wait_for(state="attached")
            page.errors.clear()
        finally:
            served.close()


def test_an_empty_library_says_how_to_fill_it_and_is_seen_to_grow(
    browser, server, folder, tmp_path
):
    found = server.query(json={"label": ["Sine wave"]}).json()["hits"]
    *_, third, last = nearest = [Path(hit["uri"]) for hit in found if "tone" in hit["uri"]]
    served = Server(tmp_path / "l", workers=1)
    try:
        with shown(browser, served) as page:
            page.go("/")
            page.at(".nothing").wait_for()
            command = f"soundsearch ingest FOLDER --library {tmp_path / 'l'}"
            assert page.at(".nothing code").inner_text() == command
            assert page.violations() == []
            with soundsearch.open(tmp_path / "l") as lib:
                lib.ingest(last)
            page.at(".nothing").wait_for(state="detached")
            # And the tray is kept, of a library that was not there when the page was opened.
            page.go("/?all=1")
            assert page.names() == [last.name]
            page.press("t")
            page.page.goto(f"{served.url}/tray")
            assert page.names() == [last.name]
            # What is asked once more is answered anew.
            page.go("/?label=Sine%20wave")
            assert page.names() == [last.name]
            with soundsearch.open(tmp_path / "l") as lib:
                lib.ingest(third)
            page.press("/", "ArrowDown")
            page.at("#option-0", has_text="Sine wave").click()
            page.until("document.querySelectorAll('.hit').length === 2")
            assert page.names() == [third.name, last.name]
            # What has come nearer meanwhile is found, and makes no other come twice.
            page.go("/?label=Sine%20wave&where=duration%20%3E%200&k=1")
            assert page.names() == [third.name]
            with soundsearch.open(tmp_path / "l") as lib:
                lib.ingest(nearest[0])
            page.at("button.more").click()
            page.until("document.querySelector('.answers')?.ariaBusy === 'false'")
            assert page.names() == [nearest[0].name, third.name, last.name]
    finally:
        served.close()


def test_from_a_label_to_the_tray_and_back(page):
    page.go("/?label=Sine%20wave")
    names = page.names()
    asked = page.address
    page.press("j", "Space")
    page.until_heard()
    page.press("m")
    page.names()
    assert "like=" in page.address
    page.press("t")
    page.page.get_by_role("link", name="Tray").click()
    page.until("location.pathname === '/tray'")
    [kept] = page.names()
    page.page.get_by_role("link", name="Library").click()
    page.until("location.pathname === '/library'")
    page.page.get_by_role("link", name="Tray").click()
    assert page.names() == [kept]
    page.press("o")
    page.until("location.pathname.startsWith('/clip/')")
    page.page.get_by_text(kept).first.wait_for()
    page.page.evaluate("history.go(-4)")
    page.until("location.search.includes('like=')")
    page.page.go_back()
    page.until(f"location.pathname + location.search === {json.dumps(asked)}")
    assert page.names() == names


def test_addresses_that_people_write_are_answered_or_told_why_not(page, clip):
    page.go(f"/?clip={clip}")
    names = page.names()
    page.go(f"/?clip={clip}&offset=2&k=2")
    assert page.names() == names[2:4]
    page.go(f"/?clip={clip}&k=none&offset=-1&utm=x")
    assert page.names() == names
    for address, said in (
        ("/?clip=99", "99"),
        ("/?clip=%00%3Cimg%3E", "expected a text"),
    ):
        page.go(address)
        assert said in page.at(".answering .problem").inner_text(), address
