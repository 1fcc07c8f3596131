"""One endpoint of a run: the way to it, and what holds its requests back."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct, field

from pipeline.control.breaker import Breaker
from pipeline.control.concurrency import LiveLimit
from pipeline.control.rates import Charge, Rates
from pipeline.endpoint.key import Key
from pipeline.endpoint.transport import Transport
from pipeline.run.gate import Gate
from pipeline.run.inputs import Sizes
from pipeline.run.model_checks import Offer


class Worth(Struct, frozen=True):
    """What a request may take at most: of an endpoint's rates, and of the budget (None where no price is known)."""

    charge: Charge
    cost: Decimal | None


class Lane(Struct, eq=False):
    """An endpoint as a run uses it.

    `name` stands in the ledger: the host of a single endpoint, or the name that the job gives to one of several.
    `offer` knows its models and prices, `worths` what requests were found to be worth here. `in_flight` counts its
    requests; `closed` says that it is down for the rest of the run.
    """

    name: str
    transport: Transport
    key: Key | None
    offer: Offer
    gate: Gate
    rates: Rates
    limit: LiveLimit
    breaker: Breaker
    weight: float = 1.0
    in_flight: int = 0
    closed: bool = False
    worths: dict[tuple[int, Sizes], tuple[Mapping[str, Any], Worth]] = field(default_factory=dict)

    def serves(self, model: str) -> bool:
        """Whether it takes requests for a model, by the job's name."""
        return self.offer.serves(model)

    def wait(self, charge: Charge, task: str, now: float) -> float | None:
        """Seconds after which the task may be sent here, 0 for now; None where something must end first."""
        if self.closed or self.in_flight >= self.limit.limit:
            return None
        return max(
            self.gate.seconds_left,
            self.breaker.wait(task, now),
            self.limit.wait(now),
            self.rates.wait(charge, now),
        )
