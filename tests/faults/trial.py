"""A small job against a sandbox in a process of its own, to be crashed and run again."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.endpoint import Bill, Endpoint, Tokens
from tests.e2e.stage import photo
from tests.faults.forge import PATIENCE, Ended, Forge, Process
from tests.faults.invariants import Line, Seen, look, read_all, sound
from tests.faults.strace import LOOP, Point, traced
from tests.faults.strokes import Stroke, stroke
from tests.faults.watch import Watch

FOREIGN = {"notes.txt": b"mine", ".retouch/parts/foreign.txt": b"mine too", "photos/foreign.png": b"not a picture"}
"""Files that the tool did not make; the last has a name as results have."""

OWN = frozenset({"job.yaml", "photos", "home", "out", "trace"})
"""What may be in a trial's folder."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A trial as it was at one moment: its files, a copy of them in `folder`, what was watched, and the bill."""

    folder: Path
    watch: Watch
    bill: Bill


@dataclass(slots=True)
class Trial:
    """A job of `tasks` plain pictures in `folder`, and the invariants that are checked as it goes on.

    Runs are uvloop's or, without `uvloop`, asyncio's own. `prior` is what earlier bills of this job came to.
    """

    folder: Path
    endpoint: Endpoint
    forge: Forge
    tasks: int = 6
    concurrency: int = 3
    settings: dict[str, Any] = field(default_factory=dict)
    uvloop: bool = True
    prior: Bill | None = None
    out: Path = field(init=False)
    watch: Watch = field(init=False)
    inputs: dict[str, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.out = self.folder / "out"
        self.watch = Watch(self.concurrency, self.tasks, dict(FOREIGN))
        self.home.mkdir(parents=True)
        (self.folder / "photos").mkdir()
        for number in range(self.tasks):
            (self.folder / f"photos/{number:03}.png").write_bytes(photo(number))
        for path, data in FOREIGN.items():
            (self.out / path).parent.mkdir(parents=True, exist_ok=True)
            (self.out / path).write_bytes(data)
        (self.out / "link").symlink_to(self.folder / "photos/000.png")
        self.inputs = read_all(self.folder / "photos")
        self.write()

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def ledger(self) -> Path:
        return self.out / "ledger.jsonl"

    def write(self, **changes: Any) -> None:
        """Write the manifest, with other settings than the trial's own where they are given."""
        job = {
            "version": 1,
            "name": "crash",
            "endpoint": {"base_url": self.endpoint.url, "api_key_env": "E2E_KEY"},
            "request": {"model": "gpt-image-1.5", "size": "1024x1024", "quality": "low"},
            "image_sets": [{"name": "photos", "images": "photos/*.png"}],
            "prompts": [{"name": "white", "text": "On white."}],
            "limits": {"concurrency": self.concurrency},
            "output": {"folder": "out", "path": "{{ set }}/{{ key }}"},
        }
        (self.folder / "job.yaml").write_text(json.dumps(job | self.settings | changes))

    def start(self, *options: str, hold: bool = False, fsize: int | None = None) -> Process:
        """Start a run; a held one waits for its tracer."""
        command = ["run", "job.yaml", "--json", "--quiet", *options]
        return self.forge.start(command, self.home, self.folder, hold=hold, fsize=fsize, uvloop=self.uvloop)

    def run(self, *options: str) -> Ended:
        """A run to its end."""
        return self.start(*options).wait()

    def struck(self, *words: str, options: tuple[str, ...] = (), trace: str = "trace", alone: bool = False) -> Ended:
        """A run to its end under strace, with these words for it; `alone` traces the loop's thread and no other."""
        process = self.start(*options, hold=True)
        with traced(process, self.folder / trace, *words, alone=alone):
            return process.wait()

    def crash(self, point: Point, *words: str, options: tuple[str, ...] = (), clean: int = 0) -> Stroke | None:
        """A run that is killed at a point; what the kill struck, None where the run ended before, with exit `clean`.

        `words` are further ones for strace.
        """
        ended = self.struck(*point.words(self.folder), *words, options=options, alone=point.on == LOOP)
        return self.after(ended, point, clean=clean)

    def after(self, ended: Ended, point: Point, *, clean: int = 0) -> Stroke | None:
        """Check what a run that was to be killed at a point left; what the kill struck."""
        self.settle_server()
        self.check_surroundings()
        if not ended.killed:
            ended.with_exit(clean)
            return None
        struck = stroke(self.folder / "trace", point)
        self.watch.crashed(self.seen(), struck)
        return struck

    def kill(self, process: Process) -> bool:
        """`kill -9` a run, and check what it leaves; whether it still ran."""
        process.send(signal.SIGKILL)
        if killed := process.wait().killed:
            self.settle_server()
            self.watch.crashed(self.seen())
        return killed

    def recover(self, *options: str) -> Line:
        """Run to the end, check everything, run again, check that nothing happens; the first run's summary."""
        summary = self.run(*options).with_exit(0).summary
        self.settle_server()
        seen = self.seen()
        self.watch.finished(seen, summary)
        again = self.run().with_exit(0).summary
        self.watch.same(seen, self.seen(), again)
        return summary

    def seen(self) -> Seen:
        """Files and bill as they are now."""
        return look(self.out, self.bill, self.home)

    def check_surroundings(self) -> None:
        """Fails where something was written to a place that is not the tool's."""
        assert {path.name for path in self.folder.iterdir()} <= OWN, "something was written beside the output folder"
        assert read_all(self.folder / "photos") == self.inputs, "an input was changed"

    @property
    def bill(self) -> Bill:
        """What the server billed for this job."""
        return self.endpoint.bill if self.prior is None else both(self.prior, self.endpoint.bill)

    def lines(self) -> list[Line]:
        """The ledger's whole lines as they are now."""
        return sound(self.ledger.read_bytes()).lines if self.ledger.exists() else []

    def settle_server(self) -> None:
        """Wait until the server is done with what a killed client left."""
        wait_until(lambda: self.endpoint.bill.in_flight == 0)

    def spilled(self) -> list[Path]:
        """The lines of results that wait in the spill folder."""
        return sorted((self.home / "state/retouch").glob("*/*/line"))

    def save(self, folder: Path) -> Saved:
        """Copy everything to a folder that is not there yet."""
        copy(self.folder, folder)
        return Saved(folder, deepcopy(self.watch), self.bill)

    def restore(self, saved: Saved) -> None:
        """Make everything as it was; the endpoint begins a new bill."""
        shutil.rmtree(self.folder)
        copy(saved.folder, self.folder)
        self.watch, self.prior = deepcopy(saved.watch), saved.bill
        self.endpoint.reset()


def copy(source: Path, target: Path) -> None:
    """Copy a folder with its times, modes and hard links, which `shutil` would make into files of their own."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def both(one: Bill, other: Bill) -> Bill:
    """Two bills of one job, the other one the newer."""
    tokens = (getattr(one.usage, name) + getattr(other.usage, name) for name in Tokens.__struct_fields__)
    return Bill(
        requests=one.requests + other.requests,
        billed=one.billed + other.billed,
        images=one.images + other.images,
        usage=Tokens(*tokens),
        statuses=dict(Counter(one.statuses) + Counter(other.statuses)),
        idempotency_keys=dict(Counter(one.idempotency_keys) + Counter(other.idempotency_keys)),
        edits=dict(Counter(one.edits) + Counter(other.edits)),
        in_flight=other.in_flight,
        max_in_flight=max(one.max_in_flight, other.max_in_flight),
    )


def wait_until(holds: Callable[[], bool]) -> None:
    """Poll until something holds. Raises TimeoutError."""
    until = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.002)
