"""The state that a run keeps for the next: who writes it, who reads it, and that nothing hangs on it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.ledger import snapshot
from pipeline.ledger.replay import Entry, Ledgers, replay
from pipeline.ledger.snapshot import NAME, recall
from pipeline.run.exits import Exit
from pipeline.run.plan import plan
from pipeline.run.status import status
from tests.run.conftest import Bench

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest ledger is worth a snapshot."""
    monkeypatch.setattr(snapshot, "WORTH", 0)


@pytest.fixture
def read_from(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The offsets at which readings of ledgers begin."""
    starts: list[int] = []
    real = Ledgers.entries_of

    def entries_of(self: Ledgers, file: int, start: int = 0) -> Iterator[Entry]:
        starts.append(start)
        return real(self, file, start)

    monkeypatch.setattr(Ledgers, "entries_of", entries_of)
    return starts


def kept(bench: Bench) -> Path:
    return bench.out / ".retouch" / NAME


async def test_a_run_keeps_its_state_and_the_next_begins_with_it(bench: Bench, read_from: list[int]) -> None:
    """All of the first run's lines, `end` among them, are in the state; the next reads none of them again."""
    bench.images("one", "two", "three")
    await bench.run()
    length = (bench.out / "ledger.jsonl").stat().st_size
    read_from.clear()
    summary = await bench.run()
    assert (summary.tasks["skipped"], bench.posts) == (3, [])
    assert read_from == [length]
    found = recall(bench.out / ".retouch", Ledgers(bench.out).paths)
    assert found is not None
    assert found.length_of(bench.out / "ledger.jsonl") == (bench.out / "ledger.jsonl").stat().st_size
    assert found.state.done == replay(bench.out).state.done == 3


async def test_a_torn_tail_behind_the_kept_state_is_cut(bench: Bench) -> None:
    """The repair looks only behind what is known to be sound, and finds the tail there."""
    bench.images("one")
    await bench.run()
    whole = (bench.out / "ledger.jsonl").read_bytes()
    (bench.out / "ledger.jsonl").write_bytes(whole + b'{"type":"sent"')
    assert (await bench.run()).tasks["skipped"] == 1
    assert (bench.out / "ledger.jsonl").read_bytes().startswith(whole + b'{"type":"run"')
    assert [path.read_bytes() for path in (bench.out / ".retouch/torn").iterdir()] == [b'{"type":"sent"']


async def test_who_only_looks_writes_nothing(bench: Bench) -> None:
    """`plan` and `status` hold no lock; what a run kept stays as it is."""
    bench.images("one")
    await bench.run()
    kept(bench).unlink()
    plan(bench.job())
    assert status(bench.job()).tasks["done"] == 1
    assert not kept(bench).exists()
    await bench.run()
    before = kept(bench).read_bytes()
    assert status(bench.job()).tasks["done"] == 1
    assert kept(bench).read_bytes() == before


async def test_shards_keep_the_state_that_they_began_with(bench: Bench) -> None:
    """A shard's own lines are merged with others' by the next start, so they are not in it."""
    bench.images("one", "two", "three", "four")
    await bench.run(shard=(1, 2))
    first = (bench.out / "ledger-1-of-2.jsonl").stat().st_size
    assert not kept(bench).exists()
    await bench.run(shard=(2, 2))
    found = recall(bench.out / ".retouch", [bench.out / "ledger-1-of-2.jsonl"])
    assert found is not None
    assert found.length_of(bench.out / "ledger-1-of-2.jsonl") == first
    await bench.run()
    summary = await bench.run()
    assert (summary.tasks["skipped"], bench.posts) == (4, [])


async def test_a_full_disk_at_the_end_costs_only_the_kept_state(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends as it would, and says nothing of it."""
    bench.images("one")

    def refuse(fd: int, view: memoryview) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(snapshot, "_write_all", refuse)
    summary = await bench.run()
    assert (summary.exit, bench.notes) == (Exit.DONE, [])
    assert not [path for path in (bench.out / ".retouch").iterdir() if path.name.startswith(NAME)]


@pytest.mark.parametrize("damage", ["cut", "missing", "foreign", "folder"])
async def test_a_kept_state_that_is_spoilt_costs_a_reading_of_the_ledger(bench: Bench, damage: str) -> None:
    """Whatever stands there, the next run does the same."""
    bench.images("one", "two")
    await bench.run()
    data = kept(bench).read_bytes()
    kept(bench).unlink()
    if damage == "folder":
        kept(bench).mkdir()
    elif damage != "missing":
        kept(bench).write_bytes(data[:-40] if damage == "cut" else b"no state" * 500)
    summary = await bench.run()
    assert (summary.exit, summary.tasks["skipped"], bench.posts) == (Exit.DONE, 2, [])


async def test_what_a_killed_run_left_of_it_is_removed(bench: Bench) -> None:
    """Also by a run that keeps none itself."""
    bench.images("one")
    await bench.run()
    left = kept(bench).with_name(f"{NAME}.new")
    left.write_bytes(b"half")
    await bench.run(shard=(1, 2))
    assert not left.exists()


async def test_a_line_that_a_run_wrote_and_did_not_take_in_is_not_hidden(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that lacks a durable line is not kept: a result that was paid for would be bought again."""
    from pipeline.ledger.state import State

    bench.images("one", "two")
    real, taken = State.apply, [0]

    def apply(self: State, record: Any, where: Any) -> None:
        taken[0] += 1
        if taken[0] != 3:
            real(self, record, where)

    monkeypatch.setattr(State, "apply", apply)
    await bench.run()
    assert not kept(bench).exists()
