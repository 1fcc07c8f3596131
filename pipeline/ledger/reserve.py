"""Disk space held back for the last words of a run whose disk fills up.

Contract:

1. After `ensure(begin, end)` the ledger can take the bytes up to `end` and `size` more, whatever else fills the disk.
2. Reserved space does not change the ledger's length: an append must not land behind a hole, which is why
   `os.posix_fallocate` is of no use here.
3. Where the file system cannot reserve past a file's end, a filled file holds the space; `release` gives it up for the
   ledger to take.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import sys
from pathlib import Path

from pipeline.durable import sync_file, write_all

SLOT = 16 * 1024
"""Bytes held back for each request in flight: what its last line takes without what it can do without."""

_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE, linux/falloc.h
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class Reserve:
    """`size` bytes past the end of the ledger open at `fd`; `spare` is the file that stands in where they cannot be."""

    def __init__(self, fd: int, spare: Path, size: int) -> None:
        self._fd = fd
        self._spare = spare
        self._size = size
        self._until = 0
        self._filled = False

    def ensure(self, begin: int, end: int) -> None:
        """Hold space for a write from `begin`, the file's end, to `end`, and for `size` bytes after it.

        Raises:
            OSError: there is not that much left. What was held before still is.
        """
        if self._filled or end + self._size <= self._until:
            return
        until = end + 2 * self._size
        if fallocate(self._fd, begin, until - begin):
            self._until = until
        else:
            _fill(self._spare, self._size)
            self._filled = True

    def regain(self, end: int) -> None:
        """Hold again what cutting the file at `end` gave up, as far as there is room still."""
        if self._until > end:
            with contextlib.suppress(OSError):
                fallocate(self._fd, end, self._until - end)

    def release(self) -> None:
        """Give up the spare file's space, where there is one, so that the ledger can take it."""
        if self._filled:
            self._spare.unlink(missing_ok=True)

    def close(self, end: int) -> None:
        """Give back what is held past `end`, the ledger's length."""
        with contextlib.suppress(OSError):
            self.release()
            if self._until:
                os.ftruncate(self._fd, end)


def retire(ledger: Path) -> None:
    """Give back what a killed run held for a ledger that this run does not write; the caller holds its lock.

    Raises:
        OSError: the disk refused; nothing depends on it.
    """
    fd = os.open(ledger, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.ftruncate(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
    spare_of(ledger).unlink(missing_ok=True)


def spare_of(ledger: Path) -> Path:
    """The file that holds space for a ledger where its own file cannot."""
    return ledger.with_name(ledger.stem.replace("ledger", ".reserve", 1))


def fallocate(fd: int, offset: int, length: int) -> bool:
    """Reserve blocks for a range without changing the file's length; False where that is not supported.

    Raises:
        OSError: there is no room.
    """
    call = _libc_fallocate()
    if call is None:
        return False
    while call(fd, _KEEP_SIZE, offset, length):
        code = ctypes.get_errno()
        if code in _UNSUPPORTED:
            return False
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return True


@functools.cache
def _libc_fallocate() -> ctypes._NamedFuncPointer | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return call


def _fill(path: Path, size: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        write_all(fd, bytes(size))
        sync_file(fd)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
