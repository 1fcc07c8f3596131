"""The process that was asked for a run in several: it starts them, shows them as one, passes signals on, sums up."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

import anyio
from anyio import to_thread
from msgspec import Struct
from msgspec.structs import replace

from pipeline.errors import JobError, LockedError, Problem, RebuyError, RetouchError, StorageError
from pipeline.ledger.lock import FolderLock
from pipeline.ledger.usage import Cost
from pipeline.manifest.job import Job
from pipeline.manifest.override import override
from pipeline.outcome import Outcome
from pipeline.outputs.folder import OutputFolder
from pipeline.processes import child
from pipeline.processes.child import Ended, Verdict, Work
from pipeline.processes.leftovers import any_left
from pipeline.processes.merge import merged, merged_summary
from pipeline.processes.pipes import messages, send
from pipeline.processes.shares import items_of, most_processes, part_of_job
from pipeline.run.api import UVLOOP
from pipeline.run.exits import Exit
from pipeline.run.flags import Flags, check_flags
from pipeline.run.folders import spill_of
from pipeline.run.lanes import check_ways, keys_of
from pipeline.run.perform import prepared_for
from pipeline.run.progress import Snapshot, View
from pipeline.run.share import Weight
from pipeline.run.signals import stop_of, told
from pipeline.run.summary import Summary, Tally, summarise
from pipeline.run.surveying import Looking
from pipeline.tasks.expand import Prepared
from pipeline.tasks.select import Selection

MOST: Final = 64
"""Most processes of one run."""

_FIRST_OF: Final = (JobError, LockedError, RebuyError, RetouchError)
"""Which error is told, where several processes cannot begin."""


class Child(Struct, eq=False):
    """A process as its parent knows it: what it told last, its `weight`, and its last word, `ended`; where that is
    wanting, how it was `lost`."""

    name: str
    pid: int
    say: int
    hear: int
    moment: Snapshot | Looking | None = None
    weight: Weight | None = None
    ended: Ended | None = None
    gone: bool = False
    lost: str | None = None


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
            heard = _tidied(job, flags, view)
            children = [] if heard else _watched(_works(job, flags, count, prepared), view, heard)
    finally:
        view.close()
    seconds = time.monotonic() - began
    if not children:
        return _stopped(job, flags, prepared, heard[0], seconds)
    ledger = job.output / f"ledger-*-of-{count}.jsonl"
    return replace(_summed_up(children, seconds), job=job.manifest.name, ledger=str(ledger))


def _count(job: Job, wanted: int, view: View) -> int:
    most = most_processes(job)
    if most < wanted:
        some = f"{most} process{'es' * (most > 1)}"
        view.note(f"{some} instead of {wanted}: each needs a request in flight, and a limit of concurrency is {most}")
    return min(most, wanted)


def _tidied(job: Job, flags: Flags, view: View) -> list[signal.Signals]:
    """Bring in order what earlier runs left, in a process of its own; the signals that came meanwhile."""
    heard: list[signal.Signals] = []
    if any_left(job.output, spill_of(job)):
        _summed_up(_watched([child.tidying(job, flags)], view, heard), 0.0)
    return heard


def _works(job: Job, flags: Flags, count: int, prepared: Prepared) -> list[Work]:
    shares = items_of(prepared, Selection(only=flags.only, sample=flags.sample), count)
    flags = replace(flags, concurrency=None, sample=None)  # which job and shares have
    return [
        child.share(part_of_job(job, at, count), replace(flags, shard=(at, count)), prepared, items)
        for at, items in enumerate(shares, start=1)
    ]


def _stopped(job: Job, flags: Flags, prepared: Prepared, number: signal.Signals, seconds: float) -> Summary:
    """The summary of a run that was stopped before it sent anything."""
    tally = Tally()
    tally.tasks["pending"] = prepared.count(Selection(only=flags.only, sample=flags.sample))
    return summarise(tally, job=job.manifest.name, run=None, exit_code=stop_of(number), seconds=seconds, ledger=None)


def _check(flags: Flags, count: int) -> None:
    """Raises JobError for what several processes cannot do, or not together."""
    problems = []
    if not 1 <= count <= MOST:
        problems.append(Problem(f"{count} processes cannot be had", f"expected 1 to {MOST}", "--processes"))
    barred = {
        "--shard": flags.shard is not None,
        "--limit": flags.limit is not None,
        "--sandbox": flags.sandbox,
        "--metrics-file": flags.metrics_file is not None,
        "--metrics-port": flags.metrics_port is not None,
    }
    for name, given in barred.items():
        if given:
            problems.append(Problem("one process alone can do this", "leave out --processes", name))
    if problems:
        raise JobError(problems)


def _watched(works: Sequence[Work], view: View, heard: list[signal.Signals]) -> list[Child]:
    """The processes that do the works, watched until the last has ended; `heard` gets the signals that came."""
    children: list[Child] = []
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who starts a run may have had it ignored: no end would be told
    try:
        _start(works, children)
        anyio.run(_watch, children, view, heard, backend_options={"use_uvloop": UVLOOP})
    finally:
        for each in children:
            os.close(each.say)
            os.close(each.hear)
        for each in children:
            if not each.gone:
                os.waitpid(each.pid, 0)  # it ends what it has in flight, and holds the folder until then
    return children


def _start(works: Sequence[Work], children: list[Child]) -> None:
    """Fork a process for each work; `children` gets those that were begun. Raises StorageError where one cannot be."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # else each process would have what is in the buffer
    for at, work in enumerate(works, start=1):
        # Until the child ignores them, and the parent passes them on, signals wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, child.IGNORED)
        try:
            (heard, say), (hear, tell) = os.pipe(), os.pipe()
            pid = os.fork()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, child.IGNORED)
            what = f"process {at} of {len(works)} cannot be started: {error.strerror}"
            raise StorageError(f"{what}; ask for fewer, or for a higher limit (ulimit -u, ulimit -n)") from error
        if not pid:
            child.become(work, heard, tell, [say, hear, *(fd for each in children for fd in (each.say, each.hear))])
        os.close(heard)
        os.close(tell)
        children.append(Child(f"process {at} of {len(works)}", pid, say, hear))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, child.IGNORED)


async def _watch(children: list[Child], view: View, heard: list[signal.Signals]) -> None:
    async with anyio.create_task_group() as around:
        around.start_soon(_pass_signals_on, children, view, heard)
        around.start_soon(_show, children, view)
        async with anyio.create_task_group() as hearing:
            for each in children:
                hearing.start_soon(_hear, each, children, view)
        around.cancel_scope.cancel()


async def _hear(own: Child, children: list[Child], view: View) -> None:
    """Take in all that a process tells, up to its end."""
    async for message in messages(own.hear):
        if isinstance(message, str):
            view.note(message if len(children) == 1 else f"{own.name}: {message}")
        elif isinstance(message, Weight):
            own.weight = message
            _let_begin(children)
        elif isinstance(message, Ended):
            own.ended = message
        else:
            own.moment = message
    own.gone = True
    _, status = await to_thread.run_sync(os.waitpid, own.pid, 0)
    if own.ended is not None and own.ended.error is not None and own.weight is not None:
        own.lost = str(own.ended.error)
        view.note(f"{own.name}: {own.lost}")
    if own.ended is None:
        own.lost = f"{own.name} ended early ({_end(status)})"
        billed = "; what it had in flight may have been billed" * (own.weight is not None)
        view.note(f"{own.lost}{billed}. Run again")
    if own.weight is None:
        _let_begin(children)


def _end(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"by signal {-code}" if code < 0 else f"with code {code}"


def _let_begin(children: list[Child]) -> None:
    """Once each process was looked at or has ended: let all begin, or none where one has ended before it could."""
    if not all(each.weight is not None or each.gone for each in children):
        return
    weights = [each.weight for each in children if each.weight is not None]
    verdict = Verdict(sum(weights, Weight()) if len(weights) == len(children) else None)
    for each in children:
        if not each.gone:
            send(each.say, verdict)


async def _pass_signals_on(children: list[Child], view: View, heard: list[signal.Signals]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                continue
            heard.append(number)
            for each in children:
                if not each.gone:
                    send(each.say, number)
            if len(heard) > 2:
                os._exit(int(stop_of(number)))
            moments = (each.moment for each in children if not each.gone)
            view.note(told(len(heard), sum(each.in_flight for each in moments if isinstance(each, Snapshot))))


async def _show(children: list[Child], view: View) -> None:
    while True:
        moments = [each.moment for each in children if each.moment is not None]
        if len(moments) == len(children):
            view.update(merged(moments))
        await anyio.sleep(view.interval)


def _summed_up(children: Sequence[Child], seconds: float) -> Summary:
    """The run's summary. Raises the error that kept it from beginning."""
    began = any(each.ended is not None and each.ended.summary is not None for each in children)
    errors = (
        []
        if began
        else [each.ended.error for each in children if each.ended is not None and each.ended.error is not None]
    )
    problems = [problem for error in errors if isinstance(error, JobError) for problem in error.problems]
    if problems:
        raise JobError(problems)
    if errors:
        raise min(errors, key=lambda error: next(at for at, kind in enumerate(_FIRST_OF) if isinstance(error, kind)))
    summaries = [
        each.ended.summary if each.ended is not None and each.ended.summary is not None else _of_lost(each)
        for each in children
    ]
    return merged_summary(summaries, seconds)


def _of_lost(lost: Child) -> Summary:
    """The summary of a process that ended without one, as far as it told; of one that never began, of nothing."""
    tally, now = Tally(), lost.moment
    if isinstance(now, Snapshot):
        tally.tasks.update(now.ends)
        tally.tasks["pending"] += now.total - now.finished
        tally.images, tally.cost = now.images, Cost(now.confirmed, now.possible)
        tally.attempts[Outcome.SUCCEEDED] = now.images
        tally.usage["total_tokens"] = now.tokens
    return summarise(tally, job=None, run=None, exit_code=Exit.BUG, seconds=0.0, ledger=None, error=lost.lost)
