"""What was attempted, received, used and paid, in all and by group: the fold behind `retouch usage --json`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Literal, get_args

import msgspec

from pipeline.ledger.attempts import Attempt, attempts
from pipeline.ledger.period import Period
from pipeline.ledger.records import Record
from pipeline.money import ZERO, believable, book
from pipeline.outcome import Outcome

By = Literal["model", "prompt", "set", "day", "run", "endpoint"]
"""What attempts can be grouped by; a day is UTC's, on which the attempt was admitted."""

GROUPS: tuple[By, ...] = get_args(By)

ATTEMPTED = tuple(outcome for outcome in Outcome if outcome is not Outcome.INVALID)
"""Outcomes that an attempt can have: an invalid item is never sent."""


class Tokens(msgspec.Struct):
    """Tokens that the endpoint reported."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


class Cost(msgspec.Struct):
    """Money, null where no price is known: what reported usage cost, and what may have been billed beyond it."""

    confirmed: Decimal | None = None
    possible: Decimal | None = None
    currency: str = "USD"


def _no_attempts() -> dict[str, int]:
    return dict.fromkeys(ATTEMPTED, 0)


class Tally(msgspec.Struct):
    """Ended attempts by outcome, images received, tokens and money; `cost.possible` holds what is under way too.

    `unpriced`: how many attempts may have been billed and are in neither amount, as no price was known for them.
    """

    attempts: dict[str, int] = msgspec.field(default_factory=_no_attempts)
    images: int = 0
    usage: Tokens = msgspec.field(default_factory=Tokens)
    cost: Cost = msgspec.field(default_factory=Cost)
    unpriced: int = 0

    def add(self, attempt: Attempt) -> None:
        """Count one attempt."""
        line = attempt.settled
        if line is not None:
            self.attempts[line.outcome] += 1
            self.images += len(line.outputs)
            for name in Tokens.__struct_fields__:
                setattr(self.usage, name, getattr(self.usage, name) + tokens(line.usage, name))
        self._pay(attempt, None if line is None else believable(line.cost))

    def _pay(self, attempt: Attempt, cost: Decimal | None) -> None:
        # One without an end may be billed, and is worth its worst case until it has one.
        booked = book(attempt.outcome or Outcome.IN_DOUBT, cost, attempt.begun.worst)
        self.unpriced += booked.unpriced
        if cost is not None or attempt.begun.worst is not None:
            self.cost.confirmed = (self.cost.confirmed or ZERO) + booked.confirmed
            self.cost.possible = (self.cost.possible or ZERO) + booked.possible


class Group(Tally, kw_only=True):
    """A tally of the attempts that have the same values in `group`, null where a line does not say."""

    group: dict[str, str | None]


class Usage(msgspec.Struct):
    """The whole report."""

    total: Tally
    groups: list[Group]


def usage_of(records: Iterable[Record], by: Sequence[By] = (), period: Period | None = None) -> Usage:
    """Fold the attempts among `records` that were admitted in the period.

    Groups are sorted by their values, and there are none without `by`.
    """
    total = Tally()
    groups: dict[tuple[str | None, ...], Group] = {}
    for attempt in attempts(records):
        if period is not None and attempt.at not in period:
            continue
        total.add(attempt)
        values = tuple(getattr(attempt, name) for name in by)
        if values:
            groups.setdefault(values, Group(group=dict(zip(by, values, strict=True)))).add(attempt)
    return Usage(total, [groups[values] for values in sorted(groups, key=_with_null_first)])


def tokens(usage: dict[str, Any] | None, name: str) -> int:
    """A count of reported tokens; 0 where it is missing or cannot be one."""
    value = (usage or {}).get(name)
    return value if type(value) is int and value > 0 else 0


def _with_null_first(values: tuple[str | None, ...]) -> list[tuple[bool, str]]:
    return [(value is not None, value or "") for value in values]
