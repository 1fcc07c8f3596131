"""The lock of an output folder: one run, or shards of one run that do not overlap.

Contract:

1. An unsharded run holds `.lock` exclusively. Shard I of N holds `.lock` shared and `.lock-I-of-N` exclusively. A run
   in several processes holds `.lock` exclusively until the last of them has ended, and each the lock of its shard.
2. The lock is flock's, on an open file: it ends with the process however that ends, and unlike lockf's it survives the
   closing of another descriptor. The files are never unlinked: a second process could lock the new file of that name.
3. It is never waited for. Who holds it stands in the file, for the message only: it decides nothing.
4. A child that was only forked shares the lock, so leaving unlocks instead of just closing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.errors import LockedError, StorageError, one_line

_LONGEST = 1000
"""Bytes of a lock file that are read: who signed it needs fewer."""


def signature(path: Path) -> str:
    """Who signed a lock file, on one line; empty where it is unsigned, missing or no regular file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return _read(fd) if stat.S_ISREG(os.fstat(fd).st_mode) else ""
    finally:
        os.close(fd)


def _read(fd: int) -> str:
    with contextlib.suppress(OSError):
        return one_line(os.pread(fd, _LONGEST, 0).decode("utf-8", "replace"))
    return ""


class FolderLock:
    """Context manager that holds the lock of an output folder, which must exist; `shard` is (I, N), I from 1.

    `within` says that the run is a part of one whose process, which forked this one, holds `.lock`.

    Raises on entering:
        LockedError: another run holds it; the text names its process.
        StorageError: the lock's file cannot be opened, or the file system has no flock.
    """

    def __init__(self, folder: Path, shard: tuple[int, int] | None = None, *, within: bool = False) -> None:
        self._folder = folder
        self._shard = shard
        self._within = within
        self._fds: list[int] = []

    def __enter__(self) -> Self:
        try:
            if not self._within:
                self._take(self._open(".lock"), fcntl.LOCK_EX if self._shard is None else fcntl.LOCK_SH)
            if self._shard is not None:
                self._take(self._open(".lock-{}-of-{}".format(*self._shard)), fcntl.LOCK_EX)
        except BaseException:
            self._release()
            raise
        now = datetime.now(UTC)
        self._sign(f"pid {os.getpid()} on {socket.gethostname()} since {now:%Y-%m-%d %H:%M:%S}Z")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sign("")
        self._release()

    def _open(self, name: str) -> int:
        try:
            fd = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise StorageError(
                f"{self._folder / name}: the lock cannot be opened: {exc.strerror}; expected a folder that "
                "this user may write to"
            ) from exc
        self._fds.append(fd)
        return fd

    def _take(self, fd: int, mode: int) -> None:
        try:
            fcntl.flock(fd, mode | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise LockedError(
                f"{self._folder} is held by {self._holder(fd)}; wait for it, or stop it. Nothing was sent"
            ) from exc
        except OSError as exc:
            raise StorageError(f"{self._folder}: its file system cannot lock: {exc}; use a local folder") from exc

    def _holder(self, fd: int) -> str:
        """Who holds the lock that was refused; where it could be had shared, its holders are shards."""
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            signed = {path.name: signature(path) for path in self._folder.glob(".lock-*-of-*")}
            shards = [f"shard {name.removeprefix('.lock-')}, {text}" for name, text in sorted(signed.items()) if text]
            return "; ".join(shards) or "a shard of the job"
        return _read(fd) or "another run"

    def _release(self) -> None:
        while self._fds:
            fd = self._fds.pop()
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def _sign(self, text: str) -> None:
        """Say in the file who holds it; a full disk must not keep a run from finishing what it paid for."""
        for fd in self._fds[-1:]:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)
                os.pwrite(fd, text.encode(), 0)
