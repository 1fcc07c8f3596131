"""Edits a second and processor time of each, beside a user's own loops and the wire's limit, 32 requests at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import contest
from benchmarks.contest import Client, Ground, Measured, measure
from benchmarks.grounds import ground
from benchmarks.nginx import found, nginx
from benchmarks.pictures import answer
from benchmarks.report import Case, Row, file_system

CONCURRENCY = 32
_ALONE, _TOGETHER = "Retouch", "Retouch, two processes"
CLIENTS: Mapping[str, Client] = {
    "openai SDK": partial(contest.rival, "sdk"),
    "aiohttp loop": partial(contest.rival, "loop"),
    _ALONE: contest.retouch,
    "Retouch, output.check: full": partial(contest.retouch, check="full"),
    _TOGETHER: partial(contest.retouch, processes=2),
    "wrk": contest.wrk,
}


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of an edit's image and of its answer, so many edits, and at least how many times as fast as each client
    Retouch is to be, with as many processes as the machine has cores for."""

    image: int
    answer: int
    edits: int
    goals: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of a client: edits a second between the first request and the last result, those of the whole process,
    milliseconds of processor an edit, and peak memory in bytes."""

    rate: float
    whole: float
    cpu: float
    memory: float


def throughput(case: str, size: Size, rounds: int) -> Row:
    """All clients in each round, one after the other."""
    found("wrk")
    response = answer(size.answer)
    with TemporaryDirectory(prefix="retouch-benchmark-") as name, nginx(response, size.image + 4096) as url:
        one, many = (ground(Path(name, str(edits)), url, size.image, size.answer, edits) for edits in (1, size.edits))
        starts = {name: _start(client, one) for name, client in CLIENTS.items()}
        turns = [
            {name: measure(client, many, many.work(CONCURRENCY)) for name, client in CLIENTS.items()}
            for _ in range(rounds)
        ]
        disk = file_system(Path(name))
    figures = {name: _figures([turn[name] for turn in turns], starts[name]) for name in CLIENTS}
    return _row(case, size, figures, f"{size.edits} edits a round, {rounds} rounds, files on {disk}")


def _start(client: Client, one: Ground) -> Measured | None:
    """What a single edit takes, nearly all of it start-up, the cheaper of two; nothing of wrk, which makes many."""
    if client is contest.wrk:
        return None
    return min((measure(client, one, one.work(CONCURRENCY)) for _ in range(2)), key=lambda taken: taken.cpu)


def _figures(taken: list[Measured], start: Measured | None) -> Figures:
    cpu = [(each.cpu - (start.cpu if start else 0)) / (each.edits - (1 if start else 0)) for each in taken]
    return Figures(
        median(each.edits / each.seconds for each in taken),
        median(each.edits / each.wall for each in taken),
        median(cpu) * 1000,
        median(each.memory for each in taken),
    )


def _row(case: str, size: Size, figures: Mapping[str, Figures], method: str) -> Row:
    rivals = [name for name in figures if not name.startswith("Retouch")]
    alone, together = (
        {name: figures[ours].rate / figures[name].rate for name in rivals} for ours in (_ALONE, _TOGETHER)
    )
    lines = {
        name: f"{each.rate:7.1f} edits/s ({each.whole:.1f} with start and end), "
        f"{each.cpu:.2f} ms of processor an edit, {each.memory / 1e6:.0f} MB"
        for name, each in figures.items()
    }
    ratios = {
        f"{ours} / {name}": f"{ratio:7.2f}"
        for ours, reached in ((_ALONE, alone), (_TOGETHER, together))
        for name, ratio in reached.items()
    }
    return Row(
        f"{case}: images of {size.image / 1e6:g} MB, answers of {size.answer / 1e6:g} MB",
        lines | ratios | {"measured": method},
        ", ".join(_wanted(name, goal, alone[name], together[name]) for name, goal in size.goals.items()) or "nothing",
        all(together[name] >= goal for name, goal in size.goals.items()),
        {
            "edits a second": {name: each.rate for name, each in figures.items()},
            "edits a second with start and end": {name: each.whole for name, each in figures.items()},
            "processor ms an edit": {name: each.cpu for name, each in figures.items()},
            "peak memory, MB": {name: each.memory / 1e6 for name, each in figures.items()},
        },
    )


def _wanted(name: str, goal: float, alone: float, together: float) -> str:
    reached = "by one process" if alone >= goal else "by two" if together >= goal else "by none"
    return f"{goal:g} x {name} ({reached})"


SMALL = Size(3_000, 4_000, 3_000, {"openai SDK": 4, "aiohttp loop": 1.2})
MEDIUM = Size(400_000, 1_400_000, 600, {"openai SDK": 4, "aiohttp loop": 2, "wrk": 0.35})
LARGE = Size(4_000_000, 8_000_000, 100, {})

CASES: Mapping[str, Case] = {
    "small": partial(throughput, "small", SMALL),
    "medium": partial(throughput, "medium", MEDIUM),
    "large": partial(throughput, "large", LARGE),
}
