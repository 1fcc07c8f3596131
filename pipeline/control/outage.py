"""When an endpoint counts as down: ten minutes of nothing but connection failures, 5xx and throttling."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.outcome import Outcome

OUTAGE = 600.0
"""Seconds without any sign of life after which a run drains."""


def shows_life(outcome: Outcome, status: int | None) -> bool:
    """Whether an attempt's end proves that the endpoint works: an answer other than 429 or 5xx."""
    if outcome in (Outcome.THROTTLED, Outcome.UNSENT):
        return False
    return status is not None and status < 500


@dataclass(slots=True)
class OutageClock:
    """Counts the seconds since the first failure that no sign of life has followed; `now` is monotonic."""

    limit: float = OUTAGE
    since: float | None = None

    def observe(self, outcome: Outcome, status: int | None, now: float) -> bool:
        """Take in the end of an attempt; True when the endpoint counts as down."""
        if shows_life(outcome, status):
            self.since = None
            return False
        if self.since is None:
            self.since = now
        return now - self.since >= self.limit

    def restart(self) -> None:
        """Count anew: a pause that the server asked for, and got, is no outage."""
        self.since = None
