from __future__ import annotations

from random import Random

import pytest

from pipeline.endpoint.ratelimits import Allowance, RateLimits, read_rate_limits, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120ms", 0.12),
        ("58.891s", 58.891),
        ("1m2.5s", 62.5),
        ("1h", 3600.0),
        ("1h0m0s", 3600.0),
        ("6m0s", 360.0),
        ("0s", 0.0),
        ("250µs", 0.00025),
        ("1d2h", 93600.0),
        (" 3 ", 3.0),
        ("1.5", 1.5),
        ("1795000000", None),
        ("", None),
        ("soon", None),
        ("-1s", None),
        ("1s junk", None),
        ("5x", None),
        ("1.2.3s", None),
        ("٣s", None),
        ("2026-11-18T11:06:40Z", None),
    ],
)
def test_a_duration_is_read_as_go_writes_it(text: str, seconds: float | None) -> None:
    """Go durations and plain seconds; a time of day and junk are nothing."""
    assert seconds_of(text) == (None if seconds is None else pytest.approx(seconds))


def test_each_allowance_is_read() -> None:
    """Limit, remainder and reset of requests, tokens and input images."""
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-input-images": "7",
    }
    assert read_rate_limits(headers) == RateLimits(
        requests=Allowance(60, 59, 1), tokens=Allowance(limit=150_000), images=Allowance(remaining=7)
    )


def test_an_upstreams_limits_are_read_behind_a_proxy() -> None:
    """LiteLLM's prefix is read where the proxy says nothing of its own."""
    headers = {"llm_provider-x-ratelimit-limit-requests": "60", "llm_provider-x-ratelimit-limit-tokens": "9"}
    assert read_rate_limits(headers).requests == Allowance(limit=60)
    own = read_rate_limits(headers | {"x-ratelimit-limit-requests": "5"})
    assert (own.requests, own.tokens) == (Allowance(limit=5), Allowance(limit=9))


@pytest.mark.parametrize("value", ["", "many", "-1", "inf", "nan", "1e9", "1" * 400, "\ud800"])
def test_junk_says_nothing(value: str) -> None:
    """A value that cannot be a number is as good as absent."""
    headers = {f"x-ratelimit-{what}-requests": value for what in ("limit", "remaining", "reset")}
    assert read_rate_limits(headers) == RateLimits()


def test_no_header_can_raise() -> None:
    """Whatever stands in the headers, reading them raises nothing."""
    random, alphabet = Random(4), "0123456789.smhdnµu- ٣²\x00é\ud800eE+"
    for _ in range(3000):
        value = "".join(random.choice(alphabet) for _ in range(random.randrange(12)))
        headers = {f"x-ratelimit-{what}-tokens": value for what in ("limit", "remaining", "reset")}
        read = read_rate_limits(headers).tokens
        assert read is None or all(part is None or part >= 0 for part in (read.limit, read.remaining, read.reset))
