"""Runs that can only be in vain, for as long as it takes to try once."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.command import Finished
from tests.e2e.stage import Stage

PATIENCE = (0.3, 3.0, 30.0)
"""Seconds after which a run gives up; on a busy machine the first end before anything was tried."""


def in_vain(stage: Stage, run: Callable[[], Finished]) -> Finished:
    """A run whose endpoint cannot be reached, at least one attempt of which was made: exit 11."""
    for seconds in PATIENCE:
        stage.job["stop_on"]["duration"] = seconds
        stage.write()
        done = run()
        if done.ended(11)["attempts"]["unsent"]:
            break
    assert done.json["attempts"]["unsent"], done.stderr
    return done
