"""The look before the first request: would too much be bought again, and what is to be reopened.

Only tasks that were done before are looked at, unless a flag asks for more: nothing new is read ahead of its turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from unicodedata import normalize

from pipeline.errors import JobError, Problem, RebuyError
from pipeline.ledger.records import Reopened
from pipeline.ledger.state import State
from pipeline.run.decide import Class, Verb
from pipeline.run.decoding import Sink, decoding
from pipeline.run.examine import Examined, Examiner
from pipeline.run.flags import Flags
from pipeline.run.inputs import fingerprint_of
from pipeline.run.limit import ItemLimit
from pipeline.tasks.task import Task

FEW = 20
"""So many finished tasks may be bought again without a question, whatever their share."""


@dataclass(slots=True)
class Survey:
    """What the look found: tasks done before, those that would be bought again, lines to append, what is unusable."""

    done_before: int = 0
    again: int = 0
    reopen: dict[str, Reopened] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def survey(tasks: Iterator[Task], examiner: Examiner, state: State, flags: Flags, *, strict: bool) -> Survey:
    """Look at the tasks that were done before; with `--retry`, `--redo` or `strict` at all of them."""
    found = Survey()
    limit = ItemLimit(flags.limit)
    everything = bool(flags.retry or strict)
    with decoding(examiner.job, Sink(found.problems.append)) as images:
        for task in tasks:
            if state.task(task.id) is None and (not everything or limit.passes_over(task)):
                continue
            work = examiner.examine(task)
            found.done_before += work.last is not None
            found.again += work.again and work.last is not None
            line = reopening(work, flags)
            if line is not None and line.fingerprint not in found.reopen and limit.admits(task):
                found.reopen[line.fingerprint] = line
            if strict and (work.kind is Class.INVALID or (work.verb is Verb.SEND and limit.admits(task))):
                images.look_into(task, examiner)
    return found


def reopening(work: Examined, flags: Flags) -> Reopened | None:
    """The line that `--retry` or `--redo` asks for, if this task is meant."""
    if str(work.kind) in flags.retry and work.verb is Verb.REPORT:
        return Reopened(task=work.task.id, fingerprint=work.fingerprint, base=work.base, generation=work.generation)
    if flags.redo is None or not fnmatchcase(work.task.id, normalize("NFC", flags.redo)):
        return None
    if work.kind not in (Class.DONE, Class.REUSED, Class.MISSING):
        return None
    generation = work.generation + 1
    wanted = fingerprint_of(work.task, work.inputs, generation)
    return Reopened(task=work.task.id, fingerprint=wanted, base=work.base, generation=generation)


def refuse(found: Survey, limit: float, *, yes: bool) -> None:
    """Raises JobError for unusable images, and RebuyError where more than `limit` would be bought again."""
    if found.problems:
        raise JobError(found.problems)
    if yes or found.again <= FEW or found.again <= limit * found.done_before:
        return
    raise RebuyError(
        f"{found.again} of {found.done_before} tasks that were done before would be bought again, because outputs are "
        f"missing or input files changed; rerun.limit allows {limit:.0%}. Nothing was sent\n"
        "hint: is a disk not mounted, or did a tool rewrite every photo? `retouch plan` shows what changed; --yes goes "
        "on, rerun.changed: keep and rerun.missing: keep leave such tasks as they are"
    )
