"""Real runs against a server that limits, shrinks, cuts or goes away: what they reach by the server's own bill.

Machines are busy and the runs short, so the margins are wide; `python -m benchmarks flow` measures the real figures.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import prepared
from tests.e2e.endpoint import Bill, Endpoint, serving
from tests.e2e.servers import OK, hostile, says, stage_of
from tests.e2e.stage import Stage, settled

PER_MINUTE = 1200
BUCKET = ("--latency", "1s", "--requests-per-minute", str(PER_MINUTE), "--burst", "10")


def job(folder: Path, endpoint: Endpoint, tasks: int, **limits: Any) -> Stage:
    """A job of so many tasks, a multiple of 20, against a server."""
    stage = prepared(folder, endpoint).photos(20)
    stage.job["prompts"] = [{"name": f"p{number}", "text": f"Prompt {number}."} for number in range(tasks // 20)]
    stage.job["limits"] = limits
    return stage.write()


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Endpoint]:
    """A server of its own."""
    place = folder / "server"
    place.mkdir(exist_ok=True)
    with serving(place, *options) as endpoint:
        yield endpoint


def taken_on(bill: Bill, start: int, end: int) -> float:
    """Requests a second that the server took on in a span of whole seconds."""
    seconds = bill.by_second[start:end]
    assert seconds, "the run was over before"
    return sum(second.accepted for second in seconds) / len(seconds)


@pytest.mark.parametrize(
    ("limits", "options", "share", "throttled"),
    [
        ({"requests_per_minute": PER_MINUTE}, (), 0.90, 0.02),
        ({}, ("--no-rate-headers", "--no-retry-after"), 0.60, 0.30),
    ],
    ids=["set", "from 429s alone"],
)
def test_an_allowance_is_used_up(
    tmp_path: Path, limits: dict[str, int], options: tuple[str, ...], share: float, throttled: float
) -> None:
    """After the first two seconds most of 1,200 requests a minute are used, few are throttled, no task fails."""
    with served(tmp_path, *BUCKET, *options) as endpoint:
        summary = job(tmp_path, endpoint, 140, concurrency=64, **limits).run().ended(0)
        bill = endpoint.bill
    assert summary["tasks"]["done"] == bill.billed == 140
    assert taken_on(bill, 2, -1) >= share * PER_MINUTE / 60
    assert bill.throttled <= throttled * bill.requests


def test_throughput_follows_a_capacity_that_falls_and_returns(tmp_path: Path) -> None:
    """16 places, then 4, then 16: the places are in use again some seconds after each change, and nothing fails."""
    with served(tmp_path, "--latency", "0.5s", "--capacity", "16,4@3s,16@8s") as endpoint:
        summary = job(tmp_path, endpoint, 300, concurrency=32).run().ended(0)
        bill = endpoint.bill
    assert summary["tasks"]["done"] == bill.billed == 300
    assert taken_on(bill, 1, 3) >= 0.6 * 16 / 0.5
    assert taken_on(bill, 5, 8) >= 0.6 * 4 / 0.5
    returned = max(taken_on(bill, start, start + 3) for start in range(8, len(bill.by_second) - 3))
    assert returned >= 0.5 * 16 / 0.5
    assert bill.throttled <= 0.2 * bill.requests


def test_a_gateway_that_cuts_stops_the_run_soon(tmp_path: Path) -> None:
    """Even 64 at once cost at most 70 attempts that the server bills, and the hint names the two seconds."""
    with served(tmp_path, "--latency", "3s", "--gateway-cut", "2") as endpoint:
        ended = job(tmp_path, endpoint, 100, concurrency=64).run()
        bill = endpoint.bill
    assert ended.code == 10
    assert "cut after 2 s" in ended.stderr
    assert 50 <= bill.billed <= 70


def test_an_outage_is_survived_by_a_probe(tmp_path: Path) -> None:
    """While the server is gone one task tries; as soon as it is back all go on, no task has failed."""
    with ExitStack() as first:
        endpoint = first.enter_context(served(tmp_path, "--latency", "0.2s"))
        stage = job(tmp_path, endpoint, 40, concurrency=4)
        stage.job["stop_on"] = {"in_doubt": 1.0}
        with stage.write().running() as process:
            endpoint.seen(8)
            first.close()
            process.says("seems to be down")
            time.sleep(1.0)
            port = endpoint.url.rsplit(":", 1)[1].removesuffix("/v1")
            with served(tmp_path, "--port", port):
                ended = process.finish()
    assert ended.ended(0)["tasks"]["done"] == 40
    notes = [ended.stderr.index(words) for words in ("cannot be reached", "seems to be down", "works again")]
    assert notes == sorted(notes)
    lines = settled(stage.ledger())
    probes = [line for line in lines if line["probe"]]
    assert {line["task"] for line in probes} == {probes[0]["task"]}
    assert sum(line["outcome"] == "unsent" for line in lines) <= 20


def test_a_long_retry_after_pauses_all_tasks(tmp_path: Path) -> None:
    """One task is told to come back after 3 s, longer than `max_wait`: nothing at all is sent meanwhile."""
    with hostile(plays={"a": [says(b"{}", "429 Too Many Requests", Retry_After="3"), OK]}) as server:
        stage = stage_of(tmp_path, server.url, list("abcdefgh"), limits={"concurrency": 1})
        ended = stage.run()
    assert ended.ended(0)["tasks"]["done"] == 8
    assert "asks for a pause" in ended.stderr
    told = server.of("a")[0].at
    after = [request.at for request in server.requests if request.at > told]
    assert len(after) >= 1
    assert min(after) - told >= 2.9
