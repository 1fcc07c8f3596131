"""The metrics of real runs: what a scrape and a reader of the file see, and what goes wrong without ending a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.request import urlopen

import anyio
import pytest
from anyio import CapacityLimiter
from prometheus_client.parser import text_string_to_metric_families

from pipeline.endpoint.form import Edit
from pipeline.errors import JobError
from pipeline.threads import in_thread
from tests.run.conftest import Bench, refusal

pytestmark = pytest.mark.anyio


def read(text: str) -> dict[str, float]:
    """Samples by name and labels but the job's."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(value for name, value in sorted(sample.labels.items()) if name not in ("job", "endpoint"))
            found[f"{sample.name.removeprefix('retouch_')} {labels}".strip()] = sample.value
    return found


async def test_the_file_tells_how_a_run_ended(bench: Bench) -> None:
    """As the summary does; the time of the last success is that of this run."""
    bench.images("a", "b", "c")
    path = bench.folder / "m.prom"
    summary = await bench.run(metrics_file=str(path))
    found = read(path.read_text())
    assert (found["requests_total succeeded"], found["images_total"], found["tasks done"]) == (3, 3, 3)
    assert found["tokens_total output"] == summary.usage["output_tokens"]
    assert (found["run_running"], found["run_exit_code"], found["tasks_queued"]) == (0, 0, 0)
    assert found["run_last_success_timestamp_seconds"] > found["run_start_timestamp_seconds"]
    assert found[f"run_info {summary.run},0.1.0"] == 1


async def test_a_failed_run_keeps_the_time_of_the_last_success(bench: Bench) -> None:
    """Which the file of the run before it told."""
    bench.images("a")
    path = bench.folder / "m.prom"
    await bench.run(metrics_file=str(path))
    before = read(path.read_text())["run_last_success_timestamp_seconds"]
    bench.images("b")
    bench.say = lambda edit: refusal(400, "moderation_blocked")
    assert (await bench.run(metrics_file=str(path))).exit == 3
    found = read(path.read_text())
    assert (found["run_exit_code"], found["run_last_success_timestamp_seconds"]) == (3, before)
    assert found["requests_total refused"] == 1


async def test_a_scrape_during_a_run(bench: Bench) -> None:
    """Requests in flight and the queue, over HTTP, while the requests wait for it; the file is whole at that time."""
    bench.images(*"abcdef")
    path = bench.folder / "m.prom"
    seen: list[dict[str, float]] = []

    def scrape() -> dict[str, float]:
        url = next(note for note in bench.notes if note.startswith("metrics: ")).removeprefix("metrics: ")
        with urlopen(url) as answer:
            return read(answer.read().decode())

    async def wait(edit: Edit) -> None:
        if len(bench.posts) == 4:
            await anyio.sleep(1.2)  # the next update of what is shown
            seen.append(await in_thread(scrape, CapacityLimiter(1)))
            seen.append(read(path.read_text()))
            opened.set()
        await opened.wait()

    opened = anyio.Event()
    bench.before = wait
    summary = await bench.run(metrics_port=0, metrics_file=str(path))
    assert summary.tasks["done"] == 6
    served, filed = seen
    assert (served["requests_in_flight"], served["tasks_queued"], served["tasks_selected"]) == (4, 2, 6)
    assert served["concurrency_limit"] == 4
    assert (served["run_running"], filed["run_running"]) == (1, 1)
    with pytest.raises(OSError, match="refused"):
        await in_thread(scrape, CapacityLimiter(1))


async def test_a_file_that_cannot_be_written_is_told_once_and_stops_nothing(bench: Bench) -> None:
    """The disk is full, or its folder is gone: the pictures matter more."""
    bench.images("a", "b")
    folder = bench.folder / "metrics"
    folder.mkdir()

    async def remove(edit: Edit) -> None:
        if folder.exists():
            folder.rename(bench.folder / "gone")

    bench.before = remove
    summary = await bench.run(metrics_file=str(folder / "m.prom"))
    assert (summary.exit, summary.tasks["done"]) == (0, 2)
    told = [note for note in bench.notes if "metrics cannot be written" in note]
    assert len(told) == 1
    assert told[0].endswith("No such file or directory; the run goes on")


@pytest.mark.parametrize("flags", [{"metrics_file": "nowhere/m.prom"}, {"metrics_port": 70_000}])
async def test_what_cannot_be_opened_keeps_the_run_from_beginning(bench: Bench, flags: dict[str, Any]) -> None:
    """Nothing was sent, and no folder was made."""
    bench.images("a")
    with pytest.raises(JobError, match="metrics"):
        await bench.run(**flags)
    assert (bench.posts, bench.out.exists()) == ([], False)


async def test_two_runs_at_once_have_their_own_numbers(bench: Bench, tmp_path: Path) -> None:
    """One process may run several jobs."""
    bench.images("a", "b")
    paths = [bench.folder / name for name in ("one.prom", "two.prom")]

    async def one(number: int) -> None:
        job = bench.job(name=f"job{number}", output={"folder": f"out{number}", "spill": "spill"})
        await bench.run(job, metrics_file=str(paths[number]), limit=number + 1)

    async with anyio.create_task_group() as group:
        for number in range(2):
            group.start_soon(one, number)
    assert [read(path.read_text())["images_total"] for path in paths] == [1, 2]
