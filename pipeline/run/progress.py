"""What a run shows while it goes on: numbers here, their form in whoever shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment of a run. `total` and `finished` count tasks; `seconds` are since the first request could be sent."""

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
    def words(self) -> str:
        """The numbers beside the bar: in flight, waiting, failed, images a second, tokens."""
        return state_words(self)


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
    tasks, gauge = context.tally.tasks, context.gauge
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
    )


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


def state_words(moment: Snapshot) -> str:
    """The numbers beside the bar: in flight, waiting, failed, images a second, tokens."""
    parts = [f"{moment.images_per_second:.1f} images/s", f"{moment.in_flight} in flight"]
    if moment.waiting:
        parts.append(f"{moment.waiting} waiting")
    if moment.failed:
        parts.append(f"{moment.failed} failed")
    parts.append(f"{count(moment.tokens)} tokens")
    if moment.draining:
        parts.append("draining")
    return ", ".join(parts)


def plain_line(moment: Moment) -> str:
    """The whole state as one line, for a log."""
    ahead = f", ETA {duration(moment.seconds_left)}" if moment.finished < moment.total else ""
    return f"{moment.finished}/{moment.total} {moment.unit}, {moment.words}{ahead}"
