"""Every mutant of the write protocol is caught by name: the harness sees which promise it breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults.mutants import MUTANTS
from tests.faults.power import Loss, recording
from tests.faults.power_checks import Kind
from tests.faults.power_recovery import Recovery
from tests.faults.power_scenes import Scene
from tests.faults.power_states import Thoroughness
from tests.faults.strace import require

LITTLE = Thoroughness(random=1, pieces=1)


@pytest.fixture(scope="module")
def record() -> Iterator[Callable[..., Scene]]:
    """Records a scene by its name, with changes put into its runs."""
    require()
    with recording() as made:
        yield made


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(record: Callable[..., Scene], name: str) -> None:
    """The promise that the mutant breaks is reported as broken."""
    mutant = MUTANTS[name]
    assert mutant.kind in kinds(record(mutant.scene, name), until=mutant.kind)


@pytest.mark.parametrize("scene", sorted({mutant.scene for mutant in MUTANTS.values()}))
def test_nothing_is_reported_of_the_protocol_as_it_is(record: Callable[..., Scene], scene: str) -> None:
    """What catches the mutants finds no broken promise in the same scenes without them."""
    assert kinds(record(scene)) == set()


def kinds(scene: Scene, until: Kind | None = None) -> set[Kind]:
    """The promises that a scene breaks; no more is looked for once `until` is among them."""
    found = set()
    for broken in Loss(scene, LITTLE).broken(Recovery(scene.folder, scene.changes), most=60, again=8):
        found.add(broken.kind)
        if broken.kind is until:
            break
    return found
