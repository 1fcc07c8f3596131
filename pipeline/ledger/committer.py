"""The one writer of a ledger: lines from many workers, made durable in groups.

Contract:

1. `append` returns once the line is durable, `commit` once the parts were made and their folder synced, then the line,
   then the result given its name, in this order. An entry that was queued is written, also when its worker is
   cancelled meanwhile.
2. One write and one sync make a group; the next is written only after the sync. An empty ledger's first is one line.
   Parts are made and named by another thread: lines without parts never wait for a disk that is busy with these.
3. A line that is not durable is not in the ledger, and its worker is told; what a write does to the file is
   `LedgerFile`'s contract.
4. On a full disk only what ends paid work is still written: `settled` lines of attempts, and `end`; each by itself, so
   that one which does not fit costs no other its place, and without what a last word can do without.
5. A parts folder that could not be synced once is not trusted again: commits fail, other lines are written.
6. A failed publish leaves its line durable: the next start publishes it.
7. It works without threads of its own where none can be started: nobody waits for ever.
8. Nor where the work itself breaks down, whatever is wrong: everyone who waits is told what became of the own line, as
   in 3 and 6, and nothing is written any more.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, get_running_loop
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar, cast

import anyio
from anyio import CancelScope, CapacityLimiter
from anyio.lowlevel import checkpoint
from msgspec import Struct

from pipeline.durable import sync_folder
from pipeline.errors import StorageError
from pipeline.ledger.codec import encode
from pipeline.ledger.entries import Entry, Prepare, give_up, prepare, publish, tell
from pipeline.ledger.last_words import agree, is_last_word, shortened
from pipeline.ledger.ledger_file import FullError, LedgerFile
from pipeline.ledger.places import Where
from pipeline.ledger.records import SCHEMA, Record
from pipeline.ledger.stage import Stage
from pipeline.threads import in_thread

T = TypeVar("T")

GROUP = 256
"""Most lines of one write; keeps a torn tail far below what is believed to be one."""

COMMITS = 32
"""Most results whose parts are made at once: of many answers that come at once the first make room for new requests
while the last are stored."""


def stamp(now: datetime) -> str:
    """A line's `at`: UTC, RFC 3339, milliseconds."""
    return now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Committed(Struct, Generic[T], frozen=True):
    """A durable line's place, and what its `publish` returned."""

    where: Where
    value: T


class Committer:
    """Writes the ledger at `path`, which is created if it is missing, for the run `run`.

    `parts` is synced before a commit's line. `slots` requests may be in flight, each with a last line to write. `file`
    is the ledger's number in `Ledgers`. Blocking calls run under `limiter`, which has two tokens and no other user.
    Parts are made and named within `around`. Nothing is opened before the first line, whose `append` tells what is
    wrong.
    """

    def __init__(
        self,
        path: Path,
        run: str,
        parts: Path,
        *,
        slots: int,
        now: Callable[[], datetime],
        limiter: CapacityLimiter,
        file: int = 0,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._path = path
        self._run = run
        self._parts = parts
        self._slots = slots
        self._now = now
        self._limiter = limiter
        self._file = file
        self._around = around
        self._lines: deque[Entry] = deque()
        self._commits: deque[Entry] = deque()
        self._durable: deque[Entry] = deque()
        self._writing = Stage(lambda: self._lines, self._write_lines)
        self._storing = Stage(lambda: self._commits or self._durable, self._serve_parts)
        self._unsettled: set[Entry] = set()
        self._broken: Exception | None = None
        self._closed = False
        self._ledger: LedgerFile | None = None
        self._unopened = ""
        self._unsynced = ""

    async def serve(self) -> None:
        """Write until `close` was called and the queue is empty, or the work breaks down; cancellation does not end it,
        and it never raises."""
        loop = get_running_loop()
        with CancelScope(shield=True):
            try:
                async with anyio.create_task_group() as stages:
                    for stage in (self._writing, self._storing):
                        stages.start_soon(stage.serve, loop, self._limiter, self._over)
            except* Exception as broken:
                await checkpoint()  # what is told already goes first
                self._give_up(broken.exceptions[0])
            if self._ledger is not None:
                await in_thread(self._ledger.close, self._limiter)

    def _over(self) -> bool:
        return self._closed and not self._unsettled

    def _give_up(self, cause: Exception) -> None:
        """Tell everyone who waits, now that no thread works on an entry; whoever comes later is refused."""
        self._broken = cause
        left = list(self._unsettled)
        give_up(left, cause)
        self._settle(left)

    def close(self) -> None:
        """Let `serve` end once everything queued is written; nothing may be queued after this."""
        self._closed = True
        self._ring()

    def _ring(self) -> None:
        self._writing.ring()
        self._storing.ring()

    async def append(self, record: Record, *, shielded: bool = False) -> Where:
        """Write a record; it is stamped in place. Durable on return. `shielded`: nothing can cancel the caller.

        Raises:
            StorageError: the line is not in the ledger.
        """
        return await self._written(Entry(record), shielded=shielded)

    async def commit(
        self, record: Record, publish: Callable[[], T], prepare: Prepare | None = None, *, shielded: bool = False
    ) -> Committed[T]:
        """Write a record whose parts are durable but for their names, then call `publish` in the writing thread.

        `prepare` is called there too, before: it begins to make the parts, and what it returns, called when those of
        the whole group are begun, waits for them and names them in the record.

        Raises:
            UnpublishedError: the line is durable, and `publish` raised.
            StorageError: the line is not in the ledger, and `publish` was not called; or `prepare` raised.
        """
        entry = Entry(record, publish, prepare)
        where = await self._written(entry, shielded=shielded)
        return Committed(where, cast(T, entry.value))

    async def _written(self, entry: Entry, *, shielded: bool) -> Where:
        if self._closed:
            raise RuntimeError("a record was handed to a committer that is closed")
        if self._broken is not None:
            entry.fail(self._broken)
        else:
            self._queue(entry)
            if shielded:
                await entry.settled
            else:
                with CancelScope(shield=True):
                    await entry.settled
        if entry.error is not None:
            raise entry.error
        assert entry.where is not None
        return entry.where

    def _queue(self, entry: Entry) -> None:
        self._unsettled.add(entry)
        if entry.publish:
            self._commits.append(entry)
            self._storing.ring()
        else:
            self._lines.append(entry)
            self._writing.ring()

    def _settle(self, entries: list[Entry]) -> None:
        """Let the workers go on; on the event loop."""
        self._unsettled.difference_update(entries)
        tell(entries)
        if self._over():
            self._ring()

    def _serve_parts(self, loop: AbstractEventLoop) -> None:
        """Make the parts of a group, and name the results whose lines are durable meanwhile, while there are any."""
        while self._commits or self._durable:
            with self._around():
                if named := _first(self._durable, len(self._durable)):
                    publish(named)
                    loop.call_soon_threadsafe(self._settle, named)
                self._pass_on(self._with_parts(_first(self._commits, COMMITS)), loop)

    def _pass_on(self, group: list[Entry], loop: AbstractEventLoop) -> None:
        """Those whose parts are durable get their lines next."""
        failed = [entry for entry in group if entry.error]
        self._lines.extend(entry for entry in group if not entry.error)
        loop.call_soon_threadsafe(self._writing.ring)
        if failed:
            loop.call_soon_threadsafe(self._settle, failed)

    def _write_lines(self, loop: AbstractEventLoop) -> None:
        """Write group after group while any line waits."""
        while self._lines:
            group = _first(self._lines, GROUP if self._ledger is not None and self._ledger.end else 1)
            self._store(group)
            # Told apart first: once they are handed on, the other thread may give them an error.
            ended = [entry for entry in group if entry.error or not entry.publish]
            self._durable.extend([entry for entry in group if entry.publish and not entry.error])
            loop.call_soon_threadsafe(self._storing.ring)
            loop.call_soon_threadsafe(self._settle, ended)

    def _store(self, group: list[Entry]) -> None:
        """Give every entry a place or an error; in a thread."""
        try:
            ledger = self._opened()
            try:
                self._write(ledger, group)
            except FullError as exc:
                self._write_last_words(ledger, group, exc)
        except Exception as exc:
            # Whatever it is: an entry without an answer would keep its worker waiting for ever.
            for entry in group:
                if entry.where is None and entry.error is None:
                    entry.fail(exc)

    def _opened(self) -> LedgerFile:
        if self._unopened:
            raise StorageError(self._unopened)
        try:
            self._ledger = self._ledger or LedgerFile(self._path, self._slots)
        except StorageError as exc:
            self._unopened = str(exc)
            raise
        return self._ledger

    def _with_parts(self, commits: list[Entry]) -> list[Entry]:
        """The entries, whose parts were made and the folder synced, or with an error each."""
        prepare(commits)
        if any(not entry.error for entry in commits) and not self._unsynced:
            try:
                sync_folder(self._parts)
            except Exception as exc:  # as in `_store`
                self._unsynced = f"{self._parts}: the folder cannot be synced: {exc}"
        for entry in commits if self._unsynced else ():
            entry.error = entry.error or StorageError(self._unsynced)
        return commits

    def _write_last_words(self, ledger: LedgerFile, entries: list[Entry], full: FullError) -> None:
        """Of the entries only those that end work; the others get the error."""
        for entry in entries:
            if not is_last_word(entry.record):
                entry.fail(full)
                continue
            try:
                self._write(ledger, [entry], last_words=True)
            except FullError as exc:
                entry.fail(exc)

    def _write(self, ledger: LedgerFile, entries: list[Entry], *, last_words: bool = False) -> None:
        at = stamp(self._now())
        for entry in entries:
            record = entry.record
            record.schema, record.run, record.at, record.group = SCHEMA, self._run, at, ledger.end
            try:
                entry.line = encode(shortened(record) if last_words else record)
            except ValueError as exc:
                entry.fail(exc)
        entries = [entry for entry in entries if not entry.error]
        offset = ledger.end
        if entries:
            ledger.append(b"".join(entry.line for entry in entries), last_words=last_words)
        for entry in entries:
            entry.where = Where(self._file, offset, len(entry.line))
            offset += len(entry.line)
            if last_words:
                agree(entry.record, entry.line)


def _first(queue: deque[Entry], most: int) -> list[Entry]:
    return [queue.popleft() for _ in range(min(most, len(queue)))]
