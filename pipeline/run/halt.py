"""Why and how a run stops before its tasks are done.

1. The first reason starts a drain: no attempt starts any more, those in flight go on.
2. Cancelling ends what is in flight; each such attempt is settled in doubt, never forgotten.
3. Reasons are kept, all of them: the exit code is the one of highest rank. One may be no reason to stop.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import anyio

from pipeline.run.exits import Exit


class Cancellable:
    """A scope that is in a set while it is open; `cancelled` from its beginning where all in the set are."""

    __slots__ = ("_all", "_scope")

    def __init__(self, all: set[anyio.CancelScope], *, cancelled: bool) -> None:
        self._all = all
        self._scope = anyio.CancelScope()
        if cancelled:
            self._scope.cancel()

    def __enter__(self) -> anyio.CancelScope:
        self._all.add(self._scope)
        return self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._all.discard(self._scope)
        return self._scope.__exit__(kind, error, trace)


class Halt:
    """The stop state of one run; `tell` shows the user a line now."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.reasons: list[Exit] = []
        self.error: Exception | None = None
        self.note = tell
        self._draining = anyio.Event()
        self._told: set[Exit] = set()
        self._cancelled = False
        self._in_flight: set[anyio.CancelScope] = set()
        self._listeners: list[Callable[[], None]] = []

    @property
    def draining(self) -> bool:
        """Whether no further attempt may start."""
        return self._draining.is_set()

    def drain(self, reason: Exit, note: str | None) -> None:
        """Start no further attempt; `note` tells the user why and what to do, None where somebody did."""
        self.remember(reason)
        if note is not None and reason not in self._told:
            self._told.add(reason)
            self.note(note)
        self._drain()

    def blame(self, reason: Exit, note: str) -> None:
        """End with this reason, and go on until then; `note` tells the user why and what to do."""
        self.remember(reason)
        self.note(note)

    def remember(self, reason: Exit) -> None:
        """A reason why tasks are left behind, of which the user was told, though others go on."""
        if reason not in self.reasons:
            self.reasons.append(reason)

    def _drain(self) -> None:
        self._draining.set()
        for tell in self._listeners:
            tell()

    def on_drain(self, tell: Callable[[], None]) -> None:
        """Call `tell` when a drain starts, and at each further reason."""
        self._listeners.append(tell)

    def bug(self, error: Exception) -> None:
        """Drain because of an error that nobody foresaw; the first one is kept for the report."""
        self.error = self.error or error
        self.drain(Exit.BUG, f"this is a bug in retouch: {type(error).__name__}: {error}; what is in flight goes on")

    def cancel(self) -> None:
        """End the attempts in flight, now and as they come."""
        self._cancelled = True
        self._drain()
        for scope in list(self._in_flight):
            scope.cancel()

    def cancellable(self) -> Cancellable:
        """A scope for one attempt in flight, which `cancel` ends: `with halt.cancellable() as scope`."""
        return Cancellable(self._in_flight, cancelled=self._cancelled)

    async def sleep(self, seconds: float | None, woken: anyio.Event | None = None) -> None:
        """Sleep, but not beyond the start of a drain, nor until `woken`, which a drain sets too; None: until then."""
        with anyio.move_on_after(seconds):
            await (woken or self._draining).wait()

    async def wait(self) -> None:
        """Return when the drain starts."""
        await self._draining.wait()
