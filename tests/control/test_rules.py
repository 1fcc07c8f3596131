from __future__ import annotations

import pytest

from pipeline.control.breaker import Breaker
from pipeline.control.pause import Pause, judge_pause
from pipeline.control.retry import backoff, wait_seconds
from pipeline.control.stop_on import common_cut, too_many_failures, too_many_in_doubt
from pipeline.outcome import Outcome


@pytest.mark.parametrize(
    ("tries", "max_wait", "random", "seconds"),
    [(1, 120, 1.0, 1), (2, 120, 1.0, 2), (5, 120, 0.5, 8), (9, 120, 1.0, 120), (10_000, 120, 1.0, 120), (3, 2, 1.0, 2)],
)
def test_backoff_doubles_below_the_cap(tries: int, max_wait: float, random: float, seconds: float) -> None:
    """A backoff is a random share of a ceiling that doubles with each try up to max_wait."""
    assert backoff(tries, max_wait, lambda: random) == seconds


def test_backoff_has_full_jitter() -> None:
    """With the smallest random number the wait is nothing at all."""
    assert backoff(5, 120, lambda: 0.0) == 0.0


@pytest.mark.parametrize(
    ("retry_after", "random", "seconds"), [(30.0, 0.0, 30.0), (30.0, 1.0, 31.0), (0.0, 1.0, 0.0), (2.0, 0.5, 2.1)]
)
def test_retry_after_wins_over_the_backoff(retry_after: float, random: float, seconds: float) -> None:
    """A task waits at least as long as the server says, and at most a second longer."""
    assert wait_seconds(1, retry_after, 120, lambda: random) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("retry_after", "time_left", "pause"),
    [
        (None, None, Pause.NONE),
        (120.0, None, Pause.NONE),
        (121.0, None, Pause.PAUSE),
        (3600.0, None, Pause.PAUSE),
        (3601.0, None, Pause.STOP),
        (300.0, 299.0, Pause.STOP),
        (300.0, 301.0, Pause.PAUSE),
    ],
)
def test_a_long_retry_after_pauses_or_stops(retry_after: float | None, time_left: float | None, pause: Pause) -> None:
    """Beyond max_wait the run pauses while the pause ends within an hour and within its time."""
    assert judge_pause(retry_after, 120.0, time_left) is pause


def test_ten_minutes_of_throttling_are_an_outage() -> None:
    """Throttling, unsent and 5xx alone for ten minutes make an outage; any other answer starts anew."""
    breaker = Breaker()

    def down(outcome: Outcome, status: int | None, now: float) -> bool:
        breaker.on_end(outcome, status, now)
        return breaker.down(now)

    assert not down(Outcome.THROTTLED, 429, 0.0)
    assert not down(Outcome.UNSENT, None, 599.0)
    assert down(Outcome.IN_DOUBT, 502, 600.0)
    assert not down(Outcome.REFUSED, 400, 601.0)
    assert not down(Outcome.THROTTLED, 429, 602.0)
    assert not down(Outcome.THROTTLED, 429, 1201.0)
    assert down(Outcome.THROTTLED, 429, 1202.0)


def test_an_obeyed_pause_is_no_outage() -> None:
    """After a pause that the server asked for the clock counts anew."""
    breaker = Breaker()
    breaker.on_end(Outcome.THROTTLED, 429, 0.0)
    breaker.restart()
    breaker.on_end(Outcome.THROTTLED, 429, 3000.0)
    assert not breaker.down(3000.0)
    breaker.on_end(Outcome.THROTTLED, 429, 3600.0)
    assert breaker.down(3600.0)


@pytest.mark.parametrize(
    ("failed", "done", "limit", "stop"),
    [(19, 0, 0.2, False), (20, 0, 0.2, True), (4, 16, 0.2, False), (5, 15, 0.2, True), (20, 0, None, False)],
)
def test_failures_are_judged_from_the_twentieth_on(failed: int, done: int, limit: float | None, stop: bool) -> None:
    """A run stops above the share of failures, judged from the 20th finished task."""
    assert too_many_failures(failed, done, limit) is stop


@pytest.mark.parametrize(
    ("in_doubt", "settled", "limit", "stop"),
    [(49, 49, 0.1, False), (50, 50, 0.1, True), (5, 50, 0.1, False), (6, 50, 0.1, True), (50, 50, None, False)],
)
def test_doubt_is_judged_from_the_fiftieth_attempt(
    in_doubt: int, settled: int, limit: float | None, stop: bool
) -> None:
    """A run stops above the share in doubt, judged from the 50th settled attempt."""
    assert too_many_in_doubt(in_doubt, settled, limit) is stop


@pytest.mark.parametrize(
    ("seconds", "cut"),
    [([60.1, 60.0, 59.9, 60.2], 60.1), ([60.0, 60.0], None), ([3.0, 60.0, 100.0, 200.0], None), ([0.1] * 5, None)],
)
def test_a_gateway_that_cuts_at_a_time_is_recognised(seconds: list[float], cut: float | None) -> None:
    """Attempts in doubt that all lasted about as long point at a gateway's own time-out."""
    assert common_cut(seconds) == cut
