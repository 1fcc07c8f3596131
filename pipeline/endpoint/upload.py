"""The files that a request sends: what is promised about them, and how they are read.

1. Opening a path never blocks: a FIFO or device is refused, not waited for.
2. What is read is what was hashed: another size, another content or a missing file raises InputChangedError.
3. No descriptor outlives a call, so that a reader abandoned by a cancelled request leaks nothing and can never read
   from a descriptor that was closed and given away.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from pipeline.held import Held
from pipeline.mime import Mime

if TYPE_CHECKING:
    from hashlib import _Hash


class InputChangedError(Exception):
    """A file is no longer what was hashed; nothing complete may be sent."""


class Upload(Struct, frozen=True):
    """A file to send: `sha256` in lower-case hex and `bytes` are of its content, `mime` is from its first bytes; `held`
    is the content itself, where it is in memory."""

    role: Literal["item", "reference", "mask"]
    path: str
    sha256: str
    bytes: int
    mime: Mime
    held: Held | None = None


def open_regular(path: str) -> tuple[int, int]:
    """A descriptor to read from, and the file's size in bytes; OSError where it is no regular file or unreadable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode):
        return descriptor, found.st_size
    os.close(descriptor)
    raise OSError(f"{path} is not a regular file")


def read_part(upload: Upload, start: int, size: int, digest: _Hash) -> bytes:
    """Bytes `start` to `start + size` of a file, taken into `digest`; the part that ends the file is checked.

    Parts are read in order. Raises InputChangedError where the file is not the one that was hashed, OSError where it
    cannot be opened or read; both name it.
    """
    descriptor, found = open_regular(upload.path)
    try:
        part = _read(descriptor, start, size) if found == upload.bytes else b""
    except OSError as error:
        error.filename = upload.path
        raise
    finally:
        os.close(descriptor)
    digest.update(part)
    if found != upload.bytes or len(part) < size:
        raise InputChangedError(f"{upload.path} has another size than when it was hashed")
    if start + size == upload.bytes and digest.hexdigest() != upload.sha256:
        raise InputChangedError(f"{upload.path} has another content than when it was hashed")
    return part


def read_whole(upload: Upload) -> bytes:
    """All of a file, checked. Raises InputChangedError and OSError as `read_part` does."""
    return read_part(upload, 0, upload.bytes, hashlib.sha256())


def _read(descriptor: int, start: int, size: int) -> bytes:
    part = os.pread(descriptor, size, start)
    if len(part) == size:
        return part
    parts = [part]
    while part and (size := size - len(part)):
        start += len(part)
        part = os.pread(descriptor, size, start)
        parts.append(part)
    return b"".join(parts)
