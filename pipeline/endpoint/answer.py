"""What a response body holds: images, usage, or an error; read without copying what is large.

Base64 of many megabytes is found as a slice and decoded once: at once in an answer as the API's page shows it, else
level by level. Nothing here raises for what a server may send, and nothing is built up of what is not used: of the
entries of an answer the first `ENTRIES` are looked at, of an object the members that mean something.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import msgspec
import pybase64
from msgspec import Struct
from msgspec.structs import asdict, astuple

from pipeline.endpoint.mending import mended

ENTRIES = 64
"""More than anybody asks for in one request; an answer with more has another count than was asked for."""

_LEAD = re.compile(rb"[ \t\r\n]*+(?:\xef\xbb\xbf)?+[ \t\r\n]*+")
_NOTHING = b"\0 \t\r\n"
_ANSWER = ("data", "usage")
_MAX_PLAIN = 1 << 20
_MAX_REST = 1 << 16
_NULL = msgspec.Raw(b"null")
_ABSENT = msgspec.Raw()
# Token counts are far below this; anything above is a broken server's, and would break sums in binary floats.
_MAX_COUNT = 1 << 53

_SUMS = frozenset({"input_tokens", "output_tokens", "total_tokens"})

_ENCODED = re.compile(rb'"b64_json"[ \t\r\n]*:[ \t\r\n]*"')
_MARK = b'"@picture '
_LONGEST_MARK = len(_MARK) + 20

_USAGE = msgspec.json.Decoder(dict[str, Any])

Document = Mapping[str, msgspec.Raw]


class ImageData(Struct, frozen=True):
    """One image of an answer: its bytes, or the URL at which it lies, or the code of why there is neither."""

    data: bytes | None = None
    url: str | None = None
    problem: str | None = None


class _Members(Struct, frozen=True):
    """Those of an object that mean something here."""

    error: msgspec.Raw = _ABSENT
    detail: msgspec.Raw = _ABSENT
    message: msgspec.Raw = _ABSENT
    code: msgspec.Raw = _ABSENT
    type: msgspec.Raw = _ABSENT
    data: msgspec.Raw = _ABSENT
    usage: msgspec.Raw = _ABSENT


class _Entry(Struct, frozen=True):
    """What of an entry of `data` may be a picture; what is absent is null."""

    b64_json: msgspec.Raw = _NULL
    url: msgspec.Raw = _NULL


_Entries = msgspec.defstruct(
    "_Entries", [(f"entry{number}", msgspec.Raw, _ABSENT) for number in range(ENTRIES)], array_like=True, frozen=True
)
"""The first of a list, each still encoded; what is behind them is passed over."""


class _Plain(Struct, frozen=True):
    """An answer as https://platform.openai.com/docs/api-reference/images/object has it."""

    data: list[_Entry]
    usage: msgspec.Raw = _NULL


def read_document(body: bytes | bytearray) -> Document | None:
    """The members of a JSON object that are used, each still encoded; None where the body is anything else.

    White space before the object is fine: gateways send it to keep a silent connection open. Where more stands behind
    it, it is an answer or nothing: of an error it is not known then whether it was the last word.
    """
    lead = _LEAD.match(body)
    text = memoryview(body)[lead.end() if lead else 0 :]
    if not text or text[0] != ord("{"):
        return None
    members = _members(text)
    if members is not None:
        return members
    sound = mended(text)
    members = _members(sound)
    if members is None or sound is None or not bytes(text[len(sound) :]).strip(_NOTHING):
        return members
    return {name: members[name] for name in _ANSWER if name in members} if "data" in members else None


def _members(text: memoryview | bytearray | None) -> Document | None:
    found: _Members | None = _open(text, _Members)
    return None if found is None else {name: raw for name, raw in asdict(found).items() if raw is not _ABSENT}


def read_at_once(body: bytes | bytearray) -> tuple[tuple[ImageData, ...], Document] | None:
    """The images of an answer in order, and the members beside them that are used where there is an image; None where
    the body is anything but such an answer: then it is to be read by `read_document`, which says the same of it.
    """
    rest, pictures = _taken_out(body)
    answer: _Plain | None = _open(rest, _Plain) if len(rest) <= _MAX_REST else None
    if answer is None:
        return None
    images = tuple(_picture(entry, pictures) or _image(entry) for entry in answer.data[:ENTRIES])
    return (images, {"usage": answer.usage}) if any(image.data is not None for image in images) else None


def _taken_out(body: bytes | bytearray) -> tuple[bytes | bytearray, list[bytes]]:
    """The body with each text of base64 replaced by a mark, and what these texts hold, decoded.

    A reader of JSON looks at each character; here the end of a text is found eight times as fast, and decoding it shows
    that none of its characters means anything in JSON. So the rest is an answer exactly where the body is one.
    """
    kept: list[bytes | bytearray] = []
    pictures: list[bytes] = []
    view, done, key = memoryview(body), 0, _ENCODED.search(body)
    while key is not None and len(pictures) < ENTRIES:
        end = body.find(b'"', key.end())
        picture = _base64(view[key.end() : end]) if end >= 0 else None
        if picture:
            kept.append(body[done : key.end() - 1])
            pictures.append(picture)
            done = end + 1
        key = _ENCODED.search(body, max(end, key.end()))
    if not pictures:
        return body, []
    kept.append(body[done:])
    if any(_MARK in each for each in kept):
        return body, []
    marks = [_MARK + b'%d"' % number for number in range(len(pictures))]
    return b"".join(each for pair in zip_longest(kept, marks, fillvalue=b"") for each in pair), pictures


def _picture(entry: _Entry, pictures: list[bytes]) -> ImageData | None:
    """The picture whose mark an entry holds."""
    encoded = bytes(memoryview(entry.b64_json)[:_LONGEST_MARK]) if pictures else b""
    return ImageData(data=pictures[int(encoded[len(_MARK) : -1])]) if encoded.startswith(_MARK) else None


def read_plain(document: Document, name: str) -> Any:
    """A member in plain values; None where it is absent, damaged or over 1 MiB. Broken UTF-8 is replaced."""
    return _plain(document.get(name, _NULL))


def _plain(raw: msgspec.Raw) -> Any:
    if len(memoryview(raw)) > _MAX_PLAIN:
        return None
    try:
        return json.loads(bytes(raw).decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def read_images(document: Document) -> tuple[ImageData, ...]:
    """The first images of an answer in order, with a problem where an entry holds none."""
    found = _open(document.get("data"), _Entries)
    entries = (entry for entry in astuple(found) if entry is not _ABSENT) if found else ()
    return tuple(_image(_open(entry, _Entry) or _Entry()) for entry in entries)


def read_usage(document: Document) -> dict[str, Any] | None:
    """The token counts of an answer, as the endpoint returns them; None where they say nothing or cannot be true.

    All zero is what LiteLLM's proxy sends where its upstream sent nothing. A name that cannot be printed is left out.
    """
    raw = document.get("usage")
    if raw is None or len(memoryview(raw)) > _MAX_PLAIN:
        return None
    try:
        usage: Any = _USAGE.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        usage = read_plain(document, "usage")  # it takes more: half an emoji in a name, NaN
    if not isinstance(usage, dict):
        return None
    counts: dict[str, Any] = {}
    for name, value in usage.items():
        if not name.isprintable():
            continue
        if isinstance(value, dict):
            if name in _SUMS:
                return None
            counts[name] = {k: count for k, count in value.items() if count is not None and k.isprintable()}
        elif value is not None and "tokens" in name:
            counts[name] = value
    flat = [count for value in counts.values() for count in (value.values() if isinstance(value, dict) else [value])]
    told = "input_tokens" in counts and "output_tokens" in counts and any(flat)
    return counts if told and all(map(_is_count, flat)) else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_COUNT


def _image(entry: _Entry) -> ImageData:
    empty = bytes(memoryview(entry.b64_json)[:4]) in (b"null", b'""')
    held = ImageData(problem="no_image") if empty else _decoded(entry.b64_json)
    if held.data is not None:
        return held
    if bytes(memoryview(entry.url)[:6]).lower() == b'"data:':
        return _decoded(entry.url)
    url = _plain(entry.url)
    return ImageData(url=url) if isinstance(url, str) and url else held


def _decoded(raw: msgspec.Raw) -> ImageData:
    """Base64 of a JSON string, strictly; a `data:` prefix is dropped, as it leaves no doubt about the bytes."""
    view = memoryview(raw)
    data = _base64(view[1:-1]) if view[0] == ord('"') else b""
    if data is None:
        # Escaped slashes, as PHP writes them, or a data URL.
        text: str = _open(raw, str) or ""
        data = _base64((text.partition(",")[2] if text[:5].lower() == "data:" else text).encode())
    return ImageData(data=data) if data else ImageData(problem="bad_base64")


def _base64(text: bytes | memoryview) -> bytes | None:
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        return None


def _open(raw: Any, kind: Any) -> Any:
    try:
        return None if raw is None else msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
