"""Which results an output folder should hold, folded from the ledger's lines in order.

A task's current result is that of the last line that gave it one. A path belongs to the last line that names it: an
older result under the same path made way, whichever task it was of. One thread takes lines while others ask.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.ledger.digests import DigestIndex, digest, path_digest
from pipeline.ledger.places import Places, Where
from pipeline.ledger.records import Record, Reused, Run, Settled
from pipeline.outcome import Outcome


class Holdings:
    """The fold, at some 70 bytes for a task with one output; `job` is the first run's."""

    def __init__(self) -> None:
        self.job: str | None = None
        self._tasks = DigestIndex()
        self._results = Places()
        self._paths = DigestIndex()
        self._owners = Places()

    def __len__(self) -> int:
        """How many tasks have a result."""
        return len(self._tasks)

    def take(self, record: Record, where: Where) -> None:
        """Take in the next line, and where it stands."""
        match record:
            case Run():
                self.job = self.job or record.job
            case Settled(outcome=Outcome.SUCCEEDED) | Reused():
                _put(self._results, self._tasks.add(digest(record.task)), where)
                for output in record.outputs:
                    _put(self._owners, self._paths.add(path_digest(output.path)), where)

    def results(self) -> Iterator[Where]:
        """The line of each task's current result, in the order in which the tasks had their first.

        Tasks whose first comes in meanwhile are left out.
        """
        return (self._results[row] for row in range(len(self._results)))

    def is_current(self, task: str, path: str, where: Where) -> bool:
        """Whether the line at `where` is the last word on both the task and the path."""
        result, owner = self._tasks.find(digest(task)), self._paths.find(path_digest(path))
        return self._results[result] == where == self._owners[owner]


def _put(places: Places, row: int, where: Where) -> None:
    """Put a place into a row that is there, or the next one."""
    if row == len(places):
        places.append(where)
    else:
        places[row] = where
