"""What a run came to, counted while it goes on and reported once at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from msgspec import Struct, field

from pipeline.ledger.records import Settled
from pipeline.ledger.usage import Cost
from pipeline.outcome import Outcome

ATTEMPT_OUTCOMES = tuple(outcome for outcome in Outcome if outcome is not Outcome.INVALID)
TASK_ENDS = ("done", "skipped", "reused", "failed", "held", "invalid", "pending")
USAGE_KEYS = ("input_tokens", "output_tokens", "total_tokens")
FAILURES_SHOWN = 20


class Failure(Struct, frozen=True):
    """A task that failed, is held or invalid, with why."""

    task: str
    code: str | None
    message: str | None

    @property
    def line(self) -> str:
        """All of it on one line, whatever a server wrote."""
        message = " ".join((self.message or "").split())
        return f"{self.task}: {self.code}: {message}".rstrip(": ")


class Tally(Struct):
    """Counts of a run: how its tasks ended (by the words of `TASK_ENDS`), its attempts, images and tokens.

    `failed_now` are the tasks that this run sent and that failed. `listeners` hear of each attempt that is settled.
    """

    tasks: Counter[str] = field(default_factory=Counter)
    attempts: Counter[Outcome] = field(default_factory=Counter)
    failed_now: int = 0
    images: int = 0
    usage: Counter[str] = field(default_factory=Counter)
    cost: Cost = field(default_factory=Cost)
    failures: list[Failure] = field(default_factory=list)
    listeners: list[Callable[[Settled], None]] = field(default_factory=list)

    def end_task(self, end: str, failure: Failure | None = None) -> None:
        """Count a task's end, and keep why it failed while there is room."""
        self.tasks[end] += 1
        if failure is not None and len(self.failures) < FAILURES_SHOWN:
            self.failures.append(failure)

    def end_attempt(self, settled: Settled) -> None:
        """Count a settled attempt with its images and tokens."""
        self.attempts[settled.outcome] += 1
        self.images += len(settled.outputs)
        for key in USAGE_KEYS:
            self.usage[key] += int((settled.usage or {}).get(key) or 0)
        for tell in self.listeners:
            tell(settled)

    @property
    def finished(self) -> int:
        """Tasks that have ended in any way."""
        return self.tasks.total()


class Summary(Struct, frozen=True):
    """The end of a run, as `run --json` prints it; `seconds` are monotonic, from start to the `end` line."""

    job: str | None
    run: str | None
    exit: int
    tasks: dict[str, int]
    attempts: dict[str, int]
    images: int
    usage: dict[str, int]
    cost: Cost
    seconds: float
    ledger: str | None
    failures: tuple[Failure, ...] = ()
    error: str | None = None


def task_counts(ends: Counter[str]) -> dict[str, int]:
    """`total` first, then every end; the others add up to it."""
    return {"total": ends.total()} | {end: ends[end] for end in TASK_ENDS}


def attempt_counts(attempts: Counter[Outcome]) -> dict[str, int]:
    """Every outcome of an attempt with its count."""
    return {str(outcome): attempts[outcome] for outcome in ATTEMPT_OUTCOMES}


def usage_counts(usage: Counter[str]) -> dict[str, int]:
    """Tokens by kind."""
    return {key: usage[key] for key in USAGE_KEYS}


def empty_summary(job: str | None, exit_code: int, error: str) -> Summary:
    """The summary of a run that ended before it began, with the reason."""
    tally = Tally()
    return summarise(tally, job=job, run=None, exit_code=exit_code, seconds=0.0, ledger=None, error=error)


def summarise(
    tally: Tally,
    *,
    job: str | None,
    run: str | None,
    exit_code: int,
    seconds: float,
    ledger: str | None,
    error: str | None = None,
) -> Summary:
    """The tally as a summary."""
    return Summary(
        job=job,
        run=run,
        exit=int(exit_code),
        tasks=task_counts(tally.tasks),
        attempts=attempt_counts(tally.attempts),
        images=tally.images,
        usage=usage_counts(tally.usage),
        cost=tally.cost,
        seconds=round(seconds, 3),
        ledger=ledger,
        failures=tuple(tally.failures),
        error=error,
    )


def as_json(value: Any) -> Any:
    """Dataclasses as plain objects for `--json`; an `error` is there only when something is wrong."""
    import msgspec

    plain = msgspec.to_builtins(value, builtin_types=(Decimal,))
    if isinstance(plain, dict) and plain.get("error", "") is None:
        del plain["error"]
    return plain


def money(amount: Decimal) -> str:
    """US dollars for a line that people read: `$0.0042`, `$0.42`, `$12.30`, `$1,234`."""
    if amount >= Decimal("999.995"):
        return f"${amount:,.0f}"
    if amount and amount < Decimal("0.01"):
        return f"${round(amount, 1 - amount.adjusted()):f}"
    return f"${amount:.2f}"


def spent_words(confirmed: Decimal, possible: Decimal | None) -> str:
    """`$0.42`, or `$0.42+$0.10 possible` where attempts may have been billed without an answer."""
    return money(confirmed) + (f"+{money(possible)} possible" if possible else "")


def sentence(summary: Summary) -> str:
    """The one line that a person and a cron mail read."""
    tasks = summary.tasks
    told = [f"{tasks['done']} done"]
    told += [f"{tasks[end]} {end}" for end in TASK_ENDS[1:] if tasks[end]]
    attempts = sum(summary.attempts.values())
    cost = summary.cost
    paid = () if cost.confirmed is None else (spent_words(cost.confirmed, cost.possible),)
    parts: Iterable[str] = (
        f"{summary.job}: {', '.join(told)} of {tasks['total']} tasks",
        f"{attempts} request{'s' * (attempts != 1)}, {summary.images} image{'s' * (summary.images != 1)}",
        f"{summary.usage['total_tokens']} tokens",
        *paid,
        f"{summary.seconds:.1f} s",
    )
    return "; ".join(parts) + f" (exit {summary.exit})"
