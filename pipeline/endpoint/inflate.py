"""Undoing a compression that was not asked for, without following a bomb past the cap.

1. A body that is not what its header says is left as it is: some gateways name a compression and do none.
2. What comes out before a fault is kept: a wrong checksum or a missing end costs none of it.
3. No more than a byte over the limit is kept of any layer, and no more than 5 layers and 10,000 members are undone.
"""

from __future__ import annotations

import re
import sys
import zlib

from msgspec import Struct

from pipeline.endpoint.reply import Failure

GZIP, DEFLATE = frozenset({"gzip", "x-gzip"}), frozenset({"deflate"})

_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 15
_MOST_MEMBERS = 10_000
_MOST_CODINGS = 5
_JSON = re.compile(rb"(\xef\xbb\xbf)?[ \t\r\n]*\{")


class Inflated(Struct, frozen=True):
    """A body as it was before compression, cut at the cap; `failure` says why it is not all of it."""

    body: bytes | bytearray
    failure: Failure | None = None


def codings(header: str) -> list[str]:
    """What a Content-Encoding says was done to a body, in this order (RFC 9110, 8.4)."""
    named = (name.strip().lower() for name in header.split(","))
    return [name for name in named if name not in ("", "identity")]


def inflate(body: bytes | bytearray, encoding: str, limit: int) -> Inflated:
    """At most `limit` bytes of a body with this Content-Encoding; any but gzip and deflate is left as it is."""
    failure: Failure | None = None
    for coding in codings(encoding)[: -_MOST_CODINGS - 1 : -1]:
        bits = _window(body, coding)
        if bits is None:
            break
        body, whole = _unpacked(body, bits, limit)
        if len(body) > limit:
            del body[limit:]
            failure = failure or Failure.RESPONSE_TOO_LARGE
        elif not whole:
            failure = failure or Failure.INCOMPLETE_BODY
    return Inflated(body, failure)


def _window(body: bytes | bytearray, coding: str) -> int | None:
    """How zlib is to read a body: with a header, without one, or, where it is not compressed, not at all."""
    if not body or coding not in GZIP | DEFLATE:
        return None
    # A zlib header has method 8 in its low nibble (RFC 1950); some servers leave the header out (RFC 9110, 8.4.1.2).
    zlib_header = body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0
    if body.startswith(_MAGIC) or (zlib_header and len(body) > 1):
        return zlib.MAX_WBITS | 32
    return -zlib.MAX_WBITS if coding in DEFLATE and not _JSON.match(body) else None


def _unpacked(body: bytes | bytearray, bits: int, limit: int) -> tuple[bytearray, bool]:
    """What all members hold, at most a byte over the limit, and whether they are whole; what is behind is nothing."""
    view, at, out = memoryview(body), 0, bytearray()
    for _ in range(_MOST_MEMBERS):
        at, whole = _member(view, at, bits, out, limit)
        if not whole or view[at : at + len(_MAGIC)] != _MAGIC:
            return out, whole
    return out, False


def _member(view: memoryview, at: int, bits: int, out: bytearray, limit: int) -> tuple[int, bool]:
    """Add what the member at this index holds; where it ends, and whether it is whole."""
    stream, size = zlib.decompressobj(bits), _PIECE
    while at < len(view) and len(out) <= limit and not stream.eof:
        before, piece = stream.copy(), view[at : at + size]
        try:
            out += stream.decompress(piece, min(limit + 1 - len(out), sys.maxsize))
        except zlib.error:
            if size == 1:
                break
            stream, size = before, size // 2  # by halves up to the fault, so that what comes before it is kept
            continue
        at += len(piece) - len(stream.unused_data) - len(stream.unconsumed_tail)
    return at, stream.eof
