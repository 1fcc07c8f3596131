from __future__ import annotations

import base64
import email.parser
import email.policy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest

from pipeline.endpoint.form import MAX_DATA_URL, Edit, FilePiece, encode, too_large
from pipeline.endpoint.reply import Flight
from pipeline.endpoint.upload import Upload
from pipeline.mime import Mime
from tests.endpoint.conftest import ANSWER, PNG, Request, edit_of, response, serving, transport_to, upload_of

JPEG, WEBP = b"\xff\xd8\xff\xe0jpeg", b"RIFF\x10\x00\x00\x00WEBPVP8 "


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a multipart body, in what both clients must agree on."""

    name: str
    content: bytes
    has_filename: bool
    content_type: str | None


def parts_of(request: Request) -> list[Part]:
    """The parts of a request, read by Python's own parser."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.body)
    assert not message.defects
    return [
        Part(
            str(part.get_param("name", header="content-disposition")),
            part.get_payload(decode=True),  # type: ignore[arg-type]  # a part that is no multipart has bytes
            part.get_filename() is not None,
            part.get("content-type"),
        )
        for part in message.iter_parts()
    ]


FIELDS = {"n": 2, "quality": "high", "size": "1024x1024", "user": "Müller 🐶"}
EXTRA: dict[str, Any] = {
    "stream_hint": False,
    "strict": True,
    "ratio": 0.5,
    "nothing": None,
    "tags": ["a", "b", 3],
    "provider": {"order": ["x", "y"], "only": {"deep": True}},
    'odd "name"\r\nX: y': "v",
}


@pytest.mark.anyio
@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("masked", [False, True])
async def test_same_form_as_the_openai_sdk(images: int, masked: bool, tmp_path: Path) -> None:
    """Field for field what the SDK sends: names, order, values, filenames, types, a Content-Length and no chunks."""
    contents = [PNG + b"1", JPEG, WEBP][:images]
    mimes: list[Mime] = ["image/png", "image/jpeg", "image/webp"]
    uploads = [upload_of(tmp_path / f"{i}", c, "item", mimes[i]) for i, c in enumerate(contents)]
    mask = upload_of(tmp_path / "mask", PNG + b"m", "mask") if masked else None
    edit = edit_of(*uploads, mask=mask, **FIELDS, **EXTRA)
    async with serving(response(ANSWER)) as server, transport_to(server.url, tmp_path) as transport:
        reply = await transport.post(edit, Flight())
        assert reply.status == 200
        async with openai.AsyncOpenAI(base_url=server.url, api_key="sk-test", max_retries=0) as client:
            files = [(f"x{i}", c, mimes[i]) for i, c in enumerate(contents)]
            await client.images.edit(
                image=files if images > 1 else files[0],
                prompt="Make it blue",
                model="gpt-image-1.5",
                mask=("m.png", PNG + b"m", "image/png") if masked else openai.omit,
                n=2,
                quality="high",
                size="1024x1024",
                user="Müller 🐶",
                extra_body=EXTRA,
            )
        ours, theirs = server.requests
    assert parts_of(ours) == parts_of(theirs)
    assert len(parts_of(ours)) == 16 + images + masked
    for request in (ours, theirs):
        assert request.line == "POST /v1/images/edits HTTP/1.1"
        assert int(request.headers["content-length"]) == len(request.body)
        assert "transfer-encoding" not in request.headers


def test_filenames_are_ascii_with_the_right_extension_and_tell_nothing(tmp_path: Path) -> None:
    """A filename comes from the type and the position, never from the user's disk."""
    images = (
        upload_of(tmp_path / "Müller geheim.txt", PNG),
        upload_of(tmp_path / "b", JPEG, "reference", "image/jpeg"),
        upload_of(tmp_path / "c", WEBP, "reference", "image/webp"),
    )
    body = encode(edit_of(*images, mask=upload_of(tmp_path / "m", PNG, "mask")), "multipart", "b")
    text = b"".join(piece for piece in body.pieces if isinstance(piece, bytes)).decode()
    names = [line.rpartition('filename="')[2][:-1] for line in text.split("\r\n") if "filename" in line]
    assert names == ["image-1.png", "image-2.jpg", "image-3.webp", "mask.png"]
    assert "geheim" not in text


def test_prompt_and_model_come_first(tmp_path: Path) -> None:
    """A server that reads parts as they come knows the model before the images, whatever the manifest's order."""
    edit = Edit({"size": "auto", "model": "m", "prompt": "p"}, (upload_of(tmp_path / "a", PNG),), None, "k")
    (text, *_) = encode(edit, "multipart", "b").pieces
    assert isinstance(text, bytes)
    assert [line for line in text.decode().split("\r\n") if line.startswith("Content-D")][:3] == [
        f'Content-Disposition: form-data; name="{name}"' for name in ("prompt", "model", "size")
    ]


def written(edit: Edit, contents: dict[str, bytes]) -> bytes:
    """The JSON body with its files in place."""
    return b"".join(
        piece if isinstance(piece, bytes) else base64.b64encode(contents[piece.upload.path])
        for piece in encode(edit, "json", "unused").pieces
    )


def test_json_form(tmp_path: Path) -> None:
    """OpenAI's JSON form: data URLs under `images` and `mask`, beside the fields as they are."""
    contents = {str(tmp_path / "a"): PNG, str(tmp_path / "b"): JPEG, str(tmp_path / "m"): PNG + b"12"}
    a, b, m = (upload_of(Path(path), content) for path, content in contents.items())
    edit = edit_of(a, Upload("reference", b.path, b.sha256, b.bytes, "image/jpeg"), mask=m, n=2, **EXTRA)
    body = written(edit, contents)
    assert json.loads(body) == {
        "prompt": "Make it blue",
        "model": "gpt-image-1.5",
        "n": 2,
        **EXTRA,
        "images": [
            {"image_url": "data:image/png;base64," + base64.b64encode(PNG).decode()},
            {"image_url": "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()},
        ],
        "mask": {"image_url": "data:image/png;base64," + base64.b64encode(PNG + b"12").decode()},
    }
    assert encode(edit, "json", "unused").length == len(body)


@pytest.mark.parametrize("fields", [{}, {"prompt": 'quo"te\n\u2028'}])
@pytest.mark.parametrize("images", [0, 1])
def test_json_form_is_json_whatever_is_absent(fields: dict[str, Any], images: int, tmp_path: Path) -> None:
    """No field, no image: the braces and commas still fit."""
    upload = upload_of(tmp_path / "a", PNG)
    document = json.loads(written(Edit(fields, (upload,) * images, None, "k"), {upload.path: PNG}))
    assert document.keys() == {*fields, *(["images"] if images else [])}


@pytest.mark.parametrize(
    ("size", "form", "refused"),
    [
        # The head of a png's data URL has 22 characters; 15,728,622 bytes make 20,971,496 of base64.
        (15_728_622, "json", False),
        (15_728_625, "json", True),
        (15_728_625, "multipart", False),
    ],
)
def test_data_url_limit(size: int, form: Any, refused: bool) -> None:
    """A data URL of more than 20,971,520 characters is refused before anything is sent."""
    upload = Upload("item", "photos/a.png", "0" * 64, size, "image/png")
    problem = too_large(edit_of(upload), form)
    assert (problem is not None) == refused
    if problem is not None:
        assert f"{MAX_DATA_URL:,}" in str(problem)
        assert str(problem).startswith("photos/a.png: ")
    assert too_large(edit_of(mask=upload), form) == problem


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 2**20])
def test_base64_length(size: int) -> None:
    """The promised length is that of the padded base64."""
    piece = FilePiece(Upload("item", "a", "", size, "image/png"), base64=True)
    assert piece.length == len(base64.b64encode(bytes(size)))


@pytest.mark.anyio
@pytest.mark.parametrize("size", [100, 1_000_001, 2_097_150, 2_500_000])
async def test_json_form_streams_from_disk(size: int, tmp_path: Path) -> None:
    """Base64 of parts joins to the base64 of the file."""
    content = PNG + bytes(range(256)) * (size // 256 + 1)
    upload = upload_of(tmp_path / "a.png", content[:size])
    async with serving(response(ANSWER)) as server, transport_to(server.url, tmp_path, body="json") as transport:
        with anyio.fail_after(5):
            assert (await transport.post(edit_of(upload), Flight())).status == 200
    (request,) = server.requests
    url = json.loads(request.body)["images"][0]["image_url"]
    assert base64.b64decode(url.removeprefix("data:image/png;base64,")) == content[:size]
    assert request.headers["content-type"] == "application/json"
