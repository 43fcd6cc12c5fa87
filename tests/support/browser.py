"""A real Chromium that looks at the console. It is the system's: none is downloaded."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, expect, sync_playwright

from tests.support.processes import ROOT

Theme = Literal["light", "dark"]
NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SCREENSHOTS: Final = ROOT / ".headrace/screenshots"
"""Where tests keep what pages look like; not in version control."""
WIDE: Final = (1280, 900)
PHONE: Final = (390, 844)
WAIT_MS: Final = 20_000
_NOISE: Final = re.compile(r"status of (?:400|401|403|404|409|422)\b")
"""What Chromium says of answers that a test has asked for."""


class ChromiumMissingError(RuntimeError):
    """There is no Chromium. `make test` gets it from the system's packages where it may."""

    def __init__(self) -> None:
        super().__init__("this test needs Chromium: install it (apt-get install chromium) or name it in CHROMIUM")


def find_chromium() -> str:
    """The program. Raises ChromiumMissingError."""
    names = [named] if (named := os.environ.get("CHROMIUM")) else NAMES
    found = next((program for name in names if (program := shutil.which(name))), None)
    if found is None:
        raise ChromiumMissingError
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """Somebody with a browser: a page, what it complained about, and what was asked of him, which he agrees to."""

    def __init__(self, browser: Browser, url: str, size: tuple[int, int] = WIDE, theme: Theme = "light") -> None:
        self.url = url
        self.context: BrowserContext = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=theme, base_url=url
        )
        self.context.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.questions: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._agree)

    def log_in(self, token: str) -> None:
        """By the login page."""
        self.page.goto("/login")
        self.page.get_by_label("API token").fill(token)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(f"{self.url}/")

    def open(self, path: str) -> Page:
        """Go to a page of the console."""
        self.page.goto(path)
        return self.page

    def said(self) -> str:
        """What the last action said."""
        flash = self.page.locator("#flash .what").first
        flash.wait_for()
        return flash.inner_text()

    def sideways(self) -> int:
        """How many pixels the page is too wide."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return max(0, width)

    def picture(self, name: str) -> Path:
        """Keep what the page looks like."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def close(self) -> None:
        """Close the browser's window."""
        self.context.close()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not _NOISE.search(message.text):
            self.complaints.append(message.text)

    def _agree(self, dialog: Dialog) -> None:
        self.questions.append(dialog.message)
        dialog.accept()
