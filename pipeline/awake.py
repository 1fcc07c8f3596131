"""Waiting that stands still while this process does.

A process that was stopped (SIGSTOP, Ctrl-Z, a frozen container) wakes up with its timers over and the answers that it
waited for unread in its sockets. Giving these up would throw away what was paid for, and buy it again.

1. Time counts in ticks; one that ends late, as nothing ran meanwhile, counts for hardly more than it should have.
2. When the end comes in such a tick, a while is left, once, in which what has arrived is read.
"""

from __future__ import annotations

import anyio

TICK = 1.0
"""Longest tick, in seconds."""
SLACK = 0.25
"""Seconds that a tick may be late for want of a processor; a later one tells of a stop."""
GRACE = 10.0
"""Seconds, at most, that are left after a stop in the last tick."""


class Countdown:
    """`left` seconds that pass only while the process runs; pure, its caller does the waiting."""

    def __init__(self, left: float) -> None:
        self.left = left
        self._grace = min(GRACE, left)

    @property
    def tick(self) -> float:
        """Seconds to wait before the next `waited`; 0 when the time is over."""
        return max(0.0, min(TICK, self.left))

    def waited(self, asked: float, took: float) -> bool:
        """Count a wait of `asked` seconds that took `took`; whether the process was stopped meanwhile."""
        stopped = took > asked + SLACK
        self.left -= min(took, asked + SLACK)
        if stopped and self.left < self._grace:
            self.left, self._grace = self._grace, 0.0
        return stopped


async def sleep_awake(seconds: float) -> None:
    """Sleep for so many seconds in which the process runs."""
    countdown = Countdown(seconds)
    while tick := countdown.tick:
        began = anyio.current_time()
        await anyio.sleep(tick)
        countdown.waited(tick, anyio.current_time() - began)
