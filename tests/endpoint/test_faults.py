from __future__ import annotations

import asyncio
import os
import resource
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipeline.endpoint.judge import judge
from pipeline.endpoint.reply import Failure, Flight
from tests.endpoint.conftest import (
    ANSWER,
    PNG,
    Server,
    closed_port,
    edit_of,
    post_to,
    read_request,
    reset,
    response,
    serving,
    transport_to,
    upload_of,
)

pytestmark = pytest.mark.anyio


async def reset_before(server: Server, reader: Reader, writer: Writer) -> None:
    server.requests.append(await read_request(reader))
    reset(writer)


async def disconnect(server: Server, reader: Reader, writer: Writer) -> None:
    server.requests.append(await read_request(reader))


async def disconnect_in_head(server: Server, reader: Reader, writer: Writer) -> None:
    server.requests.append(await read_request(reader))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-")
    await writer.drain()


async def reset_in_body(server: Server, reader: Reader, writer: Writer) -> None:
    server.requests.append(await read_request(reader))
    writer.write(response(ANSWER)[:-10])
    await writer.drain()
    await asyncio.sleep(0.05)
    reset(writer)


async def cut_body(server: Server, reader: Reader, writer: Writer) -> None:
    server.requests.append(await read_request(reader))
    writer.write(response(ANSWER)[:-10])


async def cut_chunks(server: Server, reader: Reader, writer: Writer) -> None:
    server.requests.append(await read_request(reader))
    writer.write(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"dat\r\n')


async def bad_chunk(server: Server, reader: Reader, writer: Writer) -> None:
    server.requests.append(await read_request(reader))
    writer.write(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"dat\r\n')
    await asyncio.sleep(0.05)
    writer.write(b"zzz\r\n")
    await reader.read()


async def never_answer(server: Server, reader: Reader, writer: Writer) -> None:
    server.requests.append(await read_request(reader))
    await reader.read()


async def drip(server: Server, reader: Reader, writer: Writer) -> None:
    server.requests.append(await read_request(reader))
    for byte in response(ANSWER):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.02)


async def drip_heartbeats(server: Server, reader: Reader, writer: Writer) -> None:
    server.requests.append(await read_request(reader))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def not_http(server: Server, reader: Reader, writer: Writer) -> None:
    server.requests.append(await read_request(reader))
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await writer.drain()
    await reader.read()


@pytest.mark.parametrize(
    ("fault", "status", "failure"),
    [
        (reset_before, None, {Failure.RESET}),
        (disconnect, None, {Failure.DISCONNECTED}),
        (disconnect_in_head, None, {Failure.DISCONNECTED, Failure.MALFORMED_RESPONSE}),
        (reset_in_body, 200, {Failure.INCOMPLETE_BODY, Failure.RESET}),
        (cut_body, 200, {Failure.INCOMPLETE_BODY}),
        (cut_chunks, 200, {Failure.INCOMPLETE_BODY}),
        # aiohttp 3.14 closes the connection but never tells the reader of the body: the clock has to.
        (bad_chunk, 200, {Failure.INCOMPLETE_BODY, Failure.MALFORMED_RESPONSE, Failure.TIMEOUT}),
        (never_answer, None, {Failure.TIMEOUT}),
        (drip, None, {Failure.TIMEOUT}),
        (drip_heartbeats, 200, {Failure.TIMEOUT}),
        (not_http, None, {Failure.MALFORMED_RESPONSE}),
    ],
)
async def test_a_fault_after_the_first_byte_is_in_doubt(
    fault: Any, status: int | None, failure: set[Failure], tmp_path: Path
) -> None:
    """The request is sent once, the slot is free within the timeout, and the attempt may have been billed."""
    async with serving(fault) as server:
        started = anyio.current_time()
        reply = await post_to(server.url, tmp_path, seconds=0.4)
        assert anyio.current_time() - started < 2
    assert (reply.status, reply.began) == (status, True)
    assert reply.failure in failure
    assert reply.detail
    assert judge(reply, None, 0).outcome == "in_doubt"
    assert [request.whole for request in server.requests] == [True]


async def test_a_timeout_runs_from_the_first_byte(tmp_path: Path) -> None:
    """`seconds` is the time in flight, so that a gateway that cuts at 60 s shows as 60 s."""
    async with serving(never_answer) as server:
        reply = await post_to(server.url, tmp_path, seconds=0.3)
    assert 0.3 <= reply.seconds < 1
    assert "0.3 s" in reply.detail


async def test_connection_refused_is_unsent(tmp_path: Path) -> None:
    """Nothing left."""
    reply = await post_to(f"http://127.0.0.1:{closed_port()}/v1", tmp_path)
    assert (reply.failure, reply.began, reply.status) == (Failure.CONNECT_REFUSED, False, None)
    assert judge(reply, None, 0).outcome == "unsent"


async def test_an_unknown_host_is_unsent(tmp_path: Path) -> None:
    """The name says nothing to the resolver, and the message says which name."""
    reply = await post_to("http://no-such-host.invalid/v1", tmp_path)
    assert (reply.failure, reply.began) == (Failure.DNS, False)
    assert "no-such-host.invalid" in reply.detail
    assert judge(reply, None, 0).outcome == "unsent"


@contextmanager
def no_descriptors() -> Iterator[None]:
    """The process may open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open("/", os.O_RDONLY)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    held = []
    try:
        while True:
            try:
                held.append(os.open("/", os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)


@pytest.mark.parametrize("images", [0, 1])
async def test_too_many_open_files_is_unsent(images: int, tmp_path: Path) -> None:
    """Neither an image nor a socket can be opened: nothing left, and the next attempt works."""
    uploads = [upload_of(tmp_path / "a.png", PNG)] * images
    async with serving(response(ANSWER)) as server, transport_to(server.url, tmp_path) as transport:
        await anyio.to_thread.run_sync(int, limiter=anyio.CapacityLimiter(1))  # a thread is there already
        with no_descriptors():
            reply = await transport.post(edit_of(*uploads), Flight())
        assert (reply.failure, reply.began) == (Failure.TOO_MANY_OPEN_FILES, False)
        assert judge(reply, None, 0).outcome == "unsent"
        assert (await transport.post(edit_of(*uploads), Flight())).status == 200


async def test_a_cancelled_post_says_whether_it_left(tmp_path: Path) -> None:
    """Cancellation passes through, the flight tells, and the connection is dropped."""
    dropped = anyio.Event()

    async def wait(server: Server, reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        await reader.read()
        dropped.set()

    flight = Flight()
    async with serving(wait) as server, transport_to(server.url, tmp_path) as transport:
        with anyio.move_on_after(0.2) as scope:
            await transport.post(edit_of(), flight)
        assert scope.cancelled_caught
        assert flight.began
        with anyio.fail_after(2):
            await dropped.wait()


async def test_a_post_cancelled_before_it_connects_did_not_leave(tmp_path: Path) -> None:
    """Cancelled at its first await, nothing was sent."""
    flight = Flight()
    async with serving(response(ANSWER)) as server, transport_to(server.url, tmp_path) as transport:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await transport.post(edit_of(), flight)
        assert not flight.began
    assert server.connections == 0


async def test_native_cancellation_passes_too(tmp_path: Path) -> None:
    """A task cancelled by asyncio's own means ends as cancelled, not as a reply."""
    async with serving(never_answer) as server, transport_to(server.url, tmp_path) as transport:
        task = asyncio.create_task(transport.post(edit_of(), flight := Flight()))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert flight.began
