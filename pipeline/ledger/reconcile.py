"""The ledger held against a provider's usage export, by UTC day and model.

1. A request that was answered with a result counts; one that was refused, throttled or never sent does not, as
   providers bill none of these.
2. An attempt in doubt may stand in the provider's account or not, with any number of tokens: it explains a surplus
   there, never a shortfall.
3. Only what the export has is compared. Cost is shown and not judged: providers round, and prices change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum

import msgspec

from pipeline.ledger.attempts import Attempt, attempts
from pipeline.ledger.period import Period
from pipeline.ledger.records import Record
from pipeline.ledger.usage import tokens
from pipeline.money import believable
from pipeline.outcome import BILLED, Outcome

COUNTS = ("requests", "input_tokens", "output_tokens", "total_tokens")
"""What is compared."""

_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


class Account(msgspec.Struct):
    """One side's sums for a day and model; null where that side does not say."""

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cost: Decimal | None = None

    def add(self, other: Account) -> None:
        """Add what the other says."""
        for name in self.__struct_fields__:
            more = getattr(other, name)
            if more is not None:
                setattr(self, name, (getattr(self, name) or 0) + more)


class Billed(msgspec.Struct, frozen=True):
    """A row of the export: a UTC day, a model as the provider names it, and its account."""

    day: str
    model: str
    account: Account


class Finding(StrEnum):
    """How the two sides of a day and model compare."""

    AGREES = "agrees"
    IN_DOUBT = "in doubt"
    DIFFERS = "differs"
    LEDGER_ONLY = "ledger only"
    PROVIDER_ONLY = "provider only"


UNEXPLAINED = frozenset({Finding.DIFFERS, Finding.LEDGER_ONLY, Finding.PROVIDER_ONLY})


class Line(msgspec.Struct):
    """A day and model: what each side says, null where it knows nothing of it, and how they compare.

    `in_doubt` attempts of the ledger may have been billed with tokens that nobody told, and `unmetered` results came
    without them; `differences` names what differs. `IN_DOUBT` is a difference that these can explain.
    """

    day: str
    model: str | None
    finding: Finding
    ledger: Account | None
    provider: Account | None
    in_doubt: int = 0
    unmetered: int = 0
    differences: tuple[str, ...] = ()


class Reconciliation(msgspec.Struct):
    """Every day and model; `agrees` where no difference is left unexplained."""

    agrees: bool
    findings: dict[str, int]
    lines: list[Line]


class _Own(msgspec.Struct):
    """The ledger's side of a day and model."""

    account: Account
    in_doubt: int = 0
    unmetered: int = 0

    def take(self, attempt: Attempt) -> None:
        """Count an attempt that was or may have been billed."""
        line = attempt.settled
        if line is None or (line.usage is None and line.outcome is not Outcome.SUCCEEDED):
            self.in_doubt += 1
            return
        self.unmetered += line.usage is None
        self.account.add(
            Account(
                requests=1,
                input_tokens=tokens(line.usage, "input_tokens"),
                output_tokens=tokens(line.usage, "output_tokens"),
                total_tokens=tokens(line.usage, "total_tokens"),
                cost=believable(line.cost),
            )
        )


def plain_model(name: str) -> str:
    """A model without a router's `vendor/` prefix, a snapshot's date and capitals: `gpt-image-1.5`."""
    return _SNAPSHOT.sub("", name.strip().casefold().rpartition("/")[2])


def reconcile(
    records: Iterable[Record], export: Iterable[Billed], period: Period | None = None, endpoint: str | None = None
) -> Reconciliation:
    """Compare the ledger's attempts with the rows of an export.

    Both are cut to the `period`, of the export by the first instant of its days; the ledger also to the attempts that
    went to `endpoint`, where one is named.
    """
    period = period or Period()
    ours = _ours(records, period, endpoint)
    theirs: dict[tuple[str, str], Account] = {}
    for row in export:
        if f"{row.day}T00:00:00.000Z" in period:
            theirs.setdefault((row.day, plain_model(row.model)), Account()).add(row.account)
    lines = [_line(key, ours.get(key), theirs.get(key)) for key in sorted({*ours, *theirs})]
    findings = {str(finding): sum(line.finding is finding for line in lines) for finding in Finding}
    return Reconciliation(not any(line.finding in UNEXPLAINED for line in lines), findings, lines)


def _ours(records: Iterable[Record], period: Period, endpoint: str | None) -> dict[tuple[str, str], _Own]:
    ours: dict[tuple[str, str], _Own] = {}
    for attempt in attempts(records):
        billed = attempt.outcome is None or attempt.outcome in BILLED
        if billed and attempt.at in period and endpoint in (None, attempt.endpoint):
            zero = Account(requests=0, input_tokens=0, output_tokens=0, total_tokens=0)
            ours.setdefault((attempt.day, plain_model(attempt.model or "")), _Own(zero)).take(attempt)
    return ours


def _line(key: tuple[str, str], own: _Own | None, provider: Account | None) -> Line:
    day, model = key[0], key[1] or None
    if own is None:
        return Line(day, model, Finding.PROVIDER_ONLY, None, provider)
    differences = () if provider is None else _differences(own.account, provider)
    return Line(
        day=day,
        model=model,
        finding=_finding(own, provider, differences),
        ledger=own.account,
        provider=provider,
        in_doubt=own.in_doubt,
        unmetered=own.unmetered,
        differences=differences,
    )


def _differences(own: Account, provider: Account) -> tuple[str, ...]:
    return tuple(name for name in COUNTS if getattr(provider, name) not in (None, getattr(own, name)))


def _finding(own: _Own, provider: Account | None, differences: Sequence[str]) -> Finding:
    if provider is None:
        return Finding.LEDGER_ONLY if own.account.requests else Finding.IN_DOUBT
    if not differences:
        return Finding.AGREES
    explained = all(_explained(own, provider, name) for name in differences)
    return Finding.IN_DOUBT if explained else Finding.DIFFERS


def _explained(own: _Own, provider: Account, name: str) -> bool:
    """Whether attempts without usage can be what the provider has more of; they add no more requests than they are."""
    more = (getattr(provider, name) or 0) - (getattr(own.account, name) or 0)
    if name == "requests":
        return bool(0 <= more <= own.in_doubt)
    return bool(more >= 0 and own.in_doubt + own.unmetered)
