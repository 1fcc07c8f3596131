"""How long a server asks to be left alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_NAMES = (("retry-after-ms", "retry-after"), ("llm_provider-retry-after-ms", "llm_provider-retry-after"))
_NUMBER = re.compile(r"\d{1,300}(\.\d{1,300})?")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait from `retry-after-ms` or `retry-after`, then from what LiteLLM's proxy makes of its upstream's.

    `now` is in seconds since the epoch and counts for a date only where the answer has no `date` of its own: both
    from the server's clock leave a wrong local clock out of it. Junk, negative numbers and past dates are no
    answer; a huge number is given as it is.
    """
    for name_ms, name in _NAMES:
        milliseconds = _number(headers.get(name_ms, ""))
        if milliseconds is not None:
            return milliseconds / 1000
        value = headers.get(name, "")
        seconds = _number(value)
        if seconds is None:
            seconds = _until(value, headers.get("date", ""), now)
        if seconds is not None:
            return seconds
    return None


def _number(text: str) -> float | None:
    if not text:
        return None
    return float(text.strip()) if _NUMBER.fullmatch(text.strip()) else None


def _until(date: str, server_now: str, now: float) -> float | None:
    then = _epoch(date)
    if then is None:
        return None
    seconds = then - (_epoch(server_now) or now)
    return seconds if seconds >= 0 else None


def _epoch(date: str) -> float | None:
    """An HTTP date in seconds since the epoch; https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7."""
    if not date:
        return None
    try:
        parsed: datetime = parsedate_to_datetime(date)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
