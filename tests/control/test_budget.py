from decimal import Decimal

import pytest

from pipeline.control.budget import Budget, Spent, part_of
from pipeline.control.refusal import Cap, Refusal
from pipeline.outcome import BILLED, Outcome

DAY = "2026-11-23"


def d(text: str | int) -> Decimal:
    return Decimal(text)


def capped(*, own: Spent | None = None, **limits: str) -> Budget:
    """A budget with caps named as in `Cap`."""
    return Budget({Cap[name]: d(limit) for name, limit in limits.items()}, own=own or Spent())


def refused(budget: Budget, cost: str | None, day: str = DAY, images: int = 1) -> Refusal:
    refusal = budget.reserve(images, None if cost is None else d(cost), day)
    assert refusal is not None
    return refusal


def test_without_a_cap_everything_is_let_through() -> None:
    """A budget without caps never refuses, also what has no price."""
    budget = Budget()
    assert budget.reserve(10**9, None, DAY) is None
    assert budget.reserve(1, d(10) ** 9, DAY) is None
    assert not budget.counts_money


def test_reservations_count_until_they_are_settled() -> None:
    """What is in flight counts at its worst case; a cheaper end gives the rest back, to the last cent."""
    budget = capped(COST="1.00")
    assert [budget.reserve(1, d("0.25"), DAY) for _ in range(4)] == [None] * 4
    assert refused(budget, "0.01").cap is Cap.COST
    budget.settle(1, d("0.25"), DAY, Outcome.SUCCEEDED, d("0.10"))
    assert budget.reserve(1, d("0.15"), DAY) is None
    assert refused(budget, "0.0000001").spent == d("0.10")


@pytest.mark.parametrize("outcome", [*Outcome, None])
def test_what_an_end_without_usage_comes_to(outcome: Outcome | None) -> None:
    """Possibly billed: it stays booked at its worst case; anything else, and what was never sent: all is given back."""
    budget = capped(COST="1.00", IMAGES="2")
    assert budget.reserve(2, d("1.00"), DAY) is None
    budget.settle(2, d("1.00"), DAY, outcome, None)
    assert (budget.reserve(1, d("0.01"), DAY) is None) is (outcome not in BILLED)
    assert budget.run.possible == (d("1.00") if outcome in BILLED else 0)


def test_a_cost_above_the_reservation_is_booked_in_full() -> None:
    """A worst case that was too low does not hide what was paid."""
    budget = capped(COST="1.00")
    assert budget.reserve(1, d("0.20"), DAY) is None
    budget.settle(1, d("0.20"), DAY, Outcome.SUCCEEDED, d("0.90"))
    assert refused(budget, "0.20").spent == d("0.90")


@pytest.mark.parametrize(
    ("cap", "same", "next_", "message"),
    [
        ("DAY", "2026-12-31", "2027-01-01", "of 2026-12-31 are spent or on their way, and the next request may cost"),
        ("MONTH", "2026-12-01", "2027-01-01", "it begins anew on 2027-01-01 at 00:00 UTC"),
    ],
)
def test_a_period_s_cap_begins_anew(cap: str, same: str, next_: str, message: str) -> None:
    """A day's and a month's cap count what was admitted in it alone, and say when they begin anew."""
    budget = capped(own=Spent({"2026-12-31": d("0.90"), "2026-12-01": d("0.90")}), **{cap: "1.00"})
    refusal = refused(budget, "0.20", same)
    assert not refusal.may_fit_later
    assert message in refusal.message
    assert budget.reserve(1, d("0.20"), next_) is None
    budget.settle(1, d("0.20"), next_, Outcome.IN_DOUBT, None)
    assert refused(budget, "0.90", next_).spent == d("0.20")


@pytest.mark.parametrize("cap", ["RUN", "THIS_RUN"])
def test_a_run_s_cap_does_not_count_earlier_runs(cap: str) -> None:
    """What the ledger holds already is no part of this run."""
    budget = capped(own=Spent({DAY: d(100)}), **{cap: "1.00"})
    assert budget.reserve(1, d("1.00"), DAY) is None
    assert refused(budget, "0.01").may_fit_later


def test_the_whole_ledger_counts_against_max_cost_and_max_images() -> None:
    """All days, and all images."""
    own = Spent({"2026-01-01": d("0.50"), DAY: d("0.40")}, images=9)
    assert refused(capped(own=own, COST="1.00"), "0.11").spent == d("0.90")
    assert refused(capped(own=own, IMAGES="10"), None, images=2).spent == 9


def test_a_request_without_a_price_cannot_keep_a_cap_on_money() -> None:
    """It is refused for good, with what to do; a cap on images alone lets it pass."""
    refusal = refused(capped(COST="1.00", IMAGES="5"), None)
    assert (refusal.amount, refusal.may_fit_later) == (None, False)
    assert refusal.message.startswith("budget.max_cost: what the next request may cost is not known; give its model")
    assert capped(IMAGES="5").reserve(1, None, DAY) is None


@pytest.mark.parametrize(
    ("spent", "reserved", "amount", "later"),
    [
        ("0.50", "0.40", "0.20", True),
        ("0.80", "0.20", "0.20", True),
        ("0.90", "0.10", "0.20", False),
        ("1.00", "0.00", "0.01", False),
        ("0.90", "0.00", "0.20", False),
    ],
)
def test_when_waiting_may_help(spent: str, reserved: str, amount: str, later: bool) -> None:
    """A refusal is worth waiting out where only reservations in flight stand in the way."""
    assert Refusal(Cap.COST, d(1), d(spent), d(reserved), d(amount)).may_fit_later is later


def test_of_several_refusals_the_final_one_is_told() -> None:
    """Waiting for one cap would be in vain where another one is spent."""
    budget = capped(own=Spent({DAY: d("0.50")}), COST="1.00", DAY="0.50", RUN="2.00")
    assert refused(budget, "0.01").cap is Cap.DAY
    budget = capped(own=Spent({"2026-11-22": d("1.00")}), RUN="0.10", COST="1.05")
    assert budget.reserve(1, d("0.05"), DAY) is None
    budget.settle(1, d("0.05"), DAY, Outcome.SUCCEEDED, d("0.05"))
    assert refused(budget, "0.06").cap is Cap.RUN


def test_a_refusal_takes_nothing() -> None:
    """One cap that has room is not charged for what another refuses."""
    budget = capped(COST="10.00", IMAGES="1")
    assert budget.reserve(1, d(1), DAY) is None
    for _ in range(5):
        assert refused(budget, "9.00").cap is Cap.IMAGES
    budget.settle(1, d(1), DAY, Outcome.REFUSED, None)
    assert budget.reserve(1, d("10.00"), DAY) is None


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (
            Refusal(Cap.COST, d("10"), d("9.5"), d("0.3"), d("0.25")),
            "budget.max_cost: 9.80 of 10.00 US$ are spent or on their way, and the next request may cost up to 0.25; "
            "raise it to go on with the rest",
        ),
        (
            Refusal(Cap.DAY, d("1234.5"), d("1234.4999"), d(0), d("0.00025"), "2026-02-28"),
            "budget.max_cost_per_day: 1,234.4999 of 1,234.50 US$ of 2026-02-28 are spent or on their way, and the next "
            "request may cost up to 0.00025; it begins anew on 2026-03-01 at 00:00 UTC: run again then, or raise it to "
            "go on",
        ),
        (
            Refusal(Cap.MONTH, d(1), d(1), d(0), d(1), "2026-11"),
            "budget.max_cost_per_month: 1.00 of 1.00 US$ of 2026-11 are spent or on their way, and the next request "
            "may cost up to 1.00; it begins anew on 2026-12-01 at 00:00 UTC: run again then, or raise it to go on",
        ),
        (
            Refusal(Cap.THIS_RUN, d(1), d(1), d(0), d(1)),
            "--max-cost: 1.00 of 1.00 US$ are spent or on their way, and the next request may cost up to 1.00; run "
            "again to go on with the rest, or raise it",
        ),
        (
            Refusal(Cap.IMAGES, d(5), d(4), d(1), d(2)),
            "budget.max_images: 5 of 5 images are bought or on their way, and the next request asks for 2; raise it "
            "to go on with the rest",
        ),
        (
            Refusal(Cap.COST, d("2.5"), d("2.5"), d(0), d("0.1"), sharers=4),
            "one of 4 parts of budget.max_cost: 2.50 of 2.50 US$ are spent or on their way, and the next "
            "request may cost up to 0.10; raise it to go on with the rest",
        ),
    ],
)
def test_what_the_user_is_told(refusal: Refusal, message: str) -> None:
    """Which cap, how it stands, what the next request takes, and the way on; no exponent, no lost digit."""
    assert refusal.message == message


@pytest.mark.parametrize(
    ("limit", "elsewhere", "ledgers", "part"),
    [
        ("12", "0", ["0", "0", "0"], "4"),
        ("12", "3", ["0", "0", "0"], "3"),
        ("12", "3", ["3", "1", "0"], "3"),  # own spending lifts nobody's part
        ("10", "5", ["5", "0"], "0"),  # an unsharded run spent what the second shard would have had
        ("10", "3", ["5", "0"], "2"),
        ("12", "0", ["6", "0", "0"], "3"),  # what one has too much is taken from the others evenly
        ("10", "0", ["12", "0"], "0"),
        ("10", "12", ["0", "0"], "0"),
        ("10", "4", ["7"], "6"),
        ("10", "12", ["7"], "0"),
    ],
)
def test_a_shard_s_part(limit: str, elsewhere: str, ledgers: list[str], part: str) -> None:
    """An equal share of what others left, less where another shard holds more than that already."""
    assert part_of(d(limit), d(elsewhere), [d(one) for one in ledgers]) == d(part)


def test_parts_that_cannot_be_equal_are_rounded_down() -> None:
    """Three thirds of ten stay below ten; of ten images three shards get three each."""
    part = part_of(d(10), d(0), [d(0)] * 3)
    assert d("3.33") < part
    assert 3 * part < 10
    shard = Budget({Cap.IMAGES: d(10)}, siblings=(Spent(), Spent()))
    assert [shard.reserve(1, None, DAY) is None for _ in range(4)] == [True, True, True, False]


def test_a_shard_s_cap_on_a_run_is_its_part_too() -> None:
    """Four shards that are started with one command line together keep to what it says."""
    shard = Budget({Cap.THIS_RUN: d(1)}, siblings=(Spent(),) * 3)
    assert shard.reserve(1, d("0.25"), DAY) is None
    assert refused(shard, "0.01").limit == d("0.25")


def test_what_this_run_came_to() -> None:
    """Confirmed, possible, in flight and unpriced are told apart; without any price nothing is known."""
    budget = Budget()
    assert budget.reserve(1, None, DAY) is None
    budget.settle(1, None, DAY, Outcome.SUCCEEDED, None)
    assert (budget.run.known, budget.run.unpriced) == (False, 1)
    ends = [(Outcome.SUCCEEDED, d("0.1")), (Outcome.UNUSABLE, None), (Outcome.THROTTLED, None), (None, None)]
    for outcome, cost in ends:
        assert budget.reserve(1, d("0.2"), DAY) is None
        budget.settle(1, d("0.2"), DAY, outcome, cost)
    assert budget.reserve(1, d("0.2"), DAY) is None
    run = budget.run
    assert (run.confirmed, run.possible, run.in_flight, run.unpriced, run.known) == (
        d("0.1"),
        d("0.2"),
        d("0.2"),
        1,
        True,
    )
