"""What made each task done: where its line stands, and enough to know its result without reading that line.

1. Tasks are numbered from 0 by whoever asks; a task whose number was never given a result has none.
2. It costs 34 bytes for a task with one output, and 4 for each more.
3. A result is told in full only where it is usual: at most 255 outputs, all with one extension, none of 4 GiB. Of any
   other the line must be read.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from zlib import adler32, crc32

import msgspec

from pipeline.ledger.places import NOWHERE, Places, Where
from pipeline.ledger.records import Output

_MOST = 255
_LARGEST = 2**32


class Done(msgspec.Struct, frozen=True, gc=False):
    """A task's result as its last line names it.

    `fingerprint` is the line's as a digest. Where `usual`, output I is a file of `sizes[I]` bytes, whose path is the
    stem I, a dot and `extension`; `stems` is `stems_digest` of the stems: where that is the one of a task's paths, the
    outputs lie at these. Else all three say nothing, and the task's line must be read.
    """

    fingerprint: bytes
    usual: bool = False
    stems: int = 0
    extension: str = ""
    sizes: Sequence[int] = ()


def stems_digest(stems: Iterable[str]) -> int:
    """64 bits that tell paths without their extensions apart, in order; equal for a lone surrogate and the ledger's
    spelling."""
    text = "\0".join(stems).encode("utf-8", "backslashreplace")
    return crc32(text) << 32 | adler32(text)


def _stems_of(outputs: Iterable[Output]) -> int:
    return stems_digest(output.path.rpartition(".")[0] for output in outputs)


class DoneIndex:
    """The results by their tasks' numbers; `count` of them."""

    __slots__ = ("count", "extensions", "first", "kinds", "numbers", "places", "requests", "sizes", "stems")

    def __init__(self) -> None:
        self.count = 0
        self.extensions: list[str] = []
        self.places = Places()
        self.requests = array("I")
        self.stems = array("Q")
        self.kinds = bytearray()
        self.numbers = bytearray()
        self.first = array("I")
        self.sizes = array("I")

    def make_room(self) -> None:
        """Take in the next task, which has no result yet."""
        self.requests.append(0)
        self.stems.append(0)
        self.kinds.append(0)
        self.numbers.append(0)
        self.first.append(0)
        self.places.append(NOWHERE)

    def put(self, task: int, where: Where, request: int, outputs: Sequence[Output]) -> None:
        """Note that the line at `where` made a task done, by the request of that number, with these outputs."""
        self.count += self.places.is_empty(task)
        self.places[task] = where
        self.requests[task] = request
        self.kinds[task] = self._kind(outputs)
        if not self.kinds[task]:
            return
        self.stems[task] = _stems_of(outputs)
        if len(outputs) != self.numbers[task]:
            self.numbers[task] = len(outputs)
            self.first[task] = len(self.sizes)
            self.sizes.extend(output.bytes for output in outputs)
        else:
            for at, output in enumerate(outputs, self.first[task]):
                self.sizes[at] = output.bytes

    def names(self, task: int, outputs: Sequence[Output]) -> bool:
        """Whether the task's result has these outputs' paths; False too where that is not known."""
        if not self.kinds[task] or self.numbers[task] != len(outputs) or self.kinds[task] != self._kind(outputs):
            return False
        return self.stems[task] == _stems_of(outputs)

    def _kind(self, outputs: Sequence[Output]) -> int:
        """The number of the outputs' one extension, from 1; 0 where they are not usual."""
        if not outputs or len(outputs) > _MOST:
            return 0
        _, dot, ending = outputs[0].path.rpartition(".")
        for output in outputs:
            if not dot or output.bytes >= _LARGEST or not output.path.endswith(dot + ending):
                return 0
        if ending not in self.extensions:
            if len(self.extensions) == _MOST:
                return 0
            self.extensions.append(ending)
        return self.extensions.index(ending) + 1

    def where(self, task: int) -> Where | None:
        """The line that made a task done; None where none did."""
        return None if self.places.is_empty(task) else self.places[task]

    def result(self, task: int, fingerprint: bytes) -> Done:
        """The result of a task that has one, by a request of this fingerprint."""
        kind = self.kinds[task]
        if not kind:
            return Done(fingerprint)
        first = self.first[task]
        sizes = self.sizes[first : first + self.numbers[task]]
        return Done(fingerprint, True, self.stems[task], self.extensions[kind - 1], sizes)
