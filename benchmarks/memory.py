"""Peak memory: large requests with many pictures in their answers, beside a user's own loops; and many small ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import contest
from benchmarks.contest import Client, Measured, measure
from benchmarks.delay import delayed
from benchmarks.grounds import ground, ground_of_folders
from benchmarks.pictures import answer
from benchmarks.report import Case, Row

MOST = 300e6
FLAT = 1.1
CLIENTS: Mapping[str, Client] = {
    "Retouch": contest.retouch,
    "aiohttp loop": partial(contest.rival, "loop"),
    "openai SDK": partial(contest.rival, "sdk"),
}


@dataclass(frozen=True, slots=True)
class Load:
    """So many requests of so many images of so many bytes, so many at once; `n` pictures of `answer` bytes each."""

    requests: int
    images: int
    image: int
    concurrency: int
    n: int
    answer: int


def large(case: str, load: Load, rounds: int) -> Row:
    """Each client in each round. A peak hardly varies, and a round moves 60 GB: of five rounds one is made."""
    rounds = ceil(rounds / 5)
    with TemporaryDirectory(prefix="retouch-benchmark-") as name, delayed(0, answer(load.answer, load.n)) as url:
        laid = ground_of_folders(Path(name), url, load.image, load.answer, load.requests, load.images)
        turns = [
            {name: measure(client, laid, laid.work(load.concurrency, load.n)) for name, client in CLIENTS.items()}
            for _ in range(rounds)
        ]
    peaks = {name: max(turn[name].memory for turn in turns) for name in CLIENTS}
    figures = {name: f"{peak / 1e6:.0f} MB, {turns[0][name].wall:.1f} s" for name, peak in peaks.items()}
    figures["measured"] = (
        f"{load.requests} requests of {load.images} images of {load.image / 1e6:g} MB, {load.concurrency} at once, "
        f"n={load.n} of {load.answer / 1e6:g} MB each; {rounds} rounds"
    )
    numbers = {"peak memory, MB": {name: peak / 1e6 for name, peak in peaks.items()}}
    return Row(case, figures, f"Retouch at most {MOST / 1e6:.0f} MB", peaks["Retouch"] <= MOST, numbers)


def flat(case: str, few: int, many: int, rounds: int) -> Row:
    """Retouch alone, with ten times as many small tasks as well; the highest peaks of all rounds."""
    taken: dict[int, list[Measured]] = {few: [], many: []}
    with TemporaryDirectory(prefix="retouch-benchmark-") as name, delayed(0, answer(4_000)) as url:
        laid = {tasks: ground(Path(name, str(tasks)), url, 3_000, 4_000, tasks) for tasks in taken}
        for _ in range(ceil(rounds * 3 / 5)):
            for tasks, each in taken.items():
                each.append(measure(contest.retouch, laid[tasks], laid[tasks].work(32)))
    peaks = {f"{tasks:,} tasks": max(one.memory for one in each) / 1e6 for tasks, each in taken.items()}
    least, most = peaks.values()
    figures = {tasks: f"{peak:.0f} MB" for tasks, peak in peaks.items()} | {"ratio": f"{most / least:.2f}"}
    return Row(case, figures, f"at most {FLAT} times the memory", most <= FLAT * least, {"peak memory, MB": peaks})


CASES: Mapping[str, Case] = {
    "large": partial(large, "large", Load(64, 16, 20_000_000, 8, 10, 1_400_000)),
    "flat": partial(flat, "flat", 1_000, 10_000),
}
