"""All that is wrong with a ledger's bytes, where `scan` stops at the first fault.

Contract:

1. It reads and changes nothing, takes no lock, and reads no further than the file's length when its reading began.
2. It agrees with `scan`: that raises exactly where there is damage here, and else both see the same torn tail.
"""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from pipeline.errors import StorageError
from pipeline.ledger.codec import LONGEST
from pipeline.ledger.scan import group_of, last_whole, split


class Damage(Struct, frozen=True):
    """A line whose bytes are not what was written: its number, from 1, the byte at which it begins, and its length."""

    line: int
    offset: int
    bytes: int


class Inspection(Struct, frozen=True):
    """A ledger of `size` bytes, of which those from `end` on are a torn tail; `lines` counts the whole lines before."""

    lines: int
    damaged: tuple[Damage, ...]
    end: int
    size: int


def inspect(path: Path) -> Inspection:
    """Check every line of a ledger against its checksum.

    Raises:
        StorageError: it cannot be read.
    """
    bad: list[Damage] = []
    whole, last = 0, b""
    try:
        with open(path, "rb", buffering=1 << 20, opener=_opener) as file:
            size = os.fstat(file.fileno()).st_size
            for number, line in enumerate(split(file, 0, size), 1):
                last = last_whole(line.data) or last
                if last is line.data:
                    whole += 1
                else:
                    bad.append(Damage(number, line.offset, len(line.data)))
    except OSError as exc:
        raise StorageError(f"{path}: the ledger cannot be read: {exc}") from exc
    return _judged(bad, whole, group_of(last, str(path)) if last else None, size)


def _judged(bad: list[Damage], whole: int, group: int | None, size: int) -> Inspection:
    """Tell damage from the torn tail, which begins with the first fault at or after the last whole line's `group`."""
    if group is None:
        group = size if len(bad) > 1 else 0  # an empty ledger's first write is one line
    tail = next((one for one in bad if one.offset >= group), None)
    if tail is None or size - tail.offset > LONGEST:
        return Inspection(whole, tuple(bad), size, size)
    damaged = tuple(one for one in bad if one.offset < tail.offset)
    return Inspection(tail.line - 1 - len(damaged), damaged, tail.offset, size)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
