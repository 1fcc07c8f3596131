"""What the ledger says of tasks and fingerprints, folded from its lines in order.

Contract:

1. `apply` is the one fold: replaying a ledger and living through the run that wrote it give the same state.
2. It keeps digests and places, not records: some 140 bytes for a task that succeeded at once. What is unusual about a
   fingerprint is kept until it succeeds.
3. Attempts, outcomes and money belong to the fingerprint; only which line made a task done belongs to the task.
4. One thread applies lines while others ask: an answer is from before a line or from after it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from threading import Lock
from typing import NamedTuple

from msgspec.structs import replace

from pipeline.ledger.covered import Covered
from pipeline.ledger.digests import DigestIndex, digest, fingerprint_digest
from pipeline.ledger.done import Done, DoneIndex
from pipeline.ledger.money import Held, Money
from pipeline.ledger.names import Names
from pipeline.ledger.places import NOWHERE, Places, Where
from pipeline.ledger.records import Record, Reopened, Reused, Run, Sent, Settled
from pipeline.ledger.standing import BILLED_IN_VAIN, Course, History, Standing, after, standing_of
from pipeline.outcome import Outcome

__all__ = ["History", "Standing", "State", "Where", "standing_of"]


class Open(NamedTuple):
    """An attempt without an end: where its `sent` line stands, and the money that it holds."""

    where: Where
    held: Held


class State:
    """The fold. `job` is the first run's; `images` were received, `images_possible` more may have been billed.

    `money` is what all that cost, or may have cost.
    `ended` maps a ledger's number to the offset behind its last `end` line; `last_end` is the place of the last of all.
    `covered` says by a ledger's number which of its lines were taken in.
    """

    def __init__(self) -> None:
        self.job: str | None = None
        self.images = 0
        self.images_possible = 0
        self.money = Money()
        self.ended: dict[int, int] = {}
        self.last_end: Where | None = None
        self.covered: dict[int, Covered] = {}
        self._tasks = DigestIndex()
        self._tried = bytearray()
        self._done = DoneIndex()
        self._fingerprints = DigestIndex()
        self._attempts = array("I")
        self._succeeded = bytearray()
        self._sources = Places()
        self._more_sources: dict[int, Places] = {}
        self._open: dict[int, Course] = {}
        self._sent: dict[tuple[int, int], list[Open]] = {}
        self._generations: dict[bytes, int] = {}
        self._invalid: dict[bytes, bytes] = {}
        self._names = Names()
        self._lock = Lock()

    @property
    def done(self) -> int:
        """How many tasks were ever done."""
        return self._done.count

    @property
    def untouched(self) -> bool:
        """Whether nothing was ever sent."""
        return 1 not in self._tried

    def tried(self, task: str) -> bool:
        """Whether anything was ever sent under a task's id."""
        key = digest(task)
        with self._lock:
            row = self._tasks.find(key)
            return row >= 0 and bool(self._tried[row])

    @property
    def open_sent(self) -> list[Where]:
        """The `sent` lines without a `settled`: in flight, or left by a run that was killed."""
        return sorted(one.where for places in self._sent.values() for one in places)

    @property
    def without_result(self) -> list[Where]:
        """Of each request whose last attempt brought no result, the line that ended it."""
        with self._lock:
            return [course.where for course in self._open.values() if course.where is not None]

    def task(self, task: str) -> Where | None:
        """The line that last made a task done: `settled` with a success, or `reused`."""
        if not self._done.count:
            return None
        key = digest(task)
        with self._lock:
            row = self._tasks.find(key)
            return None if row < 0 else self._done.where(row)

    def done_as(self, task: str) -> Done | None:
        """What that line says of the result, as far as it is known without reading it; None where there is none."""
        key = digest(task)
        with self._lock:
            row = self._tasks.find(key)
            if row < 0 or self._done.places.is_empty(row):
                return None
            return self._done.result(row, self._fingerprints.key(self._done.requests[row]))

    def history(self, fingerprint: str) -> History:
        """A fingerprint's past; an empty one if it has none."""
        key = fingerprint_digest(fingerprint)
        with self._lock:
            row = self._fingerprints.find(key)
            if row < 0:
                return _NO_PAST
            now, first, attempts = self._now(row), self._sources[row], self._attempts[row]
            sources = self._more_sources.get(row) or ((first,) if first != NOWHERE else ())
            results = len(sources)
        return History(
            now.billed, now.unusable, now.last, now.code, now.where, now.open_key, attempts, sources, results
        )

    def generation(self, base: str) -> int:
        """The generation that is wanted of a base fingerprint."""
        return self._generations.get(fingerprint_digest(base), 0) if self._generations else 0

    def invalid_known(self, line: Settled) -> bool:
        """Whether the task's last line said the same of the same item: then it is not appended again."""
        return self._invalid.get(digest(line.task)) == _invalid_state(line)

    def knows_path(self, path: str) -> bool:
        """Whether a file below the output folder has the name of a result, so that it is not foreign."""
        return self._names.knows(path)

    def owns(self, task: str, paths: Iterable[str]) -> bool:
        """Whether the names of a task's result are its own still: no later line gave one to another task's."""
        return self._names.belong(task, paths)

    @property
    def renamed(self) -> int:
        """How many names may have gone from one task's result to another's since this state was made or recalled."""
        return self._names.changes

    def apply(self, record: Record, where: Where) -> None:
        """Take in the next line of the ledger, stamped, and where it stands."""
        with self._lock:
            self._apply(record, where)
            covered = self.covered.get(where.file)
            if covered is None:
                covered = self.covered[where.file] = Covered()
            covered.take(where, record.at)

    def _apply(self, record: Record, where: Where) -> None:
        match record:
            case Settled(outcome=Outcome.INVALID):
                self._invalid[digest(record.task)] = _invalid_state(record)
            case Settled():
                self._settle(record, where)
            case Sent():
                self._send(record, where)
            case Reused():
                self._have(record, self._row(record.fingerprint), where)
            case Reopened():
                self._reopen(record)
            case Run():
                self.job = self.job or record.job
            case _:
                self.ended[where.file] = where.offset + where.length
                self.last_end = where

    def _send(self, line: Sent, where: Where) -> None:
        self._tried[self._task(digest(line.task))] = True
        row = self._row(line.fingerprint)
        if line.attempt > self._attempts[row]:
            self._attempts[row] = line.attempt
        self._sent.setdefault((row, line.attempt), []).append(Open(where, self.money.open(line, where.file)))
        self._open[row] = replace(self._now(row), open_key=line.idempotency_key)

    def _settle(self, line: Settled, where: Where) -> None:
        row = self._row(line.fingerprint)
        if line.attempt > self._attempts[row]:
            self._attempts[row] = line.attempt
        self.money.close(line, self._close((row, line.attempt), where.file), where.file)
        if line.outcome is Outcome.SUCCEEDED:
            self._succeeded[row] = True
            self._open.pop(row, None)
            self.images += len(line.outputs)
            self._have(line, row, where)
        else:
            self._invalid.pop(digest(line.task), None)
            self._open[row] = after(self._now(row), line, where)
            self.images_possible += (line.n or 1) if line.outcome in BILLED_IN_VAIN else 0

    def _close(self, sent: tuple[int, int], file: int) -> Held | None:
        """Strike a `sent` line off: that of the same ledger, as another's may be of a shard that sent the same."""
        places = self._sent.get(sent)
        if places is None:
            return None
        at = 0
        if len(places) > 1:
            at = next((at for at, one in enumerate(places) if one.where.file == file), 0)
        closed = places.pop(at)
        if not places:
            del self._sent[sent]
        return closed.held

    def _have(self, line: Settled | Reused, row: int, where: Where) -> None:
        """The line at `where` names its task's outputs, which are of the fingerprint in `row`."""
        key = digest(line.task)
        self._invalid.pop(key, None)
        task = self._task(key)
        self._names.take(line, again=self._done.names(task, line.outputs))
        self._done.put(task, where, row, line.outputs)
        self._add_source(row, where)

    def _add_source(self, row: int, where: Where) -> None:
        if self._sources.is_empty(row):
            self._sources[row] = where
            return
        if row not in self._more_sources:
            self._more_sources[row] = Places()
            self._more_sources[row].append(self._sources[row])
        self._more_sources[row].append(where)

    def _reopen(self, line: Reopened) -> None:
        row = self._fingerprints.find(fingerprint_digest(line.fingerprint))
        if row >= 0:
            self._open[row] = Course()
        base = fingerprint_digest(line.base)
        if line.generation or base in self._generations:
            self._generations[base] = line.generation

    def _task(self, key: bytes) -> int:
        row = self._tasks.add(key)
        if row == len(self._tried):
            self._tried.append(False)
            self._done.make_room()
        return row

    def _row(self, fingerprint: str) -> int:
        row = self._fingerprints.add(fingerprint_digest(fingerprint))
        if row == len(self._attempts):
            self._attempts.append(0)
            self._succeeded.append(False)
            self._sources.append(NOWHERE)
        return row

    def _now(self, row: int) -> Course:
        return self._open.get(row) or (_SUCCESS if self._succeeded[row] else _NOTHING)


_NO_PAST = History()
_NOTHING = Course()
_SUCCESS = Course(last=Outcome.SUCCEEDED)


def _invalid_state(line: Settled) -> bytes:
    inputs = [f"{i.role}\0{i.path}\0{i.sha256}\0{i.bytes}\0{i.mtime_ns}" for i in line.inputs or ()]
    return digest("\n".join([str(line.code), str(line.message), *inputs]))
