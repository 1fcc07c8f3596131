"""The steps: what can happen to a job. What one does follows from its kind, its number and the world.

So a list of steps can be replayed, and stays a list of steps when some are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.model.deeds import edit_input, edit_output, put_foreign, tidy
from tests.model.runs import again, crash, fault, interrupt, intrude, look, run, shards
from tests.model.wishes import change_wish
from tests.model.world import World


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `str` is what it is replayed from."""

    kind: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.seed}"


def draw(chance: Random) -> Step:
    """The next step of a simulation."""
    kinds = list(WEIGHTS)
    return Step(chance.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0], chance.getrandbits(32))


def take(world: World, step: Step) -> str:
    """Take a step and check what it came to; what was done, in words."""
    world.step += 1
    chance = Random(step.seed)
    return DOING[step.kind](world, chance)


DOING: dict[str, Callable[[World, Random], str]] = {
    "run": run,
    "crash": crash,
    "fault": fault,
    "interrupt": interrupt,
    "intrude": intrude,
    "again": again,
    "shards": shards,
    "wish": change_wish,
    "input": edit_input,
    "output": edit_output,
    "foreign": put_foreign,
    "tidy": tidy,
    "look": look,
}
WEIGHTS = {
    "run": 22,
    "crash": 22,
    "fault": 9,
    "interrupt": 4,
    "intrude": 5,
    "again": 4,
    "shards": 3,
    "wish": 18,
    "input": 12,
    "output": 9,
    "foreign": 4,
    "tidy": 2,
    "look": 3,
}
