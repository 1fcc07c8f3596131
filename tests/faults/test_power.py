"""Loss of power: whatever each prefix of a recorded run leaves keeps the promises, as it stands and after the next run.

More of the same, and every recovery: `python -m tests.faults.power`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults.power import Counts, Loss, lost_twice, recording
from tests.faults.power_recovery import Recovery
from tests.faults.power_scenes import SCENES, Scene
from tests.faults.power_states import Thoroughness
from tests.faults.strace import require

BOUNDED = Thoroughness(random=3, pieces=1)


@pytest.fixture(scope="module")
def record() -> Iterator[Callable[..., Scene]]:
    """Records a scene by its name."""
    require()
    with recording() as made:
        yield made


@pytest.mark.parametrize("name", SCENES)
def test_a_loss_of_power_breaks_no_promise(record: Callable[..., Scene], name: str) -> None:
    """At every prefix: nothing paid is lost, nothing is bought twice but what was in flight, the job is finished."""
    scene = record(name)
    counts = Loss(scene, BOUNDED).check(Recovery(scene.folder), most=60, again=4)
    assert counts.broken == []
    went_through(counts)


def test_a_second_loss_of_power_during_the_recovery_breaks_no_promise(record: Callable[..., Scene]) -> None:
    """The run after a loss of power is recorded, and power is lost at every prefix of it too."""
    total = Counts()
    for again in lost_twice(record("three at once"), 4):
        total += Loss(again, BOUNDED).check(Recovery(again.folder), most=30, again=4)
        assert total.broken == []
    went_through(total)


def went_through(counts: Counts) -> None:
    """There was something to go through: a recording that lost its calls proves nothing."""
    assert counts.calls > 100
    assert counts.prefixes > 20
    assert counts.distinct > 60
    assert counts.recovered >= 30
