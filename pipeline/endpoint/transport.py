"""One attempt on the wire.

1. `post` raises nothing for what a network, a server or a file may do: it returns a Reply. Cancellation passes.
2. An edit is sent once: no redirect is followed, no connection error is retried.
3. One clock runs from the first byte of the request to the last byte of the answer; connecting has its own. It stands
   still while the process is stopped: an answer that came meanwhile is read.
4. A connection whose exchange did not end in order is dropped, never used again; one over TLS is dropped as soon as
   its answer is whole. None keeps its descriptor after its attempt.
5. A complete answer is returned even where the request was still being written, and is not lost to the clock.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from anyio.lowlevel import checkpoint_if_cancelled
from msgspec import Struct
from yarl import URL

from pipeline.endpoint.answering import Answer, TooLargeError
from pipeline.endpoint.connecting import Connector, Way
from pipeline.endpoint.faults import NETWORK_ERRORS, failure_of, failure_of_input, words_of
from pipeline.endpoint.form import Body, Edit, encode
from pipeline.endpoint.inflate import codings, inflate
from pipeline.endpoint.key import Key, mask
from pipeline.endpoint.patience import Patience
from pipeline.endpoint.reply import Failure, Flight, Reply
from pipeline.endpoint.sending import Sending, read_small
from pipeline.endpoint.session import connecting_time, header_problems, open_connector, trusted
from pipeline.endpoint.upload import InputChangedError
from pipeline.errors import JobError, Problem
from pipeline.manifest.models import Endpoint
from pipeline.threads import in_thread
from pipeline.version import __version__

_ALWAYS = {"User-Agent": f"retouch/{__version__}", "Accept": "application/json"}
_IDENTITY = {"Accept-Encoding": "identity"}
_KEPT_PREFIXES = ("retry-after", "x-ratelimit-", "llm_provider-", "x-litellm-")
_KEPT = frozenset(
    {
        "apim-request-id",
        "cf-ray",
        "content-encoding",
        "content-type",
        "date",
        "server",
        "x-request-id",
        "x-should-retry",
    }
)
_LONGEST_VALUE = 1000
_NOTHING = Reply()
_SENDABLE = re.compile(r"[!-~]+")


class _OverdueError(Exception):
    """The time for an answer is over."""


class _Exchange(Struct):
    """What is known of a request so far; it outlives a failure."""

    flight: Flight
    started: float


class Transport:
    """The way to one endpoint, open for the length of a run: `async with Transport(…) as transport`."""

    def __init__(
        self,
        base_url: str,
        endpoint: Endpoint,
        key: Key | None,
        *,
        timeout: float,
        folder: Path,
        readers: anyio.CapacityLimiter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout` in seconds; `folder` is what a relative `ca_bundle` starts from; `readers` limits the threads
        that read files; `clock` tells seconds and is never put back.

        Raises JobError where the URL, a header or the certificates cannot be used.
        """
        self._url = _request_url(base_url, endpoint)
        problems = tuple(header_problems(endpoint))
        if problems:
            raise JobError(problems)
        self._trust = trusted(endpoint, folder)
        self._proxy = _url(endpoint.proxy, "endpoint.proxy") if endpoint.proxy else None
        self._endpoint, self._key, self._readers = endpoint, key, readers
        self._timeout, self._clock = timeout, clock
        self._opened: Connector | None = None
        self._edits: Way | None = None

    async def __aenter__(self) -> Self:
        self._opened = open_connector(self._trust)
        self._edits = self._way("POST", self._url, self._headers())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._opened is not None
        with anyio.CancelScope(shield=True):
            await self._opened.close()

    async def post(self, edit: Edit, flight: Flight) -> Reply:
        """Send an edit once and read its answer; `flight` tells a caller that is cancelled whether it left."""
        await checkpoint_if_cancelled()
        exchange = _Exchange(flight, self._clock())
        # The boundary is as unpredictable as the idempotency key, so no image can be made to contain it.
        boundary = f"retouch-{hashlib.sha256(edit.idempotency_key.encode()).hexdigest()[:32]}"
        body = encode(edit, self._endpoint.body, boundary)
        try:
            small = await read_small(edit.uploads, self._readers)
        except (InputChangedError, OSError) as exc:
            return self._reply(exchange, failure_of_input(exc), str(exc))
        sending = Sending(body, small, self._readers)
        assert self._edits is not None, "a Transport is used inside `async with`"
        own = f"Idempotency-Key: {_one_line(edit.idempotency_key)}\r\n{sending.own_lines}"
        reply = await self._answered(self._edits, own, sending, exchange)
        if sending.failure is not None and reply.failure is not None:
            return self._reply(exchange, failure_of_input(sending.failure), str(sending.failure), reply)
        return reply

    async def fetch(self, url: str) -> Reply:
        """The image that an answer names by URL: from the endpoint's own host, without the key, never redirected.

        A Reply with `url_not_allowed` where the manifest or the URL does not allow it.
        """
        exchange = _Exchange(Flight(), self._clock())
        target = self._allowed(url)
        if target is None:
            return self._reply(exchange, Failure.URL_NOT_ALLOWED, "the answer names a URL that may not be fetched")
        exchange.flight.began = True  # the edit was made: whatever fails now comes after it
        way = self._way("GET", target, {**_ALWAYS, **_IDENTITY, "Accept": "image/*"})
        return await self._answered(way, "", Sending(Body((), ""), {}, self._readers), exchange)

    def _way(self, method: str, url: URL, headers: dict[str, str]) -> Way:
        assert self._opened is not None, "a Transport is used inside `async with`"
        return Way(self._opened, connecting_time(), method, url, headers, self._proxy)

    def _headers(self) -> dict[str, str]:
        """The manifest's own come first: Accept and User-Agent may be overridden, what carries the request may not."""
        named = {name.lower() for name in self._endpoint.headers}
        ours = {name: value for name, value in _ALWAYS.items() if name.lower() not in named}
        authorization = self._key.header() if self._key is not None else {}
        return {**ours, **self._endpoint.headers, **authorization, **_IDENTITY}

    def _allowed(self, url: str) -> URL | None:
        try:
            # As it is written, where that can be sent: a signature may be over the very characters.
            target = self._url.with_query(None).join(URL(url, encoded=_SENDABLE.fullmatch(url) is not None))
            same = _origin(target) == _origin(self._url)
        except ValueError:
            return None
        return target if same and target.user is None and self._endpoint.fetch_urls == "same-host" else None

    async def _answered(self, way: Way, own: str, sending: Sending, exchange: _Exchange) -> Reply:
        try:
            connection = await way.connect()
        except NETWORK_ERRORS as exc:
            return self._reply(exchange, failure_of(exc, began=exchange.flight.began), words_of(exc))
        head = way.head(own)
        exchange.flight.began, exchange.started = True, self._clock()
        answer = Answer(connection, self._endpoint.max_response)
        patience = Patience(self._timeout, lambda: answer.finish(_OverdueError()))
        try:
            sending.start(head, answer)
            await answer.done
        finally:
            patience.end()
            # A goodbye over TLS would keep the descriptor for up to 30 s while the peer says none.
            if answer.whole and sending.delivered(answer) and not way.tls:
                connection.release()
            else:
                sending.abort(answer)
                connection.close()
        return await self._read(exchange, answer)

    async def _read(self, exchange: _Exchange, answer: Answer) -> Reply:
        """The reply that an answer makes, or what came of it."""
        came = Reply(answer.status, _kept(answer.headers, self._key), answer.take_body())
        failure, detail = self._failure(answer.error)
        encoding = came.headers.get("content-encoding")
        if encoding is None or not codings(encoding):
            return self._reply(exchange, failure, detail, came)
        with anyio.CancelScope(shield=True):
            most = self._endpoint.max_response
            inflated = await in_thread(lambda: inflate(came.body, encoding, most), self._readers)
        plain = Reply(came.status, came.headers, inflated.body)
        if failure is None:
            failure, detail = inflated.failure, f"the answer was sent with Content-Encoding: {encoding}"
        return self._reply(exchange, failure, detail, plain)

    def _failure(self, error: Exception | None) -> tuple[Failure | None, str]:
        """What an error of an answer is called, and what the user is told of it."""
        match error:
            case None:
                return None, ""
            case _OverdueError():
                return Failure.TIMEOUT, f"no complete answer within {self._timeout:g} s"
            case TooLargeError():
                most = f"max_response, {self._endpoint.max_response:,} bytes"
                return Failure.RESPONSE_TOO_LARGE, f"the answer is longer than {most}"
        return failure_of(error, began=True), words_of(error)

    def _reply(self, exchange: _Exchange, failure: Failure | None, detail: str, came: Reply = _NOTHING) -> Reply:
        return Reply(
            status=came.status,
            headers=came.headers,
            body=came.body,
            failure=failure,
            detail=mask(detail, self._key) if failure else "",
            began=exchange.flight.began,
            seconds=self._clock() - exchange.started,
        )


def _one_line(value: str) -> str:
    """A header's value as it is. Raises ValueError where it would begin another line."""
    if not value.isprintable():
        raise ValueError("a header's value holds a line break or control character")
    return value


def _kept(headers: Mapping[str, str], key: Key | None) -> dict[str, str]:
    """The headers that are used later; of one that is repeated, the first, but all that was done to the body."""
    kept: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower in _KEPT or lower.startswith(_KEPT_PREFIXES):
            text = f"{kept.pop(lower)}, {value}" if lower == "content-encoding" and lower in kept else value
            kept.setdefault(lower, mask(text, key)[:_LONGEST_VALUE])
    return kept


def _request_url(base_url: str, endpoint: Endpoint) -> URL:
    base = _url(base_url, "endpoint.base_url")
    path = base.raw_path.rstrip("/") + URL.build(path=endpoint.path).raw_path
    return base.with_path(path, encoded=True).with_query(base.query).update_query(endpoint.query)


def _origin(url: URL) -> tuple[str, str, int | None]:
    """Whom a URL asks, however it is written (RFC 6454, 4). Raises ValueError."""
    return url.scheme, (url.raw_host or "").lower(), url.port


def _url(text: str, where: str) -> URL:
    """A URL that can be sent to. Raises JobError."""
    try:
        url = URL(text)
        usable = url.scheme in ("http", "https") and bool(url.host) and url.port is not None
    except ValueError:
        usable = False
    if not usable:
        raise JobError([Problem("the URL cannot be used", "expected http:// or https:// and a host", where)])
    return url
