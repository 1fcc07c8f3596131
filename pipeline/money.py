"""Money: US dollars as decimals, how the end of an attempt is booked, and how an amount is written for people."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from pipeline.outcome import BILLED, Outcome

ZERO = Decimal(0)

_LEAST = -30
"""The power of ten of the least amount; far smaller ones would be written with as many digits."""
_MOST = Decimal(10) ** 12
"""US dollars; a line that names more, or less than nothing, was not written by this program."""


class Booked(NamedTuple):
    """What an ended attempt came to, in US dollars.

    `confirmed`: what its reported usage costs. `possible`: the worst case of an attempt that may have been billed and
    reported none. `unpriced`: it may have been billed, and neither is known.
    """

    confirmed: Decimal
    possible: Decimal
    unpriced: bool


_NOTHING = Booked(ZERO, ZERO, unpriced=False)
_UNPRICED = Booked(ZERO, ZERO, unpriced=True)


def book(outcome: Outcome, cost: Decimal | None, worst: Decimal | None) -> Booked:
    """What an attempt comes to that had `worst` reserved; `cost` is that of its reported usage, None without one."""
    if outcome not in BILLED:
        return _NOTHING
    if cost is not None:
        return Booked(cost, ZERO, unpriced=False)
    return _UNPRICED if worst is None else Booked(ZERO, worst, unpriced=False)


def believable(amount: Decimal | None) -> Decimal | None:
    """An amount read from a file; None, as if there were none, where no request can have cost that."""
    if amount is None or not amount.is_finite() or not ZERO <= amount < _MOST:
        return None
    return amount if not amount or amount.adjusted() >= _LEAST else None


def dollars(amount: Decimal) -> str:
    """`1,234.5000`: four digits after the point, or as many as a smaller amount needs, never an exponent."""
    if amount and abs(amount) < Decimal("0.001"):
        return f"{round(amount, 12).normalize():f}"
    return f"{amount:,.4f}"
