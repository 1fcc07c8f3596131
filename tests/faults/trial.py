"""A small job against a sandbox in a process of its own, to be crashed and run again."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import photo
from tests.faults.forge import PATIENCE, Ended, Forge, Process
from tests.faults.invariants import Line, Seen, Watch, look, sound
from tests.faults.strace import Point, traced

FOREIGN = {"notes.txt": b"mine", ".retouch/parts/foreign.txt": b"mine too", "photos/foreign.png": b"not a picture"}
"""Files that the tool did not make; the last has a name as results have."""


@dataclass(slots=True)
class Trial:
    """A job of `tasks` plain pictures in `folder`, and the invariants that are checked as it goes on."""

    folder: Path
    endpoint: Endpoint
    forge: Forge
    tasks: int = 6
    concurrency: int = 3
    settings: dict[str, Any] = field(default_factory=dict)
    out: Path = field(init=False)
    watch: Watch = field(init=False)

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
        return self.forge.start(
            ["run", "job.yaml", "--json", "--quiet", *options], self.home, self.folder, hold=hold, fsize=fsize
        )

    def run(self, *options: str) -> Ended:
        """A run to its end."""
        return self.start(*options).wait()

    def struck(self, *words: str, options: tuple[str, ...] = (), trace: str = "trace") -> Ended:
        """A run to its end under strace, with these words for it."""
        process = self.start(*options, hold=True)
        with traced(process, self.folder / trace, *words):
            return process.wait()

    def crash(self, point: Point) -> bool:
        """A run that is killed at a point; whether it came to that point."""
        ended = self.struck(point.kill)
        self.settle_server()
        if ended.killed:
            self.watch.crashed(self.seen())
        return ended.killed

    def kill(self, process: Process) -> None:
        """`kill -9` a run, and check what it leaves."""
        process.send(signal.SIGKILL)
        if process.wait().killed:
            self.settle_server()
            self.watch.crashed(self.seen())

    def recover(self) -> Line:
        """Run to the end, check everything, run again, check that nothing happens; the first run's summary."""
        summary = self.run().with_exit(0).summary
        self.settle_server()
        seen = self.seen()
        self.watch.finished(seen, summary)
        again = self.run().with_exit(0).summary
        self.watch.same(seen, self.seen(), again)
        return summary

    def seen(self) -> Seen:
        """Files and bill as they are now."""
        return look(self.out, self.endpoint.bill)

    def lines(self) -> list[Line]:
        """The ledger's whole lines as they are now."""
        return sound(self.ledger.read_bytes()).lines if self.ledger.exists() else []

    def settle_server(self) -> None:
        """Wait until the server is done with what a killed client left."""
        wait_until(lambda: self.endpoint.bill.in_flight == 0)

    def spilled(self) -> list[Path]:
        """The lines of results that wait in the spill folder."""
        return sorted((self.home / "state/retouch").glob("*/*/line"))


def wait_until(holds: Callable[[], bool]) -> None:
    """Poll until something holds. Raises TimeoutError."""
    until = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.002)
