"""What the exceptions of aiohttp, the sockets and TLS mean, mapped in one place, the most specific first."""

from __future__ import annotations

import errno
import ssl

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from pipeline.endpoint.reply import Failure
from pipeline.endpoint.upload import InputChangedError

NETWORK_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError)
"""All that a request can raise besides cancellation; TimeoutError and ssl.SSLError are OSErrors."""

_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})

_BEFORE: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Failure], ...] = (
    (aiohttp.ClientConnectorDNSError, Failure.DNS),
    ((aiohttp.ClientSSLError, ssl.SSLError), Failure.TLS),
    ((aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError), Failure.PROXY),
    (TimeoutError, Failure.CONNECT_TIMEOUT),
)

_AFTER: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Failure], ...] = (
    ((aiohttp.ClientResponseError, HttpProcessingError), Failure.MALFORMED_RESPONSE),
    (aiohttp.ClientPayloadError, Failure.INCOMPLETE_BODY),
    (aiohttp.ServerDisconnectedError, Failure.DISCONNECTED),
)


def failure_of(error: BaseException, *, began: bool) -> Failure:
    """The failure that a network error stands for; `began` says whether the first byte may have left."""
    table = _AFTER if began else _BEFORE
    number = _errno(error)
    if not began and number in _NO_DESCRIPTOR:
        return Failure.TOO_MANY_OPEN_FILES
    found = next((failure for kinds, failure in table if isinstance(error, kinds)), None)
    if found is not None:
        return found
    if began:
        return Failure.RESET
    return Failure.CONNECT_REFUSED if number == errno.ECONNREFUSED else Failure.CONNECT_FAILED


def words_of(error: BaseException) -> str:
    """An error in words, without the URL that aiohttp adds (a proxy's may hold a password)."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"status {error.status}: {error.message}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection before its answer was complete"
    return str(error) or type(error).__name__


def failure_of_input(error: InputChangedError | OSError) -> Failure:
    """The failure that an error while reading a file to send stands for."""
    return Failure.TOO_MANY_OPEN_FILES if _errno(error) in _NO_DESCRIPTOR else Failure.INPUT_CHANGED


def _errno(error: BaseException) -> int | None:
    """The number of the operating system's error, which aiohttp keeps in `os_error`."""
    inner = getattr(error, "os_error", error)
    return inner.errno if isinstance(inner, OSError) else None
