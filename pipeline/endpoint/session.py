"""The way to an endpoint for the length of a run: what aiohttp is told, and what it is kept from doing by itself.

1. Nothing is taken from the environment: no proxy, no .netrc, no cookies.
2. Connecting has 30 s, name resolution and TLS included.
3. Each request has a connection of its own. On a used one a server that dropped it while it was idle cannot be told
   from one that dropped the request, and an answer that came late or twice would be taken for the next request's,
   which may be another task's picture. A handshake costs little against a call that lasts seconds.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - looking up a name imports it: an upgrade during a run must not break that
import re
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from pipeline.endpoint.connecting import Connector, open_socket
from pipeline.errors import JobError, Problem
from pipeline.manifest.models import Endpoint, HeaderAuth

CONNECT_SECONDS = 30.0
_DNS_SECONDS = 60
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


def open_connector(trust: ssl.SSLContext | bool) -> Connector:
    """A connector to be closed by the caller; `trust` as `trusted` returns it. Call it in the running loop."""
    return Connector(
        limit=0,
        force_close=True,
        ttl_dns_cache=_DNS_SECONDS,
        resolver=aiohttp.ThreadedResolver(),
        ssl=trust,
        socket_factory=open_socket,
    )


def connecting_time() -> aiohttp.ClientTimeout:
    """How long connecting may take, and nothing else: what comes after it is timed by the exchange itself."""
    return aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS)


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
