"""The look before the first request: would too much be bought again, and what is to be reopened.

1. Only tasks that were done before are looked at, unless a flag asks for more: nothing new is read, or made, ahead of
   its turn.
2. Which tasks are done as they are is remembered, a byte a task: the run does not look at them again. What happens to
   their files after that is found by the next run. Whatever is sent is examined again in its turn.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from unicodedata import normalize

from msgspec import Struct, field

from pipeline.errors import Problem, RebuyError
from pipeline.ledger.done import Done
from pipeline.ledger.records import Reopened
from pipeline.ledger.state import State
from pipeline.run.context import Context
from pipeline.run.decide import Class, Verb
from pipeline.run.decoding import Decoding, Sink, decoding
from pipeline.run.examine import Examined, Examiner
from pipeline.run.flags import Flags
from pipeline.run.glance import Glance
from pipeline.run.halt import Halt
from pipeline.run.inputs import fingerprint_of
from pipeline.run.limit import ItemLimit
from pipeline.tasks.cache import InputCache
from pipeline.tasks.expand import Prepared
from pipeline.tasks.select import Selection
from pipeline.tasks.task import Task

FEW = 20
"""So many finished tasks may be bought again without a question, whatever their share."""

WARNINGS = 5
"""Warnings of one kind that are printed one by one."""


class Survey(Struct):
    """What the look found, while it goes on and afterwards.

    `total` tasks are selected, of which `looked` were passed. `done` has a byte for each, 1 where there is nothing to
    do about it. Counted are tasks done before, those that would be bought again, and those of which somebody `edited`
    an output, with the first `warnings` of these. `reopen` are lines to append, `problems` what is unusable.
    """

    total: int = 0
    looked: int = 0
    done: bytearray = field(default_factory=bytearray)
    done_before: int = 0
    again: int = 0
    edited: int = 0
    warnings: list[str] = field(default_factory=list)
    reopen: dict[str, Reopened] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def has(self, place: int) -> bool:
        """Whether there is nothing to do about the task at this place of the selection."""
        return place < len(self.done) and self.done[place] == 1

    @property
    def skipped(self) -> int:
        """Tasks about which there is nothing to do."""
        return self.done.count(1)

    def forget(self) -> None:
        """Every task is to be looked at again in its turn."""
        self.done.clear()
        self.edited = 0
        self.warnings.clear()


class _Before(Struct):
    """Picks the tasks that have a past, or all; `done` is what was done of the one picked last."""

    found: Survey
    state: State
    halt: Halt
    everything: bool
    done: Done | None = None

    def passes_over(self, count: int) -> bool:  # noqa: ARG002 - the ids tell
        return False

    def __call__(self, task: str) -> bool:
        self.found.looked += 1
        self.done = self.state.done_as(task)
        return self.done is not None or self.everything or self.halt.draining


class Surveyor:
    """Looks at the tasks that were done before; with `--retry` or `strict` at all of them.

    `yes`: as much may be bought again as it finds.
    """

    def __init__(self, context: Context, examiner: Examiner, cache: InputCache, flags: Flags) -> None:
        self._examiner = examiner
        self._glance = Glance(context.state, context.folder, cache)
        self._state = context.state
        self._halt = context.halt
        self.yes = flags.yes
        self._flags = flags
        self._strict = flags.strict or context.job.manifest.on_invalid == "stop"
        self._everything = bool(flags.retry or self._strict)
        self._limit = ItemLimit(flags.limit)

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self._state.done or self._everything)

    def look(self, prepared: Prepared, selection: Selection, found: Survey) -> None:
        """Look at the selected tasks, until a drain begins."""
        found.done = bytearray(found.total)
        before = _Before(found, self._state, self._halt, self._everything)
        with decoding(self._examiner.job, Sink(found.problems.append)) as images:
            for task in prepared.tasks(selection, pick=before):
                if self._halt.draining:
                    break
                self._take(task, before.done, found, images)
                if found.done_before == self._state.done and not self._everything:
                    break  # nothing else has a past
        if self._flags.redo is not None and found.reopen:
            found.forget()  # another task may have had the very request that is asked for anew

    def _take(self, task: Task, done: Done | None, found: Survey, images: Decoding) -> None:
        if done is None and self._limit.passes_over(task):
            return
        meant = self._flags.redo is not None and _is_meant(task, self._flags)
        if done is not None and not meant and self._glance.finds(task, done):
            found.done_before += 1
            found.done[found.looked - 1] = 1
            return
        work = self._examiner.examine(task)
        self._glance.learn(work)
        found.done_before += work.last is not None
        found.again += work.again and work.last is not None
        line = reopening(work, self._flags)
        if line is not None and line.fingerprint not in found.reopen and self._limit.admits(task):
            found.reopen[line.fingerprint] = line
        self._pass(work, found)
        if self._strict and (work.kind is Class.INVALID or (work.verb is Verb.SEND and self._limit.admits(task))):
            images.look_into(task, self._examiner)

    def _pass(self, work: Examined, found: Survey) -> None:
        """Remember a task about which there is nothing to do."""
        if work.verb is not Verb.SKIP:
            return
        found.done[found.looked - 1] = 1
        if work.warning is not None:
            found.edited += 1
            if found.edited <= WARNINGS:
                found.warnings.append(work.warning)


def _is_meant(task: Task, flags: Flags) -> bool:
    """Whether `--redo` names the task."""
    return flags.redo is not None and fnmatchcase(task.id, normalize("NFC", flags.redo))


def reopening(work: Examined, flags: Flags) -> Reopened | None:
    """The line that `--retry` or `--redo` asks for, if this task is meant."""
    if str(work.kind) in flags.retry and work.verb is Verb.REPORT:
        return Reopened(task=work.task.id, fingerprint=work.fingerprint, base=work.base, generation=work.generation)
    if not _is_meant(work.task, flags):
        return None
    if work.kind not in (Class.DONE, Class.REUSED, Class.MISSING):
        return None
    generation = work.generation + 1
    wanted = fingerprint_of(work.task, work.inputs, generation)
    return Reopened(task=work.task.id, fingerprint=wanted, base=work.base, generation=generation)


def refuse(again: int, done_before: int, limit: float) -> None:
    """Raises RebuyError where more than `limit` of the tasks done before would be bought again."""
    if again <= FEW or again <= limit * done_before:
        return
    raise RebuyError(
        f"{again} of {done_before} tasks that were done before would be bought again, because outputs are "
        f"missing or input files changed; rerun.limit allows {limit:.0%}. Nothing was sent\n"
        "hint: is a disk not mounted, or did a tool rewrite every photo? `retouch plan` shows what changed; --yes goes "
        "on, rerun.changed: keep and rerun.missing: keep leave such tasks as they are"
    )
