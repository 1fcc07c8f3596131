"""An images/edits endpoint that answers from a script and remembers what it was sent.

It stands where the model provider stands: directly before Retouch, or behind the proxy. Its error bodies have the
wording and the envelope of OpenAI's.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO

from aiohttp import BodyPartReader, web
from PIL import Image

from pipeline.sandbox.wire import disconnect, reset

RETRY_AFTER = 2
"""Seconds that the throttling answers ask for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the upstream sends back; with `status` 0 the connection is closed or reset instead, as `body` says.

    `delay` is in seconds.
    """

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived: its text fields, and the digest of each file under its field, in order."""

    fields: Mapping[str, str]
    files: tuple[tuple[str, str], ...]


def _picture() -> str:
    buffer = BytesIO()
    Image.new("RGB", (1024, 1024), (244, 162, 89)).quantize(2).save(buffer, "png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _success(**other: object) -> str:
    usage = {
        "input_tokens": 250,
        "input_tokens_details": {"image_tokens": 194, "text_tokens": 56},
        "output_tokens": 272,
        "total_tokens": 522,
    }
    return json.dumps({"created": 1763800000, "data": [{"b64_json": _picture()}], "usage": usage, **other})


def _error(message: str, type_: str, code: str | None, **other: object) -> str:
    return json.dumps({"error": {"message": message, "type": type_, "param": None, "code": code, **other}})


_ID = {"x-request-id": "req_0123456789abcdef"}
_PACE = {"retry-after": str(RETRY_AFTER), "retry-after-ms": str(RETRY_AFTER * 1000)}
_RATE = {
    "x-ratelimit-limit-requests": "5000",
    "x-ratelimit-remaining-requests": "4999",
    "x-ratelimit-reset-requests": "12ms",
}
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_LIMIT = "Rate limit reached for gpt-image-1 on input-images per min: Limit 5, Used 5, Requested 1."
_SAFETY = "Your request was rejected by the safety system. safety_violations=[violence]."
_DETAILS = {"moderation_stage": "input", "categories": ["violence"]}
_USER = "image_generation_user_error"
_INVALID = "invalid_request_error"

NO_FORM = _error(
    "Invalid Content-Type header (application/x-www-form-urlencoded), expected multipart/form-data.",
    _INVALID,
    "unsupported_content_type",
)
CASES: Mapping[str, Answer] = {
    "success": Answer(200, _success(size="1024x1024", quality="low", output_format="png"), _ID | _RATE),
    "success_without_usage": Answer(200, _success(usage=None), _ID),
    "rate_limited": Answer(429, _error(_LIMIT, "input-images", "rate_limit_exceeded"), _ID | _RATE | _PACE),
    "overloaded": Answer(503, _error("The server is overloaded.", "server_error", "server_is_overloaded"), _ID | _PACE),
    "quota": Answer(429, _error(_QUOTA, "insufficient_quota", "insufficient_quota"), _ID),
    "billing_limit": Answer(
        400, _error("Billing hard limit has been reached.", "billing_limit_user_error", "billing_hard_limit_reached")
    ),
    "moderation": Answer(400, _error(_SAFETY, _USER, "moderation_blocked", moderation_details=_DETAILS), _ID),
    "invalid_image": Answer(400, _error("Invalid image file or mode for image 1.", _USER, "invalid_image_file"), _ID),
    "invalid_key": Answer(401, _error("Incorrect API key provided: sk-…cdef.", _INVALID, "invalid_api_key"), _ID),
    "unverified": Answer(403, _error("Your organization must be verified.", _INVALID, None), _ID),
    "unknown_model": Answer(404, _error("The model does not exist.", _INVALID, "model_not_found"), _ID),
    "server_error": Answer(500, _error("The server had an error. Sorry about that!", "server_error", None), _ID),
    "bad_gateway_html": Answer(502, "<html><body>Bad gateway</body></html>", content_type="text/html"),
    "error_under_200": Answer(200, _error("The server had an error.", "server_error", None), _ID),
    "html_under_200": Answer(200, "<html><body>Please sign in</body></html>", content_type="text/html"),
    "no_images": Answer(200, _success(data=[]), _ID),
    "bad_base64": Answer(200, _success(data=[{"b64_json": "###"}]), _ID),
    "truncated_json": Answer(200, '{"created":1763800000,"data":[{"b64_json":"iVBORw0', _ID),
    "disconnect": Answer(0, "close"),
    "reset": Answer(0, "reset"),
    "late": Answer(200, _success(), _ID, delay=8.0),
}
"""Every answer that is captured through the proxy, by name."""


class Upstream:
    """The endpoint's state: the script of answers, of which the last one repeats, and the requests so far."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[Received] = []
        self._script = [CASES["success"]]

    def script(self, *cases: str) -> None:
        """Forget the requests so far and answer the next ones with `cases`, the last one for ever."""
        self.received = []
        self._script = [CASES[case] for case in cases]

    async def edits(self, request: web.Request) -> web.Response:
        """Handle one POST of images/edits."""
        if not request.content_type.startswith("multipart/"):
            # The proxy's own second try after a reset connection comes without files and form.
            return web.Response(status=400, text=NO_FORM, content_type="application/json")
        self.received.append(await _read(request))
        answer = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        await asyncio.sleep(answer.delay)
        if answer.body == "reset":
            reset(request)
        elif answer.body == "close":
            disconnect(request)
        return web.Response(
            status=answer.status or 500, text=answer.body, headers=answer.headers, content_type=answer.content_type
        )


async def _read(request: web.Request) -> Received:
    fields: dict[str, str] = {}
    files: list[tuple[str, str]] = []
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        if part.filename is None:
            fields[part.name or ""] = await part.text()
        else:
            # Some clients write `image` for a single file and some `image[]`: the same field to the endpoint.
            name = (part.name or "").removesuffix("[]")
            files.append((name, hashlib.sha256(await part.read()).hexdigest()))
    return Received(fields, tuple(files))


@asynccontextmanager
async def serve() -> AsyncIterator[Upstream]:
    """Serve an `Upstream` on a loopback port; its `url` ends in /v1."""
    upstream = Upstream()
    app = web.Application(client_max_size=100 * 2**20)
    app.router.add_post("/v1/images/edits", upstream.edits)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield upstream
    finally:
        await runner.cleanup()
