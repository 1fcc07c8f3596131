"""A fingerprint's past, and what it lets the run do."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING

import msgspec

from pipeline.ledger.places import Where
from pipeline.ledger.records import Settled
from pipeline.outcome import BILLED, FREE_RETRY, Outcome

if TYPE_CHECKING:
    from pipeline.manifest.models import Retries

INTERRUPTED = "interrupted"
"""Code of an attempt whose run ended before it."""

CANCELLED = "cancelled"
"""Code of an attempt that the user, or a drain that took too long, cut off."""

OURS = frozenset({INTERRUPTED, CANCELLED})
"""Codes of attempts in doubt that we ended ourselves: they do not use up `retries.max_attempts`."""

STORAGE = "storage"
"""Code of an `unusable` attempt whose result came but could not be stored."""

BILLED_IN_VAIN = BILLED - {Outcome.SUCCEEDED}
"""Outcomes that may have cost money and brought nothing."""

_KEY_KEPT = FREE_RETRY | {Outcome.IN_DOUBT}


Mark = tuple[int, int, Where | None]
"""Attempts, results, and the line that ended the last attempt in vain."""


class Standing(Enum):
    """What may be done for a fingerprint."""

    PENDING = auto()
    DONE = auto()
    HELD = auto()
    FAILED = auto()


class Course(msgspec.Struct, frozen=True):
    """How a fingerprint fared since its last reopening or success.

    `billed` counts the attempts in doubt or unusable that use up `retries.max_attempts`, `unusable` those of that
    outcome. `last` and `code` say how the last one ended and `where` its line stands, None where none did. `open_key`
    is the idempotency key to send again, None where a new one is due.
    """

    billed: int = 0
    unusable: int = 0
    last: Outcome | None = None
    code: str | None = None
    where: Where | None = None
    open_key: str | None = None


class History(Course, frozen=True):
    """A fingerprint's past: `attempts` is the highest number ever, `sources` the lines that name outputs of it.

    There were `results` of these at the time of this past; lines that came later may stand behind them.
    """

    attempts: int = 0
    sources: Sequence[Where] = ()
    results: int = 0

    @property
    def mark(self) -> Mark:
        """What tells this past from the same fingerprint's after any further line of it."""
        return self.attempts, self.results, self.where


def after(course: Course, line: Settled, where: Where | None = None) -> Course:
    """The course once an attempt ended without a result."""
    counts = line.outcome in BILLED_IN_VAIN and line.code not in OURS and not line.probe
    return Course(
        billed=course.billed + counts,
        unusable=course.unusable + (line.outcome is Outcome.UNUSABLE),
        last=line.outcome,
        code=line.code,
        where=where,
        open_key=course.open_key if line.outcome in _KEY_KEPT else None,
    )


def standing_of(history: History, retries: Retries) -> Standing:
    """What may be done for a fingerprint that has no result at hand; DONE where it had one."""
    used_up = history.billed >= retries.max_attempts
    match history.last:
        case Outcome.SUCCEEDED:
            return Standing.DONE
        case Outcome.REFUSED:
            return Standing.FAILED
        case Outcome.UNUSABLE if history.code == STORAGE:
            return Standing.HELD
        case Outcome.UNUSABLE if used_up or history.unusable >= 2:
            return Standing.FAILED
        case Outcome.IN_DOUBT if retries.in_doubt == "hold":
            return Standing.HELD
    return Standing.HELD if used_up else Standing.PENDING
