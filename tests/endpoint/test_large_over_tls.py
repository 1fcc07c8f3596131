"""Requests and answers over TLS, large ones too, as most endpoints have it; under asyncio's loop and uvloop."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from pathlib import Path

import anyio
import pytest

from pipeline.endpoint.reply import Flight
from tests.e2e.servers import tls_of
from tests.endpoint.conftest import (
    ANSWER,
    Server,
    edit_of,
    read_request,
    response,
    serving,
    transport_to,
    upload_of,
)
from tests.security.certificates import Certificates, make

pytestmark = pytest.mark.anyio

BODY = random.Random(7).randbytes(3_000_001)
CHUNKS = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:70_000], BODY[70_000:])) + b"0\r\n\r\n"
ANSWERS = {
    "length": response(BODY),
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("size", [500_000, 900_000, 5_000_000], ids=["held", "nearly held", "in pieces"])
async def test_both_ways_every_byte_arrives(certificates: Certificates, tmp_path: Path, kind: str, size: int) -> None:
    """What was sent is what the server got, and what it answered is what is read, for several requests at once."""
    content = b"\x89PNG\r\n\x1a\n" + random.Random(size).randbytes(size)
    edit = edit_of(upload_of(tmp_path / "a.png", content))
    bundle = str(certificates.authority)
    replies = []
    async with (
        serving(ANSWERS[kind], tls_of(certificates.good)) as server,
        transport_to(server.url, tmp_path, 60.0, ca_bundle=bundle) as transport,
    ):

        async def post() -> None:
            replies.append(await transport.post(edit, Flight()))

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(post)
    assert [(reply.failure, reply.status, reply.body == BODY) for reply in replies] == [(None, 200, True)] * 4
    assert all(request.whole and content in request.body for request in server.requests)
    assert len(server.requests) == 4


def connected_to(port: int) -> int:
    """How many of this process's descriptors are connections to a port of its own."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as opened:
                found += opened.getpeername()[1] == port
        except (OSError, IndexError):
            continue  # no socket, or none of a connection
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors by /proc")
async def test_a_whole_answer_leaves_no_descriptor_waiting_for_the_peer(
    certificates: Certificates, tmp_path: Path
) -> None:
    """A peer that answers whole and reads no more is not waited for to say goodbye: a run would run out of them."""

    async def deaf(server: Server, reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a server's transport can
        writer.write(response(ANSWER))
        try:
            await asyncio.sleep(5)
        finally:
            writer.transport.abort()

    async with (
        serving(deaf, tls_of(certificates.good)) as server,
        transport_to(server.url, tmp_path, ca_bundle=str(certificates.authority)) as transport,
    ):
        for _ in range(3):
            assert (await transport.post(edit_of(), Flight())).failure is None
        await anyio.sleep(0.05)
        assert connected_to(server.port) == 0
