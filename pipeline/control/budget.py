"""Caps on what is bought: the worst case is reserved at admission, and settled by what an attempt came to.

1. No admission takes spent + reserved above a cap, at any concurrency: reserving is one step that awaits nothing.
2. An attempt that may have been billed without saying what it cost stays booked at its worst case; one that was not
   billed gives everything back.
3. Shards share a cap without talking to each other, and together never exceed it: see `part_of`.
4. Days and months are UTC's, those of the attempt's admission, also where its answer comes on the next.
5. What a request actually cost is booked whatever was reserved: a worst case that was too low shows in the sums, and
   then keeps the next request back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_FLOOR, Context, Decimal

from msgspec import Struct, field

from pipeline.control.refusal import Cap, Refusal
from pipeline.money import ZERO, book
from pipeline.outcome import BILLED, Outcome

_DOWN = Context(prec=28, rounding=ROUND_FLOOR)


class Spent(Struct, frozen=True):
    """What ledgers have spent, what is under way or in doubt at its worst case: US dollars by UTC day, and images."""

    by_day: Mapping[str, Decimal] = field(default_factory=dict)
    images: int = 0

    def on(self, cap: Cap, period: str) -> Decimal:
        """The part that counts against a cap in a period; against one on a single run nothing does."""
        match cap:
            case Cap.IMAGES:
                return Decimal(self.images)
            case Cap.RUN | Cap.THIS_RUN:
                return ZERO
        return sum((amount for day, amount in self.by_day.items() if day.startswith(period)), ZERO)


class Account(Struct):
    """A cap in one of its periods: this run's part of it, what of that is gone and what is reserved."""

    limit: Decimal
    spent: Decimal
    reserved: Decimal = ZERO


class Spending(Struct):
    """This run's money, in US dollars: confirmed by reported usage; possibly billed, at its worst case; in flight.

    `unpriced` attempts may have been billed and are in none of these. `known`: whether any price was met at all.
    """

    confirmed: Decimal = ZERO
    possible: Decimal = ZERO
    in_flight: Decimal = ZERO
    unpriced: int = 0
    known: bool = False


def part_of(limit: Decimal, elsewhere: Decimal, ledgers: Sequence[Decimal]) -> Decimal:
    """Up to what amount each of N shards may fill its own ledger, so that all together stay within `limit`.

    `ledgers` are the amounts in the N shards' ledgers, `elsewhere` that of all others: of an unsharded run, or of
    another N. Usually this is (limit - elsewhere) / N. A ledger that holds more than that already (from before
    others spent) takes from what the rest share evenly: the result is the level L at which the sum of max(ledger, L)
    over all N is limit - elsewhere.

    Why this holds with all shards at work, each knowing only what it read at its start: while shards of one N run no
    ledger elsewhere grows, as an unsharded run needs the lock to itself. A ledger below L grows to L at most and so
    leaves max(ledger, L) as it was; one above L is refused everything. So whoever looks, whenever, finds the same L
    (or, after reservations came back, a higher one under which all lower ones fit), and the sum stays within the
    limit. Shards of different N at the same time do not know of each other: a cap holds among those of one N.
    """
    left = limit - elsewhere
    if len(ledgers) == 1:
        return max(left, ZERO)
    sharers = len(ledgers)
    for spent in sorted(ledgers, reverse=True):
        level = _DOWN.divide(left, Decimal(sharers))
        if spent <= level:
            return level
        left, sharers = left - spent, sharers - 1
    return ZERO


class Budget(Struct):
    """The caps of one run, `limits`; a cap that is not in them is not set.

    `own` is what the ledgers have spent that this run counts as its own: all of them, or its shard's. `siblings` are
    those of the other shards of the same N, one each, also where nothing was spent; `elsewhere` all the rest.
    """

    limits: Mapping[Cap, Decimal] = field(default_factory=dict)
    own: Spent = Spent()
    siblings: Sequence[Spent] = ()
    elsewhere: Spent = Spent()
    run: Spending = field(default_factory=Spending)
    _accounts: dict[tuple[Cap, str], Account] = field(default_factory=dict)

    @property
    def counts_money(self) -> bool:
        """Whether a cap on money is set, so that every request needs a known price."""
        return any(cap is not Cap.IMAGES for cap in self.limits)

    def reserve(self, images: int, cost: Decimal | None, day: str) -> Refusal | None:
        """Take a request's images and worst cost out of every cap, or say which one keeps it back and take nothing.

        `cost` is in US dollars, None where it is not known; `day` is the UTC date, YYYY-MM-DD. Of several refusals the
        one is given that no request in flight can lift.
        """
        refusals = [refusal for cap in self.limits if (refusal := self._refusal(cap, images, cost, day))]
        if refusals:
            return min(refusals, key=lambda refusal: refusal.may_fit_later)
        for cap in self.limits:
            self._account(cap, day).reserved += _amount(cap, images, cost) or ZERO
        self.run.in_flight += cost or ZERO
        self.run.known |= cost is not None
        return None

    def settle(
        self, images: int, reserved: Decimal | None, day: str, outcome: Outcome | None, cost: Decimal | None
    ) -> None:
        """Turn a reservation (`images`, `reserved`, `day` as they were reserved) into what the attempt came to.

        `outcome` is None for what was never sent. `cost` is that of the reported usage, None without usage or price.
        """
        for cap in self.limits:
            account = self._account(cap, day)
            account.reserved -= _amount(cap, images, reserved) or ZERO
            if outcome in BILLED:
                account.spent += _amount(cap, images, reserved if cost is None else cost) or ZERO
        self._note(outcome, reserved, cost)

    def _note(self, outcome: Outcome | None, reserved: Decimal | None, cost: Decimal | None) -> None:
        run = self.run
        run.in_flight -= reserved or ZERO
        if outcome is not None:
            booked = book(outcome, cost, reserved)
            run.confirmed += booked.confirmed
            run.possible += booked.possible
            run.unpriced += booked.unpriced
            run.known |= cost is not None

    def _refusal(self, cap: Cap, images: int, cost: Decimal | None, day: str) -> Refusal | None:
        account, amount = self._account(cap, day), _amount(cap, images, cost)
        if amount is not None and account.spent + account.reserved + amount <= account.limit:
            return None
        sharers = 1 + len(self.siblings)
        return Refusal(cap, account.limit, account.spent, account.reserved, amount, cap.period(day), sharers)

    def _account(self, cap: Cap, day: str) -> Account:
        period = cap.period(day)
        account = self._accounts.get((cap, period))
        if account is None:
            account = self._accounts[cap, period] = self._opened(cap, period)
        return account

    def _opened(self, cap: Cap, period: str) -> Account:
        own, elsewhere = self.own.on(cap, period), self.elsewhere.on(cap, period)
        part = part_of(self.limits[cap], elsewhere, [own, *(each.on(cap, period) for each in self.siblings)])
        return Account(part // 1 if cap is Cap.IMAGES else part, own)


def _amount(cap: Cap, images: int, cost: Decimal | None) -> Decimal | None:
    """What a request takes of a cap."""
    return Decimal(images) if cap is Cap.IMAGES else cost
