from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from msgspec.structs import replace

from pipeline.endpoint import session
from pipeline.endpoint.judge import judge
from pipeline.endpoint.reply import Failure, Flight, Reply
from tests.endpoint.conftest import (
    ANSWER,
    Server,
    closed_port,
    edit_of,
    post_to,
    read_request,
    response,
    serving,
    transport_to,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one PEM file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    made = subprocess.run([*command.split(), "-keyout", "-", "-out", "-"], capture_output=True, check=True)
    path.write_bytes(made.stdout)
    return path


def tls_of(certificate: Path) -> ssl.SSLContext:
    """A server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_a_certificate_that_nobody_signed_is_unsent(certificate: Path, tmp_path: Path) -> None:
    """TLS is checked before a byte of the request leaves."""
    async with serving(response(ANSWER), tls_of(certificate)) as server:
        reply = await post_to(server.url, tmp_path)
    assert (reply.failure, reply.began) == (Failure.TLS, False)
    assert judge(reply, None, 0).outcome == "unsent"
    assert server.requests == []


async def test_a_ca_bundle_is_trusted(certificate: Path, tmp_path: Path) -> None:
    """The manifest's bundle stands for the system's authorities."""
    async with serving(response(ANSWER), tls_of(certificate)) as server:
        reply = await post_to(server.url, tmp_path, ca_bundle=str(certificate))
    assert (reply.status, reply.failure) == (200, None)


async def test_tls_to_a_plain_port_is_unsent(tmp_path: Path) -> None:
    """A handshake that is answered in HTTP fails before the request."""

    async def plain(server: Server, reader: Reader, writer: Writer) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(plain) as server:
        reply = await post_to(server.url.replace("http", "https"), tmp_path)
    assert (reply.failure, reply.began) == (Failure.TLS, False)


async def test_connecting_has_its_own_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that accepts and never shakes hands is given up without the timeout of the request."""
    monkeypatch.setattr(session, "CONNECT_SECONDS", 0.2)

    async def silent(server: Server, reader: Reader, writer: Writer) -> None:
        await reader.read()

    async with serving(silent) as server:
        reply = await post_to(server.url.replace("http", "https"), tmp_path, seconds=5)
    assert (reply.failure, reply.began) == (Failure.CONNECT_TIMEOUT, False)
    assert reply.seconds < 2


async def test_connecting_does_not_count_as_time_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow name resolution neither shows in `seconds` nor uses up the timeout."""

    async def resolve(self: Any, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        await asyncio.sleep(0.5)
        address = {"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET}
        return [{**address, "proto": 0, "flags": 0}]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    async with serving(response(ANSWER)) as server:
        reply = await post_to(server.url.replace("127.0.0.1", "slow.invalid"), tmp_path, seconds=0.4)
    assert (reply.status, reply.failure) == (200, None)
    assert reply.seconds < 0.4


async def test_no_connection_is_used_again(tmp_path: Path) -> None:
    """A second answer on the connection of the first request is nobody's, and an idle one that is dropped no loss."""

    async def twice(server: Server, reader: Reader, writer: Writer) -> None:
        server.requests.append(await read_request(reader))
        writer.write(response(ANSWER))
        await asyncio.sleep(0.02)
        writer.write(response(b"another's"))
        await reader.read()

    async with serving(twice) as server, transport_to(server.url, tmp_path) as transport:
        for _ in range(3):
            reply = await transport.post(edit_of(), Flight())
            assert (reply.status, reply.failure, bytes(reply.body)) == (200, None, ANSWER)
            await anyio.sleep(0.05)
    assert server.connections == len(server.requests) == 3


async def test_no_proxy_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the manifest names a proxy."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    async with serving(response(ANSWER)) as server:
        assert (await post_to(server.url, tmp_path)).status == 200


async def test_the_manifests_proxy_is_used(tmp_path: Path) -> None:
    """A request to an unknown host goes to the proxy, which knows it."""
    async with serving(response(ANSWER)) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        reply = await post_to("http://no-such-host.invalid/v1", tmp_path, proxy=address)
    assert reply.status == 200
    assert proxy.requests[0].line == "POST http://no-such-host.invalid/v1/images/edits HTTP/1.1"


async def test_a_proxy_that_refuses_the_tunnel_is_unsent(tmp_path: Path) -> None:
    """The request never left, and the message holds no password of the proxy's URL."""
    async with serving(response(b"", "407 Proxy Authentication Required")) as proxy:
        address = f"http://user:hunter2@127.0.0.1:{proxy.port}"
        reply = await post_to("https://no-such-host.invalid/v1", tmp_path, proxy=address)
    assert (reply.failure, reply.began) == (Failure.PROXY, False)
    assert "hunter2" not in repr(reply)
    assert judge(reply, None, 0).outcome == "unsent"


async def test_many_posts_at_once_each_get_their_own_answer(tmp_path: Path) -> None:
    """The pool has no limit of its own, and no answer is swapped."""
    arrived = 0
    together = anyio.Event()

    async def echo(server: Server, reader: Reader, writer: Writer) -> None:
        nonlocal arrived
        request = await read_request(reader)
        arrived += 1
        if arrived == 120:
            together.set()
        await together.wait()
        writer.write(response(request.headers["idempotency-key"].encode()))

    replies: dict[int, Reply] = {}
    async with serving(echo) as server, transport_to(server.url, tmp_path) as transport:

        async def one(number: int) -> None:
            replies[number] = await transport.post(replace(edit_of(), idempotency_key=str(number)), Flight())

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                for number in range(120):
                    group.start_soon(one, number)
    assert {number: bytes(reply.body) for number, reply in replies.items()} == {n: str(n).encode() for n in range(120)}
