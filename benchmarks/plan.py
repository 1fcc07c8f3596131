"""Planning a job of which nothing was sent, and beginning to run it: seconds and memory by its number of tasks."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.cost import costs
from benchmarks.delay import delayed
from benchmarks.matrices import matrix_job
from benchmarks.pictures import answer
from benchmarks.processes import RETOUCH
from benchmarks.report import Case, Row

NEVER = 3600.0


def planned(case: str, images: int, variants: int, rounds: int) -> Row:
    """`retouch plan` of images by variants; `retouch run` of them up to its first request."""
    with delayed(NEVER, answer(4_000)) as url, matrix_job(images, variants, url) as manifest:
        (cost,) = costs([(RETOUCH, "plan", str(manifest))], rounds)
        listed = median(_listed(manifest.parent / "photos") for _ in range(rounds))
        first = _first_request(manifest)
    tasks = images * variants
    figures = {
        "plan": cost.words,
        "processor time a task": f"{cost.cpu / tasks * 1e6:.0f} µs",
        "from the start of a run to its first request": f"{first:.2f} s, once",
        "a bare listing of its photos": f"{listed:.3f} s",
    }
    seconds = 30 * tasks / 1_000_000 + 0.5
    good = cost.wall <= seconds and cost.memory <= 200e6 and first <= 2 + listed
    wanted = f"at most {seconds:.1f} s and 200 MB; the first request 2 s after the photos are listed"
    return Row(case, figures, wanted, good, {"seconds": {"plan": cost.wall, "first request of a run": first}})


def _listed(folder: Path) -> float:
    began = time.perf_counter()
    for _, _, names in os.walk(folder):
        len(names)
    return time.perf_counter() - began


def _first_request(manifest: Path) -> float:
    """Seconds from the start of a run to its ledger's first `sent` line; the run is killed then."""
    surroundings = os.environ | {"BENCHMARK_KEY": "sk-benchmark", "XDG_STATE_HOME": str(manifest.parent / "state")}
    ledger, began = manifest.parent / "out/ledger.jsonl", time.time()
    with subprocess.Popen([RETOUCH, "run", str(manifest), "--quiet"], env=surroundings) as run:
        try:
            while run.poll() is None:
                if ledger.exists() and (sent := _sent(ledger)) is not None:
                    return sent - began
                time.sleep(0.02)
        finally:
            run.kill()
    raise RuntimeError(f"the run ended with {run.returncode} before its first request")


def _sent(ledger: Path) -> float | None:
    """When the first line of a request was written."""
    for line in ledger.read_text().splitlines():
        if '"type":"sent"' in line:
            at = line.partition('"at":"')[2].partition('"')[0]
            return datetime.fromisoformat(at).timestamp()
    return None


CASES: Mapping[str, Case] = {
    "10k": partial(planned, "10k", 100, 100),
    "100k": partial(planned, "100k", 1_000, 100),
    "1m": partial(planned, "1m", 10_000, 100),
}
