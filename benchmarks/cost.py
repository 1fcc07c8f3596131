"""What commands cost: wall and processor seconds and peak memory of each, in interleaved rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.contest import launch

ROUNDS = 5


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
    with TemporaryDirectory(prefix="retouch-benchmark-") as folder:
        taken = launch(Path(folder), command)
    return Cost(taken.wall, taken.cpu, taken.memory)
