"""What the endpoint's tests share: an event loop, image files, and a raw server that misbehaves on request."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipeline.endpoint.form import Edit
from pipeline.endpoint.key import Key
from pipeline.endpoint.reply import Flight, Reply
from pipeline.endpoint.transport import Transport
from pipeline.endpoint.upload import Upload
from pipeline.manifest.models import Endpoint
from pipeline.mime import Mime

SECRET = "sk-proj-/aB+3=" + "Zq9" * 40
PNG = b"\x89PNG\r\n\x1a\n"
ANSWER = b'{"created":1,"data":[{"b64_json":"iVBORw0KGgo="}],"usage":{"input_tokens":5,"output_tokens":7}}'


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops, as a run uses uvloop where it is installed."""
    return "asyncio", {"use_uvloop": request.param}


def upload_of(path: Path, content: bytes, role: Any = "item", mime: Mime = "image/png") -> Upload:
    """A file with this content, and what is promised about it."""
    path.write_bytes(content)
    return Upload(role, str(path), hashlib.sha256(content).hexdigest(), len(content), mime)


def edit_of(*images: Upload, mask: Upload | None = None, **fields: Any) -> Edit:
    """An edit with a prompt and a model."""
    return Edit({"prompt": "Make it blue", "model": "gpt-image-1.5", **fields}, images, mask, "idem-1")


@dataclass(slots=True)
class Request:
    """A request as it arrived; `whole` says whether its body had the promised length."""

    line: str
    headers: dict[str, str]
    body: bytes
    whole: bool


async def read_request(reader: Reader) -> Request:
    """Read one request. Raises IncompleteReadError where the connection ends before its head."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    try:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except asyncio.IncompleteReadError as exc:
        return Request(head[0], headers, exc.partial, False)
    except ConnectionError:
        return Request(head[0], headers, b"", False)
    return Request(head[0], headers, body, True)


def response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """A response with its Content-Length."""
    named = {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


Behaviour = Callable[[Reader, Writer], Awaitable[None]]


@dataclass(slots=True)
class Server:
    """A server on loopback: `requests` are those that arrived, `connections` how many were made."""

    url: str
    port: int
    requests: list[Request] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def serving(
    answer: bytes | Callable[[Server, Reader, Writer], Awaitable[None]],
    tls: Any = None,
) -> AsyncIterator[Server]:
    """Serve: bytes are written after each request; a function does as it likes with each connection."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: Reader, writer: Writer) -> None:
        server.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            if callable(answer):
                await answer(server, reader, writer)
            else:
                while True:
                    server.requests.append(await read_request(reader))
                    writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    server = Server(f"http{'s' if tls else ''}://127.0.0.1:{port}/v1", port)
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.sleep(0.02)


def transport_to(url: str, folder: Path, timeout: float = 5.0, key: Key | None = None, **endpoint: Any) -> Transport:
    """A transport with few readers; without a key unless one is given."""
    if key is None:
        endpoint.setdefault("auth", "none")
    return Transport(url, Endpoint(**endpoint), key, timeout=timeout, folder=folder, readers=anyio.CapacityLimiter(4))


async def post_to(url: str, folder: Path, *, seconds: float = 5.0, **endpoint: Any) -> Reply:
    """One edit with a small image; `seconds` is its timeout."""
    edit = edit_of(upload_of(folder / "a.png", PNG))
    async with transport_to(url, folder, seconds, **endpoint) as transport:
        with anyio.fail_after(seconds + 5):
            return await transport.post(edit, Flight())


def reset(writer: Writer) -> None:
    """Close a connection with a RST."""
    opened = writer.get_extra_info("socket")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])
