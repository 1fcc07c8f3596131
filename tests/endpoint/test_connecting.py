"""What is private to aiohttp and used all the same: it is still what it was. A new aiohttp fails here first."""

from __future__ import annotations

import asyncio
import inspect
import socket
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from pipeline.endpoint.connecting import Connector, Way
from pipeline.endpoint.key import Key
from pipeline.endpoint.reply import Failure, Flight
from pipeline.endpoint.session import connecting_time, open_connector
from tests.endpoint.conftest import (
    ANSWER,
    SECRET,
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


async def test_aiohttp_still_connects_to_addresses_where_it_did() -> None:
    """`TCPConnector._wrap_create_connection` takes a factory and, by name, all that `Connector` uses or passes on."""
    theirs = inspect.signature(aiohttp.TCPConnector._wrap_create_connection).parameters
    assert list(theirs) == ["self", "args", "addr_infos", "req", "timeout", "client_error", "kwargs"]
    source = inspect.getsource(aiohttp.TCPConnector._create_direct_connection)
    call = source[source.index("self._wrap_create_connection(") :].partition(")")[0]
    named = ("self._factory,", "timeout=", "ssl=", "addr_infos=", "server_hostname=", "req=", "client_error=")
    assert [word for word in named if word not in call] == []


async def test_aiohttps_protocol_still_keeps_what_came_early() -> None:
    """`ResponseHandler._tail` holds the bytes that came before anybody asked for an answer."""
    handler = ResponseHandler(asyncio.get_running_loop())
    handler.data_received(b"early")
    assert handler._tail == b"early"


async def connected(url: str) -> tuple[aiohttp.connector.Connection, Connector]:
    connector = open_connector(True)
    return await Way(connector, connecting_time(), "POST", URL(url), {}, None).connect(), connector


@pytest.mark.parametrize("addresses", [1, 2])
async def test_silent_connections_are_probed(addresses: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there was one address to connect to or a race of two."""

    async def resolve(self: Any, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        address = {"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET}
        return [{**address, "proto": 0, "flags": 0}] * addresses

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    async with serving(response(ANSWER)) as server:
        connection, connector = await connected(f"http://probed.invalid:{server.port}/")
        assert connection.transport is not None
        opened = connection.transport.get_extra_info("socket")
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle = getattr(socket, "TCP_KEEPIDLE", None) or socket.TCP_KEEPALIVE  # type: ignore[attr-defined]
        assert opened.getsockopt(socket.IPPROTO_TCP, idle) == 30
        connection.close()
        await connector.close()


async def test_where_the_first_address_refuses_the_second_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host of two addresses is reached while one of them is up."""
    closed = closed_port()

    async def resolve(self: Any, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        address = {"hostname": host, "host": "127.0.0.1", "family": socket.AF_INET, "proto": 0, "flags": 0}
        return [{**address, "port": closed}, {**address, "port": port}]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    async with serving(response(ANSWER)) as server:
        reply = await post_to(f"http://two.invalid:{server.port}/v1", tmp_path)
    assert (reply.status, reply.failure) == (200, None)


async def test_a_proxy_is_shown_its_password_and_the_head_is_whole(tmp_path: Path) -> None:
    """Each time, beside the lines that all requests share."""
    async with serving(response(ANSWER)) as proxy:
        address = f"http://us%20er:p%3Aw@127.0.0.1:{proxy.port}"
        async with transport_to("http://no-such-host.invalid:81/v1?q=1", tmp_path, proxy=address) as transport:
            for _ in range(2):
                assert (await transport.post(edit_of(), Flight())).status == 200
    for request in proxy.requests:
        assert request.line == "POST http://no-such-host.invalid:81/v1/images/edits?q=1 HTTP/1.1"
        assert request.headers["host"] == "no-such-host.invalid:81"
        assert request.headers["proxy-authorization"] == "Basic dXMgZXI6cDp3"
        assert request.headers["connection"] == "close"


async def test_each_line_of_a_head_stands_once(tmp_path: Path) -> None:
    """Those that all requests share and those of this one."""
    heads: list[bytes] = []

    async def serve(server: Server, reader: Reader, writer: Writer) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(response(ANSWER))

    async with serving(serve) as server:
        headers = {"X-Team": "photo", "Host": "named.example", "X-Y": "é"}
        async with transport_to(server.url, tmp_path, key=Key(SECRET), headers=headers) as transport:
            assert (await transport.post(edit_of(), Flight())).status == 200
    names = [line.partition(b":")[0].lower().decode() for line in heads[0].split(b"\r\n")[1:] if line]
    expected = "host user-agent accept x-team x-y authorization accept-encoding connection"
    assert names == [*expected.split(), "idempotency-key", "content-length", "content-type"]
    assert b"Host: named.example\r\n" in heads[0]
    assert "X-Y: é\r\n".encode() in heads[0]


async def test_a_key_of_a_request_that_would_begin_another_line_is_not_sent(tmp_path: Path) -> None:
    """It comes from a ledger, which anybody may have written to."""
    async with serving(response(ANSWER)) as server, transport_to(server.url, tmp_path) as transport:
        edit = edit_of()
        for key in ("a\r\nX: y", "a\nb", "a\x00"):
            with pytest.raises(ValueError, match="line break"):
                await transport.post(type(edit)(edit.fields, (), None, key), Flight())
    assert server.connections == 0


async def test_a_connection_lost_before_the_request_is_in_doubt(tmp_path: Path) -> None:
    """Nobody can tell whether a byte had left."""

    async def leaves(server: Server, reader: Reader, writer: Writer) -> None:
        writer.transport.abort()

    async with serving(leaves) as server, transport_to(server.url, tmp_path) as transport:
        reply = await transport.post(edit_of(), Flight())
    assert reply.failure in {Failure.DISCONNECTED, Failure.RESET}
    assert reply.began


async def test_the_connector_forgets_every_connection(tmp_path: Path) -> None:
    """None is kept for another request, nor counted as open."""
    async with serving(read_and_answer) as server, transport_to(server.url, tmp_path) as transport:
        for _ in range(3):
            await transport.post(edit_of(), Flight())
        connector = transport._opened
        assert connector is not None
        assert connector.force_close
        assert (len(connector._acquired), len(connector._conns)) == (0, 0)


async def read_and_answer(server: Server, reader: Reader, writer: Writer) -> None:
    await read_request(reader)
    writer.write(response(ANSWER))
    await reader.read()
