"""What can be found wrong without the network: every image decoded, every mask held against its image."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from pipeline.errors import Problem
from pipeline.manifest.job import Job
from pipeline.run.threads import WORKERS
from pipeline.tasks.expand import prepare
from pipeline.tasks.pictures import full_check, mask_check
from pipeline.tasks.task import Task

AT_ONCE = 8 * WORKERS
"""Files that are queued for decoding; bounds memory."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What was looked at and what is wrong; `problems` are the printed lines."""

    job: str
    items: int
    tasks: int
    files: int
    waiting: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _File:
    """A file to decode, with the first task that needs it; `image` is what a mask must fit."""

    path: str
    task: str
    image: str | None


def validate(job: Job, seen: Callable[[int], object]) -> Validation:
    """Check everything; `seen` hears how many files were decoded. Raises JobError for what is wrong before images."""
    prepared = prepare(job, time.time())
    problems: list[Problem] = []
    files = 0
    wanted = _files(prepared.tasks(), problems)
    with ThreadPoolExecutor(WORKERS) as workers:
        while batch := list(islice(wanted, AT_ONCE)):
            problems += [problem for problem in workers.map(_fault, batch) if problem is not None]
            files += len(batch)
            seen(files)
    return Validation(
        job.manifest.name, prepared.items, prepared.total, files, prepared.waiting, tuple(map(str, problems))
    )


def _files(tasks: Iterator[Task], problems: list[Problem]) -> Iterator[_File]:
    """Every file once; items that cannot be used go to `problems`."""
    seen: set[tuple[str, str | None]] = set()
    told: set[str] = set()
    for task in tasks:
        name = f"{task.item.set}/{task.item.key}"
        if task.item.problem is not None:
            if name not in told:
                told.add(name)
                problems.append(Problem(task.item.problem, where=name))
            continue
        for wanted in task.inputs:
            image = task.inputs[0].path if wanted.role == "mask" else None
            if (wanted.path, image) not in seen:
                seen.add((wanted.path, image))
                yield _File(wanted.path, task.id, image)


def _fault(file: _File) -> Problem | None:
    fault = full_check(file.path) if file.image is None else mask_check(file.path, file.image)
    return None if fault is None else Problem(fault.message, where=file.task)
