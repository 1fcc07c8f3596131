"""Reading the body of an edit request: multipart, or the documented JSON form.

1. The body is read to its end whatever is wrong with it, so that the client gets its answer; the first
   thing wrong is kept in `Form.problem`.
2. Of the uploads only one is held whole at a time, and none beyond its limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import anyio.to_thread
import msgspec
import pybase64
from aiohttp import BodyPartReader, web
from anyio import CapacityLimiter
from msgspec import Struct, field

from pipeline.sandbox.answers import Refusal
from pipeline.sandbox.pictures import MIME_TYPES, PREVIEW, THUMBNAIL, Picture, examine

MAX_FILE = 50 * 1024 * 1024
MAX_IMAGES = 16
MAX_TEXT = 1_000_000
MAX_DATA_URL = 20_971_520
MAX_BODY = (MAX_IMAGES + 1) * MAX_FILE + MAX_TEXT
CHUNK = 1 << 17
IMAGE_FIELDS = ("image", "image[]")


class Form(Struct):
    """The text fields as they were spelled, and the images in order. `image_count` counts refused ones too."""

    fields: dict[str, str] = field(default_factory=dict)
    images: list[Picture] = field(default_factory=list)
    mask: Picture | None = None
    image_count: int = 0
    problem: Refusal | None = None

    async def add_file(self, name: str, data: bytes | bytearray, limiter: CapacityLimiter) -> None:
        """Examine an upload in a thread and keep its picture. Raises Refusal."""
        edge = THUMBNAIL if self.images and name != "mask" else PREVIEW
        picture = await anyio.to_thread.run_sync(examine, data, name, edge, limiter=limiter)
        if name == "mask":
            self.mask = picture
        else:
            self.images.append(picture)


async def read_form(request: web.Request, limiter: CapacityLimiter) -> Form:
    """Read a whole body; image work runs in threads under `limiter`. What is wrong is in `problem`."""
    form = Form()
    if request.content_type.startswith("multipart/"):
        await _read_multipart(request, form, limiter)
    elif request.content_type == "application/json":
        await _read_json(request, form, limiter)
    else:
        await request.content.readany()
        form.problem = Refusal(
            f"Invalid Content-Type header ({request.content_type}), expected multipart/form-data or application/json.",
            "unsupported_content_type",
        )
    return form


async def _read_multipart(request: web.Request, form: Form, limiter: CapacityLimiter) -> None:
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader):
                raise ValueError("a part is itself multipart")
            await _read_part(part, form, limiter)
    except (ValueError, AssertionError) as exc:
        # aiohttp asserts where a part has no headers, and raises ValueError for a bad boundary
        form.problem = form.problem or Refusal(f"The multipart body cannot be read: {exc}", "invalid_multipart")


async def _read_part(part: BodyPartReader, form: Form, limiter: CapacityLimiter) -> None:
    name = part.name or ""
    is_file = name in (*IMAGE_FIELDS, "mask")
    form.image_count += name in IMAGE_FIELDS
    data = await _read_capped(part, MAX_FILE if is_file else MAX_TEXT)
    try:
        if is_file:
            param = "mask" if name == "mask" else "image"
            check_upload(param, part.headers.get("Content-Type"), part.filename, len(data))
            if form.problem is None and form.image_count <= MAX_IMAGES:
                await form.add_file(param, data, limiter)
        else:
            form.fields[name] = data.decode()
    except Refusal as exc:
        form.problem = form.problem or exc


async def _read_capped(part: BodyPartReader, limit: int) -> bytearray:
    """Read a part to its end, keeping one byte more than its limit allows."""
    data = bytearray()
    while chunk := await part.read_chunk(CHUNK):
        if len(data) <= limit:
            data += chunk[: limit + 1 - len(data)]
    return data


def check_upload(param: str, content_type: str | None, filename: str | None, size: int) -> None:
    """Judge a file part by its headers and its size in bytes. Raises Refusal."""
    if content_type is None or filename is None:
        raise Refusal(
            f"Invalid file '{param}': it needs a filename and a Content-Type.", "missing_file_mimetype", param=param
        )
    if content_type.partition(";")[0].strip().lower() not in MIME_TYPES:
        raise Refusal(
            f"Invalid file '{param}': unsupported mimetype ('{content_type}'). "
            "Supported file formats are 'image/jpeg', 'image/png', and 'image/webp'.",
            "unsupported_file_mimetype",
            param=param,
        )
    if not size:
        raise Refusal(f"Invalid file '{param}': it is empty.", "empty_image_file", param=param)
    if size >= MAX_FILE:
        raise Refusal(f"Invalid file '{param}': it must be under 50 MB.", "image_file_too_large", param=param)


async def _read_json(request: web.Request, form: Form, limiter: CapacityLimiter) -> None:
    body = bytearray()
    async for chunk in request.content.iter_chunked(CHUNK):
        if len(body) <= MAX_BODY:
            body += chunk
    try:
        if len(body) > MAX_BODY:
            raise Refusal("The body is too large.", None, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        document = await anyio.to_thread.run_sync(_parse_json, body, limiter=limiter)
        del body
        form.fields = text_fields(document)
        await _read_data_urls(document, form, limiter)
    except Refusal as exc:
        form.problem = exc


async def _read_data_urls(document: Mapping[str, object], form: Form, limiter: CapacityLimiter) -> None:
    images = document.get("images") or []
    if not isinstance(images, list):
        raise Refusal("Invalid type for 'images': expected an array.", "invalid_type", param="images")
    form.image_count = len(images)
    for reference in images[:MAX_IMAGES]:
        await form.add_file("image", await _decode(reference, "images", limiter), limiter)
    if document.get("mask") is not None:
        await form.add_file("mask", await _decode(document["mask"], "mask", limiter), limiter)


async def _decode(reference: object, param: str, limiter: CapacityLimiter) -> bytes:
    return await anyio.to_thread.run_sync(decode_reference, reference, param, limiter=limiter)


def _parse_json(body: bytearray) -> dict[str, object]:
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Refusal(f"We could not parse the JSON body of your request: {exc}", "invalid_json") from exc


def text_fields(document: Mapping[str, object]) -> dict[str, str]:
    """Return the fields of a JSON body but its images, spelled as a multipart body does; nulls are left out."""
    fields = {}
    for name, value in document.items():
        if name in ("images", "mask") or value is None:
            continue
        if isinstance(value, list | dict):
            raise Refusal(f"Invalid type for '{name}': expected a text or a number.", "invalid_type", param=name)
        fields[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return fields


def decode_reference(reference: object, param: str) -> bytes:
    """Return the bytes of `{"image_url": "data:image/png;base64,…"}`. Raises Refusal."""
    if not isinstance(reference, dict):
        raise Refusal(f"Invalid type for '{param}': expected an object with 'image_url'.", "invalid_type", param=param)
    url = reference.get("image_url")
    if not isinstance(url, str):
        raise Refusal("Files by id are unknown here; send 'image_url' with a data URL.", "file_not_found", param=param)
    if len(url) > MAX_DATA_URL:
        raise Refusal(
            f"Invalid '{param}': a data URL has at most {MAX_DATA_URL} characters.",
            "string_above_max_length",
            param=param,
        )
    head, comma, payload = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise Refusal(f"Invalid '{param}': expected a base64 data URL.", "invalid_value", param=param)
    try:
        data = pybase64.b64decode(payload, validate=True)
    except ValueError as exc:
        raise Refusal(f"Invalid '{param}': the base64 does not decode.", "invalid_base64_image", param=param) from exc
    check_upload(param, head.removeprefix("data:").removesuffix(";base64"), param, len(data))
    return data
