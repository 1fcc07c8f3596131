"""Stopping a run from outside, and looking at it meanwhile."""

from __future__ import annotations

from signal import SIGHUP, SIGINT, SIGTERM, Signals

import pytest

from tests.e2e.command import wait_for
from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import Stage, settled

FLYING = 3
THREE_ANSWERS_THEN_NONE = "hang=0.5,seed=20"
"""The dice of this seed fall so: the first three requests are answered, the next three are not."""


@pytest.fixture
def slow(stage: Stage, endpoint: Endpoint) -> Stage:
    """A job of twelve tasks, three at once, whose answers take a second and a half."""
    endpoint.show("latency=1.5s")
    stage.job["limits"] = {"concurrency": FLYING}
    return stage.photos(6).write()


@pytest.fixture
def stuck(slow: Stage, endpoint: Endpoint) -> Stage:
    """The same job where nothing is ever answered."""
    endpoint.show("hang=1")
    return slow


def finish(stage: Stage, endpoint: Endpoint) -> None:
    """The next run does all that is left."""
    endpoint.show("")
    tasks = stage.run().ended(0)["tasks"]
    assert tasks["done"] + tasks["skipped"] == tasks["total"] == 12
    assert stage.open_attempts() == 0


@pytest.mark.parametrize(("number", "code"), [(SIGINT, 130), (SIGTERM, 143)])
def test_one_signal_drains(slow: Stage, endpoint: Endpoint, number: Signals, code: int) -> None:
    """SIGINT (exit 130) or SIGTERM (exit 143) once: what is in flight is kept, nothing more is sent, the rest waits."""
    with slow.running() as run:
        endpoint.seen(FLYING)
        run.send(number)
        summary = run.finish().ended(code)
    assert endpoint.bill.requests == FLYING
    assert [line["outcome"] for line in settled(slow.ledger())] == ["succeeded"] * FLYING
    assert summary["tasks"] == dict.fromkeys(summary["tasks"], 0) | {"total": 12, "done": FLYING, "pending": 9}
    assert slow.ledger()[-1]["type"] == "end"
    assert slow.ledger()[-1]["exit"] == code
    finish(slow, endpoint)
    assert endpoint.bill.billed == 12


def test_two_signals_cancel(stuck: Stage, endpoint: Endpoint) -> None:
    """SIGINT twice: what is in flight ends now, in doubt with the code `cancelled`; the run ends in order."""
    with stuck.running() as run:
        endpoint.seen(FLYING)
        run.send(SIGINT)
        run.says("once more cancels")
        run.send(SIGINT)
        summary = run.finish().ended(130)
    assert summary["attempts"]["in_doubt"] == FLYING
    assert summary["tasks"]["pending"] == 12
    ends = settled(stuck.ledger())
    assert [(line["outcome"], line["code"]) for line in ends] == [("in_doubt", "cancelled")] * FLYING
    assert stuck.ledger()[-1]["type"] == "end"
    finish(stuck, endpoint)
    assert endpoint.bill.billed == 12 + FLYING


def test_three_signals_exit_at_once(stuck: Stage, endpoint: Endpoint) -> None:
    """The third signal leaves everything as `kill -9` would; the next run settles it and finishes."""
    with stuck.running() as run:
        endpoint.seen(FLYING)
        run.send(SIGINT)
        run.says("once more cancels")
        run.send(SIGINT, SIGTERM)
        assert run.finish().code in (130, 143)
    assert stuck.ledger()[-1]["type"] != "end"
    finish(stuck, endpoint)
    codes = [line["code"] for line in settled(stuck.ledger()) if line["outcome"] == "in_doubt"]
    assert len(codes) == FLYING
    assert set(codes) <= {"interrupted", "cancelled"}


def test_a_drain_that_takes_longer_than_limits_drain_cancels(stuck: Stage, endpoint: Endpoint) -> None:
    """After `limits.drain` a first SIGTERM becomes a second one by itself."""
    stuck.job["limits"]["drain"] = "1s"
    with stuck.write().running() as run:
        endpoint.seen(FLYING)
        run.send(SIGTERM)
        assert run.finish().ended(143)["attempts"]["in_doubt"] == FLYING
    finish(stuck, endpoint)


def test_a_hang_up_is_survived(slow: Stage, endpoint: Endpoint) -> None:
    """SIGHUP, as a closed terminal sends it, changes nothing."""
    with slow.running() as run:
        endpoint.seen(1)
        run.send(SIGHUP)
        endpoint.show("")
        assert run.finish().ended(0)["tasks"]["done"] == 12


def test_a_running_job_can_be_looked_at(slow: Stage, endpoint: Endpoint) -> None:
    """`status`, `usage` and `plan` answer beside a run, without a lock, and the run is not disturbed."""
    endpoint.show(THREE_ANSWERS_THEN_NONE)
    with slow.running() as run:
        endpoint.seen(3 + FLYING)
        wait_for(lambda: len(settled(slow.ledger())) == 3, "the first results")
        status, usage, plan = (slow.retouch(verb).ended(0) for verb in ("status", "usage", "plan"))
        run.send(SIGINT)
        run.says("once more cancels")
        run.send(SIGINT)
        assert run.finish().ended(130)["tasks"]["done"] == 3
    assert f"pid {run.process.pid}" in status["running"]
    assert (status["tasks"]["done"], status["in_flight"]) == (3, FLYING)
    assert (usage["total"]["images"], usage["total"]["attempts"]["succeeded"]) == (3, 3)
    assert (plan["tasks"]["total"], plan["tasks"]["done"], plan["tasks"]["new"]) == (12, 3, 9)
    assert slow.retouch("status").ended(0)["running"] is None
