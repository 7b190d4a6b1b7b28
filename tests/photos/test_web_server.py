"""The server of the web page: who may ask, how much, and how slowly."""

import http.client
import os
import socket
import stat
import time

import pytest

pytest.importorskip("uvicorn", reason="needs pip install 'facekp[app]'")
from facekp.photos import web_server
from facekp.photos.web_server import Guard, PageServer, delete_old, upload_folder


async def echo(scope, receive, send):
    """Answers with the size of the body."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client is gone")
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(web_server, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(web_server, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(web_server, "UPLOAD_SECONDS", 1.5)
    monkeypatch.setattr(web_server, "OVERHEAD", 0)
    port = free_port()
    running = PageServer(echo, port, max_bytes=1000, uploads=tmp_path)
    yield port
    running.close()


def ask(port, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, "/", body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_the_page_itself_may_ask(server):
    for name in ("127.0.0.1", "localhost"):
        host = f"{name}:{server}"
        assert ask(server, Host=host) == (200, b"0")
        assert ask(server, "POST", b"12345", Host=host, Origin=f"http://{host}") == (200, b"5")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1.evil.example:{port}"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
def test_others_are_refused(server, headers):
    status, text = ask(server, **{name: value.format(port=server) for name, value in headers.items()})
    assert 400 <= status < 500
    assert b"evil" not in text


def test_two_hosts_are_refused(server):
    with socket.create_connection(("127.0.0.1", server), timeout=10) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server}\r\nHost: evil.example\r\n\r\n".encode())
        assert connection.recv(100).split()[1][:1] == b"4"


def test_a_body_is_bounded_whether_or_not_its_length_is_stated(server):
    assert ask(server, "POST", b"x" * 1000) == (200, b"1000")
    assert ask(server, "POST", b"x" * 1001)[0] == 413
    with socket.create_connection(("127.0.0.1", server), timeout=10) as connection:
        connection.sendall(
            f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{server}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        sent = 0
        try:
            for _ in range(1000):
                connection.sendall(b"64\r\n" + b"x" * 100 + b"\r\n")
                sent += 100
                time.sleep(0.001)
        except OSError:
            pass
        assert sent < 100_000  # closed while the body streamed


def closed_after(connection, send, seconds=8.0):
    """Send a byte every 0.2 seconds; how long it took until the server answered or closed the connection."""
    started = time.monotonic()
    connection.settimeout(0.2)
    while time.monotonic() - started < seconds:
        try:
            connection.sendall(send)
            connection.recv(1000)
            return time.monotonic() - started
        except TimeoutError:
            continue
        except OSError:
            return time.monotonic() - started
    return seconds


def test_slow_connections_are_closed(server):
    with socket.create_connection(("127.0.0.1", server)) as silent:
        assert closed_after(silent, b"") < 4
    with socket.create_connection(("127.0.0.1", server)) as slow:  # headers, a byte at a time
        slow.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server}\r\nX: ".encode())
        assert closed_after(slow, b"a") < 4
    with socket.create_connection(("127.0.0.1", server)) as slow:  # a body, a byte at a time
        slow.sendall(f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{server}\r\nContent-Length: 900\r\n\r\n".encode())
        assert closed_after(slow, b"a") < 4
    with socket.create_connection(("127.0.0.1", server)) as second:  # the second request of a connection
        second.settimeout(5)
        second.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server}\r\n\r\n".encode())
        assert b"200" in second.recv(1000)
        second.sendall(b"GET / HT")
        assert closed_after(second, b"a") < 4
    assert ask(server) == (200, b"0")


def test_the_folder_of_uploads_is_private_and_goes_away(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    with upload_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
        (folder / "a").mkdir()
        (folder / "a" / "photo.jpg").touch()
    assert not folder.exists()
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path / "gradio")
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    with upload_folder() as folder:
        assert folder.is_dir()
    assert "GRADIO_TEMP_DIR" not in os.environ


def test_uploads_that_nobody_reads_are_deleted(tmp_path):
    for age in range(5):
        file = tmp_path / f"hash{age}" / "photo.jpg"
        file.parent.mkdir()
        file.touch()
        os.utime(file, (time.time() - 10 * age,) * 2)
    delete_old(tmp_path, seconds=35, max_files=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hash0", "hash1", "hash2"]
    delete_old(tmp_path, seconds=5, max_files=3)
    assert [path.name for path in tmp_path.iterdir()] == ["hash0"]
    delete_old(tmp_path / "none")


def test_a_guard_knows_its_hosts():
    assert Guard(echo, 80, 1, None).hosts == {"127.0.0.1", "localhost", "127.0.0.1:80", "localhost:80"}
