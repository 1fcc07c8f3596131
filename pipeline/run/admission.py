"""Admission: which request may leave when, and to which endpoint.

1. Requests are admitted in the order in which they asked, among those that the same endpoints could serve.
2. A request is admitted when one of its endpoints has room, allows it by its rates and is neither paused nor broken,
   and the budget holds its worst case. All of that is taken at once: nothing is awaited between look and taking.
3. While an endpoint seems broken only its probe, always the same task, passes; it waits in no line.
4. What is taken is given back exactly once, by `leave`, which wakes whoever waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import anyio
from msgspec import Struct

from pipeline.control.budget import Budget
from pipeline.control.rates import Charge
from pipeline.control.refusal import Refusal
from pipeline.outcome import Outcome
from pipeline.run.exits import Exit
from pipeline.run.halt import Halt
from pipeline.run.lane import Lane, Worth


class Ask(Struct, frozen=True):
    """A request that asks to be sent: its task, its model by the job's name, and its worth at each endpoint."""

    task: str
    model: str
    worth: Callable[[Lane], Worth]


class Ticket(Struct, frozen=True, eq=False):
    """What an admitted request holds: a place at `lane` since `admitted`, on the monotonic clock, its charge on the
    rates, and its worst cost, reserved in the budget of the UTC `day`. `probe` sees whether a broken endpoint is back.
    """

    lane: Lane
    worth: Worth
    day: str
    admitted: float
    probe: bool


class Admission:
    """Lets requests through to the `lanes`, at most `ceiling` at once over all of them."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        ceiling: int,
        halt: Halt,
        clock: Callable[[], float],
        today: Callable[[], str],
    ) -> None:
        """`clock` is monotonic seconds, `today` the UTC date; the `budget` has no caps until it is set."""
        self.lanes = tuple(lanes)
        self.ceiling = ceiling
        self.budget = Budget()
        self.in_flight = 0
        self._halt = halt
        self._clock = clock
        self._today = today
        self._lines: dict[tuple[Lane, ...], anyio.Lock] = {}
        self._changed: anyio.Event | None = None
        halt.on_drain(self.wake)

    def wake(self) -> None:
        """Let whoever waits look again."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def enter(self, ask: Ask) -> Ticket | None:
        """Wait until the request may be sent; None where the run drains before, or gives up all who could serve it."""
        able = tuple(lane for lane in self.lanes if lane.serves(ask.model))
        if self.is_probe(ask.task):
            return await self._waited(ask, able)
        line = self._lines.get(able)
        if line is None:
            line = self._lines[able] = anyio.Lock(fast_acquire=True)
        async with line:
            return await self._waited(ask, able)

    def leave(self, ticket: Ticket, outcome: Outcome | None, actual: Charge, cost: Decimal | None) -> None:
        """Give back what a request held: `outcome` None where nothing was sent, `actual` what it took of the rates,
        `cost` what it came to, None where that is not known."""
        lane, worth = ticket.lane, ticket.worth
        lane.in_flight -= 1
        self.in_flight -= 1
        lane.rates.settle(worth.charge, actual, self._clock())
        self.budget.settle(worth.charge.images, worth.cost, ticket.day, outcome, cost)
        self.wake()

    def is_probe(self, task: str) -> bool:
        """Whether the task is the one that sees whether a broken endpoint is back."""
        return any(lane.breaker.is_probe(task) for lane in self.lanes)

    def others(self, lane: Lane) -> bool:
        """Whether the run has another endpoint that is not given up, so that one may rest."""
        return any(each is not lane and not each.closed for each in self.lanes)

    def release(self, task: str) -> None:
        """The task asks no more: where it was the probe of an endpoint, another may be."""
        probed = [lane for lane in self.lanes if lane.breaker.is_probe(task)]
        for lane in probed:
            lane.breaker.release(task)
        if probed:
            self.wake()

    async def _waited(self, ask: Ask, able: tuple[Lane, ...]) -> Ticket | None:
        while not self._halt.draining:
            if all(lane.closed for lane in able):
                self._halt.remember(Exit.OUTAGE)
                return None
            found = self._look(ask, able)
            if isinstance(found, Ticket):
                return found
            if not self._halt.draining:  # which a cap that was met in this very look may have begun
                self._changed = self._changed or anyio.Event()
                await self._halt.sleep(found, self._changed)
        return None

    def _look(self, ask: Ask, able: tuple[Lane, ...]) -> Ticket | float | None:
        """A ticket, or the seconds after which to look again; None where something must end first."""
        if self.in_flight >= self.ceiling:
            return None
        now = self._clock()
        worths = {lane: ask.worth(lane) for lane in able}
        waits = {lane: lane.wait(worths[lane].charge, ask.task, now) for lane in able}
        ready = [lane for lane in able if waits[lane] == 0]
        if not ready:
            return min((wait for wait in waits.values() if wait is not None), default=None)
        lane = min(ready, key=lambda lane: (lane.in_flight + 1) / lane.weight)
        return self._take(ask, lane, worths[lane], now)

    def _take(self, ask: Ask, lane: Lane, worth: Worth, now: float) -> Ticket | None:
        day = self._today()
        refusal = self.budget.reserve(worth.charge.images, worth.cost, day)
        if refusal is not None:
            self._refuse(refusal)
            return None
        lane.rates.take(worth.charge, now)
        lane.in_flight += 1
        self.in_flight += 1
        lane.limit.on_start(lane.in_flight, now)
        return Ticket(lane, worth, day, now, lane.breaker.on_start(ask.task, now))

    def _refuse(self, refusal: Refusal) -> None:
        """Stop at a cap, unless what is in flight may give back enough."""
        if not (refusal.may_fit_later and self.in_flight):
            self._halt.drain(Exit.BUDGET, refusal.message)
