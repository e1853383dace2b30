"""Looking after a library on its page: an ingest, failures, and the labels of a recording."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support.page import shown
from support.server import Server
from support.sounds import noise, tone, write
from support.stores import new_clip

import soundsearch
from soundsearch.cli.main import main

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

MARKUP = '<img src=x onerror="hacked=1">&amp;.wav'
HOURS = 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    top = tmp_path_factory.mktemp("page")
    write(top / "s" / MARKUP, tone(440, 8))
    (top / "s" / "broken.wav").write_text("no sound")
    for number in range(6):
        write(top / "new" / f"{number}.wav", noise(number, 5))
    (top / "new" / "empty.wav").write_bytes(b"")
    with soundsearch.open(top / "l") as lib:
        lib.ingest(top / "s")
        store = lib._session.store
        count = round(HOURS * 3600 / 0.96)
        long = new_clip("/gone/night.wav", count, 1, dimension=store.settings.dimension)
        with store.writing():
            store.add([long])
    return top


@pytest.fixture(scope="module")
def server(folder):
    served = Server(folder / "l", workers=1, ingest=[str(folder / "new")])
    yield served
    served.close()


def found(folder, label) -> list[str]:
    """What the command line finds for a label of people."""
    command = ["query", "--label", label, "--where", f"human_label['{label}']", "--json"]
    result = CliRunner().invoke(main, [*command, "--library", str(folder / "l")])
    assert result.exit_code == 0, result.output
    return [json.loads(line)["uri"] for line in result.stdout.splitlines()]


def test_an_ingest_moves_and_ends_and_its_failures_are_shown(page, server, folder):
    page.go("/library")
    page.at(".failures li").wait_for()
    assert "broken.wav" in page.at(".failures li").inner_text()
    assert "2" in page.at(".facts dd").first.inner_text()
    assert page.violations() == []
    page.page.evaluate(
        """new MutationObserver(() => {
            const said = document.querySelector(".running progress + p")?.textContent;
            if (said) (window.seen ??= new Set()).add(said);
        }).observe(document.body, { subtree: true, childList: true, characterData: true })"""
    )
    assert page.at("#folder").input_value() == str(folder / "new")
    page.at("#folder").fill(str(folder / "s"))
    page.at(".ingest form button").click()
    page.at(".ingest .problem").wait_for()
    assert "none of the folders" in page.at(".ingest .problem").inner_text()
    page.at("#folder").fill(str(folder / "new"))
    page.press("Enter")
    page.at("[role=status]:has-text('Ingested')").wait_for(timeout=60_000)
    assert "(6 added, 1 failed)" in page.at(".ingest [role=status]").inner_text()
    assert "files" in page.page.evaluate("[...window.seen].join()")
    page.at(".failures li:has-text('empty.wav')").wait_for()
    assert "is empty" in page.at(".failures li:has-text('empty.wav')").inner_text()
    page.until("document.querySelector('.facts dd').textContent === '8'")
    page.page.reload()
    page.at("[role=status]:has-text('Ingested')").wait_for()


def test_without_leave_the_command_is_told(browser, folder):
    server = Server(folder / "l")
    with shown(browser, server) as page:
        page.go("/library")
        page.at(".ingest code").wait_for()
        told = page.at(".ingest code").inner_text()
        assert told == f"soundsearch ingest FOLDER --library {folder / 'l'}"
        assert not page.at("#folder").count()
    server.close()


def bars(page, by) -> list[str]:
    """The names of the events of the timeline that are by someone, once there are some."""
    buttons = f"[...document.querySelectorAll('.event[data-by={by}] button')]"
    return page.until(f"{buttons}.map((each) => each.ariaLabel)")


def test_a_label_is_corrected_and_found(page, server, folder):
    page.go("/clip/1")
    [name, *_] = bars(page, "head")
    assert page.at("h1").inner_text() == MARKUP
    assert page.page.title() == f"{MARKUP} – soundsearch"
    page.press("ArrowRight")
    assert page.at(".what").inner_text() == name
    label = name.partition(",")[0]
    page.press("x")
    assert bars(page, "no")[0].startswith(label)
    page.press("u")
    page.at(f'.event[data-by="head"] button[aria-label="{name}"]').wait_for()
    page.until("document.activeElement.matches('.event [aria-current]')")
    page.press("e", "Escape")
    page.until("document.activeElement.matches('.event [aria-current]')")
    page.press("c")
    assert bars(page, "people")[0].startswith(label) and found(folder, label)
    assert page.violations(in_dark=True) == []
    page.at("#label").fill("")
    page.at("#label").press_sequentially("chirp")
    page.until("document.querySelector('#classes option[value*=Chirp]')?.value")
    page.at("#label").fill("Dgo")
    page.at("form button:has-text('Change')").click()
    page.at(".correct > .problem").wait_for()
    assert "similar: Dog" in page.at(".correct > .problem").inner_text()
    page.at("#label").fill("dog")
    page.at("#until").fill("3.5")
    page.press("Enter")
    page.at('.event button[aria-label^="Dog, 0:00.00 to 0:03.50, by people"]').wait_for()
    assert found(folder, "Dog") == [str(folder / "s" / MARKUP)]
    page.page.reload()
    page.at('.event button[aria-label^="Dog, 0:00.00 to 0:03.50, by people"]').wait_for()
    page.go("/?label=Dog&where=human_label%5B'Dog'%5D")
    assert page.names() == [MARKUP] and page.at(".label.given").first.inner_text() == "Dog"


def test_a_stretch_is_marked_played_and_named(page, server):
    page.go("/clip/1")
    page.at(".tile img").first.wait_for()
    box = page.at(".strip").bounding_box()

    def x(second):
        return box["x"] + box["width"] * second / 8

    def drag(begin, end, y):
        page.page.mouse.move(begin, y)
        page.page.mouse.down()
        page.page.mouse.move((begin + end) / 2, y, steps=3)
        page.page.mouse.move(end, y)
        page.page.mouse.up()

    middle = box["y"] + box["height"] / 2
    page.page.mouse.click(x(2), middle)
    page.until("import('/page/player.js').then((m) => m.position() > 2.2)")
    assert page.player()["start"] == pytest.approx(2, abs=0.05)
    page.press("Escape")
    drag(x(6), x(4), middle)
    assert float(page.at("#from").input_value()) == pytest.approx(4, abs=0.05)
    assert float(page.at("#until").input_value()) == pytest.approx(6, abs=0.05)
    link = page.at("text=Find in library").get_attribute("href")
    assert link.startswith("/?clip=1&at=4") or link.startswith("/?clip=1&at=3.9")
    page.at("#label").fill("Rain")
    page.at("form button:has-text('Add')").click()
    bar = page.at('.event[data-by="people"] button[aria-label^="Rain"]')
    bar.wait_for()
    bar.focus()
    page.press("Enter")  # as a click does, chooses and plays it
    page.until("import('/page/player.js').then((m) => m.position() > 4.2)")
    page.press("Escape")
    bar.focus()
    page.press("Enter")
    edge = page.at(".edge.offset").bounding_box()
    drag(edge["x"] + 5, x(7.1), edge["y"] + edge["height"] / 2)
    page.at('.event button[aria-current][data-item^="Rain"][data-item*="-7."]').wait_for()
    said = {each["label"]["name"]: each for each in server.get("/clips/1/events").json()["said"]}
    assert said["Rain"]["offset"] == pytest.approx(7.1, abs=0.1)
    page.press("Escape")
    page.at("#label").fill("Cat")
    page.at("form button:has-text('Add')").click()
    page.at(".whole li:has-text('Cat')").wait_for()
    page.at("button:has-text('Undo')").click()
    page.at(".whole li:has-text('Cat')").wait_for(state="detached")


def test_hours_are_zoomed_and_scrolled(page):
    page.go("/clip/2")
    page.at(".strip.far").wait_for()
    page.until("document.querySelectorAll('.event').length")
    assert page.at(".rows li").count() <= 30 and page.at(".event").count() < 3000
    for _ in range(5):
        page.press("+")
    assert page.address == "/clip/2?at=1743.75-1856.25"
    page.at(".strip .problem").wait_for()
    assert "still in the library" in page.at(".strip .problem").inner_text()
    page.at(".zooming input").focus()
    page.press("Home")
    assert page.address == "/clip/2?at=0-112.5"
    page.page.reload()
    page.at(".rows li").first.wait_for()
    assert page.at(".zooming .time").inner_text() == "0:00.0–1:52.5"
    page.at("h1").click()
    page.press("0")
    assert page.address == "/clip/2"
    page.go("/clip/99")
    page.at(".problem").wait_for()
    assert "no such recording" in page.at("h1").inner_text()
