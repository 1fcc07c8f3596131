"""A span of time as a user gives it, to hold against the `at` of the ledger's lines."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from msgspec import Struct

from pipeline.errors import JobError, Problem

_EXPECTED = "expected a UTC date such as 2026-11-01, or a time such as 2026-11-01T12:00:00Z"
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(_DATE.pattern + r"[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?([Zz]|[+-][0-9]{2}:[0-9]{2})")


class Period(Struct, frozen=True):
    """From `since` on, to before `until`; both as the ledger writes times, None without a bound."""

    since: str | None = None
    until: str | None = None

    def __contains__(self, at: str) -> bool:
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


def period_of(since: str | None, until: str | None) -> Period:
    """The period between two bounds, a date or an RFC 3339 time each.

    A date means the whole UTC day on either side; a time is the first instant that belongs to the period, or the first
    that does not any more.

    Raises:
        JobError: a bound is neither, or nothing lies between them.
    """
    problems: list[Problem] = []
    period = Period(
        None if since is None else _bound(since, "--since", problems, days=0),
        None if until is None else _bound(until, "--until", problems, days=1),
    )
    if problems:
        raise JobError(problems)
    if period.since and period.until and period.since >= period.until:
        raise JobError([Problem(f"nothing lies between {since} and {until}", "expected a later time", "--until")])
    return period


def _bound(text: str, flag: str, problems: list[Problem], days: int) -> str | None:
    try:
        if _DATE.fullmatch(text):
            return _written(datetime.combine(date.fromisoformat(text) + timedelta(days), datetime.min.time(), UTC))
        if _TIME.fullmatch(text):
            return _written(datetime.fromisoformat(text.upper()).astimezone(UTC))
    except (ValueError, OverflowError):
        pass
    problems.append(Problem(f"{text!r} is no date or time", _EXPECTED, flag))
    return None


def _written(time: datetime) -> str:
    """As the ledger writes it, up to the next millisecond."""
    time += timedelta(microseconds=-time.microsecond % 1000)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
