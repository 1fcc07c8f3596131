"""Faults of the connection itself, done for real on the transport of a request.

After each of them the connection is gone, and a response that the handler returns reaches nobody.
"""

from __future__ import annotations

import os
import socket
import struct

import anyio
from aiohttp import web

from pipeline.sandbox.answers import Answer

DRIP_SECONDS = 1.0


def reset(request: web.Request) -> None:
    """Reset the connection: RST instead of FIN, and what is not yet sent is dropped."""
    transport = request.transport
    if transport is None:
        return
    # A duplicate of our own: uvloop's stand-in for the socket leaks one in `setsockopt`, which would hold the
    # connection open.
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as duplicate:
        duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def disconnect(request: web.Request) -> None:
    """Close the connection without a byte of an answer."""
    if request.transport is not None:
        request.transport.close()


def send_until_close(request: web.Request, answer: Answer, headers: dict[str, str]) -> None:
    """Send an answer without a length, delimited by the end of the connection."""
    transport = request.transport
    if transport is None:
        return
    lines = [f"HTTP/1.1 {answer.status} OK", f"Content-Type: {answer.content_type}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    transport.write("\r\n".join([*lines, "", ""]).encode() + answer.body)
    transport.close()


async def reset_in_body(request: web.Request, answer: Answer) -> None:
    """Send the head, whose Content-Length is the whole body's, and half of the body; then reset."""
    response = await _start(request, answer)
    await response.write(answer.body[: len(answer.body) // 2])
    reset(request)


async def drip(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Send the head, then the body at one byte a second."""
    response = await _start(request, answer)
    for index in range(len(answer.body)):
        await anyio.sleep(DRIP_SECONDS)
        await response.write(answer.body[index : index + 1])
    return response


async def _start(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
    response.content_length = len(answer.body)
    await response.prepare(request)
    return response
