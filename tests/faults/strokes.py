"""What strace's log says: which calls a kill can strike, and what it struck."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from tests.faults.strace import CALLS, LOOP, Point

CALL = re.compile(r"^(?:(?P<thread>\d+) +)?(?P<name>\w+)\((?P<arguments>.*)$", re.MULTILINE)
KINDS = {name: kind for kind, names in CALLS.items() for name in names.split(",")}

ABOUT = (
    ("the ledger", r"/ledger[^/]*\.jsonl[>\"]"),
    ("a part", r"/\.retouch/parts/[^/]+[>\"]|/\.retouch/parts>.*\"[^\"]+\.part\""),
    ("the parts' folder", r"/\.retouch/parts[>\"]"),
    ("a torn tail", r"/\.retouch/torn|\.retouch>, \"torn"),
    ("a replaced picture", r"/\.retouch/replaced|\.retouch>, \"replaced"),
    ("the inputs' cache", r"/inputs\.cache"),
    ("a spilled result", r"/state(/retouch[^>\"]*)?[>\"]"),
    ("a lock", r"/\.lock[^/]*[>\"]"),
    ("a final name", r"/(out|aside)/[^.>\"/][^>\"]*[>\"]"),
    ("an input", r"/photos[>\"/]|job\.yaml"),
    ("the output folder", r"/(out|aside)(/\.retouch)?[>\"]"),
    ("the endpoint", r"^\d+<TCP|sin_port"),
    ("a wake-up", r"^\d+<(anon_inode|pipe|UNIX)"),
    ("what is printed", r"^[12]<"),
    ("a module", r"\.pyc?[>\"]"),
    ("the system", r"[<\"]/(dev|proc|sys)/"),
)
"""What a call may be about, told by its arguments; the first that fits."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """A call that a kill strikes: the `number`-th of its kind in its thread, and what it is about."""

    call: str
    about: str
    number: int


@dataclass(frozen=True, slots=True)
class _Call:
    thread: str
    kind: str
    arguments: str

    def names(self, path: str) -> bool:
        """Whether it is about a path."""
        return f"{path}>" in self.arguments or f'"{path}"' in self.arguments


def _calls(text: str) -> Iterator[_Call]:
    for found in CALL.finditer(text):
        if kind := KINDS.get(found["name"]):
            yield _Call(found["thread"] or "", kind, found["arguments"])


def strikeable(log: Path, *, until: str = "", on: str = "") -> list[Stroke]:
    """The calls of a trace that a kill can strike: for each kind and N that of the thread which comes to N first.

    With `until` those before the first call of this kind; with `on` only calls about this path, or of the LOOP, count.
    """
    calls = list(_calls(log.read_text()))
    met: set[tuple[str, int]] = set()
    counts: Counter[tuple[str, str]] = Counter()
    found = []
    for call in calls:
        if call.kind == until:
            break
        if on and not (call.thread == calls[0].thread if on == LOOP else call.names(on)):
            continue
        counts[call.kind, call.thread] += 1
        number = counts[call.kind, call.thread]
        if (call.kind, number) not in met:
            met.add((call.kind, number))
            found.append(Stroke(call.kind, about(call.arguments), number))
    return found


def made(log: Path, *, until: str = "") -> set[tuple[str, str]]:
    """The kinds of calls in a trace, each with what it was about; with `until` those before the first of this kind."""
    calls = takewhile(lambda call: call.kind != until, _calls(log.read_text()))
    return {(call.kind, about(call.arguments)) for call in calls}


def stroke(log: Path, point: Point) -> Stroke:
    """What the kill at a point struck. Every call in the log counts, as strace was told what to look at."""
    return next(one for one in strikeable(log) if (one.call, one.number) == (point.call, point.number))


def about(arguments: str) -> str:
    """What a call with these arguments is about."""
    return next((name for name, pattern in ABOUT if re.search(pattern, arguments)), "something else")
