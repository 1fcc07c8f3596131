"""An endpoint that counts whoever calls, and makes the same small picture of everything."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread
from typing import Any

from PIL import Image


def _answer() -> bytes:
    picture = BytesIO()
    Image.new("RGB", (16, 16), "white").save(picture, "PNG")
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    return json.dumps({"data": [{"b64_json": base64.b64encode(picture.getvalue()).decode()}], "usage": usage}).encode()


ANSWER = _answer()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: Any) -> None:
        """Nothing: stderr is what the tests read."""


class Endpoint(ThreadingHTTPServer):
    """`connections` counts all that were ever accepted; `url` is the base URL for clients."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def verify_request(self, *_: Any) -> bool:
        self.connections += 1
        return True


@contextmanager
def counting() -> Iterator[Endpoint]:
    """Serve while the block lasts."""
    with Endpoint() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
