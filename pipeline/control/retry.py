"""How long to wait before an attempt is made again."""

from __future__ import annotations

from collections.abc import Callable

BASE = 1.0
"""Seconds; the ceiling of the first backoff, doubled with every further try."""


def backoff(tries: int, max_wait: float, random: Callable[[], float]) -> float:
    """Seconds to wait after `tries` failed tries (from 1): full jitter below a doubling, capped ceiling.

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    ceiling = min(max_wait, BASE * 2.0 ** min(tries - 1, 32))
    return random() * ceiling


def wait_seconds(tries: int, retry_after: float | None, max_wait: float, random: Callable[[], float]) -> float:
    """Seconds to wait before the next try; the server's Retry-After wins over our own backoff.

    A little jitter is added to a Retry-After, so that the tasks that were told the same do not return at once. One of
    less than a second that did not help before says nothing: a server that repeats it would be asked without a pause.
    """
    if retry_after is None or (retry_after < BASE and tries > 1):
        return backoff(tries, max_wait, random)
    return retry_after + random() * min(1.0, 0.1 * retry_after)
