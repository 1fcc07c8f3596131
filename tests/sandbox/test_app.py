"""Routes, headers, limits and the bill of a served sandbox."""

from __future__ import annotations

import os
import sys
from io import BytesIO
from pathlib import Path

import anyio
import msgspec
import pytest
from msgspec.structs import replace
from PIL import Image

from pipeline.sandbox.latency import Latency
from tests.sandbox.pictures import File, picture
from tests.sandbox.serving import QUICK, bench, until

pytestmark = pytest.mark.anyio
GOOD = File(picture())


async def test_an_edit_is_answered_with_its_images_and_usage() -> None:
    async with bench() as b:
        reply = await b.client.edit([GOOD], {"n": "2", "size": "1536x1024", "quality": "medium"})
        images = reply.images()
        assert [Image.open(BytesIO(image)).size for image in images] == [(1536, 1024)] * 2
        assert images[0] != images[1]
        assert reply.answer.usage is not None
        assert reply.answer.usage.output_tokens == 2 * 1568
        assert reply.answer.usage.input_tokens == 194 + 5


async def test_a_drawn_edit_differs_from_its_input_and_from_its_repetition() -> None:
    async with bench(replace(QUICK, plain=False)) as b:
        first, second = [(await b.client.edit([GOOD])).images()[0] for _ in range(2)]
        assert len({GOOD.data, first, second}) == 3


@pytest.mark.parametrize(
    "path", ["/v1/images/edits", "/images/edits", "/openai/deployments/d/images/edits?api-version=2026-01-01"]
)
async def test_any_path_that_ends_in_images_edits_is_the_endpoint(path: str) -> None:
    async with bench() as b:
        assert (await b.client.edit([GOOD], path=path)).status == 200


@pytest.mark.parametrize(("path", "status"), [("/v1/nothing", 404), ("/v1/images/edits", 405)])
async def test_errors_of_routing_carry_the_envelope_and_a_request_id(path: str, status: int) -> None:
    async with bench() as b:
        reply = await b.client.get(path)
        assert (reply.status, reply.code) == (status, None)
        assert reply.headers["x-request-id"].startswith("req_")


async def test_models_are_listed() -> None:
    async with bench() as b:
        assert b'"gpt-image-1.5"' in (await b.client.get("/v1/models")).body


async def test_the_bill_counts_what_was_sent_and_what_was_billed() -> None:
    async with bench(replace(QUICK, keep_log=True)) as b:
        key = {"Idempotency-Key": "k1"}
        b.client.headers.update(key)
        good = await b.client.edit([GOOD], {"n": "2"})
        await b.client.edit([GOOD], {"n": "2"})
        await b.client.edit([GOOD], {"n": "99"})
        bill = msgspec.json.decode((await b.client.get("/sandbox/bill")).body)
        assert good.answer.usage is not None
        assert (bill["requests"], bill["billed"], bill["images"]) == (3, 2, 4)
        assert bill["usage"]["total_tokens"] == 2 * good.answer.usage.total_tokens
        assert bill["statuses"] == {"200": 2, "400": 1}
        assert bill["idempotency_keys"] == {"k1": 3}
        assert list(bill["edits"].values()) == [2]
        assert (bill["in_flight"], bill["max_in_flight"]) == (0, 1)
        assert [(entry["status"], entry["billed"]) for entry in bill["log"]] == [(200, True), (200, True), (400, False)]


async def test_a_reset_bill_is_empty() -> None:
    async with bench() as b:
        await b.client.edit([GOOD])
        reply = await b.client.post("/sandbox/reset", b"")
        assert msgspec.json.decode(reply.body)["billed"] == 0
        assert not b.server.bill.edits


async def test_the_bill_file_holds_each_billed_request_before_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "bill.jsonl"
    async with bench(replace(QUICK, bill_file=path), "reset=1") as b:
        with pytest.raises(OSError):  # noqa: PT011 - aiohttp raises one of several connection errors
            await b.client.edit([GOOD], {"n": "3"})
        lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
        assert [line["images"] for line in lines] == [3]
        assert lines[0]["edit"] in b.server.bill.edits


async def test_requests_in_flight_are_counted_at_their_peak() -> None:
    async with bench(replace(QUICK, latency=Latency(seconds=0.3))) as b:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(b.client.edit, [GOOD])
        assert (b.server.bill.max_in_flight, b.server.bill.in_flight) == (5, 0)


async def test_a_client_that_leaves_is_billed_and_no_longer_in_flight() -> None:
    async with bench(replace(QUICK, latency=Latency(seconds=30))) as b:
        with anyio.move_on_after(0.5):
            await b.client.edit([GOOD])
        await until(lambda: b.server.bill.in_flight == 0)
        assert b.server.bill.billed == 1
        assert b.server.bill.statuses == {"none": 1}


async def test_an_unfinished_upload_is_not_a_request() -> None:
    async with bench() as b:
        stream = await anyio.connect_tcp("127.0.0.1", b.server.port)
        await stream.send(
            b"POST /v1/images/edits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 5000\r\n\r\n"
            b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nhel'
        )
        await anyio.sleep(0.1)
        await stream.aclose()
        await anyio.sleep(0.1)
        assert b.server.bill.requests == 0


async def test_the_rate_limit_answers_429_with_retry_after_and_its_state() -> None:
    async with bench(replace(QUICK, requests_per_minute=6, burst=1)) as b:
        first, second = [await b.client.edit([GOOD]) for _ in range(2)]
        assert first.headers["x-ratelimit-limit-requests"] == "6"
        assert first.headers["x-ratelimit-remaining-requests"] == "0"
        assert first.headers["x-ratelimit-reset-requests"] == "10s"
        assert (second.status, second.code) == (429, "rate_limit_exceeded")
        assert 1 <= int(second.headers["retry-after"]) <= 10
        assert 0 < int(second.headers["retry-after-ms"]) <= 10_000
        assert b.server.bill.billed == 1


async def test_above_its_capacity_the_endpoint_is_overloaded() -> None:
    statuses: list[int] = []
    async with bench(replace(QUICK, latency=Latency(seconds=0.3), capacity=2)) as b:

        async def edit() -> None:
            statuses.append((await b.client.edit([GOOD])).status)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(edit)
    assert sorted(statuses) == [200, 200, 503]


async def test_the_latency_is_waited_for() -> None:
    async with bench(replace(QUICK, latency=Latency(seconds=0.1)), "slow=0.3") as b:
        started = anyio.current_time()
        await b.client.edit([GOOD])
        assert anyio.current_time() - started >= 0.4


async def test_faults_change_at_run_time() -> None:
    async with bench() as b:
        assert (await b.client.post("/sandbox/faults", "quota=1")).status == 200
        assert (await b.client.edit([GOOD])).code == "insufficient_quota"
        assert (await b.client.post("/sandbox/faults", "")).status == 200
        assert (await b.client.edit([GOOD])).status == 200
        assert (await b.client.post("/sandbox/faults", "quoto=1")).status == 400


async def test_the_same_seed_meets_the_same_faults() -> None:
    runs = []
    for _ in range(2):
        async with bench(faults="error-500=0.5,seed=4") as b:
            runs.append([(await b.client.edit([GOOD])).status for _ in range(8)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}


async def test_large_uploads_are_taken_whole() -> None:
    image = Image.effect_noise((1800, 1800), 100).convert("RGB")
    data = BytesIO()
    image.save(data, "PNG", compress_level=0)
    assert len(data.getvalue()) > 9_000_000
    async with bench() as b:
        reply = await b.client.edit([File(data.getvalue(), "image[]"), GOOD])
        assert reply.status == 200


async def test_an_answer_of_many_megabytes_arrives_whole() -> None:
    noise = BytesIO()
    Image.effect_noise((512, 512), 100).convert("RGB").save(noise, "PNG")
    async with bench(replace(QUICK, plain=False)) as b:
        reply = await b.client.edit([File(noise.getvalue())], {"prompt": "warm", "n": "2"})
        assert len(reply.body) > 2_000_000
        assert len(set(reply.images())) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="counts the descriptors in /proc")
@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": loop}) for loop in (False, True)])
async def test_a_reset_leaks_no_descriptor() -> None:
    async with bench(faults="reset=1") as b:
        counts = []
        for _ in range(6):
            with pytest.raises(OSError):  # noqa: PT011 - aiohttp raises one of several connection errors
                await b.client.edit([GOOD])
            await anyio.sleep(0.02)
            counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[-1] <= counts[1]
