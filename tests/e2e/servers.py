"""Servers that misbehave: each prompt has a play, and each request for it the play's next scene on the bare socket."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from tests.e2e.stage import Stage, photo

CANARY = "CANARY-5up3r5ecret"
KEY = f"sk-{CANARY}/+<&\">'\\%{{}}-and-a-tail-of-it"
"""A key that JSON, HTML and URLs each write in another way."""

USAGE: dict[str, Any] = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
_PROMPT = re.compile(rb'name="prompt"\r\n\r\n(.*?)\r\n--', re.DOTALL)


def picture(size: tuple[int, int] = (1024, 1024), format: str = "PNG") -> bytes:
    """A plain picture."""
    data = BytesIO()
    Image.new("RGB", size, (9, 90, 200)).save(data, format)
    return data.getvalue()


PICTURE = picture()


def encoded(data: bytes) -> dict[str, str]:
    """An image as an entry of `data`."""
    return {"b64_json": base64.b64encode(data).decode()}


def edit(*images: bytes, usage: Any = USAGE, **more: Any) -> bytes:
    """A good answer's body, with one plain picture unless others are given."""
    body = {"created": 1, "data": [encoded(image) for image in images or (PICTURE,)], "usage": usage, **more}
    return json.dumps(body).encode()


def error(message: str = "no", code: str | None = None, **more: Any) -> bytes:
    """An error envelope."""
    return json.dumps(
        {"error": {"message": message, "type": "test_error", "param": None, "code": code, **more}}
    ).encode()


def response(body: bytes = b"", status: str = "200 OK", **headers: str | None) -> bytes:
    """A whole response; a header that is None is left out, `_` in its name stands for `-`."""
    named = {"Content-Type": "application/json", "Content-Length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value is not None)
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("latin-1") + body


@dataclass(slots=True)
class Request:
    """A request as it arrived; `whole` says whether its body had the promised length, `at` is monotonic."""

    line: str
    headers: dict[str, str]
    connection: int
    body: bytes = b""
    whole: bool = False
    at: float = field(default_factory=time.monotonic)

    @property
    def prompt(self) -> str:
        """What was asked for, in either form of the request."""
        found = _PROMPT.search(self.body)
        if found is not None:
            return found[1].decode()
        return str(json.loads(self.body)["prompt"]) if self.body[:1] == b"{" else ""

    @property
    def key(self) -> str:
        """The key that came with it, for servers that repeat it."""
        return self.headers.get("authorization", "").removeprefix("Bearer ") or self.headers.get("api-key", "")


@dataclass(slots=True)
class Wire:
    """One request's connection."""

    server: Hostile
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    request: Request

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with a RST."""
        opened = self.writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        """Close in order."""
        self.writer.close()

    async def left(self) -> None:
        """Wait until the client goes."""
        with suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass


Scene = Callable[[Wire], Awaitable[None]]


def says(body: bytes = b"", status: str = "200 OK", **headers: str | None) -> Scene:
    """The scene that sends a whole response and leaves the connection open.

    The request's key stands in for `@KEY@`, and as others would write it for the names of `forms_of`.
    """

    async def scene(wire: Wire) -> None:
        told = response(body, status, **headers)
        head, _, rest = told.partition(b"\r\n\r\n")
        rest = filled(rest, wire.request.key)
        head = re.sub(rb"(?<=Content-Length: )%d(?=\r\n|$)" % len(body), b"%d" % len(rest), head)
        await wire.send(filled(head, wire.request.key) + b"\r\n\r\n" + rest)

    return scene


def forms_of(key: str) -> dict[str, str]:
    """A key as it is, and as JSON, HTML, a URL, base64 and careful writers of JSON put it."""
    return {
        "KEY": key,
        "JSON": json.dumps(key)[1:-1],
        "HTML": html.escape(key),
        "URL": quote(key, safe=""),
        "SWAPPED": key.swapcase(),
        "UNICODE": "".join(char if char.isalnum() else f"\\u00{ord(char):02X}" for char in key),
        "TWICE": quote(quote(key, safe=""), safe=""),
        "BASE64": base64.b64encode(key.encode()).decode(),
        "BASIC": base64.b64encode(f"u:{key}".encode()).decode(),
        "URLSAFE": base64.urlsafe_b64encode(f"me:{key}".encode()).decode(),
        "CUT": json.dumps(key)[1:41],
    }


def filled(data: bytes, key: str) -> bytes:
    """What a server says, with the key's forms in their places."""
    for name, form in forms_of(key).items():
        data = data.replace(f"@{name}@".encode(), form.encode())
    return data


OK = says(edit())


@dataclass(slots=True)
class Hostile:
    """A server on loopback. `plays` has the scenes of each prompt, the last one over and over; others get `OK`.

    `early` plays before the body is read, where it is set. `in_flight` counts requests from their head to the end of
    their scene.
    """

    url: str = ""
    plays: dict[str, list[Scene]] = field(default_factory=dict)
    early: Scene | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    in_flight: int = 0
    peak: int = 0
    _seen: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def of(self, prompt: str) -> list[Request]:
        """The requests for a prompt, in order."""
        return [request for request in self.requests if request.prompt == prompt]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        self.connections += 1
        connection, task = self.connections, asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
                await self._counted(Wire(self, reader, writer, Request(head[0], headers, connection)))
        self._tasks.discard(task)
        writer.close()

    async def _counted(self, wire: Wire) -> None:
        self.requests.append(wire.request)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await self._play(wire)
        finally:
            self.in_flight -= 1

    async def _play(self, wire: Wire) -> None:
        if self.early is not None:
            await self.early(wire)
            if wire.writer.is_closing():
                return
        try:
            wire.request.body = await wire.reader.readexactly(int(wire.request.headers.get("content-length", "0")))
        except asyncio.IncompleteReadError as cut:
            wire.request.body = cut.partial
            raise
        wire.request.whole = True
        prompt = wire.request.prompt
        scenes = self.plays.get(prompt, [OK])
        number = self._seen[prompt]
        self._seen[prompt] += 1
        await scenes[min(number, len(scenes) - 1)](wire)

    async def end(self) -> None:
        """Drop all connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.sleep(0.02)


def tls_of(certificate: Path) -> ssl.SSLContext:
    """A server's context with this certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@contextmanager
def hostile(tls: ssl.SSLContext | None = None, **settings: Any) -> Iterator[Hostile]:
    """Serve in a thread while the block lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = Hostile(**settings)

    async def listen() -> asyncio.Server:
        # The limit is above every head; bodies are read as they come.
        return await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)

    listener = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    port = listener.sockets[0].getsockname()[1]
    server.url = f"http{'s' if tls else ''}://127.0.0.1:{port}/v1"
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(listener.close)
        asyncio.run_coroutine_threadsafe(server.end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def stage_of(folder: Path, url: str, prompts: list[str], **sections: Any) -> Stage:
    """A job of one photo for the server at `url`, with a prompt of each name; `sections` go over the manifest's."""
    home, place = folder / "home", folder / "job"
    (place / "photos").mkdir(parents=True)
    home.mkdir()
    (place / "photos/a.png").write_bytes(photo(1))
    secret = home / "key"
    secret.write_text(KEY)
    secret.chmod(0o600)
    job: dict[str, Any] = {
        "version": 1,
        "name": "hostile",
        "endpoint": {"base_url": url, "api_key_file": str(secret), "max_response": "4MB"},
        "request": {"model": "gpt-image-1.5", "size": "1024x1024"},
        "image_sets": [{"name": "p", "images": "photos/*.png"}],
        "prompts": [{"name": prompt, "text": prompt} for prompt in prompts],
        "limits": {"timeout": 10, "concurrency": 8},
        "retries": {"max_attempts": 2, "max_wait": 0.5},
        "stop_on": {"failures": 1.0, "in_doubt": 1.0},
        "output": {"folder": "out"},
    }
    for name, section in sections.items():
        job[name] = job[name] | section if isinstance(section, dict) and name in job else section
    return Stage(place, home, job).write()
