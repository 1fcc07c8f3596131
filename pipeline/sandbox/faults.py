"""Which faults the endpoint shows, how often, and which of them it bills.

A request meets at most one fault: a single random number is held against the chances, which therefore
add up to at most 1. Only requests that pass all checks meet one. Billed means that the images were
made and are on the bill, whatever the client received.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TypeVar

from msgspec import Struct, field

from pipeline.sandbox.latency import Latency, parse_latency, parse_seconds


class Fault(StrEnum):
    """One way in which an answer goes wrong; the values are the keys of `parse_faults`."""

    # Not billed: no image was made.
    RATE = "rate"  # 429 rate_limit_exceeded, with Retry-After
    QUOTA = "quota"  # 429 insufficient_quota
    BILLING = "billing"  # 400 billing_hard_limit_reached
    MODERATION = "moderation"  # 400 moderation_blocked
    UNAUTHORIZED = "unauthorized"  # 401 invalid_api_key
    REDIRECT = "redirect"  # 307 to another host
    ERROR_500 = "error-500"  # 500 server_error
    ERROR_503 = "error-503"  # 503 server_is_overloaded

    # Billed: the images were made, but the client does not get them.
    ERROR_502_HTML = "error-502-html"  # a gateway's page; the server behind it went on
    RESET = "reset"  # the connection is reset before any response byte
    DISCONNECT = "disconnect"  # the connection is closed without an answer
    RESET_BODY = "reset-body"  # reset in the middle of the response body
    TRUNCATE = "truncate"  # the JSON is cut, with a Content-Length that agrees or delimited by close
    HANG = "hang"  # never an answer
    DRIP = "drip"  # a whole answer, one byte a second
    BAD_BASE64 = "bad-base64"  # b64_json with foreign characters
    UNDECODABLE = "undecodable"  # valid base64 of something that is no image
    ERROR_200 = "error-200"  # an error envelope under 200
    HTML_200 = "html-200"  # a page under 200
    EMPTY_200 = "empty-200"  # `data: []` under 200

    # Billed: the client gets images, with something amiss.
    NO_USAGE = "no-usage"  # without `usage`
    ZERO_USAGE = "zero-usage"  # `usage` all zero
    WRONG_SIZE = "wrong-size"  # half the width and height
    WRONG_FORMAT = "wrong-format"  # jpeg for png, png for others
    SHORT_COUNT = "short-count"  # one image less than asked for, where n is 2 or more


UNBILLED = frozenset(
    {
        Fault.RATE,
        Fault.QUOTA,
        Fault.BILLING,
        Fault.MODERATION,
        Fault.UNAUTHORIZED,
        Fault.REDIRECT,
        Fault.ERROR_500,
        Fault.ERROR_503,
    }
)
SETTINGS = ("slow", "retry-after", "seed", "latency")
KEYS = (*(fault.value for fault in Fault), *SETTINGS)

T = TypeVar("T")


class Faults(Struct, frozen=True):
    """The chance, 0 to 1, of each fault, and what goes with them.

    `slow` is extra latency in seconds, for every answer. `retry_after` is sent as it is, so that junk can be
    sent too; `none` sends no header, `date` an HTTP date. `seed` restarts the random numbers. `latency`
    replaces the configured one.
    """

    chances: Mapping[Fault, float] = field(default_factory=dict)
    slow: float = 0.0
    retry_after: str = "1"
    seed: int | None = None
    latency: Latency | None = None

    def pick(self, draw: float) -> Fault | None:
        """Return the fault that a random number, 0 <= draw < 1, falls on."""
        for fault, chance in self.chances.items():
            draw -= chance
            if draw < 0:
                return fault
        return None


def parse_faults(text: str) -> Faults:
    """Read `rate=0.1,reset=0.05,slow=2,…`; an empty text means no faults.

    Raises ValueError, in the user's terms, for an unknown key, a value out of range, or chances that add
    up to more than 1.
    """
    values: dict[str, str] = {}
    for pair in filter(str.strip, text.split(",")):
        key, value = _split(pair)
        if key in values:
            raise ValueError(f"fault {key!r} is given twice; give each key once")
        values[key] = value
    chances = {Fault(key): _chance(key, value) for key, value in values.items() if key not in SETTINGS}
    if sum(chances.values()) > 1 + 1e-9:
        raise ValueError(f"the chances add up to {sum(chances.values()):g}; a request meets one fault, so at most 1")
    return Faults(
        chances=chances,
        slow=_convert("slow", values.get("slow", "0"), parse_seconds),
        retry_after=values.get("retry-after", "1"),
        seed=_convert("seed", values["seed"], int) if "seed" in values else None,
        latency=_convert("latency", values["latency"], parse_latency) if "latency" in values else None,
    )


def _split(pair: str) -> tuple[str, str]:
    key, equals, value = (piece.strip() for piece in pair.partition("="))
    if key not in KEYS:
        near = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown fault {key!r}; {hint}known keys: {', '.join(KEYS)}")
    if not equals or not value:
        raise ValueError(f"fault {key!r} has no value; expected {key}=VALUE")
    return key, value


def _convert(key: str, value: str, read: Callable[[str], T]) -> T:
    try:
        return read(value)
    except ValueError as exc:
        raise ValueError(f"fault {key}={value}: the value cannot be read; expected a number") from exc


def _chance(key: str, value: str) -> float:
    chance = _convert(key, value, float)
    if not 0 <= chance <= 1:
        raise ValueError(f"fault {key}={value}: a chance lies between 0 and 1, such as 0.1")
    return chance
