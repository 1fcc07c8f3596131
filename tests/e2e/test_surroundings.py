"""Odd surroundings: streams that are closed or full, no home, no place to write but the output folder, no parent."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.command import environment, installed, wait_for
from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import Stage, settled

RUN = "{retouch} run {job} --json"


def shell(
    stage: Stage, line: str, *, cwd: Path | None = None, without: tuple[str, ...] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    """A line of shell to its end; `{run}` in it is the run of the job."""
    run = RUN.format(retouch=shlex.quote(str(installed())), job=shlex.quote(str(stage.manifest)))
    named = {name: value for name, value in environment(stage.home).items() if name not in without} | env
    return subprocess.run(
        ["bash", "-c", line.format(run=run)],
        cwd=cwd or stage.folder,
        env=named,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def check_done(stage: Stage, endpoint: Endpoint) -> None:
    """The job is done, each task bought once."""
    assert endpoint.bill.billed == 6
    assert len(stage.pictures()) == 6
    assert stage.open_attempts() == 0
    assert stage.ledger()[-1]["exit"] == 0


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{run} >&-", 0),
        ("{run} 2>&-", 0),
        ("{run} <&-", 0),
        ("{run} <&- >&- 2>&-", 0),
        ("{run} 2>/dev/full", 0),
        ("{run} | head -0; exit ${{PIPESTATUS[0]}}", 0),
        ("{run} 2>&1 | head -0; exit ${{PIPESTATUS[0]}}", 0),
        ("{run} > /dev/full", 7),
        ("{run} > /dev/full 2>&1", 7),
        ("nohup {run} > nohup.txt", 0),
        ("setsid --wait {run}", 0),
        ("ulimit -c 0; {run} & wait $!", 0),
    ],
)
def test_streams_that_are_closed_or_full_cost_no_result(stage: Stage, endpoint: Endpoint, line: str, code: int) -> None:
    """The job is done whoever listens; a full disk under stdout alone is an error, exit 7, as the JSON is not whole."""
    ended = shell(stage, line)
    assert ended.returncode == code, ended.stderr
    check_done(stage, endpoint)


def test_data_that_stdout_cannot_take_is_told(stage: Stage) -> None:
    """A verb that only prints exits 7 as well, with one line that says why; a reader that left early is no error."""
    full = shell(stage, f"{installed()} plan {stage.manifest} > /dev/full")
    assert (full.returncode, full.stderr) == (
        7, "error: stdout cannot be written: No space left on device; what was printed there is not whole\n"
    )  # fmt: skip
    assert shell(stage, f"{installed()} plan {stage.manifest} | head -0; exit ${{{{PIPESTATUS[0]}}}}").returncode == 0


def test_an_error_keeps_its_exit_code_where_stdout_is_full(stage: Stage) -> None:
    """Exit 2 says more than 7."""
    assert shell(stage, f"{installed()} run missing.yaml --json > /dev/full").returncode == 2


def test_without_home_and_temporary_folder_a_run_goes_on(stage: Stage, endpoint: Endpoint) -> None:
    """No HOME, no XDG folder, a TMPDIR that is not there: nothing of them is needed."""
    ended = shell(stage, "{run}", without=("HOME", "XDG_STATE_HOME"), TMPDIR="/nonexistent")
    assert ended.returncode == 0, ended.stderr
    check_done(stage, endpoint)


def test_in_a_folder_where_nothing_can_be_written_a_run_goes_on(stage: Stage, endpoint: Endpoint) -> None:
    """The current folder is not written to."""
    ended = shell(stage, "{run}", cwd=Path("/proc"))
    assert ended.returncode == 0, ended.stderr
    check_done(stage, endpoint)


def test_in_a_folder_that_is_gone_a_run_goes_on(stage: Stage, endpoint: Endpoint, tmp_path: Path) -> None:
    """The current folder may be removed: the job's own paths are taken from where its manifest lies."""
    (tmp_path / "gone").mkdir()
    ended = shell(stage, "rmdir ../gone; {run}", cwd=tmp_path / "gone")
    assert ended.returncode == 0, ended.stderr
    check_done(stage, endpoint)


@pytest.mark.parametrize(("limit", "code"), [("-n 24", 7), ("-n 100", 0), ("-Sn 64", 0)])
def test_a_low_limit_on_open_files_makes_fewer_slots(stage: Stage, endpoint: Endpoint, limit: str, code: int) -> None:
    """EMFILE does not come: requests leave room for what they bring, and where not even one does nothing is sent."""
    endpoint.show("latency=0.2s")
    stage.photos(40).job["limits"] = {"concurrency": 32}
    stage.job["prompts"].pop()
    stage.write()
    ended = shell(stage, f"ulimit {limit}; {{run}}")
    assert ended.returncode == code, ended.stderr
    assert endpoint.bill.billed == (0 if code else 40)
    assert {line["outcome"] for line in settled(stage.ledger())} <= {"succeeded"}
    assert endpoint.bill.max_in_flight <= 12 or limit.startswith("-S")
    assert limit.startswith("-S") != ("may be open" in ended.stderr or "may have 24 files open" in ended.stderr)


def test_a_run_outlives_its_parent(stage: Stage, endpoint: Endpoint) -> None:
    """Whoever started it may die: it goes on, and ends in order."""
    endpoint.show("latency=0.3s")
    assert shell(stage, "{run} > orphan.txt 2>&1 & kill -9 $$").returncode == -signal.SIGKILL
    wait_for(
        lambda: stage.out.exists() and stage.ledger()[-1:] != [] and stage.ledger()[-1]["type"] == "end", "the end"
    )
    check_done(stage, endpoint)


def test_as_the_first_process_of_a_container_a_run_obeys_signals(stage: Stage, endpoint: Endpoint) -> None:
    """As PID 1, which gets no signal that it does not handle: SIGTERM drains it, exit 143."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        words = "a namespace of processes cannot be made here"
        pytest.fail(words) if os.environ.get("RETOUCH_REQUIRE_ALL") == "1" else pytest.skip(words)
    endpoint.show("latency=0.5s")
    stage.job["limits"] = {"concurrency": 2}
    stage.write()
    inside = f"{shlex.quote(str(installed()))} run {shlex.quote(str(stage.manifest))} --json"
    with subprocess.Popen(
        [*unshare, "bash", "-c", f"exec {inside}"],
        cwd=stage.folder,
        env=environment(stage.home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as outer:
        endpoint.seen(2)
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        outer.communicate(timeout=60)
    assert outer.returncode == 143
    assert (endpoint.bill.requests, stage.ledger()[-1]["exit"]) == (2, 143)
    endpoint.show("")
    assert stage.run().ended(0)["tasks"]["skipped"] == 2
    assert endpoint.bill.billed == 6
