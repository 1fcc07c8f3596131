"""What a request may take at most of an endpoint's rates and of the budget, and what it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from pipeline.control.budget import Spending
from pipeline.control.rates import Charge
from pipeline.endpoint.pricing import estimate_request
from pipeline.ledger.records import Settled
from pipeline.ledger.usage import Cost
from pipeline.outcome import Outcome
from pipeline.run.examine import Examined
from pipeline.run.inputs import Sizes
from pipeline.run.lane import Lane, Worth

_KEPT: Final = 4096


class Worths(Struct, frozen=True):
    """The worth of one task's request at each endpoint; `sizes` are those of its images.

    It is worked out once for all tasks that share their fields, which each endpoint remembers.
    """

    work: Examined
    sizes: Sizes

    def at(self, lane: Lane) -> Worth:
        """The worth at one endpoint."""
        fields = self.work.task.fields
        key = (id(fields), self.sizes)
        known = lane.worths.get(key)
        if known is None:
            if len(lane.worths) >= _KEPT:
                lane.worths.clear()
            # The fields are held so that nothing else gets their identity.
            known = lane.worths[key] = (fields, _worth(self.work, lane, self.sizes))
        return known[1]


def model_of(work: Examined) -> str:
    """The model that a task's request asks for, by the job's name."""
    return str(work.task.fields.get("model", ""))


def needs_sizes(work: Examined, lanes: tuple[Lane, ...]) -> bool:
    """Whether an endpoint's rules count the images' sizes."""
    model = model_of(work)
    return any(lane.offer.model(model) is not None for lane in lanes if lane.serves(model))


def _worth(work: Examined, lane: Lane, sizes: Sizes) -> Worth:
    model, images = model_of(work), work.task.images
    estimate = estimate_request(lane.offer.model(model), lane.offer.price(model), work.task.fields, sizes)
    tokens = sum(span.high for span in (estimate.input, estimate.output) if span is not None)
    return Worth(Charge(requests=1, images=images, tokens=tokens), estimate.high)


def taken(settled: Settled | None, outcome: Outcome | None, charge: Charge) -> Charge:
    """What an attempt took of an endpoint's rates, as far as is known: of one that never left, nothing."""
    if outcome in (None, Outcome.UNSENT):
        return Charge(0, 0, 0)
    if outcome is Outcome.THROTTLED:
        return Charge(1, 0, 0)
    used = _tokens(settled.usage if settled else None)
    return charge if used is None else Charge(charge.requests, charge.images, used)


def spent(run: Spending) -> Cost:
    """A run's money as it is reported; null where no price was known."""
    return Cost(run.confirmed, run.possible) if run.known else Cost()


def _tokens(usage: Mapping[str, Any] | None) -> int | None:
    used = (usage or {}).get("total_tokens")
    return used if type(used) is int and used > 0 else None
