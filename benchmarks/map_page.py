"""Frames a second of a map's page in Chromium, while it is panned and zoomed.

    python -m benchmarks.map_page [--sizes 1000 100000]

The points are 40 clouds. The page draws `pixels` where there is no graphics card, as in Chromium
with --disable-gpu. `WebGL` is done by the processor here (SwiftShader), and so is all else of the
window. `frames` are those a second, of three seconds in which every frame moves the map, on a
window of 1280 x 800 pixels; `ms` the processor time that all processes of Chromium take for one,
which other work of the machine changes less; `open` is the time from opening the page to its first
frame; `hover` and `search` what a movement of the pointer and a search for a word take, in
milliseconds (medians).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from soundsearch_ingest.discover import AudioFile

from soundsearch.labels.vocabulary import AUDIOSET
from soundsearch.mapping.page import page
from soundsearch.stores.records import CLIP_LABELS, LABEL, ClipRecord, StoredClip

FLAGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-sync"]
# What draws: what Chromium is told for it, and the end of the page's address.
PAINTERS = {
    "pixels": (["--disable-gpu"], ""),
    "WebGL": (["--use-angle=swiftshader", "--enable-unsafe-swiftshader"], "#webgl"),
}
FRAMES = """async () => {
  const map = window.soundsearchMap, began = performance.now();
  let frames = 0;
  while (performance.now() - began < 3000) {
    map.panBy(Math.sin(frames / 9) * 9, Math.cos(frames / 9) * 9);
    map.zoomBy(frames % 60 < 30 ? 1.02 : 1 / 1.02);
    await new Promise(requestAnimationFrame);
    frames++;
  }
  return frames / (performance.now() - began) * 1000;
}"""
HOVER = """() => {
  const took = [], overlay = document.getElementById("overlay");
  for (let at = 0; at < 101; at++) {
    const began = performance.now();
    const place = { clientX: 100 + 7 * at, clientY: 80 + 6 * at, bubbles: true };
    overlay.dispatchEvent(new PointerEvent("pointermove", place));
    took.push(performance.now() - began);
  }
  return took.sort((a, b) => a - b)[50];
}"""
SEARCH = """async () => {
  const took = [], [search, status] = ["search", "status"].map((id) => document.getElementById(id));
  for (const word of ["sound", "7", "wav", "99", "sounds 3"]) {
    search.value = word;
    status.textContent = "";
    const began = performance.now();
    search.dispatchEvent(new Event("input"));
    while (!status.textContent) await new Promise((done) => setTimeout(done, 1));
    took.push(performance.now() - began - 120);
  }
  return took.sort((a, b) => a - b)[2];
}"""


def made(count: int) -> bytes:
    """The page of so many clips."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 40, count)
    centres = rng.uniform(-0.9, 0.9, (40, 2))
    places = (centres[kinds] + rng.normal(0, 0.06, (count, 2))).astype(np.float32)
    clips = []
    for row, kind in enumerate(kinds.tolist()):
        labels = np.zeros(CLIP_LABELS, LABEL)
        labels["class_index"] = kind * 11 + np.arange(CLIP_LABELS)
        labels["score"] = 0.5
        record = ClipRecord(
            file=AudioFile(f"/sounds/{row % 100}/a sound {row}.wav", 1000, row),
            digest=row.to_bytes(32, "little"),
            duration=5.0,
            labels=labels,
            tags={"take": float(row % 5)},
        )
        clips.append(StoredClip(id=row + 1, count=5, record=record))
    return page(clips, AUDIOSET, places, "tsne", "mini-6", "label", "/nowhere")


def processor_seconds(browser: Any) -> float:
    """What all processes of a browser have taken."""
    known = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    return float(sum(each["cpuTime"] for each in known["processInfo"]))


def measured(driver: Any, file: Path, painter: str) -> tuple[float, ...]:
    """Frames a second and processor milliseconds of each; milliseconds to open, hover, search."""
    flags, ending = PAINTERS[painter]
    browser = driver.chromium.launch(
        executable_path=shutil.which("chromium"), args=[*FLAGS, *flags]
    )
    window = browser.new_page(viewport={"width": 1280, "height": 800})
    window.goto(file.as_uri() + ending)
    opened = window.evaluate("() => new Promise((d) => requestAnimationFrame((at) => d(at)))")
    assert window.evaluate("document.documentElement.dataset.painter") == painter
    began = processor_seconds(browser)
    frames = window.evaluate(FRAMES)
    each = (processor_seconds(browser) - began) * 1000 / (3 * frames)
    hover, search = window.evaluate(HOVER), window.evaluate(SEARCH)
    browser.close()
    return frames, each, opened, hover, search


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000, 100_000])
    sizes = parser.parse_args().sizes
    from playwright.sync_api import sync_playwright

    print("   clips     MB  drawn by  frames    ms    open  hover  search")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        for size in sizes:
            file = Path(folder) / f"{size}.html"
            file.write_bytes(made(size))
            megabytes = file.stat().st_size / 1e6
            for painter in PAINTERS:
                frames, each, opened, hover, search = measured(driver, file, painter)
                print(
                    f"{size:>8,}  {megabytes:>5.1f}  {painter:<8}  {frames:>6.0f}  {each:>4.0f}  "
                    f"{opened:>6.0f}  {hover:>5.1f}  {search:>6.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
