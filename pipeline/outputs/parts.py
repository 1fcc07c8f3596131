"""Parts: results that are on the medium under a temporary name, below `.retouch/parts/`.

Contract:

1. When a part's name is returned, its bytes are on the medium, complete, and its name too, unless the caller syncs the
   folder for many parts at once. `start_part` returns earlier, and `Unsynced.sync` then tells the name.
2. A part is never overwritten: its file is created, or another name is used.
3. A sync or a close that failed is never retried on the same file; the bytes are written once more, under a second
   name.
4. What was not stored whole leaves no file behind, as far as the disk lets us.
5. `leave_part` is for when nothing else can be done: it promises nothing, and was never synced, so that the first sync
   of who finds the part tells the truth.

A part gets the mode of an ordinary new file (0666 less the umask), for publishing it only adds a name. Until then
`.retouch/` (0700) hides it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec import Struct

from pipeline.durable import release_pages, start_writing_back, sync_file, sync_folder, write_all
from pipeline.errors import StorageError
from pipeline.outputs.entry import Entry, open_regular, unlink
from pipeline.outputs.folder import PARTS, OutputFolder, storage_errors

_NAME: Final = re.compile(r"(?P<run>.+)-(?P<fingerprint>[0-9a-f]{16})-(?P<attempt>\d+)-(?P<index>\d+)(\.2)?\.part")


class PartName(Struct, frozen=True):
    """What a part's name says: its run, the first 16 digits of its fingerprint, its attempt, and which image it is."""

    run: str
    fingerprint: str
    attempt: int
    index: int


def part_name(run: str, fingerprint: str, attempt: int, index: int) -> str:
    """The name of the part that holds image `index` of an attempt."""
    return f"{run}-{fingerprint[:16]}-{attempt}-{index}.part"


def parse_part_name(name: str) -> PartName | None:
    """What a part's name says; None where it is no part of ours."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return PartName(match["run"], match["fingerprint"], int(match["attempt"]), int(match["index"]))


class Unsynced(Struct):
    """A part whose bytes are on their way to the medium; to be ended by `sync` or `drop`, for a descriptor is open."""

    folder: OutputFolder
    name: str
    fd: int
    fill: Callable[[int], None]

    def sync(self, *, named: bool = False) -> str:
        """Wait until the bytes are on the medium; the part's name, which is another one after a failed sync.

        With `named` the name is durable too; else once the caller has synced the folder.

        Raises:
            StorageError: it could not be stored.
        """
        if self._synced(named=named):
            return self.name
        second = _second(self.name)
        if second != self.name and (again := _filled(self.folder, second, self.fill)) is not None:
            self.name, self.fd = second, again
            if self._synced(named=named):
                return self.name
        raise StorageError(_unsyncable(self.folder, self.name))

    def drop(self) -> None:
        """Take the part away, as far as the disk lets us; never raises."""
        _discard(self.folder, self.name, self.fd)

    def _synced(self, *, named: bool) -> bool:
        """Whether the part is durable; one that is not is taken away."""
        try:
            try:
                sync_file(self.fd)
                release_pages(self.fd)
                if named:
                    sync_folder(self.folder.root / PARTS)
            finally:
                os.close(self.fd)
        except OSError:
            _discard(self.folder, self.name)
            return False
        return True


def first_name(name: str) -> str:
    """The name that a part was to have, which is the one in its line where it got its second by way of the spill."""
    return name.replace(".2.part", ".part")


def start_part(folder: OutputFolder, name: str, data: bytes) -> Unsynced:
    """Write an image to a file below `.retouch/parts/`, and let the kernel begin to bring it to the medium.

    Of many parts that are begun before the first is waited for, the disk does much at once.

    Raises:
        StorageError: it could not be stored.
    """
    return _start(folder, name, lambda fd: write_all(fd, data))


def write_part(folder: OutputFolder, name: str, data: bytes) -> str:
    """Store an image durably under `.retouch/parts/`; the name that it got, which differs after a failed sync.

    Raises:
        StorageError: it could not be stored.
    """
    return start_part(folder, name, data).sync(named=True)


def leave_part(folder: OutputFolder, name: str, data: bytes) -> None:
    """Leave an image under `.retouch/parts/` without a sync, unless a part of that name is there.

    Raises:
        StorageError: not even that could be done.
    """
    with storage_errors(f"leave a result in {folder.root / PARTS}"), folder.at(PARTS) as parts:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, 0o666, dir_fd=parts)
        except FileExistsError:
            return
        try:
            write_all(fd, data)
        except BaseException:
            _discard(folder, name)
            raise
        finally:
            os.close(fd)


def store(folder: OutputFolder, name: str, fill: Callable[[int], None]) -> str:
    """Store durably what `fill` writes to the descriptor that it is given; see `write_part`."""
    return _start(folder, name, fill).sync(named=True)


def _start(folder: OutputFolder, name: str, fill: Callable[[int], None]) -> Unsynced:
    for candidate in (name, _second(name)):
        fd = _filled(folder, candidate, fill)
        if fd is not None:
            start_writing_back(fd)
            return Unsynced(folder, candidate, fd, fill)
    raise StorageError(_unsyncable(folder, name))


def _second(name: str) -> str:
    return name if name.endswith(".2.part") else f"{name.removesuffix('.part')}.2.part"


def _unsyncable(folder: OutputFolder, name: str) -> str:
    return f"cannot sync {folder.root / PARTS / name} to its disk, twice; check the disk before going on"


def _filled(folder: OutputFolder, name: str, fill: Callable[[int], None]) -> int | None:
    """A new part, complete in the kernel's hands; None where the name is taken."""
    with storage_errors(f"store a result in {folder.root}/{PARTS}"), folder.at(PARTS) as parts:
        try:
            fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=parts)
        except FileExistsError:
            return None
        try:
            fill(fd)
        except BaseException:
            _discard(folder, name, fd)
            raise
        return fd


def _discard(folder: OutputFolder, name: str, fd: int | None = None) -> None:
    if fd is not None:
        with suppress(OSError):
            os.close(fd)
    with suppress(OSError, StorageError), folder.at(PARTS) as parts:
        # What stopped the write matters more; the next start takes the rest away.
        unlink(Entry(parts, name))


def parts_of(folder: OutputFolder) -> list[str]:
    """The names of all parts that are there, sorted; none where the folder was never written to.

    Raises:
        StorageError: the folder cannot be read.
    """
    with storage_errors(f"list {folder.root / PARTS}"):
        try:
            with folder.at(PARTS) as fd:
                return sorted(name for name in os.listdir(fd) if parse_part_name(name))
        except FileNotFoundError:
            return []


def read_part(folder: OutputFolder, name: str) -> bytes:
    """The bytes of a part.

    Raises:
        StorageError: it cannot be read.
    """
    with storage_errors(f"read {folder.root / PARTS / name}"), folder.at(PARTS) as fd:
        file = open_regular(Entry(fd, name))
        if file is None:
            raise StorageError(f"{folder.root / PARTS / name} is gone, or is no regular file")
        with file:
            return file.readall()


def sync_part(folder: OutputFolder, name: str) -> None:
    """Bring a part to the medium that was left by a run of which nobody knows how far it came.

    Raises:
        StorageError: it cannot be synced; never take its bytes as stored then.
    """
    with storage_errors(f"sync {folder.root / PARTS / name}"), folder.at(PARTS) as fd:
        part = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            sync_file(part)
        finally:
            os.close(part)


def remove_part(folder: OutputFolder, name: str) -> None:
    """Remove a part that belongs to no result; publishing again is what removes the others.

    Raises:
        StorageError: it cannot be removed.
    """
    with storage_errors(f"remove {folder.root / PARTS / name}"), folder.at(PARTS) as fd:
        unlink(Entry(fd, name))
