"""What came back from one request, before it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field


class Failure(StrEnum):
    """Why a request has no complete answer; the values are codes of the ledger."""

    DNS = "dns"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_FAILED = "connect_failed"
    TLS = "tls"
    PROXY = "proxy_failed"
    TOO_MANY_OPEN_FILES = "too_many_open_files"
    INPUT_CHANGED = "input_changed"
    RESET = "reset"
    DISCONNECTED = "disconnected"
    TIMEOUT = "timeout"
    INCOMPLETE_BODY = "incomplete_body"
    MALFORMED_RESPONSE = "malformed_response"
    RESPONSE_TOO_LARGE = "response_too_large"
    URL_NOT_ALLOWED = "url_not_allowed"


NEVER_COMPLETE = frozenset(
    {
        Failure.DNS,
        Failure.CONNECT_REFUSED,
        Failure.CONNECT_TIMEOUT,
        Failure.CONNECT_FAILED,
        Failure.TLS,
        Failure.PROXY,
        Failure.TOO_MANY_OPEN_FILES,
        Failure.INPUT_CHANGED,
    }
)
"""Failures that prove that no complete request left, so that nothing can have been billed."""


class Flight(Struct):
    """Whether a request may have left, for a caller whose `post` is cancelled.

    `began` turns true just before the first byte of the request can leave, and never false again.
    """

    began: bool = False


class Reply(Struct, frozen=True):
    """An answer, or how far it came.

    `status` is None where no status line arrived. `headers` are the few that are used, with lower-case names and
    the key masked. `body` holds at most `max_response` bytes, as the server sent them. `failure` is None for a
    complete answer, `detail` explains it to the user. `seconds` run from the first byte of the request, or from the
    start where none left, to the last byte of the answer.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | bytearray = b""
    failure: Failure | None = None
    detail: str = ""
    began: bool = False
    seconds: float = 0.0

    def __repr__(self) -> str:
        """Without headers and body, which hold whatever a server sent."""
        return f"Reply(status={self.status}, {len(self.body)} bytes, failure={self.failure}, {self.seconds:.3f} s)"
