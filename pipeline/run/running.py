"""A run that goes on, as its ledger's lines alone tell it: for another shell. The fold is pure.

1. Nothing of it grows with the number of lines or tasks: a few counts for each ledger.
2. A ledger's run goes on while the lock that belongs to the ledger is held by a living process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from msgspec import Struct, field

from pipeline.ledger.records import End, Record, Reused, Run, Sent, Settled
from pipeline.ledger.replay import Entry
from pipeline.ledger.usage import Cost
from pipeline.manifest.job import Job
from pipeline.outcome import Outcome
from pipeline.run.progress import projected

PACE_SECONDS = 600.0
"""The pace is that of the last ten minutes: a request takes up to five."""
RATE_SECONDS = 60.0


class Running(Struct, frozen=True):
    """The run that goes on, or the shards together: `done` tasks so far, in `seconds` since the (first) `run` line.

    `in_flight` requests are under way. `used_share` is how much of the tightest `requests_per_minute` was sent in the
    last minute, None where none is set. `cost` is what came in so far in US dollars, without what is in flight;
    `cost_at_end` and `seconds_left` expect of the whole job's pending tasks what was seen so far, None before that.
    """

    done: int
    in_flight: int
    seconds: float
    per_minute: float
    seconds_left: float | None
    used_share: float | None
    cost: Cost
    cost_at_end: Decimal | None


class _Latest(Struct):
    """The last run of one ledger: when it began, what it finished, in all and lately, and sent to each endpoint."""

    run: str
    began: str
    done: int = 0
    done_lately: int = 0
    sent_lately: Counter[str] = field(default_factory=Counter)
    ended: bool = False


class Pulse(Struct):
    """The fold, as of `now`; `runs` counts all of them, `last_run` is when the last one began."""

    now: datetime
    runs: int = 0
    last_run: str | None = None
    _latest: dict[int, _Latest] = field(default_factory=dict)

    def watch(self, entries: Iterable[Entry]) -> Iterator[Record]:
        """The records of the entries, each taken note of."""
        pace, rate = _ago(self.now, PACE_SECONDS), _ago(self.now, RATE_SECONDS)
        for record, where in entries:
            if isinstance(record, Run):
                self.runs, self.last_run = self.runs + 1, record.at
                self._latest[where.file] = _Latest(record.run, record.at)
            elif (latest := self._latest.get(where.file)) is not None:
                finished = _finishes(record)
                latest.done += finished
                latest.done_lately += finished and record.at >= pace
                if isinstance(record, Sent):
                    latest.sent_lately[record.endpoint] += record.at >= rate
                latest.ended |= isinstance(record, End)
            yield record

    def running(self, alive: Iterable[int]) -> dict[str, str]:
        """The runs that go on, and when each began; `alive` are the numbers of the ledgers whose lock is held."""
        found = (self._latest.get(file) for file in alive)
        return {each.run: each.began for each in found if each is not None and not each.ended}

    def told(self, runs: Mapping[str, str], in_flight: int, pending: int, cost: Cost, share: float | None) -> Running:
        """The runs of `running`, of which there must be one; `pending` counts the job's tasks without an end."""
        latest, seconds = self._of(runs), self._seconds(runs)
        done, lately = sum(each.done for each in latest), sum(each.done_lately for each in latest)
        pace = lately / min(seconds, PACE_SECONDS) if seconds > 0 else 0.0
        spent = None if cost.confirmed is None else cost.confirmed + (cost.possible or 0)
        return Running(
            done=done,
            in_flight=in_flight,
            seconds=round(seconds, 3),
            per_minute=round(pace * 60, 3),
            seconds_left=round(pending / pace, 3) if pace else None,
            used_share=share,
            cost=cost,
            cost_at_end=None if spent is None else projected(spent, done, pending),
        )

    def used_share(self, runs: Mapping[str, str], job: Job) -> float | None:
        """How much of the tightest `requests_per_minute` the runs took in their last minute; None where none is set."""
        manifest = job.manifest
        sent = sum((each.sent_lately for each in self._of(runs)), Counter[str]())
        minutes = min(max(self._seconds(runs), 1.0), RATE_SECONDS) / 60
        if manifest.endpoints is None:
            shares = [(sent.total(), manifest.limits.requests_per_minute)]
        else:
            shares = [(sent[each.name], each.limits.requests_per_minute) for each in manifest.endpoints]
        return max(
            (round(number / (limit * minutes), 3) for number, limit in shares if limit is not None), default=None
        )

    def _of(self, runs: Mapping[str, str]) -> list[_Latest]:
        return [each for each in self._latest.values() if each.run in runs]

    def _seconds(self, runs: Mapping[str, str]) -> float:
        """Since the first of them began."""
        return max(0.0, (self.now - datetime.fromisoformat(min(runs.values()))).total_seconds())


def _finishes(record: Record) -> bool:
    """Whether a line says that its run finished a task."""
    succeeded = isinstance(record, Settled) and record.outcome is Outcome.SUCCEEDED and not record.salvaged
    return succeeded or isinstance(record, Reused)


def _ago(now: datetime, seconds: float) -> str:
    """A time before `now`, written as the ledger's lines are, which sort as text."""
    then = now.astimezone(UTC) - timedelta(seconds=seconds)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")
