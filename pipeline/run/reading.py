"""A job's folder as a reader sees it: no lock, no key, no write, also while a run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pipeline.ledger.records import End, Reused, Settled
from pipeline.ledger.replay import Ledgers, replay
from pipeline.ledger.state import State
from pipeline.manifest.job import Job
from pipeline.outputs.folder import OutputFolder
from pipeline.run.examine import Examiner
from pipeline.run.folders import check_owner
from pipeline.run.inputs import Look
from pipeline.tasks.cache import InputCache
from pipeline.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader has open."""

    state: State
    ledgers: Ledgers
    examiner: Examiner
    pace: float | None

    def look_for(self, task: Task) -> Look:
        """How closely a task must be looked at: one that was never sent has no past that its bytes could tell of."""
        tried = self.state.tried(task.id) or self.state.task(task.id) is not None
        return Look.HASH if tried else Look.HEAD

    def paths_of(self, task: Task) -> list[str]:
        """The files that are a task's result: where its last line says, else none."""
        where = self.state.task(task.id)
        line = None if where is None else self.ledgers.read(where)
        return [output.path for output in line.outputs] if isinstance(line, Settled | Reused) else []


@contextmanager
def open_reading(job: Job) -> Iterator[Reading]:
    """The job's ledgers and folder, which need not exist yet.

    Raises StorageError where the ledger is damaged, JobError where the folder is another job's.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(OutputFolder(job.output, create=False)) if job.output.exists() else None
        state, ledgers = replay(job.output)
        stack.callback(ledgers.close)
        check_owner(job, state)
        cache = stack.enter_context(InputCache(None))
        yield Reading(state, ledgers, Examiner(job, state, ledgers, folder, cache), _pace(state, ledgers))


def _pace(state: State, ledgers: Ledgers) -> float | None:
    """Requests a second of the last run that made some; None before that."""
    line = None if state.last_end is None else ledgers.read(state.last_end)
    if not isinstance(line, End) or line.seconds <= 0:
        return None
    return line.attempts.get("succeeded", 0) / line.seconds or None
