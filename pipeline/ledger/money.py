"""What the ledgers' attempts cost, folded from `sent.estimated_cost` and `settled.cost`.

1. An attempt's money and images belong to the ledger, the run and the UTC day of its `sent` line, wherever and whenever
   its end is written.
2. From `sent` on it is possible at its estimate, the worst case; its end makes it confirmed, leaves it possible, or
   strikes it off. So what a killed run had reserved is still there after it.
3. It counts once, also where a later run settles it, or takes its result in from the spill folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from pipeline.ledger.records import Sent, Settled
from pipeline.money import ZERO, believable, book
from pipeline.outcome import BILLED


class Account(Struct):
    """Sums over some attempts: US dollars, and images asked for by those that may have been billed or are under way.

    `unpriced` attempts may have been, or may be, billed and are in neither amount, as no price was known for them.
    `known`: whether any line names an amount, so that a zero means nothing was spent and not that nobody knows.
    """

    confirmed: Decimal = ZERO
    possible: Decimal = ZERO
    images: int = 0
    unpriced: int = 0
    known: bool = False

    @property
    def spent(self) -> Decimal:
        """What counts against a cap."""
        return self.confirmed + self.possible


class Held(NamedTuple):
    """What an attempt without an end holds in its account."""

    account: Account
    worst: Decimal | None
    images: int


class Money:
    """The fold; `accounts`: one for each ledger, by its number, and UTC day."""

    def __init__(self) -> None:
        self.accounts: dict[tuple[int, str], Account] = {}

    def open(self, line: Sent, file: int) -> Held:
        """Take in the beginning of an attempt; what it returns is for `close`."""
        account = self._account(file, line.at)
        worst, images = believable(line.estimated_cost), len(line.paths)
        account.images += images
        if worst is None:
            account.unpriced += 1
        else:
            account.possible += worst
            account.known = True
        return Held(account, worst, images)

    def close(self, line: Settled, held: Held | None, file: int) -> None:
        """Take in the end of an attempt; `held` is None where its beginning is not known."""
        if held is None:
            held = Held(self._account(file, line.at), None, 0)
        else:
            _release(held)
        if line.outcome in BILLED:
            _charge(held, line)

    @property
    def total(self) -> Account:
        """Over all ledgers."""
        return _sum(self.accounts.values())

    def days(self, files: Iterable[int] | None = None) -> dict[str, Account]:
        """By UTC day, over the ledgers of these numbers, or over all."""
        wanted = None if files is None else set(files)
        kept = [(day, one) for (file, day), one in list(self.accounts.items()) if wanted is None or file in wanted]
        return {day: _sum(one for of, one in kept if of == day) for day in sorted({day for day, _ in kept})}

    def _account(self, file: int, at: str) -> Account:
        key = (file, at[:10])
        account = self.accounts.get(key)
        if account is None:
            account = self.accounts[key] = Account()
        return account


def _release(held: Held) -> None:
    account = held.account
    account.images -= held.images
    if held.worst is None:
        account.unpriced -= 1
    else:
        account.possible -= held.worst


def _charge(held: Held, line: Settled) -> None:
    account, cost = held.account, believable(line.cost)
    booked = book(line.outcome, cost, held.worst)
    account.confirmed += booked.confirmed
    account.possible += booked.possible
    account.unpriced += booked.unpriced
    account.known |= cost is not None
    account.images += held.images or line.n or len(line.outputs) or 1


def _sum(accounts: Iterable[Account]) -> Account:
    total = Account()
    for one in list(accounts):
        total.confirmed += one.confirmed
        total.possible += one.possible
        total.images += one.images
        total.unpriced += one.unpriced
        total.known |= one.known
    return total
