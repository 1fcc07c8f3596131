"""`kill -9` at single system calls, chosen by what they strike; a sample of `python -m tests.faults.sweep`.

Whatever call is the last: the rerun finishes, what was bought twice was in flight, a further run does nothing, and each
invariant of `tests.faults.watch` holds after the kill and after each run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.endpoint import Endpoint
from tests.faults.forge import Forge
from tests.faults.ground import Ground, Stall, kill_at_random
from tests.faults.scenes import RANDOM
from tests.faults.strace import LOOP, Point

Grounds = Callable[[str], Ground]

POINTS: dict[str, dict[tuple[str, str], tuple[int, ...]]] = {
    # The ledger's writes: run, sent, settled, sent, settled, …, end.
    "first run": {
        ("write", "ledger"): (1, 2, 3, 4),
        ("fdatasync", "ledger"): (1, 2, 3),
        ("open", "parts"): (2, 3),
        ("fsync", "parts"): (1, 2, 3),
        ("link", "parts"): (1, 2),
        ("unlink", "parts"): (1, 2),
        ("write", LOOP): (2, 3, 4, 7),
        ("connect", ""): (1, 2),
        ("flock", ""): (1,),
        ("fallocate", ""): (1,),
        ("pwrite64", ""): (1, 3),
        ("mkdir", ""): (1, 2),
    },
    "first run, asyncio's loop": {("send", LOOP): (1, 2, 3, 4), ("recv", ""): (10, 50), ("write", ""): (3, 6)},
    "first run, 32 at once": {
        ("write", "ledger"): (2, 3),
        ("fdatasync", "ledger"): (3,),
        ("link", "parts"): (3,),
        ("write", LOOP): (20,),
        ("read", ""): (60,),
    },
    "after a torn tail": {("ftruncate", "ledger"): (1,), ("fdatasync", "ledger"): (1, 2), ("write", "ledger"): (1, 2)},
    "after a kill in flight": {("write", "ledger"): (1, 2), ("fdatasync", "ledger"): (2,)},
    "after a picture arrived": {
        ("fdatasync", "ledger"): (2,),
        ("fdatasync", ""): (3,),
        ("link", "parts"): (1,),
        ("unlink", "parts"): (1,),
    },
    "after a result was settled": {("link", "parts"): (1,), ("unlink", "parts"): (1,), ("write", "ledger"): (2,)},
    "after a name was given": {("unlink", "parts"): (1, 3), ("fsync", ""): (5,)},
    "making way": {("link", "parts"): (1, 2), ("unlink", ""): (1, 2), ("fdatasync", "ledger"): (3,)},
    "taking over by copy": {("fsync", "parts"): (1,), ("fdatasync", "ledger"): (2,), ("link", "parts"): (1, 2)},
    "redo": {("write", "ledger"): (2, 3, 5), ("link", "parts"): (2,)},
    "retry": {("write", "ledger"): (2, 3, 5), ("fdatasync", "ledger"): (3,)},
    "first run without hard links": {("rename", ""): (1, 2)},
    "one of two shards": {
        ("write", LOOP): (5,),
        ("fsync", "parts"): (1,),
        ("link", "parts"): (1,),
    },
}
"""Points by scene, kind of call and what alone counts: those that lie on both sides of a step of the protocol."""

ROUNDS = 4
"""Times that a step is looked up: the threads of a run may share their work otherwise than those of the trace did."""

AGAIN = (("write", 2, "ledger"), ("fdatasync", 1, "ledger"), ("link", 1, "parts"), ("unlink", 1, "parts"))


def strike(there: Ground, point: Point) -> None:
    """Strike at a point; again where threads shared their work so that none came to it."""
    assert any(there.strike(point) != [None] for _ in range(4)), "no run came to this point"


@pytest.mark.parametrize(
    ("scene", "point"),
    [
        pytest.param(scene, point, id=f"{scene}-{point}".replace(" ", "-"))
        for scene, kinds in POINTS.items()
        for (call, on), numbers in kinds.items()
        for point in (Point(call, number, on) for number in numbers)
    ],
)
def test_a_kill_at_a_call_costs_at_most_what_was_in_flight(ground: Grounds, scene: str, point: Point) -> None:
    """Whatever is under way and whatever call is the last."""
    strike(ground(scene), point)


@pytest.mark.parametrize(
    ("scene", "call", "about", "which"),
    [
        ("first run", "read", "the endpoint", 0),
        ("first run", "write", "a part", 0),
        ("first run", "write", "a part", -1),
        ("first run", "fdatasync", "a part", -1),
        ("first run", "fsync", "a final name", -1),
        ("first run", "write", "the ledger", -1),
        ("after a torn tail", "open", "a torn tail", -1),
        ("after a torn tail", "write", "a torn tail", 0),
        ("after a torn tail", "fsync", "a torn tail", 0),
        ("making way", "link", "a replaced picture", 0),
        ("making way", "fsync", "a replaced picture", 0),
    ],
)
def test_a_kill_at_a_step_that_is_found_by_a_trace(
    ground: Grounds, scene: str, call: str, about: str, which: int
) -> None:
    """A step of one thread among others: the number of its call is looked up in a run that is not killed."""
    there = ground(scene)
    strokes = (there.strike(point) for _ in range(ROUNDS) for point in there.find(call, about, which))
    assert any(stroke != [None] for stroke in strokes), "no run came to any of them"


@pytest.mark.parametrize(
    "point",
    [
        Point("write", 2, "ledger"),
        Point("fdatasync", 1, "ledger"),
        Point("link", 1, "parts"),
        Point("unlink", 1, "parts"),
    ],
    ids=str,
)
def test_kills_during_the_recovery_are_no_worse(ground: Grounds, point: Point) -> None:
    """Killed when results have their lines and no names; then its recovery killed, and the recovery after that."""
    assert ground("after a result was settled").strike(point, point)[0], "no run came to this point"


def test_random_kills_at_concurrency_32(tmp_path: Path, endpoint: Endpoint, forge: Forge) -> None:
    """300 tasks, 32 at once, killed at random moments until they are done, then new ones, until 40 kills came."""
    stall, chance, kills = Stall(tmp_path, endpoint, forge), random.Random(32), 0
    while kills < 40:
        kills += kill_at_random(stall.trial(RANDOM), chance, 40 - kills)
