"""What the endpoint refuses, and under which status and code."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pipeline.sandbox.answers import Refusal
from pipeline.sandbox.app import Sandbox
from pipeline.sandbox.checks import auto_size
from pipeline.sandbox.request import MAX_FILE, check_upload
from pipeline.sandbox.tokens import Size
from tests.sandbox.pictures import File, data_url, picture
from tests.sandbox.serving import QUICK, bench

pytestmark = pytest.mark.anyio
GOOD = File(picture())


@dataclass(frozen=True, slots=True)
class Bad:
    """A request that is refused with 400 and this code."""

    code: str
    fields: dict[str, str] = field(default_factory=dict)
    files: tuple[File, ...] = (GOOD,)


def named_mask(data: bytes) -> tuple[File, ...]:
    return (GOOD, File(data, name="mask", filename="mask.png"))


BAD = {
    "no image": Bad("missing_required_parameter", files=()),
    "17 images": Bad("array_above_max_length", files=(GOOD,) * 17),
    "octet-stream": Bad("unsupported_file_mimetype", files=(File(GOOD.data, content_type="application/octet-stream"),)),
    "no mimetype": Bad("missing_file_mimetype", files=(File(GOOD.data, content_type=None),)),
    "no filename": Bad("missing_file_mimetype", files=(File(GOOD.data, filename=None),)),
    "empty file": Bad("empty_image_file", files=(File(b""),)),
    "not an image": Bad("invalid_image_file", files=(File(b"GIF89a and so on"),)),
    "truncated image": Bad("invalid_image_file", files=(File(picture((300, 300))[:200]),)),
    "damaged image": Bad("invalid_image_file", files=(File(GOOD.data[:60] + b"\0" * 40 + GOOD.data[100:]),)),
    "no prompt": Bad("missing_required_parameter", {"prompt": ""}),
    "long prompt": Bad("string_above_max_length", {"prompt": "x" * 32_001}),
    "no model": Bad("missing_required_parameter", {"model": ""}),
    "unknown model": Bad("invalid_value", {"model": "gpt-image-9"}),
    "unknown quality": Bad("invalid_value", {"quality": "best"}),
    "quality of another model": Bad("invalid_value", {"quality": "xhigh"}),
    "size of another model": Bad("invalid_value", {"size": "1536x864"}),
    "size in words": Bad("invalid_value", {"size": "large"}),
    "size not of 16": Bad("invalid_value", {"model": "gpt-image-2", "size": "1000x1000"}),
    "n of 0": Bad("integer_below_min_value", {"n": "0"}),
    "n of 11": Bad("integer_above_max_value", {"n": "11"}),
    "n in words": Bad("invalid_type", {"n": "two"}),
    "unknown background": Bad("invalid_value", {"background": "green"}),
    "transparent jpeg": Bad("invalid_value", {"background": "transparent", "output_format": "jpeg"}),
    "unknown format": Bad("invalid_value", {"output_format": "gif"}),
    "compression of 101": Bad("integer_above_max_value", {"output_compression": "101", "output_format": "webp"}),
    "compressed png": Bad("invalid_value", {"output_compression": "50"}),
    "fidelity of gpt-image-2": Bad("invalid_value", {"model": "gpt-image-2", "input_fidelity": "high"}),
    "response_format": Bad("unknown_parameter", {"response_format": "b64_json"}),
    "unknown field": Bad("unknown_parameter", {"colour": "red"}),
    "stream": Bad("invalid_value", {"stream": "true"}),
    "mask of another size": Bad("invalid_image_file", files=named_mask(picture((64, 64), mode="RGBA", alpha=0))),
    "mask without alpha": Bad("invalid_image_file", files=named_mask(picture())),
    "mask as webp": Bad("invalid_image_file", files=named_mask(picture(kind="WEBP", mode="RGBA", alpha=0))),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_a_bad_request_is_refused_and_not_billed(bad: Bad) -> None:
    async with bench() as b:
        reply = await b.client.edit(bad.files, bad.fields)
        assert (reply.status, reply.code) == (400, bad.code)
        assert (b.server.bill.requests, b.server.bill.billed) == (1, 0)


GOOD_FORMS = {
    "image": Bad("", files=(GOOD,)),
    "image[]": Bad("", files=(File(GOOD.data, "image[]"), File(GOOD.data, "image[]"))),
    "16 images": Bad("", files=(GOOD,) * 16),
    "jpeg": Bad("", files=(File(picture(kind="JPEG"), content_type="image/jpeg"),)),
    "webp": Bad("", files=(File(picture(kind="WEBP"), content_type="image/webp"),)),
    "mask": Bad("", files=named_mask(picture(mode="RGBA", alpha=0))),
    "longest prompt": Bad("", {"prompt": "é" * 32_000}),
    "any size": Bad("", {"model": "gpt-image-2", "size": "1536x864"}),
    "later quality": Bad("", {"model": "gpt-image-2.5-flare", "quality": "max"}),
    "all auto": Bad("", {"size": "auto", "quality": "auto", "background": "auto"}),
    "every field": Bad(
        "",
        {"output_format": "webp", "output_compression": "50", "input_fidelity": "high", "user": "u", "n": "1"},
    ),
}


@pytest.mark.parametrize("good", GOOD_FORMS.values(), ids=GOOD_FORMS.keys())
async def test_a_good_request_is_answered_and_billed(good: Bad) -> None:
    async with bench() as b:
        reply = await b.client.edit(good.files, good.fields)
        assert reply.status == 200, reply.body
        assert len(reply.images()) == 1
        assert b.server.bill.billed == 1


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({}, "missing_required_parameter"),
        ({"images": "x"}, "invalid_type"),
        ({"images": ["x"]}, "invalid_type"),
        ({"images": [{"file_id": "file-1"}]}, "file_not_found"),
        ({"images": [{"image_url": "https://example.com/a.png"}]}, "invalid_value"),
        ({"images": [{"image_url": "data:image/png;base64,*!"}]}, "invalid_base64_image"),
        ({"images": [{"image_url": data_url(b"GIF89a")}]}, "invalid_image_file"),
        ({"images": [{"image_url": data_url(GOOD.data, "image/gif")}]}, "unsupported_file_mimetype"),
        ({"images": [{"image_url": "data:image/png;base64," + "A" * 20_971_520}]}, "string_above_max_length"),
        ({"images": [{"image_url": data_url(GOOD.data)}] * 17}, "array_above_max_length"),
        ({"images": [{"image_url": data_url(GOOD.data)}], "prompt": ["a"]}, "invalid_type"),
        ({"images": [{"image_url": data_url(GOOD.data)}], "image": "x"}, "unknown_parameter"),
    ],
)
async def test_a_bad_json_form_is_refused(document: dict[str, object], code: str) -> None:
    async with bench() as b:
        reply = await b.client.edit_json(document)
        assert (reply.status, reply.code) == (400, code)


async def test_the_json_form_is_the_same_edit_as_the_multipart_form() -> None:
    mask = picture(mode="RGBA", alpha=0)
    async with bench() as b:
        await b.client.edit(named_mask(mask), {"n": "2"})
        document: dict[str, object] = {
            "images": [{"image_url": data_url(GOOD.data)}],
            "mask": {"image_url": data_url(mask)},
            "n": 2,
            "user": None,
        }
        reply = await b.client.edit_json(document)
        assert len(reply.images()) == 2
        assert list(b.server.bill.edits.values()) == [2]


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("text/plain", b"hello", "unsupported_content_type"),
        ("application/json", b"{", "invalid_json"),
        ("application/json", b"[]", "invalid_json"),
        ("multipart/form-data", b"hello", "invalid_multipart"),
        ("multipart/form-data; boundary=x", b"hello", "invalid_multipart"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nhello\r\n--x--\r\n", "unknown_parameter"),
        ("multipart/form-data; boundary=x", b"", "invalid_multipart"),
    ],
)
async def test_an_unreadable_body_is_refused(content_type: str, body: bytes, code: str) -> None:
    async with bench() as b:
        reply = await b.client.post("/v1/images/edits", body, {"Content-Type": content_type})
        assert (reply.status, reply.code) == (400, code)


@pytest.mark.parametrize(
    ("key", "headers", "status"),
    [
        (None, {}, 401),
        (None, {"Authorization": "Bearer anything"}, 200),
        (None, {"Authorization": "Bearer "}, 401),
        (None, {"Authorization": "Basic abc"}, 401),
        ("k", {"Authorization": "Bearer k"}, 200),
        ("k", {"api-key": "k"}, 200),
        ("k", {"Authorization": "Bearer other"}, 401),
    ],
)
async def test_a_key_is_demanded(key: str | None, headers: dict[str, str], status: int) -> None:
    async with bench(Sandbox(key=key, latency=QUICK.latency, plain=True)) as b:
        b.client.headers.clear()
        b.client.headers.update(headers)
        reply = await b.client.edit([GOOD])
        assert reply.status == status
        if status == 401:
            assert reply.code == "invalid_api_key"


@pytest.mark.parametrize(("size", "refused"), [(MAX_FILE - 1, False), (MAX_FILE, True)])
def test_a_file_must_be_under_50_mb(size: int, refused: bool) -> None:
    if refused:
        with pytest.raises(Refusal) as caught:
            check_upload("image", "image/png", "a.png", size)
        assert caught.value.code == "image_file_too_large"
    else:
        check_upload("image", "image/png", "a.png", size)


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(100, 100, Size(1024, 1024)), (300, 200, Size(1536, 1024)), (200, 300, Size(1024, 1536))],
)
def test_the_size_auto_follows_the_shape_of_the_input(width: int, height: int, size: Size) -> None:
    assert auto_size(width, height) == size
