"""A name in an open folder: what it holds, and how it gets another name without overwriting anything.

1. A second name is a hard link; on another file system it is one of a copy that is on the medium.
2. Where links are not supported the file is renamed. `EACCES` counts as that too, for some FUSE and Android storage
   answers it: where it means what it says, the rename is refused as well, and nothing was changed.
3. A copy has a name of its own until it is whole; who gives the same file to the same folder again takes away what a
   crash left of it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from io import FileIO
from typing import Final

from msgspec import Struct

from pipeline.durable import sync_file, write_all
from pipeline.errors import StorageError

_NO_LINKS: Final = {errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
"""What file systems without hard links (FAT, exFAT, some FUSE and SMB) answer to `link`; `EXDEV` from another one."""

_NO_FILE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}
"""What opening a missing name, a symlink or a socket answers."""

_CHUNK: Final = 1 << 20


class Entry(Struct, frozen=True):
    """The name `name` in the folder that the descriptor `fd` is open on.

    Raises:
        StorageError: the name leads elsewhere; one of a ledger that others wrote may hold anything.
    """

    fd: int
    name: str

    def __post_init__(self) -> None:
        if self.name in ("", ".", "..") or "/" in self.name or "\0" in self.name:
            raise StorageError(f"{self.name!r} is no name in a folder; expected one without '/'")


class Content(Struct, frozen=True):
    """What a regular file holds: its length in bytes and its digest in hex."""

    bytes: int
    sha256: str


def open_regular(entry: Entry) -> FileIO | None:
    """The entry, open for reading; None where it is missing or no regular file.

    Never follows a symlink and never blocks on a FIFO.

    Raises:
        OSError: it is there but cannot be opened, which must not be taken for "missing".
    """
    try:
        fd = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=entry.fd)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return FileIO(fd)
    os.close(fd)
    return None


def content_of(entry: Entry, size: int | None = None) -> Content | None:
    """What the entry holds; None where it is missing, no regular file, or not `size` bytes long.

    Raises:
        OSError: it is there but cannot be read.
    """
    file = open_regular(entry)
    if file is None:
        return None
    with file:
        length = os.fstat(file.fileno()).st_size
        if size is not None and length != size:
            return None
        return Content(length, hashlib.file_digest(file, "sha256").hexdigest())


def give(source: Entry, target: Entry, by: str) -> None:
    """Give a file a second name, by a hard link; an existing target is never overwritten.

    Where hard links are not supported the file is renamed, after a look at the target. On another file system it is
    copied, durably, to the name `by` in the target's folder, and that copy is given the target's name.

    Raises:
        FileExistsError: the target's name is taken.
        FileNotFoundError: the source is not there.
        OSError: the kernel refused.
    """
    try:
        os.link(source.name, target.name, src_dir_fd=source.fd, dst_dir_fd=target.fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if error.errno == errno.EXDEV and source.fd != target.fd:
            _carry(source, target, by)
        else:
            _rename(source, target)


def _carry(source: Entry, target: Entry, by: str) -> None:
    copy = Entry(target.fd, by)
    unlink(copy)
    try:
        _copy(source, copy)
        give(copy, target, by)
    finally:
        unlink(copy)


def _copy(source: Entry, copy: Entry) -> None:
    file = open_regular(source)
    if file is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source.name)
    with file:
        fd = os.open(copy.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=copy.fd)
        try:
            while chunk := file.read(_CHUNK):
                write_all(fd, chunk)
            sync_file(fd)
        finally:
            os.close(fd)


def _rename(source: Entry, target: Entry) -> None:
    if is_there(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target.name)
    os.rename(source.name, target.name, src_dir_fd=source.fd, dst_dir_fd=target.fd)


def is_there(entry: Entry) -> bool:
    """Whether anything at all has this name, a dangling symlink included."""
    try:
        os.stat(entry.name, dir_fd=entry.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def unlink(entry: Entry) -> None:
    """Take the name away, where it is still there."""
    with suppress(FileNotFoundError):
        os.unlink(entry.name, dir_fd=entry.fd)
