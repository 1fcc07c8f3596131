"""Clocks that are set while a run goes on, and waits that are long."""

from __future__ import annotations

import os
import time
from datetime import datetime
from signal import SIGTERM

import pytest

from tests.e2e.command import wait_for
from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import Stage, settled
from tests.faults.clock import fast_clock, wall_clock

HOUR, DAY = 3600, 86400


def ends(stage: Stage) -> list[tuple[str, str | None]]:
    """Outcome and code of each attempt, but for connections that took 30 s of a fast clock on a busy machine."""
    found = [(line["outcome"], line["code"]) for line in settled(stage.ledger())]
    return [end for end in found if end != ("unsent", "connect_timeout")]


@pytest.mark.parametrize("steps", [(HOUR, -DAY), (-HOUR, DAY)])
def test_a_clock_that_is_set_during_a_run_changes_nothing(
    stage: Stage, endpoint: Endpoint, steps: tuple[int, int]
) -> None:
    """An hour or a day, back and forth: no retry, no expiry, no stall; the summary's seconds are those that passed."""
    stage.job["limits"] = {"concurrency": 2, "timeout": "50s"}
    stage.job["stop_on"] = {"duration": "50m"}
    stage.write()
    clock = wall_clock(stage)
    endpoint.show("latency=0.4s")
    with clock.running() as run:
        for number, step in enumerate(steps, start=1):
            endpoint.seen(2 * number)
            clock.set(f"{step:+d}")
        tasks = run.finish().ended(0)
    assert tasks["attempts"]["succeeded"] == tasks["tasks"]["done"] == endpoint.bill.billed == 6
    assert 1 < tasks["seconds"] < HOUR / 2
    written = [datetime.fromisoformat(line["at"]) for line in stage.ledger()]
    assert (max(written) - min(written)).total_seconds() > HOUR, "the clock was not set"
    again = stage.run().ended(0)
    assert (again["tasks"]["skipped"], endpoint.bill.billed) == (6, 6)


def test_a_clock_that_is_set_during_a_pause_neither_ends_nor_prolongs_it(stage: Stage, endpoint: Endpoint) -> None:
    """A Retry-After of 2 s takes 2 s, though a day passes and more than a day is taken back meanwhile."""
    stage.job["retries"] = {"max_wait": "1s"}
    stage.job["limits"] = {"concurrency": 2}
    stage.write()
    clock = wall_clock(stage)
    endpoint.show("rate=1,retry-after=2")
    with clock.running() as run:
        run.says("asks for a pause")
        endpoint.show("")
        seen, began = endpoint.bill.requests, time.monotonic()
        clock.set(f"{DAY:+d}")
        time.sleep(0.5)
        clock.set(f"{-HOUR:+d}")
        wait_for(lambda: endpoint.bill.requests > seen, "the end of the pause")
        assert 1 < time.monotonic() - began < 10
        assert run.finish().ended(0)["tasks"]["done"] == 6
    assert endpoint.bill.billed == 6


def test_a_file_from_the_future_waits_until_its_time_has_come(stage: Stage, endpoint: Endpoint) -> None:
    """`min_age` and a camera whose clock is ahead: the file waits, is counted, and is done once the clock is there."""
    stage.job["image_sets"][0]["min_age"] = "60s"
    stage.write()
    then = time.time()
    for number, ahead in enumerate((-100, -100, HOUR)):
        os.utime(stage.folder / f"photos/{number:03}.png", (then + ahead, then + ahead))
    assert stage.run().ended(0)["tasks"]["done"] == 4
    assert stage.retouch("status").ended(0)["waiting"] == 1
    clock = wall_clock(stage)
    clock.set(f"{HOUR + 100:+d}")
    with clock.running() as run:
        assert run.finish().ended(0)["tasks"] | {"skipped": 4, "done": 2, "total": 6} == run_counts(done=2, skipped=4)
    assert endpoint.bill.billed == 6


def run_counts(**counts: int) -> dict[str, int]:
    """The `tasks` of a summary, nought where nothing else is said."""
    names = ("total", "done", "skipped", "reused", "failed", "held", "invalid", "pending")
    return dict.fromkeys(names, 0) | counts | {"total": sum(counts.values())}


@pytest.mark.parametrize(("asked", "pace"), [("300", 300), ("3600", 1200)])
def test_a_long_retry_after_is_waited_for(stage: Stage, endpoint: Endpoint, asked: str, pace: int) -> None:
    """Five minutes, one hour: admission pauses for as long, then the job is done."""
    stage.job["limits"] = {"concurrency": 2, "timeout": "2h"}
    stage.write()
    endpoint.show(f"rate=1,retry-after={asked}")
    with fast_clock(stage, pace).running() as run:
        run.says("asks for a pause")
        endpoint.show("")
        summary = run.finish().ended(0)
    assert summary["tasks"] == run_counts(done=6)
    assert float(asked) <= summary["seconds"] < 3 * float(asked) + 30 * pace
    assert 1 <= summary["attempts"]["throttled"] <= 2
    assert endpoint.bill.billed == 6


def test_a_retry_after_of_more_than_an_hour_ends_the_run(stage: Stage, endpoint: Endpoint) -> None:
    """Exit 4 at once; nothing is lost."""
    endpoint.show("rate=1,retry-after=3601")
    summary = stage.run().ended(4)
    assert summary["tasks"] == run_counts(pending=6)
    assert summary["seconds"] < 600


def test_ten_minutes_of_nothing_but_throttling_end_the_run(stage: Stage, endpoint: Endpoint) -> None:
    """Exit 4 after ten minutes and not much later; no task failed, and a rerun does the job."""
    stage.job["retries"] = {"max_wait": "30s"}
    stage.write()
    endpoint.show("rate=1,retry-after=none")
    with fast_clock(stage, 200).running() as run:
        summary = run.finish().ended(4)
    assert summary["tasks"] == run_counts(pending=6)
    assert 600 <= summary["seconds"] < 1500
    assert set(ends(stage)) == {("throttled", "rate_limit_exceeded")}
    endpoint.show("")
    assert stage.run().ended(0)["tasks"]["done"] == endpoint.bill.billed == 6


def test_long_backoffs_pass(stage: Stage, endpoint: Endpoint) -> None:
    """A minute of throttling is survived: exit 0, each task bought once."""
    endpoint.show("rate=1,retry-after=none")
    with fast_clock(stage, 60).running() as run:
        wait_for(lambda: endpoint.bill.requests > 24, "several tries of each task")
        endpoint.show("")
        summary = run.finish().ended(0)
    assert summary["tasks"] == run_counts(done=6)
    assert summary["attempts"]["throttled"] > 18
    assert endpoint.bill.billed == 6


def test_an_answer_that_never_comes_is_given_up_after_ten_minutes(stage: Stage, endpoint: Endpoint) -> None:
    """The default `limits.timeout`, by the client's clock; then the attempt is in doubt."""
    stage.job["retries"] = {"in_doubt": "hold"}
    stage.write()
    endpoint.show("hang=1")
    with fast_clock(stage, 400).running() as run:
        run.finish().ended(9)
    assert ends(stage) == [("in_doubt", "timeout")] * 6
    assert all(600 <= line["seconds"] < 1500 for line in settled(stage.ledger()) if line["code"] == "timeout")
    endpoint.show("")


def test_stop_on_duration_is_kept(stage: Stage, endpoint: Endpoint) -> None:
    """Ten minutes: exit 11, what was in flight is kept, the rest is pending."""
    stage.job["stop_on"] = {"duration": "10m"}
    stage.job["limits"] = {"concurrency": 1, "timeout": "1h"}
    stage.write()
    endpoint.show("latency=1s")
    with fast_clock(stage, 300).running() as run:
        summary = run.finish().ended(11)
    assert summary["tasks"]["done"] == endpoint.bill.billed == endpoint.bill.requests
    assert 0 < summary["tasks"]["pending"] < 6
    assert 600 <= summary["seconds"] < 3000
    endpoint.show("")
    stage.run().ended(0)
    assert endpoint.bill.billed == 6


def test_limits_drain_is_kept(stage: Stage, endpoint: Endpoint) -> None:
    """Ten minutes after SIGTERM what is still in flight is cancelled: exit 143, in doubt, on the ledger."""
    stage.job["limits"] = {"concurrency": 2, "timeout": "2h"}
    stage.write()
    endpoint.show("hang=1")
    with fast_clock(stage, 400).running() as run:
        endpoint.seen(2)
        run.send(SIGTERM)
        summary = run.finish().ended(143)
    assert ends(stage) == [("in_doubt", "cancelled")] * 2
    assert 600 <= summary["seconds"] < 3000
    endpoint.show("")
