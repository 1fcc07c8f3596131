"""The stock of results: where the bytes of one are now, and taking them for another name."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import PurePosixPath
from typing import Final, Protocol

from pipeline.durable import write_all
from pipeline.errors import StorageError
from pipeline.outputs.entry import Content, Entry, content_of, open_regular
from pipeline.outputs.folder import PARTS, REPLACED, BlockedError, OutputFolder, storage_errors
from pipeline.outputs.parts import parts_of, store
from pipeline.outputs.publish import beside, discard_copy, publish

_FICLONE: Final = 0x40049409
"""Linux' ioctl that shares the blocks of another file (linux/fs.h); Python 3.11 has no name for it."""

_CHUNK: Final = 1 << 20
_KEPT: Final = re.compile(r"[0-9a-f]{64}\.\w+")


class MovedError(StorageError):
    """A picture is not where it was found any more: another result took its name meanwhile. Look for it again."""


class Stored(Protocol):
    """What the ledger says of one image: `path` in the output folder, `part` below its parts, `bytes` its length."""

    @property
    def path(self) -> str: ...
    @property
    def part(self) -> str | None: ...
    @property
    def sha256(self) -> str: ...
    @property
    def bytes(self) -> int: ...


def size_of(folder: OutputFolder, path: str) -> int | None:
    """The length in bytes of the regular file at a relative path; None where there is none.

    The cheap look with which a rerun skips finished work: one system call, no reading.

    Raises:
        StorageError: the kernel refused to look.
    """
    place = f"{folder.root}/{path}"
    try:
        state = os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        with storage_errors(f"look at {place}"):
            raise
    return state.st_size if stat.S_ISREG(state.st_mode) else None


def content_at(folder: OutputFolder, path: str, size: int | None = None) -> Content | None:
    """What the regular file (of that size) at a relative path holds, read whole; None where there is none.

    Raises:
        StorageError: it cannot be read; that is no proof that it is gone.
    """
    parent, _, leaf = path.rpartition("/")
    with storage_errors(f"read {folder.root / path}"):
        try:
            with folder.at(parent) as fd:
                return content_of(Entry(fd, leaf), size)
        except FileNotFoundError:
            return None


def replaced_of(folder: OutputFolder) -> list[str]:
    """The relative paths of what is kept below `.retouch/replaced/` under its sha256, sorted.

    Raises:
        StorageError: the folder cannot be read.
    """
    with storage_errors(f"list {folder.root / REPLACED}"):
        try:
            with folder.at(REPLACED) as fd:
                return sorted(f"{REPLACED}/{name}" for name in os.listdir(fd) if _KEPT.fullmatch(name))
        except FileNotFoundError:
            return []


def find(folder: OutputFolder, output: Stored, fingerprint: str) -> str | None:
    """Where the bytes of a ledger's output are, as a relative path; None where they are nowhere.

    Looked for under its own name, beside a foreign file, among the replaced files and the parts; always told by length
    and sha256, never by the name alone.

    Raises:
        BlockedError: something that is no folder stands where it may be, and it is nowhere else.
        StorageError: a file that may be it cannot be read; that is no proof that it is gone.
    """
    blocked: BlockedError | None = None
    with storage_errors(f"look for {folder.root / output.path}"):
        for path in _places(folder, output, fingerprint):
            try:
                if _holds(folder, path, output):
                    return path
            except BlockedError as error:
                blocked = error
    if blocked is not None:
        raise blocked
    return None


def _places(folder: OutputFolder, output: Stored, fingerprint: str) -> Iterator[str]:
    yield output.path
    yield beside(output.path, fingerprint)
    yield f"{REPLACED}/{output.sha256}{PurePosixPath(output.path).suffix}"
    yield from _parts(folder, output)


def _parts(folder: OutputFolder, output: Stored) -> Iterator[str]:
    """The parts, its own first: one of another result with the same bytes would make them one file of two names."""
    if output.part is not None:
        yield f"{PARTS}/{output.part}"
    yield from (f"{PARTS}/{name}" for name in parts_of(folder))


def _holds(folder: OutputFolder, path: str, output: Stored) -> bool:
    parent, _, leaf = path.rpartition("/")
    try:
        with folder.at(parent) as fd:
            content = content_of(Entry(fd, leaf), output.bytes)
    except FileNotFoundError:
        return False
    return content is not None and content.sha256 == output.sha256


def finish(
    folder: OutputFolder, output: Stored, fingerprint: str, known: Callable[[str], bool], *, last: bool = True
) -> str | None:
    """Finish a publishing that a crash cut short, at any step; the result's relative path, None where it is nowhere.

    A part that has its final name already is unlinked by the folder's next sync, once that name is on the medium.
    `last` says whether the output is its task's newest: then it belongs under its name, also where the same bytes lie
    among the replaced files, from which they were taken back; else it may have made way already.

    Raises:
        UnnamedError, StorageError: see `find` and `publish`.
    """
    found = find(folder, output, fingerprint)
    if found is None:
        return None
    if last and found.startswith(f"{REPLACED}/"):
        found = next((part for part in _parts(folder, output) if _holds(folder, part, output)), found)
    home, _, leaf = found.rpartition("/")
    if home == PARTS:
        return publish(folder, leaf, output.path, output.sha256, fingerprint, known)
    if output.part is not None:
        discard_copy(folder, output.path, output.part)
    folder.mark(home, output.part)
    return found


def copy_part(folder: OutputFolder, source: str, sha256: str, name: str) -> str:
    """Copy a file of the output folder to a durable part, sharing its blocks where the file system can.

    `source` is what `find` returned. The name that the part got is returned.

    Raises:
        MovedError: it is gone, or its bytes are not those of `sha256`.
        StorageError: it cannot be copied.
    """
    parent, _, leaf = source.rpartition("/")
    with storage_errors(f"copy {folder.root / source}"), folder.at(parent) as home:
        file = open_regular(Entry(home, leaf))
        if file is None:
            raise MovedError(f"{folder.root / source} is gone, or is no regular file")
        with file:
            return store(folder, name, lambda target: _copy(file, target, sha256, source))


def _copy(source: FileIO, target: int, sha256: str, path: str) -> None:
    if not _share_blocks(source.fileno(), target):
        source.seek(0)
        while chunk := source.read(_CHUNK):
            write_all(target, chunk)
    os.lseek(target, 0, os.SEEK_SET)
    with FileIO(target, closefd=False) as copy:
        if hashlib.file_digest(copy, "sha256").hexdigest() != sha256:
            raise MovedError(f"{path} changed while it was copied; run again")


def _share_blocks(source: int, target: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def reuse(
    folder: OutputFolder,
    source: str,
    name: str,
    path: str,
    sha256: str,
    fingerprint: str,
    known: Callable[[str], bool],
) -> str:
    """Publish a copy of a stored result at `path`, by way of the part `name`; the relative path that it got.

    Raises:
        StorageError: see `copy_part` and `publish`.
    """
    part = copy_part(folder, source, sha256, name)
    return publish(folder, part, path, sha256, fingerprint, known)
