from __future__ import annotations

import pytest

from pipeline.control.rates import Charge, Rates
from pipeline.endpoint.ratelimits import Allowance, RateLimits

ONE = Charge()


def sent_within(rates: Rates, seconds: float, charge: Charge = ONE, step: float = 0.01) -> int:
    """How many requests leave when one is always waiting."""
    sent = 0
    for tick in range(round(seconds / step)):
        while rates.wait(charge, tick * step) == 0:
            rates.take(charge, tick * step)
            sent += 1
    return sent


@pytest.mark.parametrize("per_minute", [5, 60, 600, 6000])
def test_a_minutes_allowance_is_reached_and_never_exceeded(per_minute: float) -> None:
    """In two minutes at least 97 % of the allowance leaves, and not more than it."""
    sent = sent_within(Rates(per_minute, None, None, 0.0), 120.0)
    assert 0.97 * 2 * per_minute <= sent <= 2 * per_minute + 1


def test_the_first_second_spends_no_minute() -> None:
    """At 600 a minute about ten leave in the first second, and one at its very beginning."""
    assert sent_within(Rates(600, None, None, 0.0), 0.05) == 1
    assert sent_within(Rates(600, None, None, 0.0), 1.0) <= 11


@pytest.mark.parametrize(("per_minute", "most"), [(60, 10), (600, 20), (6000, 200)])
def test_a_pause_saves_up_less_than_two_seconds_worth(per_minute: float, most: int) -> None:
    """After an idle minute no more than the agreed burst leaves at once."""
    rates = Rates(per_minute, None, None, 0.0)
    rates.take(ONE, 0.0)
    sent = 0
    while rates.wait(ONE, 60.0) == 0:
        rates.take(ONE, 60.0)
        sent += 1
    assert 1 <= sent <= most


def test_after_a_throttled_request_nothing_is_made_up_for() -> None:
    """An endpoint that throttles within its rate gets its requests one by one."""
    rates = Rates(600, None, None, 0.0)
    rates.take(ONE, 0.0)
    rates.throttled()
    rates.take(ONE, 60.0)
    assert rates.wait(ONE, 60.0) == pytest.approx(0.1, rel=0.02)


def test_images_are_charged_by_number() -> None:
    """At 60 images a minute a request of four leaves every four seconds."""
    assert sent_within(Rates(None, 60, None, 0.0), 60.0, Charge(images=4)) in (15, 16)


def test_a_charge_above_what_is_ever_kept_still_goes() -> None:
    """A request of 50,000 tokens at 60,000 a minute leaves at once, and the next 50 s later."""
    rates, charge = Rates(None, None, 60_000, 0.0), Charge(tokens=50_000)
    assert rates.wait(charge, 0.0) == 0
    rates.take(charge, 0.0)
    assert rates.wait(charge, 0.0) == pytest.approx(50, rel=0.03)
    assert rates.wait(charge, 51.0) == 0


def test_tokens_are_corrected_by_what_was_used() -> None:
    """Fewer tokens than charged shorten the next wait, more lengthen it."""
    charge = Charge(tokens=10_000)
    waits = []
    for used in (2_000, 10_000, 30_000):
        rates = Rates(None, None, 60_000, 0.0)
        rates.take(charge, 0.0)
        rates.settle(charge, Charge(tokens=used), 1.0)
        waits.append(rates.wait(charge, 1.0))
    assert waits == pytest.approx([1, 9, 29], rel=0.1)


def test_what_was_never_sent_is_given_back() -> None:
    """A request that did not leave takes nothing of any allowance."""
    rates, charge = Rates(60, 60, 6000, 0.0), Charge(1, 4, 1000)
    rates.take(charge, 0.0)
    assert rates.wait(charge, 0.0) > 1
    rates.settle(charge, Charge(0, 0, 0), 0.0)
    assert rates.wait(charge, 0.0) == 0


def test_nothing_is_limited_where_nothing_is_set() -> None:
    """Without a rate no request waits, and there is no share to show."""
    rates = Rates(None, None, None, 0.0)
    for _ in range(1000):
        rates.take(ONE, 0.0)
    assert rates.wait(Charge(1, 10, 10**6), 0.0) == 0
    assert rates.used_share(1.0) is None


def said(limit: float | None, remaining: float | None, reset: float | None = None) -> RateLimits:
    """What headers about requests say."""
    return RateLimits(requests=Allowance(limit, remaining, reset))


def test_what_remains_bounds_what_is_kept() -> None:
    """Where others use the same key too, what the endpoint says remains counts."""
    rates = Rates(60, None, None, 0.0)
    rates.take(ONE, 0.0)
    rates.heed(said(60, 0), 100.0, 100.0)
    assert rates.wait(ONE, 100.0) == pytest.approx(1, rel=0.02)


def test_what_remains_raises_nothing() -> None:
    """A large remainder does not let more through than the rate."""
    rates = Rates(60, None, None, 0.0)
    rates.take(ONE, 0.0)
    rates.heed(said(60, 60), 0.0, 0.0)
    assert rates.wait(ONE, 0.0) > 0.9


def test_a_debt_ends_with_the_reset() -> None:
    """No wait is longer than the endpoint needs to be full again."""
    rates = Rates(60, None, None, 0.0)
    rates.take(ONE, 0.0)
    rates.heed(said(60, 0, 0.25), 100.0, 100.0)
    assert rates.wait(ONE, 100.25) == 0


def test_an_answer_does_not_know_of_requests_sent_after_its_own() -> None:
    """What was taken since the answered request was sent is counted against what it says remains."""
    rates = Rates(60, None, None, 0.0)
    rates.take(ONE, 0.0)
    rates.take(ONE, 100.0)
    free = rates.wait(ONE, 100.0)
    rates.heed(said(60, 3), 100.0, 99.5)
    assert rates.wait(ONE, 100.0) == free
    rates.heed(said(60, 0), 100.0, 99.5)
    assert rates.wait(ONE, 100.0) == pytest.approx(1.5, rel=0.02)


def test_a_limit_is_adopted_only_where_the_job_sets_none() -> None:
    """The endpoint's own limit paces what the job does not."""
    adopted, own = Rates(None, None, None, 0.0), Rates(600, None, None, 0.0)
    for rates in (adopted, own):
        rates.take(ONE, 0.0)
        rates.heed(said(60, 59), 0.0, 0.0)
        rates.take(ONE, 1.0)
    assert adopted.wait(ONE, 1.0) == pytest.approx(1, rel=0.1)
    assert own.wait(ONE, 1.0) <= 0.1


def test_the_used_share_is_that_of_the_tightest_allowance() -> None:
    """60 requests of one image in a minute are all of 60 requests and half of 120 images."""
    rates = Rates(60, 120, None, 0.0)
    for second in range(60):
        rates.take(ONE, float(second))
    assert rates.used_share(59.9) == pytest.approx(1.0, rel=0.03)
    assert rates.used_share(200.0) == 0.0


@pytest.mark.parametrize("began", [100.0, 5141.123456789])
@pytest.mark.parametrize("later", [1.0, 4.9, 9.7, 33.3])
def test_no_share_was_shown_in_the_first_minute(began: float, later: float) -> None:
    """`now - (now - began)` may be less than `began`: what was taken counted as forgotten, and 0 % were shown."""
    rates = Rates(120, None, None, began)
    rates.take(ONE, began + 0.5)
    share = rates.used_share(began + later)
    assert share is not None
    assert share > 0
