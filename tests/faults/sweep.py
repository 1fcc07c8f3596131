"""Every kill point, one after another: `python -m tests.faults.sweep [--scenes TEXT] [--calls write,link] [--jobs 2]`.

For each scene and kind of call N goes from 1 until runs end without reaching their N-th call; each kill is followed by
runs to the end and by every invariant. Then a larger job is killed at random moments, again and again. What fails is
named, with its folder left for a look; tables count the rest, and `--json` keeps each point by itself, a line each.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from tests.e2e.endpoint import serving
from tests.faults.forge import forging
from tests.faults.ground import Ground, Stall, kill_at_random
from tests.faults.scenes import RANDOM, SCENES, Kind, Scene
from tests.faults.strace import CALLS, PLACES, Point
from tests.faults.strokes import strikeable
from tests.faults.tally import BROKEN, KILLED, UNREACHED, Result, tables

GIVE_UP = 2
"""Runs in a row without their N-th call, after which none will come: threads do not share work alike in each run. Where
little is in flight they do."""
HOPELESS = 5
"""Broken points in a row, after which a chain ends."""


@dataclass(frozen=True, slots=True)
class Chain:
    """All points of one kind in one scene."""

    scene: Scene
    kind: Kind


@contextmanager
def stall(folder: Path) -> Iterator[Stall]:
    """Servers that live as long as the block."""
    for name in ("forge", "endpoint"):
        (folder / name).mkdir(parents=True)
    with forging(folder / "forge") as forge, serving(folder / "endpoint") as endpoint:
        yield Stall(folder, endpoint, forge)


def strike_all(ground: Ground, kind: Kind) -> Iterator[Result]:
    """Strike at each point of a kind, each time in the same state."""
    scene, (call, on) = ground.scene, kind
    most = last_before_connecting(ground, kind) if scene.recovery else sys.maxsize
    missed = broken = 0
    for number in range(1, most + 1, scene.stride):
        result = strike(ground, Point(call, number, on))
        yield result
        missed = missed + 1 if result.outcome == UNREACHED else 0
        broken = broken + 1 if result.outcome == BROKEN else 0
        if missed == (GIVE_UP if scene.concurrency > 3 else 1) or broken == HOPELESS:
            break


def last_before_connecting(ground: Ground, kind: Kind) -> int:
    """How often the busiest thread of the scene's run makes calls of a kind before it connects to the endpoint."""
    call, on = kind
    ground.trial.restore(ground.saved)
    ground.trial.struck(f"trace={CALLS[call]},connect", "-yy", options=ground.scene.options)
    place = str(ground.trial.folder / PLACES[on]) if on in PLACES else on
    found = strikeable(ground.trial.folder / "trace", until="connect", on=place)
    return max((one.number for one in found if one.call == call), default=0)


def strike(ground: Ground, point: Point) -> Result:
    """Strike at a point, and run the job to its end."""
    began, scene = time.monotonic(), ground.scene
    struck, outcome = "", UNREACHED
    try:
        if stroke := ground.strike(point)[0]:
            struck, outcome = stroke.about, KILLED
    except Exception:
        outcome = BROKEN
        kept = ground.trial.folder.with_name(f"broken-{point}")
        shutil.copytree(ground.trial.folder, kept, symlinks=True)
        print(f"BROKEN: {scene.name}, {point}: {kept}\n{traceback.format_exc()}", flush=True)
    seconds = round(time.monotonic() - began, 3)
    return Result(scene.name, scene.concurrency, point.call, point.on, point.number, struck, outcome, seconds)


def strike_at_random(place: Stall, kills: int, seed: int) -> Iterator[Result]:
    """Kill runs of a job at random moments until it is done, then of a new one."""
    chance = random.Random(seed)
    done = 0
    while done < kills:
        trial, began = place.trial(RANDOM), time.monotonic()
        try:
            came = kill_at_random(trial, chance, kills - done)
            outcomes = [KILLED] * came
        except Exception:
            came, outcomes = 1, [BROKEN]
            print(f"BROKEN: {RANDOM.name}, seed {seed}: {trial.folder}\n{traceback.format_exc()}", flush=True)
        seconds = round((time.monotonic() - began) / max(came, 1), 3)
        for number, outcome in enumerate(outcomes, start=done + 1):
            yield Result(RANDOM.name, RANDOM.concurrency, "at random", "", number, "any moment", outcome, seconds)
        done += came


@dataclass(slots=True)
class Sweep:
    """What is to be done, shared by workers, and what came of it."""

    chains: deque[Chain]
    random: deque[tuple[int, int]]
    """Numbers of random kills, each with its seed."""
    results: list[Result] = field(default_factory=list)
    made: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """What each scene's run calls, about what."""
    failed: list[str] = field(default_factory=list)
    kept: IO[bytes] | None = None

    def work(self, folder: Path) -> None:
        """Take chains until none is left."""
        try:
            with stall(folder) as place:
                self._work(place)
        except Exception:
            self.failed.append(traceback.format_exc())

    def _work(self, place: Stall) -> None:
        while self.chains:
            chain = self.chains.popleft()
            call, on = chain.kind
            self._collect(f"{chain.scene.name}: {call}{on and f' on {on}'}", self._strike_all(place, chain))
        while self.random:
            kills, seed = self.random.popleft()
            self._collect(f"random kills, seed {seed}", strike_at_random(place, kills, seed))

    def _strike_all(self, place: Stall, chain: Chain) -> Iterator[Result]:
        ground = Ground(chain.scene, place.trial(chain.scene))
        if chain.scene.name not in self.made:
            self.made[chain.scene.name] = ground.made()
        yield from strike_all(ground, chain.kind)
        shutil.rmtree(ground.trial.folder)
        shutil.rmtree(ground.saved.folder)

    def _collect(self, name: str, results: Iterator[Result]) -> None:
        began, found = time.monotonic(), []
        try:
            for result in results:
                found.append(result)
                self.results.append(result)
                if self.kept:
                    self.kept.write(msgspec.json.encode(asdict(result)) + b"\n")
        except Exception:
            self.failed.append(f"{name}\n{traceback.format_exc()}")
        killed = [result for result in found if result.outcome != UNREACHED]
        highest = max((result.number for result in killed), default=0)
        broken = sum(result.outcome == BROKEN for result in found)
        seconds = time.monotonic() - began
        print(f"{name}: {len(killed)} kills, up to N = {highest}, {broken} broken, {seconds:.0f} s", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", default="", help="scenes whose name holds this text; 'none' for random kills alone")
    parser.add_argument("--calls", default=",".join(CALLS), help="kinds of calls")
    parser.add_argument("--concurrency", default="1,2,3,8,32", help="scenes with so many requests at once")
    parser.add_argument("--random", type=int, default=200, help="how many random kills")
    parser.add_argument("--seed", type=int, default=32)
    parser.add_argument("--jobs", type=int, default=1, help="how many workers at once")
    parser.add_argument("--folder", type=Path, help="where to work, instead of a new folder for temporary files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every result there")
    asked = parser.parse_args()
    began, folder = time.monotonic(), asked.folder or Path(tempfile.mkdtemp(prefix="sweep-"))
    calls, at_once = asked.calls.split(","), asked.concurrency.split(",")
    wanted = [one for one in SCENES if asked.scenes in one.name and str(one.concurrency) in at_once]
    chains = [Chain(one, kind) for one in wanted for kind in one.kinds if kind[0] in calls]
    each = -(-asked.random // asked.jobs)
    shares = [(min(each, asked.random - begun), asked.seed + begun) for begun in range(0, asked.random, each or 1)]
    sweep = Sweep(deque(sorted(chains, key=lambda chain: -chain.scene.concurrency)), deque(shares))
    sweep.kept = asked.json and asked.json.open("ab", buffering=0)
    workers = [threading.Thread(target=sweep.work, args=(folder / f"worker-{n}",)) for n in range(asked.jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.monotonic() - began
    print(tables(sweep.results, sweep.made), *sweep.failed, f"{seconds:.0f} s; {folder}", sep="\n")
    if sweep.failed or any(result.outcome == BROKEN for result in sweep.results):
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
