"""The ledgers of a folder as a verifier reads them: past any damage, and again where a run made them grow."""

from __future__ import annotations

import heapq
from operator import attrgetter
from pathlib import Path

from msgspec import Struct

from pipeline.ledger.holdings import Holdings
from pipeline.ledger.inspection import Damage, Inspection, inspect
from pipeline.ledger.places import Where
from pipeline.ledger.replay import Ledgers


class LedgerReport(Struct, frozen=True):
    """A ledger of `bytes` bytes: its whole `lines`, those `damaged`, and the bytes of a `torn` write at its end."""

    path: str
    lines: int
    bytes: int
    damaged: tuple[Damage, ...]
    torn: int


class Books:
    """Every ledger of an output folder, and which results the folder should hold by their whole lines.

    Raises:
        StorageError: a ledger cannot be read, or is newer than this version.
    """

    def __init__(self, root: Path) -> None:
        self.holdings = Holdings()
        self.ledgers = Ledgers(root)
        inspections = [_inspected(path) for path in self.ledgers.paths]
        self.reports = tuple(map(_report, self.ledgers.paths, inspections))
        self._root = root
        self._ends = {file: found.end for file, found in enumerate(inspections)}
        whole = (self.ledgers.whole_entries_of(file, 0, end) for file, end in self._ends.items())
        for entry in heapq.merge(*whole, key=attrgetter("record.at")):
            self.holdings.take(entry.record, entry.where)

    @property
    def damaged(self) -> bool:
        """Whether a line is lost, so that nobody can say for certain what the folder should hold."""
        return any(report.damaged for report in self.reports)

    def refresh(self) -> None:
        """Take in what a run has written meanwhile.

        Raises:
            StorageError: as at first.
        """
        for path in Ledgers(self._root).paths:
            file = self.ledgers.number(path)
            begin = self._ends.get(file, 0)
            for entry in self.ledgers.whole_entries_of(file, begin, path.stat().st_size):
                self.holdings.take(entry.record, entry.where)
                self._ends[file] = _behind(entry.where)


def _behind(where: Where) -> int:
    return where.offset + where.length


def _inspected(path: Path) -> Inspection:
    """A ledger's faults; they are looked at twice, as the start of a run may cut a torn tail during the first look."""
    found = inspect(path)
    return inspect(path) if found.damaged else found


def _report(path: Path, found: Inspection) -> LedgerReport:
    return LedgerReport(str(path), found.lines, found.size, found.damaged, found.size - found.end)
