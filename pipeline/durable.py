"""Writes that survive a loss of power: the primitives that the ledger and the outputs share.

Contract:

1. `write_all` returns only when every byte was handed to the kernel; a short write is continued, never ignored.
2. `sync_file` returns only when the file's data and its length are on the medium. On macOS that needs `F_FULLFSYNC`.
3. `sync_folder` returns only when the names in the folder are on the medium.
4. Nothing here retries a failed sync: after one the kernel may have dropped the dirty pages and report success the next
   time (https://wiki.postgresql.org/wiki/Fsync_Errors), so the caller must take the file as broken.
"""

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_PAGES_WORTH: Final = 1 << 18
"""Bytes from which on a file's pages are worth a call; below it the call costs more than it saves."""


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data` at the descriptor's position.

    Raises:
        OSError: the kernel refused; an unknown part of `data` may have been written.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def sync_file(fd: int) -> None:
    """Bring the file's data and length to the medium.

    Raises:
        OSError: never call it again on the same descriptor after this.
    """
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(fd)


def start_writing_back(fd: int) -> None:
    """Let the kernel begin to write a file that is to be synced soon; only a hint, which never fails.

    It does so for pages that nobody is going to read (posix_fadvise(2), POSIX_FADV_DONTNEED); the sync then waits less.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def release_pages(fd: int) -> None:
    """Offer the kernel the pages of a synced file that nobody is going to read soon; only a hint, which never fails.

    The next file is then written to these, which costs less than pages that were not used for long, and a bulk run does
    not displace what else the machine keeps in its cache (posix_fadvise(2), POSIX_FADV_DONTNEED).
    """
    if sys.platform == "linux":
        with suppress(OSError):
            if os.fstat(fd).st_size >= _PAGES_WORTH:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def sync_folder(path: Path) -> None:
    """Bring the names in the folder to the medium.

    Raises:
        OSError: the folder cannot be opened or synced.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if sys.platform == "darwin":
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fsync(fd)
    finally:
        os.close(fd)
