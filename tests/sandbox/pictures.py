"""Small pictures to upload, and a raw client's form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO

import aiohttp
import msgspec
import pybase64
from PIL import Image, ImageDraw

FIELDS = {"model": "gpt-image-1.5", "prompt": "a white background", "quality": "low", "size": "1024x1024"}
AUTH = {"Authorization": "Bearer sandbox"}


def picture(size: tuple[int, int] = (96, 96), kind: str = "PNG", mode: str = "RGB", alpha: int = 255) -> bytes:
    """Return an encoded red disc on grey; with mode RGBA its right half has this alpha."""
    image = Image.new("RGB", size, (190, 200, 190))
    ImageDraw.Draw(image).ellipse((size[0] // 4, size[1] // 4, size[0] * 3 // 4, size[1] * 3 // 4), (180, 40, 40))
    image = image.convert(mode)
    if mode == "RGBA":
        image.paste((0, 0, 0, alpha), (size[0] // 2, 0, size[0], size[1]))
    data = BytesIO()
    image.save(data, kind)
    return data.getvalue()


@dataclass(frozen=True, slots=True)
class File:
    """One file part; `filename` and `content_type` may be None, to be left out."""

    data: bytes
    name: str = "image"
    filename: str | None = "a.png"
    content_type: str | None = "image/png"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        """The code of an error envelope."""
        return msgspec.json.decode(self.body, type=Failed).error.code

    @property
    def answer(self) -> Answered:
        return msgspec.json.decode(self.body, type=Answered)

    def images(self) -> list[bytes]:
        return [pybase64.b64decode(part.b64_json, validate=True) for part in self.answer.data]


class Error(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class Failed(msgspec.Struct):
    error: Error


class Part(msgspec.Struct):
    b64_json: str


class Tokens(msgspec.Struct):
    input_tokens: int
    output_tokens: int
    total_tokens: int


class Answered(msgspec.Struct):
    created: int
    data: list[Part]
    usage: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """A raw client of one server; every request is one connection."""

    session: aiohttp.ClientSession
    root: str
    headers: dict[str, str] = field(default_factory=lambda: dict(AUTH))

    async def edit(
        self, files: Sequence[File], fields: dict[str, str] | None = None, path: str = "/v1/images/edits"
    ) -> Reply:
        """Post a multipart edit. Raises aiohttp.ClientError and TimeoutError."""
        with aiohttp.MultipartWriter("form-data") as writer:
            for name, value in {**FIELDS, **(fields or {})}.items():
                part = writer.append(value)
                part.headers.pop("Content-Type", None)
                part.set_content_disposition("form-data", name=name)
            for file in files:
                _append(writer, file)
        return await self.post(path, writer)

    async def edit_json(self, document: dict[str, object]) -> Reply:
        """Post the JSON form."""
        body = msgspec.json.encode({**FIELDS, **document})
        return await self.post("/v1/images/edits", BytesIO(body), {"Content-Type": "application/json"})

    async def post(
        self, path: str, body: aiohttp.MultipartWriter | BytesIO | bytes | str, headers: dict[str, str] | None = None
    ) -> Reply:
        """Post anything and read the answer whole."""
        request = self.session.post(
            self.root + path, data=body, headers={**self.headers, **(headers or {})}, allow_redirects=False
        )
        async with request as response:
            return Reply(response.status, _lower(response), await response.read())

    async def get(self, path: str) -> Reply:
        """Get a path."""
        async with self.session.get(self.root + path, headers=self.headers) as response:
            return Reply(response.status, _lower(response), await response.read())


def _lower(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _append(writer: aiohttp.MultipartWriter, file: File) -> None:
    part = writer.append(BytesIO(file.data))
    if file.content_type is None:
        part.headers.pop("Content-Type", None)
    else:
        part.headers["Content-Type"] = file.content_type
    if file.filename is None:
        part.set_content_disposition("form-data", name=file.name)
    else:
        part.set_content_disposition("form-data", name=file.name, filename=file.filename)


def data_url(data: bytes, mime: str = "image/png") -> str:
    """Return a data URL as the JSON form takes it."""
    return f"data:{mime};base64,{pybase64.b64encode_as_string(data)}"
