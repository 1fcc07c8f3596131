"""`plan` and `status`, held against the oracle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pipeline.run.plan import plan
from pipeline.run.status import status
from tests.faults.invariants import settled
from tests.model.chosen import Flags, within
from tests.model.oracle import Oracle, wants
from tests.model.world import View, World
from tests.run.conftest import Bench


def check_foretold(world: World, view: View, flags: Mapping[str, Any]) -> None:
    """`plan` counts what the oracle counts for a run with these flags, and `status` what it counts for the job."""
    job = Bench(world.job).job(**world.wish.parts())
    _check_plan(world, view, plan(job, **flags).tasks, flags)
    found = status(job)
    _check_status(world, view, found.tasks, found.in_flight, found.usage.usage.total_tokens)


def _check_plan(world: World, view: View, plan: Mapping[str, int], flags: Mapping[str, Any]) -> None:
    """`plan` counts what the oracle counts."""
    oracle = Oracle(world.wish, view)
    chosen = Flags(dict(flags))
    fates = [oracle.fate(want) for want in wants(world.wish, view, world.job) if chosen.takes(want)]
    counted = Counter(fate.kind for fate in within(flags.get("limit"), fates))
    told = {kind: number for kind, number in plan.items() if number and kind != "total"}
    if flags.get("limit") is None:
        assert told == counted, f"plan counts {told}, and should {dict(counted)}"
    sends = sum(counted[kind] for kind in ("new", "changed", "missing"))
    assert sum(told.get(kind, 0) for kind in ("new", "changed", "missing")) == sends, "plan sends another number"


def _check_status(world: World, view: View, tasks: Mapping[str, int], in_flight: int, tokens: int) -> None:
    """`status` counts what the oracle counts."""
    oracle = Oracle(world.wish, view)
    fates = [oracle.fate(want) for want in wants(world.wish, view, world.job)]
    counted = Counter(fate.kind if fate.kind in ("done", "failed", "held", "invalid") else "pending" for fate in fates)
    told = {kind: number for kind, number in tasks.items() if number and kind != "total"}
    assert told == counted, f"status counts {told}, and should {dict(counted)}"
    assert in_flight == len(oracle.open_sent())
    assert tokens == sum(line["usage"]["total_tokens"] for line in settled(view.lines) if line["usage"])
