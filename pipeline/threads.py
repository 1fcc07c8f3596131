"""Blocking work in threads, also where the machine has none left to give."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")


async def in_thread(work: Callable[[], T], limiter: CapacityLimiter) -> T:
    """Do blocking work in a thread and wait for it, even when cancelled.

    Where no thread can be started (a limit on processes, no memory for a stack) it is done here and now, and everything
    else waits: slow, but a paid result that comes in is stored. Raises what the work raises.
    """
    started = False

    def begun() -> T:
        nonlocal started
        started = True
        return work()

    try:
        return await to_thread.run_sync(begun, limiter=limiter)
    except (RuntimeError, MemoryError):
        if started:
            raise
        return work()
