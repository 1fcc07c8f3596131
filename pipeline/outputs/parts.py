"""Parts: results that are on the medium under a temporary name, below `.retouch/parts/`.

Contract:

1. When a part's name is returned, its bytes are on the medium, complete, and its name too, unless the caller syncs the
   folder for many parts at once (`named=False`).
2. A part is never overwritten: its file is created, or another name is used.
3. A sync that failed is never retried on the same file; the bytes are written once more, under a second name.
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

from pipeline.durable import release_pages, sync_file, sync_folder, write_all
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


def write_part(folder: OutputFolder, name: str, data: bytes, *, named: bool = True) -> str:
    """Store an image durably under `.retouch/parts/`; the name that it got, which differs after a failed sync.

    Without `named` the name is durable once the caller has synced the folder.

    Raises:
        StorageError: it could not be stored.
    """
    return store(folder, name, lambda fd: write_all(fd, data), named=named)


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
            _discard(Entry(parts, name))
            raise
        finally:
            os.close(fd)


def store(folder: OutputFolder, name: str, fill: Callable[[int], None], *, named: bool = True) -> str:
    """Store durably what `fill` writes to the descriptor that it is given; see `write_part`."""
    for candidate in (name, f"{name.removesuffix('.part')}.2.part"):
        with storage_errors(f"store a result in {folder.root}/{PARTS}"):
            if _store(folder, candidate, fill, named=named):
                return candidate
    raise StorageError(f"cannot sync {folder.root / PARTS / name} to its disk, twice; check the disk before going on")


def _store(folder: OutputFolder, name: str, fill: Callable[[int], None], *, named: bool) -> bool:
    """Whether the part is durable; not so where the name is taken or a sync failed."""
    with folder.at(PARTS) as parts:
        try:
            fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=parts)
        except FileExistsError:
            return False
        try:
            fill(fd)
            synced = _sync(folder, fd, named=named)
        except BaseException:
            _discard(Entry(parts, name))
            raise
        finally:
            os.close(fd)
        if not synced:
            _discard(Entry(parts, name))
        return synced


def _sync(folder: OutputFolder, fd: int, *, named: bool) -> bool:
    try:
        sync_file(fd)
        release_pages(fd)
        if named:
            sync_folder(folder.root / PARTS)
    except OSError:
        return False
    return True


def _discard(entry: Entry) -> None:
    with suppress(OSError):  # what stopped the write matters more; the next start takes the rest away
        unlink(entry)


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
