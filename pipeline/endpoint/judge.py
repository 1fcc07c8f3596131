"""How an attempt ended: the reading of a reply. Pure; a large answer costs time, so call it in a thread.

| reply | outcome |
|---|---|
| no complete request left (DNS, refused, TLS, no file to open, an input that changed) | `unsent` |
| no status after the first byte | `in_doubt` |
| 2xx with an image in a closed JSON object | `succeeded`: whether it decodes is for the outputs to say |
| a code of quota, billing, moderation or throttling, under any status | what the code says |
| 2xx cut short | `in_doubt` |
| 2xx without a usable image, or longer than is read | `unusable` |
| 429, 503 | `throttled` |
| 3xx, 401 to 405, 407 | `stopped` |
| 408, 409, 425, other 5xx | `in_doubt` |
| other 4xx | `refused` |

A telling code counts under 200 too: a gateway that sends white space to hold the connection has sent its 200 before
it knew how the request ends, and the code is all that it has left to say.

Whatever a body holds, there is a verdict: where what it says cannot be read, its status decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pipeline.endpoint.answer import Document, ImageData, read_at_once, read_document, read_images, read_usage
from pipeline.endpoint.codes import of_a_proxys_own_request, outcome_of_codes, outcome_of_status
from pipeline.endpoint.complaint import Complaint, read_complaint
from pipeline.endpoint.key import Key, mask
from pipeline.endpoint.pause import retry_after
from pipeline.endpoint.reply import NEVER_COMPLETE, Failure, Reply
from pipeline.outcome import Outcome

KEPT_BYTES = 1 << 20
_MAX_MESSAGE = 500
_LONGEST = 20_000
_MARGIN = 4096
_REQUEST_IDS = ("x-request-id", "llm_provider-x-request-id", "x-litellm-call-id", "apim-request-id", "cf-ray")


class Verdict(Struct, frozen=True):
    """What an attempt came to; no field holds the key.

    `message` is one line of at most 500 characters. `retry_after` is in seconds. `usage` is what the endpoint
    counted, None where it counted nothing that can be true. `images` are the answer's entries in order; those
    without an image say so in `problem`. `body_kept` is the beginning of a 2xx body that holds no image of its own.
    """

    outcome: Outcome
    status: int | None = None
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    usage: dict[str, Any] | None = None
    images: tuple[ImageData, ...] = ()
    body_kept: bytes | None = None


def judge(reply: Reply, key: Key | None, now: float) -> Verdict:
    """The verdict on a reply; `now` in seconds since the epoch, for a Retry-After that is a date."""
    if reply.status is None or reply.failure in NEVER_COMPLETE:
        return _without_answer(reply, key)
    answered = 200 <= reply.status < 300
    plain = read_at_once(reply.body) if answered else None
    document = plain[1] if plain else read_document(reply.body)
    # An object that is closed is whole, however the connection ended behind it; what was paid for is taken.
    images = plain[0] if plain else read_images(document) if document and answered else ()
    verdict = Verdict(
        Outcome.SUCCEEDED,
        status=reply.status,
        request_id=_request_id(reply.headers, key),
        retry_after=retry_after(reply.headers, now),
        usage=_usage(document, key) if document else None,
        images=images,
    )
    if any(image.data is not None for image in images):
        return verdict
    kept = kept_body(reply, key) if answered else None
    if any(image.url is not None for image in images):
        return replace(verdict, body_kept=kept)
    complaint = _complaint(reply.body, document, key)
    return replace(
        verdict,
        outcome=_outcome(reply, reply.status, complaint),
        code=clean(_code(reply, complaint, document, images), key),
        message=clean(reply.detail if reply.failure and not complaint.codes else complaint.message, key) or None,
        body_kept=kept,
    )


def kept_body(reply: Reply, key: Key | None) -> bytes:
    """The first `KEPT_BYTES` of a body, without the key."""
    return _beginning(reply.body, KEPT_BYTES, key)


def _beginning(body: bytes | bytearray, size: int, key: Key | None) -> bytes:
    """At most `size` first bytes, without the key and without the part of one that the cut leaves."""
    read = bytes(body[: size + 2 * _MARGIN])
    masked = mask(read, key)
    return masked[:size] if len(read) == len(body) else masked[:-_MARGIN][:size]


def clean(text: str, key: Key | None) -> str:
    """A server's words on one line: without the key, control characters and lone surrogates, at most 500 characters."""
    sound = text if text.isascii() else text.encode("utf-8", "replace").decode()
    words = mask(sound, key)[:_LONGEST]
    line = " ".join((words if words.isprintable() else "".join(c if c.isprintable() else " " for c in words)).split())
    return line if len(line) <= _MAX_MESSAGE else line[: _MAX_MESSAGE - 1] + "…"


def _without_answer(reply: Reply, key: Key | None) -> Verdict:
    unsent = reply.failure in NEVER_COMPLETE or not reply.began
    return Verdict(
        Outcome.UNSENT if unsent else Outcome.IN_DOUBT,
        status=reply.status,
        code=reply.failure.value if reply.failure else None,
        message=clean(reply.detail, key) or None,
        request_id=_request_id(reply.headers, key),
    )


def _complaint(body: bytes | bytearray, document: Document | None, key: Key | None) -> Complaint:
    """What an error says; nothing where reading it fails, as the status is enough to go on and a run costs money."""
    try:
        # Masked first: of a key that is cut or taken for a tag the rest would pass.
        return read_complaint(_beginning(body, _LONGEST, key), document)
    except Exception:  # of texts that anybody may have written
        return Complaint()


def _outcome(reply: Reply, status: int, complaint: Complaint) -> Outcome:
    if of_a_proxys_own_request(complaint.codes, complaint.message):
        return Outcome.IN_DOUBT
    told = outcome_of_codes(complaint.codes)
    if told is not None:
        return told
    cut_short = reply.failure not in (None, Failure.RESPONSE_TOO_LARGE)
    return Outcome.IN_DOUBT if cut_short and 200 <= status < 300 else outcome_of_status(status)


def _code(reply: Reply, complaint: Complaint, document: Document | None, images: tuple[ImageData, ...]) -> str:
    """The most specific name for what went wrong."""
    if complaint.codes:
        return complaint.codes[0]
    if reply.failure is not None:
        return reply.failure.value
    if reply.status is None or not 200 <= reply.status < 300:
        return f"http_{reply.status}"
    if document is None:
        return "bad_json" if reply.body.strip() else "empty_body"
    if images:
        return images[0].problem or "no_image"
    return "error_body" if document.keys() & {"error", "detail"} else "no_image"


def _usage(document: Document, key: Key | None) -> dict[str, Any] | None:
    """What the endpoint counted; None where that repeats the key or is too long to be a count."""
    usage = read_usage(document)
    if usage is None:
        return None
    # A key holds no white space: what is not in the shortest spelling is in none that is spaced out.
    short = msgspec.json.encode(usage)
    if 2 * len(short) <= _LONGEST and short.isascii() and mask(short, key) == short:
        return usage
    told = json.dumps(usage)
    return usage if mask(told, key) == told and len(told) <= _LONGEST else None


def _request_id(headers: Mapping[str, str], key: Key | None) -> str | None:
    found = next((headers[name] for name in _REQUEST_IDS if headers.get(name)), None)
    return clean(found, key) if found else None
