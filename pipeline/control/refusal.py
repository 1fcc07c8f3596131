"""The caps on what is bought, and what the user is told when one keeps a request back."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from pipeline.money import dollars


class Cap(StrEnum):
    """A cap by the manifest's key, or the flag, that sets it; a day and a month are UTC's."""

    COST = "budget.max_cost"
    MONTH = "budget.max_cost_per_month"
    DAY = "budget.max_cost_per_day"
    RUN = "budget.max_cost_per_run"
    THIS_RUN = "--max-cost"
    IMAGES = "budget.max_images"

    def period(self, day: str) -> str:
        """The period that `day` (YYYY-MM-DD) belongs to: that day, its month, or "" for a cap without periods."""
        match self:
            case Cap.DAY:
                return day
            case Cap.MONTH:
                return day[:7]
        return ""


class Refusal(Struct, frozen=True):
    """Why a request may not be sent: which cap, and how it stands; US dollars, of `Cap.IMAGES` images.

    `limit` is this run's part of the cap, of which `sharers` shards have one each. `amount` is what the request may
    take, None where its price is not known. `period` is the day or month that the cap is about, else "".
    """

    cap: Cap
    limit: Decimal
    spent: Decimal
    reserved: Decimal
    amount: Decimal | None
    period: str = ""
    sharers: int = 1

    @property
    def may_fit_later(self) -> bool:
        """Whether the request fits if enough of what is in flight comes back: then it is worth waiting for."""
        return self.amount is not None and self.reserved > 0 and self.spent + self.amount <= self.limit

    @property
    def message(self) -> str:
        """What holds the run up, and what to do, for the user."""
        whose = f"{self.cap}" if self.sharers == 1 else f"one of {self.sharers} parts of {self.cap}"
        if self.amount is None:
            return f"{self.cap}: what the next request may cost is not known; give its model a price, or lift the cap"
        return f"{whose}: {self._standing(self.amount)}; {self._way_on()}"

    def _standing(self, amount: Decimal) -> str:
        gone = self.spent + self.reserved
        if self.cap is Cap.IMAGES:
            return f"{gone} of {self.limit} images are bought or on their way, and the next request asks for {amount}"
        of_when = f" of {self.period}" if self.period else ""
        return (
            f"{_rounded(gone)} of {_rounded(self.limit)} US${of_when} are spent or on their way, "
            f"and the next request may cost up to {_rounded(amount)}"
        )

    def _way_on(self) -> str:
        match self.cap:
            case Cap.DAY | Cap.MONTH:
                return f"it begins anew on {_after(self.period)} at 00:00 UTC: run again then, or raise it to go on"
            case Cap.RUN | Cap.THIS_RUN:
                return "run again to go on with the rest, or raise it"
        return "raise it to go on with the rest"


def _rounded(amount: Decimal) -> str:
    """An amount with cents at least, and no more zeros behind them than it takes."""
    text = dollars(amount)
    whole, _, digits = text.partition(".")
    return f"{whole}.{digits.rstrip('0'):0<2}"


def _after(period: str) -> str:
    """The first day after a day or month."""
    first = date.fromisoformat(period if len(period) == 10 else f"{period}-01")
    after = first + timedelta(days=1 if len(period) == 10 else 31)
    return str(after if len(period) == 10 else after.replace(day=1))
