"""What the endpoint says: error envelopes, pages, and the body of a success. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import pybase64
from msgspec import Struct, field

from pipeline.sandbox.tokens import Size, Usage

HTML_PAGE = b"<html>\n<head><title>%s</title></head>\n<body><center><h1>%s</h1></center></body>\n</html>\n"


class Answer(Struct, frozen=True):
    """A status, its headers and a body; Content-Type aside, the app adds the common headers."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):  # noqa: N818 - named for the answer that it is
    """The request is answered with an error envelope, and nothing is billed."""

    def __init__(
        self,
        message: str,
        code: str | None,
        *,
        param: str | None = None,
        status: int = 400,
        kind: str = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.status = status
        self.kind = kind
        self.headers = dict(headers or {})

    def answer(self) -> Answer:
        """Return the envelope `{"error": {message, type, param, code}}` under its status."""
        return Answer(self.status, envelope(str(self), self.kind, self.param, self.code), headers=self.headers)


def envelope(message: str, kind: str, param: str | None, code: str | None) -> bytes:
    """Return the JSON of an error as every route sends it."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def page(title: str) -> bytes:
    """Return the HTML page that a proxy in front of the endpoint sends."""
    return HTML_PAGE % (title.encode(), title.encode())


def usage_json(usage: Usage) -> dict[str, object]:
    """Return `usage` as the endpoint spells it."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"image_tokens": usage.image_tokens, "text_tokens": usage.text_tokens},
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


class Success(Struct, frozen=True):
    """The parts of a 200: encoded images in order, and what is told about them. `created` is Unix seconds."""

    created: int
    images: Sequence[bytes]
    usage: Usage | None
    size: Size
    quality: str
    output_format: str
    background: str

    def body(self) -> bytes:
        """Return the JSON; a `usage` of None is left out."""
        return self.body_with([pybase64.b64encode_as_string(image) for image in self.images])

    def body_with(self, texts: Sequence[str]) -> bytes:
        """Return the JSON with these texts as `b64_json` in place of the images."""
        fields: dict[str, object] = {
            "created": self.created,
            "background": self.background,
            "data": [{"b64_json": text} for text in texts],
            "output_format": self.output_format,
            "quality": self.quality,
            "size": str(self.size),
        }
        if self.usage is not None:
            fields["usage"] = usage_json(self.usage)
        return msgspec.json.encode(fields)


def go_duration(seconds: float) -> str:
    """Write a duration as Go does and the rate-limit headers carry it: `120ms`, `58.891s`, `1m2.5s`."""
    millis = max(0, round(seconds * 1000))
    if 0 < millis < 1000:
        return f"{millis}ms"
    minutes, rest = divmod(millis, 60_000)
    hours, minutes = divmod(minutes, 60)
    prefix = (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "")
    return f"{prefix}{rest / 1000:g}s"
