"""Input files: may this one be sent, and what is in it?

Contract:

1. Looking never blocks: what is no regular file is not opened, and what became one meanwhile is opened without waiting.
2. A digest belongs to the stat that comes with it: a file that changes while it is read is read again.
3. A small file, which is read at once, is read at one moment: where what came is not as long as its stat says, it is
   read again in pieces. Of none more is read than one byte beyond that length, however much it grows meanwhile.
4. A file is only refused for what is wrong with it. When this process runs out of descriptors or memory, OSError is
   raised instead.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from io import FileIO
from typing import Final, Literal

from msgspec import Struct

from pipeline.held import Held, Room, is_same
from pipeline.mime import HEAD, Mime, mime_of
from pipeline.tasks.dimensions import FIRST_BYTES, Pixels, pixels_in

MAX_BYTES: Final = 50_000_000
"""Largest image that is sent. Endpoints say "under 50 MB" and not which; the smaller reading is safe with both."""

_PIECE: Final = 1 << 18
"""Bytes of a file that are read and hashed together."""

AT_ONCE: Final = 1 << 16
"""Bytes up to which a file is read at once though nobody holds it; a larger one is hashed in pieces, so that memory
stays flat."""

_OURS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_READINGS: Final = 3

Code = Literal[
    "missing",
    "not_a_file",
    "unreadable",
    "empty",
    "too_large",
    "unsupported_format",
    "symlink_loop",
    "undecodable",
    "mask_dimensions",
    "mask_alpha",
]


class InputFile(Struct, frozen=True):
    """A file that can be sent: its digest in hex, its length in bytes, and the stat that both belong to.

    `pixels` are its width and height where its first bytes were read and tell them; None says nothing. `held` are its
    bytes, where there was room for them. `hashed` says that the digest was made now, of the file that the path named at
    its stat, in that state.
    """

    path: str
    sha256: str
    bytes: int
    mtime_ns: int
    mime: Mime
    pixels: Pixels | None = None
    held: Held | None = None
    hashed: bool = False


class Unusable(Struct, frozen=True):
    """Why the file at `path` cannot be sent: `what` is wrong with it, and what was `expected`."""

    code: Code
    path: str
    what: str
    expected: str

    @property
    def message(self) -> str:
        """The whole sentence, written for the user."""
        return f"{self.path} {self.what}; {self.expected}"


class Known(Struct, frozen=True):
    """What is known of a file from before, and of which state of it: its digest is taken over while the stat agrees."""

    sha256: str
    bytes: int
    mtime_ns: int


def inspect(
    path: str, *, known: Known | None = None, state: os.stat_result | None = None, room: Room | None = None
) -> InputFile | Unusable:
    """Open, measure and hash a file, and hold it in `room`; `state` is its stat of just now, where there is one.

    Raises:
        OSError: this process has no descriptor or memory left, which says nothing about the file.
    """
    try:
        named = os.stat(path) if state is None else state
        if not stat.S_ISREG(named.st_mode):
            return _no_file(path)
        fd = _open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _read(path, fd, named, known, room)
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:
        return refusal(path, error)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _read(path: str, fd: int, named: os.stat_result, known: Known | None, room: Room | None) -> InputFile | Unusable:
    for _ in range(_READINGS):
        state = os.fstat(fd)
        fault = _fault(path, state)
        if fault is not None:
            return fault
        is_known = known is not None and (known.bytes, known.mtime_ns) == (state.st_size, state.st_mtime_ns)
        at_once = not is_known and (state.st_size <= AT_ONCE or (room is not None and room.fits(state.st_size)))
        data = os.pread(fd, state.st_size + 1 if at_once else FIRST_BYTES, 0)
        mime = mime_of(data[:HEAD])
        if mime is None:
            return _no_image(path)
        if known is not None and is_known:
            return InputFile(path, known.sha256, state.st_size, state.st_mtime_ns, mime, pixels_in(data))
        whole = at_once and len(data) == state.st_size
        sha256 = hashlib.sha256(data).hexdigest() if whole else _digest(fd, state.st_size)
        if sha256 is not None and is_same(os.fstat(fd), state):
            held = room.hold(path, state, data) if room is not None and whole else None
            hashed = is_same(named, state)
            return InputFile(path, sha256, state.st_size, state.st_mtime_ns, mime, pixels_in(data), held, hashed)
    return _changing(path)


def _digest(fd: int, size: int) -> str | None:
    """Of a file's `size` bytes; None where it has fewer, or more."""
    sha256, piece, left = hashlib.sha256(), memoryview(bytearray(_PIECE)), size + 1
    with FileIO(fd, closefd=False) as file:
        file.seek(0)
        while count := file.readinto(piece[: min(left, _PIECE)]):
            sha256.update(piece[:count])
            left -= count
    return sha256.hexdigest() if left == 1 else None


def read_image(path: str) -> bytes | Unusable:
    """All bytes of a file that may be sent, read once and without blocking.

    Raises:
        OSError: as `inspect`.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return _no_file(path)
        with open(path, "rb", opener=_open) as file:
            state = os.fstat(file.fileno())
            fault = _fault(path, state)
            if fault is not None:
                return fault
            data = file.read(state.st_size + 1)
    except (OSError, ValueError) as error:
        return refusal(path, error)
    if len(data) != state.st_size:
        return _changing(path)
    return data if mime_of(data[:HEAD]) is not None else _no_image(path)


def _fault(path: str, state: os.stat_result) -> Unusable | None:
    if not stat.S_ISREG(state.st_mode):
        return _no_file(path)
    if state.st_size == 0:
        return Unusable("empty", path, "is empty", "expected an image")
    if state.st_size > MAX_BYTES:
        return Unusable("too_large", path, f"has {state.st_size:,} bytes", f"expected at most {MAX_BYTES:,}")
    return None


def _no_file(path: str) -> Unusable:
    return Unusable("not_a_file", path, "is not a regular file", "expected an image file")


def _no_image(path: str) -> Unusable:
    return Unusable("unsupported_format", path, "is no image by its first bytes", "expected png, jpeg or webp")


def _changing(path: str) -> Unusable:
    return Unusable("unreadable", path, "changes while it is read", "run again when it is complete")


def refusal(path: str, error: OSError | ValueError) -> Unusable:
    """What an error at opening or reading says of the file.

    Raises:
        OSError: `error` itself, where this process has no descriptor or memory left.
    """
    if not isinstance(error, OSError):
        return Unusable("missing", repr(path), "cannot be the name of a file", "expected an image's path")
    if error.errno in _OURS:
        raise error
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Unusable("missing", path, "does not exist", "expected an image file")
    if error.errno == errno.ELOOP:
        return Unusable("symlink_loop", path, "leads through symlinks in a circle", "expected an image file")
    return Unusable("unreadable", path, f"cannot be read: {error.strerror or error}", "expected a readable image file")


def stamp(state: os.stat_result) -> str:
    """All of a file's stat that changes with its content."""
    return f"{state.st_size}:{state.st_mtime_ns}:{state.st_ctime_ns}:{state.st_ino}"
