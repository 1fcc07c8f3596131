"""The faults of an endpoint and a network: what the server does, and how the attempt and its task must end."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import dataclass
from typing import Any

from tests.e2e.servers import OK, PICTURE, USAGE, Scene, Wire, edit, error, picture, response, says

TIMEOUT = 2.5
"""Seconds after which a request is given up."""
WHOLE = response(edit())


async def reset(wire: Wire) -> None:
    wire.reset()


async def leaves(wire: Wire) -> None:
    wire.close()


async def never(wire: Wire) -> None:
    await wire.left()


async def drips(wire: Wire) -> None:
    for byte in WHOLE:
        await wire.send(bytes([byte]))
        await asyncio.sleep(0.2)


async def heartbeats(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await wire.send(b"1\r\n \r\n")
        await asyncio.sleep(0.1)


def sends(data: bytes, *, then: Scene = leaves, pause: float = 0.05) -> Scene:
    """Bytes as they are, and how the connection ends."""

    async def scene(wire: Wire) -> None:
        await wire.send(data)
        await asyncio.sleep(pause)
        await then(wire)

    return scene


def echoes(head: bytes) -> Scene:
    """A damaged answer that repeats the key in its head."""

    async def scene(wire: Wire) -> None:
        await wire.send(head.replace(b"@KEY@", wire.request.key.encode()))
        await asyncio.sleep(0.05)
        wire.close()

    return scene


async def endless(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\n\r\n" + b'{"data":[{"b64_json":"')
    while True:
        await wire.send(b"A" * 65536)


async def endless_headers(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await wire.send(b"X-More: and more\r\n" * 1000)


async def continues(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + WHOLE)


async def chunked(wire: Wire) -> None:
    body = edit()
    await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for start in range(0, len(body), 1000):
        piece = body[start : start + 1000]
        await wire.send(b"%x;note=1\r\n%s\r\n" % (len(piece), piece))
    await wire.send(b"0\r\nX-Trailer: 1\r\n\r\n")


BOMB = gzip.compress(b" " * (64 << 20))
LATE_ERROR = b" " * 5000 + error("the picture is not safe @JSON@", "moderation_blocked")


@dataclass(frozen=True, slots=True)
class Case:
    """A fault: the scenes of its attempts, and what the ledger and the summary must say of it."""

    name: str
    scenes: list[Scene]
    outcomes: str
    end: str
    code: str | None = None
    request: dict[str, Any] | None = None


def twice_in_doubt(name: str, scene: Scene, code: str | None = None) -> Case:
    return Case(name, [scene], "in_doubt in_doubt", "held", code)


def twice_unusable(name: str, scene: Scene, code: str | None = None) -> Case:
    return Case(name, [scene], "unusable unusable", "failed", code)


def refused(name: str, scene: Scene, code: str | None = None) -> Case:
    return Case(name, [scene], "refused", "failed", code)


def good(name: str, scene: Scene, **more: Any) -> Case:
    return Case(name, [scene], "succeeded", "done", **more)


def recovers(name: str, scene: Scene, first: str = "throttled") -> Case:
    return Case(name, [scene, OK], f"{first} succeeded", "done")


GATEWAYS = (
    "408 Request Timeout",
    "409 Conflict",
    "425 Too Early",
    "500 Oops",
    "502 Bad Gateway",
    "504 Timeout",
    "524 x",
)
BAD_USAGE: dict[str, Any] = {
    "zero": dict.fromkeys(USAGE, 0),
    "negative": USAGE | {"output_tokens": -4},
    "text": USAGE | {"input_tokens": "3"},
    "huge": USAGE | {"input_tokens": 10**30},
    "fraction": USAGE | {"input_tokens": 3.5},
    "list": [3, 4],
    "nan": USAGE | {"input_tokens": float("nan")},
}
CASES = [
    twice_in_doubt("reset-before-answer", reset, "reset"),
    twice_in_doubt("disconnect-before-answer", leaves, "disconnected"),
    twice_in_doubt("reset-mid-body", sends(WHOLE[:-300], then=reset)),
    twice_in_doubt("cut-mid-body", sends(WHOLE[:-300]), "incomplete_body"),
    twice_in_doubt("cut-mid-head", sends(b"HTTP/1.1 200 OK\r\nContent-")),
    twice_in_doubt("cut-mid-chunk", sends(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"da')),
    twice_in_doubt("never-an-answer", never, "timeout"),
    twice_in_doubt("one-byte-at-a-time", drips, "timeout"),
    twice_in_doubt("heartbeats-for-ever", heartbeats, "timeout"),
    twice_in_doubt("not-http", sends(b"SSH-2.0-OpenSSH_9.6 @@\r\n", then=never), "malformed_response"),
    twice_in_doubt("endless-headers", endless_headers),
    twice_in_doubt("switching-protocols", sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", then=never)),
    *[twice_in_doubt(f"status-{s[:3]}", says(b"<h1>@HTML@</h1>", s), f"http_{s[:3]}") for s in GATEWAYS],
    twice_unusable("error-under-200", says(error("sorry, @JSON@", "server_error")), "server_error"),
    twice_unusable("html-under-200", says(b"<html><title>Login @HTML@</title>", Content_Type="text/html"), "bad_json"),
    twice_unusable("empty-data", says(b'{"data":[],"you":"@JSON@"}'), "no_image"),
    twice_unusable("data-is-null", says(b'{"data":null}'), "no_image"),
    twice_unusable("truncated-json", says(edit()[:-40] + b"@KEY@"), "bad_json"),
    twice_unusable("bad-base64", says(edit().replace(b"iVBOR", b"iV*OR") + b" "), "bad_base64"),
    twice_unusable("undecodable", says(edit(b"GIF89a no", you="@JSON@")), "undecodable"),
    twice_unusable("truncated-picture", says(edit(PICTURE[:-30], you="@JSON@")), "undecodable"),
    twice_unusable("empty-body", says(), "empty_body"),
    twice_unusable("no-content", says(status="204 No Content", Content_Length=None)),
    twice_unusable("text-only", says(b'"@JSON@"')),
    twice_unusable("deep-json", says(b'{"data":' + b"[" * 100_000), "bad_json"),
    twice_unusable("deep-message", says(b'{"error":{"message":' + b"[" * 900 + b"]" * 900 + b"}}")),
    twice_unusable("gzip-bomb", says(BOMB, Content_Encoding="gzip"), "response_too_large"),
    twice_unusable("endless-body", endless, "response_too_large"),
    twice_unusable("brotli", says(b"\x0b\x02\x80", Content_Encoding="br, @KEY@")),
    twice_unusable("url-not-allowed", says(b'{"data":[{"url":"/x?k=@URL@"}]}'), "url_not_allowed"),
    good("content-length-too-long", sends(response(edit(), Content_Length="99999"))),
    twice_in_doubt("key-in-a-bad-status-line", echoes(b"HTTP/1.1 OK key @KEY@\r\n\r\n"), "malformed_response"),
    twice_in_doubt("key-in-a-bad-header", echoes(b"HTTP/1.1 200 OK\r\nAuth @KEY@\r\n\r\n"), "malformed_response"),
    twice_in_doubt("key-in-half-a-head", echoes(b"HTTP/1.1 200 OK\r\nAuth: @KEY@\r\nX"), "disconnected"),
    twice_unusable("content-length-too-short", sends(response(edit(), Content_Length="200"), then=never)),
    refused("moderation", says(error("no: @JSON@", "moderation_blocked"), "400 Bad Request"), "moderation_blocked"),
    refused("moderation-under-200", says(LATE_ERROR), "moderation_blocked"),
    refused("html-413", says(b"<center>413 @HTML@</center>", "413 Too Large"), "http_413"),
    refused("detail-422", says(b'{"detail":[{"msg":"@JSON@","type":"missing"}]}', "422 Unprocessable"), "missing"),
    refused(
        "wrapped-400",
        says(error("OpenAIException - " + error("in", "invalid_value").decode(), "400"), "400 No"),
        "invalid_value",
    ),
    refused("status-499", says(b"", "499 Gone"), "http_499"),
    recovers("throttled-without-a-time", says(error(code="rate_limit_exceeded"), "429 Slow")),
    recovers("throttled-for-a-while", says(error("@JSON@"), "429 Slow", Retry_After="0.3")),
    recovers("throttled-until", says(b"", "429 Slow", Retry_After="Sun, 06 Nov 1994 08:49:37 GMT")),
    recovers("throttled-for-less-than-nothing", says(b"", "429 Slow", Retry_After="-5")),
    recovers("throttled-with-junk", says(b"", "429 Slow", Retry_After="soon, @KEY@")),
    recovers("overloaded", says(error(code="server_is_overloaded"), "503 Busy", Retry_After_Ms="50")),
    recovers("throttled-under-200", says(b"  " + error(code="rate_limit_exceeded"))),
    recovers("one-bad-gateway", says(b"", "502 Bad", X_Request_Id="@KEY@"), "in_doubt"),
    recovers("one-unusable", says(b"{}", X_Request_Id="@KEY@"), "unusable"),
    good("http-1.0", sends(b"HTTP/1.0 200 OK\r\n\r\n" + edit())),
    good("chunked", chunked),
    good("100-continue", continues),
    good("gzipped", says(gzip.compress(edit()), Content_Encoding="gzip")),
    good("heartbeats-first", says(b"\n \n" * 5000 + edit())),
    good("byte-order-mark", says(b"\xef\xbb\xbf" + edit())),
    good("half-a-surrogate", says(edit(revised_prompt="x").replace(b'"x"', b'"\\ud83d"'))),
    good("stray-bytes-behind-a-whole-answer", sends(WHOLE + b"}}\r\n")),
    good("an-answer-twice-in-one-read", sends(2 * response(edit(), Connection="close"))),
    good("closes-after-it", says(edit(), Connection="close")),
    good("created-201", says(edit(), "201 Created")),
    good("other-size", says(edit(picture((512, 512))))),
    good("other-format", says(edit(picture(format="WEBP"))), request={"output_format": "png"}),
    good("more-than-asked", says(edit(PICTURE, PICTURE))),
    good("fewer-than-asked", says(edit()), request={"n": 2}),
    good("no-usage", says(edit(usage=None))),
    *[good(f"usage-{name}", says(edit(usage=usage))) for name, usage in BAD_USAGE.items()],
    good("usage-with-the-key", says(edit(usage=USAGE | {"tokens @JSON@": 5, "@JSON@": {"@JSON@": 6}}))),
    good("key-in-every-header", says(edit(), X_Request_Id="@KEY@", Server="@KEY@", Date="@KEY@", Retry_After="@KEY@")),
    refused("terminal-escapes", says(error("\x1b[31mred\x07\x9b2J\r\u202eevil\ud800", "x\x1b[0m"), "400 No")),
    refused("very-long-message", says(error("long " * 200_000), "400 No")),
    refused("key-across-a-cut", says(b" " * 19_970 + b"Bearer @KEY@", "400 No")),
]
"""Each prompt's text is the name of its case."""
