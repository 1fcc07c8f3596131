"""Each fault as a raw client meets it, and whether it is billed; under asyncio and uvloop."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import aiohttp
import anyio
import msgspec
import pytest
from PIL import Image, UnidentifiedImageError

from pipeline.sandbox.faults import UNBILLED, Fault
from tests.sandbox.pictures import File, picture
from tests.sandbox.serving import Bench, bench, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": loop}) for loop in (False, True)]),
]
GOOD = File(picture())


def billed(b: Bench) -> int:
    return b.server.bill.billed


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.RATE, 429, "rate_limit_exceeded"),
        (Fault.QUOTA, 429, "insufficient_quota"),
        (Fault.BILLING, 400, "billing_hard_limit_reached"),
        (Fault.MODERATION, 400, "moderation_blocked"),
        (Fault.UNAUTHORIZED, 401, "invalid_api_key"),
        (Fault.ERROR_500, 500, None),
        (Fault.ERROR_503, 503, "server_is_overloaded"),
    ],
)
async def test_an_unbilled_fault_is_an_error_envelope(fault: Fault, status: int, code: str | None) -> None:
    async with bench(faults=f"{fault}=1,retry-after=7") as b:
        reply = await b.client.edit([GOOD])
        assert (reply.status, reply.code) == (status, code)
        assert reply.headers.get("retry-after") == ("7" if fault is Fault.RATE else None)
        assert (billed(b), b.server.bill.statuses) == (0, {str(status): 1})


async def test_redirect_points_to_another_host() -> None:
    async with bench(faults="redirect=1") as b:
        reply = await b.client.edit([GOOD])
        assert (reply.status, billed(b)) == (307, 0)
        assert reply.headers["location"] == "http://elsewhere.invalid/v1/images/edits"


async def test_reset_ends_the_connection_with_rst_before_any_byte() -> None:
    async with bench(faults="reset=1") as b:
        with pytest.raises(aiohttp.ClientOSError) as caught:
            await b.client.edit([GOOD])
        assert isinstance(caught.value, ConnectionResetError) or "reset" in str(caught.value).lower()
        assert (billed(b), b.server.bill.statuses) == (1, {"none": 1})


async def test_disconnect_ends_the_connection_without_an_answer() -> None:
    async with bench(faults="disconnect=1") as b:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await b.client.edit([GOOD])
        assert (billed(b), b.server.bill.statuses) == (1, {"none": 1})


async def test_reset_body_ends_the_connection_within_the_body() -> None:
    async with bench(faults="reset-body=1") as b:
        request = b.client.session.post(b.server.url + "/images/edits", data=form(), headers=b.client.headers)
        async with request as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientError):
                await response.read()
        assert billed(b) == 1


def form() -> aiohttp.FormData:
    fields = aiohttp.FormData({"model": "gpt-image-1.5", "prompt": "white", "size": "1024x1024"})
    fields.add_field("image", GOOD.data, filename="a.png", content_type="image/png")
    return fields


async def test_truncate_cuts_the_json_with_a_length_that_agrees_or_by_close() -> None:
    async with bench(faults="truncate=1,seed=1") as b:
        replies = [await b.client.edit([GOOD]) for _ in range(8)]
        assert {"content-length" in reply.headers for reply in replies} == {True, False}
        for reply in replies:
            assert reply.status == 200
            assert reply.headers["x-request-id"]
            with pytest.raises(msgspec.DecodeError):
                msgspec.json.decode(reply.body)
        assert billed(b) == 8


async def test_hang_never_answers_and_the_server_still_stops() -> None:
    with anyio.fail_after(10):
        async with bench(faults="hang=1") as b:
            with anyio.move_on_after(0.5) as scope:
                await b.client.edit([GOOD])
            assert scope.cancelled_caught
            assert billed(b) == 1


async def test_a_hung_request_does_not_keep_the_server_from_stopping() -> None:
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group, bench(faults="hang=1") as b:

            async def edit() -> None:
                with pytest.raises(aiohttp.ClientError):
                    await b.client.edit([GOOD])

            group.start_soon(edit)
            await until(lambda: b.server.bill.in_flight == 1)


async def test_drip_sends_one_byte_a_second() -> None:
    async with bench(faults="drip=1") as b:
        request = b.client.session.post(b.server.url + "/images/edits", data=form(), headers=b.client.headers)
        async with request as response:
            assert await response.content.readexactly(1) == b"{"
            started = anyio.current_time()
            assert await response.content.readexactly(1) == b'"'
            assert 0.8 <= anyio.current_time() - started < 3
        assert billed(b) == 1


async def test_bad_base64_holds_foreign_characters() -> None:
    async with bench(faults="bad-base64=1") as b:
        reply = await b.client.edit([GOOD])
        with pytest.raises(ValueError, match="Non-base64"):
            reply.images()
        assert billed(b) == 1


async def test_undecodable_is_base64_of_no_image() -> None:
    async with bench(faults="undecodable=1") as b:
        data = (await b.client.edit([GOOD])).images()[0]
        with pytest.raises(UnidentifiedImageError):
            Image.open(BytesIO(data))
        assert billed(b) == 1


@pytest.mark.parametrize(
    ("fault", "status", "start"),
    [
        ("error-200", 200, b'{"error":'),
        ("html-200", 200, b"<html>"),
        ("error-502-html", 502, b"<html>"),
    ],
)
async def test_a_billed_answer_without_images(fault: str, status: int, start: bytes) -> None:
    async with bench(faults=f"{fault}=1") as b:
        reply = await b.client.edit([GOOD])
        assert (reply.status, billed(b)) == (status, 1)
        assert reply.body.startswith(start)


async def test_empty_200_has_no_data() -> None:
    async with bench(faults="empty-200=1") as b:
        assert (await b.client.edit([GOOD])).answer.data == []
        assert billed(b) == 1


async def test_no_usage_leaves_usage_out_of_the_answer_but_not_of_the_bill() -> None:
    async with bench(faults="no-usage=1") as b:
        reply = await b.client.edit([GOOD])
        assert reply.answer.usage is None
        assert b'"usage"' not in reply.body
        assert b.server.bill.usage.total_tokens > 0


async def test_zero_usage_is_all_zero_but_billed() -> None:
    async with bench(faults="zero-usage=1") as b:
        usage = (await b.client.edit([GOOD])).answer.usage
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (0, 0, 0)
        assert b.server.bill.usage.total_tokens > 0


async def test_wrong_size_is_half_the_size() -> None:
    async with bench(faults="wrong-size=1") as b:
        data = (await b.client.edit([GOOD])).images()[0]
        assert Image.open(BytesIO(data)).size == (512, 512)


@pytest.mark.parametrize(("asked", "got"), [("png", "JPEG"), ("webp", "PNG")])
async def test_wrong_format_is_another_format(asked: str, got: str) -> None:
    async with bench(faults="wrong-format=1") as b:
        data = (await b.client.edit([GOOD], {"output_format": asked})).images()[0]
        assert Image.open(BytesIO(data)).format == got


async def test_short_count_is_one_image_less_and_billed_so() -> None:
    async with bench(faults="short-count=1") as b:
        assert len((await b.client.edit([GOOD], {"n": "3"})).images()) == 2
        assert b.server.bill.images == 2
        assert len((await b.client.edit([GOOD])).images()) == 1


def test_every_fault_is_shown_here(anyio_backend: object) -> None:
    """Faults named in this file's tests are all there are."""
    text = Path(__file__).read_text("utf-8")
    missing = [f for f in Fault if f.value not in text and f"Fault.{f.name}" not in text]
    assert missing == []
    assert set(Fault) >= UNBILLED
