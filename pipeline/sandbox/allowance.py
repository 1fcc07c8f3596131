"""A rate limit of requests a minute, as a token bucket. Pure: the time is passed in."""

from __future__ import annotations

from math import ceil

from msgspec import Struct

from pipeline.sandbox.answers import go_duration


class Allowance(Struct):
    """`per_minute` requests flow in evenly; at most `burst` are kept, and the bucket starts full."""

    per_minute: float
    burst: float
    now: float
    level: float = -1.0

    def __post_init__(self) -> None:
        self.level = self.burst

    def take(self, now: float) -> float:
        """Take one request; return 0, or the seconds after which one will be there (nothing is taken)."""
        self.level = min(self.burst, self.level + (now - self.now) * self.per_minute / 60)
        self.now = now
        if self.level >= 1:
            self.level -= 1
            return 0.0
        return (1 - self.level) * 60 / self.per_minute

    def headers(self) -> dict[str, str]:
        """Return `x-ratelimit-*-requests` as of the last `take`; the reset is when the bucket is full again."""
        return {
            "x-ratelimit-limit-requests": f"{self.per_minute:g}",
            "x-ratelimit-remaining-requests": str(int(self.level)),
            "x-ratelimit-reset-requests": go_duration((self.burst - self.level) * 60 / self.per_minute),
        }


def retry_headers(seconds: float) -> dict[str, str]:
    """Return `retry-after` in whole seconds, rounded up, and `retry-after-ms`."""
    return {"retry-after": str(ceil(seconds)), "retry-after-ms": str(ceil(seconds * 1000))}
