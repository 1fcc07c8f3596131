"""A recorded run: strace's log read back as calls, each with its bytes, its result, and when it began and ended.

The log is made with `-f -y -xx`: strings and the paths of descriptors are all hexadecimal, so nothing in them can be
taken for syntax. Calls of several threads overlap; one that was cut off by a kill has no end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RECORDED = (
    "open,openat,openat2,creat,write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,sync,syncfs,sync_file_range,msync,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat,truncate,ftruncate,"
    "fallocate,copy_file_range,sendfile,splice,ioctl,sendto,sendmsg,sendmmsg"
)
"""Every call that can change a file or a name, bring it to the medium, or let a byte leave."""

WORDS = (f"trace={RECORDED}", "-y", "-xx", "-s=8000000")
"""strace's words for such a recording."""

_LINE = re.compile(r"(?P<thread>\d+) +(?P<text>.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+|\?|0x[0-9a-f]+)")
_OPEN_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_PATH = re.compile(r"<((?:\\x[0-9a-f]{2})*)>")
_UNFINISHED = " <unfinished ...>"


class UnreadableError(Exception):
    """A line of the log that is not understood: the recording is worth nothing then."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One system call; `result` is None where a kill cut it off."""

    name: str
    arguments: str
    result: int | None

    @property
    def strings(self) -> list[bytes]:
        """The strings among its arguments: paths, or what was written. Raises UnreadableError."""
        found = []
        for text, cut in _STRING.findall(self.arguments):
            if cut:
                raise UnreadableError(f"{self.name}: a string was cut short")
            found.append(_bytes(text))
        return found

    @property
    def paths(self) -> list[str]:
        """The paths of the descriptors among its arguments."""
        return [_bytes(text).decode() for text in _PATH.findall(self.arguments)]

    @property
    def failed(self) -> bool:
        """Whether the kernel refused it."""
        return self.result is not None and self.result < 0

    def last_number(self) -> int:
        """Its last argument, a decimal number."""
        return int(self.arguments.rpartition(", ")[2])

    def __str__(self) -> str:
        shown = _PATH.sub(lambda found: f"<{_bytes(found[1]).decode()}>", self.arguments)
        shown = _STRING.sub(lambda found: repr(_bytes(found[1])[:60])[1:], shown)
        return f"{self.name}({shown}) = {self.result}"


@dataclass(frozen=True, slots=True)
class Began:
    """A call's effect may be there from here on."""

    call: Call


@dataclass(frozen=True, slots=True)
class Ended:
    """A call returned: its effect is there, and what it promises holds."""

    call: Call


def steps(log: Path) -> Iterator[Began | Ended]:
    """Beginnings and ends of the calls of a log, in its order. Raises UnreadableError."""
    lines = [found for line in log.read_text().splitlines() if (found := _LINE.fullmatch(line))]
    ends: dict[int, Call] = {}
    begins: dict[int, Call] = {}
    waiting: dict[str, int] = {}
    for number, line in enumerate(lines):
        text = line["text"]
        if text.startswith(("---", "+++")):
            continue
        if resumed := _RESUMED.match(text):
            begin = waiting.pop(line["thread"])
            began = lines[begin]["text"].removesuffix(_UNFINISHED)
            begins[begin] = ends[number] = _call(began + resumed["rest"])
        elif text.endswith(_UNFINISHED):
            waiting[line["thread"]] = number
        else:
            begins[number] = ends[number] = _call(text)
    for number in waiting.values():
        begins[number] = _call(lines[number]["text"].removesuffix(_UNFINISHED))
    for number in sorted(begins.keys() | ends.keys()):
        if number in begins:
            yield Began(begins[number])
        if number in ends and ends[number].result is not None:
            yield Ended(ends[number])


def _call(text: str) -> Call:
    found = _CALL.match(text)
    if found is None:
        cut = _OPEN_CALL.match(text)
        if cut is None:
            raise UnreadableError(text[:200])
        return Call(cut["name"], cut["arguments"], None)
    return Call(found["name"], found["arguments"], None if found["result"] == "?" else int(found["result"], 0))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
