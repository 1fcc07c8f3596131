"""Cases, their limits, and what is made of one that fails.

A kind makes the bytes of a case from a seeded generator and checks them: the check returns the name of an outcome, and
raises for whatever is no named one. Bytes are all that a case is, so each can be shrunk, kept and run again.
"""

from __future__ import annotations

import re
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.fuzz.limits import limited

Check = Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class Kind:
    """`make` draws a case, `open` gives the check that works in a folder of its own; `seconds` and `megabytes` are what
    a case may take."""

    name: str
    make: Callable[[Random], bytes]
    open: Callable[[Path], AbstractContextManager[Check]]
    seconds: float = 5.0
    megabytes: int = 64


@dataclass(frozen=True, slots=True)
class Defect:
    """A case whose end is no named outcome: `label` is the same for cases that fail alike."""

    kind: str
    data: bytes = field(repr=False)
    label: str
    trace: str = field(repr=False)


@dataclass(slots=True)
class Report:
    """How many cases ended how, and the first case of each defect."""

    outcomes: Counter[str] = field(default_factory=Counter)
    defects: dict[str, Defect] = field(default_factory=dict)

    def take(self, found: str | Defect) -> None:
        """Count one case."""
        if isinstance(found, str):
            self.outcomes[found] += 1
            return
        self.outcomes["DEFECT"] += 1
        self.defects.setdefault(found.label, found)


def cases(kind: Kind, seed: int) -> Iterator[bytes]:
    """The kind's cases for a seed, without end; each depends on its number alone."""
    number = 0
    while True:
        yield kind.make(Random(f"{seed}/{kind.name}/{number}"))
        number += 1


def judge(kind: Kind, check: Check, data: bytes) -> str | Defect:
    """The outcome of one case, or its defect."""
    try:
        with limited(kind.seconds, kind.megabytes):
            return check(data)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever it is, it is no named outcome
        return Defect(kind.name, data, label_of(error), "".join(traceback.format_exception(error)))


def label_of(error: BaseException) -> str:
    """The error's kind and words, with what differs from case to case left out."""
    words = str(error).splitlines()[0] if str(error) else ""
    words = re.sub(r"0x[0-9a-f]+|\d+", "N", words)
    words = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", words)
    return f"{type(error).__name__}: {words}"[:160]


def shrunk(kind: Kind, check: Check, defect: Defect, tries: int = 150) -> Defect:
    """A smaller case with the same defect: pieces are left out as long as it stays, first lines, then bytes."""
    best = defect
    for pieces in (lambda data: data.splitlines(keepends=True), lambda data: [bytes([byte]) for byte in data]):
        size = max(1, len(pieces(best.data)) // 2)
        while size and tries:
            for shorter in _without(pieces(best.data), size):
                if not tries:
                    break
                tries -= 1
                found = judge(kind, check, shorter)
                if isinstance(found, Defect) and found.label == defect.label:
                    best = found
                    break
            else:
                size //= 2
    return best


def _without(pieces: list[bytes], size: int) -> Iterable[bytes]:
    for start in range(0, len(pieces), size):
        yield b"".join(pieces[:start] + pieces[start + size :])
