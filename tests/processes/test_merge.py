"""Several processes' numbers as those of one run."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.ledger.usage import Cost
from pipeline.processes.merge import merged, merged_summary
from pipeline.run.exits import Exit
from pipeline.run.progress import LaneNow, Snapshot
from pipeline.run.summary import Failure, Summary, Tally, summarise
from pipeline.run.surveying import Looking


def moment(number: int, *, draining: bool = False, priced: bool = True) -> Snapshot:
    """A moment of a process; its numbers are multiples of its own."""
    return Snapshot(
        total=100 * number,
        finished=10 * number,
        failed=number,
        images=9 * number,
        in_flight=2 * number,
        waiting=3 * number,
        tokens=1000 * number,
        seconds=float(number),
        sent_now=8 * number,
        draining=draining,
        confirmed=Decimal(number) if priced else None,
        possible=Decimal(0) if priced else None,
        limit=4 * number,
        used_share=number / 10,
        lanes=(LaneNow("near", number, 4 * number, None), LaneNow("far", number, number, number / 10)),
        ends={"done": 9 * number, "failed": number},
    )


def test_a_moment_is_the_sum_of_each_processs() -> None:
    """Counts are added, time is the longest, and the tightest rate counts."""
    both = merged([moment(1), moment(2, draining=True)])
    assert both == Snapshot(
        total=300,
        finished=30,
        failed=3,
        images=27,
        in_flight=6,
        waiting=9,
        tokens=3000,
        seconds=2.0,
        sent_now=24,
        draining=True,
        confirmed=Decimal(3),
        possible=Decimal(0),
        limit=12,
        used_share=0.2,
        lanes=(LaneNow("near", 3, 12, None), LaneNow("far", 3, 3, 0.2)),
        ends={"done": 27, "failed": 3},
    )


def test_what_nobody_knows_is_not_known() -> None:
    """No price is known to anyone; where one knows some, that much is told."""
    assert merged([moment(1, priced=False), moment(2, priced=False)]).confirmed is None  # type: ignore[union-attr]
    assert merged([moment(1, priced=False), moment(2)]).confirmed == Decimal(2)  # type: ignore[union-attr]


def test_until_the_last_has_looked_the_run_looks() -> None:
    """A process that sends already counts with what it has finished."""
    assert merged([Looking(50, 20, 3.0), moment(1)]) == Looking(150, 30, 3.0)


def summary(number: int, code: Exit) -> Summary:
    """The end of a process; its numbers are multiples of its own."""
    tally = Tally()
    tally.tasks.update({"done": 5 * number, "pending": number})
    tally.images, tally.cost = 5 * number, Cost(Decimal(number), Decimal(0))
    tally.usage["total_tokens"] = 7 * number
    tally.failures += [Failure(f"t{number}", "code", "why")] * 15
    return summarise(tally, job="job", run=f"run-{number}", exit_code=code, seconds=number, ledger=f"ledger-{number}")


def test_the_summary_adds_up_and_the_worst_end_is_the_runs() -> None:
    """As if one run had made all attempts."""
    both = merged_summary([summary(1, Exit.DONE), summary(2, Exit.BUDGET)])
    assert (both.tasks["total"], both.tasks["done"], both.tasks["pending"], both.tasks["held"]) == (18, 15, 3, 0)
    assert list(both.tasks) == list(summary(1, Exit.DONE).tasks)
    assert (both.images, both.usage["total_tokens"], both.cost) == (15, 21, Cost(Decimal(3), Decimal(0)))
    assert (both.exit, both.run) == (Exit.BUDGET, "run-1, run-2")
    assert [failure.task for failure in both.failures] == ["t1"] * 15 + ["t2"] * 5


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ((Exit.DONE, Exit.DONE), Exit.DONE),
        ((Exit.DONE, Exit.HELD, Exit.FAILED), Exit.FAILED),
        ((Exit.STORAGE, Exit.REJECTED), Exit.STORAGE),
        ((Exit.TERMINATED, Exit.DONE), Exit.TERMINATED),
        ((Exit.DONE, Exit.BUG), Exit.BUG),
    ],
)
def test_of_several_exits_the_first_in_rank_counts(codes: tuple[Exit, ...], code: Exit) -> None:
    """As of several reasons of one run."""
    assert merged_summary([summary(1, each) for each in codes]).exit == code
