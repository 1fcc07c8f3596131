"""Undoing a compression that was not asked for, without following a bomb past the cap."""

from __future__ import annotations

import sys
import zlib

from msgspec import Struct

from pipeline.endpoint.reply import Failure

GZIP, DEFLATE = frozenset({"gzip", "x-gzip"}), frozenset({"deflate"})


class Inflated(Struct, frozen=True):
    """A body as it was before compression, cut at the cap; `failure` says why it is not all of it."""

    body: bytes
    failure: Failure | None = None


def inflate(body: bytes | bytearray, encoding: str, limit: int) -> Inflated:
    """At most `limit` bytes of a gzip or deflate body; any other encoding is left as it is."""
    if encoding not in GZIP | DEFLATE:
        return Inflated(bytes(body))
    # A zlib header has method 8 in its low nibble (RFC 1950); some servers leave the header out (RFC 9110, 8.4.1.2).
    raw = encoding in DEFLATE and (len(body) < 2 or body[0] & 15 != 8 or int.from_bytes(body[:2]) % 31 != 0)
    stream = zlib.decompressobj(-zlib.MAX_WBITS if raw else zlib.MAX_WBITS | 32)
    try:
        whole = stream.decompress(body, min(limit + 1, sys.maxsize))
    except zlib.error:
        return Inflated(b"", Failure.INCOMPLETE_BODY)
    if len(whole) > limit:
        return Inflated(whole[:limit], Failure.RESPONSE_TOO_LARGE)
    return Inflated(whole, None if stream.eof else Failure.INCOMPLETE_BODY)
