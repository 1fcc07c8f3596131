"""strace, which makes the N-th call of a kind kill its process, or fail.

Calls are counted in each thread by itself, from the moment the run's process began to run.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
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


@dataclass(frozen=True, slots=True)
class Point:
    """A place to strike: the N-th call of a kind in one thread."""

    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.call}-{self.number}"

    @property
    def kill(self) -> str:
        """strace's words for a kill at this call, before the kernel sees it."""
        return f"inject={CALLS[self.call]}:signal=SIGKILL:when={self.number}"


def require() -> None:
    """Skip the calling test where there is no strace that may attach; fail where nothing may be skipped."""
    if shutil.which("strace") is not None:
        return
    if os.environ.get("RETOUCH_REQUIRE_ALL") == "1":
        pytest.fail("strace is not installed, and RETOUCH_REQUIRE_ALL=1 lets no test be skipped")
    pytest.skip("strace is not installed: calls cannot be made to fail")


@contextmanager
def traced(process: Process, log: Path, *words: str) -> Iterator[None]:
    """Attach to a held process with strace's `-e` words and let it begin."""
    command = ["strace", "-f", "-qq", "-o", str(log), "-p", str(process.pid)]
    with subprocess.Popen(
        [*command, *(part for word in words for part in (("-e", word) if word[0] != "-" else word.split("=", 1)))],
        stderr=subprocess.PIPE,
        text=True,
    ) as tracer:
        try:
            _wait_until_attached(process, tracer)
        except RuntimeError:
            process.send(signal.SIGKILL)
            raise
        process.release()
        yield
        tracer.wait(PATIENCE)


def _wait_until_attached(process: Process, tracer: subprocess.Popen[str]) -> None:
    until = time.monotonic() + PATIENCE
    while f"TracerPid:\t{tracer.pid}\n" not in Path(f"/proc/{process.pid}/status").read_text():
        if tracer.poll() is not None or time.monotonic() > until:
            assert tracer.stderr is not None
            raise RuntimeError(f"strace cannot attach: {tracer.stderr.read()}")
        time.sleep(0.002)


def counted(log: Path) -> dict[str, int]:
    """How often the busiest thread of a trace made each kind of call."""
    kinds = {name: kind for kind, names in CALLS.items() for name in names.split(",")}
    calls = re.findall(r"^(\d+) +(\w+)\(", log.read_text(), re.MULTILINE)
    counts = Counter((kinds[name], thread) for thread, name in calls if name in kinds)
    return {kind: max((n for (one, _), n in counts.items() if one == kind), default=0) for kind in CALLS}
