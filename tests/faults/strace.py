"""strace, which makes the N-th call of a kind kill its process, or fail.

Calls are counted in each thread by itself, from the moment the run's process began to run: the N-th call is that of the
thread which comes to N first, and N ends where no thread comes to it. So a busy thread hides what another one does:
the wake-ups that a worker writes come to each N before the loop's writes to the endpoint do. A point may therefore look
at one path alone, or at the loop's thread alone (`on`).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.forge import PATIENCE, Process

CALLS: dict[str, str] = {
    "write": "write,writev",
    "pwrite64": "pwrite64",
    "fdatasync": "fdatasync",
    "fsync": "fsync",
    "rename": "rename,renameat,renameat2",
    "link": "link,linkat",
    "unlink": "unlink,unlinkat",
    "mkdir": "mkdir,mkdirat",
    "open": "openat",
    "connect": "connect",
    "send": "sendto,sendmsg",
    "read": "read,readv",
    "recv": "recvfrom,recvmsg",
    "flock": "flock",
    "ftruncate": "ftruncate",
    "fallocate": "fallocate",
}
"""Kinds of calls, each with the system calls that make it."""

PLACES: dict[str, str] = {"ledger": "out/ledger.jsonl", "parts": "out/.retouch/parts"}
"""Paths below a trial's folder that a point may look at alone; each is there before the run begins."""

LOOP = "the loop"
"""The thread of the event loop, in place of a path: it alone speaks to the endpoint."""

FOCUSED = (
    ("write", "ledger"),
    ("fdatasync", "ledger"),
    ("ftruncate", "ledger"),
    ("open", "parts"),
    ("fsync", "parts"),
    ("link", "parts"),
    ("unlink", "parts"),
    ("write", LOOP),
    ("send", LOOP),
)
"""The steps of the protocol that other calls of their kind may hide, each by what it is about or who makes it."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place to strike: the N-th call of a kind in one thread; with `on` only calls on this one of PLACES, or only
    those of the LOOP, count.

    The 0-th is NOWHERE: all kinds are traced, and none is struck.
    """

    call: str
    number: int
    on: str = ""

    def __str__(self) -> str:
        return f"{self.call}{self.on and f' on {self.on}'} {self.number}".replace(" ", "-")

    @property
    def kill(self) -> str:
        """strace's words for a kill at this call, before the kernel sees it."""
        return f"inject={CALLS[self.call]}:signal=SIGKILL:when={self.number}"

    def words(self, folder: Path) -> tuple[str, ...]:
        """All of strace's words: the kill, and a trace of the calls that were counted, with what they are about."""
        if not self.number:
            return (f"trace={','.join(CALLS.values())}", "-yy")
        paths = (f"-P={folder / PLACES[self.on]}",) if self.on in PLACES else ()
        return (self.kill, f"trace={CALLS[self.call]}", "-yy", *paths)


NOWHERE = Point("", 0)


def require() -> None:
    """Skip the calling test where there is no strace that may attach; fail where nothing may be skipped."""
    if shutil.which("strace") is not None:
        return
    if os.environ.get("RETOUCH_REQUIRE_ALL") == "1":
        pytest.fail("strace is not installed, and RETOUCH_REQUIRE_ALL=1 lets no test be skipped")
    pytest.skip("strace is not installed: calls cannot be made to fail")


@contextmanager
def traced(process: Process, log: Path, *words: str, alone: bool = False) -> Iterator[None]:
    """Attach to a held process with strace's `-e` words and let it begin; `alone` looks at no thread but its first."""
    command = ["strace", *([] if alone else ["-f"]), "-qq", "-o", str(log), "-p", str(process.pid)]
    with subprocess.Popen(
        [*command, *(part for word in words for part in _option(word))], stderr=subprocess.PIPE, text=True
    ) as tracer:
        try:
            _wait_until_attached(process, tracer)
        except RuntimeError:
            process.send(signal.SIGKILL)
            raise
        process.release()
        yield
        tracer.wait(PATIENCE)


def _option(word: str) -> list[str]:
    return ["-e", word] if word[0] != "-" else word.split("=", 1)


def _wait_until_attached(process: Process, tracer: subprocess.Popen[str]) -> None:
    until = time.monotonic() + PATIENCE
    while f"TracerPid:\t{tracer.pid}\n" not in Path(f"/proc/{process.pid}/status").read_text():
        if tracer.poll() is not None or time.monotonic() > until:
            assert tracer.stderr is not None
            raise RuntimeError(f"strace cannot attach: {tracer.stderr.read()}")
        time.sleep(0.002)
