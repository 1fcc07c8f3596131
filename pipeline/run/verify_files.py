"""Reading an output folder's results in threads, in the ledger's order, without false alarms beside a run.

A run appends a result's line before it moves anything in the folder. So whatever looks wrong is explained by a line
that is in the ledger by then, or is looked at in the middle of a publishing, which a second look sees the end of.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from msgspec import Struct

from pipeline.ledger.places import Where
from pipeline.ledger.records import Output, Reused, Settled
from pipeline.outputs.folder import OutputFolder
from pipeline.outputs.stock import replaced_of
from pipeline.run.threads import WORKERS
from pipeline.run.verify_ledger import Books
from pipeline.run.verify_output import SUSPECT, Seen, look, look_at_replaced

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 8 * WORKERS
"""Results that are queued for reading; bounds memory."""

LOOKS = 3
"""How often a suspect is looked at again: one publishing can spoil one look, and what it was is in the ledger then."""


class Checked(Struct, frozen=True):
    """A file and how it was found; `task` is None for one that made way for a newer result."""

    path: str
    task: str | None
    seen: Seen


class Files:
    """The files that the ledgers name; `takes` says whether a task's are wanted."""

    def __init__(self, folder: OutputFolder, books: Books, takes: Callable[[str], bool]) -> None:
        self._folder = folder
        self._books = books
        self._takes = takes

    def results(self) -> Iterator[list[Checked]]:
        """The outputs of each task's current result, which may be none that is wanted.

        Raises:
            StorageError: a ledger cannot be read any more.
        """
        for line in _in_threads(self._check, self._books.holdings.results()):
            again = (self._again(one) if one.seen.kind in SUSPECT else one for one in line)
            yield [Checked(one.output.path, one.line.task, one.seen) for one in again if one is not None]

    def replaced(self) -> Iterator[list[Checked]]:
        """Each file that made way for a newer result.

        Raises:
            StorageError: their folder cannot be read.
        """
        paths = replaced_of(self._folder)
        for path, seen in zip(paths, _in_threads(partial(look_at_replaced, self._folder), paths), strict=True):
            yield [] if seen is None else [Checked(path, None, seen)]

    def _check(self, where: Where) -> list[_Looked]:
        line = self._books.ledgers.read(where)
        if not isinstance(line, Settled | Reused) or not self._takes(line.task):
            return []
        mine = (output for output in line.outputs if self._is_current(line, output, where))
        return [_Looked(line, where, output, look(self._folder, output, line.fingerprint)) for output in mine]

    def _is_current(self, line: Settled | Reused, output: Output, where: Where) -> bool:
        return self._books.holdings.is_current(line.task, output.path, where)

    def _again(self, one: _Looked) -> _Looked | None:
        """A suspect once it is certain; None where a run put another result in its place meanwhile."""
        for _ in range(LOOKS):
            self._books.refresh()
            if not self._is_current(one.line, one.output, one.where):
                return None
            if one.seen.kind not in SUSPECT:
                break
            one = _Looked(one.line, one.where, one.output, look(self._folder, one.output, one.line.fingerprint))
        return one


class _Looked(Struct, frozen=True):
    """An output of the line at `where`, and how it was found."""

    line: Settled | Reused
    where: Where
    output: Output
    seen: Seen


def _in_threads(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What `work` makes of each item, in their order; in threads of its own, a few items ahead."""
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()
