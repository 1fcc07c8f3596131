"""A ledger open for appending: every write whole and durable, or not there.

Contract:

1. `append` returns only when its bytes are durable at the file's end; when it raises, none of them is in the ledger.
2. It writes only to the file that was opened, still at its path and as long as it was left, and never behind an
   unfinished line. It creates it once at most.
3. What a failed write left is cut off again. After a failed sync, a failed cut, or a file that is not ours any more,
   nothing is written: pages may be lost, though a second sync would not say so.
4. A full disk breaks nothing: it refuses what would begin work, and lets last words have the space that was reserved
   before that work began.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from pipeline.durable import sync_file, sync_folder, write_all
from pipeline.errors import StorageError
from pipeline.ledger.reserve import SLOT, Reserve, spare_of

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FullError(StorageError):
    """The disk has no room for more work; last words may still fit."""


class LedgerFile:
    """The ledger at `path`, created if it is missing; `end` is its length. All calls block, and come one at a time.

    Raises:
        StorageError: it cannot be opened, or ends in an unfinished line.
    """

    def __init__(self, path: Path, slots: int) -> None:
        self._path = path
        self._full = False
        self._broken = ""
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                sync_folder(path.parent)
                self.end = self._whole()
            except BaseException:
                self._close()
                raise
        except OSError as exc:
            raise StorageError(f"{path}: the ledger cannot be opened: {exc}") from exc
        self._reserve = Reserve(self._fd, spare_of(path), (slots + 1) * SLOT)

    def _whole(self) -> int:
        """The file's length; its last line has its end."""
        end = os.fstat(self._fd).st_size
        if end and os.pread(self._fd, 1, end - 1) != b"\n":
            raise StorageError(f"{self._path}: the ledger ends in an unfinished line, which must be repaired first")
        return end

    def append(self, data: bytes, *, last_words: bool = False) -> None:
        """Write whole lines at the end.

        Raises:
            FullError: the disk is full; an append of last words may still succeed.
            StorageError: the file cannot be relied on; every later append raises too.
        """
        if self._broken:
            raise StorageError(self._broken)
        if self._full and not last_words:
            raise FullError(f"{self._path}: the disk is full")
        self._check_ours()
        try:
            if not self._full:
                self._reserve.ensure(self.end, self.end + len(data))
            write_all(self._fd, data)
        except OSError as exc:
            raise self._refused(exc) from exc
        self._sync()
        self.end += len(data)

    def close(self) -> None:
        """Give back what was reserved; never raises. The file is not synced again: every append was."""
        with contextlib.suppress(OSError):
            if not self._broken and os.fstat(self._fd).st_size == self.end:
                self._reserve.close(self.end)
        self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):  # the descriptor is gone all the same
            os.close(self._fd)

    def _check_ours(self) -> None:
        try:
            mine, there = os.fstat(self._fd), os.stat(self._path, follow_symlinks=False)
        except OSError as exc:
            raise self._break(f"the ledger was removed during the run: {exc}") from exc
        if (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino) or mine.st_size != self.end:
            raise self._break("the ledger was replaced, cut or written to by something else during the run")

    def _sync(self) -> None:
        try:
            sync_file(self._fd)
        except OSError as exc:
            with contextlib.suppress(OSError):
                self._cut()
            raise self._break(f"the ledger cannot be synced: {exc}") from exc

    def _refused(self, exc: OSError) -> StorageError:
        """The error for a write that the kernel refused, once its bytes are cut off."""
        try:
            self._cut()
        except OSError as cut:
            return self._break(f"the ledger cannot be cut back after a failed write: {cut}")
        if exc.errno not in _FULL:
            return self._break(f"the ledger cannot be written: {exc}")
        self._full = True
        self._reserve.release()
        return FullError(f"{self._path}: the disk is full: {exc}")

    def _cut(self) -> None:
        """Cut what was written; not where nothing was, as that gives up the reserved space for a moment."""
        if os.fstat(self._fd).st_size > self.end:
            os.ftruncate(self._fd, self.end)
            self._reserve.regain(self.end)

    def _break(self, why: str) -> StorageError:
        self._broken = f"{self._path}: {why}"
        return StorageError(self._broken)
