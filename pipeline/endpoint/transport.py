"""One attempt on the wire.

1. `post` raises nothing for what a network, a server or a file may do: it returns a Reply. Cancellation passes.
2. An edit is sent once: no redirect is followed, no connection error is retried.
3. One clock runs from the first byte of the request to the last byte of the answer; connecting has its own. It stands
   still while the process is stopped: an answer that came meanwhile is read.
4. A connection whose exchange did not end in order is dropped, never used again.
5. A complete answer is returned even where the request was still being written, and is not lost to the clock.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import anyio
from anyio.lowlevel import checkpoint_if_cancelled
from msgspec import Struct, field
from yarl import URL

from pipeline.endpoint.faults import NETWORK_ERRORS, failure_of, failure_of_input, words_of
from pipeline.endpoint.form import Edit, encode
from pipeline.endpoint.inflate import inflate
from pipeline.endpoint.key import Key, mask
from pipeline.endpoint.patience import Patience
from pipeline.endpoint.reply import Failure, Flight, Reply
from pipeline.endpoint.sending import Sending, read_small
from pipeline.endpoint.session import header_problems, open_session, trusted
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
_SENDABLE = re.compile(r"[!-~]+")


class _TooLargeError(Exception):
    """The answer is longer than `max_response`."""


class _Exchange(Struct):
    """What is known of a request and its answer so far; it outlives a failure."""

    flight: Flight
    started: float
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    patience: Patience | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    orderly: bool = False

    @property
    def body(self) -> bytes:
        """What came of the answer's body. Joined once: a body that grew would be copied again and again."""
        if len(self.pieces) > 1:
            self.pieces = [b"".join(self.pieces)]
        return self.pieces[0] if self.pieces else b""


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
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        """`timeout` in seconds; `folder` is what a relative `ca_bundle` starts from; `readers` limits the threads
        that read files; `clock` is the event loop's.

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
        self._opened: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._opened = open_session(self._trust)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._session.close()

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
        sending = Sending(body, small, self._readers, lambda: self._begin(exchange), exchange.scope.cancel)
        headers = self._headers(edit)

        async def request() -> aiohttp.ClientResponse:
            return await self._session.post(
                self._url, data=sending, headers=headers, proxy=self._proxy, allow_redirects=False
            )

        reply = await self._answered(request, exchange, sending)
        if sending.failure is not None and reply.failure is not None:
            return self._reply(exchange, failure_of_input(sending.failure), str(sending.failure))
        return reply

    async def fetch(self, url: str) -> Reply:
        """The image that an answer names by URL: from the endpoint's own host, without the key, never redirected.

        A Reply with `url_not_allowed` where the manifest or the URL does not allow it.
        """
        exchange = _Exchange(Flight(), self._clock())
        target = self._allowed(url)
        if target is None:
            return self._reply(exchange, Failure.URL_NOT_ALLOWED, "the answer names a URL that may not be fetched")

        async def request() -> aiohttp.ClientResponse:
            headers = {**_ALWAYS, **_IDENTITY, "Accept": "image/*"}
            return await self._session.get(target, headers=headers, proxy=self._proxy, allow_redirects=False)

        self._begin(exchange)
        return await self._answered(request, exchange, None)

    @property
    def _session(self) -> aiohttp.ClientSession:
        assert self._opened is not None, "a Transport is used inside `async with`"
        return self._opened

    def _begin(self, exchange: _Exchange) -> None:
        exchange.flight.began = True
        exchange.started = self._clock()
        exchange.patience = Patience(exchange.scope, self._timeout)

    def _headers(self, edit: Edit) -> dict[str, str]:
        """The manifest's own come first: Accept and User-Agent may be overridden, what carries the request may not."""
        named = {name.lower() for name in self._endpoint.headers}
        ours = {name: value for name, value in _ALWAYS.items() if name.lower() not in named}
        authorization = self._key.header() if self._key is not None else {}
        return {
            **ours, **self._endpoint.headers, **authorization, **_IDENTITY, "Idempotency-Key": edit.idempotency_key
        }  # fmt: skip

    def _allowed(self, url: str) -> URL | None:
        try:
            # As it is written, where that can be sent: a signature may be over the very characters.
            target = self._url.with_query(None).join(URL(url, encoded=_SENDABLE.fullmatch(url) is not None))
            same = target.scheme in ("http", "https") and target.host and target.origin() == self._url.origin()
        except ValueError:
            return None
        return target if same and target.user is None and self._endpoint.fetch_urls == "same-host" else None

    async def _answered(
        self, request: Callable[[], Awaitable[aiohttp.ClientResponse]], exchange: _Exchange, sending: Sending | None
    ) -> Reply:
        failure, detail = Failure.TIMEOUT, f"no complete answer within {self._timeout:g} s"
        with exchange.scope:
            try:
                await self._receive(await request(), exchange, sending)
                return await self._whole(exchange)
            except _TooLargeError:
                failure = Failure.RESPONSE_TOO_LARGE
                detail = f"the answer is longer than max_response, {self._endpoint.max_response:,} bytes"
            except NETWORK_ERRORS as exc:
                failure, detail = failure_of(exc, began=exchange.flight.began), words_of(exc)
            finally:
                if exchange.patience is not None:
                    exchange.patience.end()
                if sending is not None and not exchange.orderly:
                    sending.abort()
        return self._reply(exchange, failure, detail)

    async def _receive(self, response: aiohttp.ClientResponse, exchange: _Exchange, sending: Sending | None) -> None:
        """Read an answer to its end. Raises _TooLargeError and the network's errors."""
        try:
            exchange.status, exchange.headers = response.status, _kept(response.headers, self._key)
            room = self._endpoint.max_response
            async for piece in response.content.iter_any():
                exchange.pieces.append(piece[:room])
                room -= len(piece)
                if room < 0:
                    raise _TooLargeError
            exchange.orderly = sending is None or sending.delivered
        finally:
            if exchange.orderly:
                response.release()
            else:
                response.close()

    async def _whole(self, exchange: _Exchange) -> Reply:
        encoding = exchange.headers.get("content-encoding", "identity").lower()
        if encoding == "identity":
            return self._reply(exchange, None, "")
        with anyio.CancelScope(shield=True):
            most = self._endpoint.max_response
            inflated = await in_thread(lambda: inflate(exchange.body, encoding, most), self._readers)
        exchange.pieces = [inflated.body]
        return self._reply(exchange, inflated.failure, f"the answer was sent with Content-Encoding: {encoding}")

    def _reply(self, exchange: _Exchange, failure: Failure | None, detail: str) -> Reply:
        return Reply(
            status=exchange.status,
            headers=exchange.headers,
            body=exchange.body,
            failure=failure,
            detail=mask(detail, self._key) if failure else "",
            began=exchange.flight.began,
            seconds=self._clock() - exchange.started,
        )


def _kept(headers: Mapping[str, str], key: Key | None) -> dict[str, str]:
    """The headers that are used later; of one that is repeated, the first."""
    kept: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower in _KEPT or lower.startswith(_KEPT_PREFIXES):
            kept.setdefault(lower, mask(value, key)[:_LONGEST_VALUE])
    return kept


def _request_url(base_url: str, endpoint: Endpoint) -> URL:
    base = _url(base_url, "endpoint.base_url")
    path = base.raw_path.rstrip("/") + URL.build(path=endpoint.path).raw_path
    return base.with_path(path, encoded=True).with_query(base.query).update_query(endpoint.query)


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
