"""The map of a server: its size and time, what questions feel of it, and frames in Chromium.

    python -m benchmarks.map_server [--clips 100000] [--method tsne]

Makes a library of clips of five segments, mixed of embeddings of the demo sounds, each with labels
and a tag, and serves it. `made` are the seconds from the first request to the map, `core` the
processor seconds of the server and its process; `MB` what is answered, packed by gzip and plain;
`again` the milliseconds of another answer, packed, and of one that the client has (304). `similar`
are the milliseconds of `GET /similar`, one at a time: before the map is made, and while it is. Then
one clip is added, and `placed` are the seconds until it is on the map.

Then Chromium, as in `benchmarks.map_page`: milliseconds until the map is drawn, which the server
has, frames a second while it is moved, and the processor milliseconds of each.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import map_page, serving
from benchmarks.vectors import CLIP_SEGMENTS, bundled_settings, clips_of, demo_embeddings, mixed
from soundsearch.stores.opening import create_store, open_store, place_of
from soundsearch.stores.records import CLIP_LABELS, LABEL, NewClip

SHOWN = "window.soundsearchMap?.frames > 0"


def named(clips: list[NewClip], rng: np.random.Generator) -> list[NewClip]:
    """The clips with names, labels and tags as those of a collection."""
    found = []
    for clip in clips:
        labels = np.zeros(CLIP_LABELS, LABEL)
        labels["class_index"] = rng.choice(527, CLIP_LABELS, replace=False)
        labels["score"] = 0.5
        number = int(clip.record.uri[1:-4])
        file = dataclasses.replace(
            clip.record.file, uri=f"/sounds/{number % 100}/a sound {number}.wav"
        )
        tags = {"take": float(number % 5)}
        record = dataclasses.replace(clip.record, file=file, labels=labels, tags=tags)
        found.append(dataclasses.replace(clip, record=record))
    return found


def make(folder: Path, count: int) -> None:
    """Make the library."""
    rng = np.random.default_rng(0)
    vectors = mixed(demo_embeddings(), count * CLIP_SEGMENTS, 0)
    store = create_store(place_of(folder), bundled_settings())
    with store.writing():
        for first in range(0, len(vectors), 100_000):
            store.add(named(clips_of(vectors[first : first + 100_000], first), rng))
        store.optimise()
    store.close()


def add(folder: Path) -> None:
    """Add a clip."""
    vectors = mixed(demo_embeddings(), CLIP_SEGMENTS, 1)
    store = open_store(place_of(folder))
    with store.writing():
        store.add(named(clips_of(vectors, 10**8), np.random.default_rng(1)))
    store.close()


def get(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and content."""
    request = urllib.request.Request(
        url, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), b""


def until_made(url: str) -> float:
    """Seconds until there is a map."""
    began = time.perf_counter()
    while get(url, Accept_Encoding="gzip")[0] == 202:
        pass
    return time.perf_counter() - began


def similar(server: str, clips: int, is_over: threading.Event) -> list[float]:
    """Milliseconds of questions until it is over."""
    rng, times = np.random.default_rng(2), []
    while not is_over.is_set():
        clip = int(rng.integers(1, clips))
        began = time.perf_counter()
        get(f"{server}/api/v1/similar?clip={clip}")
        times.append(1000 * (time.perf_counter() - began))
        time.sleep(0.02)
    return times


def told(what: str, times: list[float]) -> None:
    p50, p99 = statistics.median(times), float(np.percentile(times, 99))
    print(f"similar, {what}: p50 {p50:.0f} ms, p99 {p99:.0f} ms, {len(times):,} times", flush=True)


def in_chromium(server: str, method: str) -> None:
    """Frames of the page's map."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        for painter, (flags, ending) in map_page.PAINTERS.items():
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=[*map_page.FLAGS, *flags]
            )
            window = browser.new_page(viewport={"width": 1280, "height": 800})
            began = time.perf_counter()
            window.goto(f"{server}/map?method={method}{ending}")
            while not window.evaluate(SHOWN):
                time.sleep(0.01)
            opened = 1000 * (time.perf_counter() - began)
            assert window.locator(".plot").get_attribute("data-painter") == painter
            before = map_page.processor_seconds(browser)
            frames = window.evaluate(map_page.FRAMES)
            each = (map_page.processor_seconds(browser) - before) * 1000 / (3 * frames)
            browser.close()
            print(f"{painter}: {opened:.0f} ms to open, {frames:.0f} frames, {each:.0f} ms each")


def measure(server: str, pid: int, options: argparse.Namespace, folder: Path) -> None:
    """Print all of it."""
    url = f"{server}/api/v1/map?method={options.method}"
    results: dict[str, list[float]] = {}
    for what in ("before", "meanwhile"):
        over = threading.Event()
        asking = threading.Thread(
            target=lambda what=what, over=over: results.update(
                {what: similar(server, options.clips, over)}
            )
        )
        asking.start()
        if what == "before":
            time.sleep(10)
        else:
            before = serving.processor_seconds(pid)
            made = until_made(url)
        over.set()
        asking.join()
        told(what, results[what])
    core, memory = serving.processor_seconds(pid) - before, serving.resident(pid)
    print(f"made: {made:.1f} s, core {core:.1f} s with the questions, server {memory:.0f} MB")
    _, headers, packed = get(url, Accept_Encoding="gzip")
    plain = len(get(url, Accept_Encoding="identity")[2])
    print(f"{len(packed) / 1e6:.2f} MB packed, {plain / 1e6:.2f} MB plain")
    tag = headers["etag"]
    for what, more in (("packed", {}), ("304", {"If_None_Match": tag})):
        times = []
        for _ in range(21):
            began = time.perf_counter()
            get(url, Accept_Encoding="gzip", **more)
            times.append(1000 * (time.perf_counter() - began))
        print(f"again, {what}: {statistics.median(times):.1f} ms")
    in_chromium(server, options.method)
    add(folder)
    time.sleep(61)  # a map is given out for a minute
    before, placed = serving.processor_seconds(pid), until_made(url)
    print(f"placed: {placed:.1f} s, core {serving.processor_seconds(pid) - before:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--method", default="tsne")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "l"
        make(folder, options.clips)
        command: list[Any] = [sys.executable, "-m", "soundsearch", "serve", "--library", folder]
        server = subprocess.Popen([*command, "--port", "0"], stderr=subprocess.PIPE, text=True)
        assert server.stderr is not None
        try:
            address = server.stderr.readline().split()[3].rstrip("/")
            measure(address, server.pid, options, folder)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
