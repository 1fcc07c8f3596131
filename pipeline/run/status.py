"""Where a job stands, from its ledger and its files; works on a running job from another shell."""

from __future__ import annotations

import os
import re
import socket
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from pipeline.ledger.lock import signature
from pipeline.ledger.records import Sent
from pipeline.ledger.usage import Cost, Usage, usage_of
from pipeline.ledger.usage import Tally as UsageTally
from pipeline.manifest.job import Job
from pipeline.money import ZERO, believable
from pipeline.run.decide import Class, Verb
from pipeline.run.examine import Examined
from pipeline.run.folders import in_sandbox
from pipeline.run.reading import Reading, open_reading
from pipeline.run.running import Pulse, Running
from pipeline.run.summary import Failure
from pipeline.tasks.expand import prepare


class Status(Struct, frozen=True):
    """`tasks` counts every task of the job once; `running` names who holds the folder's lock, None where nobody does.

    `now` is how the run that goes on does, None where none does. `in_flight` are attempts whose end is not known: under
    way, or left by a run that was killed. `usage` is over the whole ledger. `failures` lists every task that failed, is
    held or invalid.
    """

    job: str
    running: str | None
    runs: int
    last_run: str | None
    tasks: dict[str, int]
    in_flight: int
    waiting: int
    now: Running | None
    usage: UsageTally
    ledger: str
    failures: tuple[Failure, ...]


def status(job: Job, *, sandbox: bool = False) -> Status:
    """Look at a job; needs no key and takes no lock. Raises JobError and StorageError."""
    if sandbox:
        job = in_sandbox(job, None)
    prepared = prepare(job, time.time())
    with open_reading(job) as reading:
        counts: Counter[str] = Counter()
        failures: list[Failure] = []
        failed = reading.failed()
        for task in prepared.tasks():
            work = reading.examiner.examine(task, reading.look_for(task, failed))
            counts[_word(work)] += 1
            if work.verb is Verb.REPORT:
                failures.append(Failure(task.id, work.code, work.message))
        pulse = Pulse(datetime.now(UTC))
        usage = usage_of(pulse.watch(reading.ledgers.entries()), ("run",))
        under_way = _under_way(reading)
        return Status(
            job=job.manifest.name,
            running=holder(job.output),
            runs=pulse.runs,
            last_run=pulse.last_run,
            tasks={"total": counts.total()}
            | {word: counts[word] for word in ("done", Class.FAILED, Class.HELD, Class.INVALID, "pending")},
            in_flight=len(under_way),
            waiting=prepared.waiting,
            now=_now(job, reading, pulse, usage, under_way, counts["pending"]),
            usage=usage.total,
            ledger=str(job.output / "ledger.jsonl"),
            failures=tuple(failures),
        )


def _word(work: Examined) -> str:
    if work.verb is Verb.REPORT:
        return str(work.kind)
    return "done" if work.verb is Verb.SKIP else "pending"


def _under_way(reading: Reading) -> list[Sent]:
    lines = (reading.ledgers.read(where) for where in reading.state.open_sent)
    return [line for line in lines if isinstance(line, Sent)]


def _now(job: Job, reading: Reading, pulse: Pulse, usage: Usage, under_way: list[Sent], pending: int) -> Running | None:
    """How the run that goes on does, or its shards together."""
    paths = reading.ledgers.paths
    runs = pulse.running(file for file, path in enumerate(paths) if _alive(signature(lock_of(path))))
    if not runs:
        return None
    flying = [line for line in under_way if line.run in runs]
    cost = Cost()
    for group in usage.groups:
        if group.group["run"] in runs and group.cost.confirmed is not None:
            cost.confirmed = (cost.confirmed or ZERO) + group.cost.confirmed
            cost.possible = (cost.possible or ZERO) + (group.cost.possible or ZERO)
    if cost.possible is not None:
        cost.possible -= sum((believable(line.estimated_cost) or ZERO for line in flying), ZERO)
        cost.possible = max(cost.possible, ZERO)  # between two looks at a growing ledger some have ended
    return pulse.told(runs, len(flying), pending, cost, pulse.used_share(runs, job))


def lock_of(ledger: Path) -> Path:
    """The lock that is held by whoever writes a ledger: `.lock` of `ledger.jsonl`, `.lock-1-of-3` of a shard's."""
    return ledger.with_name(".lock" + ledger.stem.removeprefix("ledger"))


def holder(folder: Path) -> str | None:
    """Who runs the job now, by what the lock files say; None where that process is gone. Takes no lock itself."""
    locks = (folder / ".lock", *sorted(folder.glob(".lock-*-of-*")))
    return "; ".join(text for path in locks if (text := signature(path)) and _alive(text)) or None


def _alive(text: str) -> bool:
    """Whether the process that signed is there; of another host's nothing can be known, so it counts as there."""
    match = re.match(r"pid ([1-9][0-9]{0,8}) on (\S+) since", text)
    if match is None or match[2] != socket.gethostname():
        return match is not None
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
