"""A real Chromium without a window, and what must not happen in it while somebody uses a page.

The browser is ``$DDSD_TEST_CHROMIUM`` or ``chromium`` on PATH; the rules of accessibility are axe-core's, from the file
that ``$DDSD_TEST_AXE`` names. Without them the tests that need them are skipped by name.
Invariant: it reaches nothing but loopback, and each window begins without cookies.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    CDPSession,
    ConsoleMessage,
    Page,
    Request,
    sync_playwright,
)

from tests.parts import absent

_FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
_PATIENCE_MS: Final = 20_000
DESKTOP: Final = (1280, 900)
PHONE: Final = (390, 844)
PICTURES: Final = "DDSD_TEST_PICTURES"
"""The variable that names a directory for pictures of every page that is inspected; none are taken without it."""
_INSPECT: Final = """
axe.run(document, {resultTypes: ['violations']}).then(result => result.violations
  .filter(one => ['serious', 'critical'].includes(one.impact))
  .map(one => `${one.id} (${one.impact}): ${one.nodes.map(node => node.html).join(' | ')}`))
"""


@dataclass
class Window:
    """One page of one browser, and everything that has gone wrong in it so far."""

    page: Page
    origin: str
    axe: str = field(repr=False)
    trouble: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.trouble.append(f"script: {error}"))
        self.page.on("request", self._note_request)
        self._devtools = self.page.context.new_cdp_session(self.page)

    def go(self, path: str) -> None:
        """Open a page of the site."""
        self.page.goto(path if "://" in path else self.origin + path)

    def fill(self, **fields: str) -> None:
        """Type into fields, found by their labels; underscores in the names stand for blanks."""
        for label, value in fields.items():
            self.page.get_by_label(label.replace("_", " "), exact=True).fill(value)

    def press(self, name: str) -> None:
        """Press the button of this name, and wait for the page it leads to."""
        self.page.get_by_role("button", name=name, exact=True).click()
        self.page.wait_for_load_state()

    def follow(self, name: str) -> None:
        """Follow the link of this name."""
        self.page.get_by_role("link", name=name, exact=True).click()
        self.page.wait_for_load_state()

    @property
    def path(self) -> str:
        """Where it is, without the fragment."""
        return urlsplit(self.page.url).path

    @property
    def heading(self) -> str:
        """The page's heading."""
        return self.page.get_by_role("heading", level=1).inner_text()

    @property
    def text(self) -> str:
        """What the page shows."""
        return self.page.inner_text("body")

    @property
    def devtools(self) -> CDPSession:
        """The browser's own tools, for what a person does outside of the page."""
        return self._devtools

    def inspect(self, name: str) -> None:
        """Hold the page as it stands against what every page must be, at both widths, and take its picture."""
        for width, size in (("desktop", DESKTOP), ("phone", PHONE)):
            self._resize(size)
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                self._photograph(f"{name}-{width}-{scheme}")
                found = self._violations()
                assert found == [], f"{name}, {width}, {scheme}: {found}"
            assert self._overflow() <= 0, f"{name} is wider than a {width}"
        self._resize(DESKTOP)
        self.page.emulate_media(color_scheme="light")
        assert self.trouble == [], name

    def _resize(self, size: tuple[int, int]) -> None:
        self.page.set_viewport_size({"width": size[0], "height": size[1]})

    def _violations(self) -> list[str]:
        # The page's own policy forbids a foreign script; the browser's tools are not bound by it.
        self._evaluate(self.axe)
        found: list[str] = self._evaluate(_INSPECT)
        return found

    def _evaluate(self, script: str) -> Any:
        answer = self._devtools.send(
            "Runtime.evaluate",
            {"expression": script, "awaitPromise": True, "returnByValue": True},
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def _overflow(self) -> int:
        element = "document.documentElement"
        return int(self._evaluate(f"{element}.scrollWidth - {element}.clientWidth"))

    def _photograph(self, name: str) -> None:
        directory = os.environ.get(PICTURES)
        if directory:
            self.page.screenshot(path=Path(directory) / f"{name}.png", full_page=True)

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.trouble.append(f"{message.type}: {message.text}")

    def _note_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme != "data" and f"{address.scheme}://{address.netloc}" != self.origin:
            self.trouble.append(f"asked {request.url}")


@dataclass(frozen=True)
class Chromium:
    """A running browser."""

    browser: Browser
    axe: str = field(repr=False)

    @contextmanager
    def window(self, origin: str, *, scripts: bool = True) -> Iterator[Window]:
        """Open a window without cookies on a site; ``scripts``: whether pages may run any."""
        context: BrowserContext = self.browser.new_context(java_script_enabled=scripts)
        context.set_default_timeout(_PATIENCE_MS)
        try:
            yield Window(context.new_page(), origin, self.axe)
        finally:
            context.close()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Chromium]:
    """One browser for the package of tests that imports this, which must all be synchronous.

    Not for the whole session: playwright keeps a loop running in this thread, and other packages' tests have their own.
    """
    program, axe = _program(), _rules()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, headless=True, args=list(_FLAGS), chromium_sandbox=False
        )
        yield Chromium(browser, axe)
        browser.close()


def _program() -> str:
    program = os.environ.get("DDSD_TEST_CHROMIUM") or shutil.which("chromium")
    if program is None:
        absent("Chromium", "set DDSD_TEST_CHROMIUM to its program, or put chromium on PATH")
    return program


def _rules() -> str:
    path = os.environ.get("DDSD_TEST_AXE")
    if not path:
        absent("axe-core", "set DDSD_TEST_AXE to the file axe.min.js of the npm package axe-core")
    return Path(path).read_text(encoding="utf-8")
