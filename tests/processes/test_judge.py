"""Failures and doubts of several processes are judged as one run's."""

from __future__ import annotations

import pytest

from pipeline.manifest.models import StopOn
from pipeline.processes.judge import too_many
from pipeline.processes.merge import merged
from pipeline.run.progress import Snapshot


def moment(failed: int, done: int, doubts: int, settled: int) -> Snapshot:
    """A moment of one process."""
    return Snapshot(
        total=100,
        finished=failed + done,
        failed=failed,
        images=done,
        in_flight=0,
        waiting=0,
        tokens=0,
        seconds=1.0,
        sent_now=done,
        draining=False,
        failed_now=failed,
        in_doubt=doubts,
        settled=settled,
    )


@pytest.mark.parametrize(
    ("each", "why"),
    [
        ((2, 2, 0, 4), None),
        ((2, 3, 0, 5), "8 of 20 finished tasks failed"),
        ((1, 4, 0, 5), None),
        ((0, 5, 4, 12), None),
        ((0, 5, 2, 13), "8 of 52 requests ended without an answer"),
        ((0, 5, 1, 13), None),
    ],
)
def test_what_four_processes_met_counts_together(each: tuple[int, int, int, int], why: str | None) -> None:
    """From the 20th finished task and the 50th attempt of all on; none of the four has seen as many."""
    now = merged([moment(*each)] * 4)
    assert isinstance(now, Snapshot)
    found = too_many(now, StopOn())
    assert found is None if why is None else (found or "").startswith(why)


def test_without_limits_nothing_is_too_much() -> None:
    """`null` is no limit."""
    assert too_many(moment(100, 0, 100, 100), StopOn(failures=None, in_doubt=None)) is None
