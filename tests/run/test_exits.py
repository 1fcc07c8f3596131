"""Which exit code a run has where several reasons apply."""

from __future__ import annotations

from itertools import combinations

import pytest

from pipeline.run.exits import ALWAYS_TOLD, RANK, Exit, exit_code

STOPS = (Exit.INTERRUPTED, Exit.TERMINATED, Exit.TOO_MANY, Exit.BUDGET, Exit.OUTAGE, Exit.DURATION)
"""Why a run may stop though nothing is wrong with what it did."""


def test_the_ranks_are_the_documented_ones() -> None:
    """Bug, usage, lock, rebuy, storage, rejected, signals, too many, budget, outage, duration, failed, held, done."""
    assert [int(code) for code in RANK] == [1, 2, 8, 12, 7, 6, 130, 143, 10, 5, 4, 11, 3, 9, 0]
    assert set(RANK) == set(Exit)


@pytest.mark.parametrize("pair", list(combinations(RANK[:-3], 2)))
def test_of_two_reasons_the_higher_rank_is_told(pair: tuple[Exit, Exit]) -> None:
    """The order of the reasons does not matter."""
    for reasons in (pair, pair[::-1]):
        assert exit_code(reasons, failed=1, held=1, pending=1) is pair[0]


@pytest.mark.parametrize("reasons", [(), *((stop,) for stop in STOPS), STOPS])
def test_zero_when_everything_is_done(reasons: tuple[Exit, ...]) -> None:
    """A run that was interrupted, or hit a cap, as its last task ended has nothing left to do: 0."""
    assert exit_code(reasons, failed=0, held=0, pending=0) is Exit.DONE


@pytest.mark.parametrize("reasons", [(), *((reason,) for reason in RANK[:-1])])
@pytest.mark.parametrize(("failed", "held", "pending"), [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
def test_never_zero_with_a_task_left(reasons: tuple[Exit, ...], failed: int, held: int, pending: int) -> None:
    """A task that is not done never hides behind exit 0."""
    assert exit_code(reasons, failed=failed, held=held, pending=pending) is not Exit.DONE


@pytest.mark.parametrize("reason", sorted(ALWAYS_TOLD))
def test_what_is_wrong_besides_the_tasks_is_told_even_when_all_are_done(reason: Exit) -> None:
    """A ledger that could not be ended is not hidden by finished tasks."""
    assert exit_code([reason], failed=0, held=0, pending=0) is reason


@pytest.mark.parametrize(("failed", "held", "code"), [(1, 0, 3), (0, 1, 9), (1, 1, 3)])
def test_failed_comes_before_held(failed: int, held: int, code: int) -> None:
    """3 says that something failed, 9 that something is only held."""
    assert exit_code([], failed=failed, held=held, pending=0) == code


def test_a_pending_task_without_a_reason_is_a_bug() -> None:
    """A run that ends with work left must know why."""
    assert exit_code([], failed=1, held=0, pending=1) is Exit.FAILED
    assert exit_code([], failed=0, held=0, pending=1) is Exit.BUG
