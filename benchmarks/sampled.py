"""Run `retouch` and watch its threads: `python -m benchmarks.sampled RESULT run job.yaml`.

A thread of its own looks every 2 ms at where each other thread is, and at how much processor time it has had since.
That time goes to the phase of the innermost frame that belongs to one. A thread that waits, for a disk or a lock, adds
to the `threads` of its phase, not to its `cpu`. Work that no Python frame stands for (uvloop's sockets) is the loop's.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from benchmarks.phases import LOOP, phase_of

EVERY = 0.002


class Sampler:
    """What was seen so far."""

    def __init__(self) -> None:
        """Nothing is seen before `watch`."""
        self.cpu: defaultdict[str, float] = defaultdict(float)
        self.threads: defaultdict[str, float] = defaultdict(float)
        self.samples = 0
        self._had: dict[int, float] = {}
        self._looked = time.perf_counter()

    def watch(self, ended: threading.Event) -> None:
        """Look until it has ended."""
        while not ended.wait(EVERY):
            self.look(sys._current_frames())

    def look(self, frames: dict[int, FrameType]) -> None:
        """Take down where each thread is, but this one."""
        now = time.perf_counter()
        passed, self._looked = now - self._looked, now
        self.samples += 1
        for ident, frame in frames.items():
            if ident == threading.get_ident():
                continue
            phase = phase_of(_places(frame)) or LOOP
            used = _used(ident)
            self.cpu[phase] += used - self._had.get(ident, 0.0)
            self.threads[phase] += passed
            self._had[ident] = used


def _places(frame: FrameType | None) -> list[str]:
    """`path:function` of a thread's frames, the innermost first."""
    found = []
    while frame is not None:
        found.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")
        frame = frame.f_back
    return found


def _used(ident: int) -> float:
    try:
        return time.clock_gettime(time.pthread_getcpuclockid(ident))
    except OSError:  # the thread has just ended
        return 0.0


def main(path: Path, command: Callable[[], None]) -> None:
    """Run a command, and write what was seen to `path`."""
    sampler, ended = Sampler(), threading.Event()
    sys.setswitchinterval(0.0005)  # the sampler gets its turn soon, and not only where others block
    watcher = threading.Thread(target=sampler.watch, args=(ended,), daemon=True)
    watcher.start()
    try:
        command()
    finally:
        ended.set()
        watcher.join()
        seen = {"samples": sampler.samples, "cpu": dict(sampler.cpu), "threads": dict(sampler.threads)}
        path.write_text(json.dumps(seen))


if __name__ == "__main__":
    target, sys.argv = Path(sys.argv[1]), ["retouch", *sys.argv[2:]]
    from pipeline.cli import main as retouch

    main(target, retouch)
