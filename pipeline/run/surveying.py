"""The survey as a part of the run: shown while it goes on, heeded before anything is sent; and what it leaves to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import anyio
from msgspec import Struct

from pipeline.errors import JobError
from pipeline.ledger.state import State
from pipeline.run.context import Context
from pipeline.run.examine import Examined, Examiner
from pipeline.run.progress import Paced, View
from pipeline.run.share import Share, Weight
from pipeline.run.survey import Survey, Surveyor, refuse
from pipeline.tasks.expand import Prepared
from pipeline.tasks.select import Selection
from pipeline.tasks.task import Task


class Looking(Struct, Paced, frozen=True):
    """A moment of the survey, after so many seconds."""

    unit: ClassVar[str] = "tasks"

    total: int
    finished: int
    seconds: float

    @property
    def words(self) -> str:
        """What is going on."""
        return "looking at what is done"


class Rest:
    """Picks the tasks that a survey left to do."""

    def __init__(self, found: Survey) -> None:
        self._found = found
        self._place = 0

    def passes_over(self, count: int) -> bool:
        """Of an item that is wholly done nothing is made."""
        if self._found.done.count(1, self._place, self._place + count) < count:
            return False
        self._place += count
        return True

    def __call__(self, task: str) -> bool:  # noqa: ARG002 - the place tells
        self._place += 1
        return not self._found.has(self._place - 1)


async def surveyed(
    context: Context,
    surveyor: Surveyor,
    prepared: Prepared,
    selection: Selection,
    view: View,
    share: Share | None = None,
) -> Survey:
    """Look at what was done, reopen what is to be reopened; the view shows how far the look is.

    Raises JobError for unusable images, and RebuyError where too much would be bought again, by all shares together.
    """
    found = Survey(await context.in_thread(lambda: prepared.count(selection)))
    if surveyor.is_needed:
        await _looked(context, surveyor, prepared, selection, view, found)
    weight = Weight(found.done_before, found.again)
    if share is not None:
        weight = await share.weigh(weight)
    if not surveyor.yes:
        refuse(weight.again, weight.done_before, context.job.manifest.rerun.limit)
    for line in found.reopen.values():
        await context.append(line)
    return found


async def _looked(
    context: Context, surveyor: Surveyor, prepared: Prepared, selection: Selection, view: View, found: Survey
) -> None:
    async with anyio.create_task_group() as showing:
        showing.start_soon(_show, context, found, view)
        await context.in_thread(lambda: surveyor.look(prepared, selection, found))
        showing.cancel_scope.cancel()
    if found.problems:
        raise JobError(found.problems)


def rest(
    prepared: Prepared, selection: Selection, found: Survey, examiner: Examiner, *, heard: bool
) -> Iterator[Task | Examined]:
    """The tasks that are left to do; where every end is `heard` of, those that are done too, without another look."""
    if not heard:
        yield from prepared.tasks(selection, pick=Rest(found))
        return
    for place, task in enumerate(prepared.tasks(selection)):
        yield examiner.as_done(task) if found.has(place) else task


def displaced(
    prepared: Prepared, selection: Selection, found: Survey, examiner: Examiner, state: State
) -> list[Examined]:
    """The tasks that were found done, of which this run gave a name to another task's result, looked at again."""
    done = (task for place, task in enumerate(prepared.tasks(selection)) if found.has(place))
    lines = ((task, examiner.as_done(task).last) for task in done)
    return [
        examiner.examine(task)
        for task, last in lines
        if last is not None and not state.owns(task.id, (output.path for output in last.outputs))
    ]


async def _show(context: Context, found: Survey, view: View) -> None:
    began = context.chance.clock()
    while True:
        await anyio.sleep(view.interval)
        view.update(Looking(found.total, found.looked, context.chance.clock() - began))
