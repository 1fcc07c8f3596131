"""How many requests fit into the files that this process may have open (`ulimit -n`).

1. Sockets never take the descriptors that storing results needs: a paid answer that comes in can be kept.
2. The limit is raised as far as is needed and allowed; where that is not enough, fewer requests are in flight.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from contextlib import suppress

from pipeline.errors import StorageError
from pipeline.outputs.folder import HELD
from pipeline.run.threads import WORKERS

OWN = 32 + 2 * HELD
"""Descriptors for ledgers, lock, cache and name resolution; the committer and the reader of inputs, which keep folders
open. A part that waits for its sync takes the place of its request's socket."""
PER_REQUEST = 3
"""A socket, a file that is sent, and the other end of the socket where the endpoint is embedded."""
PER_WORKER = 6
"""Folders and files that are open while one result is stored."""


def slots_within(allowed: int, opened: int, concurrency: int, workers: int = WORKERS) -> int:
    """How many requests may be in flight, at most `concurrency`; 0 where not even one fits."""
    room = allowed - opened - OWN
    few = room // (PER_REQUEST + PER_WORKER)
    slots = few if few < workers else (room - workers * PER_WORKER) // PER_REQUEST
    return max(0, min(concurrency, slots))


def slots_for(concurrency: int, note: Callable[[str], None]) -> int:
    """How many requests may be in flight in this process; `note` tells the user where that is fewer than asked for.

    Raises:
        StorageError: not even one may.
    """
    opened = _opened()
    allowed = _allowed(opened + OWN + WORKERS * PER_WORKER + concurrency * PER_REQUEST)
    slots = slots_within(allowed, opened, concurrency)
    if not slots:
        raise StorageError(
            f"this process may have {allowed} files open, too few to store results while requests are in flight; "
            "raise the limit (`ulimit -n 1024`) and run again. Nothing was sent"
        )
    if slots < concurrency:
        note(f"only {allowed} files may be open (ulimit -n): {slots} requests at once instead of {concurrency}")
    return slots


def _opened() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:  # a container may have no /dev/fd
        return OWN


def _allowed(wanted: int) -> int:
    """The limit on open files, raised towards `wanted` as far as the hard limit lets a process do that by itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinite = resource.RLIM_INFINITY
    if soft != infinite and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == infinite else min(wanted, hard), hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if soft == infinite else soft
