"""What is answered under each fault that shows in the answer itself. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pybase64
from msgspec.structs import replace

from pipeline.sandbox.answers import Answer, Refusal, Success, envelope, page
from pipeline.sandbox.faults import Fault
from pipeline.sandbox.tokens import Usage

DATE_AHEAD = 2.0
"""Seconds that `retry-after=date` lies ahead."""


def retry_after_headers(retry_after: str, now: float) -> dict[str, str]:
    """Return the Retry-After header for a setting of the faults; `now` is Unix seconds."""
    if retry_after == "none":
        return {}
    if retry_after == "date":
        ahead = datetime.fromtimestamp(now, UTC) + timedelta(seconds=DATE_AHEAD)
        return {"retry-after": format_datetime(ahead, usegmt=True)}
    return {"retry-after": retry_after}


def unbilled_answer(fault: Fault, retry_headers: dict[str, str], redirect_to: str) -> Answer:
    """Return the answer of a fault in UNBILLED. Raises KeyError for another."""
    if fault is Fault.REDIRECT:
        return Answer(307, b"", headers={"location": redirect_to})
    return _refusals(retry_headers)[fault].answer()


def _refusals(retry_headers: dict[str, str]) -> dict[Fault, Refusal]:
    return {
        Fault.RATE: rate_refusal(retry_headers),
        Fault.QUOTA: Refusal(
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            status=429,
            kind="insufficient_quota",
        ),
        Fault.BILLING: Refusal(
            "Billing hard limit has been reached.",
            "billing_hard_limit_reached",
            kind="billing_limit_user_error",
        ),
        Fault.MODERATION: Refusal(
            "Your request was rejected by the safety system.",
            "moderation_blocked",
            kind="image_generation_user_error",
        ),
        Fault.UNAUTHORIZED: key_refusal(),
        Fault.ERROR_500: Refusal(
            "The server had an error while processing your request.", None, status=500, kind="server_error"
        ),
        Fault.ERROR_503: overload_refusal(),
    }


def rate_refusal(headers: dict[str, str]) -> Refusal:
    """Return the 429 of a rate limit."""
    message = "Rate limit reached for images per minute. Please try again later."
    return Refusal(message, "rate_limit_exceeded", status=429, kind="requests", headers=headers)


def overload_refusal(status: int = 503) -> Refusal:
    """Return the 503 of an endpoint without free capacity, or its 429 that asks to slow down."""
    if status == 429:
        slow = "The server is taking on too many requests at once. Please slow down."
        return Refusal(slow, "slow_down", status=429, kind="requests")
    message = "The server is currently overloaded. Please try again later."
    return Refusal(message, "server_is_overloaded", status=503, kind="service_unavailable_error")


def key_refusal() -> Refusal:
    """Return the 401 of a missing or unknown key; it never repeats the key."""
    return Refusal("Incorrect API key provided.", "invalid_api_key", status=401)


def billed_answer(fault: Fault | None, success: Success, coin: float) -> Answer:
    """Return the answer of a billed request; what TRUNCATE cuts lies between a tenth and nine tenths, by `coin`."""
    match fault:
        case Fault.ERROR_502_HTML:
            return Answer(502, page("502 Bad Gateway"), "text/html")
        case Fault.HTML_200:
            return Answer(200, page("Welcome"), "text/html")
        case Fault.ERROR_200:
            return Answer(200, envelope("The upstream failed.", "server_error", None, "server_error"))
        case Fault.TRUNCATE:
            body = success.body()
            return Answer(200, body[: round(len(body) * (0.1 + 0.8 * coin))])
        case _:
            return Answer(200, _spoiled_json(fault, success))


def _spoiled_json(fault: Fault | None, success: Success) -> bytes:
    match fault:
        case Fault.EMPTY_200:
            return success.body_with([])
        case Fault.NO_USAGE:
            return replace(success, usage=None).body()
        case Fault.ZERO_USAGE:
            return replace(success, usage=Usage()).body()
        case Fault.UNDECODABLE:
            return success.body_with([pybase64.b64encode_as_string(b"no image " * 40) for _ in success.images])
        case Fault.BAD_BASE64:
            texts = [pybase64.b64encode_as_string(image) for image in success.images]
            return success.body_with([f"{text[:100]}*!{text[102:]}" for text in texts])
        case _:
            return success.body()
