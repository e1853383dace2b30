"""Asking on the page: files, the microphone, words and clips; parts; what was understood."""

from __future__ import annotations

import base64
import io
import json
import re
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import soundfile
from support.page import shown
from support.server import Server
from support.sounds import RATE, noise, tone, write

import soundsearch

pytestmark = pytest.mark.usefixtures("without_sentences")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

MARKUP = '<img src=x onerror="hacked=1">&amp;.wav'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    top = tmp_path_factory.mktemp("ask")
    for number in range(4):
        write(top / "s" / f"tone{number}.wav", tone(300 + 200 * number, 2 + number))
    write(top / "s" / "deep" / MARKUP, noise(1, 3))
    write(top / "s" / "both.wav", np.concatenate([tone(440, 4), noise(2, 4)]))
    with soundsearch.open(top / "l") as lib:
        lib.ingest(top / "s")
    return top


@pytest.fixture(scope="module")
def server(folder):
    served = Server(folder / "l", workers=1, upload_bytes=3 << 20)
    yield served
    served.close()


def wav(samples, format="WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=format)
    return file.getvalue()


def asked(page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.address).query)


def drop(page, content: bytes, *names: str) -> None:
    """Drag files with one content onto the page, and let them go."""
    page.page.evaluate(
        """([content, names]) => {
          const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
          const dataTransfer = new DataTransfer();
          for (const name of names) dataTransfer.items.add(new File([bytes], name));
          const target = document.querySelector("main");
          for (const type of ["dragenter", "dragover", "drop"]) {
            const options = { dataTransfer, bubbles: true, cancelable: true };
            target.dispatchEvent(new DragEvent(type, options));
          }
        }""",
        [base64.b64encode(content).decode(), names],
    )


def test_a_file_is_dropped_heard_and_found_again(page, browser, server):
    page.go("/library")  # anywhere
    page.at("main").wait_for()
    both = np.concatenate([tone(440, 4), noise(2, 4)])
    drop(page, wav(both), MARKUP)
    assert page.names()[0] == "both.wav"
    assert page.address.startswith("/?sound=") and len(asked(page)["sound"][0]) == 32
    # What it is called, its wave, and what was heard when.
    sound = page.at(".sound")
    sound.locator(".wave canvas").first.wait_for()
    sound.locator(".title b", has_text=MARKUP).wait_for()
    heard = sound.locator(".heard li").all_inner_texts()
    assert any("Sine wave" in each and "from 0:0" in each for each in heard)
    assert any("›" in each for each in heard)
    # It plays.
    sound.get_by_role("button", name="Play the question").click()
    page.until_player("m.position() > 0.1")
    assert page.player()["clip"]["name"] == MARKUP
    # Reload and back show the same; they ask with what the browser keeps.
    address, names = page.address, page.names()
    page.page.reload()
    assert page.names() == names and page.address == address
    page.at(".top a", has_text="Library").click()
    page.page.go_back()
    assert page.names() == names
    assert page.violations(in_dark=True) == []
    # Another browser has no such sound.
    with shown(browser, server) as other:
        other.go(address)
        other.at("[role=alert]", has_text="The sound of this address is not in this").wait_for()
        assert other.at(".sound").count() == 0
        drop(other, wav(both), "again.wav")
        assert other.names() == names and other.address == address


def test_a_part_is_marked_by_keys_and_by_the_mouse(page):
    page.go("/")
    page.at("input[type=file]").set_input_files(
        {"name": "a.wav", "mimeType": "audio/wav", "buffer": wav(np.r_[tone(440, 4), noise(2, 4)])}
    )
    page.names()
    page.at("label", has_text="From").locator("input").fill("4.5")
    page.press("Tab")
    page.until("location.search.includes('at=4.5-8')")
    page.until("document.querySelector('.hit .name b').textContent.startsWith('<img')")
    page.at(".marking button", has_text="All of it").click()
    assert "at" not in asked(page)
    box = page.at(".wave").bounding_box()
    mouse, y = page.page.mouse, box["y"] + 30
    mouse.move(box["x"] + 0.25 * box["width"], y)
    mouse.down()
    for share in (0.3, 0.4, 0.5):
        mouse.move(box["x"] + share * box["width"], y)
    mouse.up()
    page.until("location.search.includes('at=')")
    start, end = map(float, asked(page)["at"][0].split("-"))
    assert 1.8 < start < 2.3 and 3.8 < end < 4.1
    page.names()
    page.page.go_back()
    page.until("!location.search.includes('at=')")
    page.page.go_back()
    page.until("location.search.includes('at=')")
    assert asked(page)["at"] == ["4.5-8"]
    value = "document.querySelector('.marking input').value"
    page.until(f"{value} === '4.5'")


def test_a_clip_of_the_library_is_asked_with_by_its_path(page, folder, server):
    page.go("/")
    uri = str(folder / "s" / "both.wav")
    box = page.at("[role=combobox]")
    box.fill(uri)
    page.press("Enter")
    page.at(".wave canvas").first.wait_for()
    assert page.at(".sound .title b").inner_text() == "both.wav"
    assert asked(page)["clip"] == [uri]
    page.at("[aria-label='Play the question']").click()
    page.until_player("m.position() > 0.1")
    begin = page.at("label", has_text="From").locator("input")
    begin.fill("")
    begin.press_sequentially("0.25", delay=40)  # while the wave is drawn anew with each frame
    page.press("Enter")
    page.until("location.search.includes('at=0.25-8')")
    page.at(".marking .time").click()
    page.press("[")  # the part begins where it plays
    page.until("/at=(?!0.25)[0-9.]+-8/.test(location.search)")
    page.at(".marking button", has_text="All of it").click()
    # Words beside it; without it.
    page.at("label", has_text="beside the sound").click()
    box.fill("noise")
    page.press("Enter")
    page.at(".words .class").first.wait_for()
    assert asked(page).keys() == {"clip", "text"}
    page.at("[aria-label='Leave out the sound']").click()
    assert asked(page).keys() == {"text"}
    # No path that is not in the library is opened.
    box.fill("/etc/passwd")
    page.press("Enter")
    page.at("[role=alert]", has_text="/etc/passwd: no clip of").wait_for()


def test_what_is_typed_is_completed_by_keys(page, server):
    page.go("/")
    page.at(".examples a").first.wait_for()
    page.press("/")
    page.page.keyboard.type("sine", delay=5)
    page.at("[role=option]").first.wait_for()
    options = page.at("[role=option]")
    assert options.first.inner_text().split("\n")[:2] == ["label", "Sine wave"]
    assert "›" in options.first.inner_text()
    assert options.last.inner_text().split("\n")[0] == "words"
    assert page.violations() == []
    box = page.at("[role=combobox]")
    assert box.get_attribute("aria-expanded") == "true"
    page.press("ArrowDown")
    assert box.get_attribute("aria-activedescendant") == "option-0"
    page.press("ArrowUp", "ArrowUp")
    last = page.at("[role=option][aria-selected=true]").inner_text()
    assert last.startswith("words")
    page.press("Escape")
    assert box.get_attribute("aria-expanded") == "false" and box.input_value() == "sine"
    page.press("ArrowDown")
    options.first.wait_for()
    page.press("ArrowDown", "Enter")
    assert asked(page) == {"label": ["Sine wave"]} and page.names()[0].startswith("tone")
    assert box.input_value() == "Sine wave" and not box.evaluate("(box) => box.spellcheck")
    # Keys go on in the list, whose rows have the label before all that is heard more surely.
    page.until("document.activeElement.matches('.hit')")
    heard = page.at(".hit .labels").all_text_contents()
    assert all(each.startswith("Sine wave") for each in heard)
    # A clip by its name, which is text whatever it holds.
    box.fill("img src")
    page.at("[role=option]", has_text="clip").wait_for()
    assert MARKUP in page.at("[role=option]", has_text="clip").inner_text()
    page.at("[role=option]", has_text="clip").click()
    page.at(".wave canvas").first.wait_for()
    assert asked(page).keys() == {"clip"}
    page.page.go_back()
    page.until("location.search.includes('label=')")
    page.page.go_back()
    page.until("!location.search")
    page.at(".examples a").first.click()
    assert asked(page).keys() == {"label"}


def test_what_words_became_can_be_changed(page, server):
    page.go("/?text=white+noise+or+a+sine+wave+but+no+dogs&where=duration+%3E+2.5")
    page.at("[role=combobox]").wait_for()
    page.press("/")  # an answer that comes later does not take what is typed
    chips = page.at(".class")
    chips.first.wait_for()
    said = [re.sub(r"\s+", " ", each).strip() for each in chips.all_inner_texts()]
    assert said == ["White noise", "Sine wave", "not Dog"]
    assert page.names()[0] in (MARKUP, "both.wav")
    assert page.page.evaluate("document.activeElement.role") == "combobox"
    page.at("[aria-label='Weight of White noise']").fill("0.2")
    page.press("Tab")
    page.until("location.search.includes('classes=')")
    edited = asked(page)
    classes = [json.loads(each) for each in edited["classes"]]
    assert classes == [{"White noise": 0.2, "Sine wave": 1}, {"Dog": -1}]
    assert edited["where"] == ["duration > 2.5"]
    values = {"text": edited["text"][0], "classes": classes, "where": edited["where"][0]}
    expected = [hit["uri"].rpartition("/")[2] for hit in server.query(json=values).json()["hits"]]
    page.page.reload()
    assert page.names() == expected
    page.at("[aria-label='Leave out Dog']").click()
    page.until("document.querySelectorAll('.class').length === 2")
    page.page.go_back()
    page.until("document.querySelectorAll('.class').length === 3")
    page.at("button", has_text="As they were").click()
    assert "classes" not in asked(page)
    page.until("document.querySelector('[aria-label=\"Weight of White noise\"]').value === '1'")
    page.at("label", has_text="names of files").click()
    assert asked(page)["names"] == ["true"]
    page.names()
    assert page.violations() == []


def test_a_sound_is_recorded(page):
    page.go("/")
    page.at("button", has_text="Record").click()
    page.until("document.querySelector('meter')?.value > 0.2")  # the fake device beeps
    page.page.wait_for_timeout(1200)
    page.at("button", has_text="Stop and ask").click()
    page.names()
    assert page.at(".sound .title b").inner_text().startswith("recording ")
    page.at(".wave canvas").first.wait_for()
    page.at("button", has_text="Record").click()
    page.at("[aria-label='Throw the recording away']").click()
    assert page.at("meter").count() == 0


def test_what_cannot_be_asked_with_is_said(page):
    page.go("/")
    page.at("main").wait_for()
    drop(page, b"", "nothing.wav")
    page.at("[role=alert]", has_text="nothing.wav: is empty").wait_for()
    drop(page, b"no sound at all" * 99, MARKUP)
    page.at("[role=alert]", has_text="<img src=x onerror=").wait_for()
    before = page.address
    drop(page, bytes(4 << 20), "large.wav")
    page.at("[role=alert]", has_text="large.wav has more than 3 MB").wait_for()
    assert page.address == before
    # AIFF, which this browser does not play, is heard all the same.
    drop(page, wav(tone(500, 3), "AIFF"), "odd.aiff", "other.aiff")
    page.at(".notice", has_text="One sound at a time").wait_for()
    assert page.names()[0] == "tone1.wav"
    page.at(".wave canvas").first.wait_for()
    page.at("[aria-label='Play the question']").click()
    page.at(".player .problem", has_text="cannot play it").wait_for()


def test_sending_shows_how_far_it_is_and_can_be_cancelled(page):
    page.go("/")
    page.at("main").wait_for()
    network = page.page.context.new_cdp_session(page.page)
    network.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 300_000}
    network.send("Network.emulateNetworkConditions", slow)
    drop(page, wav(noise(3, 30)), "long.wav")
    page.until("document.querySelector('.sending progress')?.value > 0.1")
    page.at(".sending button", has_text="Cancel").click()
    assert asked(page) == {} and page.at(".sending").count() == 0
    page.at(".examples a").first.wait_for()
