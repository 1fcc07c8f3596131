"""A ledger cut at any byte, as a crash of the machine may leave it."""

from __future__ import annotations

import random
from pathlib import Path

from pipeline.ledger.replay import replay
from pipeline.ledger.scan import repair
from tests.faults.invariants import sound
from tests.faults.strace import Point
from tests.faults.trial import Trial


def test_every_prefix_of_a_ledger_is_one_after_its_repair(trial: Trial, tmp_path: Path) -> None:
    """Cut anywhere: the whole lines stay and are read, the rest is set aside, and a second repair finds nothing."""
    trial.run().with_exit(0)
    whole = trial.ledger.read_bytes()
    cuts = random.Random(5).sample(range(len(whole)), 150)
    for cut in [0, 1, len(whole) - 1, *cuts]:
        folder = tmp_path / str(cut)
        folder.mkdir()
        ledger = folder / "ledger.jsonl"
        ledger.write_bytes(whole[:cut])
        end = sound(whole[:cut]).end
        torn = repair(ledger, folder / ".retouch/torn")
        assert ledger.read_bytes() == whole[:end]
        assert (torn.saved.read_bytes() if torn else b"") == whole[end:cut]
        assert repair(ledger, folder / ".retouch/torn") is None
        replay(folder).ledgers.close()


def test_a_torn_tail_after_a_crash_is_set_aside_and_the_job_goes_on(trial: Trial, strace: None) -> None:
    """Half a group behind the last durable line: no attempt and no result before it is lost."""
    trial.crash(Point("link", 2))
    last = trial.ledger.read_bytes().split(b"\n")[-2]
    with trial.ledger.open("ab") as ledger:
        ledger.write(last[: len(last) // 2])
    trial.recover()
    assert [path.read_bytes() for path in (trial.out / ".retouch/torn").iterdir()] == [last[: len(last) // 2]]
