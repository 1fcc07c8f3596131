"""Whether an endpoint works at all: the breaker between its failures and the tasks.

1. `THRESHOLD` failures in a row, requests that could not be sent or were answered with a 5xx, open it. A throttled
   request, or one cut off without an answer, is no such failure, and does not end the row either.
2. While it is open one request at a time passes, always of the same task: the first that asks, until that task ends.
   So an outage, of which each 5xx may have been billed, costs probes and no more.
3. Probes follow at growing intervals. Any sign of life closes it, whoever brings it.
4. The endpoint is down after ten minutes without a sign of life, throttling included.
"""

from __future__ import annotations

from enum import Enum

from pipeline.outcome import Outcome

OUTAGE = 600.0
"""Seconds without any sign of life after which an endpoint counts as down."""
LONGEST_PAUSES = 3600.0
"""Seconds of pauses that an endpoint may ask for without a sign of life between them."""
THRESHOLD = 5
FIRST_INTERVAL = 1.0
LONGEST_INTERVAL = 60.0
"""Seconds from the end of a probe to the next: doubled each time up to this."""


class Position(Enum):
    """`CLOSED`: all pass; `OPEN`: the next probe is awaited; `PROBING`: it is under way."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


def shows_life(outcome: Outcome, status: int | None) -> bool:
    """Whether an attempt's end proves that the endpoint works: an answer other than 429 or 5xx."""
    if outcome in (Outcome.THROTTLED, Outcome.UNSENT):
        return False
    return status is not None and status < 500


def is_failure(outcome: Outcome, status: int | None) -> bool:
    """Whether an attempt's end counts towards opening."""
    if outcome is Outcome.UNSENT:
        return True
    return outcome is not Outcome.THROTTLED and status is not None and status >= 500


class Breaker:
    """The breaker of one endpoint; `now` is monotonic seconds.

    `since` is when the first failure came that no sign of life has followed, None where none did.
    """

    def __init__(self, threshold: int = THRESHOLD, outage: float = OUTAGE) -> None:
        self.outage = outage
        self.since: float | None = None
        self._threshold = threshold
        self._failures = 0
        self._position = Position.CLOSED
        self._probe: str | None = None
        self._next_probe = 0.0
        self._interval = FIRST_INTERVAL
        self._paused = 0.0

    @property
    def position(self) -> Position:
        """Whether requests pass."""
        return self._position

    def is_probe(self, task: str) -> bool:
        """Whether the task is the one whose requests pass while the breaker is open."""
        return self._position is not Position.CLOSED and self._probe == task

    def may_pass(self, task: str, now: float) -> bool:
        """Whether the task's request may be sent now."""
        return self.wait(task, now) == 0

    def wait(self, task: str, now: float) -> float:
        """Seconds until the task may ask again, 0 where its request may be sent now.

        What changes by an end (a probe's, or a task's) is not foreseen: whoever waits looks again then.
        """
        if self._position is Position.CLOSED:
            return 0.0
        if self._position is Position.PROBING or self._probe not in (None, task):
            return LONGEST_INTERVAL
        return max(0.0, self._next_probe - now)

    def on_start(self, task: str, now: float) -> bool:  # noqa: ARG002 - each event carries its time
        """A request of the task is sent; whether it is a probe."""
        if self._position is Position.CLOSED:
            return False
        self._position, self._probe = Position.PROBING, task
        return True

    def on_end(self, outcome: Outcome, status: int | None, now: float, probe: bool = False) -> None:
        """A request ended; `probe` is what `on_start` said of it. Not for ends of our own making."""
        if shows_life(outcome, status):
            self._close()
            return
        if self.since is None:
            self.since = now
        self._failures += is_failure(outcome, status)
        if self._position is Position.CLOSED and self._failures >= self._threshold:
            self._position, self._next_probe = Position.OPEN, now + self._interval
        elif probe:
            self.end_probe(now)

    def end_probe(self, now: float) -> None:
        """The probe came to no answer, or to an end of our own making: the next follows after a longer interval."""
        if self._position is Position.PROBING:
            self._interval = min(LONGEST_INTERVAL, 2 * self._interval)
            self._position, self._next_probe = Position.OPEN, now + self._interval

    def release(self, task: str) -> None:
        """The task ended, or will not ask again: another may take its place as the probe."""
        if self._probe == task:
            self._probe = None
            if self._position is Position.PROBING:
                self._position = Position.OPEN

    def down(self, now: float) -> bool:
        """Whether no sign of life has come for ten minutes."""
        return self.since is not None and now - self.since >= self.outage

    def restart(self) -> None:
        """Count the ten minutes anew: in the time before nobody could have seen a sign of life."""
        self.since = None

    def pause(self, seconds: float) -> None:
        """A pause that the endpoint asked for, and got, is no outage; an hour of nothing but such pauses is one."""
        self._paused += seconds
        if self._paused <= LONGEST_PAUSES:
            self.since = None

    def _close(self) -> None:
        self.since = None
        self._paused = 0.0
        self._failures = 0
        self._position, self._probe = Position.CLOSED, None
        self._interval = FIRST_INTERVAL
