"""Starting: `--version`, and `validate` and `plan` of a small job, beside a Python that does nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.cost import costs
from benchmarks.matrices import matrix_job
from benchmarks.processes import RETOUCH
from benchmarks.report import Row

_NOTHING = (sys.executable, "-c", "pass")


def version(case: str) -> Row:
    """What `--version` costs, against nothing."""
    nothing, asked = costs([_NOTHING, (RETOUCH, "--version")], rounds=15)
    ratio = asked.wall / nothing.wall
    figures = {"python -c pass": nothing.words, "--version": asked.words, "ratio": f"{ratio:.2f}"}
    return Row(case, figures, "at most 2.5 times python -c pass", ratio <= 2.5)


def small(case: str, verb: str) -> Row:
    """A verb on a job of three images."""
    with matrix_job(3, 1) as manifest:
        nothing, asked = costs([_NOTHING, (RETOUCH, verb, str(manifest))])
    return Row(case, {"python -c pass": nothing.words, verb: asked.words}, "at most 0.5 s", asked.wall <= 0.5)


CASES: Mapping[str, Callable[[], Row]] = {
    "version": partial(version, "version"),
    "validate": partial(small, "validate", "validate"),
    "plan": partial(small, "plan", "plan"),
}
