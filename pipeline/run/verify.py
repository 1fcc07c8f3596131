"""Reading every result again and holding it against the ledger.

1. Without `repair` nothing is written and no lock is taken: it works while a run goes on, and what that run publishes
   or replaces meanwhile is no damage. With `repair` it holds the folder's lock.
2. Only what the ledger names is looked at; other files are nobody's business.
3. `repair` deletes and overwrites nothing: a changed file moves to `.retouch/replaced/`, under the sha256 of its bytes,
   where the next run finds it if it is another result. While a ledger is damaged nothing is moved.
4. Memory grows by a compact index and with what is wrong, not with what is sound.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import ClassVar

from msgspec import Struct, field
from msgspec.structs import replace

from pipeline.errors import JobError, Problem, StorageError
from pipeline.ledger.digests import DigestIndex, digest
from pipeline.ledger.lock import FolderLock
from pipeline.manifest.job import Job
from pipeline.outputs.folder import OutputFolder
from pipeline.outputs.publish import retire
from pipeline.run.exits import Exit
from pipeline.run.folders import check_owner, in_sandbox, spill_of
from pipeline.run.progress import Paced, Silent, View, count
from pipeline.run.verify_files import Checked, Files
from pipeline.run.verify_ledger import Books, LedgerReport
from pipeline.run.verify_output import SUSPECT, Kind
from pipeline.run.verify_spill import look_at_spilled
from pipeline.tasks.expand import prepare
from pipeline.tasks.select import Selection


class Fault(Struct, frozen=True):
    """A file that is not as it should be; `moved` is where `repair` put it. A replaced or spilled one has no task."""

    kind: Kind
    path: str
    task: str | None
    message: str
    moved: str | None = None


class Verification(Struct, frozen=True):
    """What was read and what is wrong; `exit` is 0 or 7.

    `outputs` counts the files that the ledger names as current results, `replaced` those that made way for newer ones,
    `spilled` the results that wait outside the output folder. `bytes` were read of the first two.
    """

    job: str
    exit: int
    outputs: dict[str, int]
    replaced: dict[str, int]
    spilled: int
    bytes: int
    seconds: float
    ledgers: tuple[LedgerReport, ...]
    problems: tuple[Fault, ...]


class Progress(Struct, Paced, frozen=True):
    """A moment of the reading; `total` and `finished` count tasks with a result, `bad` the files that are wrong."""

    unit: ClassVar[str] = "results"

    total: int
    finished: int
    bytes: int
    bad: int
    seconds: float

    @property
    def words(self) -> str:
        """Bytes read, bytes a second, and what is wrong so far."""
        pace = round(self.bytes / self.seconds) if self.seconds > 0 else 0
        return f"{count(self.bytes)}B read, {count(pace)}B/s" + (f", {self.bad} bad" if self.bad else "")


def verify(
    job: Job, repair: bool = False, *, only: str | None = None, sandbox: bool = False, view: View | None = None
) -> Verification:
    """Read a job's results again; with `repair` move changed ones aside, so that the next run makes them again.

    `only` is a glob on task ids. Needs no key. Raises JobError, StorageError, and with `repair` LockedError.
    """
    if sandbox:
        job = in_sandbox(job, None)
    if repair and job.manifest.rerun.missing == "keep":
        what = "is keep, so that no run would make again what --repair moves aside"
        raise JobError([job.problem("rerun.missing", what, "set it to remake, or leave --repair out")])
    verifier = _Verifier(job, only, view or Silent())
    try:
        if job.output.exists():
            verifier.run(repair=repair)
    finally:
        verifier.view.close()
    return verifier.verification()


class _Verifier(Struct):
    """One verification and its counts; `began` and `shown` are monotonic seconds."""

    job: Job
    only: str | None
    view: View
    outputs: Counter[Kind] = field(default_factory=Counter)
    replaced: Counter[Kind] = field(default_factory=Counter)
    spilled: int = 0
    bytes: int = 0
    faults: list[Fault] = field(default_factory=list)
    reports: tuple[LedgerReport, ...] = ()
    began: float = field(default_factory=time.monotonic)
    shown: float = 0.0

    def run(self, *, repair: bool) -> None:
        """Read everything there is."""
        with ExitStack() as stack:
            folder = stack.enter_context(OutputFolder(self.job.output, create=repair))
            if repair:
                stack.enter_context(FolderLock(folder.root))
            books = Books(folder.root)
            stack.callback(books.ledgers.close)
            check_owner(self.job, books.holdings.job)
            self.reports = books.reports
            files = Files(folder, books, _takes(self.only, books))
            mend = _mender(folder) if repair and not books.damaged else _leave
            self._count(files.results(), self.outputs, len(books.holdings), mend)
            if self.only is None:
                self._count(files.replaced(), self.replaced, 0, mend)
                self._look_at_spill()
            if repair:
                folder.sync()
        self._judge_missing()

    def _count(
        self, lines: Iterable[list[Checked]], counts: Counter[Kind], total: int, mend: Callable[[Fault], Fault]
    ) -> None:
        for finished, line in enumerate(lines, 1):
            for one in line:
                counts[one.seen.kind] += 1
                self.bytes += one.seen.bytes
                if one.seen.kind in SUSPECT:
                    self.faults.append(mend(_fault(one)))
            self._show(max(total, finished), finished)

    def _show(self, total: int, finished: int) -> None:
        now = time.monotonic()
        if now - self.shown >= self.view.interval:
            self.shown = now
            self.view.update(Progress(total, finished, self.bytes, len(self.faults), now - self.began))

    def _look_at_spill(self) -> None:
        for spilled in spill_of(self.job).waiting():
            self.spilled += 1
            self.faults += map(_fault, look_at_spilled(spilled))

    def _judge_missing(self) -> None:
        """Strike off missing files that nobody asks for: `rerun.missing` is keep, or the manifest dropped the task."""
        missing = [fault for fault in self.faults if fault.kind is Kind.MISSING]
        if not missing:
            return
        if self.job.manifest.rerun.missing == "keep":
            self.faults = [fault for fault in self.faults if fault.kind is not Kind.MISSING]
            return
        asked_for = _asked_for(self.job, self.only)
        stale = {fault.path for fault in missing if not asked_for(fault.task or "")}
        self.outputs[Kind.STALE] += len(stale)
        self.outputs[Kind.MISSING] -= len(stale)
        self.faults = [fault for fault in self.faults if fault.path not in stale]

    def verification(self) -> Verification:
        """The report."""
        damaged = any(report.damaged for report in self.reports)
        return Verification(
            job=self.job.manifest.name,
            exit=int(Exit.STORAGE if damaged or self.faults else Exit.DONE),
            outputs=_counts(self.outputs, tuple(Kind)),
            replaced=_counts(self.replaced, (Kind.SOUND, Kind.CHANGED, Kind.UNREADABLE)),
            spilled=self.spilled,
            bytes=self.bytes,
            seconds=round(time.monotonic() - self.began, 3),
            ledgers=self.reports,
            problems=tuple(self.faults),
        )


def _counts(found: Counter[Kind], kinds: tuple[Kind, ...]) -> dict[str, int]:
    return {"total": found.total()} | {str(kind): found[kind] for kind in kinds}


def _takes(only: str | None, books: Books) -> Callable[[str], bool]:
    """Whether a task is wanted. Raises JobError for a glob that matches none with a result: it could be mistyped."""
    takes = Selection(only=only).task_filter()
    if takes is None or not len(books.holdings):
        return lambda _: True
    lines = (books.ledgers.read(where) for where in books.holdings.results())
    if not any(takes(str(getattr(line, "task", ""))) for line in lines):
        raise JobError([Problem(f"{only!r} matches no task with a result", "expected a glob of whole ids", "--only")])
    return takes


def _fault(one: Checked) -> Fault:
    return Fault(one.seen.kind, one.path, one.task, one.seen.words)


def _leave(fault: Fault) -> Fault:
    return fault


def _mender(folder: OutputFolder) -> Callable[[Fault], Fault]:
    """Moves a changed file aside; what cannot be moved says why."""

    def mend(fault: Fault) -> Fault:
        if fault.kind is not Kind.CHANGED:
            return fault
        try:
            return replace(fault, moved=retire(folder, fault.path))
        except StorageError as error:
            return replace(fault, message=f"{fault.message}; {error}")

    return mend


def _asked_for(job: Job, only: str | None) -> Callable[[str], bool]:
    """Whether the manifest names a task; where that cannot be told, as inputs are gone or still too young, it does."""
    tasks = DigestIndex()
    try:
        prepared = prepare(job, time.time())
        if prepared.waiting:
            return lambda _: True
        for task in prepared.tasks(Selection(only=only)):
            tasks.add(digest(task.id))
    except JobError:
        return lambda _: True
    return lambda task: tasks.find(digest(task)) >= 0
