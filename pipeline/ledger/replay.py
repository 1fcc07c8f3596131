"""Every ledger of an output folder, read back: in order, in a fold, or one line at its place.

Contract:

1. Nothing here needs a lock, writes, or reads past a ledger's length when its reading began: it works on a running job.
2. A torn tail is ignored; damage before it raises.
3. Ledgers are merged by `at`. Within one the order on disk rules, also where the clock was set back.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import StorageError
from pipeline.ledger.codec import decode, intact
from pipeline.ledger.places import Where
from pipeline.ledger.records import Record
from pipeline.ledger.scan import RawLine, sound, split
from pipeline.ledger.snapshot import Recalled, recall
from pipeline.ledger.state import State


class Entry(NamedTuple):
    """A record and where it stands."""

    record: Record
    where: Where


class Ledgers:
    """The ledger files of an output folder, numbered from 0; their descriptors are kept until `close`."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(path for path in folder.glob("ledger*.jsonl") if path.is_file())
        self._fds: dict[int, int] = {}

    def number(self, path: Path) -> int:
        """The number of a ledger of this folder, a new one if it does not exist yet."""
        if path not in self.paths:
            self.paths.append(path)
        return self.paths.index(path)

    def entries(self) -> Iterator[Entry]:
        """Every record of every ledger, merged by time.

        Raises:
            StorageError: a ledger is damaged, unreadable, or newer than this version.
        """
        return _merged([self.entries_of(file) for file in range(len(self.paths))])

    def entries_of(self, file: int, start: int = 0) -> Iterator[Entry]:
        """The records of one ledger from an offset on, at which a line begins.

        Raises:
            StorageError: as `entries`.
        """
        return self._entries(file, start, None, lambda lines: sound(lines, str(self.paths[file])))

    def whole_entries_of(self, file: int, start: int, end: int) -> Iterator[Entry]:
        """The records of the whole lines between two offsets of a ledger; damaged ones are passed over.

        Raises:
            StorageError: it is unreadable, or newer than this version.
        """
        return self._entries(file, start, end, lambda lines: (line for line in lines if intact(line.data)))

    def _entries(
        self, file: int, start: int, end: int | None, kept: Callable[[Iterator[RawLine]], Iterator[RawLine]]
    ) -> Iterator[Entry]:
        path = self.paths[file]
        try:
            with open(path, "rb", buffering=1 << 20, opener=_opener) as ledger:
                size = os.fstat(ledger.fileno()).st_size
                for line in kept(split(ledger, start, size if end is None else min(end, size))):
                    record = _decoded(line, path)
                    if record is not None:
                        yield Entry(record, Where(file, line.offset, len(line.data)))
        except OSError as exc:
            raise StorageError(f"{path}: the ledger cannot be read: {exc}") from exc

    def read(self, where: Where) -> Record:
        """The record at a place.

        Raises:
            StorageError: it is not there any more.
        """
        try:
            line = os.pread(self._fd(where.file), where.length, where.offset)
        except OSError as exc:
            raise StorageError(f"{self.paths[where.file]}: the ledger cannot be read: {exc}") from exc
        record = decode(line) if intact(line) else None
        if record is None:
            raise StorageError(f"{self.paths[where.file]}: the line at byte {where.offset} changed while it was in use")
        return record

    def _fd(self, file: int) -> int:
        """A ledger's descriptor; of two threads that open it at once one keeps its own."""
        if file not in self._fds:
            opened = _opener(str(self.paths[file]), os.O_RDONLY)
            if self._fds.setdefault(file, opened) != opened:
                os.close(opened)
        return self._fds[file]

    def close(self) -> None:
        """Close the files; they are opened again where needed."""
        while self._fds:
            os.close(self._fds.popitem()[1])


class Replayed(NamedTuple):
    """The state of a job, and the ledgers that its places point into."""

    state: State
    ledgers: Ledgers


def replay(
    folder: Path, watch: Callable[[Record], object] | None = None, *, recalled: Recalled | None = None
) -> Replayed:
    """Fold every ledger of an output folder; an empty state where there is none. `watch` is shown each record.

    What a snapshot recalled of these ledgers is not folded again, unless there is someone to show it to.

    Raises:
        StorageError: a ledger is damaged, unreadable, or newer than this version.
    """
    ledgers = Ledgers(folder)
    rest = None if recalled is None or watch is not None else _behind(ledgers, recalled)
    if rest is not None and recalled is not None:
        state = recalled.state
    else:
        state, rest = State(), ledgers.entries()
    for record, where in rest:
        state.apply(record, where)
        if watch is not None:
            watch(record)
    return Replayed(state, ledgers)


def replay_for_reader(folder: Path, own: Path) -> Replayed:
    """As `replay`, from the snapshot in the folder `own` where there is one; writes nothing.

    Raises:
        StorageError: as `replay`.
    """
    return replay(folder, recalled=recall(own, Ledgers(folder).paths))


def _behind(ledgers: Ledgers, recalled: Recalled) -> Iterator[Entry] | None:
    """The records behind those recalled; None where a replay would put one of them before some of those.

    That can be only where a ledger goes on with a line that is not later than all recalled ones of the others.
    """
    if [path.name for path in ledgers.paths] != [each.name for each in recalled.ledgers]:
        return None
    tails = []
    for file, each in enumerate(recalled.ledgers):
        tail = ledgers.entries_of(file, each.length)
        first = next(tail, None)
        if first is None:
            continue
        others = (covered.latest for other, covered in recalled.state.covered.items() if other != file)
        if first.record.at <= max(others, default=""):
            return None
        tails.append(chain((first,), tail))
    return _merged(tails)


def _merged(entries: Sequence[Iterator[Entry]]) -> Iterator[Entry]:
    return entries[0] if len(entries) == 1 else heapq.merge(*entries, key=attrgetter("record.at"))


def ledger_path(folder: Path, shard: tuple[int, int] | None = None) -> Path:
    """The ledger that a run, or shard I of N of one, writes."""
    return folder / ("ledger-{}-of-{}.jsonl".format(*shard) if shard else "ledger.jsonl")


def _decoded(line: RawLine, path: Path) -> Record | None:
    try:
        return decode(line.data)
    except StorageError as exc:
        raise StorageError(f"{path}: the line at byte {line.offset}: {exc}") from exc


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
