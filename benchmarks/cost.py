"""What commands cost: wall and processor seconds and peak memory of each, in interleaved rounds."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from sys import platform

ROUNDS = 5
_UNIT = 1 if platform == "darwin" else 1024
"""Bytes in which the kernel tells the peak of resident memory."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall and of processor time, the medians, and the highest peak of resident memory in bytes."""

    wall: float
    cpu: float
    memory: int

    @property
    def words(self) -> str:
        """All three, for the table."""
        return f"{self.wall:.3f} s ({self.cpu:.3f} s of processor), {self.memory / 1e6:.0f} MB"


def costs(commands: Sequence[Sequence[str]], rounds: int = ROUNDS) -> list[Cost]:
    """The cost of each command; one round after the other runs them all, so that a busy minute hits all alike."""
    found: list[list[Cost]] = [[] for _ in commands]
    for _ in range(rounds):
        for each, command in zip(found, commands, strict=True):
            each.append(_once(command))
    return [
        Cost(median(one.wall for one in each), median(one.cpu for one in each), max(one.memory for one in each))
        for each in found
    ]


def _once(command: Sequence[str]) -> Cost:
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"BENCHMARK_KEY": "sk-benchmark"},
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} exited {process.returncode}")
    return Cost(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * _UNIT)
