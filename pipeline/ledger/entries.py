"""What a committer was given to write: a record, with what makes its parts and what gives its result a name.

1. Nothing here raises for an entry's own fault: it is the entry's `error`, and the others of its group go on.
2. An entry whose line is durable never says that it is not in the ledger.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct, field

from pipeline.errors import StorageError
from pipeline.ledger.places import Where
from pipeline.ledger.records import Record

T = TypeVar("T")

Prepare = Callable[[], Callable[[], object]]
"""Begins to make parts; what it returns waits until they are durable."""


class UnpublishedError(StorageError):
    """The line at `where` is durable, but its result did not get its name; the next start gives it."""

    def __init__(self, where: Where, cause: Exception) -> None:
        self.where = where
        super().__init__(f"a result is stored but could not be given its name: {_words(cause)}; the next run does that")


class Entry(Struct, eq=False):
    """One line on its way; `settled` is done when its worker may go on."""

    record: Record
    publish: Callable[[], object] | None = None
    prepare: Prepare | None = None
    settled: Future[None] = field(default_factory=lambda: get_running_loop().create_future())
    line: bytes = b""
    where: Where | None = None
    value: object = None
    error: Exception | None = None

    def fail(self, cause: Exception) -> None:
        """Not in the ledger; the error is one of its own, as each is raised in another task."""
        self.error = StorageError(_words(cause))
        self.error.__cause__ = cause

    def leave_unnamed(self, cause: Exception) -> None:
        """In the ledger, at `where`, without a name for its result."""
        assert self.where is not None
        self.error = UnpublishedError(self.where, cause)
        self.error.__cause__ = cause


def prepare(entries: Iterable[Entry]) -> None:
    """Make the parts of a group: all are begun before the first is waited for."""
    begun = [(entry, _guarded(entry, entry.prepare)) for entry in entries if entry.prepare]
    for entry, finish in begun:
        if finish is not None:
            _guarded(entry, finish)


def publish(entries: Iterable[Entry]) -> None:
    """Give results their names; the lines are durable whatever goes wrong, and the workers must learn of both."""
    for entry in entries:
        assert entry.publish is not None
        try:
            entry.value = entry.publish()
        except Exception as exc:
            entry.leave_unnamed(exc)


def give_up(entries: Iterable[Entry], cause: Exception) -> None:
    """Give each an error, of those that nobody goes on with; a line that is durable and has no result needs none."""
    for entry in entries:
        if entry.error is None and entry.where is None:
            entry.fail(cause)
        elif entry.error is None and entry.publish:
            entry.leave_unnamed(cause)


def tell(entries: Iterable[Entry]) -> None:
    """Let the entries' workers go on, where they still wait."""
    for entry in entries:
        if not entry.settled.done():
            entry.settled.set_result(None)


def _words(cause: Exception) -> str:
    """What an error says; its kind where it says nothing, or cannot."""
    try:
        return str(cause) or type(cause).__name__
    except Exception:
        return type(cause).__name__


def _guarded(entry: Entry, work: Callable[[], T]) -> T | None:
    try:
        return work()
    except Exception as exc:  # whatever it is, the other entries are written, and its worker learns of it
        entry.fail(exc)
        return None
