"""Attempts as pairs of their lines, read in order: `sent`, and `settled` where it has ended.

1. An attempt is of the run, the day and the time of its `sent` line: a later run that settles it did not make it.
2. Only attempts without an end are kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from pipeline.ledger.records import Record, Sent, Settled
from pipeline.money import believable
from pipeline.outcome import Outcome


class Begun(NamedTuple):
    """What counts of a `sent` line."""

    run: str
    at: str
    task: str
    endpoint: str | None
    model: str | None
    images: int
    worst: Decimal | None


class Attempt(Struct, frozen=True):
    """One attempt; `settled` is None while its end is not known. A field is None where neither line says it.

    `set` and `prompt` are those of the task's id where the line that ended it was written for a killed run.
    """

    begun: Begun
    settled: Settled | None

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while that is not known."""
        return self.settled.outcome if self.settled else None

    @property
    def run(self) -> str:
        """The run that made it."""
        return self.begun.run

    @property
    def at(self) -> str:
        """When it was admitted."""
        return self.begun.at

    @property
    def day(self) -> str:
        """The UTC day on which it was admitted."""
        return self.begun.at[:10]

    @property
    def model(self) -> str | None:
        """The model asked for."""
        return (self.settled.model if self.settled else None) or self.begun.model

    @property
    def endpoint(self) -> str | None:
        """Where it was sent."""
        return (self.settled.endpoint if self.settled else None) or self.begun.endpoint

    @property
    def set(self) -> str | None:
        """The item's image set."""
        return (self.settled.set if self.settled else None) or _names(self.begun.task)[0]

    @property
    def prompt(self) -> str | None:
        """The prompt's name."""
        return (self.settled.prompt if self.settled else None) or _names(self.begun.task)[1]


def attempts(records: Iterable[Record]) -> Iterator[Attempt]:
    """The attempts among `records`, each as it ends, then those without an end. Invalid items were never attempted."""
    under_way: dict[tuple[str, int], list[Begun]] = {}
    for record in records:
        if isinstance(record, Sent):
            under_way.setdefault((record.fingerprint, record.attempt), []).append(_begun(record))
        elif isinstance(record, Settled) and record.outcome is not Outcome.INVALID:
            yield Attempt(_taken(under_way, record), record)
    for left in under_way.values():
        yield from (Attempt(begun, None) for begun in left)


def _begun(line: Sent) -> Begun:
    model = line.request.get("model")
    return Begun(
        run=line.run,
        at=line.at,
        task=line.task,
        endpoint=line.endpoint,
        model=None if model is None else str(model),
        images=len(line.paths),
        worst=believable(line.estimated_cost),
    )


def _taken(under_way: dict[tuple[str, int], list[Begun]], line: Settled) -> Begun:
    """The beginning of an attempt that ended: of two shards that sent the same at once, that of the line's own run."""
    key = (line.fingerprint, line.attempt)
    begun = under_way.get(key)
    if begun is None:
        return Begun(line.run, line.at, line.task, line.endpoint, line.model, line.n or 1, None)
    taken = begun.pop(next((at for at, one in enumerate(begun) if one.run == line.run), 0))
    if not begun:
        del under_way[key]
    return taken


def _names(task: str) -> tuple[str | None, str | None]:
    """The set and the prompt in a task's id, `set/key/prompt`, before `/axis=label` and `#repeat`."""
    parts = [part for part in task.partition("#")[0].split("/") if "=" not in part]
    return (parts[0], parts[-1]) if len(parts) > 2 else (None, None)
