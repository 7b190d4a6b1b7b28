"""A headless Chromium for tests: a page of Playwright that collects console messages and requests."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Error, Page, sync_playwright

TIMEOUT = 120_000  # milliseconds; long, for busy machines
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--disable-background-networking"]
FAKE_WEBCAM = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # permission is given


@dataclass
class Browser:
    """An open page.

    Attributes:
        page: of Playwright.
        complaints: errors and warnings of the page's console.
        requests: URLs that the page requested.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(TIMEOUT)
        self.page.on("console", self._record)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _record(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self.complaints.append(message.text)

    def open(self, path: Path) -> None:
        """Open a page of facekp from a file and wait until its script is ready."""
        self.page.goto(path.resolve().as_uri())
        self.page.wait_for_selector("body[data-ready=true]")

    def until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true; Playwright's own wait is forbidden by the report's CSP."""
        end = time.monotonic() + TIMEOUT / 1000
        while not self._is_true(expression):
            assert time.monotonic() < end, f"did not become true: {expression}"
            self.page.wait_for_timeout(100)

    def _is_true(self, expression: str) -> bool:
        try:
            return bool(self.page.evaluate(expression))
        except Error as error:
            if "Execution context was destroyed" not in str(error):  # the page is being loaded
                raise
            return False


@contextmanager
def chromium(width: int = 1400, height: int = 1000, flags: Sequence[str] = ()) -> Iterator[Browser]:
    """A running browser; the test is skipped if none is installed.

    Args:
        width: of the window in pixels.
        height: of the window in pixels.
        flags: further ones, such as `FAKE_WEBCAM`.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*FLAGS, *flags], chromium_sandbox=False)
        yield Browser(browser.new_page(viewport={"width": width, "height": height}))
        browser.close()
