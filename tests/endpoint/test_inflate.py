from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from pipeline.endpoint.inflate import inflate
from pipeline.endpoint.reply import Failure

BODY = b'{"data": []}' * 50
RAW = zlib.compressobj(wbits=-15)
GZIPPED = gzip.compress(BODY, mtime=0)
LONG = b"".join(number.to_bytes(4, "big") for number in range(60_000))


@pytest.mark.parametrize(
    ("sent", "encoding", "body", "failure"),
    [
        (gzip.compress(BODY, mtime=0), "gzip", BODY, None),
        (gzip.compress(BODY, mtime=0), "x-gzip", BODY, None),
        (zlib.compress(BODY), "deflate", BODY, None),
        (RAW.compress(BODY) + RAW.flush(), "deflate", BODY, None),
        (gzip.compress(BODY, mtime=0)[:-9], "gzip", None, Failure.INCOMPLETE_BODY),
        (b"no gzip", "gzip", b"no gzip", None),
        (BODY, "gzip", BODY, None),
        (BODY, "deflate", BODY, None),
        (b"\xef\xbb\xbf\r\n " + BODY, "deflate", b"\xef\xbb\xbf\r\n " + BODY, None),
        (GZIPPED, "deflate", BODY, None),
        (b"", "gzip", b"", None),
        (b"", "deflate", b"", None),
        (b"as it is", "br", b"as it is", None),
        (GZIPPED, "identity, GZip", BODY, None),
        (GZIPPED, "gzip, identity", BODY, None),
        (GZIPPED, "gzip, gzip", BODY, None),
        (gzip.compress(GZIPPED, mtime=0), "gzip, gzip", BODY, None),
        (zlib.compress(GZIPPED), "gzip,deflate", BODY, None),
        (GZIPPED, "br, gzip", BODY, None),
        (GZIPPED, ",".join(["gzip"] * 100), BODY, None),
        (gzip.compress(b" ", mtime=0) + GZIPPED, "gzip", b" " + BODY, None),
        (b"".join(gzip.compress(BODY[at : at + 1], mtime=0) for at in range(len(BODY))), "gzip", BODY, None),
        (GZIPPED + bytes(30), "gzip", BODY, None),
        (GZIPPED + GZIPPED[:9], "gzip", BODY, Failure.INCOMPLETE_BODY),
        (GZIPPED[:-8], "gzip", BODY, Failure.INCOMPLETE_BODY),
        (GZIPPED[:-8] + bytes(4) + GZIPPED[-4:], "gzip", BODY, Failure.INCOMPLETE_BODY),
    ],
)
def test_inflate(sent: bytes, encoding: str, body: bytes | None, failure: Failure | None) -> None:
    """What was compressed without being asked for is read; what is damaged says so."""
    inflated = inflate(bytearray(sent), encoding, 1000)
    assert inflated.failure == failure
    assert body is None or inflated.body == body


@pytest.mark.parametrize("at", [5000, 33_000, 60_000])
def test_what_came_out_before_a_fault_is_kept(at: int) -> None:
    """Up to the byte at which it shows: here one that begins a block of no known kind."""
    packer = zlib.compressobj(wbits=31)
    sound = packer.compress(LONG[:at]) + packer.flush(zlib.Z_FULL_FLUSH)
    inflated = inflate(sound + b"\x07" * 40_000, "gzip", 10**6)
    assert (inflated.body, inflated.failure) == (LONG[:at], Failure.INCOMPLETE_BODY)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 10, 17, 18, 100, 40_000])
def test_what_came_before_the_end_of_a_cut_body_is_kept(length: int) -> None:
    """Cut within the header, the data and the checksum."""
    inflated = inflate(gzip.compress(LONG, mtime=0)[:length], "gzip", 10**6)
    assert length < 2 or LONG.startswith(inflated.body)


def test_a_bomb_is_cut_at_the_limit() -> None:
    """A body that inflates past the limit gives the limit's bytes and a failure."""
    inflated = inflate(gzip.compress(bytes(10_000_000)), "gzip", 1000)
    assert inflated.body == bytes(1000)
    assert inflated.failure is Failure.RESPONSE_TOO_LARGE


def test_a_bomb_within_a_bomb_is_cut_at_the_limit_twice() -> None:
    """Each layer holds a byte more than the limit at most."""
    twice = gzip.compress(gzip.compress(bytes(20_000_000)))
    tracemalloc.start()
    try:
        inflated = inflate(twice, "gzip, gzip", 1_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(inflated.body), inflated.failure) == (1_000_000, Failure.RESPONSE_TOO_LARGE)
    assert peak < 5_000_000


def test_members_without_end_are_not_all_undone() -> None:
    """An empty one takes 20 bytes, and as long as one that holds something."""
    inflated = inflate(gzip.compress(b"") * 20_000 + GZIPPED, "gzip", 1000)
    assert (bytes(inflated.body), inflated.failure) == (b"", Failure.INCOMPLETE_BODY)


def test_a_limit_beyond_what_zlib_counts_is_no_error() -> None:
    """A `max_response` of 30 digits means no limit; a paid answer must not fail for it."""
    assert inflate(gzip.compress(BODY, mtime=0), "gzip", 10**29).body == BODY
