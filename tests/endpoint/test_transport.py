from __future__ import annotations

import gzip
import tracemalloc
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from pathlib import Path
from typing import Any

import pytest

from pipeline.endpoint.judge import judge
from pipeline.endpoint.key import Key
from pipeline.endpoint.reply import Failure, Flight
from pipeline.errors import JobError
from pipeline.manifest.models import HeaderAuth
from tests.endpoint.conftest import (
    ANSWER,
    PNG,
    SECRET,
    Server,
    closed_port,
    edit_of,
    post_to,
    read_request,
    response,
    serving,
    transport_to,
    upload_of,
)

pytestmark = pytest.mark.anyio


async def test_request_is_complete_and_carries_what_the_manifest_says(tmp_path: Path) -> None:
    """Path, query, headers, key, idempotency key and length arrive; nothing asks for compression or sends cookies."""
    async with serving(response(ANSWER, Set_Cookie="a=b")) as server:
        edit = edit_of(upload_of(tmp_path / "a.png", PNG))
        manifest: dict[str, Any] = {
            "path": "/openai/edits é",
            "query": {"api-version": "2025-04-01"},
            "headers": {"X-Team": "photo"},
        }
        async with transport_to(server.url, tmp_path, key=Key(SECRET), **manifest) as transport:
            for _ in range(2):
                reply = await transport.post(edit, Flight())
    assert (reply.status, bytes(reply.body), reply.failure, reply.began) == (200, ANSWER, None, True)
    assert 0 <= reply.seconds < 5
    request = server.requests[1]
    assert request.whole
    assert request.line == "POST /v1/openai/edits%20%C3%A9?api-version=2025-04-01 HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.headers["idempotency-key"] == "idem-1"
    assert request.headers["x-team"] == "photo"
    assert request.headers["user-agent"].startswith("retouch/")
    assert request.headers["accept"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert not {"cookie", "transfer-encoding", "expect"} & request.headers.keys()


async def test_key_in_another_header(tmp_path: Path) -> None:
    """`auth: {header: api-key}` sends no Authorization, and a manifest may name its own user agent."""
    async with serving(response(ANSWER)) as server:
        key = Key(SECRET, "api-key", "")
        own: dict[str, Any] = {"auth": HeaderAuth(header="api-key"), "headers": {"user-agent": "shop/2"}}
        async with transport_to(server.url, tmp_path, key=key, **own) as transport:
            await transport.post(edit_of(), Flight())
    headers = server.requests[0].headers
    assert headers["api-key"] == SECRET
    assert headers["user-agent"] == "shop/2"
    assert "authorization" not in headers


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ({"headers": {"content-length": "3"}}, "content-length is set by Retouch"),
        ({"headers": {"Idempotency-Key": "same"}}, "set by Retouch"),
        ({"headers": {"Authorization": "Basic x"}, "auth": "bearer"}, "set by Retouch"),
        ({"headers": {"API-Key": "x"}, "auth": HeaderAuth(header="api-key")}, "set by Retouch"),
        ({"headers": {"X Y": "3"}}, "not a header name"),
        ({"headers": {"X": "a\r\nY: b"}}, "line break"),
        ({"ca_bundle": "missing.pem"}, "No such file"),
        ({"ca_bundle": "empty.pem"}, "cannot use"),
        ({"proxy": "localhost"}, "endpoint.proxy"),
    ],
)
async def test_what_cannot_be_sent_is_found_before_the_first_request(
    endpoint: dict[str, Any], says: str, tmp_path: Path
) -> None:
    """Headers that break the request, certificates and URLs that cannot be used: errors of the job."""
    (tmp_path / "empty.pem").touch()
    with pytest.raises(JobError, match=says):
        transport_to("https://example.com/v1", tmp_path, key=Key(SECRET), **endpoint)


@pytest.mark.parametrize("url", ["", "example.com", "ftp://example.com", "https://", "https://a:b:c/"])
async def test_a_base_url_without_scheme_or_host_is_an_error_of_the_job(url: str, tmp_path: Path) -> None:
    """No request can be made of it."""
    with pytest.raises(JobError, match=r"endpoint\.base_url"):
        transport_to(url, tmp_path)


@pytest.mark.parametrize("status", ["301 x", "302 x", "303 x", "307 x", "308 x"])
async def test_a_redirect_is_never_followed(status: str, tmp_path: Path) -> None:
    """Not one byte reaches the second host, and the run stops."""
    async with serving(response(ANSWER)) as second:
        moved = response(b"", status, Location=f"http://127.0.0.1:{second.port}/v1/images/edits")
        async with serving(moved) as first:
            reply = await post_to(first.url, tmp_path)
    assert reply.status == int(status[:3])
    assert second.connections == 0
    assert judge(reply, None, 0).outcome == "stopped"


async def test_a_gzip_body_that_was_not_asked_for_is_read(tmp_path: Path) -> None:
    """Some proxies compress whatever is asked."""
    async with serving(response(gzip.compress(ANSWER), Content_Encoding="gzip")) as server:
        reply = await post_to(server.url, tmp_path)
    assert (bytes(reply.body), reply.failure) == (ANSWER, None)
    assert judge(reply, None, 0).outcome == "succeeded"


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (ANSWER, b"Content-Encoding: gzip"),
        (gzip.compress(b" ") + gzip.compress(ANSWER), b"Content-Encoding: gzip"),
        (gzip.compress(ANSWER), b"Content-Encoding: identity, gzip"),
        (gzip.compress(ANSWER), b"Content-Encoding: identity\r\nContent-Encoding: gzip"),
    ],
    ids=["plain", "two members", "two in one line", "two lines"],
)
async def test_a_paid_picture_is_read_however_its_compression_is_told(
    body: bytes, lines: bytes, tmp_path: Path
) -> None:
    """Or done: some gateways name one and do none, some compress each heartbeat by itself."""
    answer = b"HTTP/1.1 200 OK\r\n%s\r\nContent-Length: %d\r\n\r\n%s" % (lines, len(body), body)
    async with serving(answer) as server:
        reply = await post_to(server.url, tmp_path)
    assert (bytes(reply.body).strip(), reply.failure) == (ANSWER, None)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        ("200 OK", ANSWER, "succeeded"),
        ("200 OK", ANSWER[:-20], "in_doubt"),
        ("429 Too Many", b'{"error":{"code":"insufficient_quota","message":"x"}}', "stopped"),
    ],
)
async def test_a_compressed_answer_that_is_cut_short_is_judged_by_what_it_holds(
    status: str, body: bytes, outcome: str, tmp_path: Path
) -> None:
    """As one that is not compressed; how the connection ended is told first."""
    packed = gzip.compress(body)

    async def cut(server: Server, reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        head = f"HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed) + 1}\r\n\r\n"
        writer.write(head.encode() + packed)

    async with serving(cut) as server:
        reply = await post_to(server.url, tmp_path)
    assert (bytes(reply.body), reply.failure) == (body, Failure.INCOMPLETE_BODY)
    assert "connection" in reply.detail
    assert judge(reply, None, 0).outcome == outcome


async def test_an_empty_body_is_empty_under_any_compression(tmp_path: Path) -> None:
    """A 429 without a word is a 429."""
    async with serving(response(b"", "429 Too Many", Content_Encoding="gzip")) as server:
        reply = await post_to(server.url, tmp_path)
    assert (reply.status, reply.failure, bytes(reply.body)) == (429, None, b"")


async def test_a_gzip_bomb_is_cut_at_the_cap(tmp_path: Path) -> None:
    """522 KB that would be 512 MB cost no more memory than the cap."""
    bomb = response(gzip.compress(bytes(64_000_000)), Content_Encoding="gzip")
    async with serving(bomb) as server:
        tracemalloc.start()
        try:
            reply = await post_to(server.url, tmp_path, max_response=1_000_000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (reply.failure, len(reply.body)) == (Failure.RESPONSE_TOO_LARGE, 1_000_000)
    assert peak < 8_000_000
    assert judge(reply, None, 0).outcome == "unusable"


async def test_an_endless_body_is_cut_at_the_cap(tmp_path: Path) -> None:
    """What is over the cap is not read, and the connection is not used again."""
    sent = 0

    async def endless(server: Server, reader: Reader, writer: Writer) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            sent += 65536
            await writer.drain()

    async with serving(endless) as server:
        reply = await post_to(server.url, tmp_path, max_response=1_000_000)
    assert (reply.status, reply.failure, len(reply.body)) == (200, Failure.RESPONSE_TOO_LARGE, 1_000_000)
    assert "1,000,000" in reply.detail
    assert sent < 20_000_000


async def test_a_body_without_length_that_is_cut_short_is_unusable(tmp_path: Path) -> None:
    """It arrives as a plain 200: the JSON tells."""

    async def cut(server: Server, reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + ANSWER[:-20])

    async with serving(cut) as server:
        reply = await post_to(server.url, tmp_path)
    assert (reply.status, reply.failure) == (200, None)
    assert (judge(reply, None, 0).outcome, judge(reply, None, 0).code) == ("unusable", "bad_json")


async def test_answers_without_a_body_end_at_once(tmp_path: Path) -> None:
    """Each of them: aiohttp's reader of an empty body, which all such answers share, tells its end but once."""
    async with serving(response(b"", "204 No Content")) as server, transport_to(server.url, tmp_path) as transport:
        replies = [await transport.post(edit_of(), Flight()) for _ in range(3)]
    assert [(reply.status, reply.failure, bytes(reply.body)) for reply in replies] == [(204, None, b"")] * 3


async def test_headers_longer_than_usual_do_not_lose_the_answer(tmp_path: Path) -> None:
    """A Content-Security-Policy of 30 KB stands beside a paid image."""
    async with serving(response(ANSWER, Content_Security_Policy="x" * 30_000)) as server:
        reply = await post_to(server.url, tmp_path)
    assert (reply.status, reply.failure) == (200, None)
    assert "content-security-policy" not in reply.headers


async def test_more_headers_than_usual_do_not_lose_the_answer(tmp_path: Path) -> None:
    """Gateways in a row add theirs: 500 of them stand beside a paid image."""
    async with serving(response(ANSWER, **{f"X_{number}": "y" for number in range(500)})) as server:
        reply = await post_to(server.url, tmp_path)
    assert (reply.status, bytes(reply.body), reply.failure) == (200, ANSWER, None)


async def test_headers_that_are_used_are_kept_in_lower_case(tmp_path: Path) -> None:
    """Pauses, limits and ids, and no other."""
    answer = response(ANSWER, X_RateLimit_Remaining_Requests="4", Retry_After="3", X_Request_ID="r", X_Other="o")
    async with serving(answer) as server:
        reply = await post_to(server.url, tmp_path)
    assert dict(reply.headers) == {
        "content-type": "application/json",
        "x-ratelimit-remaining-requests": "4",
        "retry-after": "3",
        "x-request-id": "r",
    }


async def test_the_key_is_nowhere_in_a_reply(tmp_path: Path) -> None:
    """A server that echoes it in headers and body, and errors that quote the request, give nothing away."""
    echo = response(f'{{"error":{{"message":"bad key {SECRET}"}}}}'.encode(), "400 Bad", X_Request_ID=SECRET)
    refused = f"http://127.0.0.1:{closed_port()}/v1"
    async with serving(echo) as server:
        for url in (server.url, refused):
            async with transport_to(url, tmp_path, key=Key(SECRET)) as transport:
                reply = await transport.post(edit_of(), Flight())
            verdict = judge(reply, Key(SECRET), 0)
            shown = repr(reply) + repr(verdict) + repr(verdict.body_kept) + repr(transport.__dict__)
            assert SECRET[:12] not in shown
