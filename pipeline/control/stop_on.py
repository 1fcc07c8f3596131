"""When a run gives up because too much fails or ends in doubt."""

from __future__ import annotations

FAILURES_FROM = 20
"""Finished tasks (done or failed) from which the share of failures is judged."""
IN_DOUBT_FROM = 50
"""Settled attempts from which the share in doubt is judged."""


def too_many_failures(failed: int, done: int, limit: float | None) -> bool:
    """Whether more than `limit` of this run's finished tasks failed."""
    finished = failed + done
    return limit is not None and finished >= FAILURES_FROM and failed > limit * finished


def too_many_in_doubt(in_doubt: int, settled: int, limit: float | None) -> bool:
    """Whether more than `limit` of this run's attempts ended in doubt."""
    return limit is not None and settled >= IN_DOUBT_FROM and in_doubt > limit * settled


def common_cut(seconds: list[float]) -> float | None:
    """The time at which a gateway seems to cut connections: the median, when most attempts in doubt lasted about that.

    `seconds` are the durations of attempts in doubt. None when they do not agree within a tenth.
    """
    if len(seconds) < 3:
        return None
    middle = sorted(seconds)[len(seconds) // 2]
    close = sum(abs(value - middle) <= 0.1 * middle for value in seconds)
    return middle if middle >= 1.0 and close >= 0.8 * len(seconds) else None
