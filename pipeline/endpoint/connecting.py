"""Connections that aiohttp makes, each for one request, and the few of its private parts that this takes.

1. Names, their cache, TLS, proxies and tunnels are aiohttp's. What goes over a connection once it is made is not: of
   the head of a request only three lines differ from the next one's.
2. Where there is one address it is connected to without the race that several would be in; of several the fastest wins.
3. Private to aiohttp are `TCPConnector._wrap_create_connection`, where an address is connected to, and
   `ResponseHandler._tail`, where bytes lie that came before the request was sent. `tests/endpoint/test_connecting.py`
   says so where one of them is no longer what it was.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.hdrs import CONNECTION, CONTENT_LENGTH
from yarl import URL

# A route that forgets silent connections is kept open, and a peer that vanished is noticed within two minutes.
_PROBES = tuple(
    (socket.IPPROTO_TCP, option, seconds)
    for name, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPALIVE", 30), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 6))
    if (option := getattr(socket, name, None)) is not None
)
_OPTIONS = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *_PROBES)


class Connector(aiohttp.TCPConnector):
    """aiohttp's connector, by the short way where there is one."""

    async def _wrap_create_connection(
        self,
        *args: Any,
        addr_infos: list[Any],
        req: aiohttp.ClientRequest,
        client_error: type[Exception] = aiohttp.ClientConnectorError,
        **kwargs: Any,
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        if len(addr_infos) > 1:
            kwargs |= {"req": req, "client_error": client_error}
            return await super()._wrap_create_connection(*args, addr_infos=addr_infos, **kwargs)
        family, *_, (host, port, *_) = addr_infos[0]
        try:
            transport, handler = await self._loop.create_connection(
                args[0], host, port, ssl=kwargs["ssl"], server_hostname=kwargs["server_hostname"]
            )
        except ssl.CertificateError as exc:
            raise aiohttp.ClientConnectorCertificateError(req.connection_key, exc) from exc
        except ssl.SSLError as exc:
            raise aiohttp.ClientConnectorSSLError(req.connection_key, exc) from exc
        except OSError as exc:
            raise client_error(req.connection_key, exc) from exc
        if (descriptor := transport.get_extra_info("socket").fileno()) >= 0:
            _probe_made(family, descriptor)
        return transport, handler


class Way:
    """Where requests of one kind go, and what all of them say. Its headers may hold the key: it is never printed.

    `tls` says whether its connections are over TLS, be it a proxy's alone.
    """

    def __init__(
        self, connector: Connector, timeout: aiohttp.ClientTimeout, method: str, url: URL, headers: dict[str, str],
        proxy: URL | None,
    ) -> None:  # fmt: skip
        self._connector, self._timeout = connector, timeout
        self.tls = url.scheme == "https" or (proxy is not None and proxy.scheme == "https")
        self._request = aiohttp.ClientRequest(method, url, headers=headers, proxy=proxy)
        target = str(self._request.url) if proxy is not None and url.scheme == "http" else url.raw_path_qs
        self._line = f"{method} {target} HTTP/1.1\r\n"
        self._head: str | None = None

    async def connect(self) -> Connection:
        """A new connection, to be released or closed. Raises aiohttp.ClientError and OSError."""
        try:
            return await self._connector.connect(self._request, [], self._timeout)
        except TimeoutError as exc:
            raise aiohttp.ConnectionTimeoutError(f"no connection within {self._timeout.connect:g} s") from exc

    def head(self, own: str) -> bytes:
        """The head of a request, with the lines of its `own`, each with its end. Call it once connected."""
        if self._head is None:
            # Not before: a proxy's password is among the headers once a connection was made.
            lines = [f"{name}: {value}\r\n" for name, value in self._request.headers.items() if name != CONTENT_LENGTH]
            self._head = f"{self._line}{''.join(lines)}{CONNECTION}: close\r\n"
        return f"{self._head}{own}\r\n".encode()


def open_socket(address: tuple[int, int, int, str, object]) -> socket.socket:
    """The socket of a connection that takes part in a race."""
    opened = socket.socket(*address[:3])
    _probe(opened)
    return opened


def taken_over(
    connection: Connection, protocol: asyncio.Protocol
) -> tuple[ResponseHandler, asyncio.Transport | None, bytes]:
    """Give a connection another protocol: aiohttp's own, the transport or None where it is lost, and what came early.

    aiohttp's protocol is to be told of the connection's end.
    """
    handler = connection.protocol
    assert handler is not None, "a connection is taken over once, and before it is released"
    transport, early = handler.transport, handler._tail
    if transport is not None:
        transport.set_protocol(protocol)
        if early and not transport.is_closing():
            transport.resume_reading()  # aiohttp stops where much comes early
    return handler, transport, early


def _probe(opened: socket.socket) -> None:
    for level, option, value in _OPTIONS:
        opened.setsockopt(level, option, value)


def _probe_made(family: int, descriptor: int) -> None:
    """As `_probe`, for a connection that a loop made: uvloop's own object would look at the socket for each option."""
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=descriptor)
    try:
        _probe(made)
    except OSError:
        pass  # lost already, which shows when it is written to
    finally:
        made.detach()
