"""The body of an images/edits request, assembled without reading a file: pieces whose total length is known.

Multipart is what the official SDK sends: one image is the field `image`, several are `image[]`, booleans are
`true`, a list's field ends in `[]`, a mapping's keys stand in brackets, null is left out; text parts have no
Content-Type and file parts have a filename and the type of their magic bytes, as `application/octet-stream` is
refused (https://github.com/openai/openai-node/issues/1468). The JSON form is OpenAI's, with data URLs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec import Struct

from pipeline.endpoint.upload import Upload
from pipeline.errors import Problem
from pipeline.mime import EXTENSIONS, FORMATS

Form = Literal["multipart", "json"]

MAX_DATA_URL = 20_971_520
"""Most characters of a data URL; https://platform.openai.com/docs/api-reference/images/createEdit."""

_FIRST = ("prompt", "model")
# WHATWG's escapes for names in multipart/form-data, as browsers and the SDK's HTTP client write them.
_NAME_ESCAPES = re.compile(r'["\\\x00-\x1f]')


class Edit(Struct, frozen=True):
    """What one request says: exactly the text `fields`, the files, and the key under which a retry is recognised."""

    fields: Mapping[str, Any]
    images: tuple[Upload, ...]
    mask: Upload | None
    idempotency_key: str

    @property
    def uploads(self) -> tuple[Upload, ...]:
        """All files, in the order in which they are sent."""
        return self.images if self.mask is None else (*self.images, self.mask)


class FilePiece(Struct, frozen=True):
    """A file's place in a body: its bytes as they are, or in base64."""

    upload: Upload
    base64: bool

    @property
    def length(self) -> int:
        """Bytes on the wire."""
        return (self.upload.bytes + 2) // 3 * 4 if self.base64 else self.upload.bytes


class Body(Struct, frozen=True):
    """A request body: literal bytes and files in order, and its media type."""

    pieces: tuple[bytes | FilePiece, ...]
    content_type: str

    @property
    def length(self) -> int:
        """Bytes on the wire: the Content-Length."""
        return sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in self.pieces)


def encode(edit: Edit, form: Form, boundary: str) -> Body:
    """The body of an edit; `boundary` separates multipart's parts and must occur in none of them."""
    if form == "json":
        return Body(_joined(_json(edit)), "application/json")
    return Body(tuple(_multipart(edit, boundary)), f"multipart/form-data; boundary={boundary}")


def too_large(edit: Edit, form: Form) -> Problem | None:
    """Why the form cannot carry one of the files, or None."""
    if form == "multipart":
        return None
    for upload in edit.uploads:
        length = len(_data_url_head(upload)) + FilePiece(upload, base64=True).length
        if length > MAX_DATA_URL:
            return Problem(
                f"the image makes a data URL of {length:,} characters",
                f"expected at most {MAX_DATA_URL:,}; use a smaller image, or body: multipart",
                file=upload.path,
            )
    return None


def _multipart(edit: Edit, boundary: str) -> Iterator[bytes | FilePiece]:
    """The parts: literals and files in turn."""
    begin = f'--{boundary}\r\nContent-Disposition: form-data; name="'
    parts = [f'{begin}{_escaped(name)}"\r\n\r\n{value}\r\n' for name, value in _flat(_ordered(edit.fields))]
    text = "".join(parts)
    for upload, file in _files(edit):
        yield f"{text}{begin}{file}\r\nContent-Type: {upload.mime}\r\n\r\n".encode()
        yield FilePiece(upload, base64=False)
        text = "\r\n"
    yield f"{text}--{boundary}--\r\n".encode()


def _files(edit: Edit) -> Iterator[tuple[Upload, str]]:
    """The files, and what the heads of their parts say behind `name="`."""
    field = "image" if len(edit.images) == 1 else "image[]"
    for number, upload in enumerate(edit.images, 1):
        yield upload, f'{field}"; filename="image-{number}.{EXTENSIONS[FORMATS[upload.mime]]}"'
    if edit.mask is not None:
        yield edit.mask, f'mask"; filename="mask.{EXTENSIONS[FORMATS[edit.mask.mime]]}"'


def _json(edit: Edit) -> Iterator[bytes | FilePiece]:
    separator = b"{"
    for name, value in _ordered(edit.fields).items():
        yield separator + msgspec.json.encode(name) + b":" + msgspec.json.encode(value)
        separator = b","
    if edit.images:
        yield separator + b'"images":['
        for number, upload in enumerate(edit.images):
            yield b"," if number else b""
            yield from _data_url(upload)
        yield b"]"
        separator = b","
    if edit.mask is not None:
        yield separator + b'"mask":'
        yield from _data_url(edit.mask)
        separator = b","
    yield b"{}" if separator == b"{" else b"}"


def _data_url(upload: Upload) -> Iterator[bytes | FilePiece]:
    yield b'{"image_url":"' + _data_url_head(upload)
    yield FilePiece(upload, base64=True)
    yield b'"}'


def _data_url_head(upload: Upload) -> bytes:
    return f"data:{upload.mime};base64,".encode()


def _ordered(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Prompt and model first, as the SDK sends them."""
    return {name: fields[name] for name in (*(name for name in _FIRST if name in fields), *fields)}


def _flat(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and texts of the parts of a form."""
    for name, value in fields.items():
        if isinstance(value, str):
            yield name, value
        else:
            yield from _flat_value(name, value)


def _flat_value(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat_value(f"{name}[{key}]", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _flat_value(f"{name}[]", inner)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    elif value is not None:
        yield name, str(value)


@lru_cache(256)
def _escaped(name: str) -> str:
    return _NAME_ESCAPES.sub(lambda found: "\\\\" if found[0] == "\\" else f"%{ord(found[0]):02X}", name)


def _joined(pieces: Iterable[bytes | FilePiece]) -> tuple[bytes | FilePiece, ...]:
    """Neighbouring literals as one, so that each costs one write."""
    joined: list[bytes | FilePiece] = []
    literals: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            literals.append(piece)
            continue
        if literals:
            joined.append(b"".join(literals))
            literals.clear()
        joined.append(piece)
    return (*joined, b"".join(literals)) if literals else tuple(joined)
