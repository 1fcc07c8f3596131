"""Servers that repeat the key wherever an answer has room for it."""

from __future__ import annotations

import json

from tests.e2e.network_faults import echoes
from tests.e2e.servers import OK, PICTURE, USAGE, Scene, Wire, edit, error, filled, response, says

FORMS = ("JSON", "HTML", "URL", "SWAPPED", "UNICODE", "TWICE", "BASE64", "BASIC", "URLSAFE", "CUT")
ALL = " ".join(f"<{name}: @{name}@>" for name in FORMS)
IN_JSON = " ".join(f"({name}: @{name}@)" for name in FORMS if name not in ("HTML", "SWAPPED"))
"""The forms that break no JSON text, whatever the key is."""
HEADERS = (
    "Content_Type", "Date", "Server", "Retry_After", "Retry_After_Ms", "X_Request_Id", "Apim_Request_Id", "Cf_Ray",
    "X_Ratelimit_Remaining_Requests", "Llm_Provider_Retry_After", "Llm_Provider_X_Request_Id", "X_Litellm_Call_Id",
    "X_Should_Retry", "Content_Encoding", "Set_Cookie", "Www_Authenticate", "Location", "X_Echo",
)  # fmt: skip
EVERY = dict.fromkeys(HEADERS, "Bearer @KEY@")


async def in_chunks(wire: Wire) -> None:
    """The key as a chunk's extension and as a trailer, around a good answer."""
    body, key = edit(), wire.request.key.encode()
    await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await wire.send(b"%x;key=%s\r\n%s\r\n0\r\nX-Trailer: %s\r\n\r\n" % (len(body), key, body, key))


async def damaged_chunk(wire: Wire) -> None:
    """The key where a chunk's size should be."""
    key = wire.request.key.encode()
    await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n" % key)
    wire.close()


def raw(data: bytes) -> Scene:
    """Bytes that name the key anywhere, and the end of the connection."""

    async def scene(wire: Wire) -> None:
        await wire.send(filled(data, wire.request.key))
        wire.close()

    return scene


def in_parts(data: bytes, size: int) -> Scene:
    """The key cut in two by the reads."""

    async def scene(wire: Wire) -> None:
        whole = filled(response(data, "400 No"), wire.request.key).replace(b"Content-Length", b"X-Length")
        for start in range(0, len(whole), size):
            await wire.send(whole[start : start + size])
        wire.close()

    return scene


def named(url: str) -> Scene:
    return says(json.dumps({"data": [{"url": url}], "usage": USAGE}).encode())


LIES: dict[str, Scene] = {
    "message": says(error(IN_JSON), "400 Bad"),
    "message-broken": says(error(ALL), "400 Bad"),
    "message-html": says(f"<title>{ALL}</title>".encode(), "413 Too Large"),
    "message-text": says(ALL.encode(), "400 Bad"),
    "detail": says(json.dumps({"detail": [{"msg": IN_JSON, "type": "@JSON@"}]}).encode(), "422 No"),
    "code": says(error("x", "@JSON@", param="@JSON@", type="@JSON@"), "400 Bad"),
    "wrapped": says(error("litellm: " + error(IN_JSON, "invalid_value").decode(), "400"), "400 Bad"),
    "printed-dict": says(error("litellm: {'error': {'message': '@KEY@', 'code': 'x'}}"), "400 Bad"),
    "reason": says(error("x"), "400 @KEY@"),
    "reason-502": says(b"", "502 Bad @KEY@"),
    "headers": says(edit(), **EVERY),
    "headers-400": says(error(IN_JSON), "400 Bad", **EVERY),
    "headers-429": says(error(IN_JSON, "rate_limit_exceeded"), "429 Slow", **EVERY),
    "headers-502": says(b"", "502 Bad", **EVERY),
    "unusable": says(ALL.encode()),
    "unusable-json": says(json.dumps({"data": [], "echo": IN_JSON, "@JSON@": "@JSON@"}).encode(), **EVERY),
    "unusable-late": says(b" " * 1_048_560 + ALL.encode()),
    "unusable-across": says(b" " * 1_048_540 + b"@KEY@"),
    "url": named("https://example.invalid/@KEY@?k=@KEY@"),
    "data-url": named("data:image/png;@KEY@;base64,@BASE64@"),
    "bad-base64": says(json.dumps({"data": [{"b64_json": "@BASIC@"}]}).encode()),
    "picture-of-the-key": says(edit(b"\x89PNG\r\n\x1a\n" + b"@KEY@", you="@JSON@")),
    "usage": says(edit(usage=USAGE | {"@JSON@_tokens": 4})),
    "usage-inner": says(edit(usage=USAGE | {"input_tokens_details": {"@JSON@": 3}})),
    "model": says(edit(PICTURE, model="@JSON@", id="@JSON@", revised_prompt="@JSON@")),
    "chunk-extension": in_chunks,
    "chunk-size": damaged_chunk,
    "status-line": raw(b"HTTP/1.1 @KEY@\r\n\r\n"),
    "not-http": raw(b"@KEY@ @KEY@\r\n\r\n"),
    "header-line": echoes(b"HTTP/1.1 200 OK\r\n@KEY@\r\n\r\n"),
    "header-name": echoes(b"HTTP/1.1 200 OK\r\nX @KEY@: x\r\n\r\n"),
    "content-length": raw(b"HTTP/1.1 200 OK\r\nContent-Length: @KEY@\r\n\r\n"),
    "transfer-encoding": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: @KEY@\r\n\r\n"),
    "cut-off": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{@KEY@"),
    "in-parts": in_parts(error(IN_JSON), 7),
}
"""Each prompt's text is the name of its lie."""

PLAYS = {name: [lie, OK] if name == "headers-429" else [lie] for name, lie in LIES.items()}
"""Throttling would go on for ever."""

STOPS: dict[str, Scene] = {
    "401": says(error("Incorrect API key provided: @JSON@ @BASE64@", "invalid_api_key"), "401 @KEY@", **EVERY),
    "403": says(b"<title>@HTML@ @URL@ may not</title>", "403 No", **EVERY),
    "404": says(b"no such path: /@KEY@/@TWICE@", "404 No"),
    "307": says(b"<a href=@URL@>", "307 @KEY@", **EVERY | {"Location": "http://127.0.0.1:1/@KEY@?key=@KEY@"}),
    "quota": says(error("@JSON@ is out of money", "insufficient_quota"), "429 No", **EVERY),
}
