"""What is under way when a kill comes: first runs, recoveries from each step of the protocol, and other kinds of runs.

A scene brings a trial to a state, runs it with a kill, and then to its end, with every invariant checked on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.forge import Process
from tests.faults.strace import CALLS, FOCUSED, LOOP, Point, traced
from tests.faults.strokes import Stroke
from tests.faults.trial import Trial, wait_until

SMALLEST = {"request": {"model": "gpt-image-2", "size": "1024x640", "quality": "low"}}
"""The smallest pictures that may be asked for: to decode them is most of what a run does."""

Kind = tuple[str, str]
"""A kind of call, and what it is about (one of PLACES) or "" for anything."""

ALL: tuple[Kind, ...] = (*((call, "") for call in CALLS), *FOCUSED)
SOCKETS: tuple[Kind, ...] = (("send", ""), ("send", LOOP), ("recv", ""))
"""Calls of asyncio's own loop. uvloop writes to and reads from sockets: `write` and `read` carry request and answer."""
PLAIN: tuple[Kind, ...] = tuple(kind for kind in ALL if kind not in SOCKETS)


@dataclass(frozen=True, slots=True)
class Scene:
    """`prepare` comes before the run that is killed; that one has `options` and, for strace, `words`, and exits with
    `clean` where it is not killed. `again` are the options of the run that follows.

    With `recovery` only calls before the first connection count: the run goes on as any other from there. Of a kind's
    calls each `stride`-th is struck.
    """

    name: str
    prepare: Callable[[Trial], None]
    tasks: int = 4
    concurrency: int = 1
    uvloop: bool = True
    kinds: tuple[Kind, ...] = PLAIN
    options: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    clean: int = 0
    again: tuple[str, ...] = ()
    recovery: bool = False
    stride: int = 1
    shards: int = 1
    strike: Callable[[Trial, Scene, Point], Stroke | None] | None = None
    finish: Callable[[Trial], object] | None = None

    @property
    def latency(self) -> str:
        """How the endpoint answers: so that all that may be in flight together is."""
        return "latency=0.01s" if self.concurrency == 1 else "latency=0.03s"

    def attempt(self, trial: Trial, point: Point) -> Stroke | None:
        """The run that is killed at a point; what the kill struck, None where the run ended before."""
        trial.endpoint.show(self.latency)
        if self.strike is not None:
            return self.strike(trial, self, point)
        return trial.crash(point, *self.words, options=self.options, clean=self.clean)

    def end(self, trial: Trial) -> None:
        """Run it to its end."""
        if self.finish is not None:
            self.finish(trial)
        else:
            trial.recover(*self.again)


def new(_: Trial) -> None:
    """Nothing was done yet."""


def all_in_flight(trial: Trial, latency: str = "") -> Process:
    """A run that has as many requests in flight as it may."""
    trial.endpoint.show(latency or ("latency=0.5s" if trial.concurrency < 4 else "latency=3s"))
    process = trial.start()
    wait_until(lambda: trial.endpoint.bill.in_flight == trial.concurrency or process.ended())
    return process


def in_flight(trial: Trial) -> None:
    """Killed with all requests in flight: `sent` lines and nothing else."""
    assert trial.kill(all_in_flight(trial))


def torn(trial: Trial) -> None:
    """The same, and half a line at the ledger's end."""
    in_flight(trial)
    last = trial.ledger.read_bytes().split(b"\n")[-2]
    with trial.ledger.open("ab") as ledger:
        ledger.write(last[: len(last) // 2])


def arrived(trial: Trial) -> None:
    """Killed when a picture was written whole and nothing more."""
    assert trial.crash(Point("fsync", 1, "parts"))


def settled(trial: Trial) -> None:
    """Killed when results have their lines and no names."""
    assert trial.crash(Point("link", 1, "parts"))


def linked(trial: Trial) -> None:
    """Killed when the final names are synced and the parts have theirs still."""
    assert trial.crash(Point("unlink", 1, "parts"))


def spilled(trial: Trial) -> None:
    """Results wait in the spill folder, as the output folder was away."""
    process = all_in_flight(trial, "latency=3s")
    aside = trial.folder / "aside"
    trial.out.rename(aside)
    process.wait().with_exit(7)
    aside.rename(trial.out)
    assert len(trial.spilled()) == trial.concurrency


def finished(trial: Trial) -> None:
    """Everything is done."""
    trial.run().with_exit(0)


def changed(trial: Trial) -> None:
    """Everything is done, and the prompt is another one: older results make way."""
    finished(trial)
    trial.write(prompts=[{"name": "white", "text": "On grey."}])


def renamed(trial: Trial) -> None:
    """Everything is done, and the tasks have other names: results are taken over by copy."""
    finished(trial)
    trial.write(prompts=[{"name": "snow", "text": "On white."}], output={"folder": "out", "path": "snow/{{ key }}"})
    trial.watch.earlier = trial.tasks


def refused(trial: Trial) -> None:
    """Every task failed."""
    trial.endpoint.show("moderation=1")
    trial.run().with_exit(3)


def strike_shard(trial: Trial, _: Scene, point: Point) -> Stroke | None:
    """Two shards at once, one of them killed."""
    first, second = trial.start("--shard", "1/2", hold=True), trial.start("--shard", "2/2")
    with traced(first, trial.folder / "trace", *point.words(trial.folder), alone=point.on == LOOP):
        ended = first.wait()
    second.wait().with_exit(0)
    return trial.after(ended, point)


def finish_shards(trial: Trial) -> None:
    """Both shards again, at once; then the job unsharded, which finds everything done."""
    both = [trial.start("--shard", "1/2"), trial.start("--shard", "2/2")]
    for process in both:
        process.wait().with_exit(0)
    assert trial.recover()["tasks"]["skipped"] == trial.tasks


def strike_while_spilling(trial: Trial, scene: Scene, point: Point) -> Stroke | None:
    """The output folder goes away while requests are in flight, and is back after the kill."""
    trial.endpoint.show("latency=0.3s")
    process = trial.start(hold=True)
    aside = trial.folder / "aside"
    with traced(process, trial.folder / "trace", *point.words(trial.folder)):
        wait_until(lambda: trial.endpoint.bill.requests >= scene.concurrency or process.ended())
        trial.out.rename(aside)
        ended = process.wait()
    aside.rename(trial.out)
    # Where the machine is so slow that every answer came before the last request, nothing was spilled.
    return trial.after(ended, point, clean=ended.code if ended.code == 0 else scene.clean)


RENAMES = ("inject=link,linkat:error=EPERM", f"trace={','.join(CALLS.values())}")
"""A file system without hard links. strace refuses only calls that it traces."""

WRITES: tuple[Kind, ...] = tuple(
    (call, "") for call in ("write", "fdatasync", "fsync", "rename", "unlink", "mkdir", "open")
)

SCENES = (
    Scene("first run", new),
    Scene("first run, asyncio's loop", new, uvloop=False, kinds=ALL),
    Scene("first run without hard links", new, words=RENAMES, kinds=(("rename", ""), ("fsync", ""), ("unlink", ""))),
    Scene("after a kill in flight", in_flight, tasks=3, recovery=True),
    Scene("after a torn tail", torn, tasks=3, recovery=True),
    Scene("after a picture arrived", arrived, tasks=3, recovery=True),
    Scene("after a result was settled", settled, tasks=3),
    Scene("after a name was given", linked, tasks=3),
    Scene("taking in spilled results", spilled, tasks=3, concurrency=3, uvloop=False),
    Scene("spilling", new, tasks=8, concurrency=8, uvloop=False, kinds=WRITES, clean=7, strike=strike_while_spilling),
    Scene("making way", changed, tasks=2),
    Scene("taking over by copy", renamed, tasks=2, uvloop=False),
    Scene("redo", finished, tasks=2, options=("--redo", "*")),
    Scene("retry", refused, 2, uvloop=False, options=("--retry", "failed"), again=("--retry", "failed")),
    Scene(
        "one of two shards",
        new,
        tasks=8,
        concurrency=2,
        kinds=tuple(kind for kind in PLAIN if kind[1] != "ledger"),
        stride=3,
        shards=2,
        strike=strike_shard,
        finish=finish_shards,
    ),
    Scene("first run, 32 at once", new, tasks=36, concurrency=32),
    Scene("first run, 32 at once, asyncio's loop", new, tasks=36, concurrency=32, uvloop=False, kinds=SOCKETS),
    Scene("after a kill in flight, 32 at once", in_flight, tasks=36, concurrency=32, recovery=True),
    Scene("after results were settled, 32 at once", settled, tasks=36, concurrency=32, recovery=True),
    Scene("after names were given, 32 at once", linked, tasks=36, concurrency=32, recovery=True),
    Scene("taking in spilled results, 32 at once", spilled, tasks=32, concurrency=32, recovery=True),
)
"""All that the sweep goes through; one at a time where no number at once is given."""

RANDOM = Scene("random moments, 32 at once", new, tasks=300, concurrency=32)
