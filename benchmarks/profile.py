"""Where the time of a run goes, by phase: threads are sampled from outside, nothing of it is in the tool."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.contest import Ground, cleared, job, launch
from benchmarks.grounds import ground
from benchmarks.nginx import nginx
from benchmarks.phases import LOOP, WAITING
from benchmarks.pictures import answer
from benchmarks.report import Case, Row
from benchmarks.throughput import CONCURRENCY, MEDIUM, SMALL, Size


def profiled(case: str, size: Size, rounds: int) -> Row:
    """Runs as `throughput` makes them, each watched; milliseconds an edit, the medians."""
    with (
        TemporaryDirectory(prefix="retouch-benchmark-") as name,
        nginx(answer(size.answer), size.image + 4096) as url,
    ):
        laid = ground(Path(name), url, size.image, size.answer, size.edits)
        seen = [_watched(laid) for _ in range(rounds)]
    phases = sorted({phase for each in seen for phase in each["cpu"]} - {WAITING})
    by = {
        kind: {phase: median(each[kind].get(phase, 0.0) for each in seen) / size.edits * 1000 for phase in phases}
        for kind in ("cpu", "threads")
    }
    phases.sort(key=lambda phase: -by["cpu"][phase])
    figures = {
        phase: f"{by['cpu'][phase]:7.3f} ms of processor" + _in_threads(phase, by["threads"][phase]) for phase in phases
    }
    figures |= {
        "all": f"{sum(by['cpu'].values()):7.3f} ms of processor",
        "request, from its first byte to its answer's last": f"{median(each['request'] for each in seen):7.3f} ms",
        "measured": f"{size.edits} edits a round, {rounds} rounds, start-up included; the watching costs some too",
    }
    numbers = {"processor ms an edit": {phase: by["cpu"][phase] for phase in phases}}
    return Row(case, figures, "nothing", True, numbers)


def _in_threads(phase: str, milliseconds: float) -> str:
    """What threads spent, waiting for a disk or a lock too; the loop's own thread is always in the loop or a phase."""
    return "" if phase == LOOP else f", {milliseconds:7.3f} ms of threads' time"


def _watched(laid: Ground) -> dict[str, Any]:
    manifest, result = laid.folder / "job.yaml", laid.folder / "seen.json"
    work = laid.work(CONCURRENCY)
    manifest.write_text(json.dumps(job(laid, work)))
    with cleared(laid):
        command = [sys.executable, "-m", "benchmarks.sampled", str(result), "run", str(manifest), "--json"]
        launch(laid.folder, command)
        lines = map(json.loads, Path(work.folder, "ledger.jsonl").read_bytes().splitlines())
        request = median(line["seconds"] for line in lines if line["type"] == "settled") * 1000
    return {**json.loads(result.read_text()), "request": request}


CASES: Mapping[str, Case] = {
    "small": partial(profiled, "small", SMALL),
    "medium": partial(profiled, "medium", MEDIUM),
}
