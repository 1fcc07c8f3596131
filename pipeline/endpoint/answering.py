"""What comes back on a connection: the head by aiohttp's parser, the body by the shortest way.

1. Nothing behind a whole answer can cost it. A head is read by itself, also where its body came with it: what follows
   a body on the connection (a gateway's stray bytes, an answer that comes twice) makes the parser refuse all that it
   was fed together with it, and a small paid answer would be lost whole.
2. Interim answers (100, 102, 103) are passed over, whatever they say of the connection; 101 is an answer.
3. A body of known length goes from the socket to its place, past the parser. One that is chunked or ends with the
   connection goes through the parser, which alone knows where it ends; a connection that is reset ends no body.
4. No more than `most` bytes of a body are kept, and of what is merely announced 4 MiB take memory at most.
5. `done` is set once, by the first of: the answer is whole, it can no longer become so, somebody waits no longer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence

import aiohttp
from aiohttp.connector import Connection
from aiohttp.hdrs import CONTENT_LENGTH, TRANSFER_ENCODING
from aiohttp.http import HttpResponseParser, RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError

from pipeline.endpoint.connecting import taken_over

_END = re.compile(rb"\n\r?\n")
"""What ends a head; a line may end with its line feed alone (RFC 9112, 2.2)."""
_LONGEST_BEFORE = 2
"""Bytes of an end, at most, that came before the read that completes it."""
_READ_BYTES = 1 << 18
_BEHIND = 4
"""Bytes of what comes behind a body that are read, and forgotten, at a time."""
# Content-Security-Policy and the like outgrow aiohttp's 8 KiB; a paid answer must not fail for it.
_HEADER_BYTES = 1 << 16
_MOST_HEADERS = 1000
_WITHOUT_BODY = frozenset({101, 204, 304})
_RESET_CONTENT = 205
_FIRST_ROOM = 1 << 22
"""Bytes of memory that a body of known length gets before any of it came; more as it fills."""


class TooLargeError(Exception):
    """The answer's body is longer than may be kept."""


class Answer(asyncio.Protocol):
    """The one answer on a connection that was made for it; it takes the connection over at once."""

    def __init__(self, connection: Connection, most: int) -> None:
        """`most` is in bytes."""
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = loop.create_future()
        self.error: Exception | None = None
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self._parser = self._new_parser()
        self._payload: aiohttp.StreamReader | None = None
        self._length: int | None = None
        self._rest: _Rest | None = None
        self._pieces: list[bytes] = []
        self._room = most
        self._seen = b""
        self._full = False
        self._drained: asyncio.Future[None] | None = None
        self._handler, self.transport, early = taken_over(connection, self)
        if early:
            self.data_received(early)
        self._lost = self.transport is None
        if self._lost:
            self._ended(None)

    @property
    def whole(self) -> bool:
        """Whether the answer came to its end."""
        return self.done.done() and not self.done.cancelled() and self.error is None

    def take_body(self) -> bytes | bytearray:
        """What came of the body. It is kept here no longer, nor is what would keep this answer from being freed."""
        rest, pieces = self._rest, self._pieces
        self._rest, self._pieces, self._payload = None, [], aiohttp.EMPTY_PAYLOAD
        del self._parser
        if rest is not None:
            return rest.body if rest.filled == rest.length else bytes(memoryview(rest.body)[: rest.filled])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self, error: Exception | None) -> None:
        """Wait for nothing more: the answer is whole, or `error` says why it is not. Only the first call counts."""
        if not self.done.done():
            self.error = error
            self.done.set_result(None)

    async def writable(self) -> bool:
        """Wait until the connection takes more of the request; whether there still is one."""
        if self._full and not self._lost:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
        return not self._lost

    def data_received(self, data: bytes) -> None:
        """Read on: heads one by one, up to the answer's own, then its body."""
        at = 0
        while at < len(data) and self._payload is None and not self.done.done():
            end = self._end_of_head(data, at)
            self._feed(data[at:end])
            at = end
        if self.done.done():
            return
        if self._length is not None:
            self._fill(self._length, data[at:])
        elif at < len(data):
            self._feed(data[at:])

    def eof_received(self) -> None:
        """Nothing more will come; the transport closes itself."""
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of the connection, for aiohttp too, which counts it as open until then."""
        self._handler.connection_lost(exc)
        self._lost = True
        self.resume_writing()
        self._ended(exc)

    def pause_writing(self) -> None:
        """The transport's buffers are full."""
        self._full = True

    def resume_writing(self) -> None:
        """They are not."""
        self._full = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def pause_reading(self) -> None:
        """The parser's wish when much is unread; all it was fed is read at once."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """As above."""

    def _new_parser(self) -> HttpResponseParser:
        return HttpResponseParser(
            self,  # type: ignore[arg-type]  # what a parser asks of a protocol is above: `pause_reading` and the like
            self.done.get_loop(),
            _READ_BYTES,
            payload_exception=aiohttp.ClientPayloadError,
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=_HEADER_BYTES,
            max_headers=_MOST_HEADERS,
            max_field_size=_HEADER_BYTES,
        )

    def _end_of_head(self, data: bytes, start: int) -> int:
        """The index behind the empty line that ends a head, part of which may have come before; else of all data."""
        before, self._seen = self._seen, b""
        if before and (found := _END.search(before + data[:_LONGEST_BEFORE])):
            return found.end() - len(before)
        if found := _END.search(data, start):
            return found.end()
        self._seen = (before + data[max(start, len(data) - _LONGEST_BEFORE) :])[-_LONGEST_BEFORE:]
        return len(data)

    def _feed(self, data: bytes) -> None:
        error: Exception | None = None
        try:
            for message, payload in self._parser.feed_data(data)[0]:
                if 100 <= message.code <= 199 and message.code != 101:
                    self._parser = self._new_parser()  # one that was told `Connection: close` takes no more
                elif self._payload is None:
                    self._headed(message, payload)
        except HttpProcessingError as exc:
            error = exc
        except Exception as exc:  # of a parser in C that is fed anything
            error = HttpProcessingError(message=str(exc))
        self._drain()  # first: what the parser refuses may stand behind the answer's end
        if error is not None:
            self.finish(error)

    def _headed(self, message: RawResponseMessage, payload: aiohttp.StreamReader) -> None:
        self.status, self.headers = message.code, message.headers
        lengths: Sequence[str] = message.headers.getall(CONTENT_LENGTH, ())
        framed = lengths or message.chunked or TRANSFER_ENCODING in message.headers
        empty = message.code in _WITHOUT_BODY or (message.code == _RESET_CONTENT and not framed)
        self._payload = aiohttp.EMPTY_PAYLOAD if empty else payload
        known = len(lengths) == 1 and lengths[0].isascii() and lengths[0].isdigit()
        plain = known and not message.chunked and TRANSFER_ENCODING not in message.headers
        # After a head with odd line ends the parser may have some of the body already.
        untouched = not self._payload.total_bytes and not self._payload.is_eof()
        # Of thousands of zeros `int` makes no number.
        if plain and untouched and (length := int(lengths[0].lstrip("0") or "0")) <= self._room:
            self._length = length

    def _fill(self, length: int, data: bytes) -> None:
        """Take a body of known length, of which `data` is the beginning or all."""
        if len(data) >= length:
            self._pieces = [data[:length]]
            self.finish(None)
        elif self.transport is not None:
            self._rest = _Rest(self, length, data)
            self.transport.set_protocol(self._rest)
        else:
            self._pieces = [data]

    def _drain(self) -> None:
        """Take what the parser has of the body."""
        if self._payload is None or self._length is not None:
            return
        try:
            piece = self._payload.read_nowait()
        except Exception as exc:  # whatever the parser left there
            self.finish(exc)
            return
        self._pieces.append(piece[: self._room])
        self._room -= len(piece)
        if self._room < 0:
            self.finish(TooLargeError())
        elif self._payload.is_eof():
            self.finish(None)

    def _ended(self, error: Exception | None) -> None:
        """The connection ends, by itself or with an error: nothing more will come."""
        if self.done.done():
            return
        if self._payload is None:
            known = isinstance(error, OSError)
            self.finish(aiohttp.ClientOSError(*error.args) if known and error else aiohttp.ServerDisconnectedError())
            return
        if self._length is None and error is None:
            try:
                self._parser.feed_eof()
            except Exception as exc:  # the parser's word for a body without its end
                self.finish(aiohttp.ClientPayloadError(f"the connection ended within the answer's body: {exc}"))
            self._drain()
        self.finish(aiohttp.ClientPayloadError(self._cut_short(error)))

    def _cut_short(self, error: Exception | None) -> str:
        if self._length is None:
            return f"the connection ended within the answer's body: {error}"
        came = self._rest.filled if self._rest is not None else sum(map(len, self._pieces))
        return f"the connection ended after {came:,} of {self._length:,} bytes of the answer's body"


class _Rest(asyncio.BufferedProtocol):
    """The rest of a body of known length, read from the socket into its place."""

    def __init__(self, answer: Answer, length: int, begun: bytes) -> None:
        self._answer, self.length = answer, length
        self.filled = len(begun)
        self.body = bytearray(min(length, max(_FIRST_ROOM, len(begun))))
        self.body[: len(begun)] = begun
        self.connection_lost = answer.connection_lost  # type: ignore[method-assign]
        self.eof_received = answer.eof_received  # type: ignore[method-assign]
        self.pause_writing = answer.pause_writing  # type: ignore[method-assign]
        self.resume_writing = answer.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where the next bytes go; what comes behind the body goes nowhere."""
        if self.filled == self.length:
            return memoryview(bytearray(_BEHIND))
        if self.filled == len(self.body):
            self.body.extend(bytes(min(self.filled, self.length - self.filled)))
        return memoryview(self.body)[self.filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes came."""
        if self.filled < self.length:
            self.filled += nbytes
            if self.filled == self.length:
                self._answer.finish(None)
