from __future__ import annotations

import gzip
import zlib

import pytest

from pipeline.endpoint.inflate import inflate
from pipeline.endpoint.reply import Failure

BODY = b'{"data": []}' * 50
RAW = zlib.compressobj(wbits=-15)


@pytest.mark.parametrize(
    ("sent", "encoding", "body", "failure"),
    [
        (gzip.compress(BODY, mtime=0), "gzip", BODY, None),
        (gzip.compress(BODY, mtime=0), "x-gzip", BODY, None),
        (zlib.compress(BODY), "deflate", BODY, None),
        (RAW.compress(BODY) + RAW.flush(), "deflate", BODY, None),
        (gzip.compress(BODY, mtime=0)[:-9], "gzip", None, Failure.INCOMPLETE_BODY),
        (b"no gzip", "gzip", b"", Failure.INCOMPLETE_BODY),
        (b"", "deflate", b"", Failure.INCOMPLETE_BODY),
        (b"as it is", "br", b"as it is", None),
    ],
)
def test_inflate(sent: bytes, encoding: str, body: bytes | None, failure: Failure | None) -> None:
    """What was compressed without being asked for is read; what is damaged says so."""
    inflated = inflate(bytearray(sent), encoding, 1000)
    assert inflated.failure == failure
    assert body is None or inflated.body == body


def test_a_bomb_is_cut_at_the_limit() -> None:
    """A body that inflates past the limit gives the limit's bytes and a failure."""
    inflated = inflate(gzip.compress(bytes(10_000_000)), "gzip", 1000)
    assert inflated.body == bytes(1000)
    assert inflated.failure is Failure.RESPONSE_TOO_LARGE


def test_a_limit_beyond_what_zlib_counts_is_no_error() -> None:
    """A `max_response` of 30 digits means no limit; a paid answer must not fail for it."""
    assert inflate(gzip.compress(BODY, mtime=0), "gzip", 10**29).body == BODY
