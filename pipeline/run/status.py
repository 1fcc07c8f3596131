"""Where a job stands, from its ledger and its files; works on a running job from another shell."""

from __future__ import annotations

import os
import re
import socket
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline.ledger.lock import signature
from pipeline.ledger.records import Run, Sent
from pipeline.ledger.usage import Tally as UsageTally
from pipeline.ledger.usage import usage_of
from pipeline.manifest.job import Job
from pipeline.run.decide import Class, Verb
from pipeline.run.examine import Examined
from pipeline.run.folders import in_sandbox
from pipeline.run.reading import Reading, open_reading
from pipeline.run.summary import Failure
from pipeline.tasks.expand import prepare


@dataclass(frozen=True, slots=True)
class Status:
    """`tasks` counts every task of the job once; `running` names who holds the folder's lock, None where nobody does.

    `in_flight` are attempts whose end is not known: under way, or left by a run that was killed. `usage` is over the
    whole ledger. `failures` lists every task that failed, is held or invalid.
    """

    job: str
    running: str | None
    runs: int
    last_run: str | None
    tasks: dict[str, int]
    in_flight: int
    waiting: int
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
        runs = [entry.record for entry in reading.ledgers.entries() if isinstance(entry.record, Run)]
        return Status(
            job=job.manifest.name,
            running=holder(job.output),
            runs=len(runs),
            last_run=runs[-1].at if runs else None,
            tasks={"total": counts.total()}
            | {word: counts[word] for word in ("done", Class.FAILED, Class.HELD, Class.INVALID, "pending")},
            in_flight=_in_flight(reading),
            waiting=prepared.waiting,
            usage=usage_of(entry.record for entry in reading.ledgers.entries()).total,
            ledger=str(job.output / "ledger.jsonl"),
            failures=tuple(failures),
        )


def _word(work: Examined) -> str:
    if work.verb is Verb.REPORT:
        return str(work.kind)
    return "done" if work.verb is Verb.SKIP else "pending"


def _in_flight(reading: Reading) -> int:
    return sum(isinstance(reading.ledgers.read(where), Sent) for where in reading.state.open_sent)


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
