"""Serves the example at http://127.0.0.1:8000 until Ctrl-C, with the networks of the installed facekp.

    python serve.py [NETWORK.onnx]

The network is a file of `facekp.export`; by default, it is the network `fast`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from facekp.models.packaged import file_of
from facekp.photos.yunet import WEIGHTS

HERE = Path(__file__).resolve().parent
PORT = 8000


def example_server(network: Path, port: int = PORT, others: Mapping[str, Path] | None = None) -> ThreadingHTTPServer:
    """A server of the example on 127.0.0.1.

    Args:
        network: of `facekp.export`.
        port: 0: any free one.
        others: files by the path that the page requests, in place of those in this folder.
    """
    files = {"/network.onnx": network, f"/{WEIGHTS.name}": WEIGHTS, **(others or {})}

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(HERE))

        def translate_path(self, path: str) -> str:
            return str(files.get(path) or super().translate_path(path))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    if not (HERE / "node_modules").is_dir():
        sys.exit("onnxruntime-web is missing: run npm install in this folder")
    try:
        example = example_server(Path(sys.argv[1]) if sys.argv[1:] else file_of("fast"))
    except OSError as error:
        sys.exit(f"port {PORT}: the page can't be served there ({error}); stop what uses it")
    with example as server, suppress(KeyboardInterrupt):
        print(f"open http://127.0.0.1:{server.server_port} in a browser; Ctrl-C stops the server")
        server.serve_forever()
