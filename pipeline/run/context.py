"""What a run holds while it goes on, handed to each of its parts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from anyio import CapacityLimiter
from msgspec import Struct, field

from pipeline.endpoint.key import Keys
from pipeline.ledger.committer import Committer
from pipeline.ledger.places import Where
from pipeline.ledger.records import Record
from pipeline.ledger.replay import Ledgers
from pipeline.ledger.state import State
from pipeline.manifest.job import Job
from pipeline.outputs.folder import OutputFolder
from pipeline.outputs.spill import Spill
from pipeline.run.admission import Admission
from pipeline.run.halt import Halt
from pipeline.run.lane import Lane
from pipeline.run.summary import Tally
from pipeline.run.unnamed import Unnamed
from pipeline.threads import in_thread

T = TypeVar("T")


class Chance(Struct, frozen=True):
    """Time and randomness, passed in so that a test can hold them still.

    `random` is uniform in [0, 1); `token` makes a fresh Idempotency-Key; `clock` is monotonic seconds; `now` is the
    time of day, for the ledger and for a Retry-After that is a date.
    """

    random: Callable[[], float]
    token: Callable[[], str]
    clock: Callable[[], float]
    now: Callable[[], datetime]


class Gauge(Struct):
    """What is going on now, for the progress display: attempts in flight, tasks waiting to try again."""

    in_flight: int = 0
    waiting: int = 0


class Context(Struct, frozen=True):
    """A run's surroundings; `deadline` is on the monotonic clock, `admission` lets requests through to the endpoints,
    `workers` caps the threads that decode and store.
    """

    job: Job
    run: str
    folder: OutputFolder
    committer: Committer
    ledgers: Ledgers
    state: State
    spill: Spill
    keys: Keys
    admission: Admission
    workers: CapacityLimiter
    chance: Chance
    halt: Halt
    deadline: float | None
    tally: Tally = field(default_factory=Tally)
    gauge: Gauge = field(default_factory=Gauge)
    unnamed: Unnamed = field(default_factory=Unnamed)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The run's endpoints."""
        return self.admission.lanes

    def time_left(self) -> float | None:
        """Seconds until `stop_on.duration` ends the run; None without such a limit."""
        return None if self.deadline is None else self.deadline - self.chance.clock()

    async def append(self, record: Record, *, shielded: bool = False) -> Where:
        """Make a line durable and fold it into the state; raises StorageError. `shielded`: see `Committer`."""
        where = await self.committer.append(record, shielded=shielded)
        self.state.apply(record, where)
        return where

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work in one of the run's own threads; waits for it even when cancelled."""
        return await in_thread(work, self.workers)
