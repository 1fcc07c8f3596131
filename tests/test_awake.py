"""Time that passes only while the process runs."""

from __future__ import annotations

import time

import anyio
import pytest

from pipeline.awake import GRACE, SLACK, TICK, Countdown, sleep_awake


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("seconds", "waits", "left"),
    [
        (600, [(1, 1.0)], 599.0),
        (600, [(1, 1.1)], 598.9),
        (600, [(1, 1 + SLACK)], 599 - SLACK),
        (600, [(1, 3600)], 599 - SLACK),
        (600, [(1, 3600)] * 3, 597 - 3 * SLACK),
        (600, [(1, 1.0)] * 600, 0),
        (600, [(1, 1.0)] * 599 + [(1, 3600)], GRACE),
        (600, [(1, 1.0)] * 599 + [(1, 3600), (1, 3600)], GRACE - 1 - SLACK),
        (600, [(1, 1.0)] * 595 + [(1, 3600)], GRACE),
        (0.5, [(0.5, 0.5)], 0),
        (0.5, [(0.5, 60)], 0.5),
        (0.5, [(0.5, 60), (0.5, 60)], 0),
    ],
)
def test_a_late_tick_counts_for_hardly_more_than_it_should(
    seconds: float, waits: list[tuple[float, float]], left: float
) -> None:
    """Each wait is what was asked for and what it took; after one that was late a while is left, once."""
    countdown = Countdown(seconds)
    for asked, took in waits:
        assert countdown.waited(asked, took) == (took > asked + SLACK)
    assert countdown.left == pytest.approx(left)


@pytest.mark.parametrize(("left", "tick"), [(600, TICK), (0.3, 0.3), (0, 0), (-1, 0)])
def test_a_tick_is_at_most_a_second_and_never_negative(left: float, tick: float) -> None:
    """What is left may be less than a tick."""
    assert Countdown(left).tick == tick


@pytest.mark.anyio
async def test_a_sleep_outlasts_a_stop() -> None:
    """A process that does not run for longer than it meant to sleep sleeps on when it runs again."""
    ended: list[float] = []

    async def sleep() -> None:
        await sleep_awake(0.5)
        ended.append(time.monotonic())

    async with anyio.create_task_group() as group:
        group.start_soon(sleep)
        await anyio.sleep(0.1)
        time.sleep(1.0)  # noqa: ASYNC251 - the loop stands still, as in a stopped process
        back = time.monotonic()
    assert 0.4 < ended[0] - back < 5
