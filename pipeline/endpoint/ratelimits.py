"""What an answer's `x-ratelimit-*` headers say of the endpoint's allowances."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_GO_DURATION = re.compile(r"(?:\d{1,15}(?:\.\d{1,15})?(?:ns|us|µs|μs|ms|s|m|h|d))+", re.ASCII)
_GO_PART = re.compile(r"([\d.]+)([a-zµμ]+)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_EPOCH = 1e9
"""A plain number from here on is a time of day, not a wait."""


class Allowance(Struct, frozen=True):
    """What is said of one allowance: so much in all, so much left, full again after so many seconds."""

    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None


class RateLimits(Struct, frozen=True):
    """What an answer says of each allowance; None where it says nothing that can be read."""

    requests: Allowance | None = None
    tokens: Allowance | None = None
    images: Allowance | None = None


NOTHING_SAID = RateLimits()


def read_rate_limits(headers: Mapping[str, str]) -> RateLimits:
    """What `x-ratelimit-{limit,remaining,reset}-{requests,tokens,input-images}` say; junk is nothing.

    Where a proxy passes on its upstream's, with `llm_provider-` before the name, those fill what it does not say
    itself. Names are in lower case, or the mapping does not mind it.
    """
    if not any("x-ratelimit-" in name.lower() for name in headers):
        return NOTHING_SAID
    return RateLimits(_read(headers, "requests"), _read(headers, "tokens"), _read(headers, "input-images"))


def _read(headers: Mapping[str, str], kind: str) -> Allowance | None:
    for prefix in ("", "llm_provider-"):
        limit, remaining, reset = (
            headers.get(f"{prefix}x-ratelimit-{what}-{kind}", "") for what in ("limit", "remaining", "reset")
        )
        read = Allowance(_number(limit), _number(remaining), seconds_of(reset))
        if read != Allowance():
            return read
    return None


def _number(text: str) -> float | None:
    return float(text.strip()) if _NUMBER.fullmatch(text.strip()) else None


def seconds_of(text: str) -> float | None:
    """Seconds of a duration as Go writes it (`120ms`, `1m2.5s`) or of a plain number; None for anything else.

    Source: https://pkg.go.dev/time#Duration.String. A time of day is nothing: without its clock it says nothing.
    """
    text = text.strip()
    plain = _number(text)
    if plain is not None:
        return plain if plain < _EPOCH else None
    if not _GO_DURATION.fullmatch(text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _GO_PART.findall(text))
