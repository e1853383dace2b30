"""The page of a map in Chromium: pointed at, clicked, searched, lassoed, played."""

from __future__ import annotations

import json
import os
import re
import shutil
from io import BytesIO

import pytest
from support.sounds import noise, tone, write

import soundsearch

MARKUP = '<img src=x onerror="hacked=1">&amp;.wav'
NAMES = [
    "low.wav",
    "high.wav",
    "hiss.ogg",
    MARKUP,
    "\u202egpj.wav",
    "line\u2028end.flac",
    "café ♫.wav",
]
VALUE = "</script><script>hacked=1</script><!--"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A page, and below it the sounds that it is of."""
    folder = tmp_path_factory.mktemp("map")
    for number, name in enumerate(NAMES):
        sound = noise(number, 2) if "hiss" in name else tone(200 * 1.7**number, 2)
        write(folder / "sounds" / "deep"[: 4 * (number % 2)] / name, sound)
    odd = os.fsencode(folder / "sounds") + b"/odd \xff.wav"
    shutil.copyfile(folder / "sounds" / "low.wav", odd)
    with open(odd, "r+b") as file:  # another content
        file.seek(2000)
        file.write(bytes(400))
    with soundsearch.open(folder / "lib") as lib:
        lib.ingest(folder / "sounds")
        lib.add(noise(9, 2), 16_000, uri="track:1")
        low = str(folder / "sounds" / "low.wav")
        lib.tag({low: {"mic": VALUE}, "track:1": {"mic": "AKG"}})
        made = lib.map(method="pca")
        made.save(folder / "map.html")
        (folder / "uris.json").write_text(json.dumps(made.uris))
    return folder


class Shown:
    """A page, and where the clips are on it."""

    def __init__(self, page, folder):
        self.page, self.at = page, page.locator
        self.uris = json.loads((folder / "uris.json").read_text())
        self.errors = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self.heard)

    def heard(self, said):
        if "GL Driver Message" not in said.text:  # of how fast it is
            self.errors.append(said.text)

    def number(self, end):
        [number] = [at for at, uri in enumerate(self.uris) if uri.endswith(end)]
        return number

    def place(self, end):
        x, y = self.page.evaluate(f"soundsearchMap.place({self.number(end)})")
        box = self.at("#overlay").bounding_box()
        return box["x"] + x, box["y"] + y

    def listed(self):
        return self.at("#list button > span").all_inner_texts()

    def until(self, program):
        for _ in range(200):
            if found := self.page.evaluate(program):
                return found
            self.page.wait_for_timeout(20)
        raise AssertionError(f"{program} never came true")


@pytest.fixture(scope="module")
def tab(browser):
    """One page for all tests, each of which loads the map anew: a new one takes more."""
    with browser.new_context() as context:
        yield context.new_page()


@pytest.fixture
def shown(tab, folder, request):
    options = getattr(request, "param", {})
    tab.set_viewport_size({"width": 1000, "height": 700})
    tab.goto("about:blank")
    made = Shown(tab, folder)
    made.page.goto((folder / "map.html").as_uri() + options.get("hash", ""))
    yield made
    assert made.errors == []
    assert made.page.evaluate("typeof hacked") == "undefined"


def assert_drawn(shown, painter):
    """A clip is where it is said to be, in one of the legend's colours."""
    assert shown.page.evaluate("document.documentElement.dataset.painter") == painter
    x, y = shown.place("low.wav")
    shown.until("soundsearchMap.frames > 0")
    png = shown.page.screenshot(clip={"x": x - 1, "y": y - 1, "width": 2, "height": 2})
    image = pytest.importorskip("PIL.Image").open(BytesIO(png)).convert("RGB")
    chosen = shown.at("#legend i").evaluate_all(
        "all => all.map(each => getComputedStyle(each).backgroundColor)"
    )
    found = image.getpixel((0, 0))
    colours = [tuple(map(int, re.findall(r"\d+", colour))) for colour in chosen]
    assert min(sum(abs(a - b) for a, b in zip(found, each, strict=True)) for each in colours) < 120


def test_a_clip_is_drawn_and_named_where_it_is(shown):
    assert_drawn(shown, "pixels")
    shown.page.mouse.move(*shown.place("low.wav"))
    tip = shown.at("#tip").inner_text()
    assert tip.startswith("low.wav\n") and f"mic: {VALUE}" in tip and "2.0 s, " in tip
    assert re.search(r"[A-Z][\w ,]+ 0\.\d\d", tip)
    shown.page.mouse.move(*shown.place('onerror="hacked=1">&amp;.wav'))
    assert shown.at("#tip p").first.inner_text() == MARKUP
    shown.page.mouse.move(*shown.place("\u202egpj.wav"))
    assert shown.at("#tip p").first.inner_text() == "\\u202egpj.wav"
    shown.page.mouse.move(5, 690)
    assert shown.at("#tip").is_hidden()


def test_search_colours_legend_and_keys(shown):
    assert len(shown.listed()) == 9
    shown.at("#search").fill("HIGH wav")
    shown.until("document.getElementById('status').textContent === '1 clip found'")
    assert shown.listed() == ["high.wav"]
    shown.at("#search").fill("")
    shown.until("document.getElementById('status').textContent === '9 clips'")
    assert shown.at("#by option").all_inner_texts() == [
        "Category",
        "Label",
        "Folder",
        "Tag: mic",
    ]
    shown.at("#by").select_option("Tag: mic")
    legend = [text.split("\n") for text in shown.at("#legend button").all_inner_texts()]
    assert legend == [[VALUE, "1"], ["AKG", "1"], ["none", "7"]]
    none = shown.at("#legend button").nth(2)
    none.click()
    assert none.get_attribute("aria-pressed") == "false"
    assert sorted(shown.listed()) == ["low.wav", "track:1"]
    shown.page.mouse.move(*shown.place("high.wav"))
    assert shown.at("#tip").is_hidden()
    none.click()
    assert len(shown.listed()) == 9
    before = shown.place("low.wav")
    shown.at("#overlay").focus()
    shown.page.keyboard.press("ArrowRight")
    shown.page.keyboard.press("+")
    assert shown.place("low.wav") != before
    shown.page.keyboard.press("0")
    assert shown.place("low.wav") == pytest.approx(before)
    shown.page.mouse.move(*before)
    shown.page.mouse.wheel(0, -300)
    shown.until("soundsearchMap.view.zoom > 1.1")
    assert shown.place("low.wav") == pytest.approx(before, abs=1)  # zoomed about the pointer
    assert shown.place("high.wav") != pytest.approx(before, abs=1)


def test_a_lasso_makes_a_list(shown):
    x, y = shown.place("high.wav")
    shown.at("#lasso").click()
    shown.page.mouse.move(x - 9, y - 9)
    shown.page.mouse.down()
    for step in [(x + 9, y - 9), (x + 9, y + 9), (x - 9, y + 9)]:
        shown.page.mouse.move(*step)
    shown.page.mouse.up()
    assert shown.at("#status").inner_text() == "1 clip in the lasso"
    assert shown.listed() == ["high.wav"]
    with shown.page.expect_download() as found:
        shown.at("#save").click()
    saved = found.value.path().read_text()
    assert saved == f"{shown.uris[shown.number('high.wav')]}\n"
    shown.at("#copy").click()
    shown.until("document.getElementById('status').textContent === '1 path copied'")
    shown.page.keyboard.press("Escape")
    assert len(shown.listed()) == 9


def test_a_click_plays_the_clip(shown, folder):
    moved = "(() => { const audio = document.getElementById('audio'); return audio.currentTime })()"
    for name in ["low.wav", MARKUP, "hiss.ogg", "odd \udcff.wav", "café ♫.wav"]:
        shown.page.mouse.click(*shown.place(name))
        assert shown.at("#playing").inner_text() == name.replace("\udcff", "\\xff")
        assert 0 < shown.until(moved) <= 2.1, name
        assert shown.page.evaluate("Math.round(document.getElementById('audio').duration)") == 2
        assert shown.at("#problem").inner_text() == ""
        shown.page.mouse.click(*shown.place(name))
        shown.until("document.getElementById('audio').paused")
    # What cannot be played is said.
    shown.page.mouse.click(*shown.place("track:1"))
    assert "no file" in shown.at("#problem").inner_text()
    file = folder / "sounds" / "deep" / "high.wav"
    os.rename(file, folder / "away")
    try:
        shown.at("#list button", has_text="high.wav").press("Enter")
        shown.until("document.getElementById('problem').textContent")
    finally:
        os.rename(folder / "away", file)
    assert str(file) in shown.at("#problem").inner_text()
    # Chromium itself says that a file was not found.
    shown.errors[:] = [said for said in shown.errors if "ERR_FILE_NOT_FOUND" not in said]


@pytest.mark.parametrize("shown", [{"hash": "#webgl"}], ids=["webgl"], indirect=True)
def test_webgl_draws_points_where_they_are(shown):
    assert_drawn(shown, "WebGL")


def test_a_small_screen_and_no_connection(shown):
    shown.page.set_viewport_size({"width": 390, "height": 800})
    assert shown.page.evaluate("document.documentElement.scrollWidth") == 390
    assert shown.at("#overlay").bounding_box()["height"] > 400
    unnamed = """[...document.querySelectorAll("button, input, select")].filter(
      (each) => !each.textContent.trim() && !each.ariaLabel && !each.labels?.length).length"""
    assert shown.page.evaluate(unnamed) == 0
    said = shown.page.evaluate(
        """async () => {
          const found = [];
          addEventListener("securitypolicyviolation", (event) =>
            found.push(event.violatedDirective));
          await fetch("http://127.0.0.1:9/").catch(() => 0);
          new Image().src = "http://127.0.0.1:9/a.png";
          const script = document.createElement("script");
          script.text = "hacked=1";
          document.body.append(script);
          await new Promise((done) => setTimeout(done, 50));
          return found;
        }"""
    )
    assert {"connect-src", "img-src", "script-src-elem"} <= set(said)
    shown.errors.clear()  # Chromium says so too
