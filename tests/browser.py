"""A real headless Chromium, driven over its DevTools protocol: opens a page, clicks as a user, tells what it logs."""

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
PATIENCE = 120  # seconds; a busy machine takes its time


class Browser:
    """One page. ``complaints``: errors and warnings of its console; ``requests``: addresses it asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.loop, self.socket, self.calls = loop, socket, 0
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._wait(self._call(method, parameters))

    def _wait(self, task: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(task, PATIENCE))

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        await self.socket.send_json({"id": self.calls, "method": method, "params": parameters})
        while True:
            answer = json.loads((await self.socket.receive()).data)
            if answer.get("id") == self.calls:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self._note(answer.get("method"), answer.get("params", {}))

    def _note(self, event: str | None, told: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown" or (
            event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert")
        ):
            self.complaints.append(json.dumps(told))
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])

    def open(self, path: Path) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.until("document.body && document.body.dataset.ready === 'true'")

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self.value(expression):
            assert time.monotonic() < end, f"never came true: {expression}"
            time.sleep(0.1)

    def click(self, selector: str, number: int = 0) -> None:
        """A mouse click in the middle of an element."""
        element = f"document.querySelectorAll({json.dumps(selector)})[{number}]"
        self.value(f"{element}.scrollIntoView({{block: 'center', inline: 'center', behavior: 'instant'}})")
        x, y = self.value(
            f"(() => {{const b = {element}.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]}})()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """An open browser; the test is skipped where there is none. ``folder`` takes its profile."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    command = [program, *FLAGS, "--window-size=1400,1000", "--remote-debugging-port=0", f"--user-data-dir={folder}"]
    process = subprocess.Popen([*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    try:
        told = folder / "DevToolsActivePort"
        end = time.monotonic() + PATIENCE
        while not told.is_file() or len(told.read_text().splitlines()) < 2:
            assert process.poll() is None, "the browser didn't start"
            assert time.monotonic() < end, "the browser told no port"
            time.sleep(0.1)
        session, socket = loop.run_until_complete(_connect(int(told.read_text().splitlines()[0])))
        try:
            yield Browser(loop, socket)
        finally:
            loop.run_until_complete(session.close())
    finally:
        loop.close()
        process.terminate()
        process.wait(timeout=PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)


async def _connect(port: int) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    session = aiohttp.ClientSession()
    while True:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [one for one in await answer.json() if one["type"] == "page"]
        if pages:
            return session, await session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0)
        await asyncio.sleep(0.1)
