"""A run that was stopped for a while and goes on. The loop standing still is what a stop looks like from inside."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from pipeline.control.breaker import Breaker
from pipeline.run import stops
from pipeline.run.exits import Exit
from pipeline.run.halt import Halt
from pipeline.run.stops import heed_stops, sleep_spread

pytestmark = pytest.mark.anyio


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the functions look at; `told` are the notes. A tenth of a second is worth telling."""
    monkeypatch.setattr(stops, "WORTH_TELLING", 0.1)
    monkeypatch.setattr(stops, "BETWEEN_LOOKS", 0.02)
    told: list[str] = []
    chances = iter((0.1, 0.9, 0.5))
    chance = SimpleNamespace(random=lambda: next(chances))
    breaker = Breaker()
    breaker.since = 5.0
    lanes = (SimpleNamespace(breaker=breaker),)
    return SimpleNamespace(halt=Halt(told.append), told=told, lanes=lanes, chance=chance)


async def watch(context: Any, stop: float) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(heed_stops, context)
        await anyio.sleep(0.1)
        time.sleep(stop)  # noqa: ASYNC251 - the loop stands still, as in a stopped process
        await anyio.sleep(0.1)
        group.cancel_scope.cancel()


async def test_the_time_of_a_stop_does_not_show_that_an_endpoint_is_down(context: Any) -> None:
    """The ten minutes of an outage count anew, and the user is told of the stop once."""
    await watch(context, 0.6)
    assert context.lanes[0].breaker.since is None
    assert context.told == ["this process was stopped for 1s, and goes on"]


async def test_a_run_that_goes_on_is_told_nothing(context: Any) -> None:
    """The outage goes on counting."""
    await watch(context, 0)
    assert (context.lanes[0].breaker.since, context.told) == (5.0, [])


async def wakings(context: Any, stop: float) -> list[float]:
    """When three tasks with the same backoff woke, from the moment at which the process went on."""
    woken: list[float] = []

    async def one() -> None:
        await sleep_spread(context, 0.4)
        woken.append(time.monotonic())

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(one)
        await anyio.sleep(0.05)
        time.sleep(stop)  # noqa: ASYNC251 - the loop stands still, as in a stopped process
        on = time.monotonic()
    return [when - on for when in woken]


async def test_tasks_whose_backoffs_ended_in_a_stop_do_not_return_at_once(context: Any) -> None:
    """Each waits a share of its backoff more, so that jitter outlives the stop."""
    first, second, third = sorted(await wakings(context, 1.2))
    assert first >= 0.03
    assert second - first > 0.1
    assert third - second > 0.1


async def test_without_a_stop_a_backoff_is_as_long_as_it_is(context: Any) -> None:
    """Nothing is added."""
    assert max(await wakings(context, 0)) < 0.6


async def test_a_drain_ends_a_spread_sleep(context: Any) -> None:
    """A run that ends waits for nobody's backoff."""
    context.halt.drain(Exit.OUTAGE, "over")
    with anyio.fail_after(1):
        await sleep_spread(context, 60)
