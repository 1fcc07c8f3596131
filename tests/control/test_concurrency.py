from __future__ import annotations

import pytest

from pipeline.control.concurrency import FIRST_GAP, MOST_HISTORY, START, Change, LiveLimit, pause_of
from pipeline.outcome import Outcome


def answer(
    limit: LiveLimit, outcome: Outcome, now: float, started: float | None = None, status: int | None = None
) -> None:
    """One request that was sent at `started`, with the limit used up, and ended now."""
    begun = now - 2.0 if started is None else started
    limit.on_start(limit.limit, begun)
    limit.on_end(outcome, status, now - begun, begun, now, limit.limit)


def sent(limit: LiveLimit, until: float) -> list[float]:
    """When requests leave that are sent as soon as they may be, and never end."""
    times: list[float] = []
    now = limit.wait(0.0)
    while now <= until and len(times) < limit.limit:
        times.append(now)
        limit.on_start(len(times), now)
        now += limit.wait(now)
    return times


def ready(ceiling: int = 100, window: int = START) -> LiveLimit:
    """A limit at which so many are in flight, and one, sent at 0, succeeded after 2 s."""
    limit = LiveLimit(ceiling)
    limit.on_start(window - 1, 0.0)
    limit.on_end(Outcome.SUCCEEDED, 200, 2.0, 0.0, 2.0, window)
    return limit


@pytest.mark.parametrize("ceiling", [1, 16, 64, 512])
def test_the_ramp_goes_by_time_up_to_the_ceiling(ceiling: int) -> None:
    """Without any answer a hundred a second leave at first, then ever more: 512 are in flight within a second."""
    times = sent(LiveLimit(ceiling), 60.0)
    assert len(times) == ceiling
    assert times[-1] < 1.0
    assert sum(moment < 0.1 for moment in times) <= 12


def test_where_answers_are_fast_nothing_is_held_back() -> None:
    """At 10 ms an answer and 32 in flight, three thousand a second may leave."""
    limit, now = LiveLimit(32), 0.0
    for _ in range(3000):
        now += limit.wait(now)
        limit.on_start(32, now)
        limit.on_end(Outcome.SUCCEEDED, 200, 0.01, now, now, 32)
    assert now < 1.0


@pytest.mark.parametrize(("outcome", "status"), [(Outcome.IN_DOUBT, None), (Outcome.IN_DOUBT, 502)])
def test_a_failure_before_any_success_puts_the_limit_back(outcome: Outcome, status: int | None) -> None:
    """What may have been billed in vain allows 16 more at most, slowly; the first success lifts that."""
    limit = LiveLimit(100)
    assert len(sent(limit, 60.0)) == 100
    limit.on_end(outcome, status, 2.0, 0.0, 2.0, 100)
    limit.on_start(START, 3.0)
    limit.on_start(START, 3.0)
    assert limit.limit == START
    assert limit.wait(3.0) >= FIRST_GAP
    limit.on_end(Outcome.SUCCEEDED, 200, 3.0, 0.0, 3.0, 99)
    assert limit.limit == 100


def test_a_failure_ends_the_ramp() -> None:
    """After it, starts alone let nothing grow."""
    limit = ready()
    limit.on_end(Outcome.IN_DOUBT, 500, 1.0, 1.5, 2.5, START)
    limit.on_start(START, 10.0)
    assert limit.limit == START


def test_after_a_failure_the_limit_doubles_with_each_round_trip() -> None:
    """Slow start: each answer lets one more through, up to the ceiling."""
    limit = ready()
    limit.on_end(Outcome.IN_DOUBT, 500, 2.0, 0.0, 2.0, START)
    seen = [limit.limit]
    for round_trip in range(5, 8):
        for _ in range(limit.limit):
            answer(limit, Outcome.SUCCEEDED, 2.0 * round_trip, status=200)
        seen.append(limit.limit)
    assert seen == [16, 32, 64, 100]


def test_throttled_before_any_success_only_the_pace_falls() -> None:
    """Nothing is known of the round trip: each episode halves the pace, and requests go on being sent."""
    limit, gaps = LiveLimit(100), []
    for episode in range(9):
        now = 20.0 * episode
        limit.on_start(START + episode, now)
        limit.on_end(Outcome.THROTTLED, 429, 0.01, now, now + 0.01, START + episode)
        gaps.append(limit.wait(now + 0.01))
    assert gaps == pytest.approx([0.125, 0.25, 0.5, 1, 2, 4, 8, 15, 15], abs=0.02)
    assert limit.limit == START + 9


@pytest.mark.parametrize(("ceiling", "start"), [(1, 1), (4, 4), (16, 16), (500, START)])
def test_the_limit_starts_below_the_ceiling(ceiling: int, start: int) -> None:
    """A run begins with a few requests, and never with more than the ceiling."""
    assert LiveLimit(ceiling).limit == start


def test_an_episode_cuts_once() -> None:
    """Throttled requests that were sent before the cut do not cut again; one that was sent after it does."""
    limit = ready()
    for _ in range(10):
        limit.on_end(Outcome.THROTTLED, 429, 1.0, 1.0, 2.0, START)
    assert limit.limit == 12
    limit.on_end(Outcome.THROTTLED, 503, 0.5, 2.5, 3.0, 12)
    assert limit.limit == 10


@pytest.mark.parametrize(
    ("outcome", "status", "grows"),
    [
        (Outcome.SUCCEEDED, 200, True),
        (Outcome.REFUSED, 400, True),
        (Outcome.UNUSABLE, 200, False),
        (Outcome.UNSENT, None, False),
        (Outcome.IN_DOUBT, None, False),
        (Outcome.IN_DOUBT, 502, False),
        (Outcome.STOPPED, 401, False),
    ],
)
def test_only_answers_let_it_grow(outcome: Outcome, status: int | None, grows: bool) -> None:
    """What was not sent, is in doubt or useless proves no room for more."""
    limit = ready()
    limit.on_end(Outcome.THROTTLED, 429, 1.0, 1.0, 2.0, START)
    for second in range(20, 60):
        answer(limit, outcome, float(second), status=status)
    assert (limit.limit > 0.95 * START) is grows


@pytest.mark.parametrize("status", [500, 502, None])
def test_no_growth_during_a_burst_of_failures(status: int | None) -> None:
    """After a 5xx or an end in doubt, answers let nothing grow for some seconds."""
    limit = ready()
    answer(limit, Outcome.IN_DOUBT, 2.0, started=0.0, status=status)
    before = limit.limit
    answer(limit, Outcome.SUCCEEDED, 6.0, status=200)
    assert limit.limit == before
    answer(limit, Outcome.SUCCEEDED, 8.0, status=200)
    assert limit.limit == before + 1


def test_no_growth_unless_the_limit_was_used() -> None:
    """Answers to a few requests at a time do not raise a limit that they never touched."""
    limit = LiveLimit(100)
    for second in range(1, 60):
        limit.on_start(3, float(second))
        limit.on_end(Outcome.SUCCEEDED, 200, 0.5, float(second), second + 0.5, 3)
    assert limit.limit == START


def test_after_a_cut_requests_are_spread_over_a_round_trip() -> None:
    """The next request waits a share of the round trip."""
    limit = ready()
    limit.on_end(Outcome.THROTTLED, 429, 0.1, 2.4, 2.5, START)
    limit.on_start(1, 3.0)
    assert limit.wait(3.0) == pytest.approx(2.0 / (12.8 * 0.87), abs=0.01)


def test_where_everything_is_throttled_only_the_pace_goes_on_falling() -> None:
    """One request may always be in flight, but they follow each other ever more slowly, down to four a minute."""
    limit, now = ready(), 2.0
    for _ in range(60):
        now += limit.wait(now) + 0.01
        limit.on_start(1, now)
        limit.on_end(Outcome.THROTTLED, 429, 0.01, now, now + 0.01, 1)
    assert limit.limit == 1
    assert limit.wait(now) == pytest.approx(15 / 0.87, rel=0.01)


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, 0), (0.0, 0), (1.0, 0), (20.0, 19), (0.25, 0.25)])
def test_whole_seconds_of_a_retry_after_were_rounded_up(retry_after: float | None, seconds: float) -> None:
    """All wait as long as the server can have meant at least; the throttled task itself waits as long as it says."""
    assert pause_of(retry_after) == seconds


def test_a_retry_after_pauses_once_and_no_longer_than_a_round_trip() -> None:
    """The pause begins with the episode; throttled requests from before it do not lengthen it."""
    limit = LiveLimit(100)
    answer(limit, Outcome.SUCCEEDED, 4.0, started=0.0, status=200)
    for moment in (5.0, 6.0):
        limit.on_start(1, 4.5)
        limit.on_end(Outcome.THROTTLED, 429, 0.5, 4.5, moment, 1, retry_after=60.0)
    assert limit.wait(5.0) == 4.0
    assert limit.wait(9.0) == 0


def test_the_history_is_bounded_and_keeps_both_ends() -> None:
    """Of many changes some are left out, never the first, and the last is the limit as it is."""
    limit = LiveLimit(5000)
    for step in range(4000):
        limit.on_start(START + step, 2.0 + step)
    changes = limit.history
    assert changes[0] == Change(0.0, START)
    assert changes[-1] == Change(4001.0, limit.limit)
    assert MOST_HISTORY / 4 <= len(changes) <= MOST_HISTORY
    assert [change.seconds for change in changes] == sorted(change.seconds for change in changes)
