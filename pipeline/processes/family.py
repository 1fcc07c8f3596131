"""The processes of one run, from their start to the end of the last: heard, shown as one, judged as one, and told.

1. None begins before each could: whatever ends one before, ends all.
2. Signals go through the parent alone: until a child ignores them, and the parent passes them on, they wait.
3. However the parent's own work ends, it waits for its children, which end what they have in flight.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import anyio
from anyio import to_thread
from msgspec import Struct

from pipeline.errors import StorageError
from pipeline.manifest.models import StopOn
from pipeline.processes.child import IGNORED, Ended, Stop, Verdict, Work, become
from pipeline.processes.judge import BETWEEN_LOOKS, too_many
from pipeline.processes.merge import merged
from pipeline.processes.pipes import messages, send
from pipeline.run.api import UVLOOP
from pipeline.run.exits import Exit
from pipeline.run.progress import Snapshot, View
from pipeline.run.share import Weight
from pipeline.run.signals import stop_of, told
from pipeline.run.surveying import Looking


class Child(Struct, eq=False):
    """A process as its parent knows it: what it told last, its `weight`, and its last word, `ended`; where that is
    wanting, how it was `lost`."""

    name: str
    pid: int
    say: int
    hear: int
    moment: Snapshot | Looking | None = None
    weight: Weight | None = None
    ended: Ended | None = None
    gone: bool = False
    lost: str | None = None


class Family:
    """Processes that are forked together, one for each of `works`; `heard` are the signals that came.

    To be used in the main thread, while there is no other.
    """

    def __init__(self, works: Sequence[Work], view: View, limits: StopOn) -> None:
        self.children: list[Child] = []
        self.heard: list[signal.Signals] = []
        self._works, self._view, self._limits = works, view, limits

    def live(self) -> None:
        """Start all, and return when the last has ended. Raises StorageError where one cannot be started."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who starts a run may have had it ignored: no end would be told
        try:
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()  # else each process would have what is in the buffer
            for at, work in enumerate(self._works, start=1):
                self._fork(f"process {at} of {len(self._works)}", work)
            anyio.run(self._watch, backend_options={"use_uvloop": UVLOOP})
        finally:
            self._bury()

    def _fork(self, name: str, work: Work) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
        try:
            (heard, say), (hear, tell) = os.pipe(), os.pipe()
            if not (pid := os.fork()):
                others = [fd for each in self.children for fd in (each.say, each.hear)]
                become(work, heard, tell, [say, hear, *others])
            os.close(heard)
            os.close(tell)
            self.children.append(Child(name, pid, say, hear))
        except OSError as error:
            what = f"{name} cannot be started: {error.strerror}"
            raise StorageError(f"{what}; ask for fewer, or for a higher limit (ulimit -u, ulimit -n)") from error
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)

    def _bury(self) -> None:
        for each in self.children:
            os.close(each.say)
            os.close(each.hear)
        for each in self.children:
            if not each.gone:
                os.waitpid(each.pid, 0)

    async def _watch(self) -> None:
        async with anyio.create_task_group() as around:
            for work in (self._pass_signals_on, self._show, self._judge):
                around.start_soon(work)
            async with anyio.create_task_group() as hearing:
                for each in self.children:
                    hearing.start_soon(self._hear, each)
            around.cancel_scope.cancel()

    async def _hear(self, own: Child) -> None:
        """Take in all that a process tells, up to its end."""
        async for message in messages(own.hear):
            if isinstance(message, str):
                self._view.note(message if len(self.children) == 1 else f"{own.name}: {message}")
            elif isinstance(message, Weight):
                own.weight = message
                self._let_begin()
            elif isinstance(message, Ended):
                own.ended = message
            else:
                own.moment = message
        own.gone = True
        _, status = await to_thread.run_sync(os.waitpid, own.pid, 0)
        if own.ended is None:
            own.lost = f"{own.name} ended early ({_end(status)})"
            billed = "; what it had in flight may have been billed" * (own.weight is not None)
            self._view.note(f"{own.lost}{billed}. Run again")
        elif own.ended.error is not None and own.weight is not None:
            own.lost = f"{own.name}: {own.ended.error}"
            self._view.note(f"{own.lost}; it could not go on, run again when that is mended")
        self._let_begin()

    def _let_begin(self) -> None:
        """Once each process was looked at or has ended: let all begin, or none where one has ended before it could."""
        weights = [each.weight for each in self.children if each.weight is not None]
        if all(each.weight is not None or each.gone for each in self.children):
            self._say(Verdict(sum(weights, Weight()) if len(weights) == len(self.children) else None))

    def _say(self, message: Any) -> None:
        for each in self.children:
            if not each.gone:
                send(each.say, message)

    async def _pass_signals_on(self) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGHUP:
                    continue
                self.heard.append(number)
                self._say(number)
                if len(self.heard) > 2:
                    os._exit(int(stop_of(number)))
                moments = (each.moment for each in self.children if not each.gone)
                flying = sum(each.in_flight for each in moments if isinstance(each, Snapshot))
                self._view.note(told(len(self.heard), flying))

    async def _show(self) -> None:
        while True:
            moments = [each.moment for each in self.children if each.moment is not None]
            if len(moments) == len(self.children):
                self._view.update(merged(moments))
            await anyio.sleep(self._view.interval)

    async def _judge(self) -> None:
        """Stop all once too much failed or ended in doubt; after a signal, what it cuts off is not judged."""
        while not self.heard:
            moments = [each.moment for each in self.children if isinstance(each.moment, Snapshot)]
            now = merged(moments) if moments else None
            if isinstance(now, Snapshot) and (why := too_many(now, self._limits)):
                self._view.note(why)
                self._say(Stop(Exit.TOO_MANY))
                return
            await anyio.sleep(BETWEEN_LOOKS)


def _end(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"by signal {-code}" if code < 0 else f"with code {code}"
