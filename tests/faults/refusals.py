"""A file system that refuses: the N-th call of a kind on a place fails, in a forked run of the real command.

Calls are made through the `os` module in one place each, so that is where they are refused: counted over all threads,
told apart by the path that they are about, and with short writes, which really write less. Run as a module this is a
forking server like forge's, whose runs take their refusals from the environment.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults import forge as plain
from tests.faults.forge import PATIENCE, Forge

ASKED = "FAULTS_REFUSALS"
COUNTED = "FAULTS_COUNTED"
SHORT = "short"
"""In place of an errno: half of the bytes are written, as `write` may do at any time."""

PLACES: Mapping[str, str] = {
    "ledger": r"/out/ledger\.jsonl$",
    "part": r"/\.retouch/parts/[^/]+\.part$",
    "parts folder": r"/\.retouch/parts$",
    "replaced": r"/\.retouch/replaced/[^/]+$",
    "replaced folder": r"/\.retouch/replaced$",
    "unusable": r"/\.retouch/unusable/[^/]+$",
    "torn": r"/\.retouch/torn/[^/]+$",
    "spill": r"/state/retouch/.+",
    "lock": r"/out/\.lock$",
    "final name": r"/out/photos/[^/]+\.png$",
    "final folder": r"/out/photos$",
    "output folder": r"/out$",
    "own folder": r"/out/\.retouch$",
    "thread": r"^thread$",
}
"""What a call may be about, by its path."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Calls `first` to `last` of a kind on a place fail with an errno's name, or are cut short."""

    call: str
    place: str
    error: str
    first: int = 1
    last: int = 1 << 30

    def __str__(self) -> str:
        when = self.first if self.first == self.last else f"{self.first}+"
        return f"{self.call} {self.place} {self.error} {when}"


class _Arm:
    """The refusals of this process, and how often each kind of call was made on each place."""

    def __init__(self, refusals: list[Refusal]) -> None:
        self._refusals = refusals
        self._places = {name: re.compile(pattern) for name, pattern in PLACES.items()}
        self._lock = threading.Lock()
        self.counts: Counter[tuple[str, str]] = Counter()

    def answer(self, call: str, path: str) -> str | None:
        """How this call is refused; None where it may pass."""
        place = next((name for name, pattern in self._places.items() if pattern.search(path)), None)
        if place is None:
            return None
        with self._lock:
            self.counts[call, place] += 1
            number = self.counts[call, place]
        for one in self._refusals:
            if (one.call, one.place) == (call, place) and one.first <= number <= one.last:
                return one.error
        return None

    def check(self, call: str, path: str) -> None:
        """Raise what the call is refused with."""
        error = self.answer(call, path)
        if error is not None:
            raise OSError(getattr(errno, error), f"{os.strerror(getattr(errno, error))} (refused)", path)


def _where(name: Any, folder: int | None = None) -> str:
    """The path that a call is about."""
    if isinstance(name, int):
        return os.readlink(f"/proc/self/fd/{name}").removesuffix(" (deleted)")
    path = os.fsdecode(name)
    return path if folder is None or path.startswith("/") else f"{_where(folder)}/{path}"


def _guarded(real: Callable[..., Any], call: str, arm: _Arm) -> Callable[..., Any]:
    """A call on one path or descriptor."""

    @functools.wraps(real)
    def guarded(path: Any, *args: Any, **named: Any) -> Any:
        arm.check(call, _where(path, named.get("dir_fd")))
        return real(path, *args, **named)

    return guarded


def _shortened(real: Callable[..., int], arm: _Arm) -> Callable[..., int]:
    """A write, of which half may be done."""

    def write(fd: int, data: bytes, *at: int) -> int:
        error = arm.answer("write", _where(fd))
        if error not in (None, SHORT):
            raise OSError(getattr(errno, str(error)), f"{os.strerror(getattr(errno, str(error)))} (refused)")
        return real(fd, data[: (len(data) + 1) // 2] if error else data, *at)

    return write


def _guard_all(arm: _Arm) -> None:
    for name, call in (
        ("fsync", "sync"),
        ("fdatasync", "sync"),
        ("unlink", "unlink"),
        ("rmdir", "unlink"),
        ("mkdir", "mkdir"),
        ("ftruncate", "truncate"),
        ("stat", "stat"),
    ):
        setattr(os, name, _guarded(getattr(os, name), call, arm))
    os.write, os.pwrite = _shortened(os.write, arm), _shortened(os.pwrite, arm)
    real_open, real_link, real_rename, real_start = os.open, os.link, os.rename, threading.Thread.start

    def open_(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        arm.check("create" if flags & os.O_CREAT else "open", _where(path, dir_fd))
        return real_open(path, flags, mode, dir_fd=dir_fd)

    def link(source: Any, target: Any, **named: Any) -> None:
        arm.check("link", _where(target, named.get("dst_dir_fd")))
        real_link(source, target, **named)

    def rename(source: Any, target: Any, **named: Any) -> None:
        arm.check("rename", _where(target, named.get("dst_dir_fd")))
        real_rename(source, target, **named)

    def start(thread: threading.Thread) -> None:
        if arm.answer("start", "thread") is not None:
            raise RuntimeError("can't start new thread")
        real_start(thread)

    threading.Thread.start = start  # type: ignore[method-assign, assignment]  # called as the original is
    os.open, os.link, os.rename = open_, link, rename  # type: ignore[assignment]  # as the originals are called

    from pipeline.ledger import reserve

    real_fallocate = reserve.fallocate

    def fallocate(fd: int, offset: int, length: int) -> bool:
        error = arm.answer("fallocate", _where(fd))
        if error == "EOPNOTSUPP":
            return False
        if error is not None:
            raise OSError(getattr(errno, error), "refused")
        return real_fallocate(fd, offset, length)

    reserve.fallocate = fallocate


class RefusingForge(Forge):
    """Starts runs that meet `refusals`; what they called is in `counted`."""

    refusals: tuple[Refusal, ...] = ()

    def ask(self, **request: Any) -> dict[str, Any]:
        if request["verb"] == "start":
            request["env"][ASKED] = json.dumps([asdict(one) for one in self.refusals])
            request["env"][COUNTED] = str(self._counted)
        return super().ask(**request)

    @property
    def _counted(self) -> Path:
        return self._folder / "counted"

    @property
    def counted(self) -> dict[tuple[str, str], int]:
        """How often the run that ended last made each kind of call on each place."""
        return {(call, place): count for call, place, count in json.loads(self._counted.read_text())}


@contextmanager
def refusing(folder: Path) -> Iterator[RefusingForge]:
    """A forking server of refusing runs that lives as long as the block."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-m", __name__], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as pipe:
        yield RefusingForge(pipe, folder)
        assert pipe.stdin is not None
        pipe.stdin.close()
        pipe.wait(PATIENCE)


def _main() -> None:
    import pipeline.cli

    real = pipeline.cli.main

    def main() -> None:
        arm = _Arm([Refusal(**one) for one in json.loads(os.environ.pop(ASKED))])
        counted = Path(os.environ.pop(COUNTED))
        _guard_all(arm)
        try:
            real()
        finally:
            counted.write_text(json.dumps([[*key, count] for key, count in arm.counts.items()]))

    pipeline.cli.main = main
    plain._serve(sys.stdin)


if __name__ == "__main__":
    _main()
