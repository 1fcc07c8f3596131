"""2,000 tasks, 512 at once, at a server that answers after 10 s: wall time against the ideal, four times 10 s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import contest
from benchmarks.contest import Client, measure
from benchmarks.delay import delayed
from benchmarks.grounds import ground
from benchmarks.pictures import answer
from benchmarks.report import Case, Row

MOST = 1.03


@dataclass(frozen=True, slots=True)
class Wait:
    """So many tasks, so many at once, each answered after so many seconds."""

    tasks: int
    concurrency: int
    seconds: float

    @property
    def ideal(self) -> float:
        """Seconds that no client can do without."""
        return ceil(self.tasks / self.concurrency) * self.seconds


def latency(case: str, client: Client, wait: Wait, rounds: int) -> Row:
    """One client; its rounds differ little, as nearly all of each is waiting, so that two fifths of them do."""
    with TemporaryDirectory(prefix="retouch-benchmark-") as name, delayed(wait.seconds, answer(4_000)) as url:
        laid = ground(Path(name), url, 3_000, 4_000, wait.tasks)
        taken = [measure(client, laid, laid.work(wait.concurrency)) for _ in range(ceil(rounds * 2 / 5))]
    wall, seconds = (median(values) for values in zip(*((each.wall, each.seconds) for each in taken), strict=True))
    figures = {
        "wall time": f"{wall:.2f} s, {wall / wait.ideal:.3f} times the ideal",
        "from the first request to the last result": f"{seconds:.2f} s, {seconds / wait.ideal:.3f} times the ideal",
        "peak memory": f"{max(each.memory for each in taken) / 1e6:.0f} MB",
        "measured": f"{wait.tasks} tasks, {wait.concurrency} at once, {wait.seconds:g} s each, {len(taken)} rounds",
    }
    numbers = {"wall time / ideal": {case: wall / wait.ideal}, "first to last / ideal": {case: seconds / wait.ideal}}
    ours = client is contest.retouch
    wanted = f"wall time at most {MOST} times the ideal" if ours else "nothing"
    return Row(case, figures, wanted, not ours or wall <= MOST * wait.ideal, numbers)


_WAIT = Wait(2000, 512, 10.0)

CASES: Mapping[str, Case] = {
    "retouch": partial(latency, "Retouch", contest.retouch, _WAIT),
    "loop": partial(latency, "aiohttp loop", partial(contest.rival, "loop"), _WAIT),
    "sdk": partial(latency, "openai SDK", partial(contest.rival, "sdk"), _WAIT),
}
