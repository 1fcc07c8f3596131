"""Time a task by the number of tasks, each tiny, everything on: photos by a matrix of a hundred prompts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.contest import Measured, from_sent_to_settled, launch
from benchmarks.matrices import matrix_job
from benchmarks.nginx import nginx
from benchmarks.pictures import answer
from benchmarks.processes import RETOUCH
from benchmarks.report import Case, Row

VARIANTS = 100
BASE = 10_000
MOST = 1.15


def grown(case: str, sizes: Sequence[int], most_rounds: int, rounds: int) -> Row:
    """Runs of `sizes` tasks in turn, `BASE` among them; of each the whole wall time but that of a run of one task."""
    rounds = min(rounds, most_rounds)
    with nginx(answer(4_000), 16384) as url, ExitStack() as kept:  # no run pays for files removed before it
        start = min(_run(kept.enter_context(matrix_job(1, 1, url))).wall for _ in range(3))
        turns = [
            {size: _run(kept.enter_context(matrix_job(size // VARIANTS, VARIANTS, url))) for size in sizes}
            for _ in range(rounds)
        ]
    whole = {size: median((turn[size].wall - start) / size for turn in turns) * 1e6 for size in sizes}
    sending = {size: median(turn[size].seconds / size for turn in turns) * 1e6 for size in sizes}
    memory = {size: max(turn[size].memory for turn in turns) / 1e6 for size in sizes}
    ratio = whole[max(sizes)] / whole[BASE]
    figures = {
        f"{size:,} tasks": f"{whole[size]:.0f} µs a task ({sending[size]:.0f} from the first sent to the last settled)"
        f", {memory[size]:.0f} MB"
        for size in sizes
    }
    figures |= {f"{max(sizes):,} / {BASE:,}": f"{ratio:.2f}"}
    figures |= {"measured": f"{rounds} rounds; wall time less {start:.2f} s, which a run of one task takes"}
    numbers = {"µs a task": whole, "µs a task, first sent to last settled": sending, "peak memory, MB": memory}
    named = {measure: {f"{size:,} tasks": value for size, value in of.items()} for measure, of in numbers.items()}
    return Row(case, figures, f"at most {MOST} times the time a task of {BASE:,}", ratio <= MOST, named)


def _run(manifest: Path) -> Measured:
    os.sync()
    taken = launch(manifest.parent, [RETOUCH, "run", str(manifest), "--json"])
    tasks = json.loads(taken.said)["tasks"]
    if tasks["done"] != tasks["total"]:
        raise RuntimeError(f"{tasks['done']} of {tasks['total']} tasks are done: {taken.said}")
    seconds = from_sent_to_settled(manifest.parent / "out")
    return Measured(tasks["done"], seconds, taken.wall, taken.cpu, taken.memory)


CASES: Mapping[str, Case] = {
    "100k": partial(grown, "100k", (1_000, BASE, 100_000), 3),
    "1m": partial(grown, "1m", (BASE, 1_000_000), 1),
}
