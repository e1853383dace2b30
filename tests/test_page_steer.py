"""The page steers and filters answers, and keeps some: in a real browser."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from support.server import Server
from support.sounds import noise, tone, write

import soundsearch

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

HOSTILE = '=1+1 "<img src=x onerror=hacked=1>\u202e.wav'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    top = tmp_path_factory.mktemp("steer")
    for number in range(4):
        path = write(
            top / "s" / "tones" / f"tone{number}.wav", tone(300 + 200 * number, 2 + number)
        )
        os.utime(path, (1_704_067_200 + 40 * 86_400 * number,) * 2)
    write(top / "s" / "copies" / "copy.wav", tone(300, 2))
    for number in range(3):
        write(top / "s" / "hiss" / f"hiss{number}.wav", noise(number, 12 + 20 * number))
    write(top / "s" / "hiss" / HOSTILE, noise(9, 3))
    with soundsearch.open(top / "l") as lib:
        lib.ingest(top / "s")
        tones = sorted(clip.uri for clip in lib if "tones" in clip.uri)
        lib.tag(
            {uri: {"mic's": "A'KG" if number % 2 else "Rode"} for number, uri in enumerate(tones)}
        )
    return top


@pytest.fixture(scope="module")
def library(folder):
    with soundsearch.open(folder / "l") as lib:
        yield lib


@pytest.fixture(scope="module")
def ids(library):
    return {Path(clip.uri).stem: clip.id for clip in library}


@pytest.fixture(scope="module")
def server(folder):
    served = Server(folder / "l", workers=1)
    yield served
    served.close()


def asked(page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.address).query)


def row(page, name):
    return page.at(".hit", has=page.at(".name b", has_text=name))


def button(page, name, within=None):
    """A button; those of a row are there while it is selected."""
    if within:
        within.click()
    return (within or page.page).get_by_role("button", name=name, exact=True)


def until_names(page, wanted):
    """Wait until the list shows these names, in any order."""
    page.until(
        "[...document.querySelectorAll('.hit .name b')].map((b) => b.textContent).sort().join()"
        f" === {sorted(wanted)!r}.sort().join()"
    )


def test_more_like_this_and_not_this(page, library, ids, server):
    page.go(f"/?clip={ids['tone0']}")
    page.names()
    button(page, "Not this", row(page, "tone3")).click()
    assert asked(page) == {"clip": [str(ids["tone0"])], "unlike": [str(ids["tone3"])]}
    row(page, "tone3").wait_for(state="detached")
    row(page, "hiss1").click()
    page.press("m")
    row(page, "hiss1").wait_for(state="detached")
    assert asked(page)["like"] == [str(ids["hiss1"])]
    found = page.until("document.querySelectorAll('.hit').length === 6 && 1") and page.names()
    body = {name: [int(each) for each in values] for name, values in asked(page).items()}
    expected = server.query(json={**body, "clip": ids["tone0"], "k": 50}).json()["hits"]
    assert [f"{Path(hit['uri']).name}" for hit in expected if "onerror" not in hit["uri"]] == [
        name for name in found if "onerror" not in name
    ]
    chips = page.at(".chip").all_inner_texts()
    assert [chip.split()[-1] for chip in chips] == ["hiss1.wav", "tone3.wav"]
    # Reload shows the same, and asks for the names.
    page.page.reload()
    page.at(".chip", has_text="hiss1.wav").wait_for()
    page.page.go_back()
    page.at(".chip", has_text="hiss1.wav").wait_for(state="detached")
    assert "like" not in asked(page)
    button(page, "Remove: not like tone3.wav").click()
    assert asked(page) == {"clip": [str(ids["tone0"])]}
    # Similar asks anew, among the same clips.
    page.go(f"/?like={ids['tone0']}&unlike={ids['tone1']}&where=duration+<+30")
    button(page, "Similar", row(page, "hiss0")).click()
    assert asked(page) == {"clip": [str(ids["hiss0"])], "where": ["duration < 30"]}
    # Without an example for, none is against.
    page.go(f"/?like={ids['tone0']}&unlike={ids['tone1']}")
    button(page, "Remove: more like tone0.wav").click()
    assert page.address == "/"


def test_filters_change_answers_and_address(page, library, ids):
    page.go(f"/?clip={ids['tone0']}")
    page.names()
    button(page, "Filters").click()
    page.page.get_by_label("heard with at least").select_option("0.1")
    assert "where" not in asked(page)
    page.page.get_by_role("searchbox", name="Search labels").fill("noise")
    box = page.page.get_by_role("checkbox", name="White noise")
    box.check()
    where = "label['White noise'] >= 0.1"
    assert asked(page)["where"] == [where]
    noisy = [Path(clip.uri).name for clip in library.where(where)]
    assert 0 < len(noisy) < 9
    page.until(f"document.querySelectorAll('.hit').length === {len(noisy)}")
    page.at("summary", has_text="Folders").click()
    page.at("summary", has_text="Duration").click()
    page.at("#filters").get_by_label("below").fill("20")
    page.at("#filters").get_by_label("below").press("Enter")
    assert asked(page)["where"] == [f"{where} and duration < 20"]
    page.page.go_back()
    assert asked(page)["where"] == [where]
    # Shown, before it is left again.
    page.until(
        "[...document.querySelectorAll('#filters input')].every((each) => each.value !== '20')"
    )
    page.page.go_back()
    page.until("document.querySelectorAll('.hit').length === 8")
    assert not box.is_checked() and "where" not in asked(page)
    # A folder, a bar of durations, a tag, days: all hold at once, and each chip takes one away.
    page.page.get_by_role("checkbox", name="tones").check()
    until_names(page, ["tone1.wav", "tone2.wav", "tone3.wav"])
    button(page, "2–5 s, 5 clips").click()
    until_names(page, ["tone1.wav", "tone2.wav"])
    page.at("summary", has_text="Tags").click()
    page.page.get_by_role("checkbox", name="A'KG").check()
    until_names(page, ["tone1.wav"])
    page.at("summary", has_text="Date of the file").click()
    page.at("#filters").get_by_label("to", exact=True).fill("2024-01-31")
    page.at("#filters").get_by_label("to", exact=True).press("Tab")
    page.page.get_by_text("Nothing found").wait_for()
    assert len(page.at(".chip").all()) == 4
    [where] = asked(page)["where"]
    assert len(library.where(where)) == 0
    assert where.endswith("/%' and duration >= 2 and duration < 5 and modified < '2024-02-01' "
                          "and tag['mic\\'s'] == 'A\\'KG'")  # fmt: skip
    page.page.reload()
    assert page.at("#filters").get_by_label("to", exact=True).input_value() == "2024-01-31"
    for name in ("Remove: until 2024-01-31", "Remove: mic's: A'KG", "Remove: 2–5 s"):
        button(page, name).click()
    until_names(page, ["tone1.wav", "tone2.wav", "tone3.wav"])


def test_a_filter_as_text(page, library, ids):
    page.go("/?where=not+padded+and+duration+<+3+and+uri+like+'%25o%25'")
    until_names(page, ["tone0.wav", "copy.wav"])
    button(page, "Filters").click()
    text = page.page.get_by_label("Filter as text")
    assert text.input_value() == "not padded and uri like '%o%'"
    text.fill("nothing ==")
    text.press("Enter")
    page.at("#filter-problem").wait_for()
    assert "expected a field" in page.at("#filter-problem").inner_text()
    assert asked(page)["where"] == ["duration < 3 and nothing =="]
    text.fill("padded or uri like '%copy%'")
    text.press("Enter")
    until_names(page, ["copy.wav"])
    assert asked(page)["where"] == ["duration < 3 and (padded or uri like '%copy%')"]


def test_order_groups_and_duplicates(page, ids, server):
    page.go(f"/?clip={ids['tone1']}")
    assert {"tone0.wav", "copy.wav"} <= set(page.names())
    button(page, "Filters").click()
    page.page.get_by_label("Hide duplicates").check()
    page.until("document.querySelectorAll('.hit').length === 7")
    page.page.get_by_label("At most of a folder").select_option("1")
    found = server.query(json={"clip": ids["tone1"], "per": "folder:1, content:1"}).json()["hits"]
    page.until(f"document.querySelectorAll('.hit').length === {len(found)}")
    page.page.get_by_label("Order by").select_option("related")
    page.page.get_by_label("Score from").fill("-1")
    page.page.get_by_label("Score from").press("Enter")
    page.page.get_by_label("Moments, not clips").check()
    assert asked(page) == {
        "clip": [str(ids["tone1"])], "per": ["folder:1, content:1"], "ranking": ["related"],
        "min_score": ["-1"], "segments": ["true"],
    }  # fmt: skip
    button(page, "Remove: no duplicates").click()
    assert asked(page)["per"] == ["folder:1"]


def test_a_drawer_on_a_narrow_screen(page, ids):
    page.page.set_viewport_size({"width": 390, "height": 844})
    page.go(f"/?clip={ids['tone0']}")
    page.names()
    assert not page.at("#filters").count()
    button(page, "Filters").click()
    page.page.get_by_role("dialog", name="Filters").wait_for()
    page.at("summary", has_text="Folders").click()
    page.page.get_by_role("checkbox", name="hiss").check()
    assert page.violations(in_dark=True) == []
    page.press("Escape")
    page.at("#filters").wait_for(state="detached")
    page.until("document.querySelectorAll('.hit').length === 4")
    assert page.page.evaluate("document.documentElement.scrollWidth") == 390


def downloaded(page, name) -> tuple[str, bytes]:
    with page.page.expect_download() as found:
        page.page.get_by_role("button", name=name, exact=True).click()
    return found.value.suggested_filename, Path(found.value.path()).read_bytes()


def test_the_tray_is_kept_ordered_and_saved(page, library, ids, folder):
    page.go("/tray")
    page.at("text=Nothing here yet").wait_for()
    page.go(f"/?clip={ids['tone0']}")
    page.names()
    hostile = row(page, "onerror")
    hostile.click()
    page.press("t")
    for name in ("tone2", "hiss0"):
        button(page, "In the tray", row(page, name)).click()
    assert button(page, "In the tray", hostile).get_attribute("aria-pressed") == "true"
    moments = [row(page, name).locator(".moment").text_content() for name in ("onerror", "tone2")]
    page.page.get_by_role("link", name="Tray").click()
    page.page.reload()
    first, *names = page.names()
    assert names == ["tone2.wav", "hiss0.wav"] and "\\u202e" in first
    assert page.at(".moment").all_text_contents()[:2] == moments
    assert page.violations() == []
    # Ordered by keys and by dragging; taken out.
    row(page, "hiss0").click()
    page.press("Shift+ArrowUp", "Shift+ArrowUp", "Shift+ArrowDown")
    page.until("document.querySelectorAll('.hit b')[1].textContent === 'hiss0.wav'")
    row(page, "tone2").drag_to(page.at(".hit").first)
    page.until("document.querySelector('.hit b').textContent === 'tone2.wav'")
    page.page.reload()
    assert page.names()[::2] == ["tone2.wav", "hiss0.wav"]
    # What is saved.
    name, content = downloaded(page, "ZIP of moments")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        inside = archive.namelist()
        assert [each.rpartition(".")[0].split(" ")[0] for each in inside] == [
            "tone2",
            "=1+1",
            "hiss0",
        ]
        assert all(archive.read(each)[:4] == b"RIFF" for each in inside)
        assert not any(mark in each for each in inside for mark in '<>"\u202e/')
    assert name == "sounds.zip"
    _, content = downloaded(page, "ZIP of files")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("tone2.wav") == (folder / "s/tones/tone2.wav").read_bytes()
    name, content = downloaded(page, "CSV")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert name == "sounds.csv" and [int(each["id"]) for each in rows][::2] == [
        ids["tone2"],
        ids["hiss0"],
    ]
    assert float(rows[0]["score"]) < 1 and rows[1]["uri"].endswith(HOSTILE)
    name, content = downloaded(page, "M3U")
    assert name == "sounds.m3u8" and str(folder / "s/hiss/hiss0.wav") in content.decode()
    # Shared by an address, to a browser that has another tray.
    button(page, "Copy address").click()
    page.until("navigator.clipboard.readText().then((text) => text.includes('/tray?item='))")
    address = page.page.evaluate("navigator.clipboard.readText()")
    row(page, "onerror").click()
    page.press("Delete")
    until_names(page, ["tone2.wav", "hiss0.wav"])
    page.page.goto(address + "&item=999@0-1&item=nonsense")
    page.page.get_by_text("3 sounds, 2 not in this library").wait_for()
    assert page.at(".moment").all_text_contents()[1] == moments[0]
    button(page, "Add all to my tray").click()
    page.page.get_by_role("link", name="My tray").click()
    assert len(page.names()) == 3 and page.address == "/tray"
    button(page, "Empty").click()
    page.at("text=Nothing here yet").wait_for()


def test_a_tray_that_others_wrote_does_no_harm(page, server, ids):
    page.go("/tray")
    page.at("text=Nothing here yet").wait_for()
    store = server.get("/info").json()["store"]
    good = {"clip_id": ids["tone0"], "uri": "/x/<b>.wav", "start": 0, "end": 1, "labels": []}
    for stored in ('"x"', "{", '[null,{"clip_id":"1"},3]', json.dumps([good])):
        assert not page.at(".hit").count()
        page.page.evaluate(  # as another window of the page does
            "([key, value]) => { localStorage.setItem(key, value);"
            " dispatchEvent(new StorageEvent('storage', { key })); }",
            [f"tray {store}", stored],
        )
    assert page.names() == ["<b>.wav"]
    page.page.reload()
    assert page.names() == ["<b>.wav"]


def test_a_row_leaves_the_browser(page, server, ids, folder):
    page.go(f"/?clip={ids['tone0']}")
    page.names()
    data = page.page.evaluate(
        """() => {
          const data = new DataTransfer(), row = document.querySelectorAll(".hit");
          const hit = [...row].find((each) => each.innerText.includes("tone3"));
          hit.dispatchEvent(new DragEvent("dragstart", { dataTransfer: data, bubbles: true }));
          return Object.fromEntries(data.types.map((type) => [type, data.getData(type)]));
        }"""
    )
    kind, name, url = data["downloadurl"].split(":", 2)
    assert kind == "audio/wav" and name.startswith("tone3 ") and name.endswith(".wav")
    assert url == data["text/uri-list"] and url.startswith(
        f"{server.url}/api/v1/clips/{ids['tone3']}/"
    )
    assert data["text/plain"] == str(folder / "s/tones/tone3.wav")
    with page.page.expect_download() as found:
        row(page, "tone3").hover()
        row(page, "tone3").get_by_role("link", name="Save as WAV").click()
    assert found.value.suggested_filename == name
    content = Path(found.value.path()).read_bytes()
    assert content == server.client.get(url).content and content[:4] == b"RIFF"
    row(page, "tone3").click()
    with page.page.expect_download() as found:
        page.press("d")
    assert found.value.suggested_filename == name
    page.press("c")
    page.at(".notice", has_text="Copied").wait_for()
    assert page.page.evaluate("navigator.clipboard.readText()") == data["text/plain"]
