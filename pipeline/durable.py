"""Writes that survive a loss of power: the three primitives that the ledger and the outputs share.

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
from pathlib import Path


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
