"""Several processes, and processes that are stopped for a while."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.e2e.endpoint import Endpoint
from tests.faults.forge import Forge, Process
from tests.faults.invariants import check_attempts, check_pictures, open_attempts, settled
from tests.faults.refusals import Refusal, RefusingForge
from tests.faults.trial import Trial, wait_until


def test_a_run_that_was_stopped_for_a_while_goes_on(trial: Trial) -> None:
    """SIGSTOP for a second, SIGCONT: nothing is bought twice, and there is no stampede."""
    trial.endpoint.show("latency=0.3s")
    process = trial.start()
    trial.endpoint.seen(2)
    process.send(signal.SIGSTOP)
    time.sleep(1)
    process.send(signal.SIGCONT)
    process.wait().with_exit(0)
    trial.recover()
    assert trial.endpoint.bill.billed == trial.tasks


def stop_for(process: Process, seconds: float) -> None:
    """SIGSTOP, and SIGCONT after a while."""
    process.send(signal.SIGSTOP)
    time.sleep(seconds)
    process.send(signal.SIGCONT)


def outcomes(trial: Trial) -> list[str]:
    """How the attempts of a job ended, sorted."""
    return sorted(line["outcome"] for line in settled(trial.lines()))


def test_answers_that_came_while_a_run_was_stopped_for_longer_than_its_timeout_are_kept(trial: Trial) -> None:
    """SIGSTOP for twice `limits.timeout`: what waits in the sockets is read, not thrown away and bought again."""
    trial.write(limits={"concurrency": 3, "timeout": "1s"})
    trial.endpoint.show("latency=0.4s")
    process = trial.start()
    trial.endpoint.seen(2)
    stop_for(process, 2)
    process.wait().with_exit(0)
    assert outcomes(trial) == ["succeeded"] * trial.tasks
    trial.recover()
    assert trial.endpoint.bill.billed == trial.tasks


def test_answers_that_came_while_a_drain_was_stopped_for_longer_than_its_limit_are_kept(trial: Trial) -> None:
    """SIGTERM, then SIGSTOP for longer than `limits.drain`: what came meanwhile is stored, not cancelled."""
    trial.write(limits={"concurrency": 3, "drain": "1s"})
    trial.endpoint.show("latency=0.5s")
    process = trial.start()
    trial.endpoint.seen(3)
    process.send(signal.SIGTERM)
    wait_until(lambda: "stopping" in process.stderr())
    stop_for(process, 2)
    process.wait().with_exit(143)
    assert outcomes(trial) == ["succeeded"] * 3
    trial.endpoint.show("")
    trial.recover()
    assert trial.endpoint.bill.billed == trial.tasks


@pytest.mark.parametrize("wait", ["none", "1"])
def test_waits_that_end_while_a_run_is_stopped_make_no_stampede(trial: Trial, wait: str) -> None:
    """All backoffs or Retry-Afters over at once: no more in flight than the concurrency, and nothing bought twice."""
    trial.endpoint.show(f"rate=1,retry-after={wait}")
    process = trial.start()
    trial.endpoint.seen(trial.tasks)
    stop_for(process, 2.5)
    trial.endpoint.show("latency=0.05s")
    process.wait().with_exit(0)
    assert trial.endpoint.bill.max_in_flight <= trial.concurrency
    assert set(outcomes(trial)) == {"succeeded", "throttled"}
    trial.recover()
    assert trial.endpoint.bill.billed == trial.tasks


def test_of_two_runs_in_one_folder_one_exits_before_any_request(trial: Trial) -> None:
    """Started at the same moment: one does the job, the other exits 8, and nothing is bought twice."""
    trial.endpoint.show("latency=0.2s")
    both = [trial.start(), trial.start()]
    assert sorted(process.wait().code for process in both) == [0, 8]
    trial.recover()
    assert trial.endpoint.bill.billed == trial.tasks


def test_of_two_runs_at_the_very_same_moment_one_proceeds(tmp_path: Path, endpoint: Endpoint, forge: Forge) -> None:
    """Twenty times two processes that wait at the same line: one does the job, the other exits 8, none waits."""
    for number in range(20):
        endpoint.reset()
        endpoint.show("latency=0.5s")
        trial = Trial(tmp_path / str(number), endpoint, forge, tasks=2)
        both = [trial.start(hold=True), trial.start(hold=True)]
        for process in both:
            process.release()
        ended = [process.wait() for process in both]
        assert sorted(one.code for one in ended) == [0, 8], [one.stderr for one in ended]
        assert endpoint.bill.billed == trial.tasks


@pytest.mark.parametrize("number", range(1, 9))
def test_where_no_thread_can_be_started_nothing_paid_is_lost(
    tmp_path: Path, endpoint: Endpoint, refusing_forge: RefusingForge, number: int
) -> None:
    """As at a limit on processes, from the N-th thread on: the run goes on with those that it has, or never begins."""
    trial = Trial(tmp_path / "job", endpoint, refusing_forge)
    refusing_forge.refusals = (Refusal("start", "thread", "EAGAIN", number),)
    ended = trial.run()
    refusing_forge.refusals = ()
    assert ended.code == (0 if endpoint.bill.requests else 1), ended.stderr
    assert open_attempts(trial.lines()) == []
    trial.recover()
    assert endpoint.bill.billed == trial.tasks


def test_a_shard_that_recovers_leaves_a_running_shard_alone(trial: Trial) -> None:
    """Shard 1 killed and run again while shard 2 goes on: neither's parts, attempts or results are touched."""
    trial.endpoint.show("latency=0.4s")
    first, second = trial.start("--shard", "1/2"), trial.start("--shard", "2/2")
    wait_until(lambda: len([line for line in trial.seen().lines if line["type"] == "sent"]) >= 4)
    first.send(signal.SIGKILL)
    lost = first.wait()
    again = trial.start("--shard", "1/2")
    second.wait().with_exit(0)
    again.wait().with_exit(0)
    seen = trial.seen()
    check_attempts(seen.lines)
    check_pictures(seen)
    trial.watch.concurrency, trial.watch.allowed = 6, 3 if lost.killed else 0
    assert trial.recover()["tasks"]["skipped"] == trial.tasks
