"""Opening a run: folder, lock, ledger, recovery, transport; and closing it in order.

The order is part of the write protocol: the lock is held before the ledger is read, torn tails are cut before it is
replayed, and what a killed run left is finished before anything new is sent.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
from anyio import CapacityLimiter, to_thread
from msgspec import Struct

from pipeline.endpoint.key import Keys
from pipeline.ledger.committer import Committer
from pipeline.ledger.lock import FolderLock
from pipeline.ledger.records import Run
from pipeline.ledger.replay import Ledgers, ledger_path, replay
from pipeline.ledger.reserve import retire
from pipeline.ledger.scan import repair
from pipeline.ledger.snapshot import Recalled, discard_unfinished, keep, recall
from pipeline.ledger.state import State
from pipeline.manifest.job import Job
from pipeline.outputs.folder import OWN, PARTS, OutputFolder, storage_errors
from pipeline.run.admission import Admission
from pipeline.run.budget import open_budget
from pipeline.run.context import Chance, Context
from pipeline.run.descriptors import slots_for
from pipeline.run.flags import Flags
from pipeline.run.folders import check_owner, spill_of
from pipeline.run.halt import Halt
from pipeline.run.lanes import lanes_of
from pipeline.run.recover import recover
from pipeline.run.threads import WORKERS
from pipeline.tasks.cache import InputCache
from pipeline.threads import in_thread
from pipeline.version import __version__


def real_chance() -> Chance:
    """The machine's own clocks and randomness."""
    return Chance(
        random=random.random,
        token=partial(next, _tokens()),
        clock=time.monotonic,
        now=lambda: datetime.now(UTC),
    )


def _tokens() -> Iterator[str]:
    """Unpredictable words of 32 digits; the system is asked for many at once."""
    while True:
        block = os.urandom(16 * 256)
        yield from (block[start : start + 16].hex() for start in range(0, len(block), 16))


class Opened(Struct, frozen=True):
    """An open run: its context, and the input cache that outlives its tasks."""

    context: Context
    cache: InputCache


def run_id(now: datetime, token: str, shard: tuple[int, int] | None) -> str:
    """A run's name: when it began, six random digits, and its shard; part names and ledger lines carry it."""
    return f"{now:%Y%m%dT%H%M%SZ}-{token[:6]}{shard_suffix(shard)}"


def shard_suffix(shard: tuple[int, int] | None) -> str:
    """What the ids of a shard's runs end in; nothing for an unsharded run, which may clean up after all."""
    return "" if shard is None else f"-{shard[0]}of{shard[1]}"


@asynccontextmanager
async def open_run(
    job: Job, flags: Flags, halt: Halt, chance: Chance, keys: Keys, started: float, *, within: bool = False
) -> AsyncIterator[Opened]:
    """Lock the output folder, bring it in order and open the way to the endpoint; `within`: see `FolderLock`.

    Raises JobError, LockedError or StorageError; nothing was sent then.
    """
    async with AsyncExitStack() as stack:
        # Built first: what it refuses must not leave a folder behind.
        slots = slots_for(job.manifest.limits.concurrency, halt.note)
        lanes = lanes_of(job, keys, slots, halt, chance)
        folder = stack.enter_context(await to_thread.run_sync(OutputFolder, job.output))
        stack.enter_context(FolderLock(folder.root, flags.shard, within=within))
        with storage_errors(f"read the ledgers in {folder.root}"):
            state, ledgers, recalled = await to_thread.run_sync(_replayed, job, folder, flags.shard)
        stack.callback(ledgers.close)
        if flags.shard is None:
            stack.push_async_callback(_remember, folder, state, ledgers, recalled)
        cache = stack.enter_context(InputCache(cache_path(folder)))
        run = run_id(chance.now(), chance.token(), flags.shard)
        manifest = job.manifest
        duration = manifest.stop_on.duration
        context = Context(
            job=job,
            run=run,
            folder=folder,
            committer=_committer(job, run, folder, ledgers, flags.shard, chance),
            ledgers=ledgers,
            state=state,
            spill=spill_of(job),
            keys=keys,
            admission=Admission(lanes, slots, halt, chance.clock, lambda: chance.now().date().isoformat()),
            workers=CapacityLimiter(WORKERS),
            chance=chance,
            halt=halt,
            deadline=None if duration is None else started + duration,
        )
        for lane in lanes:
            await stack.enter_async_context(lane.transport)
        await stack.enter_async_context(_writing(context.committer))
        await _begin(context, flags, keys)
        yield Opened(context, cache)


@asynccontextmanager
async def _writing(committer: Committer) -> AsyncIterator[None]:
    """The committer at work; it ends once all that was queued is written."""
    async with anyio.create_task_group() as writing:
        writing.start_soon(committer.serve)
        try:
            yield
        finally:
            committer.close()


def cache_path(folder: OutputFolder) -> Path | None:
    """Where digests are remembered; nowhere if SQLite would follow a symlink to another place."""
    path = folder.root / OWN / "inputs.cache"
    written = (path.with_name(path.name + ending) for ending in ("", "-journal", "-wal", "-shm"))
    return None if any(each.is_symlink() for each in written) else path


def _committer(
    job: Job, run: str, folder: OutputFolder, ledgers: Ledgers, shard: tuple[int, int] | None, chance: Chance
) -> Committer:
    path = ledger_path(folder.root, shard)
    return Committer(
        path,
        run,
        folder.root / PARTS,
        slots=job.manifest.limits.concurrency,
        now=chance.now,
        limiter=CapacityLimiter(2),
        file=ledgers.number(path),
        around=folder.held,
    )


class _Replayed(NamedTuple):
    """The state with the ledgers that it points into, and what of it came from a snapshot."""

    state: State
    ledgers: Ledgers
    recalled: Recalled | None


def _replayed(job: Job, folder: OutputFolder, shard: tuple[int, int] | None) -> _Replayed:
    """The ledger's state after torn tails were cut, where the folder is this job's."""
    own, paths = folder.root / OWN, Ledgers(folder.root).paths
    discard_unfinished(own)
    recalled = recall(own, paths)
    for path in [ledger_path(folder.root, shard)] if shard else paths:
        repair(path, own / "torn", recalled.length_of(path) if recalled else 0)
        if path != ledger_path(folder.root, shard):
            with suppress(OSError):
                retire(path)
    state, ledgers = replay(folder.root, recalled=recalled)
    check_owner(job, state.job)
    if recalled is not None and state is not recalled.state:
        recalled = None
    if len(ledgers.paths) > 1 or shard:
        keep(own, state, ledgers.paths, recalled)
    return _Replayed(state, ledgers, recalled)


async def _remember(folder: OutputFolder, state: State, ledgers: Ledgers, recalled: Recalled | None) -> None:
    """Spare the next start the replay of what this run did.

    Of several ledgers the state is saved only as it was replayed: this run's lines would have to be merged with theirs.
    """
    if len(ledgers.paths) == 1:
        own = folder.root / OWN
        await in_thread(lambda: keep(own, state, ledgers.paths, recalled), CapacityLimiter(1))


async def _begin(context: Context, flags: Flags, keys: Keys) -> None:
    files = [context.ledgers.number(ledger_path(context.folder.root, flags.shard))]
    if flags.shard is None:
        files = list(range(len(context.ledgers.paths)))
    await context.append(run_line(context.job, flags, keys))
    with storage_errors(f"find the ledgers in {context.folder.root}"):
        present = [file for file in files if context.ledgers.paths[file].exists()]
    await recover(context, present, shard_suffix(flags.shard))
    # Only now: what a killed run left in flight may have been bought too.
    caps, money = context.job.manifest.budget, context.state.money
    context.admission.budget = open_budget(caps, flags.max_cost, money, context.ledgers, flags.shard)


def run_line(job: Job, flags: Flags, keys: Keys) -> Run:
    """The line that begins a run, with the settings that its other lines cannot be understood without."""
    manifest = job.manifest
    settings: dict[str, Any] = {
        "base_url": keys.mask(", ".join(job.url_of(each) for each in job.endpoints)),
        "concurrency": manifest.limits.concurrency,
        "timeout": manifest.limits.timeout,
        "max_attempts": manifest.retries.max_attempts,
        "in_doubt": manifest.retries.in_doubt,
        "rerun": manifest.rerun.model_dump(mode="json"),
        "shard": None if flags.shard is None else "{}/{}".format(*flags.shard),
    }
    return Run(
        job=manifest.name,
        manifest=job.sha256,
        version=__version__,
        argv=[keys.mask(argument) for argument in flags.argv],
        sandbox=flags.sandbox,
        settings=settings,
    )
