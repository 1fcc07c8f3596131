from __future__ import annotations

import asyncio
import os
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from pathlib import Path

import anyio
import msgspec
import pytest

from pipeline.endpoint import upload
from pipeline.endpoint.judge import judge
from pipeline.endpoint.reply import Failure, Flight
from pipeline.held import LARGEST, Room
from tests.endpoint.conftest import (
    ANSWER,
    PNG,
    Request,
    Server,
    edit_of,
    response,
    serving,
    transport_to,
    upload_of,
)

pytestmark = pytest.mark.anyio


async def test_a_small_input_that_changed_sends_nothing(tmp_path: Path) -> None:
    """It is read and checked before the connection is made."""
    upload = upload_of(tmp_path / "a.png", PNG + b"before")
    (tmp_path / "a.png").write_bytes(PNG + b"after!")
    async with serving(response(ANSWER)) as server, transport_to(server.url, tmp_path) as transport:
        reply = await transport.post(edit_of(upload), flight := Flight())
    assert (reply.failure, reply.began, flight.began) == (Failure.INPUT_CHANGED, False, False)
    assert "a.png" in reply.detail
    assert judge(reply, None, 0).outcome == "unsent"
    assert server.connections == 0


@pytest.mark.parametrize("form", ["multipart", "json"])
async def test_a_held_input_is_sent_without_reading_it(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read when it was hashed; a second attempt reads it."""
    plain = upload_of(tmp_path / "a.png", PNG + b"held")
    held = Room(LARGEST).hold(plain.path, os.stat(plain.path), PNG + b"held")
    edit, read = edit_of(msgspec.structs.replace(plain, held=held)), list[str]()
    open_regular = upload.open_regular

    def watched(path: str) -> tuple[int, int]:
        read.append(path)
        return open_regular(path)

    monkeypatch.setattr(upload, "open_regular", watched)
    async with serving(response(ANSWER)) as server, transport_to(server.url, tmp_path, body=form) as transport:
        assert (await transport.post(edit, Flight())).status == 200
        assert read == []
        assert (await transport.post(edit, Flight())).status == 200
        assert read == [plain.path]
    first, second = server.requests
    assert first.whole
    assert first.body == second.body


async def test_a_held_input_that_changed_sends_nothing(tmp_path: Path) -> None:
    """An edit between the look and the sending is noticed as it is without holding."""
    plain = upload_of(tmp_path / "a.png", PNG + b"before")
    held = Room(LARGEST).hold(plain.path, os.stat(plain.path), PNG + b"before")
    (tmp_path / "a.png").write_bytes(PNG + b"after!")
    async with serving(response(ANSWER)) as server, transport_to(server.url, tmp_path) as transport:
        reply = await transport.post(edit_of(msgspec.structs.replace(plain, held=held)), Flight())
    assert (reply.failure, server.connections) == (Failure.INPUT_CHANGED, 0)


@pytest.mark.parametrize("change", ["first byte", "last byte", "shorter", "longer", "gone", "fifo"])
@pytest.mark.parametrize("form", ["multipart", "json"])
async def test_a_large_input_that_changed_is_never_complete_at_the_server(
    change: str, form: str, tmp_path: Path
) -> None:
    """The body ends before its Content-Length and the connection is closed: nothing to bill."""
    content = PNG + bytes(3_000_000)
    path = tmp_path / "a.png"
    upload = upload_of(path, content)
    changed = {
        "first byte": b"X" + content[1:],
        "last byte": content[:-1] + b"X",
        "shorter": content[:-1],
        "longer": content + b"X",
    }
    path.unlink()
    if change == "fifo":
        os.mkfifo(path)
    elif change != "gone":
        path.write_bytes(changed[change])
    async with serving(response(ANSWER)) as server, transport_to(server.url, tmp_path, body=form) as transport:
        with anyio.fail_after(3):
            reply = await transport.post(edit_of(upload), Flight())
        await anyio.sleep(0.05)
    assert (reply.failure, reply.status) == (Failure.INPUT_CHANGED, None)
    assert "a.png" in reply.detail
    assert judge(reply, None, 0).outcome == "unsent"
    assert not any(request.whole for request in server.requests)
    assert server.connections == 1


async def test_a_large_input_that_changes_while_it_is_sent_is_unsent(tmp_path: Path) -> None:
    """The server has most of it and is waiting for the rest, which never comes."""
    upload = upload_of(tmp_path / "a.png", PNG + bytes(8_000_000))

    async def slow(server: Server, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(500_000)
        with open(tmp_path / "a.png", "r+b") as file:  # noqa: ASYNC230 - a write of one byte, in a test
            file.seek(7_999_999)
            file.write(b"X")
        rest = await reader.read(-1)
        server.requests.append(Request("", {}, rest, False))

    async with serving(slow) as server, transport_to(server.url, tmp_path) as transport:
        with anyio.fail_after(3):
            reply = await transport.post(edit_of(upload), flight := Flight())
        await anyio.sleep(0.05)
    assert (reply.failure, flight.began) == (Failure.INPUT_CHANGED, True)
    assert judge(reply, None, 0).outcome == "unsent"
    assert len(server.requests[0].body) < 7_500_008


async def test_a_large_input_is_sent_whole(tmp_path: Path) -> None:
    """Streamed parts make the file, with the promised length; several files keep their order."""
    first = upload_of(tmp_path / "a.png", PNG + os.urandom(2_500_000))
    second = upload_of(tmp_path / "b.png", PNG + os.urandom(10))
    async with serving(response(ANSWER)) as server, transport_to(server.url, tmp_path) as transport:
        reply = await transport.post(edit_of(first, second), Flight())
    assert reply.status == 200
    (request,) = server.requests
    assert request.whole
    start = request.body.index((tmp_path / "a.png").read_bytes())
    assert request.body.index((tmp_path / "b.png").read_bytes()) > start


async def test_an_input_that_changes_after_the_answer_began_is_not_waited_for(tmp_path: Path) -> None:
    """A gateway that sends heartbeats from the start never gets the rest, and the slot is free at once."""
    upload = upload_of(tmp_path / "a.png", PNG + bytes(8_000_000))

    async def heartbeat(server: Server, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        (tmp_path / "a.png").unlink()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n  ")
        await asyncio.sleep(0.1)
        await reader.read()

    async with serving(heartbeat) as server, transport_to(server.url, tmp_path) as transport:
        with anyio.fail_after(2):
            reply = await transport.post(edit_of(upload), Flight())
    assert (reply.failure, reply.status) == (Failure.INPUT_CHANGED, 200)
    assert judge(reply, None, 0).outcome == "unsent"


async def test_an_early_answer_ends_the_upload(tmp_path: Path) -> None:
    """A server that says 401 after the head is heard; the rest is not sent and the connection not used again."""
    upload = upload_of(tmp_path / "a.png", PNG + bytes(20_000_000))
    received: list[int] = []

    async def early(server: Server, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(b'{"error":{"code":"invalid_api_key"}}', "401 Unauthorized"))
        await writer.drain()
        await asyncio.sleep(0.1)
        received.append(len(await reader.read()))

    async with serving(early) as server, transport_to(server.url, tmp_path) as transport:
        with anyio.fail_after(3):
            reply = await transport.post(edit_of(upload), Flight())
            await anyio.sleep(0.3)
    assert (reply.status, reply.failure) == (401, None)
    assert len(received) == 1
    assert received[0] < 20_000_000


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors by /proc")
@pytest.mark.parametrize("answer", [b"", response(b"{}", "401 Unauthorized")], ids=["silent", "early answer"])
async def test_a_peer_that_reads_nothing_holds_no_descriptor(answer: bytes, tmp_path: Path) -> None:
    """What is left in the buffers is dropped with the connection; a graceful close would wait for the peer."""
    upload = upload_of(tmp_path / "a.png", PNG + bytes(20_000_000))

    async def unread(server: Server, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.2)  # the buffers fill meanwhile
        writer.write(answer)
        await asyncio.sleep(5)

    async with serving(unread) as server, transport_to(server.url, tmp_path, 0.4) as transport:
        before = len(os.listdir("/proc/self/fd"))
        for number in range(1, 3):
            await transport.post(edit_of(upload), Flight())
            await anyio.sleep(0.05)
            assert len(os.listdir("/proc/self/fd")) == before + number  # the server's own ends
