"""A request body on its way: files read in threads, checked before their last byte leaves.

1. Files of up to 1 MB are in memory before the connection is made: held since they were hashed, or read and checked.
2. Of a larger file the part that ends it is checked, with all before it, before that part is written: a request
   whose input changed is never complete at the server.
3. `complete` is true only after the last byte was handed over.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import anyio
import pybase64

from pipeline.endpoint.answering import Answer
from pipeline.endpoint.form import Body, FilePiece
from pipeline.endpoint.upload import InputChangedError, Upload, read_part, read_whole
from pipeline.held import LARGEST
from pipeline.threads import in_thread

if TYPE_CHECKING:
    from hashlib import _Hash

PART = 2**20 - 1
"""Bytes of a larger file that are read at a time; a multiple of three, so that base64 parts join."""


LIGHT = 1 << 16
"""Bytes that are read at once, without a thread: they were hashed a moment ago, and lie in memory."""

AT_ONCE = 1 << 21
"""Largest body, in bytes, that is handed over as a whole; it is in memory already, and is not copied."""


async def read_small(uploads: Sequence[Upload], readers: anyio.CapacityLimiter) -> dict[Upload, bytes]:
    """The contents of the small files among `uploads`, held or read and checked.

    Raises InputChangedError and OSError.
    """
    small = [upload for upload in uploads if upload.bytes <= LARGEST]
    found = {each: data for each in small if each.held is not None and (data := each.held.take()) is not None}
    unread = [upload for upload in small if upload not in found]
    if sum(upload.bytes for upload in unread) <= LIGHT:
        return found | _contents(unread)
    return found | await in_thread(lambda: _contents(unread), readers)


def _contents(uploads: Iterable[Upload]) -> dict[Upload, bytes]:
    return {upload: read_whole(upload) for upload in uploads}


class Sending:
    """A request on its way over the connection of its answer."""

    def __init__(self, body: Body, small: Mapping[Upload, bytes], readers: anyio.CapacityLimiter) -> None:
        self._body, self._small, self._readers = body, small, readers
        self._length = body.length
        self._task: asyncio.Task[None] | None = None
        self.complete = False
        self.failure: InputChangedError | OSError | None = None

    @property
    def own_lines(self) -> str:
        """The lines of the head that tell of the body; none where there is none."""
        if not self._length:
            return ""
        return f"Content-Length: {self._length}\r\nContent-Type: {self._body.content_type}\r\n"

    def start(self, head: bytes, answer: Answer) -> None:
        """Write the request: now if it is in memory, else as its files are read; where that fails `answer` ends."""
        transport = answer.transport
        if transport is None:
            return  # lost already, as the answer knows
        if self._length > AT_ONCE or not self._in_memory():
            self._task = asyncio.get_running_loop().create_task(self._write(head, transport, answer))
            return
        pieces = [head, *map(self._whole, self._body.pieces)]
        if self._length <= LIGHT:
            transport.write(b"".join(pieces))
        else:
            transport.writelines(pieces)
        self.complete = True

    def delivered(self, answer: Answer) -> bool:
        """Whether the connection has taken all of the request."""
        return self.complete and answer.transport is not None and not answer.transport.get_write_buffer_size()

    def abort(self, answer: Answer) -> None:
        """Drop the connection with what it has not sent; a graceful close waits for a peer that may never read."""
        if self._task is not None:
            self._task.cancel()
        if answer.transport is not None:
            answer.transport.abort()

    def _in_memory(self) -> bool:
        return all(isinstance(piece, bytes) or piece.upload in self._small for piece in self._body.pieces)

    def _whole(self, piece: bytes | FilePiece) -> bytes:
        """A piece that is in memory."""
        if isinstance(piece, bytes):
            return piece
        return pybase64.b64encode(self._small[piece.upload]) if piece.base64 else self._small[piece.upload]

    async def _write(self, head: bytes, transport: asyncio.WriteTransport, answer: Answer) -> None:
        try:
            for part in self._parts(head):
                transport.write(part if isinstance(part, bytes) else await in_thread(part, self._readers))
                # Before the next part is read: a file that changes until then is noticed, and memory stays flat.
                if not await answer.writable():
                    return  # the answer knows how the connection ended
            self.complete = True
        except (InputChangedError, OSError) as exc:
            self.failure = exc
            answer.finish(exc)
        except Exception as exc:  # else nobody would know before the time is over
            answer.finish(aiohttp.ClientConnectionError(f"the request cannot be written: {exc}"))

    def _parts(self, head: bytes) -> Iterator[bytes | Callable[[], bytes]]:
        """What is written one after another; what has to be read is a function that reads it."""
        yield head
        for piece in self._body.pieces:
            if isinstance(piece, bytes) or piece.upload in self._small:
                yield self._whole(piece)
            else:
                digest = hashlib.sha256()
                for start in range(0, piece.upload.bytes, PART):
                    yield partial(_part, piece, start, digest)


def _part(piece: FilePiece, start: int, digest: _Hash) -> bytes:
    part = read_part(piece.upload, start, min(PART, piece.upload.bytes - start), digest)
    return pybase64.b64encode(part) if piece.base64 else part
