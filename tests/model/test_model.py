"""In whatever order things happen to a job: nothing paid for is lost, and each run does what was foretold."""

from __future__ import annotations

import pytest

from tests.model.simulate import simulate

STEPS = 260
"""Steps of one simulation; `python -m tests.model --steps N --seed S` takes as many as are wanted."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(1, 9))
def test_all_invariants_hold_after_each_step(seed: int) -> None:
    """Runs, crashes, faults, changes of manifest, inputs and outputs, in all orders, agree with an oracle."""
    assert simulate(STEPS, seed) == STEPS
