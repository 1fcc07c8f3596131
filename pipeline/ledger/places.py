"""Where a line stands, and many such places in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple, overload

_OFFSET_BITS = 48


class Where(NamedTuple):
    """Place of a line: the ledger file's number in `Ledgers`, its byte offset, its length with the newline."""

    file: int
    offset: int
    length: int


class Places(Sequence[Where]):
    """A list of places at 12 bytes each; up to 65,536 files of 256 TiB."""

    __slots__ = ("_lengths", "_starts")

    def __init__(self) -> None:
        self._starts = array("Q")
        self._lengths = array("I")

    @property
    def buffers(self) -> tuple[array[int], array[int]]:
        """All that it holds, to be saved, or filled in while it is empty."""
        return self._starts, self._lengths

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Where: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Where]: ...
    def __getitem__(self, index: int | slice) -> Where | Sequence[Where]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        start = self._starts[index]
        return Where(start >> _OFFSET_BITS, start & ((1 << _OFFSET_BITS) - 1), self._lengths[index])

    def __setitem__(self, index: int, where: Where) -> None:
        self._starts[index] = where.file << _OFFSET_BITS | where.offset
        self._lengths[index] = where.length

    def is_empty(self, index: int) -> bool:
        """Whether the place at an index is `NOWHERE`."""
        return not self._lengths[index]

    def append(self, where: Where) -> None:
        """Add a place at the end; a thread that reads meanwhile does not see it before it is whole."""
        self._lengths.append(where.length)
        self._starts.append(where.file << _OFFSET_BITS | where.offset)


NOWHERE = Where(0, 0, 0)
"""No line: no line is empty."""
