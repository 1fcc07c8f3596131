"""The task group: tasks are examined in order, and those that need a request live until it is settled.

1. Workers return ends and never raise: one task's fault cancels no other's paid answer.
2. At most `window` tasks are alive at once; the rest of the job is not expanded yet.
3. Two tasks that would send the same request share one: the later waits without a slot, then looks again.
4. An item whose files keep changing while they are sent, or cannot be read then, is invalid after `CHANGES` times: a
   run ends whatever its inputs do.
5. From the start of a drain on, and beyond the items that `--limit` takes, tasks are only looked at as far as that
   costs no reading.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import anyio
from anyio import CapacityLimiter
from msgspec import Struct

from pipeline.control.stop_on import common_cut, too_many_failures, too_many_in_doubt
from pipeline.endpoint.reply import Failure
from pipeline.errors import RetouchError, StorageError
from pipeline.ledger.records import Output, Settled
from pipeline.ledger.standing import Standing
from pipeline.outcome import Outcome
from pipeline.outputs.stock import MovedError
from pipeline.run.attempt import Ended
from pipeline.run.context import Context
from pipeline.run.decide import Class, Verb
from pipeline.run.examine import Examined, Examiner, invalid
from pipeline.run.exits import Exit
from pipeline.run.inputs import Look
from pipeline.run.limit import ItemLimit
from pipeline.run.retrying import attempts
from pipeline.run.reuse import reuse
from pipeline.run.summary import Failure as TaskFailure
from pipeline.run.survey import WARNINGS, Survey
from pipeline.run.watch import doubt_words, failure_words
from pipeline.run.workers import Workers
from pipeline.tasks.task import Task
from pipeline.threads import in_thread

BATCH_TASKS = 512
BATCH_SECONDS = 0.05
"""A batch of examined tasks ends with whichever comes first."""

FIRST_BATCH = 8
"""Tasks of the first batch, so that the first requests leave at once, while others are examined."""

LISTED_SECONDS = 2.0
"""Seconds from the start of a drain on for which tasks are looked at all the same, to tell how many were done before:
longer only while requests in flight are waited for anyway."""

BETWEEN_LOOKS = 1.0
"""Seconds before a task is looked at again whose input changed while it was sent."""

CHANGES = 3
"""Times that inputs of a task may change while they are sent before this run gives it up."""


class End(Struct, frozen=True):
    """How a task ended: one of the words of `TASK_ENDS`, its outputs, and why where it failed."""

    task: Task
    word: str
    fingerprint: str | None = None
    outputs: tuple[Output, ...] = ()
    code: str | None = None
    message: str | None = None


class Engine:
    """Runs tasks to their ends; `on_end` hears of each."""

    def __init__(self, context: Context, examiner: Examiner, limit: ItemLimit, on_end: Callable[[End], None]) -> None:
        self._context = context
        self._examiner = examiner
        self._limit = limit
        self._on_end = on_end
        self._window = 2 * context.admission.ceiling + 32
        self._reader = CapacityLimiter(1)
        self._leaders: dict[str, anyio.Event | None] = {}
        self._doubts: list[float] = []
        self._edited = 0
        self._listed = True
        self._drained_at: float | None = None
        self._most = FIRST_BATCH

    def take_over(self, found: Survey, *, heard: bool) -> None:
        """Tell what a survey found, and count what it found done, unless each of those is `heard` of by its own end."""
        if not heard:
            self._context.tally.tasks["skipped"] += found.skipped
        self._edited += found.edited
        for warning in found.warnings:
            self._context.halt.note(warning)

    async def run(self, tasks: Iterator[Task | Examined], total: int) -> None:
        """Bring every task to its end; where tasks cannot be listed to the end, the rest of `total` is pending."""
        async with anyio.create_task_group() as lives:
            workers = Workers(lives, self._window, self._live)
            try:
                while batch := await in_thread(partial(self._next_batch, tasks), self._reader):
                    for work in batch:
                        await self._start(work, workers)
                    if self._is_late(workers.busy):
                        self._listed = False
                        break
            except (RetouchError, OSError) as error:
                self._context.halt.drain(Exit.STORAGE, _mend(error))
                self._listed = False
            except Exception as error:
                self._context.halt.bug(error)
                self._listed = False
            finally:
                workers.close()
        if not self._listed:
            self._context.tally.tasks["pending"] += max(0, total - self._context.tally.finished)

    def close(self) -> None:
        """Tell what was only counted."""
        if self._edited > WARNINGS:
            self._context.halt.note(f"{self._edited} outputs were changed by someone; all stay and count as done")

    def _next_batch(self, tasks: Iterator[Task | Examined]) -> list[Examined]:
        batch: list[Examined] = []
        most, self._most = self._most, BATCH_TASKS
        until = time.monotonic() + BATCH_SECONDS
        with self._context.folder.held():
            for task in tasks:
                batch.append(task if isinstance(task, Examined) else self._examined(task))
                if len(batch) >= most or time.monotonic() > until:
                    break
        return batch

    def _is_late(self, busy: int) -> bool:
        """Whether the listing alone keeps a run from its end that is to stop."""
        if not self._context.halt.draining or busy:
            return False
        now = time.monotonic()
        self._drained_at = now if self._drained_at is None else self._drained_at
        return now - self._drained_at > LISTED_SECONDS

    def _examined(self, task: Task) -> Examined:
        unread = self._context.halt.draining or self._limit.passes_over(task)
        return self._examiner.examine_to_send(task, Look.STAT if unread else Look.HASH)

    async def _start(self, work: Examined, workers: Workers[Examined]) -> None:
        needs_life = work.verb in (Verb.SEND, Verb.REUSE) or work.kind is Class.INVALID
        if work.verb is Verb.SEND and not self._limit.admits(work.task):
            return
        if not needs_life or (self._context.halt.draining and work.verb is not Verb.REPORT):
            self._end(self._told(work))
        else:
            await workers.start(work)

    async def _live(self, work: Examined) -> None:
        try:
            self._end(await self._conclude(work))
        except (StorageError, OSError) as error:
            self._context.halt.drain(Exit.STORAGE, _mend(error) if isinstance(error, OSError) else str(error))
            self._end(End(work.task, "pending"))
        except Exception as error:
            self._context.halt.bug(error)
            self._end(End(work.task, "pending"))

    async def _conclude(self, work: Examined) -> End:
        """Lead the request where nobody does; else wait for who leads it, and look again."""
        changes = 0
        while work.verb in (Verb.SEND, Verb.REUSE):
            if work.fingerprint in self._leaders:
                await self._led(work.fingerprint)
            elif not self._examiner.outdated(work):
                end = await self._lead(work)
                if isinstance(end, End):
                    return end
                if end is not None and (changes := changes + 1) == CHANGES:
                    return await self._told_durably(_given_up(work, end))
            work = await self._context.in_thread(partial(self._examiner.examine, work.task, Look.AFRESH))
        return await self._told_durably(work)

    async def _lead(self, work: Examined) -> End | Settled | None:
        """Take over or buy the result; not an end where the task must be looked at again, as a file of it changed.

        That file is an input where the line of an attempt says so, else a picture.
        """
        self._leaders[work.fingerprint] = None
        try:
            return await (self._reuse(work) if work.verb is Verb.REUSE else self._send(work))
        finally:
            followers = self._leaders.pop(work.fingerprint)
            if followers is not None:
                followers.set()

    async def _led(self, fingerprint: str) -> None:
        """Wait for the end of who leads a request; few requests have anyone who waits."""
        over = self._leaders[fingerprint]
        if over is None:
            over = self._leaders[fingerprint] = anyio.Event()
        await over.wait()

    async def _send(self, work: Examined) -> End | Settled:
        ended = await attempts(self._context, work, self._judge)
        if ended.settled is not None and ended.settled.code == Failure.INPUT_CHANGED:
            await self._context.halt.sleep(BETWEEN_LOOKS)
            return ended.settled
        end = self._sent_end(work, ended)
        self._judge_failures(end)
        return end

    def _sent_end(self, work: Examined, ended: Ended) -> End:
        settled = ended.settled
        if settled is None or settled.outcome in (Outcome.THROTTLED, Outcome.UNSENT, Outcome.STOPPED):
            return End(work.task, "pending", work.fingerprint)
        if settled.outcome is Outcome.SUCCEEDED:
            return End(work.task, "done" if ended.outputs else "pending", work.fingerprint, ended.outputs)
        word = {Standing.FAILED: "failed", Standing.HELD: "held"}.get(
            self._examiner.standing(work.fingerprint), "pending"
        )
        return End(work.task, word, work.fingerprint, code=settled.code, message=settled.message)

    async def _reuse(self, work: Examined) -> End | None:
        try:
            return End(work.task, "reused", work.fingerprint, await reuse(self._context, work))
        except MovedError:
            return None

    async def _told_durably(self, work: Examined) -> End:
        if work.kind is Class.INVALID and (line := self._examiner.invalid_line(work)) is not None:
            await self._context.append(line)
        return self._told(work)

    def _told(self, work: Examined) -> End:
        """The end of a task for which nothing is to be done, or nothing can be any more."""
        if work.verb is Verb.SKIP:
            self._warn(work)
            outputs = tuple(work.last.outputs) if work.last else ()
            return End(work.task, "skipped", work.fingerprint, outputs)
        if work.verb is Verb.REPORT:
            return End(work.task, str(work.kind), work.fingerprint, code=work.code, message=work.message)
        return End(work.task, "pending", work.fingerprint)

    def _warn(self, work: Examined) -> None:
        """Tell of an output that somebody changed; of many the first few, and in the end how many."""
        if work.warning is not None:
            self._edited += 1
            if self._edited <= WARNINGS:
                self._context.halt.note(work.warning)

    def _judge(self, ended: Ended) -> None:
        """Count a settled attempt, and stop where too many end in doubt."""
        if ended.settled is None:
            return
        tally, halt = self._context.tally, self._context.halt
        tally.end_attempt(ended.settled)
        if ended.settled.outcome is Outcome.IN_DOUBT:
            self._doubts.append(ended.settled.seconds or 0.0)
        limit = self._context.job.manifest.stop_on.in_doubt
        doubts, settled = tally.attempts[Outcome.IN_DOUBT], tally.attempts.total()
        if not halt.draining and too_many_in_doubt(doubts, settled, limit):
            halt.drain(Exit.TOO_MANY, doubt_words(doubts, settled, common_cut(self._doubts)))

    def _end(self, end: End) -> None:
        bad = end.word in ("failed", "held", "invalid")
        self._context.tally.end_task(end.word, TaskFailure(end.task.id, end.code, end.message) if bad else None)
        self._on_end(end)

    def _judge_failures(self, end: End) -> None:
        """Stop where too many of the tasks that this run sent failed."""
        halt, tally = self._context.halt, self._context.tally
        tally.failed_now += end.word == "failed"
        failed, done = tally.failed_now, tally.tasks["done"] + (end.word == "done")
        if not halt.draining and too_many_failures(failed, done, self._context.job.manifest.stop_on.failures):
            halt.drain(
                Exit.TOO_MANY,
                failure_words(failed, done, f" (last: {end.task.id}: {end.code})"),
            )


def _given_up(work: Examined, last: Settled) -> Examined:
    words = f"{last.message}, {CHANGES} times while it was to be sent; run again when it is complete"
    return invalid(work.task, "unreadable", words)


def _mend(error: Exception) -> str:
    return f"{error}; the run cannot go on, run again when that is mended"
