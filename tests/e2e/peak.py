"""Run a command and print its peak memory and time: a process of its own, as a fork inherits its parent's peak."""

from __future__ import annotations

import json
import os
import sys
import time


def measure(command: list[str]) -> dict[str, float]:
    """The exit code, peak resident bytes and seconds of a command."""
    began = time.monotonic()
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, used = os.wait4(child, 0)
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "code": os.waitstatus_to_exitcode(status),
        "bytes": used.ru_maxrss * unit,
        "seconds": time.monotonic() - began,
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1:])), file=sys.stderr)
