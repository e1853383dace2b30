"""Chromium for tests of pages."""

from __future__ import annotations

import importlib.util
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# A window loads pages of the browser's own for what is typed as its address, more than a second's
# work. This is in place of Playwright's list, of which it has the last four.
WITHOUT = [
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "HttpsUpgrades",
    "MediaRouter",
    "OptimizationHints",
    "PaintHolding",
]
FLAGS = [
    f"--disable-features={','.join(WITHOUT)}",
    "--no-sandbox",
    "--no-first-run",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-gpu-compositing",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
]


def why_no_browser() -> str | None:
    """Why pages cannot be tested here; None where they can."""
    if not any(map(shutil.which, ("chromium", "chromium-browser"))):
        return "needs Chromium: apt-get install -y chromium"
    if importlib.util.find_spec("playwright") is None:
        return "needs the package playwright: pip install -e '.[test]'"
    return None


@contextmanager
def chromium(*flags: str) -> Iterator:
    """A running Chromium, with more flags; the test is skipped where there is none.

    With SOUNDSEARCH_BROWSER=needed in the environment, as in `.ci/run`, it fails in place of that.
    """
    if (reason := why_no_browser()) is not None:
        if os.environ.get("SOUNDSEARCH_BROWSER") == "needed":
            pytest.fail(reason)
        pytest.skip(reason)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from playwright.sync_api import sync_playwright
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        yield browser
        browser.close()
