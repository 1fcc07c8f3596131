"""The summary of a process that ended without one: what its ledger has of it, and for the rest its last word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from pipeline.errors import StorageError
from pipeline.ledger.records import Record, Run
from pipeline.ledger.replay import Ledgers
from pipeline.ledger.usage import usage_of
from pipeline.run.exits import Exit
from pipeline.run.progress import Snapshot
from pipeline.run.summary import Summary, empty_summary, task_counts


def lost_summary(ledger: Path | None, total: int, moment: Snapshot | None, code: Exit, why: str | None) -> Summary:
    """The end of a process that had `total` tasks and ended with `code`; `ledger` is None where it began no run."""
    ends = Counter(moment.ends) if moment is not None else Counter[str]()
    ends["pending"] += total - ends.total()
    summary = replace(empty_summary(None, code, why or ""), error=why, tasks=task_counts(ends))
    try:
        records = [] if ledger is None else list(_last_run(ledger))
    except StorageError:
        records = []
    used = usage_of(records).total
    return replace(
        summary,
        run=records[0].run if records else None,
        attempts=summary.attempts | used.attempts,
        images=used.images,
        usage={name: getattr(used.usage, name) for name in summary.usage},
        cost=used.cost,
    )


def _last_run(path: Path) -> Iterator[Record]:
    """The lines of a ledger from the beginning of its last run on; none of one that holds no run."""
    ledgers = Ledgers(path.parent)
    file, begin = ledgers.number(path), None
    if path.exists():
        for record, where in ledgers.entries_of(file):
            begin = where.offset if isinstance(record, Run) else begin
    if begin is not None:
        yield from (record for record, _ in ledgers.entries_of(file, begin))
