"""Planning a job of which nothing was sent: seconds and memory by its number of tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.cost import costs
from benchmarks.matrices import matrix_job
from benchmarks.processes import RETOUCH
from benchmarks.report import Row


def planned(case: str, images: int, variants: int) -> Row:
    """`retouch plan` of images by variants."""
    with matrix_job(images, variants) as manifest:
        (cost,) = costs([(RETOUCH, "plan", str(manifest))])
    tasks = images * variants
    figures = {"plan": cost.words, "processor time a task": f"{cost.cpu / tasks * 1e6:.0f} µs"}
    seconds = 30 * tasks / 1_000_000 + 0.5
    good = cost.wall <= seconds and cost.memory <= 200e6
    return Row(case, figures, f"at most {seconds:.1f} s and 200 MB", good)


CASES: Mapping[str, Callable[[], Row]] = {
    "10k": partial(planned, "10k", 100, 100),
    "100k": partial(planned, "100k", 1_000, 100),
    "1m": partial(planned, "1m", 10_000, 100),
}
