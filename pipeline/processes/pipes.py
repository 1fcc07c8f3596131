"""What parent and child tell each other: objects one after the other over a pipe, each with its length before it."""

from __future__ import annotations

import os
import pickle
import select
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

import anyio

_LENGTH: Final = 4
_PIECE: Final = 1 << 16


def send(fd: int, message: Any, *, dispensable: bool = False) -> None:
    """Write a message; a reader that is gone is survived. One that is `dispensable` is left out where it would wait."""
    with suppress(BrokenPipeError):
        if dispensable and not select.select([], [fd], [], 0)[1]:
            return
        data = pickle.dumps(message)
        rest = memoryview(len(data).to_bytes(_LENGTH, "big") + data)
        while rest:
            rest = rest[os.write(fd, rest) :]


async def messages(fd: int) -> AsyncIterator[Any]:
    """The messages that come, until nobody is left who could write any. What was cut off at the end is left out."""
    buffer = bytearray()
    while True:
        await anyio.wait_readable(fd)
        if not (piece := os.read(fd, _PIECE)):
            return
        buffer += piece
        while len(buffer) >= _LENGTH:
            end = _LENGTH + int.from_bytes(buffer[:_LENGTH], "big")
            if len(buffer) < end:
                break
            message = pickle.loads(buffer[_LENGTH:end])  # noqa: S301 - our own process wrote it
            del buffer[:end]
            yield message
