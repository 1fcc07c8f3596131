"""Rates, capacities that change, and gateways that give up: the pure rules, and as a client meets them."""

from __future__ import annotations

from typing import Any

import aiohttp
import anyio
import msgspec
import pytest
from msgspec.structs import replace

from pipeline.errors import JobError
from pipeline.run.embedded import settings_of
from pipeline.sandbox.bill import LONGEST, Bill, Second
from pipeline.sandbox.capacity import Step, capacity_at, parse_capacity, steps_of
from pipeline.sandbox.latency import Latency
from pipeline.sandbox.settings import Sandbox
from tests.sandbox.pictures import File, picture
from tests.sandbox.serving import QUICK, Bench, bench, until

GOOD = File(picture())
SLOW = Latency(seconds=0.3)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("64", (Step(64),)),
        ("0", (Step(0),)),
        ("64,8@30s,64@60s", (Step(64), Step(8, 30.0), Step(64, 60.0))),
        (" 64 , 8@0.5 ", (Step(64), Step(8, 0.5))),
    ],
)
def test_a_capacity_and_its_changes_are_read(text: str, steps: tuple[Step, ...]) -> None:
    """A number from the start on, then numbers with their times."""
    assert parse_capacity(text) == steps


@pytest.mark.parametrize("text", ["", "x", "-1", "8@30s", "64,8", "64,8@x", "64,8@30s,64@30s", "64,8@0s", "6_4", "٣"])
def test_what_is_no_capacity_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match=r"expected|increase"):
        parse_capacity(text)


@pytest.mark.parametrize(
    ("seconds", "limit"), [(0.0, 64), (29.9, 64), (30.0, 8), (59.9, 8), (60.0, 64), (10_000.0, 64)]
)
def test_a_capacity_holds_from_its_time_on(seconds: float, limit: int) -> None:
    """The last step that has begun counts."""
    assert capacity_at(parse_capacity("64,8@30s,64@60s"), seconds) == limit


@pytest.mark.parametrize(("capacity", "limit"), [(None, None), (3, 3), ((Step(4),), 4), ((Step(4, 9.0),), None)])
def test_a_capacity_may_be_a_number_steps_or_none(capacity: Any, limit: int | None) -> None:
    """Before the first step begins there is no limit."""
    assert capacity_at(steps_of(capacity), 1.0) == limit


def test_the_bill_counts_by_second_and_fills_the_gaps() -> None:
    """A second in which nothing came is there with zeros; what is turned away is not accepted."""
    bill = Bill()
    for seconds, throttled in ((0.0, False), (0.9, True), (3.2, False), (1.5, True)):
        bill.judge(seconds, throttled=throttled)
    assert bill.by_second == [Second(1, 1), Second(0, 1), Second(), Second(1, 0)]
    assert bill.throttled == 2


def test_the_bill_by_second_is_bounded() -> None:
    """A sandbox that serves for days keeps an hour of it, and goes on counting."""
    bill = Bill()
    for seconds in (LONGEST - 1, LONGEST, 10.0**9):
        bill.judge(seconds, throttled=True)
    assert (len(bill.by_second), bill.throttled) == (LONGEST, 3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Sandbox()),
        ({"capacity": "2,1@5s"}, Sandbox(capacity=(Step(2), Step(1, 5.0)))),
        ({"overload_status": 429}, Sandbox(overload_status=429)),
        ({"gateway_cut": "2s", "latency": "3s"}, Sandbox(gateway_cut=2.0, latency=Latency(seconds=3.0))),
        ({"requests_per_minute": 600, "burst": 1, "rate_headers": False},
         Sandbox(requests_per_minute=600, burst=1, rate_headers=False)),
    ],
)  # fmt: skip
def test_options_become_settings(options: dict[str, Any], expected: Sandbox) -> None:
    """Each option has its effect, and none another's."""
    plain: dict[str, Any] = {"faults": "", "latency": None, "capacity": None, "gateway_cut": None}
    assert settings_of(**plain | options) == expected


@pytest.mark.parametrize(
    ("options", "flag"),
    [({"capacity": "many"}, "--capacity"), ({"gateway_cut": "soon"}, "--gateway-cut"), ({"burst": 5}, "--burst")],
)
def test_an_option_that_cannot_be_used_is_named(options: dict[str, Any], flag: str) -> None:
    """A burst without a rate would do nothing, silently."""
    plain: dict[str, Any] = {"faults": "", "latency": None, "capacity": None, "gateway_cut": None}
    with pytest.raises(JobError) as caught:
        settings_of(**plain | options)
    assert [problem.where for problem in caught.value.problems] == [flag]


async def at_once(b: Bench, number: int) -> list[int]:
    """The statuses of so many edits at the same time, sorted."""
    statuses: list[int] = []

    async def edit() -> None:
        statuses.append((await b.client.edit([GOOD])).status)

    async with anyio.create_task_group() as group:
        for _ in range(number):
            group.start_soon(edit)
    return sorted(statuses)


@pytest.mark.anyio
async def test_a_rate_may_be_hidden() -> None:
    """429s alone: nothing tells the allowance, nor when to come again."""
    async with bench(replace(QUICK, requests_per_minute=6, burst=1, rate_headers=False, retry_after=False)) as b:
        first, second = [await b.client.edit([GOOD]) for _ in range(2)]
        assert (first.status, second.status, second.code) == (200, 429, "rate_limit_exceeded")
        told = [name for reply in (first, second) for name in reply.headers if "ratelimit" in name or "retry" in name]
        assert told == []


@pytest.mark.anyio
async def test_a_hidden_rate_may_still_say_when_to_come_again() -> None:
    """Retry-After does not depend on the x-ratelimit headers."""
    async with bench(replace(QUICK, requests_per_minute=6, burst=1, rate_headers=False)) as b:
        reply = [await b.client.edit([GOOD]) for _ in range(2)][1]
        assert "retry-after" in reply.headers
        assert not any("ratelimit" in name for name in reply.headers)


@pytest.mark.anyio
async def test_above_the_capacity_429_may_be_answered() -> None:
    """Some endpoints say `slow_down` instead of being overloaded."""
    async with bench(replace(QUICK, latency=SLOW, capacity=1, overload_status=429)) as b:
        assert await at_once(b, 2) == [200, 429]


@pytest.mark.anyio
async def test_the_capacity_changes_with_time() -> None:
    """Counted from the first request on, however long the server stood idle before it."""
    async with bench(replace(QUICK, latency=SLOW, capacity=(Step(1), Step(3, 1.5)))) as b:
        await anyio.sleep(0.6)
        assert await at_once(b, 3) == [200, 503, 503]
        await anyio.sleep(1.5)
        assert await at_once(b, 3) == [200] * 3


@pytest.mark.anyio
async def test_a_reset_begins_anew() -> None:
    """The next request is the first one for the capacity, and for the seconds of the bill."""
    async with bench(replace(QUICK, latency=SLOW, capacity=(Step(1), Step(3, 0.6)))) as b:
        await b.client.edit([GOOD])
        await anyio.sleep(0.7)
        await b.client.post("/sandbox/reset", "")
        assert await at_once(b, 2) == [200, 503]
        assert b.server.bill.by_second == [Second(1, 1)]


@pytest.mark.anyio
async def test_the_bill_tells_what_was_turned_away() -> None:
    """By the rate, for want of capacity, or by a fault: the figures of a benchmark, over HTTP."""
    async with bench(replace(QUICK, latency=SLOW, capacity=1)) as b:
        await at_once(b, 3)
        await b.client.post("/sandbox/faults", "rate=1")
        await b.client.edit([GOOD])
        bill = msgspec.json.decode((await b.client.get("/sandbox/bill")).body)
    assert (bill["requests"], bill["billed"], bill["throttled"]) == (4, 1, 3)
    assert sum(second["accepted"] for second in bill["by_second"]) == 1
    assert sum(second["throttled"] for second in bill["by_second"]) == 3


@pytest.mark.anyio
async def test_a_gateway_cuts_the_connection_and_the_work_is_billed() -> None:
    """No byte of an answer comes, after the time that was set; the bill stands."""
    async with bench(replace(QUICK, latency=Latency(seconds=5.0), gateway_cut=0.3)) as b:
        started = anyio.current_time()
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await b.client.edit([GOOD])
        assert 0.3 <= anyio.current_time() - started < 3
        await until(lambda: b.server.bill.in_flight == 0)
        assert (b.server.bill.billed, b.server.bill.images) == (1, 1)
        assert b.server.bill.statuses == {"none": 1}


@pytest.mark.anyio
async def test_what_a_gateway_gave_up_still_takes_up_capacity() -> None:
    """The work goes on behind it until it would have been answered: who comes back at once meets a full house."""
    async with bench(replace(QUICK, latency=Latency(seconds=1.2), gateway_cut=0.2, capacity=1)) as b:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await b.client.edit([GOOD])
        assert (await b.client.edit([GOOD])).status == 503
        await anyio.sleep(1.2)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await b.client.edit([GOOD])
        assert b.server.bill.billed == 2


@pytest.mark.anyio
async def test_an_answer_in_time_passes_the_gateway() -> None:
    """Only what takes longer is cut."""
    async with bench(replace(QUICK, gateway_cut=5.0)) as b:
        assert (await b.client.edit([GOOD])).status == 200
