"""`python -m tests.model --steps N --seed S`: a long simulation; `--replay KIND:NUMBER …`: steps that failed."""

from __future__ import annotations

import argparse
import sys
import time

from tests.model.simulate import play, report, simulate
from tests.model.steps import Step


def main() -> None:
    """Simulate, or replay, and print what came of it."""
    options = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    options.add_argument("--steps", type=int, default=2000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--replay", nargs="+", default=[], metavar="KIND:NUMBER")
    asked = options.parse_args()
    if asked.replay:
        steps = [Step(kind, int(number)) for kind, _, number in (word.partition(":") for word in asked.replay)]
        print(report(play(steps)))
        return
    began = time.monotonic()
    taken = simulate(asked.steps, asked.seed, _tell)
    seconds = time.monotonic() - began
    print(f"{taken} steps, seed {asked.seed}: all invariants hold")
    print(f"{seconds:.0f} s, {1000 * seconds / taken:.1f} ms a step")


def _tell(taken: int) -> None:
    print(f"{taken} steps", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
