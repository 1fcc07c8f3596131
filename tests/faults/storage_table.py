"""Storage that refuses one kind of call on one place: `python -m tests.faults.storage_table [--only TEXT] [--most N]`.

For each scenario a run without faults counts its calls. Then each N-th of them fails, once and from there on: the first
with each errno that it can fail with, the others with EIO, with a full disk and by writing less. After each the exit is
the one of `expected`, nothing paid is lost, and runs without the fault finish the job without buying anything again.
What fails is named, with its folder left for a look.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.endpoint import Endpoint, serving
from tests.faults.forge import Ended
from tests.faults.invariants import Line, arrived, open_attempts, settled
from tests.faults.refusals import SHORT, Refusal, RefusingForge, refusing
from tests.faults.trial import Trial

FULL = ("ENOSPC", "EDQUOT")
ERRORS: dict[str, tuple[str, ...]] = {
    "create": ("EIO", *FULL, "EROFS", "EMFILE"),
    "open": ("EIO", "EMFILE"),
    "write": ("EIO", *FULL, "EFBIG", "EROFS", SHORT),
    "sync": ("EIO", *FULL, "EROFS"),
    "link": ("EIO", *FULL, "EROFS", "EPERM", "EMLINK"),
    "rename": ("EIO", *FULL, "EROFS"),
    "unlink": ("EIO", "EROFS"),
    "mkdir": ("EIO", *FULL, "EROFS"),
    "truncate": ("EIO", "EROFS"),
    "fallocate": ("EIO", *FULL, "EFBIG", "EROFS", "EOPNOTSUPP"),
    "stat": ("EIO",),
}
"""What each kind of call can fail with, by its manual page."""

HARMLESS = frozenset({SHORT, "EOPNOTSUPP", "EPERM", "EMLINK"})
"""Answers for which there is another way: the run goes on as ever."""

TASKS = 3


@dataclass(frozen=True, slots=True)
class Scenario:
    """What precedes a faulty run (`prepare`), what it is refused anyway (`also`), its exit without more (`clean`)."""

    name: str
    prepare: Callable[[Trial], None]
    clean: int = 0
    also: tuple[Refusal, ...] = ()
    faults: str = ""
    spare: int = 0
    """Purchases that the scenario itself may make twice."""


def _nothing(trial: Trial) -> None:
    """A new job."""


def _remake(trial: Trial) -> None:
    """A finished job whose prompt has changed: older results make way."""
    trial.run().with_exit(0)
    trial.write(prompts=[{"name": "white", "text": "On grey."}])


def _unpublished(trial: Trial) -> None:
    """A job whose results could not be named, and whose last line is torn."""
    trial.forge.refusals = (Refusal("link", "final name", "EIO"),)  # type: ignore[attr-defined]  # a RefusingForge
    trial.run().with_exit(7)
    with trial.ledger.open("ab") as ledger:
        ledger.write(b'{"type":"sent","schema":1,')


def _spilled(trial: Trial) -> None:
    """A job of which some results wait in the spill folder."""
    trial.forge.refusals = (Refusal("write", "part", "ENOSPC"),)  # type: ignore[attr-defined]  # a RefusingForge
    trial.run().with_exit(7)
    assert trial.spilled()


SCENARIOS = (
    Scenario("plain", _nothing),
    Scenario("remake", _remake),
    Scenario("unusable", _nothing, clean=3, faults="bad-base64=1", spare=TASKS),
    Scenario("spilling", _nothing, clean=7, also=(Refusal("create", "part", "ENOSPC"),)),
    Scenario("unpublished", _unpublished),
    Scenario("taking in", _spilled),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    scenario: Scenario
    refusal: Refusal

    def __str__(self) -> str:
        return f"{self.scenario.name}: {self.refusal}"


USUAL = frozenset({"EIO", "ENOSPC", SHORT})
"""What the second and later calls of a kind fail with: which errno it is was tried at the first."""

DISPENSABLE = frozenset(
    {
        ("write", "lock"),  # who holds it, for the message only
        ("truncate", "lock"),
        ("mkdir", "output folder"),  # it is there
    }
)
"""Calls that a run can do without."""


def expected(case: Case, *, met: bool) -> frozenset[int]:
    """The exits that a run with this fault may have; `met`: whether it came to the call at all."""
    one, clean = case.refusal, case.scenario.clean
    what = (one.call, one.place)
    if not met or one.error in HARMLESS or what in DISPENSABLE:
        return frozenset({clean})
    if what == ("truncate", "ledger"):  # a torn tail has to be cut; space that was held is only given back
        return frozenset({7, clean})
    if what[0] == "sync" and what[1] in ("part", "parts folder") and one.first == one.last:
        return frozenset({7, clean})  # the bytes are written once more, to a new file
    if what == ("stat", "output folder"):
        return frozenset({2, 7})  # the manifest's check is the first to look at it
    return frozenset({7})


def build(folder: Path, endpoint: Endpoint, forge: RefusingForge, scenario: Scenario) -> Trial:
    """The scenario's job, up to its faulty run."""
    endpoint.reset()
    forge.refusals = ()
    trial = Trial(folder, endpoint, forge, tasks=TASKS, concurrency=2, settings={"retries": {"max_attempts": 1}})
    scenario.prepare(trial)
    endpoint.show(scenario.faults)
    return trial


def strike(trial: Trial, case: Case) -> Ended:
    """The faulty run, to the exit that it must have."""
    forge = trial.forge
    assert isinstance(forge, RefusingForge)
    forge.refusals = (*case.scenario.also, case.refusal)
    ended = trial.run()
    forge.refusals = ()
    trial.endpoint.show("")
    met = forge.counted.get((case.refusal.call, case.refusal.place), 0) >= case.refusal.first
    assert ended.code in expected(case, met=met), f"exit {ended.code}: {ended.stderr}"
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


def check(trial: Trial, case: Case, bought: int) -> None:
    """What must hold after the faulty run, and after those that follow it; `bought` results were there before."""
    check_nothing_lost(trial)
    total, spare = bought + TASKS, case.scenario.spare
    failed = sum(line["outcome"] == "unusable" and line["code"] != "storage" for line in settled(trial.lines()))
    trial.watch.allowed += failed + spare
    for what, lost in (("failed", failed), ("held", len(held(trial)))):
        if lost:
            trial.watch.allowed += lost
            trial.run()
            assert trial.endpoint.bill.billed <= total + spare, "a run bought again by itself"
            trial.run("--retry", what)
            total += lost
    trial.recover()
    assert trial.spilled() == []
    assert trial.endpoint.bill.billed <= total + spare, "more was bought than asked for"


def check_nothing_lost(trial: Trial) -> None:
    """Every billed request has its picture on disk or in the spill folder, or a line that says what became of it."""
    seen = trial.seen()
    kept = sum(line["outcome"] in ("succeeded", "unusable") for line in settled(seen.lines)) + len(trial.spilled())
    unread = [sent for sent in open_attempts(seen.lines) if not arrived(sent, seen)]
    waiting = len(open_attempts(seen.lines)) - len(unread)
    assert kept + waiting >= seen.bill.billed - len(unread) * ("bad_base64" in str(seen.lines)), "a result is lost"


def held(trial: Trial) -> list[Line]:
    """The lines of results that could be stored nowhere."""
    return [line for line in settled(trial.lines()) if line["code"] == "storage"]


def cases(folder: Path, endpoint: Endpoint, forge: RefusingForge, scenario: Scenario, most: int) -> Iterator[Case]:
    """Every row of a scenario: the calls are those of its run without more faults."""
    trial = build(folder, endpoint, forge, scenario)
    forge.refusals = scenario.also
    trial.run().with_exit(scenario.clean)
    endpoint.show("")
    for (call, place), count in sorted(forge.counted.items()):
        for number in range(1, min(count, most) + 1):
            for error in ERRORS.get(call, ()):
                if number == 1 or error in USUAL:
                    yield Case(scenario, Refusal(call, place, error, number, number))
                    yield Case(scenario, Refusal(call, place, error, number))


def run_case(folder: Path, endpoint: Endpoint, forge: RefusingForge, case: Case) -> Ended:
    """One row, from its preparation to its last check."""
    trial = build(folder, endpoint, forge, case.scenario)
    bought = TASKS if case.scenario.name == "remake" else 0
    ended = strike(trial, case)
    check(trial, case, bought)
    return ended


def table(folder: Path, only: str, most: int) -> Counter[str]:
    """Run every row whose name holds a text; how many ended how."""
    for name in ("forge", "endpoint"):
        (folder / name).mkdir()
    tally: Counter[str] = Counter()
    with refusing(folder / "forge") as forge, serving(folder / "endpoint") as endpoint:
        for scenario in SCENARIOS:
            for case in [*cases(folder / f"count-{scenario.name}", endpoint, forge, scenario, most)]:
                if only not in str(case):
                    continue
                tally["cases"] += 1
                place = folder / f"case-{tally['cases']}"
                try:
                    ended = run_case(place, endpoint, forge, case)
                except Exception:
                    tally["BROKEN"] += 1
                    print(f"BROKEN {case}: {place}\n{traceback.format_exc()}", flush=True)
                else:
                    tally[f"exit {ended.code}"] += 1
                    print(f"{case}: exit {ended.code}", flush=True)
                    shutil.rmtree(place)
            print(f"# {scenario.name}: {dict(tally)}", flush=True)
    return tally


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--most", type=int, default=1000, help="look at no more than the first N calls of a kind")
    asked = parser.parse_args()
    folder, began = Path(tempfile.mkdtemp(prefix="storage-")), time.monotonic()
    tally = table(folder, asked.only, asked.most)
    print(f"{dict(tally)} in {time.monotonic() - began:.0f} s")
    if tally["BROKEN"]:
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
