"""What a run shows while it goes on: numbers here, their form in whoever shows them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from msgspec import Struct, field

from pipeline.outcome import Outcome
from pipeline.run.summary import money, spent_words

if TYPE_CHECKING:
    from pipeline.run.context import Context


class Moment(Protocol):
    """How far something is that takes long: `finished` of `total` in its `unit`, and in `words` what else is known."""

    unit: ClassVar[str]

    @property
    def total(self) -> int: ...
    @property
    def finished(self) -> int: ...
    @property
    def words(self) -> str: ...
    @property
    def seconds_left(self) -> float | None: ...


class Paced:
    """A moment whose rest takes as long as what is finished did; `seconds` are since the beginning."""

    __slots__ = ()

    total: int
    finished: int
    seconds: float

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this pace; None before anything is finished."""
        return (self.total - self.finished) * self.seconds / self.finished if self.finished else None


class LaneNow(Struct, frozen=True):
    """A moment of one endpoint: its requests in flight, how many may be, and the used share of its tightest rate."""

    name: str
    in_flight: int
    limit: int
    used_share: float | None


class Snapshot(Struct, frozen=True):
    """A moment of a run. `total` and `finished` count tasks; `seconds` are since the first request could be sent.

    `confirmed` and `possible` are this run's cost so far in US dollars, None where no price is known. `limit` is how
    many requests may be in flight now, `used_share` how much of the tightest rate limit was used in the last minute,
    `ends` counts the finished tasks by how they ended. `failed_now` of those that this run sent failed, `in_doubt` of
    its `settled` attempts are in doubt.
    """

    unit: ClassVar[str] = "tasks"

    total: int
    finished: int
    failed: int
    images: int
    in_flight: int
    waiting: int
    tokens: int
    seconds: float
    sent_now: int
    draining: bool
    confirmed: Decimal | None = None
    possible: Decimal | None = None
    limit: int | None = None
    used_share: float | None = None
    lanes: tuple[LaneNow, ...] = ()
    ends: Mapping[str, int] = field(default_factory=dict)
    failed_now: int = 0
    in_doubt: int = 0
    settled: int = 0

    @property
    def images_per_second(self) -> float:
        """Images received by this run a second."""
        return self.images / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this run's pace; None before a request finished anything, and in a drain."""
        if self.draining or not self.sent_now or self.seconds <= 0:
            return None
        return (self.total - self.finished) * self.seconds / self.sent_now

    @property
    def cost_at_end(self) -> Decimal | None:
        """What the run will have cost if the rest costs what its tasks did so far; None as for `seconds_left`."""
        if self.draining or self.confirmed is None:
            return None
        return projected(self.confirmed + (self.possible or 0), self.sent_now, self.total - self.finished)

    @property
    def words(self) -> str:
        """The numbers beside the bar: images a second, in flight, waiting, failed, cost, share of the rate, tokens."""
        return state_words(self)

    def words_within(self, room: int) -> str:
        """As `words`, without what matters least where they are longer than `room` characters."""
        return fitting(_parts(self), room)


class View(Protocol):
    """Shows a run, or what else takes long, to someone."""

    interval: float
    """Seconds between two updates."""

    def update(self, moment: Moment) -> None:
        """Show how far it is."""

    def note(self, text: str) -> None:
        """Show one line now: a warning, a pause, the start of a drain."""

    def close(self) -> None:
        """Show nothing more."""


class Silent:
    """Shows nothing, for the Python API."""

    interval = 1.0

    def update(self, moment: Moment) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def snapshot(context: Context, total: int, seconds: float) -> Snapshot:
    """The run as it is now."""
    tasks, gauge, now = context.tally.tasks, context.gauge, context.chance.clock()
    cost = context.tally.cost
    lanes = tuple(
        LaneNow(lane.name, lane.in_flight, lane.limit.limit, lane.rates.used_share(now)) for lane in context.lanes
    )
    return Snapshot(
        total=total,
        finished=context.tally.finished,
        failed=tasks["failed"] + tasks["invalid"] + tasks["held"],
        images=context.tally.images,
        in_flight=gauge.in_flight,
        waiting=gauge.waiting,
        tokens=context.tally.usage["total_tokens"],
        seconds=seconds,
        sent_now=tasks["done"],
        draining=context.halt.draining,
        confirmed=cost.confirmed,
        possible=cost.possible,
        limit=min(context.admission.ceiling, sum(lane.limit for lane in lanes)),
        used_share=max((lane.used_share for lane in lanes if lane.used_share is not None), default=None),
        lanes=lanes,
        ends=dict(tasks),
        failed_now=context.tally.failed_now,
        in_doubt=context.tally.attempts[Outcome.IN_DOUBT],
        settled=context.tally.attempts.total(),
    )


def projected(spent: Decimal, ended: int, left: int) -> Decimal | None:
    """What `ended` tasks that cost `spent` and `left` more come to, at the same cost a task; None before one ended."""
    return spent * (ended + left) / ended if ended else None


def duration(seconds: float | None) -> str:
    """`42s`, `3m10s`, `2h05m`; `?` when unknown."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def count(number: int) -> str:
    """`950`, `12.3k`, `4.5M`."""
    if number < 1000:
        return str(number)
    for size, unit in ((10**3, "k"), (10**6, "M")):
        if round(number / size, 1) < 1000:
            return f"{number / size:.1f}{unit}"
    return f"{number / 10**9:.1f}G"


def cost_words(confirmed: Decimal, possible: Decimal | None, at_end: Decimal | None) -> str:
    """`$0.42 of ~$1.23`; `$0.42+$0.10 possible of ~$1.23` where attempts may have been billed without an answer."""
    return spent_words(confirmed, possible) + (f" of ~{money(at_end)}" if at_end is not None else "")


class Part(NamedTuple):
    """One of the words beside a bar; where room is scarce those of the highest `rank` stay."""

    text: str
    rank: int


def fitting(parts: list[Part], room: int) -> str:
    """As many of the parts as fit into `room` characters, the highest ranks first, joined in their order."""
    kept: list[Part] = []
    for part in sorted(parts, key=lambda part: -part.rank):
        if sum(len(one.text) + 2 for one in (*kept, part)) - 2 <= room:
            kept.append(part)
    return ", ".join(part.text for part in parts if part in kept)


def _parts(moment: Snapshot) -> list[Part]:
    limit = "" if moment.limit is None else f"/{moment.limit}"
    parts = [Part(f"{moment.images_per_second:.1f} images/s", 2), Part(f"{moment.in_flight}{limit} in flight", 5)]
    if moment.waiting:
        parts.append(Part(f"{moment.waiting} waiting", 3))
    if moment.failed:
        parts.append(Part(f"{moment.failed} failed", 7))
    if moment.confirmed is not None:
        parts.append(Part(cost_words(moment.confirmed, moment.possible, moment.cost_at_end), 6))
    if moment.used_share is not None:
        parts.append(Part(f"{moment.used_share:.0%} of rate", 4))
    parts.append(Part(f"{count(moment.tokens)} tokens", 1))
    if moment.draining:
        parts.append(Part("draining", 8))
    return parts


def state_words(moment: Snapshot) -> str:
    """All numbers beside the bar."""
    return ", ".join(part.text for part in _parts(moment))


def plain_line(moment: Moment) -> str:
    """The whole state as one line, for a log."""
    ahead = f", ETA {duration(moment.seconds_left)}" if moment.finished < moment.total else ""
    return f"{moment.finished}/{moment.total} {moment.unit}, {moment.words}{ahead}"
