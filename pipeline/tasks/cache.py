"""The input cache: digests remembered from run to run, so that unchanged files are not read again.

Contract:

1. It can be lost, damaged, locked or unwritable at any time: the file is hashed then, and nothing else happens.
2. It never vouches for a file that could have changed after its reading without a change of its times, as git's index
   does not (https://git-scm.com/docs/racy-git). One change moves no time, and is not noticed: a program's further
   store, through a mapping (mmap), into a page that the system has not yet written back since the last.
3. Memory stays flat: all but the newest entries are in the file only.
4. A file that was empty at its opening is asked only for what this run may have put into it; what another shard writes
   meanwhile is missed, and its files are hashed.
5. It remembers only digests that it saw made: of the very file, in the very state, whose stat stands beside them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

from msgspec import Struct

from pipeline.held import Room
from pipeline.mime import Mime
from pipeline.tasks.inputs import InputFile, Known, Unusable, inspect, refusal, stamp

_RACY_NS: Final = 2_000_000_000
"""Coarsest tick of the time stamps of file systems in use (FAT)."""

_ERRORS: Final = (sqlite3.Error, UnicodeError)
"""What a damaged file raises; the second where the message quotes bytes of it."""

_PENDING: Final = 512
"""Entries that are saved together."""

_MARKS: Final = 1 << 20
"""Marks for names that were saved, a byte each; names that share one are looked for in vain now and then."""

_PENDING_MOST: Final = 16_384
"""Entries in memory above which a file that cannot be written is given up."""


class _Entry(Struct, frozen=True):
    stamp: str
    sha256: bytes
    mime: Mime


class InputCache:
    """Remembers digests from run to run in an SQLite file, so that memory stays flat. Safe to use from several threads.

    `path` None remembers nothing. `now_ns` is the wall clock that file times are compared with.
    """

    def __init__(self, path: Path | None, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._path = path
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._pending: dict[str, _Entry] = {}
        self._db = _connect(path) if path is not None else None
        self._saved = bytearray(_MARKS) if self._db is not None and _is_empty(self._db) else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def inspect(self, path: str, *, known: Known | None = None, room: Room | None = None) -> InputFile | Unusable:
        """As `inspect`, without opening a file whose size, times and inode are those of its last reading.

        Raises:
            OSError: as `inspect`.
        """
        try:
            state = os.stat(path)
        except (OSError, ValueError) as error:
            return refusal(path, error)
        entry = self._get(path)
        if entry is not None and entry.stamp == stamp(state):
            return InputFile(path, entry.sha256.hex(), state.st_size, state.st_mtime_ns, entry.mime)
        return self._looked(path, state, known, room)

    def renew(self, path: str, *, room: Room | None = None) -> InputFile | Unusable:
        """As `inspect`, from the file whatever is remembered of it; that is forgotten for what was found.

        Raises:
            OSError: as `inspect`.
        """
        try:
            state = os.stat(path)
        except (OSError, ValueError) as error:
            return refusal(path, error)
        return self._looked(path, state, None, room)

    def _looked(self, path: str, state: os.stat_result, known: Known | None, room: Room | None) -> InputFile | Unusable:
        now = self._now_ns()
        found = inspect(path, known=known, state=state, room=room)
        if isinstance(found, InputFile) and found.hashed and _is_old(state, now):
            self._put(path, _Entry(stamp(state), bytes.fromhex(found.sha256), found.mime))
        return found

    def known(self, path: str, state: os.stat_result) -> str | None:
        """The sha256 of a file by its stat, where that is the one of its last reading; opens nothing."""
        entry = self._get(path)
        return entry.sha256.hex() if entry is not None and entry.stamp == stamp(state) else None

    def close(self) -> None:
        """Save what is new, as far as that is possible, and close the file."""
        with self._lock:
            self._save()
            if self._db is not None:
                self._db.close()
                self._db = None

    def _get(self, path: str) -> _Entry | None:
        with self._lock:
            if self._db is None or path in self._pending:
                return self._pending.get(path)
            if self._saved is not None and not self._saved[hash(path) % _MARKS]:
                return None
            try:
                row = self._db.execute(
                    "SELECT stamp, sha256, mime, checksum FROM input2 WHERE path = ?", (_key(path),)
                ).fetchone()
                return None if row is None else _entry(path, *row)
            except _ERRORS as error:
                self._give_up(error)
                return None

    def _put(self, path: str, entry: _Entry) -> None:
        with self._lock:
            if self._db is None:
                return
            self._pending[path] = entry
            if len(self._pending) % _PENDING == 0:
                self._save()

    def _save(self) -> None:
        if self._db is None or not self._pending:
            return
        rows = [
            (_key(path), entry.stamp, entry.sha256, entry.mime, _checksum(path, entry))
            for path, entry in self._pending.items()
        ]
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO input2 VALUES (?, ?, ?, ?, ?)", rows)
            self._mark()
            self._pending.clear()
        except _ERRORS as error:
            self._give_up(error)

    def _mark(self) -> None:
        """Note which names are in the file from now on."""
        if self._saved is not None:
            for path in self._pending:
                self._saved[hash(path) % _MARKS] = True

    def _give_up(self, error: Exception) -> None:
        """Another shard's lock passes; anything else ends the use of the file, and damage its life."""
        if isinstance(error, sqlite3.OperationalError) and len(self._pending) < _PENDING_MOST:
            return
        assert self._db is not None
        assert self._path is not None
        self._db.close()
        self._db = None
        self._pending.clear()
        if not isinstance(error, sqlite3.OperationalError):
            _remove(self._path)


def _is_old(state: os.stat_result, now_ns: int) -> bool:
    """Whether any change after `now_ns`, when the reading began, gives the file a stat other than `state`."""
    return max(state.st_mtime_ns, state.st_ctime_ns) < now_ns - _RACY_NS


def _key(path: str) -> bytes:
    return os.fsencode(path)


def _entry(path: str, stamp: Any, sha256: Any, mime: Any, checksum: Any) -> _Entry | None:
    """The entry of a row; None where its bytes were damaged, which SQLite does not tell."""
    if not (isinstance(stamp, str) and isinstance(sha256, bytes) and isinstance(mime, str)):
        return None
    entry = _Entry(stamp, sha256, cast("Mime", mime))
    return entry if checksum == _checksum(path, entry) else None


def _checksum(path: str, entry: _Entry) -> int:
    return zlib.crc32(b"\0".join((_key(path), entry.stamp.encode(), entry.mime.encode(), entry.sha256)))


def _connect(path: Path) -> sqlite3.Connection | None:
    try:
        return _open(path)
    except sqlite3.OperationalError:
        return None
    except _ERRORS:
        _remove(path)
    with suppress(*_ERRORS):
        return _open(path)
    return None


def _open(path: Path) -> sqlite3.Connection:
    if path.is_symlink():  # SQLite would follow it and write elsewhere
        raise sqlite3.OperationalError(f"{path} is a symlink")
    db = sqlite3.connect(path, timeout=0, check_same_thread=False)
    try:
        db.execute(
            "CREATE TABLE IF NOT EXISTS input2"
            " (path BLOB PRIMARY KEY, stamp TEXT NOT NULL, sha256 BLOB NOT NULL, mime TEXT NOT NULL,"
            " checksum INTEGER NOT NULL) WITHOUT ROWID"
        )
    except BaseException:
        db.close()
        raise
    return db


def _is_empty(db: sqlite3.Connection) -> bool:
    """Whether nothing is in the file; of one that cannot be read that is told by its first use."""
    with suppress(*_ERRORS):
        return db.execute("SELECT 1 FROM input2 LIMIT 1").fetchone() is None
    return False


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
