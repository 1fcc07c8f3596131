"""An endpoint's allowances a minute, of requests, images and tokens, spent evenly.

1. No minute's allowance is spent at once: what was not used is kept for a moment only (`KEPT_SECONDS`, far below the
   10 requests or 2 s that a bucket may keep at most), and the first request finds an allowance for itself alone.
2. What is charged may be more than is ever kept: then it goes as soon as all is there, and the next wait longer.
3. What a request really took replaces what was charged for it.
4. What the endpoint says remains is an upper bound; its limit counts where the job sets none.

Pure: times are monotonic seconds and passed in.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

from msgspec import Struct

KEPT_SECONDS = 0.05
"""How much allowance is kept beyond one request: that of so many seconds. It makes up for late wake-ups."""
PACE = 0.99
"""The share of an allowance that is aimed at: requests arrive less evenly than they were sent."""
DISPLAYED_SECONDS = 60.0
LEAST_DISPLAYED_SECONDS = 10.0
MOST_TAKES = 8192
"""Takes that a bucket remembers; of more the older are forgotten."""


class Charge(Struct, frozen=True):
    """What a request takes of each allowance."""

    requests: int = 1
    images: int = 1
    tokens: int = 0


class Allowance(Protocol):
    """What an endpoint says of one allowance: so much a minute, so much left, full again after so many seconds."""

    @property
    def limit(self) -> float | None: ...
    @property
    def remaining(self) -> float | None: ...
    @property
    def reset(self) -> float | None: ...


class Allowances(Protocol):
    """What an endpoint says of its allowances in an answer."""

    @property
    def requests(self) -> Allowance | None: ...
    @property
    def images(self) -> Allowance | None: ...
    @property
    def tokens(self) -> Allowance | None: ...


class Rates:
    """The three buckets of an endpoint; None is no limit, until the endpoint names one."""

    def __init__(
        self,
        requests_per_minute: float | None,
        images_per_minute: float | None,
        tokens_per_minute: float | None,
        now: float,
    ) -> None:
        self._requests = Bucket(requests_per_minute, now)
        self._images = Bucket(images_per_minute, now)
        self._tokens = Bucket(tokens_per_minute, now)

    def wait(self, charge: Charge, now: float) -> float:
        """Seconds until a request may be sent; 0 for now."""
        return max(
            self._requests.wait(charge.requests, now),
            self._images.wait(charge.images, now),
            self._tokens.wait(charge.tokens, now),
        )

    def take(self, charge: Charge, now: float) -> None:
        """Charge a request that is sent now."""
        self._requests.take(charge.requests, now)
        self._images.take(charge.images, now)
        self._tokens.take(charge.tokens, now)

    def settle(self, charge: Charge, actual: Charge, now: float) -> None:
        """Put what a request took in place of what was charged; `Charge(0, 0, 0)` where it was never sent."""
        self._requests.give(charge.requests - actual.requests, now)
        self._images.give(charge.images - actual.images, now)
        self._tokens.give(charge.tokens - actual.tokens, now)

    def heed(self, said: Allowances, now: float, started: float | None = None) -> None:
        """Take in what an answer says; `started` is when its request was sent, as it cannot know of later ones."""
        since = now if started is None else started
        for bucket, allowance in (
            (self._requests, said.requests),
            (self._images, said.images),
            (self._tokens, said.tokens),
        ):
            if allowance is not None:
                bucket.heed(allowance, since, now)

    def throttled(self) -> None:
        """The endpoint throttled though its rates were kept: from now on nothing is made up for."""
        for bucket in (self._requests, self._images, self._tokens):
            bucket.strict = True

    def used_share(self, now: float) -> float | None:
        """The share of the tightest allowance that was used in the last minute; None where nothing is limited."""
        buckets = (self._requests, self._images, self._tokens)
        return max((share for bucket in buckets if (share := bucket.used_share(now)) is not None), default=None)


class Bucket:
    """One allowance; `per_minute` None is no limit."""

    def __init__(self, per_minute: float | None, now: float) -> None:
        self.strict = False
        self._told = per_minute is not None
        self._per_minute = per_minute
        self._began = now
        self._level: float | None = None
        self._at = now
        self._takes = Takes(now)

    def wait(self, amount: float, now: float) -> float:
        """Seconds until so much may be taken."""
        if self._per_minute is None or amount <= 0:
            return 0.0
        self._refill(now)
        if self._level is None:
            return 0.0
        missing = min(amount, self._kept) - self._level
        # Less than a rounding error is missing where one waited as long as was asked for.
        return missing / self._per_second if missing > 1e-6 * self._kept else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take so much, also where it is not there."""
        self._refill(now)
        level = min(amount, self._kept) if self._level is None else self._level
        self._level = level - amount
        self._takes.add(amount, now)

    def give(self, amount: float, now: float) -> None:
        """Give back what was taken and not used; below zero, take what was used and not taken."""
        if amount and self._level is not None:
            self._refill(now)
            self._level = min(self._kept, self._level + amount)
            self._takes.add(-amount, now)

    def heed(self, said: Allowance, since: float, now: float) -> None:
        """Take in what the endpoint said of the time when it got a request that was sent at `since`."""
        if not self._told and said.limit:
            self._refill(now)
            self._per_minute = said.limit
        taken = self._takes.after(since)
        if self._per_minute is None or said.remaining is None or taken is None or self._level is None:
            return
        self._refill(now)
        bound = said.remaining + (now - since) * self._per_second - taken
        if said.reset is not None:
            bound = max(bound, self._kept - said.reset * self._per_second)
        self._level = min(self._level, bound)

    def used_share(self, now: float) -> float | None:
        """The share of the allowance that was used in the last minute, or since the start where that is shorter."""
        if self._per_minute is None:
            return None
        span = min(DISPLAYED_SECONDS, max(LEAST_DISPLAYED_SECONDS, now - self._began))
        since = max(now - span, self._began)  # rounding may put the start before the start
        return max(0.0, self._takes.after(since) or 0.0) / (self._per_minute / 60 * span)

    @property
    def _per_second(self) -> float:
        return PACE * (self._per_minute or 0.0) / 60

    @property
    def _kept(self) -> float:
        return max(1.0, (0.0 if self.strict else 1.0) + KEPT_SECONDS * self._per_second)

    def _refill(self, now: float) -> None:
        if self._level is not None and self._per_minute is not None:
            self._level = min(self._kept, self._level + max(0.0, now - self._at) * self._per_second)
        self._at = max(self._at, now)


class Takes:
    """How much was taken since a moment, as far back as is remembered."""

    def __init__(self, now: float) -> None:
        self._times: list[float] = [now]
        self._sums: list[float] = [0.0]

    def add(self, amount: float, now: float) -> None:
        """Remember what was taken now."""
        self._times.append(now)
        self._sums.append(self._sums[-1] + amount)
        if len(self._times) > MOST_TAKES:
            del self._times[: MOST_TAKES // 2], self._sums[: MOST_TAKES // 2]

    def after(self, moment: float) -> float | None:
        """What was taken after a moment; None where that is not remembered any more."""
        index = bisect_right(self._times, moment) - 1
        if index < 0:
            return None
        return self._sums[-1] - self._sums[index]
