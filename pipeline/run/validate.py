"""What can be found wrong without the network: every image decoded, every mask held against its image.

1. Nothing is sent, written or locked, and no key is needed; it works while a run goes on.
2. All that can be found is found: a bad row or template does not hide what is wrong with the images of the others.
3. Problems stand in the order of the files that they are in; the images' follow, in the order of the tasks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import ClassVar

from msgspec import Struct, field

from pipeline.errors import JobError, Problem, listed
from pipeline.manifest.job import Job
from pipeline.run.decoding import Decoding, Sink, decoding
from pipeline.run.examine import Examiner
from pipeline.run.exits import Exit
from pipeline.run.lanes import check_ways
from pipeline.run.model_checks import check_models, utc_day
from pipeline.run.progress import Paced, Silent, View
from pipeline.run.reading import open_reading
from pipeline.tasks.expand import Prepared, judge

KEPT = 10_000
"""Most problems, and most warnings, that are remembered; further ones are counted."""


class Validation(Struct, frozen=True):
    """What was looked at and what is wrong; `unlisted` counts further problems. `exit` is 0 or 2, `error` the printed
    lines; `job` is None where its name is not known."""

    job: str | None
    exit: int = Exit.DONE
    items: int = 0
    tasks: int = 0
    files: int = 0
    waiting: int = 0
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    unlisted: int = 0
    error: str | None = None


class Progress(Struct, Paced, frozen=True):
    """A moment of the looking; `total` and `finished` count tasks, `files` those that were decoded."""

    unit: ClassVar[str] = "tasks"

    total: int
    finished: int
    files: int
    bad: int
    seconds: float

    @property
    def words(self) -> str:
        """Files read, and problems so far."""
        return f"{self.files} files decoded" + (f", {self.bad} problem{'s' * (self.bad > 1)}" if self.bad else "")


def validate(job: Job, view: View | None = None) -> Validation:
    """Find everything that is wrong with a job but for what only its endpoint can tell.

    Raises StorageError where the ledger of an earlier run is damaged.
    """
    models = check_models(job, utc_day(time.time()))
    judged = judge(job, time.time(), models.problems)
    found = _Findings([*judged.problems, *_wrong(lambda: check_ways(job))])
    for note in models.notes:
        found.warn(note)
    prepared, view = judged.prepared, view or Silent()
    looker = _Looker(job, view, found, 0 if prepared is None else prepared.total)
    try:
        if prepared is not None:
            found.add(_wrong(lambda: looker.run(prepared, judged.missing)))
    finally:
        view.close()
    return Validation(
        job=job.manifest.name,
        exit=Exit.USAGE if found.problems else Exit.DONE,
        items=0 if prepared is None else prepared.items,
        tasks=looker.total,
        files=looker.files,
        waiting=0 if prepared is None else prepared.waiting,
        problems=tuple(found.problems),
        warnings=tuple(found.warnings),
        unlisted=found.unlisted,
        error="\n".join(listed(found.problems, found.unlisted)) or None,
    )


def refused(error: JobError) -> Validation:
    """The validation of a job whose manifest cannot be read far enough to look further."""
    return Validation(None, Exit.USAGE, problems=error.problems, error=str(error))


def _wrong(act: Callable[[], object]) -> Sequence[Problem]:
    try:
        act()
    except JobError as error:
        return error.problems
    return ()


class _Findings(Struct):
    problems: list[Problem]
    warnings: list[Problem] = field(default_factory=list)
    unlisted: int = 0

    def add(self, problems: Sequence[Problem]) -> None:
        for problem in problems:
            if len(self.problems) < KEPT:
                self.problems.append(problem)
            else:
                self.unlisted += 1

    def warn(self, warning: Problem) -> None:
        if len(self.warnings) < KEPT:
            self.warnings.append(warning)


class _Looker(Struct):
    """Goes through the tasks; `began` and `shown` are monotonic seconds."""

    job: Job
    view: View
    found: _Findings
    total: int
    finished: int = 0
    decoding: Decoding | None = None
    began: float = field(default_factory=time.monotonic)
    shown: float = 0.0

    @property
    def files(self) -> int:
        return 0 if self.decoding is None else self.decoding.files

    def run(self, prepared: Prepared, missing: frozenset[str]) -> None:
        """Raises JobError where a table changed meanwhile."""
        for doubt in prepared.doubts():
            self.found.warn(doubt)
        with ExitStack() as stack:
            examiner = self._examiner(stack)
            files = stack.enter_context(decoding(self.job, self._sink()))
            self.decoding = files
            for path in missing:
                files.pass_over(path)
            for task in prepared.tasks(report=lambda _: None):
                files.look_into(task, examiner)
                self.finished += 1

    def _examiner(self, stack: ExitStack) -> Examiner | None:
        """What knows the output folder; None where that cannot be the job's."""
        if any(problem.where == "output.folder" for problem in self.found.problems):
            return None
        try:
            return stack.enter_context(open_reading(self.job)).examiner
        except JobError as error:
            self.found.add(error.problems)
            return None

    def _sink(self) -> Sink:
        return Sink(lambda problem: self.found.add([problem]), self.found.warn, self._show)

    def _show(self) -> None:
        now = time.monotonic()
        if now - self.shown >= self.view.interval:
            self.shown = now
            bad = len(self.found.problems) + self.found.unlisted
            self.view.update(Progress(self.total, self.finished, self.files, bad, now - self.began))
