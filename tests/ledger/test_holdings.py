"""Which results a folder should hold, by the ledger."""

from __future__ import annotations

from pipeline.ledger.holdings import Holdings
from pipeline.ledger.places import Where
from pipeline.ledger.records import Record
from tests.ledger.lines import reused, run, sent, settled


def at(number: int) -> Where:
    return Where(0, 100 * number, 100)


def held(*records: Record) -> Holdings:
    """The holdings after these records, the first at `at(0)`."""
    holdings = Holdings()
    for number, record in enumerate(records):
        holdings.take(record, at(number))
    return holdings


def test_a_tasks_result_is_the_last_that_it_got() -> None:
    """Bought, bought again, taken over; in the order of the first ones. What brought nothing does not count."""
    holdings = held(
        run("mine"),
        sent("a"),
        settled("a", "succeeded"),
        settled("b", "succeeded"),
        settled("a", "succeeded", 2),
        settled("a", "refused", 3),
        reused("b", "a"),
        settled("c", "in_doubt"),
        run("other"),
    )
    assert list(holdings.results()) == [at(4), at(6)]
    assert (len(holdings), holdings.job) == (2, "mine")


def test_a_path_belongs_to_the_last_line_that_names_it() -> None:
    """A prompt that was renamed: the old task's result made way, so that its bytes are no longer expected there."""
    holdings = held(settled("old", "succeeded", paths=["x.png"]), settled("new", "succeeded", paths=["X.png"]))
    assert not holdings.is_current("old", "x.png", at(0))
    assert holdings.is_current("new", "X.png", at(1))


def test_a_result_that_was_superseded_meanwhile_is_not_current() -> None:
    """Its path may be its own still, but the task has another result now."""
    holdings = held(settled("a", "succeeded", paths=["x.png"]))
    assert holdings.is_current("a", "x.png", at(0))
    holdings.take(settled("a", "succeeded", paths=["x.jpg"]), at(1))
    assert not holdings.is_current("a", "x.png", at(0))


def test_tasks_that_come_in_during_a_look_are_left_out() -> None:
    """A look at a running job ends."""
    holdings = held(settled("a", "succeeded"))
    results = holdings.results()
    holdings.take(settled("b", "succeeded"), at(1))
    assert list(results) == [at(0)]
