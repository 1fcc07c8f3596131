import pytest

from pipeline.errors import JobError
from pipeline.ledger.period import Period, period_of


@pytest.mark.parametrize(
    ("since", "until", "period"),
    [
        (None, None, Period()),
        ("2026-11-01", "2026-11-30", Period("2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z")),
        ("2026-11-01", "2026-11-01", Period("2026-11-01T00:00:00.000Z", "2026-11-02T00:00:00.000Z")),
        ("2026-11-01T12:30:00Z", None, Period("2026-11-01T12:30:00.000Z", None)),
        ("2026-11-01T00:30:00+01:00", None, Period("2026-10-31T23:30:00.000Z", None)),
        (None, "2026-11-01 12:30Z", Period(None, "2026-11-01T12:30:00.000Z")),
        (None, "2026-11-01t12:30:00.0001z", Period(None, "2026-11-01T12:30:00.001Z")),
        (None, "2026-12-31T23:59:59.9999Z", Period(None, "2027-01-01T00:00:00.000Z")),
    ],
)
def test_bounds_are_whole_days_or_instants(since: str | None, until: str | None, period: Period) -> None:
    """A date means that UTC day with both its ends; an instant is the first in, or the first out."""
    assert period_of(since, until) == period


@pytest.mark.parametrize(
    ("at", "inside"),
    [
        ("2026-10-31T23:59:59.999Z", False),
        ("2026-11-01T00:00:00.000Z", True),
        ("2026-11-01T23:59:59.999Z", True),
        ("2026-11-02T00:00:00.000Z", False),
    ],
)
def test_what_lies_in_a_day(at: str, inside: bool) -> None:
    """The first millisecond and the last belong to it."""
    assert (at in period_of("2026-11-01", "2026-11-01")) is inside


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-13-01", "2026-11-31", "01.11.2026", "2026-11-01T12:00:00", "2026-11-01T25:00Z", "20261101"],
)
@pytest.mark.parametrize("flag", ["--since", "--until"])
def test_what_is_no_time_is_refused(text: str, flag: str) -> None:
    """The message names the flag and shows what would be right; a time needs its zone."""
    with pytest.raises(JobError) as caught:
        period_of(text if flag == "--since" else None, text if flag == "--until" else None)
    assert str(caught.value).startswith(f"{flag}: {text!r} is no date or time; expected a UTC date such as 2026-11-01")


def test_both_bounds_are_judged_together() -> None:
    """Two mistakes are two problems; bounds that leave nothing are one."""
    with pytest.raises(JobError) as caught:
        period_of("a", "b")
    assert len(caught.value.problems) == 2
    with pytest.raises(JobError, match="--until: nothing lies between 2026-11-02 and 2026-11-01; expected a later"):
        period_of("2026-11-02", "2026-11-01")
