"""The server's page in Chromium, with what a test asks of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files

import pytest

from support.browser import chromium


class Shown:
    """A page, and what went wrong in it.

    Attributes
    ----------
    page : playwright.sync_api.Page
    at : callable
        Its `locator`.
    errors : list of str
        Errors of scripts, and errors and warnings in the console, except for what Chromium says of
        each answer that is no success: none is expected.
    """

    def __init__(self, page, url: str) -> None:
        self.page, self.at, self.url = page, page.locator, url
        self.errors: list[str] = []
        self.is_loaded = False
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._heard)

    def _heard(self, said) -> None:
        # Of how fast it draws, and of answers that are no success.
        known = any(each in said.text for each in ("GL Driver Message", "Failed to load resource"))
        if not known and said.type in ("error", "warning"):
            self.errors.append(said.text)

    def go(self, path: str) -> None:
        """Show an address of the server: the first is loaded, others as by a link of the page."""
        if self.is_loaded:
            visit = "(path) => import('/page/address.js').then((m) => m.visit(path))"
            self.page.evaluate(visit, path)
            self.until("!document.querySelector('.answers[aria-busy=true]')")  # rows of another
        else:
            self.page.goto(self.url + path)
            self.is_loaded = True

    @property
    def address(self) -> str:
        """Path and query of the address."""
        return self.page.evaluate("location.pathname + location.search")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def until(self, program: str):
        """What an expression gives as soon as that is true, and no empty list."""
        # Not wait_for_function, which the page's policy forbids.
        found = self.page.evaluate(
            f"""(async () => {{
              for (let tries = 0; tries < 500; tries += 1) {{
                const found = await ({program});
                if (found && found.length !== 0) return found;
                await new Promise((resolve) => {{ setTimeout(resolve, 20); }});
              }}
            }})()"""
        )
        assert found, f"{program} never came true"
        return found

    def names(self) -> list[str]:
        """The names of the rows of the list, once there are some and they answer what is asked.

        Their `innerText` would be empty until they are drawn.
        """
        return self.until(
            "!document.querySelector('.answers[aria-busy=true]')"
            " && [...document.querySelectorAll('.hit .name b')].map((name) => name.textContent)"
        )

    def until_player(self, condition: str) -> None:
        """Wait until something is true of the player, `m` is its module."""
        self.until(f"import('/page/player.js').then((m) => {condition})")

    def until_heard(self) -> None:
        """Wait until what was to be played plays, or played and has ended: moments are short."""
        self.until_player("['playing', 'paused'].includes(m.player.value.state)")

    def player(self) -> dict:
        """What is played: its clip, start, end, state, message and position."""
        return self.page.evaluate(
            "import('/page/player.js').then((m) => ({ ...m.player.value, position: m.position() }))"
        )

    def violations(self, in_dark: bool = False) -> list[str]:
        """What axe-core finds wrong with the page, and with its contrasts in dark colours."""
        self.page.evaluate(_axe())
        # Not preloaded: it would put the styles of what is drawn apart into a document of its own.
        options = "resultTypes: ['violations'], preload: false"
        found = []
        for scheme, only in [("light", ""), ("dark", "runOnly: ['color-contrast'],")][
            : 1 + in_dark
        ]:
            self.page.emulate_media(color_scheme=scheme)
            run = f"axe.run(document, {{ {only} {options} }})"
            found += [
                f"{scheme}: {each['id']}: {node['html']} {node['failureSummary']}"
                for each in self.page.evaluate(run)["violations"]
                for node in each["nodes"]
            ]
        self.page.emulate_media(color_scheme="light")
        return found


@cache
def _axe() -> str:
    pytest.importorskip("axe_playwright_python")
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


@contextmanager
def shown(browser, server, **options) -> Iterator[Shown]:
    """A page of a server in a context of its own; in the end nothing must have gone wrong.

    `options` are those of Playwright's `new_context`.
    """
    options = {"viewport": {"width": 1280, "height": 800}, **options}
    context = browser.new_context(**options)
    try:
        made = Shown(context.new_page(), server.url)
        yield made
        assert not made.errors, made.errors
        assert made.page.evaluate("typeof hacked") == "undefined"
    finally:
        context.close()


@pytest.fixture(scope="module")
def browser():
    """A browser whose microphone beeps."""
    with chromium(
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def window(browser, server):
    """A page of the module's server, which may use the clipboard."""
    with shown(browser, server, permissions=["clipboard-read", "clipboard-write"]) as made:
        yield made


@pytest.fixture
def page(window):
    """One page for all tests of a module, which each of them loads anew.

    A new one for each test would cost a second of processor time.
    """
    window.page.set_viewport_size({"width": 1280, "height": 800})
    window.is_loaded = False
    yield window
    window.page.evaluate("localStorage.clear(); history.replaceState(null, '')")
    errors = window.errors.copy()
    window.errors.clear()
    assert not errors, errors
