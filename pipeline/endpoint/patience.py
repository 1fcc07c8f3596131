"""How long an answer is waited for: the time limit of one exchange, which stands still while this process does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipeline.awake import Countdown


class Patience:
    """Calls `over` once `seconds` have passed, counted as `Countdown` does; begins at once, in the running loop."""

    def __init__(self, seconds: float, over: Callable[[], None]) -> None:
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._countdown = Countdown(seconds)
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def end(self) -> None:
        """Wait no longer; `over` is not called."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        tick = self._countdown.tick
        if tick:
            self._timer = self._loop.call_later(tick, self._waited, tick, self._loop.time())
        else:
            self._over()

    def _waited(self, tick: float, began: float) -> None:
        self._countdown.waited(tick, self._loop.time() - began)
        self._wait()
