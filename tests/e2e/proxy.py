"""A TCP proxy that does to a connection what networks do, byte for byte, and counts what it let through.

A request is recognised by its prompt, which stands near its head; until then it is held back. What `Plan` says then
happens to its bytes and to those of the answer.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_PROMPT = re.compile(rb'name="prompt"\r\n\r\n(.*?)\r\n--', re.DOTALL)
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_READ = 1 << 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to an exchange.

    After `request` bytes of the request, or `response` bytes of the answer (from its end where negative), the
    connection ends on both sides: with a FIN, or a RST where `reset`. `delay` seconds pass before the answer begins,
    `pace` seconds between its bytes. With `swallow` the request is read and nothing ever comes back. The `twice` bytes
    of the answer come two times.
    """

    request: int | None = None
    response: int | None = None
    reset: bool = False
    delay: float = 0.0
    pace: float = 0.0
    swallow: bool = False
    twice: slice | None = None


@dataclass(slots=True)
class Passed:
    """What came of an exchange: the whole lengths of request and answer, and the bytes that reached either side."""

    length: int = 0
    answer: int = 0
    up: int = 0
    down: int = 0


@dataclass(slots=True)
class Proxy:
    """Between a client and the server at `port`; `plans` by prompt, `passed` what each exchange came to."""

    port: int
    url: str = ""
    plans: dict[str, Plan] = field(default_factory=dict)
    passed: dict[str, list[Passed]] = field(default_factory=dict)
    heads: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which carries one exchange."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._exchange(reader, writer)
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _request(reader)
        found = _PROMPT.search(request)
        plan = self.plans.get(found[1].decode() if found else "", Plan())
        passed = Passed(len(request))
        self.passed.setdefault(found[1].decode() if found else "", []).append(passed)
        upstream, forward = await asyncio.open_connection("127.0.0.1", self.port)
        sent = request if plan.request is None else request[: plan.request]
        forward.write(sent)
        passed.up = len(sent)
        if plan.request is not None and plan.request < len(request):
            await forward.drain()
            _end(forward, reset=plan.reset)
            _end(writer, reset=plan.reset)
            return
        try:
            await self._answer(upstream, reader, writer, plan, passed)
        finally:
            _end(forward, reset=plan.reset)

    async def _answer(
        self,
        upstream: asyncio.StreamReader,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        plan: Plan,
        passed: Passed,
    ) -> None:
        if plan.swallow:
            await reader.read()
            return
        answer = await _response(upstream)
        passed.answer = len(answer)
        if plan.twice is not None:
            start, stop, _ = plan.twice.indices(len(answer))
            answer = answer[:stop] + answer[start:stop] + answer[stop:]
        await asyncio.sleep(plan.delay)
        cut = answer if plan.response is None else answer[: plan.response]
        for piece in [cut] if not plan.pace else (cut[at : at + 1] for at in range(len(cut))):
            writer.write(piece)
            await writer.drain()
            passed.down += len(piece)
            await asyncio.sleep(plan.pace)
        if len(cut) < len(answer):
            # A RST overtakes bytes that the other side has not read yet.
            await asyncio.sleep(0.02 if plan.reset else 0)
            _end(writer, reset=plan.reset)


@dataclass(slots=True)
class Tunnel:
    """An HTTP proxy that only knows CONNECT; `heads` are the requests that it saw."""

    url: str = ""
    heads: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            host, _, port = head.split()[1].decode().partition(":")
            upstream, forward = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pump(reader, forward), _pump(upstream, writer))
        writer.close()


@dataclass(slots=True)
class Cutter:
    """Passes bytes on to `port` unseen, and resets or closes a connection after `up` bytes to it or `down` from it.

    The numbers of a connection are the next of `cuts`; `passed` counts what went each way.
    """

    port: int
    url: str = ""
    reset: bool = False
    cuts: list[tuple[int | None, int | None]] = field(default_factory=list)
    passed: list[list[int]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        up, down = self.cuts.pop(0) if self.cuts else (None, None)
        counts = [0, 0]
        self.passed.append(counts)
        with suppress(ConnectionError, asyncio.CancelledError):
            upstream, forward = await asyncio.open_connection("127.0.0.1", self.port)
            ways = [
                asyncio.create_task(_pump(reader, forward, counts, 0, up)),
                asyncio.create_task(_pump(upstream, writer, counts, 1, down)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            _end(forward, reset=self.reset)
            _end(writer, reset=self.reset)


async def _pump(
    source: asyncio.StreamReader,
    target: asyncio.StreamWriter,
    counts: list[int] | None = None,
    way: int = 0,
    limit: int | None = None,
) -> None:
    counted = counts or [0, 0]
    while limit is None or counted[way] < limit:
        data = await source.read(_READ if limit is None else min(_READ, limit - counted[way]))
        if not data:
            break
        target.write(data)
        await target.drain()
        counted[way] += len(data)
    if counts is None:
        target.close()


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head + await reader.readexactly(int(length[1]) if length else 0)


async def _response(upstream: asyncio.StreamReader) -> bytes:
    head = await upstream.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head + (await upstream.readexactly(int(length[1])) if length else await upstream.read())


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset and not writer.is_closing():
        opened = writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    writer.close()


@contextmanager
def proxying(port: int) -> Iterator[Proxy]:
    """A proxy to a server on loopback; `url` is a base URL."""
    proxy = Proxy(port)
    with _listening(proxy.serve) as own:
        proxy.url = f"http://127.0.0.1:{own}/v1"
        yield proxy


@contextmanager
def tunnelling() -> Iterator[Tunnel]:
    """An HTTP proxy; `url` is what a manifest names."""
    tunnel = Tunnel()
    with _listening(tunnel.serve) as own:
        tunnel.url = f"http://127.0.0.1:{own}"
        yield tunnel


@contextmanager
def cutting(port: int, *, reset: bool = False) -> Iterator[Cutter]:
    """A cutter before a server on loopback; `url` has no scheme."""
    cutter = Cutter(port, reset=reset)
    with _listening(cutter.serve) as own:
        cutter.url = f"127.0.0.1:{own}/v1"
        yield cutter


@contextmanager
def _listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> Iterator[int]:
    """Serve in a thread while the block lasts; the port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 26)

    async def end() -> None:
        listener.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    listener = asyncio.run_coroutine_threadsafe(listen(), loop).result(60)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
