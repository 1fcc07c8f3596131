"""What was attempted, received and used, in all and by group: the fold behind `retouch usage --json`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from pipeline.ledger.records import Record, Settled
from pipeline.outcome import Outcome

By = Literal["model", "prompt", "set", "day", "run"]
"""What attempts can be grouped by; a day is UTC's."""

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
    """Attempts by outcome, images received, tokens and money."""

    attempts: dict[str, int] = msgspec.field(default_factory=_no_attempts)
    images: int = 0
    usage: Tokens = msgspec.field(default_factory=Tokens)
    cost: Cost = msgspec.field(default_factory=Cost)

    def add(self, line: Settled) -> None:
        """Count one attempt."""
        self.attempts[line.outcome] += 1
        self.images += len(line.outputs)
        for name in Tokens.__struct_fields__:
            setattr(self.usage, name, getattr(self.usage, name) + _count(line.usage, name))


class Group(Tally, kw_only=True):
    """A tally of the attempts that have the same values in `group`, null where a line does not say."""

    group: dict[str, str | None]


class Usage(msgspec.Struct):
    """The whole report."""

    total: Tally
    groups: list[Group]


def usage_of(records: Iterable[Record], by: Sequence[By] = ()) -> Usage:
    """Fold the settled attempts among `records`; groups are sorted by their values, and there are none without `by`."""
    total = Tally()
    groups: dict[tuple[str | None, ...], Group] = {}
    for record in records:
        if not isinstance(record, Settled) or record.outcome is Outcome.INVALID:
            continue
        total.add(record)
        values = tuple(_value(record, name) for name in by)
        if values:
            groups.setdefault(values, Group(group=dict(zip(by, values, strict=True)))).add(record)
    return Usage(total, [groups[values] for values in sorted(groups, key=_with_null_first)])


def _value(line: Settled, name: By) -> str | None:
    value: str | None = line.at[:10] if name == "day" else getattr(line, name)
    return value


def _with_null_first(values: tuple[str | None, ...]) -> list[tuple[bool, str]]:
    return [(value is not None, value or "") for value in values]


def _count(usage: dict[str, Any] | None, name: str) -> int:
    value = (usage or {}).get(name)
    return value if type(value) is int and value > 0 else 0
