"""A thread's work, done as long as there is some, and called for again when more comes.

1. `work` runs in one thread at a time, and returns once nothing is `waiting`; in between no event loop holds it up.
2. What is put in line before `ring` is worked on: none is left lying.
3. Where no thread can be started it is done on the event loop, which then waits.
4. What `work` raises ends `serve`, which raises it: nothing is worked on after that.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable

import anyio
from anyio import CapacityLimiter

from pipeline.threads import in_thread


class Stage:
    """`waiting` tells whether there is work; `work` does it, blocking."""

    def __init__(self, waiting: Callable[[], object], work: Callable[[AbstractEventLoop], None]) -> None:
        self._waiting = waiting
        self._work = work
        self._bell = anyio.Event()

    def ring(self) -> None:
        """Look for work again; on the event loop."""
        self._bell.set()

    async def serve(self, loop: AbstractEventLoop, limiter: CapacityLimiter, over: Callable[[], bool]) -> None:
        """Work in a thread under `limiter` until there is none and it is `over`."""
        while True:
            if self._waiting():
                await in_thread(lambda: self._work(loop), limiter)
            elif over():
                return
            else:
                self._bell = anyio.Event()
                await self._bell.wait()
