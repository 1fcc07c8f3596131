"""The HTTP session of a run: what aiohttp is told, and what it is kept from doing by itself.

1. Nothing is taken from the environment: no proxy, no .netrc, no cookies.
2. aiohttp's own clocks are off but for connecting (30 s, name resolution and TLS included).
3. Each request has a connection of its own. On a used one a server that dropped it while it was idle cannot be told
   from one that dropped the request, and an answer that came late or twice would be taken for the next request's,
   which may be another task's picture. A handshake costs little against a call that lasts seconds.
4. Bodies arrive as they were sent; nothing is inflated before it is counted.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - looking up a name imports it: an upgrade during a run must not break that
import functools
import re
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

from pipeline.endpoint.answering import AnswerHandler
from pipeline.errors import JobError, Problem
from pipeline.manifest.models import Endpoint, HeaderAuth

CONNECT_SECONDS = 30.0
_DNS_SECONDS = 60
_READ_BYTES = 1 << 18
# Content-Security-Policy and the like outgrow aiohttp's 8 KiB; a paid answer must not fail for it.
_HEADER_BYTES = 1 << 16
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OURS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "idempotency-key",
        "transfer-encoding",
    }
)
# A route that forgets silent connections is kept open, and a peer that vanished is noticed within two minutes.
_PROBES = (("TCP_KEEPIDLE", 30), ("TCP_KEEPALIVE", 30), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 6))


def open_session(trust: ssl.SSLContext | bool) -> aiohttp.ClientSession:
    """A session to be closed by the caller; `trust` as `trusted` returns it. Call it in the running loop."""
    connector = aiohttp.TCPConnector(
        limit=0,
        force_close=True,
        ttl_dns_cache=_DNS_SECONDS,
        resolver=aiohttp.ThreadedResolver(),
        ssl=trust,
        socket_factory=_socket,
    )
    # aiohttp has no other way to name the protocol of a connection.
    factory = functools.partial(AnswerHandler, loop=connector._loop)
    connector._factory = cast("functools.partial[ResponseHandler]", factory)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
        auto_decompress=False,
        trust_env=False,
        read_bufsize=_READ_BYTES,
        max_line_size=_HEADER_BYTES,
        max_field_size=_HEADER_BYTES,
    )


def trusted(endpoint: Endpoint, folder: Path) -> ssl.SSLContext | bool:
    """The certificate authorities to trust: those of `ca_bundle` alone, or True for the system's.

    Raises JobError where the bundle cannot be read.
    """
    if endpoint.ca_bundle is None:
        return True
    path = folder / Path(endpoint.ca_bundle).expanduser()
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a FIFO would be waited for
            raise OSError("it is not a regular file")
        return ssl.create_default_context(cafile=path)
    except OSError as exc:
        # OpenSSL's words end in a line of its C source.
        reason = "it holds no usable certificate" if isinstance(exc, ssl.SSLError) else exc.strerror or exc
        expected = "expected a PEM file with certificates"
        raise JobError([Problem(f"cannot use {path}: {reason}", expected, "endpoint.ca_bundle")]) from exc


def header_problems(endpoint: Endpoint) -> Iterator[Problem]:
    """What is wrong with the manifest's `endpoint.headers`: what cannot be sent, and what would break the request."""
    ours = _OURS
    if endpoint.auth != "none":
        ours |= {endpoint.auth.header.lower() if isinstance(endpoint.auth, HeaderAuth) else "authorization"}
    for name, value in endpoint.headers.items():
        where = f"endpoint.headers.{name}"
        if not _TOKEN.fullmatch(name):
            yield Problem(f"{name!r} is not a header name", "expected letters, digits and hyphens", "endpoint.headers")
        elif name.lower() in ours:
            yield Problem(f"{name} is set by Retouch", "remove it", where)
        elif _CONTROL.search(value):
            yield Problem("the value holds a line break or control character", "remove it", where)


def _socket(address: tuple[int, int, int, str, object]) -> socket.socket:
    family, kind, protocol = address[:3]
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES:
        option = getattr(socket, name, None)
        if option is not None:
            opened.setsockopt(socket.IPPROTO_TCP, option, value)
    return opened
