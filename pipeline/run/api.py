"""The Python API: load a job, plan it, run it, or receive its results one by one.

What runs an event loop is imported by the functions that start one: `plan` and `status` load a job and need none.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pipeline.ledger.records import Output
from pipeline.manifest.job import Job
from pipeline.manifest.load import load_job
from pipeline.run.flags import Flags, flags_of
from pipeline.run.progress import Silent, View
from pipeline.run.summary import Summary

if TYPE_CHECKING:
    from pipeline.run.engine import End

UVLOOP = sys.platform != "win32"


class Result(Struct, frozen=True):
    """How one task ended: `end` is done, skipped, reused, failed, held, invalid or pending.

    `paths` are the absolute paths of its images, `outputs` the ledger's description of them; `code` and `message` say
    why a task failed.
    """

    task: str
    end: str
    set: str
    key: str
    prompt: str
    variant: str
    row: dict[str, Any] | None
    paths: tuple[Path, ...]
    outputs: tuple[Output, ...]
    code: str | None
    message: str | None


def load(path: str | os.PathLike[str]) -> Job:
    """Read and check a manifest. Raises JobError with everything that is wrong in it."""
    return load_job(path, os.environ)


async def arun(job: Job, **flags: Any) -> Summary:
    """Run a job in the running event loop; `flags` are the fields of `Flags`.

    A cancellation ends the attempts in flight, settles each, and is then passed on. Raises JobError, LockedError,
    RebuyError or StorageError where the run cannot begin; what happens later is in the Summary.
    """
    return await _perform(job, flags_of(flags), Silent())


def run(job: Job, **flags: Any) -> Summary:
    """Run a job to its end; also inside a running event loop (in a thread of its own) and off the main thread.

    Raises as `arun` does.
    """
    return run_with(job, flags_of(flags), view=Silent(), signals=False)


def run_with(job: Job, flags: Flags, *, view: View, signals: bool) -> Summary:
    """Run a job with a view of its progress; with `signals` SIGINT and SIGTERM drain it. Raises as `arun` does."""
    import anyio

    main = partial(_perform, job, flags, view, signals=signals)
    return _outside_loops(lambda: anyio.run(main, backend_options={"use_uvloop": UVLOOP}))


async def _perform(job: Job, flags: Flags, view: View, **options: Any) -> Summary:
    """Imports what a run needs and a look at a job does not."""
    from pipeline.run.perform import perform

    return await perform(job, flags, view, **options)


async def results(job: Job, **flags: Any) -> AsyncIterator[Result]:
    """Run a job and yield each task's end as it comes; leaving the loop early cancels what is in flight.

    Who leaves early says `async with contextlib.aclosing(results(job)) as ends`: the run has ended, and its lock is
    free, where that block ends. Python closes a generator that was only left at some later time. Raises as `arun`.
    """
    import asyncio

    from anyio import CancelScope, to_thread
    from anyio.from_thread import start_blocking_portal

    loop = asyncio.get_running_loop()
    ends: asyncio.Queue[Result | None] = asyncio.Queue()

    def tell(result: Result | None) -> None:
        with suppress(RuntimeError):  # the caller's loop is closed: nobody listens any more
            loop.call_soon_threadsafe(ends.put_nowait, result)

    async def produce() -> None:
        try:
            await _perform(job, flags_of(flags), Silent(), on_end=lambda end, root: tell(_result(end, root)))
        finally:
            tell(None)

    # In a thread and loop of its own: a script that just ends cancels every task of its loop, the ledger's writer too.
    portal = start_blocking_portal("asyncio", {"use_uvloop": UVLOOP})
    running = (await to_thread.run_sync(portal.__enter__)).start_task_soon(produce)
    try:
        while (result := await ends.get()) is not None:
            yield result
        await asyncio.wrap_future(running)
    finally:
        running.cancel()
        with CancelScope(shield=True):  # a cancelled caller too gets the folder back
            await to_thread.run_sync(portal.__exit__, None, None, None)


def _result(end: End, root: Path) -> Result:
    task = end.task
    return Result(
        task=task.id,
        end=end.word,
        set=task.item.set,
        key=task.item.key,
        prompt=task.prompt,
        variant=task.variant_text,
        row=dict(task.item.row) if task.item.row is not None else None,
        paths=tuple(root / output.path for output in end.outputs),
        outputs=end.outputs,
        code=end.code,
        message=end.message,
    )


def _outside_loops(main: Callable[[], Summary]) -> Summary:
    """Call `main`, in a thread of its own where this one has a running event loop already, as a notebook has."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return main()
    outcome: list[Summary | BaseException] = []

    def call() -> None:
        try:
            outcome.append(main())
        except BaseException as error:  # carried to the calling thread
            outcome.append(error)

    thread = threading.Thread(target=call, name="retouch")
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
