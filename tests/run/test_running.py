"""How a run that goes on does, by its ledger's lines alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.ledger.places import Where
from pipeline.ledger.records import Record
from pipeline.ledger.replay import Entry
from pipeline.ledger.usage import Cost
from pipeline.run.running import Pulse
from pipeline.run.status import lock_of
from tests.ledger.lines import end, reused, run, sent, settled

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


def at(record: Record, ago: float, of: str = "r") -> Record:
    """A line of run `of`, written so many seconds ago."""
    record.at = (NOW - timedelta(seconds=ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record.run = of
    return record


def pulse(records: Iterable[Record], file: int = 0, into: Pulse | None = None) -> Pulse:
    found = into or Pulse(NOW)
    assert list(found.watch(Entry(record, Where(file, 0, 1)) for record in records))
    return found


def done(number: int, ago: float, of: str = "r", **more: Any) -> list[Record]:
    return [at(settled(f"{of}-{ago}-{index}", "succeeded", **more), ago, of) for index in range(number)]


def told(found: Pulse, pending: int = 30, cost: Cost | None = None, alive: Iterable[int] = (0,)) -> Any:
    return found.told(found.running(alive), 4, pending, cost or Cost(), None)


def test_pace_and_time_left_are_those_of_this_run() -> None:
    """Six tasks in two minutes: three a minute, and ten minutes for thirty more."""
    now = told(pulse([at(run(), 120), *done(6, 60)]))
    assert (now.done, now.seconds, now.per_minute, now.seconds_left, now.in_flight) == (6, 120.0, 3.0, 600.0, 4)


def test_only_the_last_ten_minutes_set_the_pace() -> None:
    """A slow start hours ago does not spoil what is expected now; all of it counts as done."""
    now = told(pulse([at(run(), 7200), *done(600, 3600), *done(20, 60)]))
    assert (now.done, now.per_minute, now.seconds_left) == (620, 2.0, 900.0)


def test_an_earlier_run_of_the_ledger_does_not_count() -> None:
    """Neither its tasks nor its time."""
    found = pulse([at(run(), 500, "old"), *done(9, 400, "old"), at(end(), 300, "old"), at(run(), 60), *done(1, 30)])
    assert told(found).done == 1
    assert (found.runs, found.last_run) == (2, "2026-05-01T11:59:00.000Z")


def test_copies_count_as_done_and_failures_and_salvage_do_not() -> None:
    """Salvaged results are of a run that was killed: its successor's pace is not theirs."""
    lines = [at(run(), 60), at(reused("a", "b"), 50), at(settled("c", "in_doubt"), 40), *done(2, 30, salvaged=True)]
    assert told(pulse(lines)).done == 1


@pytest.mark.parametrize("lines", [[at(run(), 60)], [at(run(), 0), *done(1, 0)]])
def test_before_anything_is_known_no_time_is_promised(lines: list[Record]) -> None:
    """Nothing done yet, or no time gone by: no division by nothing."""
    now = told(pulse(lines))
    assert (now.per_minute, now.seconds_left) == (0.0, None)


def test_a_run_that_ended_or_whose_process_is_gone_does_not_go_on() -> None:
    """An `end` line, or a lock that nobody holds."""
    assert pulse([at(run(), 60), at(end(), 1)]).running([0]) == {}
    assert pulse([at(run(), 60)]).running([]) == {}
    assert pulse([at(run(), 60)]).running([0, 1]) == {"r": "2026-05-01T11:59:00.000Z"}


def test_shards_are_told_together() -> None:
    """Since the first of them began; one that was killed is left out."""
    found = pulse([at(run(), 120, "a"), *done(4, 30, "a")])
    found = pulse([at(run(), 60, "b"), *done(2, 30, "b")], 1, found)
    found = pulse([at(run(), 600, "c"), *done(7, 500, "c")], 2, found)
    now = told(found, alive=[0, 1])
    assert (now.done, now.seconds, now.per_minute) == (6, 120.0, 3.0)


def test_the_projection_counts_what_may_have_been_billed() -> None:
    """Three tasks cost 0.60 in all: thirty more come to 6.60."""
    now = told(pulse([at(run(), 60), *done(3, 30)]), cost=Cost(Decimal("0.45"), Decimal("0.15")))
    assert now.cost_at_end == Decimal("6.60")
    assert told(pulse([at(run(), 60), *done(3, 30)])).cost_at_end is None


class Limits:
    """The part of a job that says how much may be sent."""

    def __init__(self, limit: float | None, **named: float | None) -> None:
        self.manifest = self.limits = self
        self.requests_per_minute = limit
        self.endpoints = [Named(name, one) for name, one in named.items()] or None


class Named:
    def __init__(self, name: str, limit: float | None) -> None:
        self.name = name
        self.limits = Limits(limit)


@pytest.mark.parametrize(
    ("limits", "share"),
    [
        (Limits(10), 0.3),
        (Limits(None), None),
        (Limits(None, host=6, other=None), 0.5),
        (Limits(None, host=None), None),
        (Limits(None, host=30, other=10), 0.1),
    ],
)
def test_the_share_of_the_rate_is_of_the_last_minutes_requests(limits: Any, share: float | None) -> None:
    """Three of the four were sent within it; of several endpoints the tightest counts."""
    lines = [at(run(), 300), at(sent("a"), 61), at(sent("b"), 60), at(sent("c"), 30), at(sent("d"), 0)]
    found = pulse(lines)
    assert found.used_share(found.running([0]), limits) == share


def test_in_its_first_minute_a_run_is_held_against_its_own_time() -> None:
    """Five in thirty seconds are ten a minute; what the run before it sent is not its own."""
    before = [at(run(), 55, "old"), *(at(sent(f"o{index}"), 50, "old") for index in range(9)), at(end(), 40, "old")]
    found = pulse([*before, at(run(), 30), *(at(sent(str(index)), 20) for index in range(5))])
    assert found.used_share(found.running([0]), Limits(20)) == 0.5  # type: ignore[arg-type]  # all that is read of a job


@pytest.mark.parametrize(("ledger", "lock"), [("ledger.jsonl", ".lock"), ("ledger-1-of-3.jsonl", ".lock-1-of-3")])
def test_each_ledger_has_its_lock(ledger: str, lock: str) -> None:
    """The names that the lock itself takes."""
    assert lock_of(Path("out") / ledger) == Path("out") / lock
