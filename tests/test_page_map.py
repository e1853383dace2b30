"""The page's map in Chromium: made, hovered, picked, lassoed, coloured, by keys, without WebGL."""

from __future__ import annotations

import re

import pytest
from support.page import shown
from support.server import Server
from support.sounds import noise, tone, write

import soundsearch
from soundsearch.web import processes

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

MARKUP = '<img src=x onerror="hacked=1">&amp;.wav'
NAMES = ["low.wav", "mid.wav", "high.wav", "hiss.wav", MARKUP]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    top = tmp_path_factory.mktemp("map")
    for number, name in enumerate(NAMES):
        sound = noise(number, 2) if "hiss" in name else tone(200 * 1.7**number, 2)
        write(top / "s" / "deep"[: 4 * (number % 2)] / name, sound)
    with soundsearch.open(top / "l") as lib:
        lib.ingest(top / "s")
        lib.add(noise(9, 2), 16_000, uri="track:1", tags={"mic": "</script>"})
        lib.tag({str(top / "s" / "low.wav"): {"mic": "AKG"}})
    return top


@pytest.fixture(scope="module")
def server(folder):
    """A server without openTSNE, which takes seconds to load: maps are made by PCA."""
    without = "import sys; sys.modules['openTSNE'] = None; "
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(processes, "_PROGRAM", without + processes._PROGRAM)
        served = Server(folder / "l", workers=1)
        yield served
        served.close()


class Mapped:
    """A map that is shown, and where clips are on it."""

    def __init__(self, shown, server) -> None:
        self.shown, self.page, self.at = shown, shown.page, shown.at
        self.until, self.server = shown.until, server
        found = server.get("/clips", params={"limit": 100}).json()["clips"]
        self.ids = {clip["uri"].rpartition("/")[2]: clip["id"] for clip in found}
        self.order = sorted(self.ids.values())

    def go(self, path="/map?method=pca"):
        self.shown.go(path)
        self.until("window.soundsearchMap?.frames > 0")

    def number(self, name):
        """The clip's on the map, which has them by id."""
        return self.order.index(self.ids[name])

    def place(self, name):
        x, y = self.page.evaluate(f"soundsearchMap.place({self.number(name)})")
        box = self.at(".plot canvas >> nth=1").bounding_box()
        return box["x"] + x, box["y"] + y

    def around(self, *names):
        """Draw a lasso around clips."""
        places = [self.place(name) for name in names]
        left, right = (pick(x for x, _ in places) for pick in (min, max))
        top, bottom = (pick(y for _, y in places) for pick in (min, max))
        self.at("button", has_text="Lasso").first.click()
        self.page.mouse.move(left - 9, top - 9)
        self.page.mouse.down()
        for x, y in [(right + 9, top - 9), (right + 9, bottom + 9), (left - 9, bottom + 9)]:
            self.page.mouse.move(x, y, steps=4)
        self.page.mouse.up()

    def hears(self, name):
        """Wait until a clip is played, its sound advancing."""
        self.until(
            "import('/page/player.js').then(({ player, position }) => position() > 0"
            f" && player.value.clip?.clip_id === {self.ids[name]})"
        )

    def names(self):
        return self.shown.names()


@pytest.fixture
def mapped(page, server):
    return Mapped(page, server)


def test_a_map_is_made_shown_and_read(mapped):
    mapped.go("/map")
    assert mapped.at(".plot").get_attribute("data-painter") == "pixels"
    assert mapped.page.title() == "Map – soundsearch"
    about = mapped.at(".mapside p").first.inner_text().split("by")[0].strip()
    assert about == "6 clips"
    assert "pip install" in mapped.at(".mapside p.soft").nth(1).inner_text()
    mapped.page.mouse.move(*mapped.place(MARKUP))
    tip = mapped.at(".tip").inner_text()
    assert tip.startswith(MARKUP) and "2.0 s, " in tip and tip.endswith("/s")
    mapped.page.mouse.move(*mapped.place("track:1"))
    assert "mic: </script>" in mapped.at(".tip").inner_text()


def test_hovering_plays_after_the_first_click(mapped):
    mapped.go()
    mapped.page.mouse.move(*mapped.place("low.wav"))
    mapped.at(".tip").wait_for()
    mapped.page.wait_for_timeout(200)
    assert mapped.shown.player()["clip"] is None
    mapped.page.mouse.click(*mapped.place("low.wav"))
    mapped.hears("low.wav")
    assert mapped.names() == ["low.wav"] and f"pick={mapped.ids['low.wav']}" in mapped.shown.address
    mapped.page.mouse.move(*mapped.place("hiss.wav"), steps=3)
    mapped.hears("hiss.wav")
    mapped.page.mouse.move(5, 400)
    mapped.until("import('/page/player.js').then((m) => m.player.value.state === 'idle')")
    mapped.at("button", has_text="Hover plays").click()
    mapped.page.mouse.move(*mapped.place("high.wav"), steps=3)
    mapped.page.wait_for_timeout(200)
    assert mapped.shown.player()["state"] == "idle"


def test_a_lasso_is_a_list_with_an_address(mapped):
    mapped.go()
    mapped.around("high.wav")
    assert mapped.names() == ["high.wav"]
    assert re.search(r"lasso=[-\d.]+(%2C[-\d.]+){5,}", mapped.shown.address)
    address = mapped.shown.address
    mapped.at("button", has_text="Clear lasso").click()
    mapped.until("!location.search.includes('lasso')")
    mapped.page.go_back()
    assert mapped.names() == ["high.wav"]
    mapped.page.reload()
    assert mapped.names() == ["high.wav"] and mapped.shown.address == address
    mapped.go()
    mapped.around(*NAMES, "track:1")
    assert sorted(mapped.names()) == sorted([*NAMES, "track:1"])
    assert mapped.shown.violations(in_dark=True) == []
    mapped.at("button", has_text="Into the tray").click()
    mapped.until("import('/page/keeping.js').then((m) => m.tray.value.rows.length === 6)")
    mapped.at("input[type=search]").fill("WAV high")
    mapped.until("document.querySelectorAll('.hit').length === 1")
    assert mapped.names() == ["high.wav"]
    mapped.shown.press("Tab")
    mapped.at("button", has_text="Ask with them").click()
    mapped.until("location.pathname === '/'")
    assert mapped.shown.address == f"/?like={mapped.ids['high.wav']}"
    assert len(mapped.names()) == 5


def test_colours_are_switched(mapped):
    mapped.go("/map?method=pca&by=folder")
    legend = [text.split("\n") for text in mapped.at(".legend button").all_inner_texts()]
    assert [count for _, count in legend] == ["3", "2", "1"] and legend[2][0] == "none"
    mapped.at(".mapside select").nth(1).select_option("Tag: mic")
    mapped.until("location.search.includes('mic')")
    legend = [text.split("\n") for text in mapped.at(".legend button").all_inner_texts()]
    assert legend == [["</script>", "1"], ["AKG", "1"], ["none", "4"]]
    mapped.at(".legend button").nth(2).click()
    assert mapped.at(".legend button").nth(2).get_attribute("aria-pressed") == "false"
    mapped.page.mouse.move(*mapped.place("high.wav"))
    assert mapped.at(".tip").is_hidden()
    mapped.page.mouse.move(*mapped.place("low.wav"))
    assert mapped.at(".tip").inner_text().startswith("low.wav")
    mapped.page.reload()
    mapped.until("window.soundsearchMap?.frames > 0")
    assert mapped.at(".legend button").nth(2).get_attribute("aria-pressed") == "false"


def test_keys_go_from_clip_to_clip(mapped):
    mapped.go()
    mapped.at(".plot canvas >> nth=1").focus()

    def seen(key):
        """Where the clips are that a key goes to, until it goes no further."""
        found = []
        for _ in range(8):
            mapped.shown.press(key)
            pick = mapped.page.evaluate("new URLSearchParams(location.search).get('pick')")
            point = mapped.order.index(int(pick))
            found.append(mapped.page.evaluate(f"soundsearchMap.place({point})"))
        return found

    lefts = [x for x, _ in seen("ArrowLeft")]
    assert lefts == sorted(lefts, reverse=True)
    rights = [x for x, _ in seen("ArrowRight")]
    assert rights == sorted(rights) and len({*lefts, *rights}) >= 3
    tops = [y for _, y in [*seen("ArrowDown"), *seen("ArrowUp")]]
    assert tops[:8] == sorted(tops[:8]) and tops[8:] == sorted(tops[8:], reverse=True)
    mapped.until("import('/page/player.js').then((m) => m.position() > 0)")
    said = mapped.at(".mapside [role=status].unseen").inner_text()
    assert mapped.names()[0] in said
    mapped.shown.press("+", "+")
    mapped.until("/view=.*1.69/.test(location.search)")
    zoom = mapped.page.evaluate("soundsearchMap.view.zoom")
    assert zoom == pytest.approx(1.69)
    mapped.page.reload()
    mapped.until("window.soundsearchMap?.frames > 0")
    assert mapped.page.evaluate("soundsearchMap.view.zoom") == pytest.approx(zoom, rel=1e-3)
    mapped.at(".plot canvas >> nth=1").focus()
    mapped.shown.press("0")
    mapped.until("!location.search.includes('view=')")
    mapped.shown.press("?")
    assert "List what is in view" in mapped.at("dialog[open]").inner_text()
    mapped.shown.press("Escape", "v")
    mapped.until("document.querySelectorAll('.hit').length === 6")
    mapped.shown.press("Escape", "Escape")
    mapped.until("!location.search.includes('lasso')")
    mapped.shown.press("ArrowRight", "Enter")
    mapped.until("location.pathname === '/' && location.search.includes('clip=')")


def test_an_answer_is_shown_on_the_map(mapped):
    low = mapped.ids["low.wav"]
    mapped.shown.go(f"/?clip={low}")
    answers = mapped.names()
    mapped.at("a", has_text="Show on map").click()
    mapped.until("window.soundsearchMap?.frames > 0")
    assert mapped.shown.address == f"/map?clip={low}"
    assert mapped.names() == answers
    # Moving through the list marks its clips; a click on the map plays the moment that matched.
    hit = mapped.server.query(json={"clip": low}).json()["hits"][0]
    name = hit["uri"].rpartition("/")[2]
    mapped.page.mouse.click(*mapped.place(name))
    mapped.until("import('/page/player.js').then((m) => m.position() > 0)")
    assert mapped.shown.player()["end"] == pytest.approx(hit["end"])


WITHOUT_WEBGL = """HTMLCanvasElement.prototype.getContext = ((usual) => function (kind, ...more) {
  return kind.startsWith("webgl") ? null : usual.call(this, kind, ...more);
})(HTMLCanvasElement.prototype.getContext)"""


def test_without_webgl_and_with_an_address_of_nonsense(browser, server):
    with shown(browser, server) as made:
        made.page.add_init_script(WITHOUT_WEBGL)
        mapped = Mapped(made, server)
        mapped.go("/map?method=pca&view=NaN,1,2&lasso=1,2&by=no&hide=x,-1&pick=abc#webgl")
        assert mapped.at(".plot").get_attribute("data-painter") == "pixels"
        assert mapped.at(".legend button").count() >= 1
        mapped.page.mouse.click(*mapped.place("low.wav"))
        mapped.until(f"location.search.includes('pick={mapped.ids['low.wav']}')")


def test_webgl_and_a_small_screen(mapped):
    mapped.page.set_viewport_size({"width": 390, "height": 844})
    mapped.go("/map?method=pca#webgl")
    assert mapped.at(".plot").get_attribute("data-painter") == "WebGL"
    assert mapped.page.evaluate("document.documentElement.scrollWidth") == 390
    mapped.page.mouse.click(*mapped.place("low.wav"))
    assert mapped.names() == ["low.wav"]


def test_a_library_that_changes_is_mapped_again(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("soundsearch.web.maps._FRESH", 0.0)
    monkeypatch.setattr("soundsearch.web.maps._PATIENCE", 0.0)
    with soundsearch.open(tmp_path / "l") as lib:
        for number in range(3):
            lib.add(noise(number, 2), 16_000, uri=f"track:{number}")
        server = Server(tmp_path / "l", workers=1)
        try:
            with shown(browser, server) as made:
                mapped = Mapped(made, server)
                made.go("/map?method=pca")
                mapped.until("window.soundsearchMap?.frames > 0")
                before = mapped.place("track:1")
                lib.add(tone(400, 2), 16_000, uri="track:3")
                mapped = Mapped(made, server)
                mapped.page.evaluate(
                    "Date.now = ((now) => () => now() + 1e6)(Date.now);"
                    "document.dispatchEvent(new Event('visibilitychange'))"
                )
                mapped.until("document.querySelector('.mapside').textContent.startsWith('4 clips')")
                assert mapped.page.evaluate("soundsearchMap.place(3).every(Number.isFinite)")
                assert mapped.place("track:1") == pytest.approx(before, abs=100)
        finally:
            server.close()


def test_no_clips_and_none_that_match(page):
    page.go("/map?method=pca&where=duration+%3E+99")
    page.at("main p.soft").wait_for()
    assert page.at("main p.soft").inner_text() == "No clips match the filter."
    page.at("a", has_text="Show all").click()
    page.until("window.soundsearchMap?.frames > 0")
    page.go("/map?where=nonsense")
    assert "expected" in page.at(".problem").inner_text()
