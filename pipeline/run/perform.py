"""A run from its first look at the job to its summary."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from traceback import format_exception

import anyio
import msgspec
from anyio import CapacityLimiter, to_thread

from pipeline.endpoint.key import Key, Keys
from pipeline.errors import StorageError
from pipeline.held import Room
from pipeline.ledger.records import End as EndLine
from pipeline.ledger.replay import ledger_path
from pipeline.manifest.job import Job
from pipeline.manifest.override import override
from pipeline.run.context import Chance, Context
from pipeline.run.engine import End, Engine
from pipeline.run.examine import Examined, Examiner
from pipeline.run.exits import Exit, exit_code
from pipeline.run.flags import Flags, check_flags, check_globs
from pipeline.run.folders import in_sandbox
from pipeline.run.halt import Halt
from pipeline.run.lanes import keys_of
from pipeline.run.limit import ItemLimit
from pipeline.run.measuring import Measured, measuring
from pipeline.run.model_checks import check_models, utc_day
from pipeline.run.progress import View, snapshot
from pipeline.run.session import Opened, open_run, real_chance
from pipeline.run.share import Share
from pipeline.run.signals import listen
from pipeline.run.stops import heed_stops
from pipeline.run.summary import Summary, attempt_counts, summarise, task_counts, usage_counts
from pipeline.run.survey import Surveyor
from pipeline.run.surveying import displaced, rest, surveyed
from pipeline.tasks.expand import Prepared, prepare
from pipeline.tasks.select import Selection

HELD_INPUTS = 32_000_000
"""Most bytes of inputs in memory that were looked at and are not sent yet."""

OnEnd = Callable[[End, Path], None]


async def perform(
    job: Job,
    flags: Flags,
    view: View,
    *,
    signals: bool = False,
    on_end: OnEnd | None = None,
    chance: Chance | None = None,
    share: Share | None = None,
) -> Summary:
    """Run a job, or a `share` of it; the one way in for the command line and the Python API.

    Raises JobError, LockedError, RebuyError or StorageError where the run cannot begin, and StoodDownError.
    """
    chance = chance or real_chance()
    started = chance.clock()
    check_flags(flags)
    if flags.concurrency is not None:
        job = override(job, {"limits.concurrency": flags.concurrency})
    async with measuring(job.manifest.name, flags, view.note) as measured, _endpoint(job, flags) as (job, keys):
        now = chance.now().timestamp()
        if share is not None:
            prepared = share.prepared
        else:
            prepared = await to_thread.run_sync(prepared_for, job, flags, now, view.note, limiter=CapacityLimiter(1))
        halt = Halt(view.note)

        async def whole() -> Summary:
            within = share is not None
            async with open_run(job, flags, halt, chance, keys, started, within=within) as opened:
                return await _performed(
                    opened, prepared, flags, view, measured, on_end, started, share, signals=signals
                )

        try:
            return await _in_order(halt, whole)
        except BaseExceptionGroup as group:
            raise the_one(group) from None
        finally:
            view.close()


def the_one(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a task group wrapped; of several the first, which is what the others followed from."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def tidy(job: Job, flags: Flags, view: View) -> Summary:
    """Finish what killed runs left in any ledger, and send nothing; for a process of several, of which it is none's
    shard. Raises as `perform`."""
    chance = real_chance()
    started = chance.clock()
    async with open_run(job, flags, Halt(view.note), chance, keys_of(job), started, within=True) as opened:
        return await _finish(opened.context, flags, started)


def prepared_for(job: Job, flags: Flags, now: float, note: Callable[[str], None]) -> Prepared:
    """The job's tasks, once all that can be told before the first request is right; `note` hears of ageing models."""
    checked = check_models(job, utc_day(now), max_cost=flags.max_cost is not None)
    prepared = prepare(job, now, checked.problems)
    check_globs(flags, prepared)
    for line in () if flags.sandbox else checked.notes:
        note(str(line))
    return prepared


@asynccontextmanager
async def _endpoint(job: Job, flags: Flags) -> AsyncIterator[tuple[Job, Keys]]:
    """The job and the keys to use: the manifest's own, or a sandbox's that lives as long as the run."""
    if not flags.sandbox:
        yield job, keys_of(job)
        return
    from pipeline.run.embedded import sandbox

    async with sandbox(flags.faults) as server:
        yield in_sandbox(job, server.url), Keys(tuple(Key("sandbox-key") for _ in job.endpoints))


async def _performed(
    opened: Opened,
    prepared: Prepared,
    flags: Flags,
    view: View,
    measured: Measured | None,
    on_end: OnEnd | None,
    started: float,
    share: Share | None,
    *,
    signals: bool,
) -> Summary:
    context = opened.context
    selection = Selection(only=flags.only, shard=flags.shard, sample=flags.sample)
    if share is not None:
        selection = Selection(only=flags.only, items=share.items)
    held, unnamed = Room(HELD_INPUTS), context.unnamed.whys
    examiner = Examiner(
        context.job, context.state, context.ledgers, context.folder, opened.cache, room=held, unnamed=unnamed
    )
    engine = Engine(context, examiner, ItemLimit(flags.limit), partial(_pass_on, on_end, context.folder.root))
    async with anyio.create_task_group() as watching:
        if signals:
            watching.start_soon(listen if share is None else share.listen, context)
        surveyor = Surveyor(context, examiner, opened.cache, flags)
        found = await surveyed(context, surveyor, prepared, selection, view, share)
        total = found.total
        engine.take_over(found, heard=on_end is not None)
        watching.start_soon(_stop_at_deadline, context)
        watching.start_soon(heed_stops, context)
        watching.start_soon(_show, context, total, view)
        if measured is not None:
            measured.begin(context)
            watching.start_soon(measured.follow, context, total)
        renamed = context.state.renamed
        if context.tally.finished < total:
            await engine.run(rest(prepared, selection, found, examiner, heard=on_end is not None), total)
        if context.state.renamed > renamed:
            state = context.state
            await _run_displaced(context, engine, lambda: displaced(prepared, selection, found, examiner, state))
        engine.close()
        summary = await _finish(context, flags, started)
        if measured is not None:
            await measured.finish(context, total, summary)
        watching.cancel_scope.cancel()
    return summary


async def _run_displaced(context: Context, engine: Engine, look: Callable[[], list[Examined]]) -> None:
    """Give the tasks new names that were done before, and whose names this run gave to others."""
    works = await context.in_thread(look)
    context.tally.tasks["skipped"] -= len(works)
    await engine.run(iter(works), context.tally.finished + len(works))


async def _in_order(halt: Halt, whole: Callable[[], Awaitable[Summary]]) -> Summary:
    """Let a run open, go on and end in order, with its `end` line, also where it is cancelled from outside.

    The cancellation is passed on afterwards. No thread of a run is left behind that works on a folder closed meanwhile.
    """
    summary: Summary | None = None
    over = anyio.Event()

    async def shielded() -> None:
        nonlocal summary
        try:
            with anyio.CancelScope(shield=True):
                summary = await whole()
        finally:
            over.set()

    async def pass_on_cancellation() -> None:
        try:
            await over.wait()
        finally:
            if not over.is_set():
                halt.drain(Exit.INTERRUPTED, "cancelled: what is in flight is ended, and may be billed all the same")
                halt.cancel()

    # In a task of its own: asyncio's own way to cancel a task passes through a shield around the task itself.
    async with anyio.create_task_group() as around:
        around.start_soon(pass_on_cancellation)
        around.start_soon(shielded)
    assert summary is not None
    return summary


def _pass_on(on_end: OnEnd | None, root: Path, end: End) -> None:
    if on_end is not None:
        on_end(end, root)


async def _finish(context: Context, flags: Flags, started: float) -> Summary:
    """Bring the names to the medium, then end the run in the ledger."""
    try:
        await context.in_thread(context.folder.sync)
    except StorageError as error:
        context.halt.drain(Exit.STORAGE, str(error))
    code = _code(context)
    seconds = context.chance.clock() - started
    tally, lanes = context.tally, context.lanes
    try:
        await context.append(
            EndLine(
                counts=task_counts(tally.tasks),
                attempts=attempt_counts(tally.attempts),
                images=tally.images,
                usage=usage_counts(tally.usage),
                cost=msgspec.structs.asdict(tally.cost),
                concurrency={lane.name: [(each.seconds, each.limit) for each in lane.limit.history] for lane in lanes},
                seconds=round(seconds, 3),
                exit=int(code),
            )
        )
    except StorageError as error:
        context.halt.drain(Exit.STORAGE, str(error))
        code = _code(context)
    return summarise(
        tally,
        job=context.job.manifest.name,
        run=context.run,
        exit_code=code,
        seconds=seconds,
        ledger=str(ledger_path(context.folder.root, flags.shard)),
        error=None if context.halt.error is None else context.keys.mask("".join(format_exception(context.halt.error))),
    )


def _code(context: Context) -> Exit:
    tasks = context.tally.tasks
    return exit_code(
        context.halt.reasons,
        failed=tasks["failed"] + tasks["invalid"],
        held=tasks["held"],
        pending=tasks["pending"],
    )


async def _stop_at_deadline(context: Context) -> None:
    left = context.time_left()
    if left is None:
        return
    await context.halt.sleep(max(0.0, left))
    if not context.halt.draining:
        context.halt.drain(Exit.DURATION, "stop_on.duration is over; the next run goes on")


async def _show(context: Context, total: int, view: View) -> None:
    started = context.chance.clock()
    while True:
        view.update(snapshot(context, total, context.chance.clock() - started))
        await anyio.sleep(view.interval)
