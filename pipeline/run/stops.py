"""What a run does after it was stopped for a while and goes on: SIGSTOP, Ctrl-Z and fg, a frozen container."""

from __future__ import annotations

import anyio

from pipeline.awake import SLACK
from pipeline.run.context import Context
from pipeline.run.progress import duration

WORTH_TELLING = 60.0
"""Seconds; a shorter halt may be a machine that is busy elsewhere, and changes little."""
BETWEEN_LOOKS = 1.0
"""Seconds between two looks at the clock."""
SPREAD = 10.0
"""Seconds, at most, over which tasks are spread whose backoffs all ended while the process was stopped."""


async def heed_stops(context: Context) -> None:
    """Notice stops until cancelled: the time in which nothing was tried does not show that an endpoint is down."""
    while True:
        began = anyio.current_time()
        await anyio.sleep(BETWEEN_LOOKS)
        away = anyio.current_time() - began - BETWEEN_LOOKS
        if away > WORTH_TELLING:
            for lane in context.lanes:
                lane.breaker.restart()
            context.halt.note(f"this process was stopped for {duration(away)}, and goes on")


async def sleep_spread(context: Context, seconds: float) -> None:
    """Sleep until a drain at most; who is woken late for a stop waits a little more, so that not all return at once."""
    began = anyio.current_time()
    await context.halt.sleep(seconds)
    if anyio.current_time() - began > seconds + SLACK:
        await context.halt.sleep(context.chance.random() * min(seconds, SPREAD))
