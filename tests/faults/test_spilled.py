"""Spilled results at their edges: whole or not there, taken in however often that is cut short, never thrown away."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.durable import sync_folder
from pipeline.errors import StorageError
from pipeline.outputs.folder import PARTS, OutputFolder
from pipeline.outputs.spill import Spill, SpillPart
from tests.faults.ground import Ground
from tests.faults.invariants import settled
from tests.faults.strace import Point
from tests.faults.trial import Trial

PART = SpillPart("20260101T000000Z-abcdef-0123456789abcdef-1-1.part", b"a whole picture")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[OutputFolder]:
    """An output folder."""
    with OutputFolder(tmp_path / "out") as made:
        yield made


def test_a_spill_that_fails_at_its_last_sync_is_not_there(
    tmp_path: Path, folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is told that a result could not be spilled says so in the ledger: it must not turn up as well."""
    spill = Spill(tmp_path / "spill", folder.root)

    def failing(path: Path) -> None:
        if (path / "line").exists():
            raise OSError(5, "Input/output error")
        sync_folder(path)

    monkeypatch.setattr("pipeline.outputs.spill.sync_folder", failing)
    with pytest.raises(StorageError):
        spill.store(b"line\n", [PART])
    assert spill.waiting() == []


def test_parts_that_two_killed_starts_left_half_written_do_not_block_a_third(
    tmp_path: Path, folder: OutputFolder
) -> None:
    """Half a part under the first name and half a one under the second: the result is taken in all the same."""
    spill = Spill(tmp_path / "spill", folder.root)
    spill.store(b"line\n", [PART])
    parts = folder.root / PARTS
    (parts / PART.name).write_bytes(PART.data[:4])
    (parts / f"{PART.name.removesuffix('.part')}.2.part").write_bytes(PART.data[:9])
    [waiting] = spill.waiting()
    spill.take(waiting, folder)
    assert PART.data in [path.read_bytes() for path in parts.iterdir()]


def test_a_result_that_another_shard_takes_in_meanwhile_is_no_fault(
    tmp_path: Path, folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is listed and then gone is left out."""
    spill = Spill(tmp_path / "spill", folder.root)
    spill.store(b"line\n", [PART])
    [waiting] = spill.waiting()
    spill.done(waiting)
    monkeypatch.setattr(Path, "glob", lambda path, pattern: iter([waiting.folder / "line"]))
    assert spill.waiting() == []


@pytest.mark.parametrize(
    "point",
    [
        Point("write", 2, "ledger"),
        Point("fdatasync", 2, "ledger"),
        Point("open", 3, "parts"),
        Point("link", 2, "parts"),
        Point("unlink", 3),
        Point("unlink", 4),
        Point("fsync", 12),
    ],
    ids=str,
)
def test_a_kill_while_spilled_results_are_taken_in_loses_none(ground: Callable[[str], Ground], point: Point) -> None:
    """At a part of one of three, at its line, its name, and while it leaves the spill folder; it is there once."""
    there = ground("taking in spilled results")
    assert there.strike(point, point)[0]
    assert there.trial.spilled() == []
    assert there.trial.bill.billed == there.trial.tasks


@pytest.mark.parametrize(
    "point", [Point("write", 5), Point("fdatasync", 5), Point("fsync", 8), Point("rename", 1)], ids=str
)
def test_a_kill_while_results_are_spilled_costs_at_most_these(ground: Callable[[str], Ground], point: Point) -> None:
    """A result is in the spill folder whole, or its attempt is in doubt."""
    there = ground("spilling")
    assert any(there.strike(point)[0] for _ in range(4)), "no run came to this point"


def test_a_spilled_result_stays_where_an_older_ledger_was_put_back(trial: Trial) -> None:
    """A ledger restored from before the spill buys again under the same number; the spilled picture is not deleted."""
    trial.endpoint.show("latency=0.3s")
    process = trial.start()
    trial.endpoint.seen(2)
    aside = trial.folder / "aside"
    older = trial.ledger.read_bytes().split(b"\n")[0] + b"\n"
    trial.out.rename(aside)
    process.wait()
    aside.rename(trial.out)
    spilled = trial.spilled()
    assert spilled
    trial.ledger.write_bytes(older)
    trial.run().with_exit(0)
    trial.run().with_exit(0)
    assert trial.spilled() == spilled
    assert len(settled(trial.lines())) == trial.tasks
    assert os.path.getsize(spilled[0]) > 0
