"""The budget against the ledger: whatever order requests, ends, crashes and shards come in, no cap is passed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.control.budget import Budget
from pipeline.control.refusal import Cap
from pipeline.ledger.places import Where
from pipeline.ledger.records import Record, Sent, Settled
from pipeline.ledger.replay import Ledgers
from pipeline.ledger.state import State
from pipeline.manifest import models
from pipeline.outcome import BILLED, Outcome
from pipeline.run.budget import limits_of, open_budget
from tests.ledger.lines import sent, settled

CONCURRENCY = 64
OUTCOMES = [*[Outcome.SUCCEEDED] * 4, *(one for one in Outcome if one is not Outcome.INVALID)]


@dataclass
class Paid:
    """What one attempt counts for now, by the test's own account."""

    day: str
    run: int
    amount: Decimal
    images: int


@dataclass
class Process:
    """A run that is under way: its budget, its view of the ledgers, and what it has in flight."""

    number: int
    shard: tuple[int, int] | None
    file: int
    budget: Budget
    state: State
    in_flight: list[Sent] = field(default_factory=list)


class World:
    """Ledgers of an output folder, the processes at work on it, and what everything came to."""

    def __init__(self, seed: int, caps: models.Budget, shards: int) -> None:
        self.random = random.Random(seed)
        self.caps = caps
        self.shards = shards
        self.ledgers = Ledgers(Path("nowhere"))
        self.lines: list[tuple[Record, Where]] = []
        self.paid: dict[str, Paid] = {}
        self.running: list[Process] = []
        self.admitted = self.refused = self.runs = 0
        self.date = 1
        self.flag: Decimal | None = None

    @property
    def day(self) -> str:
        return f"2026-{1 + self.date // 28:02}-{1 + self.date % 28:02}"

    def step(self) -> None:
        """One thing happens."""
        deed = self.random.choices(
            [self.open, self.admit, self.end, self.crash, self.close, self.tomorrow], [4, 60, 40, 0.3, 0.5, 1.5]
        )[0]
        deed()

    def open(self) -> None:
        """Some run tries to begin."""
        alone = self.shards == 1 or self.random.random() < 0.1
        self.begin(None if alone else (self.random.randint(1, self.shards), self.shards))

    def begin(self, shard: tuple[int, int] | None) -> None:
        """A run begins, where the lock lets it."""
        held = [process.shard for process in self.running]
        if shard in held or None in held or (shard is None and held):
            return
        path = Path("nowhere") / ("ledger.jsonl" if shard is None else "ledger-{}-of-{}.jsonl".format(*shard))
        self.runs += 1
        process = Process(self.runs, shard, self.ledgers.number(path), Budget(), State())
        for line, where in self.lines:
            process.state.apply(line, where)
        self.recover(process)
        process.budget = open_budget(self.caps, self.flag, process.state.money, self.ledgers, shard)
        self.running.append(process)
        self.check_fold(process)

    def recover(self, process: Process) -> None:
        """Settle what killed runs left: a shard its own, an unsharded run everything."""
        by_place = {where: line for line, where in self.lines}
        for where in process.state.open_sent:
            line = by_place[where]
            if isinstance(line, Sent) and (process.shard is None or where.file == process.file):
                salvaged = self.random.random() < 0.3
                outcome = Outcome.SUCCEEDED if salvaged else Outcome.IN_DOUBT
                self.write(process, settled(line.task, outcome, salvaged=salvaged))

    def write(self, process: Process, line: Sent | Settled) -> None:
        line.run, line.at = f"r{process.number}", f"{self.day}T00:00:00.000Z"
        where = Where(process.file, 100 * len(self.lines), 100)
        self.lines.append((line, where))
        process.state.apply(line, where)

    def admit(self) -> None:
        """Somebody asks to send a request."""
        if not self.running:
            return
        process = self.random.choice(self.running)
        if len(process.in_flight) >= CONCURRENCY:
            return
        worst, images = Decimal(self.random.randint(1, 400)) / 1000, self.random.randint(1, 3)
        if process.budget.reserve(images, worst, self.day) is not None:
            self.refused += 1
            return
        self.admitted += 1
        line = sent(f"t{len(self.lines)}")
        line.estimated_cost, line.paths = worst, [f"p{number}" for number in range(images)]
        self.write(process, line)
        process.in_flight.append(line)
        self.paid[line.task] = Paid(self.day, process.number, worst, images)
        self.check_caps(process)

    def end(self) -> None:
        """A request comes back."""
        busy = [process for process in self.running if process.in_flight]
        if busy:
            process = self.random.choice(busy)
            self.settle(process, process.in_flight.pop(self.random.randrange(len(process.in_flight))))

    def settle(self, process: Process, line: Sent) -> None:
        worst, images = line.estimated_cost, len(line.paths)
        assert worst is not None
        outcome = self.random.choice(OUTCOMES)
        known = outcome is Outcome.SUCCEEDED and self.random.random() < 0.8
        cost = worst * self.random.randint(0, 100) / 100 if known else None
        process.budget.settle(images, worst, line.at[:10], outcome, cost)
        self.write(process, settled(line.task, outcome, cost=cost, n=images))
        paid = self.paid[line.task]
        if outcome not in BILLED:
            paid.amount, paid.images = Decimal(0), 0
        elif cost is not None:
            paid.amount = cost

    def crash(self) -> None:
        """A run is killed; what it had in flight may have been billed."""
        if self.running:
            self.running.pop(self.random.randrange(len(self.running)))

    def close(self) -> None:
        """A run drains and ends; its own account is what its lines come to."""
        if not self.running:
            return
        process = self.running.pop(self.random.randrange(len(self.running)))
        while process.in_flight:
            self.settle(process, process.in_flight.pop())
        run = process.budget.run
        mine = sum((one.amount for one in self.paid.values() if one.run == process.number), Decimal(0))
        assert run.confirmed + run.possible == mine
        assert run.in_flight == 0

    def tomorrow(self) -> None:
        self.date += 1

    def check_caps(self, process: Process) -> None:
        """Everything that was, or may have been, or may yet be billed is within each cap."""
        paid = self.paid.values()

        def within(cap: Decimal | None, amounts: list[Decimal]) -> None:
            assert cap is None or sum(amounts) <= cap

        within(self.caps.max_cost, [one.amount for one in paid])
        within(self.caps.max_cost_per_day, [one.amount for one in paid if one.day == self.day])
        within(self.caps.max_cost_per_month, [one.amount for one in paid if one.day[:7] == self.day[:7]])
        within(self.caps.max_cost_per_run, [one.amount for one in paid if one.run == process.number])
        assert self.caps.max_images is None or sum(one.images for one in paid) <= self.caps.max_images

    def check_fold(self, process: Process) -> None:
        """What a ledger's lines come to is what the test has counted, in all and by day."""
        total = process.state.money.total
        assert total.spent == sum(one.amount for one in self.paid.values())
        assert total.images == sum(one.images for one in self.paid.values())
        for day, account in process.state.money.days().items():
            assert account.spent == sum(one.amount for one in self.paid.values() if one.day == day)


def caps(**limits: str | int) -> models.Budget:
    return models.Budget.model_validate(
        {name: Decimal(limit) if isinstance(limit, str) else limit for name, limit in limits.items()}
    )


@pytest.mark.parametrize("shards", [1, 2, 7])
@pytest.mark.parametrize("seed", range(6))
def test_no_order_of_events_passes_a_cap(seed: int, shards: int) -> None:
    """2,500 events at concurrency 64, with crashes, midnights, shards and unsharded runs among them."""
    world = World(
        seed,
        caps(max_cost="60", max_cost_per_day="9", max_cost_per_month="40", max_cost_per_run="12.5", max_images=900),
        shards,
    )
    for _ in range(2500):
        world.flag = world.random.choice([None, Decimal("1.5")])
        world.step()
    assert world.admitted > 100
    assert world.refused > 20
    assert world.runs > 5


@pytest.mark.parametrize("cap", ["max_cost", "max_cost_per_day", "max_cost_per_month"])
@pytest.mark.parametrize("seed", range(3))
def test_shards_at_once_nearly_fill_a_cap_and_never_pass_it(seed: int, cap: str) -> None:
    """Each alone knows only what it read at its start; what stays unspent is less than one request for each shard."""
    world = World(seed, caps(**{cap: "5"}), shards=5)
    world.date = 3
    for number in range(1, 6):
        world.begin((number, 5))
    for _ in range(2500):
        world.random.choice([world.admit, world.end])()
    assert Decimal(3) < sum(one.amount for one in world.paid.values()) <= 5


@pytest.mark.parametrize("seed", range(4))
def test_shards_and_unsharded_runs_in_turn_never_pass_a_cap(seed: int) -> None:
    """What one kind of run spends is missing to the other, also where a shard had more than its part before."""
    world = World(seed, caps(max_cost="8"), shards=3)
    for _ in range(30):
        world.begin(world.random.choice([None, *[(number, 3) for number in range(1, 4)], (1, 2)]))
        for _ in range(40):
            world.random.choice([world.admit, world.end])()
        world.random.choice([world.crash, world.close])()
    assert Decimal(5) < sum(one.amount for one in world.paid.values()) <= 8


def test_live_and_folded_money_are_the_same() -> None:
    """One run from an empty ledger: its budget and the fold of its lines agree to the last digit, at every step."""
    world = World(11, caps(max_cost="30"), shards=1)
    world.begin(None)
    process = world.running[0]
    for _ in range(2000):
        world.random.choice([world.admit, world.end])()
        run, total = process.budget.run, process.state.money.total
        assert (run.confirmed, run.possible + run.in_flight) == (total.confirmed, total.possible)
        assert (run.unpriced, run.known) == (total.unpriced, total.known or run.known)
    assert world.admitted > 100


def test_every_key_of_the_manifest_is_a_cap() -> None:
    """Each is named as the manifest names it, and the flag is one more; what is not set is none."""
    given: dict[str, str | int] = {
        "max_cost": "1",
        "max_cost_per_month": "2",
        "max_cost_per_day": "3",
        "max_cost_per_run": "4",
        "max_images": 5,
    }
    assert given.keys() == models.Budget.model_fields.keys()
    found = limits_of(caps(**given), Decimal(6))
    assert {str(cap): int(limit) for cap, limit in found.items()} == {
        f"budget.{name}": int(limit) for name, limit in given.items()
    } | {"--max-cost": 6}
    assert limits_of(models.Budget(), None) == {}


def test_a_shard_counts_its_own_ledger_and_shares_the_rest() -> None:
    """Of 10 dollars, 1 spent unsharded and 1 by shards of another number leave 4 for each of two shards."""
    ledgers, state = Ledgers(Path("nowhere")), State()
    amounts = {"": "1", "-1-of-3": "1", "-1-of-2": "3", "-2-of-2": "2"}
    for number, (name, amount) in enumerate(amounts.items()):
        line = sent(f"t{number}")
        line.at, line.estimated_cost = "2026-11-23T00:00:00.000Z", Decimal(amount)
        state.apply(line, Where(ledgers.number(Path(f"nowhere/ledger{name}.jsonl")), 0, 100))

    def left(shard: tuple[int, int] | None) -> Decimal:
        budget = open_budget(caps(max_cost="10"), None, state.money, ledgers, shard)
        refusal = budget.reserve(1, Decimal(100), "2026-11-24")
        assert refusal is not None
        assert refusal.cap is Cap.COST
        return refusal.limit - refusal.spent

    assert [left((1, 2)), left((2, 2)), left(None)] == [1, 2, 3]
    assert Decimal("1.333") < left((2, 3)) < Decimal("1.334")  # a third of what six dollars elsewhere leave of ten
