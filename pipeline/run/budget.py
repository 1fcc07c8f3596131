"""The budget of a run, opened with what the ledgers have spent."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from pipeline.control.budget import Budget, Spent
from pipeline.control.refusal import Cap
from pipeline.ledger.money import Account, Money
from pipeline.ledger.replay import Ledgers, ledger_path
from pipeline.manifest import models


def limits_of(caps: models.Budget, max_cost: Decimal | None) -> dict[Cap, Decimal]:
    """The caps that are set; `max_cost` is that of the command line, on this run."""
    amounts = {
        Cap.COST: caps.max_cost,
        Cap.MONTH: caps.max_cost_per_month,
        Cap.DAY: caps.max_cost_per_day,
        Cap.RUN: caps.max_cost_per_run,
        Cap.THIS_RUN: max_cost,
        Cap.IMAGES: None if caps.max_images is None else Decimal(caps.max_images),
    }
    return {cap: amount for cap, amount in amounts.items() if amount is not None}


def open_budget(
    caps: models.Budget, max_cost: Decimal | None, money: Money, ledgers: Ledgers, shard: tuple[int, int] | None
) -> Budget:
    """The budget of a run, or of shard I of N, whose recovery is over: what that settled has its final worth then."""
    limits = limits_of(caps, max_cost)
    if shard is None:
        return Budget(limits, own=_spent(money.days()))
    names = [path.name for path in ledgers.paths]
    count = shard[1]
    fellows = [ledger_path(Path(), (at, count)).name for at in range(1, count + 1)]
    by_fellow = [_spent(money.days([names.index(name)])) if name in names else Spent() for name in fellows]
    others = (file for file, name in enumerate(names) if name not in fellows)
    own = by_fellow.pop(shard[0] - 1)
    return Budget(limits, own=own, siblings=by_fellow, elsewhere=_spent(money.days(others)))


def _spent(days: dict[str, Account]) -> Spent:
    return Spent({day: account.spent for day, account in days.items()}, sum(one.images for one in days.values()))
