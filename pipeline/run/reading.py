"""A job's folder as a reader sees it: no lock, no key, no write, also while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from msgspec import Struct

from pipeline.ledger.records import End, Record, Reused, Settled
from pipeline.ledger.replay import Ledgers, replay, replay_for_reader
from pipeline.ledger.standing import Standing
from pipeline.ledger.state import State
from pipeline.manifest.job import Job
from pipeline.outputs.folder import OWN, OutputFolder
from pipeline.run.examine import Examiner
from pipeline.run.folders import check_owner
from pipeline.run.inputs import Look, size_of
from pipeline.tasks.cache import InputCache
from pipeline.tasks.task import Task


class Failed(Struct, frozen=True):
    """The lengths of the files of each request that failed or is held; `unknown`: of some, the ledger does not tell."""

    sizes: frozenset[tuple[int, ...]]
    unknown: bool

    def may_have(self, task: Task) -> bool:
        """Whether a task's request may be one of them, as far as that can be told without reading its files."""
        if self.unknown or not self.sizes:
            return self.unknown
        return tuple(size_of(file.path) for file in task.inputs) in self.sizes


class Reading(Struct, frozen=True):
    """What a reader has open."""

    state: State
    ledgers: Ledgers
    examiner: Examiner
    pace: float | None

    def look_for(self, task: Task, failed: Failed) -> Look:
        """How closely a task must be looked at.

        One that was never sent has no past that its bytes could tell of, unless they are those of a `failed` request.
        """
        tried = self.state.tried(task.id) or self.state.task(task.id) is not None
        return Look.HASH if tried or failed.may_have(task) else Look.HEAD

    def failed(self) -> Failed:
        """What is known of the files of requests that failed or are held."""
        lines = (self.ledgers.read(where) for where in self.state.without_result)
        ends = (line for line in lines if isinstance(line, Settled))
        final = (Standing.FAILED, Standing.HELD)
        inputs = [end.inputs for end in ends if self.examiner.standing(end.fingerprint) in final]
        sizes = frozenset(tuple(file.bytes for file in files) for files in inputs if files is not None)
        return Failed(sizes, unknown=any(files is None for files in inputs))

    def paths_of(self, task: Task) -> list[str]:
        """The files that are a task's result: where its last line says, else none."""
        where = self.state.task(task.id)
        line = None if where is None else self.ledgers.read(where)
        return [output.path for output in line.outputs] if isinstance(line, Settled | Reused) else []


@contextmanager
def open_reading(job: Job, watch: Callable[[Record], object] | None = None) -> Iterator[Reading]:
    """The job's ledgers and folder, which need not exist yet; `watch` is shown each record as it is read.

    Raises StorageError where the ledger is damaged, JobError where the folder is another job's.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(OutputFolder(job.output, create=False)) if job.output.exists() else None
        state, ledgers = replay(job.output, watch) if watch else replay_for_reader(job.output, job.output / OWN)
        stack.callback(ledgers.close)
        check_owner(job, state.job)
        cache = stack.enter_context(InputCache(None))
        yield Reading(state, ledgers, Examiner(job, state, ledgers, folder, cache, once=True), _pace(state, ledgers))


def _pace(state: State, ledgers: Ledgers) -> float | None:
    """Requests a second of the last run that made some; None before that."""
    line = None if state.last_end is None else ledgers.read(state.last_end)
    if not isinstance(line, End) or line.seconds <= 0:
        return None
    return line.attempts.get("succeeded", 0) / line.seconds or None
