"""What a server may write into the socket, through the real client: status lines, headers, lengths, chunks, and ends.

A case is one line of JSON, which says how the connection ends, and then the bytes of the answer.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import anyio

from pipeline.endpoint.form import Edit
from pipeline.endpoint.judge import judge
from pipeline.endpoint.key import Key
from pipeline.endpoint.reply import Flight, Reply
from pipeline.endpoint.transport import Transport
from pipeline.manifest.models import Endpoint
from pipeline.outcome import Outcome
from tests.endpoint.conftest import PNG, read_request, upload_of
from tests.fuzz.answers import NOW, SECRET, body, good
from tests.fuzz.harness import Check, Kind
from tests.fuzz.mutate import NUMBERS, TEXTS, changed

MOST = 2_000_000
"""`max_response` of all cases."""
PATIENCE = 1.0
"""Seconds that an answer may take."""

_STATUS_LINES = (
    *("HTTP/1.1 200 OK",) * 12, "HTTP/1.1 400 Bad Request", "HTTP/1.1 429 Too Many", "HTTP/1.1 503 x",
    "HTTP/1.0 200 OK", "HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified", "HTTP/1.1 301 Moved",
    "HTTP/1.1 999 What", "HTTP/1.1 099 x", "HTTP/1.1 2000 OK", "HTTP/1.1 -1 OK", "HTTP/1.1 abc OK", "HTTP/2.0 200 OK",
    "HTTP/0.9 200 OK", "HTTP/1.1 200", "HTTP/1.1  200  OK", "http/1.1 200 ok", "ICY 200 OK", "PRI * HTTP/2.0",
    "HTTP/1.1 200 \x01\x02", "HTTP/1.1 200 é😀", "", "HTTP/1.1 101 Switching Protocols", "HTTP/1.1 100 Continue",
    "HTTP/1.1 200 " + "O" * 70_000, "HTTP/9999999.1 200 OK",
)  # fmt: skip
_NAMES = (
    "Content-Length", "Content-Length", "Transfer-Encoding", "Content-Encoding", "Content-Type", "Connection",
    "Retry-After", "retry-after-ms", "x-ratelimit-remaining-requests", "x-ratelimit-reset-images", "Date",
    "x-request-id", "Set-Cookie", "Location", "Trailer", "Upgrade", "Proxy-Authenticate", "Keep-Alive", "X", "", " X",
    "X ", "X\tY", "X:Y", "é", "\x00",
)  # fmt: skip
_VALUES = (
    "0", "-1", "5", "+5", "0x5", "5, 5", "5, 6", "1e3", "99999999999999999999", "", "chunked", "identity",
    "chunked, chunked", "gzip", "deflate", "br", "gzip, gzip", "application/json", "text/html; charset=utf-7",
    "close", "keep-alive, close", "http://127.0.0.1:1/", "//evil/", "websocket", "h2c", "a\r\n b", "a\n\tb", "a\rb",
    "\x00", "é", "\x7f", "x" * 5000, "x" * 1_000_000, SECRET, "Wed, 21 Oct 2026 07:28:00 GMT", "12ms", *NUMBERS[:20],
)  # fmt: skip
_ENDS = ("close", "close", "close", "reset", "stay", "half")


def drawn(rng: Random) -> bytes:
    """An answer with a head of any kind, and an end of any kind."""
    content = json.dumps(good()).encode() if rng.random() < 0.4 else body(rng)[:3_000_000]
    answer = _answer(rng, content)
    if rng.random() < 0.25:
        answer = changed(
            rng, answer, (), tuple(text.encode() for text in ("\r\n", "\r\n\r\n", "\n", "0\r\n\r\n", ":", "\0"))
        )
    if rng.random() < 0.15:
        answer = answer[: rng.randrange(len(answer) + 1)]
    if rng.random() < 0.02:
        answer = rng.choice(
            (
                b"",
                b"\r\n" * 5000,
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"\x16\x03\x01\x02\0",
                b"\0" * 3000,
                b"A" * 90_000,
            )
        )
    end = "stay" if rng.random() < 0.01 else rng.choice([end for end in _ENDS if end != "stay"])
    return json.dumps({"end": end, "pieces": rng.choice((1, 1, 1, 3, 40))}).encode() + b"\n" + answer


def _answer(rng: Random, content: bytes) -> bytes:
    before = b"".join(
        b"HTTP/1.1 %d Wait\r\nX: y\r\n\r\n" % rng.choice((100, 102, 103))
        for _ in range(rng.choice((0, 0, 0, 1, 3, 3000)))
    )
    names = [f"{rng.choice(_NAMES)}: {rng.choice((*_VALUES, *TEXTS))}" for _ in range(rng.choice((0, 0, 1, 2, 5)))]
    if rng.random() < 0.01:
        names += [f"X-{number}: y" for number in range(10_000)]
    encoding = rng.choice(("", "", "", "", "gzip", "zeros"))
    if encoding:
        content = gzip.compress(bytes(30_000_000) if encoding == "zeros" else content, 1, mtime=0)
        names.append("Content-Encoding: gzip")
    match rng.randrange(5):
        case 0:
            content = _chunks(rng, content)
            names.append("Transfer-Encoding: chunked")
        case 1:
            names.append(f"Content-Length: {len(content) + rng.choice((-1, 1, 1000))}")
        case 2 | 3:
            names.append(f"Content-Length: {len(content)}")
    rng.shuffle(names)
    end = rng.choice(("\r\n", "\r\n", "\r\n", "\n"))
    head = end.join([rng.choice(_STATUS_LINES), *names, "", ""])
    return before + head.encode("utf-8", "replace") + content


def _chunks(rng: Random, content: bytes) -> bytes:
    size = max(1, len(content) // rng.choice((1, 2, 9)))
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    made = [b"%x%s\r\n%s\r\n" % (len(part), rng.choice((b"", b"", b";a=b")), part) for part in parts] + [b"0\r\n\r\n"]
    if rng.random() < 0.4:
        at = rng.randrange(len(made))
        odd = (
            b"-5\r\nhello\r\n",
            b"zz\r\n",
            b"ffffffffffffffff\r\n",
            b"0\r\nX: y\r\n\r\n",
            b"",
            b"5\r\nhello",
            b"5;" + b"a" * 70_000,
        )
        made[at] = rng.choice(odd)
    return b"".join(made)


@contextmanager
def opened(folder: Path) -> Iterator[Check]:
    """Checks what the client makes of an answer, with a server and a client that live as long as the cases."""
    upload = upload_of(folder / "a.png", PNG)
    edit = Edit({"prompt": "p", "model": "m"}, (upload,), None, "idem-1")
    with asyncio.Runner() as runner:
        server = runner.run(_Server.opened())
        transport = runner.run(_transport(server.port, folder))
        try:
            yield lambda data: checked(runner.run(_exchanged(server, transport, edit, data)))
        finally:
            runner.run(_closed(server, transport))


class _Server:
    """Writes `answer` to whoever asks, and ends the connection as `end` says."""

    def __init__(self) -> None:
        self.answer, self.end, self.pieces = b"", "close", 1
        self.port = 0
        self._listener: asyncio.Server | None = None

    @classmethod
    async def opened(cls) -> _Server:
        server = cls()
        server._listener = await asyncio.start_server(server._serve, "127.0.0.1", 0)
        server.port = server._listener.sockets[0].getsockname()[1]
        return server

    async def close(self) -> None:
        assert self._listener is not None
        self._listener.close()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await read_request(reader)
            size = max(1, len(self.answer) // self.pieces)
            for at in range(0, len(self.answer), size):
                writer.write(self.answer[at : at + size])
                await writer.drain()
                await asyncio.sleep(0)
            if self.end == "reset":
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            elif self.end == "half":
                writer.write_eof()
                await reader.read()
            elif self.end == "stay":
                await reader.read()
        with suppress(ConnectionError):
            writer.close()


async def _transport(port: int, folder: Path) -> Transport:
    endpoint = Endpoint(max_response=MOST, fetch_urls="same-host")
    readers = anyio.CapacityLimiter(2)
    made = Transport(
        f"http://127.0.0.1:{port}/v1", endpoint, Key(SECRET), timeout=PATIENCE, folder=folder, readers=readers
    )
    return await made.__aenter__()


async def _closed(server: _Server, transport: Transport) -> None:
    await transport.__aexit__(None, None, None)
    await server.close()


async def _exchanged(server: _Server, transport: Transport, edit: Edit, data: bytes) -> Reply:
    head, _, server.answer = data.partition(b"\n")
    try:
        told = json.loads(head)
        server.end, server.pieces = str(told["end"]), int(told["pieces"])
    except (ValueError, LookupError, TypeError):
        server.end, server.pieces = "close", 1
    with anyio.fail_after(PATIENCE + 20):
        return await transport.post(edit, Flight())


def checked(reply: Reply) -> str:
    """A reply within its bounds, without the key, that is judged to an outcome; what was sent is never `unsent`."""
    assert len(reply.body) <= MOST
    assert reply.status is None or 0 <= reply.status <= 999
    kept = "".join(f"{name}{value}" for name, value in reply.headers.items())
    assert SECRET not in kept + reply.detail
    assert len(kept) < 1_000_000
    assert reply.began
    verdict = judge(reply, Key(SECRET), NOW)
    assert verdict.outcome is not Outcome.UNSENT, reply.failure
    text = f"{verdict.message}{verdict.code}{verdict.request_id}"
    assert text.isprintable()
    assert SECRET not in text
    return verdict.outcome.value if reply.failure is None else f"{verdict.outcome.value}, {reply.failure.value}"


KINDS: Sequence[Kind] = (Kind("wire", drawn, opened, megabytes=100),)
