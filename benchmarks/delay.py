"""An endpoint that reads each request to its end, keeps none of it, and answers the same some seconds later.

`python -m benchmarks.delay SECONDS ANSWER` prints its base URL. Its only work for a long body is the copy out of the
kernel, into one buffer for all connections; nginx would hold it in memory or write it to disk.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import cast

import uvloop

_BUFFER = memoryview(bytearray(1 << 18))
_HEADERS_END = b"\r\n\r\n"


class Exchange(asyncio.BufferedProtocol):
    """A connection: headers, a body by its Content-Length, the answer, and so on; no request before its answer."""

    def __init__(self, seconds: float, answer: bytes) -> None:
        """`seconds` from the last byte of a request to the first of its answer."""
        self._seconds, self._answer = seconds, answer
        self._headers = bytearray()
        self._left: int | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without being derived from it

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """The buffer of all connections: what is in it is used up before anything else is read."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Count a piece of the request; answer after its last."""
        if self._left is not None:
            self._left -= nbytes
        else:
            self._headers += _BUFFER[:nbytes]
            end = self._headers.find(_HEADERS_END)
            if end < 0:
                return
            self._left = content_length(self._headers[:end]) - (len(self._headers) - end - len(_HEADERS_END))
        if self._left <= 0:
            self._headers.clear()
            self._left = None
            asyncio.get_running_loop().call_later(self._seconds, self._say)

    def _say(self) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.write(self._answer)


def content_length(headers: bytes | bytearray) -> int:
    """The length of a request's body. Raises ValueError where the headers do not tell it."""
    for line in headers.splitlines():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError("the request has no Content-Length")


async def serve(seconds: float, answer: bytes) -> None:
    """Answer until the process is ended."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Exchange, seconds, head + answer), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


@contextmanager
def delayed(seconds: float, answer: bytes) -> Iterator[str]:
    """The base URL of such an endpoint in a process of its own, while the block lasts."""
    with NamedTemporaryFile(prefix="retouch-benchmark-") as file:
        file.write(answer)
        file.flush()
        command = [sys.executable, "-m", "benchmarks.delay", str(seconds), file.name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                yield server.stdout.readline().strip()
            finally:
                server.terminate()


if __name__ == "__main__":
    uvloop.run(serve(float(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
