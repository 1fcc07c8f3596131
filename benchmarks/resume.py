"""A night run that has nothing to do: beside a plan of the same tasks, and a bare reading of the same ledger."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial

from benchmarks.cost import Cost, costs
from benchmarks.matrices import finish, matrix_job
from benchmarks.processes import RETOUCH
from benchmarks.report import Case, Row

_LOOP = "import json, sys\nfor line in open(sys.argv[1], 'rb'): json.loads(line)"


def resumed(case: str, images: int, variants: int, rounds: int) -> Row:
    """`retouch run` where all is done; the plan is of the same job before anything of it was done."""
    tasks = images * variants
    with matrix_job(images, variants) as manifest:
        (plan,) = costs([(RETOUCH, "plan", str(manifest))], rounds)
        ledger = finish(manifest)
        run, loop = costs([(RETOUCH, "run", str(manifest)), (sys.executable, "-c", _LOOP, str(ledger))], rounds)
    figures = {
        "plan of the new job": plan.words,
        "run of the done job": run.words,
        "json.loads of its ledger": loop.words,
        "processor time a task": f"{run.cpu / tasks * 1e6:.0f} µs",
    }
    seconds = plan.wall + 12 * tasks / 1_000_000 + 0.5
    good = run.wall <= seconds and run.memory <= 300e6
    return Row(case, figures, f"at most {seconds:.1f} s and 300 MB", good, _numbers(plan, run, loop))


def _numbers(plan: Cost, run: Cost, loop: Cost) -> Mapping[str, Mapping[str, float]]:
    costs = {"plan of the new job": plan, "Retouch": run, "json.loads of its ledger": loop}
    return {
        "seconds": {name: cost.wall for name, cost in costs.items()},
        "peak memory, MB": {name: cost.memory / 1e6 for name, cost in costs.items()},
    }


CASES: Mapping[str, Case] = {
    "10k": partial(resumed, "10k", 100, 100),
    "100k": partial(resumed, "100k", 1_000, 100),
    "1m": partial(resumed, "1m", 10_000, 100),
}
