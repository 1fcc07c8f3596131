"""What requests may use and cost, by image set and prompt: from the models' rules, and from what was paid before.

1. Only sums are kept, never tasks: memory grows with the number of sets, prompts and files, and little for a file.
2. An image's header is read once, however many tasks have it.
3. A sum's `low` is a lower bound whatever is unknown; its `high` is None as soon as one request's is.
4. What `ENOUGH` answers of this job used stands for the rule of such requests: same model, size and quality.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field

from pipeline.endpoint.model import Span, hull
from pipeline.endpoint.pricing import RequestEstimate, Seen, estimate_request
from pipeline.ledger.records import Record, Sent, Settled
from pipeline.outcome import Outcome
from pipeline.run.inputs import Sizes
from pipeline.run.model_checks import Offers
from pipeline.tasks.dimensions import KnownDimensions

ENOUGH: Final = 5
"""Answers from which on the ledger knows better than a rule."""

COMPARED: Final = 5_000
"""Results whose estimate is held against what was paid: each may cost the look into a file."""

_KEPT: Final = 4096
_NOTHING: Final = Span(0, 0)


class Estimate(Struct, frozen=True):
    """The price in US dollars, from low to high; None where no price is known."""

    low: Decimal | None = None
    high: Decimal | None = None
    currency: str = "USD"


class Tokens(Struct, frozen=True):
    """Tokens, from low to high; None where no rule is known."""

    low: int | None = None
    high: int | None = None


class Group(Struct, frozen=True):
    """The requests of one prompt for one image set; of `history` of them the ledger told how many tokens they use."""

    set: str
    prompt: str
    requests: int
    images: int
    history: int
    tokens: Tokens
    estimate: Estimate


class Paid(Struct, frozen=True):
    """What results cost that were estimated again by the rules: `estimate` is theirs, `paid` what the ledger says."""

    results: int
    estimate: Estimate
    paid: Decimal


class Sum(Struct):
    """Requests added up."""

    requests: int = 0
    images: int = 0
    history: int = 0
    _tokens: Span = _NOTHING
    _tokens_unknown: int = 0
    _low: Decimal = Decimal(0)
    _high: Decimal = Decimal(0)
    _unknown: int = 0

    def add(self, images: int, found: RequestEstimate, *, history: bool, times: int = 1) -> None:
        """Take in a request, or so many alike."""
        self.requests += times
        self.images += images * times
        self.history += history * times
        if found.input is None or found.output is None:
            self._tokens_unknown += times
        else:
            self._tokens += (found.input + found.output).times(times)
        if found.low is None or found.high is None:
            self._unknown += times
        else:
            self._low += found.low * times
            self._high += found.high * times

    @property
    def tokens(self) -> Tokens:
        """Their tokens."""
        if self.requests and self._tokens_unknown == self.requests:
            return Tokens()
        return Tokens(self._tokens.low, None if self._tokens_unknown else self._tokens.high)

    @property
    def estimate(self) -> Estimate:
        """Their price."""
        if self.requests and self._unknown == self.requests:
            return Estimate()
        return Estimate(self._low, None if self._unknown else self._high)


class _Range(Struct):
    """How many answers there were, and the least and most tokens of an input and of an image."""

    count: int
    input: Span
    output: Span


class History:
    """What earlier answers of a job used, by model, size and quality as they were asked for."""

    def __init__(self) -> None:
        self._known: dict[tuple[str | None, ...], _Range] = {}

    def take(self, line: Settled) -> None:
        """Take in a success with usage; one that brought another number of images tells nothing of each."""
        used = [_count(line.usage, name) for name in ("input_tokens", "output_tokens")]
        if not all(used) or not line.outputs or "count" in line.mismatch:
            return
        images = len(line.outputs)
        new = _Range(1, Span(used[0], used[0]), Span(used[1] // images, -(-used[1] // images)))
        key = (line.model, line.size, line.quality)
        old = self._known.setdefault(key, new)
        if old is not new:
            old.count += 1
            old.input = hull((old.input, new.input)) or old.input
            old.output = hull((old.output, new.output)) or old.output

    def of(self, fields: Mapping[str, Any]) -> Seen | None:
        """What such requests used, where enough is known."""
        key = tuple(None if fields.get(name) is None else str(fields[name]) for name in ("model", "size", "quality"))
        known = self._known.get(key)
        return None if known is None or known.count < ENOUGH else Seen(known.input, known.output)


class Estimator:
    """Estimates requests at any of a job's endpoints; those with rules of their own widen the range."""

    def __init__(self, offers: Offers) -> None:
        self._offers = offers
        self._dimensions = KnownDimensions()
        self._memo: dict[tuple[object, ...], RequestEstimate] = {}

    def of(self, fields: Mapping[str, Any], images: Iterable[str], seen: Seen | None) -> RequestEstimate:
        """What a request with these text fields and image files, the mask left out, may use and cost."""
        return self.of_sizes(fields, self.sizes(images), seen)

    def sizes(self, images: Iterable[str]) -> Sizes:
        """The pixels of image files."""
        return tuple(map(self._dimensions.of, images))

    def of_sizes(self, fields: Mapping[str, Any], sizes: Sizes, seen: Seen | None) -> RequestEstimate:
        """As `of`, for images of these pixels."""
        prompt = str(fields.get("prompt", ""))
        asked = (fields.get(name) for name in ("model", "size", "quality", "n", "input_fidelity"))
        key = (len(prompt), len(prompt.encode("utf-8", "replace")), *asked, sizes, seen)
        found = self._memo.get(key)
        if found is None:
            if len(self._memo) >= _KEPT:
                self._memo.clear()
            found = self._memo[key] = self._anywhere(fields, sizes, seen)
        return found

    def _anywhere(self, fields: Mapping[str, Any], sizes: Sizes, seen: Seen | None) -> RequestEstimate:
        name = str(fields.get("model", ""))
        found = [
            estimate_request(offer.model(name), offer.price(name), fields, sizes, seen)
            for offer in self._offers
            if offer.serves(name)
        ]
        lows, highs = [each.low for each in found], [each.high for each in found]
        return RequestEstimate(
            hull(each.input for each in found),
            hull(each.output for each in found),
            None if not lows or None in lows else min(low for low in lows if low is not None),
            None if not highs or None in highs else max(high for high in highs if high is not None),
        )


class Account(Struct):
    """Reads along while the ledger is replayed: its history, and what its results were estimated at and cost."""

    folder: Path
    estimator: Estimator
    history: History = field(default_factory=History)
    sum: Sum = field(default_factory=Sum)
    paid: Decimal = Decimal(0)
    _sent: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)

    def take(self, line: Record) -> None:
        """Take in the next line."""
        if isinstance(line, Sent):
            self._sent[line.fingerprint, line.attempt] = line.request
        elif isinstance(line, Settled):
            request = self._sent.pop((line.fingerprint, line.attempt), None)
            if line.outcome is Outcome.SUCCEEDED and line.usage is not None:
                self.history.take(line)
                self._compare(request, line)

    def _compare(self, request: dict[str, Any] | None, line: Settled) -> None:
        if request is None or line.cost is None or line.inputs is None or self.sum.requests >= COMPARED:
            return
        images = [str(self.folder / file.path) for file in line.inputs if file.role != "mask"]
        found = self.estimator.of(request, images, None)
        if found.low is not None:
            self.sum.add(len(line.outputs), found, history=False)
            self.paid += line.cost

    @property
    def result(self) -> Paid | None:
        """The comparison; None before there is anything to compare."""
        return Paid(self.sum.requests, self.sum.estimate, self.paid) if self.sum.requests else None


def _count(usage: Mapping[str, Any] | None, name: str) -> int:
    value = (usage or {}).get(name)
    return value if type(value) is int and value > 0 else 0
