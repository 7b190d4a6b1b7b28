"""The server of the web page: on 127.0.0.1 only, for its own page only, with limits of time, size and files.

Other sites that the user's browser shows can reach 127.0.0.1, also under a name of their own (DNS rebinding). So each
request must name this server in its Host header, and may come from this page only (Origin). Uploads are stored in a
folder that only this user can read; it is removed when the server stops.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HOST = "127.0.0.1"
LOCAL_NAMES = (HOST, "localhost")  # of this machine, in a browser's address line
HEADER_SECONDS = 10.0  # for the headers of a request; a browser needs milliseconds
STALL_SECONDS = 15.0  # between two parts of an upload
UPLOAD_SECONDS = 60.0  # for a whole upload; 20 MB on one machine take less than one
OVERHEAD = 2**16  # bytes of an upload besides the photo
MAX_CONNECTIONS = 64  # at a time; a browser opens 6
KEPT_SECONDS = 120.0  # that an upload waits to be read; those that were given up are deleted then
MAX_UPLOADS = 16  # that wait at a time; older ones are deleted
TEMP_DIR = "GRADIO_TEMP_DIR"  # environment variable that names Gradio's folder

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

REFUSALS = {403: "this address is not served", 408: "the request took too long", 413: "the upload is too large"}


class Guard:
    """An ASGI application that refuses requests from other sites, and those that are too large or too slow.

    Args:
        app: gets the other requests.
        port: where the server listens.
        max_bytes: of a request's body.
        uploads: folder of the uploads.
    """

    def __init__(self, app: App, port: int, max_bytes: int, uploads: Path) -> None:
        self.app, self.max_bytes, self.uploads = app, max_bytes, uploads
        self.hosts = {f"{name}:{port}" for name in LOCAL_NAMES} | ({*LOCAL_NAMES} if port == 80 else set())

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the server's own start and end; it takes no WebSockets
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, self.max_bytes)
        if not self._is_from_here(scope["headers"]):
            await exchange.refuse(403)
        elif _length(scope["headers"]) > self.max_bytes:
            await exchange.refuse(413)
        else:
            await self._answer(scope, exchange)

    async def _answer(self, scope: MutableMapping[str, Any], exchange: _Exchange) -> None:
        delete_old(self.uploads)
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except Exception:
            if not exchange.refused:
                raise
        finally:
            if scope["method"] == "POST":
                later = asyncio.get_running_loop().call_later
                later(KEPT_SECONDS + 1, delete_old, self.uploads)

    def _is_from_here(self, headers: list[tuple[bytes, bytes]]) -> bool:
        hosts = [value.decode("latin-1").lower() for name, value in headers if name == b"host"]
        origins = [value.decode("latin-1").lower() for name, value in headers if name == b"origin"]
        known = {f"http://{host}" for host in self.hosts}
        return len(hosts) == 1 and hosts[0] in self.hosts and all(origin in known for origin in origins)


class _Exchange:
    """A request's body and its response, within limits of size and time."""

    def __init__(self, receive: Receive, send: Send, max_bytes: int) -> None:
        self._receive, self._send, self.max_bytes = receive, send, max_bytes
        self.deadline = time.monotonic() + UPLOAD_SECONDS
        self.received = 0
        self.complete = self.started = self.refused = False

    async def receive(self) -> Message:
        if self.refused:
            return {"type": "http.disconnect"}
        if self.complete:  # waits for the end of the connection
            return await self._receive()
        left = min(STALL_SECONDS, self.deadline - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError:
            return await self.refuse(408)
        self.received += len(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        return await self.refuse(413) if self.received > self.max_bytes else message

    async def send(self, message: Message) -> None:
        if not self.refused:
            self.started = True
            await self._send(message)

    async def refuse(self, status: int) -> Message:
        """Answer with an error, and let the application see a closed connection."""
        self.refused = True
        if not self.started:
            text = REFUSALS[status].encode()
            headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            await self._send({"type": "http.response.body", "body": text})
        return {"type": "http.disconnect"}


def _length(headers: list[tuple[bytes, bytes]]) -> int:
    """The stated length of a request's body; 0 where it is not stated."""
    stated = next((value for name, value in headers if name == b"content-length"), b"0")
    return int(stated) if stated.isdigit() else 0


class TimedProtocol(H11Protocol):
    """uvicorn's HTTP, which closes connections that take too long to send a request's headers."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Start the clock when a connection waits for headers, and stop it when they are complete."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_watching()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEADER_SECONDS, self._close)

    def _close(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class PageServer:
    """A running server; ``close`` stops it.

    Args:
        app: without limits; it is wrapped in a `Guard`.
        port: of 127.0.0.1.
        max_bytes: size up to which an upload is accepted.
        uploads: folder of the uploads.

    Attributes:
        local_url: address of the page.

    Raises:
        OSError: the port is in use.
    """

    def __init__(self, app: App, port: int, max_bytes: int, uploads: Path) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, port))
            self._socket.listen()
        except OSError:
            self._socket.close()
            raise
        self.local_url = f"http://{HOST}:{port}/"
        self._server = uvicorn.Server(
            uvicorn.Config(
                Guard(app, port, max_bytes + OVERHEAD, uploads),
                http=TimedProtocol,
                ws="none",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_graceful_shutdown=2,  # seconds; pages that are open keep a connection
            )
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when the server has stopped."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """Stop the server, and close its port."""
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()


@contextmanager
def upload_folder() -> Iterator[Path]:
    """A new folder that only this user may read, as Gradio's folder; it is removed at the end."""
    before = os.environ.get(TEMP_DIR)
    if before:
        Path(before).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="facekp-app-", dir=before or None))  # mode 0700
    os.environ[TEMP_DIR] = str(folder)
    try:
        yield folder
    finally:
        if before is None:
            os.environ.pop(TEMP_DIR, None)
        else:
            os.environ[TEMP_DIR] = before
        shutil.rmtree(folder, ignore_errors=True)


def delete_old(folder: Path, seconds: float = KEPT_SECONDS, max_files: int = MAX_UPLOADS) -> None:
    """Delete abandoned uploads: those older than ``seconds``, and all but the newest ``max_files`` files.

    Args:
        folder: where uploads are kept.
        seconds: age of the files that are deleted in any case.
        max_files: number of files that stay, the newest ones.
    """
    files = []
    for path in folder.rglob("*"):
        with suppress(OSError):  # deleted meanwhile
            if path.is_file():
                files.append((path.stat().st_mtime, path))
    files.sort(reverse=True)
    old = [
        path
        for position, (written, path) in enumerate(files)
        if position >= max_files or time.time() - written > seconds
    ]
    for path in old:
        with suppress(OSError):
            path.unlink(missing_ok=True)
            if path.parent != folder:
                path.parent.rmdir()
