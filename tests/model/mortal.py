"""A run in a forked process that may be killed at any call to the kernel, refused by it, stopped or intruded upon.

1. A killed run writes nothing more: its process, with all threads, ends inside the call that is struck.
2. What the endpoint billed and what was put in the folder by others is noted in the bill, whatever becomes of the run.
3. The parent runs no loop and no thread, so that its forks are whole.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import anyio._backends._asyncio  # here, not in each fork
import pytest

from pipeline.errors import RetouchError
from pipeline.run.exits import Exit
from pipeline.run.halt import Halt
from pipeline.run.summary import as_json
from pipeline.tasks.cache import InputCache
from tests.model.server import Endpoint, digest
from tests.run.conftest import bench_in

KILLED = 137
"""Exit code of a run that a crash ended."""
PATIENCE = 60
"""Seconds after which a run hangs."""

CALLS = ("write", "pwrite", "fsync", "fdatasync", "link", "rename", "unlink", "rmdir", "ftruncate", "mkdir", "open")
REAL: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in CALLS}

PLACES = {
    "parts": re.compile(r"/out/\.retouch/parts"),
    "ledger": re.compile(r"/out/ledger[^/]*$"),
    "spill": re.compile(r"/spill"),
    "replaced": re.compile(r"/out/\.retouch/replaced"),
    "unusable": re.compile(r"/out/\.retouch/unusable"),
    "names": re.compile(r"/out/[^.]"),
}


@dataclass(frozen=True, slots=True)
class Crash:
    """A kill at the run's `at`-th call (from 1): before it, after it, or for a write in its middle."""

    at: int
    how: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Calls of a name at a place are refused: from the `first` (from 0) on, so many times."""

    call: str
    place: str
    number: int
    first: int = 0
    times: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Script:
    """All that happens to one run. `stop`: the number of a request at whose arrival the user drains or cancels;
    `intruder`: one at which somebody puts a file at a path."""

    seed: int
    climate: str = "fair"
    crash: Crash | None = None
    faults: tuple[Fault, ...] = ()
    stop: tuple[int, str] | None = None
    intruder: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended: `refused` names the error with which it did not begin, `words` tell how each task ended."""

    killed: bool
    refused: str = ""
    text: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    calls: int = 0


class Kernel:
    """Stands between a run and the kernel."""

    def __init__(self, script: Script) -> None:
        self.calls = 0
        self._script = script
        self._met = [0] * len(script.faults)
        self._lock = threading.Lock()

    def install(self) -> None:
        """From here on every call passes through."""
        for name in CALLS:
            setattr(os, name, partial(self._call, name))

    def passes(self) -> None:
        """A moment without a call of its own, at which a crash may come too."""
        if self._blow() is not None:
            os._exit(KILLED)

    def _call(self, name: str, *args: Any, **named: Any) -> Any:
        if name == "open" and not args[1] & os.O_CREAT:
            return REAL[name](*args, **named)
        blow = self._blow()
        if blow == "before":
            os._exit(KILLED)
        if blow == "torn" and name == "write":
            REAL["write"](args[0], bytes(args[1])[: len(args[1]) // 2])
            os._exit(KILLED)
        if self._script.faults:
            self._refuse(name, args, named)
        result = REAL[name](*args, **named)
        if blow is not None:
            os._exit(KILLED)
        return result

    def _blow(self) -> str | None:
        with self._lock:
            self.calls += 1
            crash = self._script.crash
            return crash.how if crash is not None and crash.at == self.calls else None

    def _refuse(self, name: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        path = _path(name, args, named)
        for index, fault in enumerate(self._script.faults):
            if fault.call != name or not PLACES[fault.place].search(path):
                continue
            with self._lock:
                self._met[index] += 1
                if fault.first < self._met[index] <= fault.first + fault.times:
                    raise OSError(fault.number, os.strerror(fault.number), path)


def _path(name: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> str:
    """What a call is about."""
    if name in ("write", "pwrite", "fsync", "fdatasync", "ftruncate"):
        return os.readlink(f"/proc/self/fd/{args[0]}")
    two = name in ("link", "rename")
    fd = named.get("dst_dir_fd" if two else "dir_fd")
    path = os.fspath(args[1] if two else args[0])
    return path if fd is None else f"{os.readlink(f'/proc/self/fd/{fd}')}/{path}"


def begin(root: Path, parts: Mapping[str, Any], flags: Mapping[str, Any], script: Script, step: int) -> int:
    """Fork a run of the job with these parts of a manifest; the process's id."""
    (root / f"report-{step}").unlink(missing_ok=True)
    pid = os.fork()
    if pid:
        return pid
    try:
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        _live(root, parts, flags, script, step)
    except BaseException:  # the fork must never return into its parent's loop
        traceback.print_exc()
    finally:
        os._exit(70)


def ended(pid: int, root: Path, step: int) -> Ran:
    """Wait for a run to end; one that hangs ends itself, with its stacks on stderr."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == KILLED:
        return Ran(killed=True)
    assert code == 0, f"the run ended with {code}"
    report = json.loads((root / f"report-{step}").read_bytes())
    return Ran(killed=False, **report)


def _live(root: Path, parts: Mapping[str, Any], flags: Mapping[str, Any], script: Script, step: int) -> None:
    kernel = Kernel(script)
    patch = pytest.MonkeyPatch()
    bench = bench_in(root / "job", patch)
    bench._tokens = count(step * 100_000)
    bench._seconds = count(step * 100_000)
    halts: list[Halt] = []

    def halt(note: Callable[[str], None]) -> Halt:
        halts.append(Halt(note))
        return halts[0]

    def arrived(number: int) -> None:
        kernel.passes()
        if script.stop is not None and script.stop[0] == number:
            halts[0].drain(Exit.INTERRUPTED, "stopped")
            if script.stop[1] == "cancel":
                halts[0].cancel()
        if script.intruder is not None and script.intruder[0] == number:
            _intrude(root, script.intruder[1], step)

    patch.setattr("pipeline.run.perform.Halt", halt)
    _remember_young_files(patch)
    endpoint = Endpoint(
        script.seed, script.climate, step, root / "bill", REAL["write"], lambda: bench.in_flight, arrived
    )
    bench.before, bench.say = endpoint.take, endpoint.answer
    job = bench.job(**parts)
    report: dict[str, Any] = {}

    async def main() -> None:
        try:
            report["summary"] = as_json(await bench.run(job, **flags))
        except RetouchError as error:
            report["refused"], report["text"] = type(error).__name__, str(error)

    kernel.install()
    anyio.run(main)
    report |= {"words": bench.words(), "notes": bench.notes, "calls": kernel.calls}
    fd = REAL["open"](root / f"report-{step}", os.O_WRONLY | os.O_CREAT, 0o600)
    REAL["write"](fd, json.dumps(report).encode())
    os._exit(0)


def _intrude(root: Path, path: str, step: int) -> None:
    """Somebody else's file comes under a name that is free."""
    data = foreign(step)
    place = root / "job/out" / path
    if place.exists() or not place.parent.is_dir():
        return
    fd = REAL["open"](root / "bill", os.O_WRONLY | os.O_APPEND)
    REAL["write"](fd, json.dumps({"step": step, "foreign": path, "sha256": digest(data)}).encode() + b"\n")
    fd = REAL["open"](place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    REAL["write"](fd, data)


def foreign(step: int) -> bytes:
    """The content of a file that is not ours."""
    return f"not a picture: {step}".encode()


def _remember_young_files(patch: pytest.MonkeyPatch) -> None:
    """Let the cache of inputs trust files at once; whoever edits one lets some time pass before."""
    later = partial(InputCache, now_ns=lambda: time.time_ns() + 10**10)
    patch.setattr("pipeline.run.session.InputCache", later)
