"""What one case may cost: processor time, memory, and the address space beyond which nothing is given.

Processor time and not the clock's, so that a busy machine breaks no case. One that waits for ever is ended by whoever
started the process (pytest's timeout, or the watchdog of `python -m tests.fuzz`).
"""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MIB = 1 << 20
_ROOM = 3 << 30
"""Address space above what is taken already: far above any limit, below what would bring the machine down."""

_STATUS = Path("/proc/self/status")
_PEAK = Path("/proc/self/clear_refs")


class ExcessError(BaseException):
    """A case took more time or memory than it may. No `except Exception` of the code under test hides it."""


@contextmanager
def limited(seconds: float, megabytes: int) -> Iterator[None]:
    """Let the block use so much processor time and additional memory. Raises ExcessError."""

    def stop(_signal: int, _frame: object) -> None:
        raise ExcessError(f"took more than {seconds:g} s of processor time")

    _reset_peak()
    before = _resident("VmRSS")
    earlier = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with _little_address_space():
            yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, earlier)
    grown = (_resident("VmHWM") - before) / _MIB
    if grown > megabytes:
        raise ExcessError(f"took {grown:.0f} MiB, more than {megabytes}")


@contextmanager
def _little_address_space() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    room = _resident("VmSize") + _ROOM
    if room == _ROOM or (hard != resource.RLIM_INFINITY and hard < room):
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _reset_peak() -> None:
    with contextlib.suppress(OSError):
        _PEAK.write_text("5")


def _resident(name: str) -> int:
    """A figure of the kernel's about this process, in bytes; 0 where there is none."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) << 10
    return 0
