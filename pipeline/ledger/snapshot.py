"""The folded state, kept beside the ledgers so that the next start need not fold them again.

Contract:

1. It is derived and may be deleted at any time. Whatever is wrong with it, it is ignored and the ledgers are replayed
   in full: it is never an error.
2. It is believed only where every ledger that it was folded from still has the very bytes that were folded, told by
   their sha256, and no ledger came or went. So damage in them is still found: the full replay meets it.
3. It says what a replay of these bytes would. It is written only where each line of them is whole and was taken in by
   the state that is saved, and read only by the code that wrote it.
4. It is checked against a digest of its own. A half-written one is never under its name; after a loss of power it may
   be anything, and is then not believed.
5. Only who holds the folder's lock writes it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from pipeline.ledger.codec import intact
from pipeline.ledger.covered import Covered
from pipeline.ledger.packing import Buffer, Rest, buffers_of, rest_of, restore
from pipeline.ledger.places import Where
from pipeline.ledger.scan import split
from pipeline.ledger.state import State
from pipeline.version import __version__

if TYPE_CHECKING:
    from hashlib import _Hash

NAME = "state.cache"
"""Its name in the folder that the program keeps for itself."""

WORTH = 4 * 2**20
"""Bytes of ledger that a snapshot must save the next start from folding; a few thousand lines."""

_SHARE = 32
"""It must also save this part of the whole ledger: a few more results are no reason to write a million again."""

_NEW = f"{NAME}.new"
_PIECE = 2**20
_SUM = 32


class Prefix(msgspec.Struct, frozen=True):
    """The bytes of a ledger that were folded."""

    name: str
    length: int
    sha256: bytes


class Head(msgspec.Struct, frozen=True):
    """What a snapshot begins with; `counts` are the lengths of the state's buffers, which follow."""

    made_by: bytes
    ledgers: list[Prefix]
    counts: list[int]
    rest: Rest


class Recalled(Struct, frozen=True):
    """A state from a snapshot: that of the first `length` bytes of each ledger, whose hashes can be carried on."""

    state: State
    ledgers: tuple[Prefix, ...]
    hashes: tuple[_Hash, ...]

    def length_of(self, path: Path) -> int:
        """How many bytes of a ledger are in the state, all of them whole lines."""
        return next((each.length for each in self.ledgers if each.name == path.name), 0)


def recall(own: Path, paths: list[Path]) -> Recalled | None:
    """The state that the snapshot in the folder `own` holds of these ledgers; None where it cannot be believed."""
    with contextlib.suppress(Exception):  # whatever it is, the ledgers themselves tell the same
        with _opened(own) as folder:
            fd = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with open(fd, "rb", buffering=0) as file:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                return _recalled(_Reader(fd), os.fstat(file.fileno()).st_size, paths)
    return None


def _recalled(file: _Reader, size: int, paths: list[Path]) -> Recalled | None:
    length = int.from_bytes(file.read(8), "little")
    if length > size:
        return None
    head = msgspec.msgpack.decode(file.read(length), type=Head)
    names = [each.name for each in head.ledgers]
    if head.made_by != _maker() or names != [path.name for path in paths]:
        return None
    state = State()
    buffers = buffers_of(state)
    if size != 8 + length + sum(_width(*each) for each in zip(buffers, head.counts, strict=True)) + _SUM:
        return None
    for buffer, count in zip(buffers, head.counts, strict=True):
        file.fill(buffer, count)
    if not file.ends_in_its_sum():
        return None
    hashes = [_hash_of(path, each.length) for path, each in zip(paths, head.ledgers, strict=True)]
    if [one and one.digest() for one in hashes] != [each.sha256 for each in head.ledgers]:
        return None
    restore(state, head.rest)
    return Recalled(state, tuple(head.ledgers), tuple(one for one in hashes if one))


class _Reader:
    """A snapshot's bytes in order, and their sha256."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._hash = hashlib.sha256()

    def read(self, length: int) -> bytes:
        buffer = bytearray()
        self.fill(buffer, length)
        return bytes(buffer)

    def fill(self, buffer: Buffer, count: int) -> None:
        """Read `count` items into a buffer in place of what it holds; no second copy is made of them."""
        del buffer[:]
        if not count:
            return
        buffer.append(0)
        buffer *= count
        with memoryview(buffer).cast("B") as view:
            done = 0
            while done < len(view):
                read = os.readv(self._fd, [view[done:]])
                if not read:
                    raise EOFError
                done += read
            self._hash.update(view)

    def ends_in_its_sum(self) -> bool:
        expected = self._hash.digest()
        return self.read(_SUM) == expected


def keep(own: Path, state: State, paths: list[Path], recalled: Recalled | None, worth: int | None = None) -> bool:
    """Save the state of these ledgers in the folder `own`, where that saves the next start `worth` bytes (`WORTH`).

    `recalled` is what the state began with. The caller holds the lock, and no line is taken in meanwhile. Returns
    whether it was saved; a disk that refuses is no error.
    """
    with contextlib.suppress(Exception):  # the ledgers have it all
        covered = [state.covered.get(file, Covered()) for file in range(len(paths))]
        total, fresh = sum(each.end for each in covered), sum(each.end - each.start for each in covered)
        if not fresh or fresh < max(WORTH if worth is None else worth, total // _SHARE):
            return False
        hashes: Sequence[_Hash | None] = [None] * len(paths) if recalled is None else recalled.hashes
        ledgers = []
        for file, (path, each, begun) in enumerate(zip(paths, covered, hashes, strict=True)):
            hash_ = hashlib.sha256() if begun is None else begun.copy()
            if not _was_taken(path, file, each, hash_):
                return False
            ledgers.append(Prefix(path.name, each.end, hash_.digest()))
        with _opened(own) as folder:
            _write(folder, state, ledgers)
        return True
    return False


def discard_unfinished(own: Path) -> None:
    """Remove what a kill left of a snapshot that was being written; the caller holds the lock."""
    with contextlib.suppress(OSError), _opened(own) as folder:
        os.stat(_NEW, dir_fd=folder, follow_symlinks=False)
        os.unlink(_NEW, dir_fd=folder)


def _was_taken(path: Path, file: int, covered: Covered, hash_: _Hash) -> bool:
    """Whether all lines from where the state began are whole and were folded; their bytes go into the hash."""
    seen = Covered(covered.start, covered.start)
    if covered.start == covered.end:
        return True
    with open(path, "rb", buffering=_PIECE, opener=_opener) as ledger:
        for offset, line in split(ledger, covered.start, covered.end):
            if not intact(line):
                return False
            hash_.update(line)
            seen.take(Where(file, offset, len(line)), "")
    return (seen.end, seen.sum) == (covered.end, covered.sum)


def _write(folder: int, state: State, ledgers: list[Prefix]) -> None:
    buffers = buffers_of(state)
    head = msgspec.msgpack.encode(Head(_maker(), ledgers, [len(buffer) for buffer in buffers], rest_of(state)))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_NEW, dir_fd=folder)
    fd = os.open(_NEW, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        hash_ = hashlib.sha256()
        try:
            for part in (len(head).to_bytes(8, "little"), head, *buffers):
                with memoryview(part).cast("B") as view:
                    hash_.update(view)
                    _write_all(fd, view)
            _write_all(fd, memoryview(hash_.digest()))
        finally:
            os.close(fd)
        os.rename(_NEW, NAME, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(_NEW, dir_fd=folder)
        raise


def _write_all(fd: int, view: memoryview) -> None:
    done = 0
    while done < len(view):
        done += os.write(fd, view[done : done + 16 * _PIECE])


def _hash_of(path: Path, length: int) -> _Hash | None:
    """The sha256 of a ledger's first bytes; None where it has fewer."""
    hash_, buffer = hashlib.sha256(), memoryview(bytearray(_PIECE))
    with open(path, "rb", buffering=0, opener=_opener) as ledger:
        while length:
            read = ledger.readinto(buffer[: min(length, _PIECE)])
            if not read:
                return None
            hash_.update(buffer[:read])
            length -= read
    return hash_


def _width(buffer: Buffer, count: int) -> int:
    return count * memoryview(buffer).itemsize


@functools.cache
def _maker() -> bytes:
    """A digest of all that decides what a ledger's bytes mean and how a state is laid out: the code, not its version.

    Raises:
        OSError: the code cannot be read; then there are no snapshots.
    """
    here = Path(__file__).parent
    hash_ = hashlib.sha256(f"{__version__} {sys.version} {sys.byteorder} {unicodedata.unidata_version}".encode())
    for path in (*sorted(here.glob("*.py")), here.parent / "money.py", here.parent / "outcome.py"):
        hash_.update(path.read_bytes())
    return hash_.digest()


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
