"""The ledger's bytes, line by line: which are whole, which are a torn tail, and which are damage.

Contract:

1. Lines are split at `\\n` only, and are judged on their bytes.
2. One write puts one group of lines at the file's end, and the next begins only once that one is durable. So from the
   first damaged or unfinished line at or after the last whole line's `group`, all is one torn write: nobody was told
   that it is durable. Damage before that hit lines that were, and is refused, never cut.
3. An empty ledger's first write is one line, so that a file of several lines, none of them whole, is damage too.
4. Only `repair` cuts, and only its caller holds the lock. The tail is durable elsewhere before it is cut. Repairing
   again changes nothing, wherever the last repair was killed.
5. What `repair` leaves is durable, also lines that a killed run wrote and never synced.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from msgspec import Struct

from pipeline.durable import sync_file, sync_folder, write_all
from pipeline.errors import StorageError
from pipeline.ledger.codec import LONGEST, head_of, intact

_JOINT = re.compile(rb',"crc":"[0-9a-f]{8}"}[^\n](?={"type":")')
"""A line's end and the next one's beginning, with something else than a newline between them."""


class RawLine(NamedTuple):
    """A line's byte offset and its bytes, newline included if it has one."""

    offset: int
    data: bytes


class Scan(NamedTuple):
    """A ledger's sound bytes end at `end`; from there to `size` it is a torn tail. `lines` counts whole lines read."""

    lines: int
    end: int
    size: int


class Torn(Struct, frozen=True):
    """A tail that was cut: where it began, its bytes, and the file that keeps it."""

    offset: int
    bytes: int
    saved: Path


def split(file: BinaryIO, start: int, end: int) -> Iterator[RawLine]:
    """The lines between two offsets of a file, the second being a size once seen: later growth is not read."""
    file.seek(start)
    while start < end and (data := file.readline(min(LONGEST, end - start))):
        yield RawLine(start, data)
        start += len(data)


def sound(lines: Iterator[RawLine], name: str) -> Iterator[RawLine]:
    """The whole lines before the torn tail.

    Raises:
        StorageError: a line before the torn tail is damaged; the whole lines before it were yielded.
    """
    for line in lines:
        if not intact(line.data):
            _refuse_damage(line, lines, name)
            return
        yield line


def scan(file: BinaryIO, name: str, start: int = 0) -> Scan:
    """Read a ledger once, from a line on before which all is known to be sound, and say where its sound bytes end.

    Raises:
        StorageError: a line before the torn tail is damaged.
    """
    size = file.seek(0, os.SEEK_END)
    count, end = 0, start
    for line in sound(split(file, start, size), name):
        count += 1
        end = line.offset + len(line.data)
    return Scan(count, end, size)


def repair(path: Path, aside: Path, start: int = 0) -> Torn | None:
    """Cut the torn tail of a ledger, if it has one, after saving it in the folder `aside`.

    The caller holds the lock, and knows the bytes before `start` to be whole lines. A ledger that does not exist is
    sound.

    Raises:
        StorageError: damage before the tail, or the disk refused; then nothing was cut.
    """
    try:
        with open(path, "r+b", opener=_opener) as file:
            found = scan(file, str(path), start)
            torn = _cut(file, found, path, aside) if found.end < found.size else None
            sync_file(file.fileno())
        sync_folder(path.parent)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StorageError(f"{path}: cannot be repaired: {exc}; nothing was sent") from exc
    return torn


def last_whole(line: bytes) -> bytes | None:
    """The line itself where it is whole; else the last whole line in it that a damaged newline joined to others."""
    if intact(line):
        return line
    joined = (line[found.end() :] for found in _JOINT.finditer(line))
    return next((part for part in joined if intact(part)), None)


def _refuse_damage(damaged: RawLine, rest: Iterator[RawLine], name: str) -> None:
    last, end = last_whole(damaged.data), damaged.offset + len(damaged.data)
    others = False
    for line in rest:
        others, end = True, line.offset + len(line.data)
        last = last_whole(line.data) or last
    durable_since = group_of(last, name) > damaged.offset if last else others and damaged.offset == 0
    if durable_since or end - damaged.offset > LONGEST:
        raise StorageError(
            f"{name}: the line at byte {damaged.offset} is damaged, and not by an unfinished last write; nothing was "
            "sent or changed\nhint: keep a copy of the ledger; `retouch verify` names every damaged line. Put its "
            "bytes back from a backup, or move the whole output folder away to begin anew"
        )


def group_of(line: bytes, name: str) -> int:
    """A whole line's `group`, of the ledger `name`. Raises StorageError where it says none."""
    try:
        return head_of(line).group
    except StorageError as exc:
        raise StorageError(f"{name}: {exc}") from exc


def _cut(file: BinaryIO, found: Scan, path: Path, aside: Path) -> Torn:
    file.seek(found.end)
    tail = file.read(found.size - found.end)
    saved = aside / f"{path.name}.{found.end}.{zlib.crc32(tail):08x}"
    _keep(saved, tail)
    os.ftruncate(file.fileno(), found.end)
    return Torn(found.end, len(tail), saved)


def _keep(path: Path, data: bytes) -> None:
    """Write a file whose name tells its content, so that an unfinished one may be written over."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # By way of its folder, which no symlink may stand in for: the tail stays in the output folder.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path.name, flags, 0o600, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        write_all(fd, data)
        sync_file(fd)
    finally:
        os.close(fd)
    for above in (path.parent, path.parent.parent, path.parent.parent.parent):
        sync_folder(above)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
