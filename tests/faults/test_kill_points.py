"""`kill -9` at single system calls, in a first run and in the run that recovers from it; a sample of the sweep."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.e2e.endpoint import Endpoint
from tests.faults.forge import Forge
from tests.faults.strace import Point
from tests.faults.trial import Trial

SAMPLE = {
    "write": (2, 5, 9, 14),
    "fdatasync": (2, 3, 5, 7),
    "fsync": (2, 4, 5),
    "link": (1, 2, 4),
    "unlink": (1, 3),
    "mkdir": (4, 6),
    "open": (12, 20, 28),
    "connect": (1, 2),
    "read": (15, 60),
    "flock": (1,),
    "ftruncate": (1,),
    "fallocate": (1,),
    "pwrite64": (1,),
}
"""Calls of the busiest thread; which step of the protocol is the N-th depends on how threads share the work."""

POINTS = [Point(call, number) for call, numbers in SAMPLE.items() for number in numbers]


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_a_kill_at_a_call_costs_at_most_what_was_in_flight(trial: Trial, strace: None, point: Point) -> None:
    """Whatever call is the last: the rerun finishes, duplicates were in flight, a further run does nothing."""
    trial.crash(point)
    trial.recover()


@pytest.mark.parametrize(
    "point",
    [
        Point("write", 3),
        Point("fdatasync", 2),
        Point("fsync", 3),
        Point("link", 1),
        Point("unlink", 1),
        Point("open", 9),
    ],
    ids=str,
)
def test_kills_during_the_recovery_are_no_worse(trial: Trial, strace: None, point: Point) -> None:
    """A run killed when results have their lines and no names, then its recovery killed, twice."""
    trial.crash(Point("link", 2))
    trial.crash(point)
    trial.crash(point)
    trial.recover()


def test_random_kills_at_concurrency_16(tmp_path: Path, endpoint: Endpoint, forge: Forge) -> None:
    """80 tasks, 16 at once, killed 10 times at random moments: what is bought twice was in flight at a kill."""
    endpoint.show("latency=0.1s")
    chance = random.Random(16)
    trial = Trial(tmp_path / "job", endpoint, forge, tasks=80, concurrency=16)
    for _ in range(10):
        process = trial.start()
        time.sleep(chance.uniform(0.05, 0.45))
        trial.kill(process)
    trial.recover()
