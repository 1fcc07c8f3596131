"""In whatever order things happen to a job: its snapshot says what its ledgers say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.ledger import snapshot
from pipeline.ledger.records import Record, Reopened, Reused, Sent, Settled
from pipeline.ledger.replay import Ledgers, replay
from pipeline.ledger.state import State
from pipeline.outcome import Outcome
from tests.model import runs
from tests.model.always import check_world
from tests.model.simulate import simulate
from tests.model.world import View, World


def answers(state: State, records: list[Record]) -> list[Any]:
    """All that a state tells of what stands in these records."""
    about = [line for line in records if isinstance(line, Sent | Settled | Reused | Reopened)]
    tasks, wants = sorted({line.task for line in about}), sorted({line.fingerprint for line in about})
    bases = sorted({line.base for line in records if isinstance(line, Reopened)})
    invalid = [line for line in records if isinstance(line, Settled) and line.outcome is Outcome.INVALID]
    named = {each.path for line in about if isinstance(line, Settled | Reused) for each in line.outputs}
    paths = sorted(named | {path for line in about if isinstance(line, Sent) for path in line.paths})
    histories = [state.history(want) for want in wants]
    return [
        (state.job, state.images, state.images_possible, state.ended, state.last_end, state.done, state.untouched),
        (state.money.total, state.money.days()),
        [(task, state.task(task), state.done_as(task), state.tried(task)) for task in tasks],
        [
            (want, one.mark, *msgspec.structs.astuple(one)[:-2], list(one.sources))
            for want, one in zip(wants, histories, strict=True)
        ],
        [state.generation(base) for base in bases],
        [state.invalid_known(line) for line in invalid],
        [(path, state.knows_path(path)) for path in paths],
        (state.open_sent, sorted(state.without_result)),
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(101, 105))
def test_a_job_s_snapshot_says_what_its_ledgers_say(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run saves what it can, and what the next start makes of that is what it would make of the ledgers."""
    monkeypatch.setattr(snapshot, "WORTH", 0)
    used = 0

    def check(world: World, after: View, *, crashed: bool) -> None:
        nonlocal used
        check_world(world, after, crashed=crashed)
        used += agrees(world.out)

    monkeypatch.setattr(runs, "check_world", check)
    assert simulate(120, seed) == 120
    assert used > 20, "most runs leave a snapshot that the next can use"


def agrees(out: Path) -> bool:
    """Whether a snapshot is of use; what it says must be what the ledgers say."""
    ledgers = Ledgers(out)
    found = snapshot.recall(out / ".retouch", ledgers.paths)
    if found is None:
        return False
    records = [entry.record for entry in ledgers.entries()]
    state, whole = replay(out, recalled=found).state, replay(out).state
    assert answers(state, records) == answers(whole, records)
    return state is found.state
