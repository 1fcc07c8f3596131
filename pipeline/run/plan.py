"""What a run would do: every task in exactly one count, and nothing sent."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipeline.ledger.digests import digest
from pipeline.manifest.job import Job
from pipeline.outputs.folder import OWN
from pipeline.run.decide import Class, Verb
from pipeline.run.examine import Examined
from pipeline.run.flags import Flags, check_flags, check_globs, flags_of
from pipeline.run.folders import in_sandbox
from pipeline.run.inputs import Look
from pipeline.run.limit import ItemLimit
from pipeline.run.reading import Reading, open_reading
from pipeline.tasks.expand import Prepared, prepare
from pipeline.tasks.select import Selection

FIRST = 3
"""Requests that are shown."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The price in US dollars, from low to high; None where no price is known."""

    low: Decimal | None = None
    high: Decimal | None = None
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request that would be sent: its task, its text fields, its files and where its images would go."""

    task: str
    fields: dict[str, Any]
    files: tuple[str, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do, as `plan --json` prints it.

    `tasks` counts each task once, by where it stands. `stale` counts outputs that no task names, `images` those that
    would be asked for in `requests` requests. `waiting` counts files that are younger than `min_age`. `seconds` is how
    long that takes at the pace of earlier runs, None without one.
    """

    job: str
    tasks: dict[str, int]
    stale: int
    images: int
    requests: int
    waiting: int
    seconds: float | None
    estimate: Estimate
    first: tuple[PlannedRequest, ...]


def plan(job: Job, **flags: Any) -> Plan:
    """Look at every task of a job; sends nothing, needs no key and takes no lock.

    `flags` are the fields of `Flags`. Raises JobError and StorageError.
    """
    return plan_with(job, flags_of(flags))


def plan_with(job: Job, flags: Flags) -> Plan:
    """`plan`, with flags that are read already."""
    check_flags(flags)
    if flags.sandbox:
        job = in_sandbox(job, None)
    prepared = prepare(job, time.time())
    check_globs(flags, prepared)
    with open_reading(job) as reading:
        return _counted(job, prepared, reading, flags)


def _counted(job: Job, prepared: Prepared, reading: Reading, flags: Flags) -> Plan:
    selection = Selection(only=flags.only, shard=flags.shard, sample=flags.sample)
    counts: Counter[str] = Counter()
    requests: set[bytes] = set()
    first: list[PlannedRequest] = []
    images = 0
    for work in _selected(prepared, selection, reading, flags):
        counts[work.kind] += 1
        # Without a fingerprint nothing was read, as there is no past to find anything in: each counts as a request.
        request = digest(work.fingerprint or work.task.id)
        if work.verb is not Verb.SEND or request in requests:
            continue
        requests.add(request)
        images += work.task.images
        if len(first) < FIRST:
            first.append(_request(job, work))
    tasks = {"total": counts.total()} | {str(kind): counts[kind] for kind in Class}
    return Plan(
        job=job.manifest.name,
        tasks=tasks,
        stale=_stale(job, prepared, reading),
        images=images,
        requests=len(requests),
        waiting=prepared.waiting,
        seconds=None if reading.pace is None else len(requests) / reading.pace,
        estimate=Estimate(),
        first=tuple(first),
    )


def _selected(prepared: Prepared, selection: Selection, reading: Reading, flags: Flags) -> Iterator[Examined]:
    limit = ItemLimit(flags.limit)
    look = Look.HEAD if reading.state.untouched else Look.HASH
    for task in prepared.tasks(selection):
        work = reading.examiner.examine(task, Look.STAT if limit.passes_over(task) else look)
        if work.verb is not Verb.SEND or limit.admits(task):
            yield work


def _request(job: Job, work: Examined) -> PlannedRequest:
    folder = f"{job.folder}/"
    files = tuple(file.path.removeprefix(folder) for file in work.inputs)
    return PlannedRequest(work.task.id, dict(work.task.fields), files, work.task.paths)


def _stale(job: Job, prepared: Prepared, reading: Reading) -> int:
    """Outputs of this job in its folder that none of its tasks names."""
    if not reading.state.done:
        return 0
    named = {digest(path) for task in prepared.tasks() for path in reading.paths_of(task)}
    return sum(digest(path) not in named for path in _outputs(job.output) if reading.state.knows_path(path))


def _outputs(root: Path) -> Iterable[str]:
    for folder, folders, files in os.walk(root):
        if OWN in folders and folder == str(root):
            folders.remove(OWN)
        for name in files:
            yield Path(folder, name).relative_to(root).as_posix()
