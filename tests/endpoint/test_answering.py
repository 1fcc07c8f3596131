"""How an answer is read from its connection, whatever the pieces in which it comes."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from pathlib import Path

import anyio
import pytest

from pipeline.endpoint import answering
from pipeline.endpoint.answering import Answer
from pipeline.endpoint.judge import judge
from pipeline.endpoint.reply import Failure, Flight, Reply
from tests.endpoint.conftest import (
    ANSWER,
    PNG,
    Behaviour,
    Server,
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

WHOLE = response(ANSWER, X_Request_ID="r")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(ANSWER), ANSWER)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
CLOSING = b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\nHTTP/1.0 100 Continue\r\n\r\n"
ENDED = b"HTTP/1.1 200 OK\r\n\r\n" + ANSWER
BARE = INTERIM.replace(b"\r\n", b"\n") + WHOLE.replace(b"\r\n", b"\n")
HALF_BARE = WHOLE.replace(b"\r\n\r\n", b"\r\n\n")
OTHER_HALF = WHOLE.replace(b"\r\n", b"\n").replace(b"\n\n", b"\n\r\n")


async def replies_to(pieces: list[list[bytes]], folder: Path, *, closes: bool = True) -> list[Reply]:
    """What the client makes of answers that come in these pieces, one read each."""
    answers = iter(pieces)

    async def serve(server: Server, reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        for piece in next(answers):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.002)
        if not closes:
            await reader.read()

    async with serving(serve) as server, transport_to(server.url, folder) as transport:
        with anyio.fail_after(60):
            return [await transport.post(edit_of(), Flight()) for _ in pieces]


def split(data: bytes, step: int = 1) -> list[list[bytes]]:
    """The data in two pieces, cut at each byte or each `step`-th."""
    return [[data[:at], data[at:]] for at in range(1, len(data), step)]


@pytest.mark.parametrize(
    "answer",
    [WHOLE, CHUNKED, INTERIM + WHOLE, CLOSING + WHOLE, ENDED, BARE, HALF_BARE, OTHER_HALF],
    ids=["length", "chunked", "interim", "closing", "until the end", "bare", "half bare", "other half"],
)
async def test_an_answer_may_be_split_at_any_byte(answer: bytes, tmp_path: Path) -> None:
    """Within a head, between head and body, within a body: it is the same answer."""
    replies = await replies_to(split(answer), tmp_path)
    assert {(reply.status, bytes(reply.body), reply.failure) for reply in replies} == {(200, ANSWER, None)}


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED, INTERIM + WHOLE], ids=["length", "chunked", "interim"])
async def test_an_answer_may_come_byte_by_byte(answer: bytes, tmp_path: Path) -> None:
    """And ends with its last byte, though the connection stays."""
    [reply] = await replies_to([[bytes([byte]) for byte in answer]], tmp_path, closes=False)
    assert (reply.status, bytes(reply.body), reply.failure) == (200, ANSWER, None)


@pytest.mark.parametrize(
    "answer",
    [WHOLE, CHUNKED, INTERIM + WHOLE, CLOSING + WHOLE, BARE, HALF_BARE, OTHER_HALF],
    ids=["length", "chunked", "interim", "closing", "bare", "half bare", "other half"],
)
@pytest.mark.parametrize("behind", [b"}}\r\n", b"\r\n\r\n", WHOLE, response(b"{}", "500 No"), bytes(9000)])
async def test_nothing_behind_a_whole_answer_costs_it(answer: bytes, behind: bytes, tmp_path: Path) -> None:
    """Stray bytes and second answers, in the same read, in a read that ends a body, and in a later one."""
    within = len(answer) - 40
    ways = [[answer + behind], [answer[:within], answer[within:] + behind], [answer, behind]]
    for reply in await replies_to(ways, tmp_path):
        assert (reply.status, bytes(reply.body), reply.failure) == (200, ANSWER, None)


async def test_a_body_longer_than_its_length_is_cut_there(tmp_path: Path) -> None:
    """The length says where the answer ends."""
    [reply] = await replies_to([[response(b"0123") + b"456789"]], tmp_path)
    assert (bytes(reply.body), reply.failure) == (b"0123", None)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_an_answer_without_a_body_may_tell_a_length(status: str, tmp_path: Path) -> None:
    """Of the body that it would have; none is waited for."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\n".encode()
    [reply] = await replies_to([[head]], tmp_path, closes=False)
    assert (reply.status, bytes(reply.body), reply.failure) == (int(status[:3]), b"", None)


async def test_reset_content_without_a_length_is_not_waited_for(tmp_path: Path) -> None:
    """205 has no content (RFC 9110, 15.3.6); one that tells a length is taken at its word."""
    heads = [b"HTTP/1.1 205 Reset Content\r\n\r\n", response(b"{}", "205 Reset Content")]
    replies = await replies_to([[head] for head in heads], tmp_path, closes=False)
    assert [(reply.status, bytes(reply.body), reply.failure) for reply in replies] == [
        (205, b"", None),
        (205, b"{}", None),
    ]


async def test_a_length_of_many_zeros_is_a_length(tmp_path: Path) -> None:
    """More of them than Python turns into a number."""
    answer = WHOLE.replace(b"Content-Length: ", b"Content-Length: " + b"0" * 5000)
    [reply] = await replies_to([[answer]], tmp_path, closes=False)
    assert (reply.status, bytes(reply.body), reply.failure) == (200, ANSWER, None)


async def test_an_answer_until_the_end_that_is_reset_is_not_whole(tmp_path: Path) -> None:
    """A picture cut by a reset is fetched again; an object that is closed is taken nevertheless."""
    picture = b"HTTP/1.1 200 OK\r\n\r\n" + PNG
    answers = iter([picture, ENDED[:-20], ENDED])

    async def cut(server: Server, reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(next(answers))
        await writer.drain()
        await asyncio.sleep(0.05)
        reset(writer)

    async with serving(cut) as server, transport_to(server.url, tmp_path, fetch_urls="same-host") as transport:
        fetched = await transport.fetch("/a.png")
        replies = [await transport.post(edit_of(), Flight()) for _ in range(2)]
    assert (fetched.status, fetched.failure, bytes(fetched.body)) == (200, Failure.INCOMPLETE_BODY, PNG)
    assert [(reply.failure, judge(reply, None, 0).outcome) for reply in replies] == [
        (Failure.INCOMPLETE_BODY, "in_doubt"),
        (Failure.INCOMPLETE_BODY, "succeeded"),
    ]


@pytest.mark.parametrize("lengths", ["+4", "4, 4", "4\r\nContent-Length: 4", "0x4", "-4", "9" * 30, "²"])
async def test_an_odd_length_is_the_parsers_to_judge(lengths: str, tmp_path: Path) -> None:
    """It is refused, or read in the parser's way; it never ends a run."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {lengths}\r\n\r\n".encode()
    [reply] = await replies_to([[head + b"0123"]], tmp_path)
    assert reply.failure in {None, Failure.MALFORMED_RESPONSE, Failure.INCOMPLETE_BODY}
    assert bytes(reply.body) in {b"", b"0123"}


async def test_a_length_beside_chunks_is_not_believed(tmp_path: Path) -> None:
    """Where both stand the parser decides: it refuses such a head."""
    answer = CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 4\r\n\r\n", 1)
    [reply] = await replies_to([[answer]], tmp_path)
    assert (bytes(reply.body), reply.failure) in [(ANSWER, None), (b"", Failure.MALFORMED_RESPONSE)]


@pytest.mark.parametrize("by", ["fin", "rst"])
@pytest.mark.parametrize("answer", [WHOLE, CHUNKED], ids=["length", "chunked"])
async def test_a_connection_that_ends_within_a_body_leaves_what_came(by: str, answer: bytes, tmp_path: Path) -> None:
    """At its first byte, in the middle and before its last: incomplete, and the bytes are those that came."""
    start = answer.index(ANSWER)

    async def cut(server: Server, reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(answer[: next(ends)])
        await writer.drain()
        await asyncio.sleep(0.03)
        if by == "rst":
            reset(writer)

    cuts = [start, start + 1, start + 40, start + len(ANSWER) - 1]
    ends = iter(cuts)
    async with serving(cut) as server, transport_to(server.url, tmp_path) as transport:
        for end in cuts:
            reply = await transport.post(edit_of(), Flight())
            assert (reply.status, reply.failure) == (200, Failure.INCOMPLETE_BODY)
            assert bytes(reply.body) == ANSWER[: end - start]
            assert reply.detail


async def test_a_damaged_chunk_is_told_at_once(tmp_path: Path) -> None:
    """Not when the time is over; what came before it is kept."""

    async def damaged(server: Server, reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"dat\r\nzzz\r\n')
        await reader.read()

    async with serving(damaged) as server:
        reply = await post_to(server.url, tmp_path, seconds=5)
    assert (reply.status, reply.failure, bytes(reply.body)) == (200, Failure.MALFORMED_RESPONSE, b'{"dat')
    assert reply.seconds < 2


def early(answer: bytes) -> Behaviour:
    """Answers before it reads."""

    async def serve(reader: Reader, writer: Writer) -> None:
        writer.write(answer)
        await writer.drain()
        await asyncio.sleep(0.2)
        await reader.read()

    return serve


@pytest.mark.parametrize("size", [10, 9_000_000])
@pytest.mark.parametrize("long", [False, True])
async def test_an_answer_that_comes_before_the_request_is_read(size: int, long: bool, tmp_path: Path) -> None:
    """A server that is full says so to whoever connects; the request may be on its way or not be begun."""
    body = b'{"error":{"code":"server_is_overloaded"}}' + b" " * (600_000 if long else 0)
    serve = early(response(body, "503 Busy"))

    async def scene(server: Server, reader: Reader, writer: Writer) -> None:
        await serve(reader, writer)

    async with serving(scene) as server, transport_to(server.url, tmp_path) as transport:
        with anyio.fail_after(5):
            reply = await transport.post(edit_of(upload_of(tmp_path / "a.png", PNG + bytes(size))), Flight())
    assert (reply.status, bytes(reply.body), reply.failure) == (503, body, None)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_is_the_same_byte_for_byte(
    chunked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its place has to grow."""
    monkeypatch.setattr(answering, "_FIRST_ROOM", 1000)
    body = b"".join(number.to_bytes(4, "big") for number in range(750_000))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = [b"%x\r\n%s\r\n" % (len(part), part) for at in range(0, len(body), 7001) if (part := body[at : at + 7001])]
    answer = head + b"".join(parts) + b"0\r\n\r\n" if chunked else response(body)
    async with serving(answer) as server:
        reply = await post_to(server.url, tmp_path)
    assert (reply.failure, len(reply.body)) == (None, len(body))
    assert bytes(reply.body) == body


async def test_a_length_alone_takes_no_memory(tmp_path: Path) -> None:
    """A server that announces much and sends little gets little."""

    async def announces(server: Server, reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\n" + b" " * 50_000)
        await writer.drain()
        await asyncio.sleep(0.1)

    async with serving(announces) as server:
        tracemalloc.start()
        try:
            reply = await post_to(server.url, tmp_path, max_response=64_000_000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (reply.failure, len(reply.body)) == (Failure.INCOMPLETE_BODY, 50_000)
    assert peak < 8_000_000


@pytest.mark.parametrize("over", [0, 1])
async def test_the_cap_holds_for_a_body_of_known_length(over: int, tmp_path: Path) -> None:
    """One of just `max_response` is whole, one byte more is too large, and that much of it is kept."""
    async with serving(response(b"x" * (300_000 + over))) as server:
        reply = await post_to(server.url, tmp_path, max_response=300_000)
    assert (reply.failure, len(reply.body)) == (Failure.RESPONSE_TOO_LARGE if over else None, 300_000)


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED, response(bytes(500_000))], ids=["length", "chunked", "long"])
async def test_an_answer_that_was_read_is_freed_at_once(answer: bytes, tmp_path: Path) -> None:
    """No ring of references keeps its body until the garbage collector comes by."""
    async with serving(answer) as server, transport_to(server.url, tmp_path) as transport:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                assert (await transport.post(edit_of(), Flight())).failure is None
            await anyio.sleep(0.05)
            assert not [found for found in gc.get_objects() if type(found) is Answer]
        finally:
            gc.enable()
