"""What an error body says: its codes, the most specific first, and a sentence for the user.

The envelope is OpenAI's `{"error": {"message", "type", "param", "code"}}`. LiteLLM's proxy puts the status into `code`
and the upstream's envelope into `message`, as JSON or as Python prints a dict; FastAPI servers (vLLM, SGLang) send
`detail`; proxies send HTML.

1. Nothing here raises for what a server may send: what cannot be read says nothing.
2. Nothing here warns: of a message only what Python prints reaches Python's reader.
3. A code inside a message counts only where a router wraps its upstream's error, or where that is the whole message:
   a message may repeat a prompt, and a prompt may say anything.
"""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from pipeline.endpoint.answer import Document, read_plain

_CODE = re.compile(r"(?!(?:none|null)$)[a-z][a-z0-9_.-]{0,79}", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>([^<]{1,400})", re.IGNORECASE)
_TAG = re.compile(r"<[^>]{0,1000}>")
_PRINTED = re.compile(
    r"""(?: [\s{}\[\](),:] | None | True | False | -?\d[\d.]*+(?:e[-+]?\d+)?
          | b?'(?:[^'\\]|\\[\\'nrtxuU])*+' | b?"(?:[^"\\]|\\[\\"nrtxuU])*+" )*+""",
    re.VERBOSE,
)
# `litellm.RateLimitError: RateLimitError: OpenAIException - {…}`, `Error code: 429 - {…}`, or both behind each other;
# also `litellm.RateLimitError: {…}`.
_WRAPPING = re.compile(
    r"(?:(?:[\w. ]{1,80}: ){0,9}"
    r"(?:\w{1,80}Exception[\w ]{0,80} - (?:Error code: \d{1,4} - )?|Error code: \d{1,4} - )"
    r"|litellm\.\w{1,80}: (?:[\w. ]{1,80}: ){0,9})(?:\[|b['\"])?(?=\{)"
)
_LONGEST = 20_000
_DEEPEST = 3


class Complaint(Struct, frozen=True):
    """The codes of an error in the order in which they count, and its message; both are empty where it has none."""

    codes: tuple[str, ...] = ()
    message: str = ""


def read_complaint(body: bytes | bytearray, document: Document | None) -> Complaint:
    """The error of a body; `document` is the body opened, None where it is not a JSON object."""
    if document is None:
        return Complaint(message=_text_of(bytes(body[:_LONGEST])))
    members = {name: read_plain(document, name) for name in ("error", "detail", "message", "code", "type")}
    complaint = _read(members, 0)
    if complaint == Complaint() and "data" not in document:
        return Complaint(message=bytes(body[:_LONGEST]).decode("utf-8", "replace"))
    return complaint


def _read(members: dict[str, Any], depth: int) -> Complaint:
    """The complaint of `{"error": …}`, of `{"detail": …}`, or of an object that is itself the error."""
    error = members.get("error")
    if isinstance(error, dict):
        return _read_error(error, depth)
    if isinstance(error, str):
        return _read_error({**members, "message": error}, depth)
    if members.get("detail"):
        return _read_detail(members["detail"], depth)
    return _read_error(members, depth)


def _read_error(error: dict[str, Any], depth: int) -> Complaint:
    message = error.get("message")
    text = message if isinstance(message, str) else _told(message) if message else ""
    inner = _embedded(text, depth)
    own = _codes(error.get("code"))
    return Complaint((*own, *inner.codes, *_codes(error.get("type"))), inner.message or text)


def _read_detail(detail: Any, depth: int) -> Complaint:
    if isinstance(detail, str):
        return Complaint(message=detail)
    entries = [entry for entry in (detail if isinstance(detail, list) else [detail]) if isinstance(entry, dict)]
    if not entries:
        return Complaint(message=_told(detail))
    first = entries[0]
    return _read_error(first | {"message": first.get("message") or first.get("msg")}, depth)


def _told(value: Any) -> str:
    """A value as JSON; empty where Python prints what JSON has not, or it is too deep."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return ""


def _codes(value: Any) -> Iterator[str]:
    """A code that is a word; a status in its place is none."""
    if isinstance(value, str) and _CODE.fullmatch(value.strip()):
        yield value.strip()


def _embedded(message: str, depth: int) -> Complaint:
    """The complaint that a router wrapped into its message."""
    wrapping = _WRAPPING.match(message)
    start = wrapping.end() if wrapping else 0
    if depth == _DEEPEST or not (wrapping or (message.startswith("{") and message.rstrip().endswith("}"))):
        return Complaint()
    inner = _object(message[start : start + _LONGEST])
    is_error = isinstance(inner, dict) and not inner.keys().isdisjoint({"error", "message"})
    return _read(inner, depth + 1) if is_error else Complaint()


def _object(text: str) -> Any:
    """The JSON object or printed Python dict that a text begins with, whatever follows it."""
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        pass
    printed = text[: text.rfind("}") + 1]
    try:
        return ast.literal_eval(printed) if _PRINTED.fullmatch(printed) else None
    except (ValueError, TypeError, SyntaxError, OverflowError, RecursionError, MemoryError):
        return None


def _text_of(page: bytes) -> str:
    text = page.decode("utf-8", "replace")
    title = _TITLE.search(text)
    words = title[1] if title else _TAG.sub(" ", text)
    try:
        return html.unescape(words)
    except ValueError:  # a character's number of thousands of digits
        return words
