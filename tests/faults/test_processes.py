"""Several processes, and processes that are stopped for a while."""

from __future__ import annotations

import signal
import time

from tests.faults.invariants import check_attempts, check_pictures
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


def test_of_two_runs_in_one_folder_one_exits_before_any_request(trial: Trial) -> None:
    """Started at the same moment: one does the job, the other exits 8, and nothing is bought twice."""
    trial.endpoint.show("latency=0.2s")
    both = [trial.start(), trial.start()]
    assert sorted(process.wait().code for process in both) == [0, 8]
    trial.recover()
    assert trial.endpoint.bill.billed == trial.tasks


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
