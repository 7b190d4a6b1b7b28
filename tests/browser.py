"""A headless Chromium, controlled over its DevTools protocol: opens pages, clicks, and collects console messages."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
TIMEOUT = 120  # seconds; long, for busy machines


class Browser:
    """A page of the browser.

    Attributes:
        complaints: errors and warnings of the page's console.
        requests: URLs that the page requested.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.loop, self.socket, self.calls = loop, socket, 0
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol, e.g. ``Page.navigate``, and return its result."""
        return self._wait(self._call(method, parameters))

    def _wait(self, task: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(task, TIMEOUT))

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        await self.socket.send_json({"id": self.calls, "method": method, "params": parameters})
        while True:
            message = json.loads((await self.socket.receive()).data)
            if message.get("id") == self.calls:
                assert "error" not in message, message
                return dict(message["result"])
            self._record(message.get("method"), message.get("params", {}))

    def _record(self, event: str | None, details: dict[str, Any]) -> None:
        """Keep an event of the page if it is an error, a warning or a request."""
        if event == "Runtime.exceptionThrown" or (
            event == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning", "assert")
        ):
            self.complaints.append(json.dumps(details))
        elif event == "Log.entryAdded" and details["entry"]["level"] in ("error", "warning"):
            self.complaints.append(details["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])

    def open(self, path: Path) -> None:
        """Open a page of facekp from a file and wait until its script is ready."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.until("document.body && document.body.dataset.ready === 'true'")

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + TIMEOUT
        while not self.value(expression):
            assert time.monotonic() < end, f"did not become true: {expression}"
            time.sleep(0.1)

    def click(self, selector: str, number: int = 0) -> None:
        """Click in the middle of an element: of those that match the selector, the one with this number."""
        element = f"document.querySelectorAll({json.dumps(selector)})[{number}]"
        self.value(f"{element}.scrollIntoView({{block: 'center', inline: 'center', behavior: 'instant'}})")
        x, y = self.value(
            f"(() => {{const b = {element}.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]}})()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A running browser; the test is skipped if none is installed.

    Args:
        folder: for the browser's profile; deleted at the end.
    """
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    command = [program, *FLAGS, "--window-size=1400,1000", "--remote-debugging-port=0", f"--user-data-dir={folder}"]
    process = subprocess.Popen([*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    try:
        port_file = folder / "DevToolsActivePort"
        end = time.monotonic() + TIMEOUT
        while not port_file.is_file() or len(port_file.read_text().splitlines()) < 2:
            assert process.poll() is None, "the browser did not start"
            assert time.monotonic() < end, "the browser did not write its port"
            time.sleep(0.1)
        session, socket = loop.run_until_complete(_connect(int(port_file.read_text().splitlines()[0])))
        try:
            yield Browser(loop, socket)
        finally:
            loop.run_until_complete(session.close())
    finally:
        loop.close()
        process.terminate()
        process.wait(timeout=TIMEOUT)
        shutil.rmtree(folder, ignore_errors=True)


async def _connect(port: int) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    session = aiohttp.ClientSession()
    while True:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
            pages = [target for target in await response.json() if target["type"] == "page"]
        if pages:
            return session, await session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0)
        await asyncio.sleep(0.1)
