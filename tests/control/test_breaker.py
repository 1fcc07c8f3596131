from __future__ import annotations

import pytest

from pipeline.control.breaker import Breaker, Position
from pipeline.outcome import Outcome

REFUSED_CONNECTION = (Outcome.UNSENT, None)
BAD_GATEWAY = (Outcome.IN_DOUBT, 502)
THROTTLED = (Outcome.THROTTLED, 429)
RESET = (Outcome.IN_DOUBT, None)
PICTURE = (Outcome.SUCCEEDED, 200)
MODERATED = (Outcome.REFUSED, 400)

End = tuple[Outcome, int | None]


def after(*ends: End) -> Breaker:
    """A breaker that saw these ends."""
    breaker = Breaker()
    for end in ends:
        breaker.on_end(*end, 0.0)
    return breaker


@pytest.mark.parametrize(
    ("ends", "opens"),
    [
        ([BAD_GATEWAY] * 4, False),
        ([BAD_GATEWAY] * 5, True),
        ([REFUSED_CONNECTION] * 5, True),
        ([BAD_GATEWAY, REFUSED_CONNECTION] * 3, True),
        ([BAD_GATEWAY] * 4 + [PICTURE] + [BAD_GATEWAY] * 4, False),
        ([BAD_GATEWAY] * 4 + [MODERATED] + [BAD_GATEWAY] * 4, False),
        ([THROTTLED] * 50, False),
        ([(Outcome.THROTTLED, 503)] * 50, False),
        ([RESET] * 50, False),
        ([BAD_GATEWAY, RESET, THROTTLED] * 5, True),
    ],
)
def test_failures_in_a_row_open_it(ends: list[End], opens: bool) -> None:
    """Five unsent or 5xx without a sign of life between; throttling and cut connections neither count nor help."""
    assert (after(*ends).position is Position.OPEN) is opens


def test_one_probe_at_a_time_always_of_the_same_task() -> None:
    """The first task that asks is the probe until it ends; then another may be."""
    breaker = after(*[BAD_GATEWAY] * 5)
    assert not breaker.may_pass("a", 0.5)
    assert breaker.may_pass("a", 1.0)
    assert breaker.on_start("a", 1.0)
    assert breaker.is_probe("a")
    assert not breaker.may_pass("a", 1.5)
    assert not breaker.may_pass("b", 1.5)
    breaker.on_end(*BAD_GATEWAY, 2.0, probe=True)
    assert not breaker.may_pass("b", 100.0)
    assert breaker.may_pass("a", 100.0)
    breaker.release("a")
    assert breaker.may_pass("b", 100.0)


def test_a_probe_that_went_without_an_end_lets_the_next_through() -> None:
    """A task that ends while its probe is under way blocks nobody."""
    breaker = after(*[BAD_GATEWAY] * 5)
    breaker.on_start("a", 1.0)
    breaker.release("a")
    assert breaker.may_pass("b", 2.0)
    breaker.on_start("b", 2.0)
    breaker.end_probe(3.0)
    assert breaker.may_pass("b", 100.0)


def test_probes_follow_at_growing_intervals() -> None:
    """From one second doubled up to a minute, counted from a probe's end."""
    breaker, now, waits = after(*[REFUSED_CONNECTION] * 5), 0.0, []
    for _ in range(9):
        waits.append(breaker.wait("a", now))
        now += waits[-1]
        assert breaker.on_start("a", now)
        breaker.on_end(*REFUSED_CONNECTION, now, probe=True)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("end", [PICTURE, MODERATED, (Outcome.STOPPED, 401), (Outcome.UNUSABLE, 200)])
@pytest.mark.parametrize("probe", [True, False])
def test_any_sign_of_life_closes_it(end: End, probe: bool) -> None:
    """A request that was in flight before counts as well as the probe; intervals begin anew afterwards."""
    breaker = after(*[BAD_GATEWAY] * 5)
    breaker.on_start("a", 1.0)
    breaker.on_end(*end, 2.0, probe=probe)
    assert breaker.position is Position.CLOSED
    assert not breaker.is_probe("a")
    assert not breaker.on_start("b", 2.0)
    for _ in range(5):
        breaker.on_end(*BAD_GATEWAY, 3.0)
    assert breaker.wait("c", 3.0) == 1.0


def test_requests_from_before_do_not_move_the_next_probe() -> None:
    """Those that were in flight when it opened fail too; the probe comes when it was due."""
    breaker = after(*[BAD_GATEWAY] * 5)
    for moment in (0.2, 0.6, 0.9):
        breaker.on_end(*BAD_GATEWAY, moment)
    assert breaker.may_pass("a", 1.0)


@pytest.mark.parametrize("end", [THROTTLED, REFUSED_CONNECTION, BAD_GATEWAY, RESET])
def test_ten_minutes_without_a_sign_of_life_are_an_outage(end: End) -> None:
    """Throttling, unsent, 5xx and cut connections alone: down after ten minutes, counted from the first."""
    breaker = Breaker()
    assert not breaker.down(0.0)
    breaker.on_end(*end, 100.0)
    breaker.on_end(*end, 699.0)
    assert not breaker.down(699.9)
    assert breaker.down(700.0)
    breaker.on_end(*PICTURE, 701.0)
    assert not breaker.down(10_000.0)


def test_an_obeyed_pause_is_no_outage() -> None:
    """After a pause that the server asked for the ten minutes count anew."""
    breaker = after(THROTTLED)
    breaker.restart()
    assert not breaker.down(3000.0)
    breaker.on_end(*THROTTLED, 3000.0)
    assert not breaker.down(3599.0)
    assert breaker.down(3600.0)


def test_a_server_that_asks_for_pause_after_pause_was_waited_for_without_end() -> None:
    """An hour of obeyed pauses is no outage; more of them without an answer between are one."""
    breaker, now = Breaker(), 0.0
    for _ in range(29):
        breaker.on_end(Outcome.THROTTLED, 429, now)
        assert not breaker.down(now)
        breaker.pause(123.0)
        now += 123.0
    for _ in range(7):
        breaker.on_end(Outcome.THROTTLED, 429, now)
        breaker.pause(123.0)
        now += 123.0
    assert breaker.down(now)
    breaker.on_end(Outcome.REFUSED, 400, now)
    assert not breaker.down(now)
