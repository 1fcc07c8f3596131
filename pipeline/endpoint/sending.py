"""A request body on its way: files read in threads, checked before their last byte leaves.

1. Files of up to 1 MB are read and checked before the connection is made.
2. Of a larger file the part that ends it is checked, with all before it, before that part is written: a request
   whose input changed is never complete at the server.
3. `begin` is called before the first byte can leave; `complete` is true only after the last was handed over.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import anyio
import pybase64
from aiohttp import Payload
from aiohttp.abc import AbstractStreamWriter

from pipeline.endpoint.form import Body, FilePiece
from pipeline.endpoint.upload import InputChangedError, Upload, read_part, read_whole
from pipeline.threads import in_thread

SMALL = 1_000_000
"""Largest file, in bytes, that is held in memory."""

PART = 2**20 - 1
"""Bytes of a larger file that are read at a time; a multiple of three, so that base64 parts join."""


LIGHT = 1 << 16
"""Bytes that are read at once, without a thread: they were hashed a moment ago, and lie in memory."""


async def read_small(uploads: Sequence[Upload], readers: anyio.CapacityLimiter) -> dict[Upload, bytes]:
    """The contents of the small files among `uploads`, checked. Raises InputChangedError and OSError."""
    small = [upload for upload in uploads if upload.bytes <= SMALL]
    if sum(upload.bytes for upload in small) <= LIGHT:
        return _contents(small)
    return await in_thread(lambda: _contents(small), readers)


def _contents(uploads: Iterable[Upload]) -> dict[Upload, bytes]:
    return {upload: read_whole(upload) for upload in uploads}


class Sending(Payload):
    """A body that aiohttp writes, with a Content-Length."""

    _autoclose = True

    def __init__(
        self,
        body: Body,
        small: Mapping[Upload, bytes],
        readers: anyio.CapacityLimiter,
        begin: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        """`begin` is called before the first byte can leave, `stop` when the body cannot be completed."""
        super().__init__(body, content_type=body.content_type)
        self._body, self._small, self._readers, self._begin, self._stop = body, small, readers, begin, stop
        self._size = body.length
        self._transport: asyncio.Transport | None = None
        self.complete = False
        self.failure: InputChangedError | OSError | None = None

    @property
    def delivered(self) -> bool:
        """Whether the connection has taken the whole body, so that it may carry another request."""
        return self.complete and (self._transport is None or self._transport.get_write_buffer_size() == 0)

    async def write_with_length(
        self,
        writer: AbstractStreamWriter,
        content_length: int | None,  # noqa: ARG002 - aiohttp's signature; no length but the body's own is asked for
    ) -> None:
        """Write the whole body."""
        self._transport = getattr(writer, "transport", None)
        self._begin()
        if self._body.length <= LIGHT:
            await writer.write(b"".join(self._whole(piece) for piece in self._body.pieces))
        else:
            await self._write_pieces(writer)
        self.complete = True

    async def _write_pieces(self, writer: AbstractStreamWriter) -> None:
        for piece in self._body.pieces:
            if isinstance(piece, bytes) or piece.upload in self._small:
                await writer.write(self._whole(piece))
            else:
                await self._write_file(writer, piece)

    def _whole(self, piece: bytes | FilePiece) -> bytes:
        """A piece that is in memory."""
        if isinstance(piece, bytes):
            return piece
        return pybase64.b64encode(self._small[piece.upload]) if piece.base64 else self._small[piece.upload]

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the whole body."""
        await self.write_with_length(writer, None)

    def decode(
        self,
        encoding: str = "utf-8",  # noqa: ARG002 - aiohttp's signature
        errors: str = "strict",  # noqa: ARG002 - aiohttp's signature
    ) -> str:
        """Not a text. Raises TypeError."""
        raise TypeError("a request body is written, never decoded")

    def abort(self) -> None:
        """Drop the connection with what it has not sent; a graceful close waits for a peer that may never read."""
        if self._transport is not None:
            self._transport.abort()

    async def _write_file(self, writer: AbstractStreamWriter, piece: FilePiece) -> None:
        digest = hashlib.sha256()

        def read(start: int) -> bytes:
            size = min(PART, piece.upload.bytes - start)
            part = read_part(piece.upload, start, size, digest)
            return pybase64.b64encode(part) if piece.base64 else part

        for start in range(0, piece.upload.bytes, PART):
            await writer.write(await self._checked(read, start))

    async def _checked(self, read: Callable[[int], bytes], start: int) -> bytes:
        try:
            return await in_thread(lambda: read(start), self._readers)
        except (InputChangedError, OSError) as exc:
            self.failure = exc
            self._stop()
            raise
