"""A run in several processes, from the command to its summary: checked, brought in order, shared out, summed up."""

from __future__ import annotations

import time
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pipeline.errors import JobError, LockedError, Problem, RebuyError, RetouchError
from pipeline.ledger.lock import FolderLock
from pipeline.ledger.replay import ledger_path
from pipeline.manifest.job import Job
from pipeline.manifest.override import override
from pipeline.money import ZERO
from pipeline.outputs.folder import OutputFolder
from pipeline.processes import child
from pipeline.processes.family import Child, Family
from pipeline.processes.leftovers import any_left
from pipeline.processes.lost import lost_summary
from pipeline.processes.merge import followed, merged_summary, worst
from pipeline.processes.shares import items_of, most_processes, part_of_job
from pipeline.run.exits import Exit
from pipeline.run.flags import Flags, check_flags
from pipeline.run.folders import spill_of
from pipeline.run.lanes import check_ways, keys_of
from pipeline.run.perform import prepared_for
from pipeline.run.progress import Snapshot, View
from pipeline.run.signals import stop_of
from pipeline.run.summary import Summary, Tally, summarise
from pipeline.tasks.expand import Prepared
from pipeline.tasks.select import Selection

MOST: Final = 64
"""Most processes of one run."""

_FIRST_OF: Final = (JobError, LockedError, RebuyError, RetouchError)
"""Which error is told, where several processes cannot begin."""

_GOES_ON: Final = (Exit.DONE, Exit.STORAGE)
"""Ends of the process that brings things in order after which others begin: a name that was refused is its result's."""


class _Shared(Struct, frozen=True):
    """A job that several processes share, with the items of each."""

    job: Job
    flags: Flags
    prepared: Prepared
    items: list[tuple[bytes, ...]]

    @property
    def count(self) -> int:
        """How many processes there are."""
        return len(self.items)

    @property
    def total(self) -> int:
        """How many tasks all have."""
        return sum(map(self.tasks_of, range(self.count)))

    def tasks_of(self, at: int) -> int:
        """How many tasks a process has."""
        return self.prepared.count(Selection(only=self.flags.only, items=self.items[at]))

    def works(self) -> list[child.Work]:
        """What each process does."""
        flags = replace(self.flags, concurrency=None, sample=None)  # which job and items have
        return [
            child.share(
                part_of_job(self.job, at, self.count), replace(flags, shard=(at, self.count)), self.prepared, items
            )
            for at, items in enumerate(self.items, start=1)
        ]


def run_in_processes(job: Job, flags: Flags, count: int, *, view: View) -> Summary:
    """Run a job in `count` processes, or as many as its limits allow; SIGINT and SIGTERM drain it.

    To be called in the main thread, while there is no other. Raises JobError, LockedError, RebuyError or StorageError
    where the run cannot begin.
    """
    began = time.monotonic()
    check_flags(flags)
    _check(flags, count)
    if flags.concurrency is not None:
        job = override(job, {"limits.concurrency": flags.concurrency})
    keys_of(job)  # what the processes tell is shown here, without a key
    check_ways(job)
    count = _count(job, count, view)
    try:
        prepared = prepared_for(job, flags, time.time(), view.note)
        count = max(1, min(count, prepared.items))
        with OutputFolder(job.output) as folder, FolderLock(folder.root):
            tidied = _tidied(job, flags, view)
            shared = _Shared(
                job, flags, prepared, items_of(prepared, Selection(only=flags.only, sample=flags.sample), count)
            )
            summary = _run(shared, view) if tidied in _GOES_ON else _nothing(shared, tidied)
    finally:
        view.close()
    return replace(
        summary,
        job=job.manifest.name,
        ledger=str(job.output / f"ledger-*-of-{count}.jsonl"),
        exit=int(worst((tidied, summary.exit))),
        seconds=round(time.monotonic() - began, 3),
    )


def _check(flags: Flags, count: int) -> None:
    """Raises JobError for what several processes cannot do, or not together."""
    barred = {
        "--shard": flags.shard is not None,
        "--limit": flags.limit is not None,
        "--sandbox": flags.sandbox,
        "--metrics-file": flags.metrics_file is not None,
        "--metrics-port": flags.metrics_port is not None,
    }
    problems = [
        Problem("one process alone can do this", "leave out --processes", name)
        for name, given in barred.items()
        if given
    ]
    if not 1 <= count <= MOST:
        problems.append(Problem(f"{count} processes cannot be had", f"expected 1 to {MOST}", "--processes"))
    if problems:
        raise JobError(problems)


def _count(job: Job, wanted: int, view: View) -> int:
    most = most_processes(job)
    if most < wanted:
        some = f"{most} process{'es' * (most > 1)}"
        view.note(f"{some} instead of {wanted}: each needs a request in flight, and a limit of concurrency is {most}")
    return min(most, wanted)


def _tidied(job: Job, flags: Flags, view: View) -> Exit:
    """Bring in order what earlier runs left, in a process of its own: how that ended, or the signal that came."""
    if not any_left(job.output, spill_of(job)):
        return Exit.DONE
    family = Family([child.tidying(job, flags)], view, job.manifest.stop_on)
    family.live()
    if family.heard:
        return stop_of(family.heard[0])
    _raise_first(family.children)
    ended = family.children[0].ended
    return Exit(ended.summary.exit) if ended is not None and ended.summary is not None else Exit.BUG


def _nothing(shared: _Shared, reason: Exit) -> Summary:
    """The summary of a run that was stopped before it sent anything."""
    tally = Tally()
    tally.tasks["pending"] = shared.total
    return summarise(tally, job=None, run=None, exit_code=reason, seconds=0.0, ledger=None)


def _run(shared: _Shared, view: View) -> Summary:
    """Run all shares. Where one gave away a name that was another's result's, all look again, and nothing is bought."""
    first, children = _lived(shared, view)
    if first.exit != Exit.DONE or not any(each.ended is not None and each.ended.renamed for each in children):
        return first
    free = replace(shared.flags, retry=frozenset(), redo=None, yes=True, max_cost=ZERO)
    again, _ = _lived(replace(shared, flags=free), view)
    return followed(first, again)


def _lived(shared: _Shared, view: View) -> tuple[Summary, list[Child]]:
    """What the processes came to together. Raises the error that kept them from beginning."""
    family = Family(shared.works(), view, shared.job.manifest.stop_on)
    family.live()
    if not any(each.ended is not None and each.ended.summary for each in family.children):
        _raise_first(family.children)
    summaries = [_summary(shared, at, each) for at, each in enumerate(family.children)]
    return merged_summary(summaries), family.children


def _raise_first(children: list[Child]) -> None:
    """Raises the error that is told where processes could not begin, if there is one; of the job's faults, all."""
    errors = [each.ended.error for each in children if each.ended is not None and each.ended.error is not None]
    if problems := [problem for error in errors if isinstance(error, JobError) for problem in error.problems]:
        raise JobError(problems)
    if errors:
        raise min(errors, key=lambda error: next(at for at, kind in enumerate(_FIRST_OF) if isinstance(error, kind)))


def _summary(shared: _Shared, at: int, own: Child) -> Summary:
    if own.ended is not None and own.ended.summary is not None:
        return own.ended.summary
    # Its run line is durable before it is weighed.
    ledger = None if own.weight is None else ledger_path(shared.job.output, (at + 1, shared.count))
    moment = own.moment if isinstance(own.moment, Snapshot) else None
    code = Exit.BUG if own.ended is None else Exit.STORAGE if own.ended.error is not None else Exit.DONE
    return lost_summary(ledger, shared.tasks_of(at), moment, code, own.lost)
