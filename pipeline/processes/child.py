"""One process of several: it does its share, tells its parent, and obeys it alone.

Signals that reach all processes of a terminal or a service reach the parent too, which passes them on: here they are
ignored, so that one Ctrl-C is not two. A parent that is gone is as good as a first SIGTERM.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import NoReturn

import anyio
from msgspec import Struct
from msgspec.structs import replace

from pipeline.errors import RetouchError
from pipeline.ledger.state import State
from pipeline.manifest.job import Job
from pipeline.processes.pipes import messages, send
from pipeline.run.api import UVLOOP
from pipeline.run.context import Context
from pipeline.run.exits import Exit
from pipeline.run.flags import Flags
from pipeline.run.perform import perform, tidy
from pipeline.run.progress import Moment
from pipeline.run.share import Share, StoodDownError, Weight
from pipeline.run.signals import obey
from pipeline.run.summary import Summary
from pipeline.tasks.expand import Prepared

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Verdict(Struct, frozen=True):
    """What the parent says once all processes were looked at: what they found together, None where none may begin."""

    together: Weight | None


class Stop(Struct, frozen=True):
    """What the parent says where all processes together came to a reason to stop, of which it told the user."""

    reason: Exit


class Ended(Struct, frozen=True):
    """The last message of a process: its summary, or why there is none; whether it gave others' names away."""

    summary: Summary | None
    error: RetouchError | None = None
    renamed: bool = False


Work = Callable[["Parent"], Awaitable[Summary]]


class Parent:
    """The parent, as the child sees it; a view of the child's progress as well."""

    interval = 0.2

    def __init__(self, heard: int, told: int) -> None:
        """Pipes: from `heard` comes what the parent says, to `told` goes what it is told."""
        self._heard, self._told = heard, told
        self._verdict = anyio.Event()
        self._together: Weight | None = None
        self._silent = False
        self._state: State | None = None
        self._renamed = 0

    @property
    def renamed(self) -> bool:
        """Whether this run gave a name that was another result's."""
        return self._state is not None and self._state.renamed > self._renamed

    def update(self, moment: Moment) -> None:
        """Tell how far it is, unless the parent has not read the last of it."""
        send(self._told, moment, dispensable=True)

    def note(self, text: str) -> None:
        """Tell a line for the user, but for what the parent tells once for all."""
        if not self._silent:
            send(self._told, text)

    def close(self) -> None:
        """The end tells itself."""

    async def weigh(self, weight: Weight) -> Weight:
        """What all processes found together. Raises StoodDownError."""
        send(self._told, weight)
        await self._verdict.wait()
        if self._together is None:
            raise StoodDownError("another process of this run cannot begin")
        return self._together

    async def listen(self, context: Context) -> None:
        """Obey until cancelled."""
        self._state, self._renamed = context.state, context.state.renamed
        async with anyio.create_task_group() as patience:
            heard = 0
            async for message in messages(self._heard):
                if isinstance(message, Verdict):
                    self._together = message.together
                    self._verdict.set()
                elif isinstance(message, Stop):
                    context.halt.drain(message.reason, None)
                else:
                    heard += 1
                    self._silent = True
                    obey(context, message, heard, patience)
                    self._silent = False
            obey(context, signal.SIGTERM, 1, patience)  # the one that began this run is gone
            self._verdict.set()


def share(job: Job, flags: Flags, prepared: Prepared, items: tuple[bytes, ...]) -> Work:
    """Running one share of a job, as the shard that `flags` name."""

    async def work(parent: Parent) -> Summary:
        own = Share(prepared, items, parent.listen, parent.weigh)
        return await perform(job, flags, parent, signals=True, share=own)

    return work


def tidying(job: Job, flags: Flags) -> Work:
    """Bringing in order what no shard of this run would."""
    return partial(tidy, job, replace(flags, shard=None))


def become(work: Work, heard: int, told: int, others: Iterable[int]) -> NoReturn:
    """Be a child, in the process that was forked for it, to its end. `others` are descriptors of the parent's."""
    code = Exit.BUG
    try:
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)
        for fd in others:
            os.close(fd)
        send(told, _ended(work, Parent(heard, told)))
        code = Exit.DONE
    finally:
        os._exit(code)


def _ended(work: Work, parent: Parent) -> Ended:
    try:
        summary = anyio.run(work, parent, backend_options={"use_uvloop": UVLOOP})
        return Ended(summary, renamed=parent.renamed)
    except StoodDownError:
        return Ended(None)
    except RetouchError as error:
        return Ended(None, error)
    except Exception as error:
        parent.note(f"this is a bug in retouch: {type(error).__name__}: {error}")
        if os.environ.get("RETOUCH_DEBUG"):
            parent.note("".join(traceback.format_exception(error)))
        raise
