"""How many requests an endpoint takes at once, which may change with time. Pure: the time is passed in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from pipeline.sandbox.latency import parse_seconds


class Step(Struct, frozen=True):
    """At most `limit` requests in flight, from `since` seconds after the first request on."""

    limit: int
    since: float = 0.0


def steps_of(capacity: int | tuple[Step, ...] | None) -> tuple[Step, ...]:
    """Return the steps of a setting, whatever its form; none where there is no limit."""
    if capacity is None:
        return ()
    return (Step(capacity),) if isinstance(capacity, int) else capacity


def capacity_at(steps: Sequence[Step], seconds: float) -> int | None:
    """Return the limit, `seconds` after the first request; None where there is none yet. `steps` are in order."""
    begun = [step.limit for step in steps if step.since <= seconds]
    return begun[-1] if begun else None


def parse_capacity(text: str) -> tuple[Step, ...]:
    """Read `64`, or `64,8@30s,64@60s`: 64 from the start, 8 after 30 s, 64 again after 60 s. Raises ValueError."""
    steps = tuple(_step(part.strip(), first=index == 0) for index, part in enumerate(text.split(",")))
    if any(later.since <= step.since for step, later in pairwise(steps)):
        raise ValueError(f"{text!r}: the times do not increase; expected such as 64,8@30s,64@60s")
    return steps


def _step(text: str, *, first: bool) -> Step:
    limit, at, since = text.partition("@")
    if not (limit.isascii() and limit.isdigit() and len(limit) < 10) or first == bool(at):
        raise ValueError(f"{text!r} is no capacity; expected a number first, then NUMBER@SECONDS, as in 64,8@30s")
    return Step(int(limit), parse_seconds(since) if at else 0.0)
