from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.ledger.codec import encode
from pipeline.ledger.money import Account
from pipeline.ledger.places import Where
from pipeline.ledger.records import Record, Sent, Settled
from pipeline.ledger.replay import replay
from pipeline.ledger.state import State
from pipeline.money import believable, dollars
from pipeline.outcome import BILLED, Outcome
from tests.ledger.lines import sent, settled, write_ledger

FIRST, SECOND = "2026-11-01T23:59:59.999Z", "2026-11-02T00:00:00.000Z"


def priced(estimate: str | None, at: str = FIRST, task: str = "a", attempt: int = 1) -> Sent:
    line = sent(task, attempt)
    line.at, line.estimated_cost = at, None if estimate is None else Decimal(estimate)
    return line


def ended(outcome: str, cost: str | None = None, at: str = FIRST, task: str = "a", **more: Any) -> Settled:
    line = settled(task, outcome, cost=None if cost is None else Decimal(cost), **more)
    line.at = at
    return line


def fold(*lines: Record | tuple[int, Record]) -> State:
    """The state after these lines, each of ledger 0 or of the one named beside it."""
    state = State()
    for number, entry in enumerate(lines):
        file, line = entry if isinstance(entry, tuple) else (0, entry)
        state.apply(line, Where(file, 100 * number, 100))
    return state


def amounts(account: Account) -> tuple[object, ...]:
    """Confirmed, possible, images, unpriced, known."""
    return account.confirmed, account.possible, account.images, account.unpriced, account.known


def test_an_empty_ledger_has_spent_nothing_and_knows_no_price() -> None:
    """Zeros, and `known` is false."""
    assert amounts(State().money.total) == (0, 0, 0, 0, False)


def test_a_sent_line_is_possible_at_its_estimate() -> None:
    """What a killed run had reserved survives it as its `sent` line."""
    assert amounts(fold(priced("0.25")).money.total) == (0, Decimal("0.25"), 1, 0, True)


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.INVALID])
@pytest.mark.parametrize("cost", ["0.10", None])
def test_an_end_replaces_the_estimate(outcome: Outcome, cost: str | None) -> None:
    """A known cost is confirmed; a billed end without one stays possible; an unbilled end leaves nothing."""
    total = fold(priced("0.25"), ended(outcome, cost)).money.total
    if outcome not in BILLED:
        assert amounts(total) == (0, 0, 0, 0, True)
    elif cost is None:
        assert amounts(total) == (0, Decimal("0.25"), 1, 0, True)
    else:
        assert amounts(total) == (Decimal(cost), 0, 1, 0, True)


@pytest.mark.parametrize(
    ("estimate", "end", "unpriced", "known"),
    [
        (None, None, 1, False),
        (None, ended("succeeded"), 1, False),
        (None, ended("in_doubt"), 1, False),
        (None, ended("throttled"), 0, False),
        (None, ended("succeeded", "0.1"), 0, True),
        ("0", ended("succeeded", "0"), 0, True),
    ],
)
def test_attempts_without_a_price_are_counted(
    estimate: str | None, end: Settled | None, unpriced: int, known: bool
) -> None:
    """They are in no sum, and said to be missing there; what is free is known to cost nothing."""
    lines = [priced(estimate)] + ([] if end is None else [end])
    total = fold(*lines).money.total
    assert (total.unpriced, total.known) == (unpriced, known)


def test_an_attempt_belongs_to_the_day_of_its_sent_line() -> None:
    """An answer after midnight, and a recovery days later, change nothing of yesterday's account but its amounts."""
    state = fold(
        priced("0.25"),
        ended("succeeded", "0.10", at=SECOND),
        priced("0.25", task="b"),
        ended("in_doubt", task="b", at="2026-11-09T00:00:00.000Z", code="interrupted"),
        priced("0.5", at=SECOND, task="c"),
    )
    days = state.money.days()
    assert {day: (one.confirmed, one.possible) for day, one in days.items()} == {
        "2026-11-01": (Decimal("0.10"), Decimal("0.25")),
        "2026-11-02": (0, Decimal("0.5")),
    }


def test_a_salvaged_result_stays_possible_at_its_estimate() -> None:
    """Its images are here and its usage is not: the worst case is what is known."""
    line = ended("succeeded", salvaged=True)
    assert amounts(fold(priced("0.25"), line).money.total) == (0, Decimal("0.25"), 1, 0, True)


def test_shards_that_sent_the_same_do_not_mix() -> None:
    """An end counts for the ledger that it stands in, and leaves the other's reservation."""
    state = fold((0, priced("0.25")), (1, priced("0.50", at=SECOND)), (1, ended("succeeded", "0.10", at=SECOND)))
    first, second = state.money.days([0]), state.money.days([1])
    assert first.keys() == {"2026-11-01"}
    assert amounts(first["2026-11-01"]) == (0, Decimal("0.25"), 1, 0, True)
    assert amounts(second["2026-11-02"]) == (Decimal("0.10"), 0, 1, 0, True)


def test_what_another_ledger_settles_counts_where_it_was_sent() -> None:
    """An unsharded run that recovers a shard's attempt writes to its own ledger; the shard's account moves."""
    state = fold((1, priced("0.25")), (0, ended("in_doubt", at=SECOND, code="interrupted")))
    assert state.money.days([0]) == {}
    assert state.money.days([1])["2026-11-01"].possible == Decimal("0.25")


def test_a_result_that_a_later_run_takes_in_counts_once() -> None:
    """A spilled result's line, appended by the next run, replaces its reservation."""
    spilled = ended("succeeded", "0.10", at=SECOND)
    spilled.run = "later"
    assert amounts(fold(priced("0.25"), spilled).money.total) == (Decimal("0.10"), 0, 1, 0, True)


def test_repeated_attempts_add_up() -> None:
    """Each attempt of a fingerprint that may have been billed is money of its own."""
    state = fold(
        priced("0.25"),
        ended("in_doubt"),
        priced("0.25", attempt=2),
        ended("succeeded", "0.10", attempt=2),
    )
    assert (state.money.total.confirmed, state.money.total.possible) == (Decimal("0.10"), Decimal("0.25"))
    assert state.money.total.images == 2


def test_an_invalid_item_costs_nothing() -> None:
    """It was never sent."""
    line = settled("a", "invalid", 0)
    assert amounts(fold(line).money.total) == (0, 0, 0, 0, False)


@pytest.mark.parametrize("amount", ["-1", "1e12", "1e999999999"])
def test_an_amount_that_nobody_paid_is_none(amount: str) -> None:
    """A line from elsewhere neither breaks the sums nor lowers them."""
    total = fold(priced(amount), ended("succeeded", amount)).money.total
    assert amounts(total) == (0, 0, 1, 1, False)


def test_money_is_read_back_exactly(tmp_path: Path) -> None:
    """Ten times ten cents are a dollar, through the ledger's bytes too; no binary float has touched them."""
    lines = [one for n in range(10) for one in (priced("0.3", task=f"t{n}"), ended("succeeded", "0.1", task=f"t{n}"))]
    assert b'"estimated_cost":0.3,' in encode(lines[0])
    write_ledger(tmp_path / "ledger.jsonl", *lines)
    total = replay(tmp_path).state.money.total
    assert str(total.confirmed) == "1.0"
    assert total.possible == 0


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0.0000"),
        ("1234.5", "1,234.5000"),
        ("0.0123456", "0.0123"),
        ("0.001", "0.0010"),
        ("0.0000001", "0.0000001"),
        ("1E+3", "1,000.0000"),
        ("0.000250", "0.00025"),
    ],
)
def test_an_amount_is_written_without_an_exponent(amount: str, text: str) -> None:
    """Four digits after the point, more where the amount is smaller."""
    assert dollars(Decimal(amount)) == text


def test_what_is_believable() -> None:
    """Nothing stays nothing; an amount from zero on is taken."""
    assert [believable(one) for one in (None, Decimal(0), Decimal("-0.01"))] == [None, Decimal(0), None]
