"""Starting: `--version`, and `validate` and `plan` of a small job, beside a Python that does nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial

from benchmarks.cost import costs
from benchmarks.matrices import matrix_job
from benchmarks.processes import RETOUCH
from benchmarks.report import Case, Row

_NOTHING = (sys.executable, "-c", "pass")


def version(case: str, rounds: int) -> Row:
    """What `--version` costs, against nothing."""
    nothing, asked = costs([_NOTHING, (RETOUCH, "--version")], 3 * rounds)
    ratio = asked.wall / nothing.wall
    seconds = {"seconds": {"python -c pass": nothing.wall, "--version": asked.wall}}
    figures = {"python -c pass": nothing.words, "--version": asked.words, "ratio": f"{ratio:.2f}"}
    return Row(case, figures, "at most 2.5 times python -c pass", ratio <= 2.5, seconds)


def small(case: str, verb: str, rounds: int) -> Row:
    """A verb on a job of three images."""
    with matrix_job(3, 1) as manifest:
        nothing, asked = costs([_NOTHING, (RETOUCH, verb, str(manifest))], rounds)
    figures = {"python -c pass": nothing.words, verb: asked.words}
    seconds = {"seconds": {"python -c pass": nothing.wall, verb: asked.wall}}
    return Row(case, figures, "at most 0.5 s", asked.wall <= 0.5, seconds)


CASES: Mapping[str, Case] = {
    "version": partial(version, "version"),
    "validate": partial(small, "validate", "validate"),
    "plan": partial(small, "plan", "plan"),
}
