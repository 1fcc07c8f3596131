"""Loss of power at every point of recorded runs: `python -m tests.faults.power …`.

For each prefix of the calls that a run made, the states that the disk model allows are built and checked, as they stand
and after the run that follows. Prints how many prefixes, states and recoveries there were, and every promise broken.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from random import Random

from tests.e2e.endpoint import Endpoint, serving
from tests.faults.mutants_forge import MutantForge, forging_mutants
from tests.faults.power_calls import Began, Call, Ended
from tests.faults.power_checks import (
    Account,
    Kind,
    Recovered,
    ViolationError,
    check_at_rest,
    check_bought,
    check_recovered,
    fingerprints,
    results,
    seen_in,
    spilled_in,
)
from tests.faults.power_disk import Disk, Tree
from tests.faults.power_recovery import Recovery
from tests.faults.power_rules import Rules
from tests.faults.power_scenes import KEPT, SCENES, Scene
from tests.faults.power_states import Thoroughness, choices

POST = re.compile(rb"POST \S+/images/edits .*?\r\nIdempotency-Key: *(\S+)\r\n", re.IGNORECASE | re.DOTALL)
DULL = (".lock", "/inputs.cache", "/inputs.cache-journal")
"""Files whose bytes decide nothing: they are lost and kept with others."""

NOBODY = Account((), frozenset())

Frozen = frozenset[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class State:
    """What a loss of power leaves at one moment; `where` is the last call before it.

    `most` requests may be in flight, lost ones of earlier kills included. `plain`: all that was pending is lost, or is
    there.
    """

    tree: Tree
    account: Account
    phase: int
    most: int
    where: str
    plain: bool

    @property
    def frozen(self) -> Frozen:
        """Its files, to be told from others by."""
        return frozenset(self.tree.items())


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that a state broke."""

    kind: Kind
    words: str
    where: str


@dataclass(slots=True)
class Counts:
    """What was gone through, and the promises that were broken."""

    calls: int = 0
    prefixes: int = 0
    states: int = 0
    distinct: int = 0
    recovered: int = 0
    broken: list[Broken] = field(default_factory=list)

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Counts)))

    def __str__(self) -> str:
        return (
            f"{self.calls} calls, {self.prefixes} prefixes, {self.states} states, {self.distinct} distinct, "
            f"{self.recovered} recoveries, {len(self.broken)} broken"
        )


@dataclass(slots=True)
class Loss:
    """Goes through what losses of power during a scene's runs may leave."""

    scene: Scene
    how: Thoroughness
    seed: int = 1
    counts: Counts = field(default_factory=Counts)
    _left: list[str] = field(default_factory=list)
    _known: set[tuple[Frozen, Account]] = field(default_factory=set)

    def states(self) -> Iterator[State]:
        """Every distinct state, in the order of the runs. Raises UnmodelledError where a call has no rule."""
        disk, chance, kills = Disk(), Random(self.seed), self.scene.crashes
        self._left += self.scene.left
        disk.hold(self.scene.before)
        rules = Rules(disk, str(self.scene.folder), KEPT)
        for number, phase in enumerate(self.scene.phases):
            most = self.scene.concurrency * (1 + kills)
            for step in phase.steps:
                if self._take(step, disk, rules):
                    yield from self._new(disk, chance, number, most, str(step.call), disk.crashed({}))
            disk.killed(phase.there)
            kills += phase.code < 0
            if phase.code >= 0:  # what a run told its user is safe, whatever it synced
                yield from self._new(disk, chance, number, most, "the run's end", disk.tree())

    def _take(self, step: Began | Ended, disk: Disk, rules: Rules) -> bool:
        if isinstance(step, Ended):
            return disk.ended(step.call)
        self.counts.calls += 1
        changed = rules.began(step.call)
        leaving = key_of(step.call)
        self._left += [leaving] if leaving else []
        return changed or leaving is not None

    def _new(self, disk: Disk, chance: Random, phase: int, most: int, where: str, known: Tree) -> Iterator[State]:
        self.counts.prefixes += 1
        pending, paths = disk.pending(), disk.paths()
        dull = frozenset(change.inode for change in pending if paths.get(change.inode, "").endswith(DULL))
        account = Account(tuple(self._left), safe_in(known))
        for order, choice in enumerate(choices(pending, dull, chance, self.how)):
            self.counts.states += 1
            state = State(disk.crashed(choice), account, phase, most, where, plain=order < 2)
            if (state.frozen, account) not in self._known:
                self._known.add((state.frozen, account))
                self.counts.distinct += 1
                yield state

    def broken(self, recovery: Recovery, most: int | None = None, again: int = 1) -> Iterator[Broken]:
        """Check every state as it stands, and then at most so many of them after the run that follows.

        Of these every `again`-th is followed by one more run, which must do nothing.
        """
        sound = []
        for state in self.states():
            found = breach(state, partial(check_state, state))
            if found is None:
                sound.append(state)
            else:
                yield found
        asked = fingerprints(seen_in(self.scene.phases[-1].there, NOBODY).lines)
        done: dict[tuple[Frozen, int], Recovered] = {}
        for state in sample(sound, most, Random(self.seed)):
            key = (state.frozen, state.phase)
            if key not in done:
                manifest = self.scene.phases[state.phase].manifest
                done[key] = recovery.after(state.tree, manifest, again=self.counts.recovered % again == 0)
                self.counts.recovered += 1
            found = breach(state, partial(check_rerun, state, done[key], asked))
            if found is not None:
                yield found

    def check(self, recovery: Recovery, most: int | None = None, again: int = 1) -> Counts:
        """Go through it all, and count."""
        self.counts.broken += self.broken(recovery, most, again)
        return self.counts


def lost_twice(scene: Scene, count: int, seed: int = 1) -> Iterator[Scene]:
    """The runs that follow so many of a scene's losses of power, recorded: power may be lost during each again."""
    states = list(Loss(scene, Thoroughness(), seed).states())
    for state in Random(seed).sample(states, min(count, len(states))):
        yield scene.again(state.tree, scene.phases[state.phase].manifest, state.account.left)


def breach(state: State, check: Callable[[], None]) -> Broken | None:
    """The promise that a state breaks, if it does."""
    try:
        check()
    except ViolationError as error:
        return Broken(error.kind, str(error), state.where)
    return None


def key_of(call: Call) -> str | None:
    """The key of the request whose first bytes a call sends."""
    if not call.name.startswith(("write", "send")) or not any(path.startswith("socket:") for path in call.paths):
        return None
    found = POST.search(b"".join(call.strings))
    return found[1].decode() if found else None


def safe_in(tree: Tree) -> frozenset[str]:
    """The results, by fingerprint, that these files keep."""
    return results(seen_in(tree, NOBODY).lines) | {spill.fingerprint for spill in spilled_in(tree)}


def check_state(state: State) -> None:
    """Check a state as it stands. Raises ViolationError."""
    check_at_rest(seen_in(state.tree, state.account), spilled_in(state.tree), state.account)


def check_rerun(state: State, recovered: Recovered, asked: Mapping[str, str]) -> None:
    """Check what the next run made of a state. Raises ViolationError."""
    before = seen_in(state.tree, state.account)
    after = seen_in(recovered.tree, state.account, recovered.posted)
    check_recovered(before, after, recovered)
    check_bought(before, after, state.account, asked, state.most)


def sample(states: Sequence[State], most: int | None, chance: Random) -> list[State]:
    """So many of these states, half of them plain where there are enough."""
    if most is None or len(states) <= most:
        return list(states)
    plain = [state for state in states if state.plain]
    others = [state for state in states if not state.plain]
    first = chance.sample(plain, min(len(plain), most // 2))
    return first + chance.sample(others, min(len(others), most - len(first)))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random", type=int, default=8, help="random choices at each prefix")
    parser.add_argument("--pieces", type=int, default=2, help="places at which a write is torn")
    parser.add_argument("--recoveries", type=int, help="at most so many for each scene; default all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--twice", type=int, default=5, help="so many losses are followed by a second, for each scene")
    parser.add_argument("--scene", choices=SCENES, action="append")
    asked = parser.parse_args()
    how = Thoroughness(asked.random, asked.pieces)
    total = Counts()
    with recording() as record:
        for name in asked.scene or SCENES:
            scene = record(name)
            total += told(name, Loss(scene, how, asked.seed), asked.recoveries)
            for number, again in enumerate(lost_twice(scene, asked.twice, asked.seed), 1):
                total += told(f"{name}, again after loss {number}", Loss(again, how, asked.seed), asked.recoveries)
    print(f"in all: {total}")
    sys.exit(1 if total.broken else 0)


def told(name: str, loss: Loss, most: int | None) -> Counts:
    """Go through a scene and print what was found."""
    began = time.monotonic()
    counts = loss.check(Recovery(loss.scene.folder), most)
    print(f"{name}: {counts}, {time.monotonic() - began:.0f} s", flush=True)
    for one in counts.broken[:5]:
        print(f"  BROKEN {one.words}\n    after {one.where}", flush=True)
    return counts


def memory() -> str | None:
    """A folder in memory, where there is one: a state takes a hundred syncs to check."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@contextmanager
def recording() -> Iterator[Callable[..., Scene]]:
    """Records scenes by name, in a folder that goes when the block ends: see `record`."""
    folder = Path(tempfile.mkdtemp(prefix="power-", dir=memory()))
    for name in ("forge", "endpoint"):
        (folder / name).mkdir()
    try:
        with forging_mutants(folder / "forge") as forge, serving(folder / "endpoint") as endpoint:
            yield partial(record, folder, forge, endpoint)
    finally:
        shutil.rmtree(folder)


def record(folder: Path, forge: MutantForge, endpoint: Endpoint, name: str, *changes: str) -> Scene:
    """Record a scene, its runs changed by what `changes` names, in a folder of its own below `folder`."""
    play = SCENES[name]
    endpoint.reset()
    endpoint.show("latency=0.03s")
    place = folder / "-".join([name, *changes]).replace(" ", "-")
    shutil.rmtree(place, ignore_errors=True)  # of the same scene, recorded before
    scene = Scene(place, forge, endpoint, play.concurrency, changes)
    play.runs(scene)
    return scene


if __name__ == "__main__":
    main()
