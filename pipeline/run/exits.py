"""Exit codes and which of them wins; both are an interface that scripts rely on."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """What a run came to."""

    DONE = 0
    BUG = 1
    USAGE = 2
    FAILED = 3
    OUTAGE = 4
    BUDGET = 5
    REJECTED = 6
    STORAGE = 7
    LOCKED = 8
    HELD = 9
    TOO_MANY = 10
    DURATION = 11
    REBUY = 12
    INTERRUPTED = 130
    TERMINATED = 143


RANK = (
    Exit.BUG,
    Exit.USAGE,
    Exit.LOCKED,
    Exit.REBUY,
    Exit.STORAGE,
    Exit.REJECTED,
    Exit.INTERRUPTED,
    Exit.TERMINATED,
    Exit.TOO_MANY,
    Exit.BUDGET,
    Exit.OUTAGE,
    Exit.DURATION,
    Exit.FAILED,
    Exit.HELD,
    Exit.DONE,
)
"""Where several apply, the first one here is the exit code."""

ALWAYS_TOLD = frozenset(RANK[: RANK.index(Exit.INTERRUPTED)])
"""Exits that stand even when every selected task is done: something besides the tasks is wrong."""


def exit_code(reasons: Iterable[Exit], *, failed: int, held: int, pending: int) -> Exit:
    """The one exit code of a run that stopped for `reasons` and left so many tasks behind.

    `failed` counts invalid tasks too. 0 if and only if every selected task is done.
    """
    reasons = set(reasons)
    if not failed and not held and not pending:
        reasons &= ALWAYS_TOLD
    if failed:
        reasons.add(Exit.FAILED)
    if held:
        reasons.add(Exit.HELD)
    return min(reasons, key=RANK.index, default=Exit.BUG if pending else Exit.DONE)
