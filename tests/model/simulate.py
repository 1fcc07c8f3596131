"""Simulations: steps from a seed, a report of what failed, and the shortest list of steps that still fails."""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from random import Random

from pipeline.tasks import compiled, templates
from tests.model.steps import Step, draw, take
from tests.model.world import World

EPISODE = 40
"""Steps after which a simulation begins anew, with an empty folder: a ledger is read whole after each."""


@dataclass(slots=True)
class Episode:
    """The steps of one folder, what each did, and the failure that ended it, if one did."""

    steps: list[Step] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    failure: str = ""
    trace: str = ""


def scratch() -> Path:
    """Where folders are made: in memory where there is such a place, as nothing here is about a disk."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="retouch-model-", dir=memory if memory.is_dir() else None))


def play(steps: Sequence[Step] | Callable[[int], Step | None]) -> Episode:
    """Take steps in a new folder until one fails."""
    root = scratch()
    episode = Episode()
    world = World(root)
    following = steps if callable(steps) else lambda number: steps[number] if number < len(steps) else None
    try:
        while (step := following(len(episode.steps))) is not None:
            episode.steps.append(step)
            episode.said.append(take(world, step))
    except Exception as error:
        episode.failure = str(error).split("\n")[0] or type(error).__name__
        episode.trace = traceback.format_exc()
    finally:
        shutil.rmtree(root)
    return episode


def episode_of(seed: int, number: int, steps: int = EPISODE) -> Episode:
    """An episode of a simulation."""
    chance = Random(f"{seed} {number}")
    return play(lambda count: draw(chance) if count < steps else None)


def shrunk(episode: Episode, patience: float = 60.0) -> Episode:
    """The same failure with fewer steps: as many are left out as can be within `patience` seconds."""
    until = time.monotonic() + patience
    best = episode
    size = max(1, len(best.steps) // 2)
    while size and time.monotonic() < until:
        for start in range(0, len(best.steps) - 1, size):
            fewer = best.steps[:start] + best.steps[start + size :]
            tried = play(fewer)
            if _kind(tried.failure) == _kind(best.failure) and len(tried.steps) < len(best.steps):
                best = tried
                break
            if time.monotonic() > until:
                break
        else:
            size //= 2
    return best


def _kind(failure: str) -> str:
    """A failure without the names and numbers in it."""
    return " ".join(word for word in failure.split() if word.isalpha())


def report(episode: Episode) -> str:
    """What failed, the steps that led there, and how to see it again."""
    told = zip(episode.steps, [*episode.said, "FAILS"], strict=False)
    lines = [f"{number:3}. {step}  {said}" for number, (step, said) in enumerate(told, start=1)]
    again = " ".join(map(str, episode.steps))
    return "\n".join([*lines, episode.trace, f"again: python -m tests.model --replay {again}"])


def hasten() -> None:
    """Compile each template once for all runs, and keep the pages of this process shared with its forks."""
    vars(compiled)["compile_template"] = lru_cache(1000)(templates.compile_template)
    gc.collect()
    gc.freeze()


def simulate(steps: int, seed: int, tell: Callable[[int], None] = lambda taken: None) -> int:
    """Take so many steps from a seed; how many were taken. Raises AssertionError with a report.

    `tell` hears after each episode how many steps were taken.
    """
    hasten()
    taken = number = 0
    while taken < steps:
        episode = episode_of(seed, number, min(EPISODE, steps - taken))
        taken += len(episode.steps)
        number += 1
        tell(taken)
        if episode.failure:
            raise AssertionError(f"seed {seed}, episode {number}\n{report(shrunk(episode))}")
    return taken
