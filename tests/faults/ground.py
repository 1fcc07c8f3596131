"""Where kills come: a scene's job, kept in the state in which its run begins, and jobs killed at any moment."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.e2e.endpoint import Endpoint
from tests.faults.forge import Forge
from tests.faults.scenes import SMALLEST, Scene
from tests.faults.strace import NOWHERE, Point
from tests.faults.strokes import Stroke, made, strikeable
from tests.faults.trial import Saved, Trial

TRACES = 12
"""Runs that are traced, at most, to find a call."""


@dataclass(frozen=True, slots=True)
class Stall:
    """A worker's own endpoint, forking server and folder."""

    folder: Path
    endpoint: Endpoint
    forge: Forge
    number: Iterator[int] = field(default_factory=count)

    def trial(self, scene: Scene) -> Trial:
        """A new job with a new bill."""
        self.endpoint.reset()
        place = self.folder / f"{next(self.number):04}" / "job"
        return Trial(
            place, self.endpoint, self.forge, scene.tasks, scene.concurrency, dict(SMALLEST), uvloop=scene.uvloop
        )


@dataclass(slots=True)
class Ground:
    """A trial in the state in which its scene's run begins, which is brought back for each kill."""

    scene: Scene
    trial: Trial
    saved: Saved = field(init=False)

    def __post_init__(self) -> None:
        self.trial.watch.shards = self.scene.shards
        self.scene.prepare(self.trial)
        self.trial.settle_server()
        self.trial.watch.check(self.trial.seen())
        self.saved = self.trial.save(self.trial.folder.with_name("saved"))

    def strike(self, *points: Point) -> list[Stroke | None]:
        """Kill the scene's run at a point, the next run at the next one, and run the job to its end."""
        self.trial.restore(self.saved)
        struck = [self.scene.attempt(self.trial, point) for point in points]
        self.scene.end(self.trial)
        self.trial.check_surroundings()
        return struck

    def trace(self) -> Path:
        """A trace of the scene's run, with no kill."""
        self.trial.restore(self.saved)
        self.scene.attempt(self.trial, NOWHERE)
        return self.trial.folder / "trace"

    def made(self) -> set[tuple[str, str]]:
        """The kinds of calls that the scene's run makes, each with what it is about."""
        return made(self.trace(), until="connect" if self.scene.recovery else "")

    def find(self, call: str, about: str, which: int) -> list[Point]:
        """Where a kill strikes the `which`-th call of a kind about something: 0 is the first, -1 the last.

        Traced again where another thread came to this number of the kind first. The calls before it follow, the nearest
        first, for a run whose threads share their work otherwise, so that none of them makes as many.
        """
        numbers: list[int] = []
        for _ in range(TRACES):
            numbers = [one.number for one in strikeable(self.trace()) if (one.call, one.about) == (call, about)]
            if numbers:
                break
        return [Point(call, number) for number in reversed(numbers[: numbers.index(numbers[which]) + 1])]


def kill_at_random(trial: Trial, chance: random.Random, most: int) -> int:
    """Kill the runs of a job at random moments until one ends before its kill or `most` came; then run it to its end.

    How many kills came.
    """
    trial.endpoint.show("latency=0.05s")
    came = 0
    while came < most:
        process = trial.start()
        time.sleep(chance.uniform(0.05, 0.6))
        if not trial.kill(process):
            process.wait().with_exit(0)
            break
        came += 1
    trial.recover()
    return came
