"""Every kill point, one after another: `python -m tests.faults.sweep [--calls write,link] [--recovery] [--most N]`.

For each kind of call N goes from 1 until a run ends without reaching its N-th call. With `--recovery` each kill is
followed by a second at the same call of the run that recovers. What fails is named, with its folder left for a look.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from tests.e2e.endpoint import Endpoint, serving
from tests.faults.forge import Forge, forging
from tests.faults.strace import CALLS, Point
from tests.faults.trial import Trial


def strike(folder: Path, endpoint: Endpoint, forge: Forge, points: list[Point]) -> bool:
    """Crash a new job at each point in turn, run it to its end; whether every point was reached."""
    endpoint.reset()
    endpoint.show("latency=0.03s")
    trial = Trial(folder, endpoint, forge)
    reached = [trial.crash(point) for point in points]
    trial.recover()
    return all(reached)


def sweep(folder: Path, calls: list[str], most: int, *, recovery: bool) -> int:
    """Strike at every N of every kind of call; the number of points that broke something."""
    tried = broken = 0
    (folder / "forge").mkdir()
    (folder / "endpoint").mkdir()
    with forging(folder / "forge") as forge, serving(folder / "endpoint") as endpoint:
        for call in calls:
            for number in range(1, most + 1):
                points = [Point(call, number)] * (2 if recovery else 1)
                place = folder / str(points[0])
                try:
                    reached = strike(place, endpoint, forge, points)
                except Exception:
                    broken += 1
                    reached = True
                    print(f"BROKEN {points}: {place}\n{traceback.format_exc()}", flush=True)
                else:
                    shutil.rmtree(place)
                tried += 1
                if not reached and (recovery is False or number > 3):
                    break
            print(f"{call}: up to {number}; {tried} points in all, {broken} broken", flush=True)
    return broken


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", default=",".join(CALLS))
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--recovery", action="store_true")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sweep-"))
    sys.exit(1 if sweep(folder, asked.calls.split(","), asked.most, recovery=asked.recovery) else 0)


if __name__ == "__main__":
    main()
