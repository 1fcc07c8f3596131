"""The workers of a run: so many pieces of work alive at once, done by async tasks that take one after the other.

1. At most `most` pieces are at work at once; `start` waits for room.
2. A task is begun only where none is idle: many short pieces cost few tasks, and a small job few of them.
3. What does a piece of work must not raise.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from anyio.abc import TaskGroup

Work = TypeVar("Work")


class Workers(Generic[Work]):
    """Does work in tasks of `group`, which end after `close` with the last piece of work; `busy` are at work."""

    def __init__(self, group: TaskGroup, most: int, do: Callable[[Work], Awaitable[None]]) -> None:
        self.busy = 0
        self._group = group
        self._most = most
        self._do = do
        self._idle: list[Future[Work | None]] = []
        self._room: Future[None] | None = None
        self._closed = False

    async def start(self, work: Work) -> None:
        """Begin a piece of work as soon as there is room; one caller at a time."""
        while self.busy >= self._most:
            self._room = get_running_loop().create_future()
            await self._room
        self.busy += 1
        if self._idle:
            self._idle.pop().set_result(work)
        else:
            self._group.start_soon(self._worker, work)

    def close(self) -> None:
        """Let idle workers end, and the others with what they are at."""
        self._closed = True
        for idle in self._idle:
            if not idle.done():
                idle.set_result(None)

    async def _worker(self, first: Work) -> None:
        work: Work | None = first
        while work is not None:
            try:
                await self._do(work)
            finally:
                self._leave()
            if self._closed:
                return
            idle: Future[Work | None] = get_running_loop().create_future()
            self._idle.append(idle)
            work = await idle

    def _leave(self) -> None:
        self.busy -= 1
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
