"""Pictures of the server's page for the documentation: made-up sounds, the real server, Chromium.

    python -m benchmarks.page_screenshots docs/images

Each is a WebP of at most 150 kB. Needs Chromium, and what `pip install -e '.[test]'` installs.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import soundsearch
from soundsearch.demo_sounds import write_collection

LARGEST = 150_000
FLAGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-sync"]
WIDE, NARROW = (1280, 800), (390, 780)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of some made-up sounds."""
    (folder / "sounds").mkdir()
    write_collection(folder / "sounds")
    library = folder / "library"
    with soundsearch.open(library) as lib:
        lib.ingest(folder / "sounds")
    command = [
        sys.executable,
        "-m",
        "soundsearch",
        "serve",
        "--port",
        "0",
        "--library",
        str(library),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            yield next(server.stderr).split(" at ")[1].split()[0].rstrip("/")
        finally:
            server.terminate()


def _answers(page: Any) -> None:
    page.locator(".hit").first.wait_for()
    for key in ("j", "j", "s"):
        page.keyboard.press(key)
    page.locator(".spectrogram img").wait_for()
    page.keyboard.press("Shift+Space")
    page.locator(".hit .played").wait_for(state="attached")


def _asking(page: Any) -> None:
    page.locator(".asking input").first.fill("bell")
    page.locator("[role=option]").first.wait_for()


def _steering(page: Any) -> None:
    page.locator(".hit").first.wait_for()
    page.get_by_role("button", name="Filters").click()
    page.locator(".filters input").first.wait_for()


def _settled(page: Any) -> None:
    """Until nothing was asked for half a second."""
    page.wait_for_load_state("networkidle")


def _map(page: Any) -> None:
    page.locator("main canvas").first.wait_for()
    _settled(page)


# Of each picture: its address, window, colours, and what is done before it is taken.
SHOTS: dict[str, tuple[str, tuple[int, int], str, Callable[[Any], None]]] = {
    "page-answers": ("/?clip={bell}", WIDE, "light", _answers),
    "page-asking": ("/", WIDE, "light", _asking),
    "page-steering": ("/?text=a+bell+or+a+telephone", WIDE, "light", _steering),
    "page-recording": ("/clip/{afternoon}", WIDE, "light", _settled),
    "page-map": ("/map", WIDE, "dark", _map),
    "page-phone": ("/?clip={bell}", NARROW, "dark", _answers),
}


def _webp(png: bytes) -> bytes:
    """As small as it must be."""
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    for quality in (88, 75, 60, 45):
        out = io.BytesIO()
        image.save(out, "WEBP", quality=quality, method=6)
        if out.tell() <= LARGEST:
            break
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description="Take pictures of the server's page.")
    parser.add_argument("out", type=Path, help="the folder for them")
    parser.add_argument("--only", nargs="*", choices=SHOTS, default=list(SHOTS), help="these alone")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("needs Chromium: apt-get install -y chromium")
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="demo-") as folder,
        served(Path(folder)) as address,
        soundsearch.open(Path(folder) / "library") as lib,
        sync_playwright() as driver,
    ):
        ids = {Path(clip.uri).stem: clip.id for clip in lib}
        names = {"bell": ids["church-bell-1"], "afternoon": ids["an-afternoon"]}
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        for name in options.only:
            path, (width, height), colours, prepare = SHOTS[name]
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=colours
            )
            page = context.new_page()
            page.goto(address + path.format(**names))
            prepare(page)
            page.wait_for_timeout(500)
            file = options.out / f"{name}.webp"
            file.write_bytes(_webp(page.screenshot()))
            print(f"{file}: {file.stat().st_size:,} bytes")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
