"""`retouch verify` as a process, against folders that were harmed and beside runs that go on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.e2e.command import installed, running, wait_for
from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import Stage, settled

WHITE = "photos/white"


def flip(path: Path, at: int) -> None:
    """Another bit at an offset, as a bad disk leaves it."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))


def test_harmed_outputs_are_found_set_aside_and_made_again(done: Stage, endpoint: Endpoint) -> None:
    """One flipped, one cut, one deleted, two swapped, one sound: the next run buys three, and takes two back."""
    before = done.pictures()
    flipped, cut, deleted, one, two, sound = sorted(before)
    flip(done.out / flipped, 60)
    os.truncate(done.out / cut, 20)
    (done.out / deleted).unlink()
    (done.out / one).rename(done.out / "aside")
    (done.out / two).rename(done.out / one)
    (done.out / "aside").rename(done.out / two)
    found = done.retouch("verify").ended(7)
    kinds = dict.fromkeys((flipped, cut, one, two), "changed") | {deleted: "missing"}
    assert {fault["path"]: fault["kind"] for fault in found["problems"]} == kinds
    assert (found["outputs"]["total"], found["outputs"]["sound"]) == (6, 1)
    repaired = done.retouch("verify", "--repair").ended(7)
    moved = {fault["path"]: fault["moved"] for fault in repaired["problems"]}
    assert {path for path, where in moved.items() if where and (done.out / where).exists()} == {flipped, cut, one, two}
    summary = done.run().ended(0)
    assert (summary["tasks"]["done"], summary["tasks"]["reused"], summary["tasks"]["skipped"]) == (3, 2, 1)
    assert endpoint.bill.requests == 3
    after = done.pictures()
    assert {path: after[path].sha256 for path in (one, two)} == {path: before[path].sha256 for path in (one, two)}
    assert after[sound] == before[sound]
    assert done.retouch("verify").ended(0)["outputs"]["sound"] == 6


def test_every_line_that_was_harmed_in_the_middle_is_named(done: Stage) -> None:
    """A run refuses at the first. With the bytes put back, which never change their place, all is sound."""
    ledger = done.out / "ledger.jsonl"
    whole = ledger.read_bytes()
    lines = whole.splitlines(keepends=True)
    flip(ledger, len(lines[0]) + 30)
    flip(ledger, sum(map(len, lines[:5])) + 30)
    assert f"the line at byte {len(lines[0])} is damaged" in done.run().ended(7)["error"]
    (report,) = done.retouch("verify", "--repair").ended(7)["ledgers"]
    assert [one["line"] for one in report["damaged"]] == [2, 6]
    with ledger.open("r+b") as file:
        for one in report["damaged"]:
            file.seek(one["offset"])
            file.write(whole[one["offset"] :][: one["bytes"]])
    assert done.retouch("verify").ended(0)["outputs"]["sound"] == 6


def test_no_false_alarm_beside_a_run_that_replaces_every_result(done: Stage, endpoint: Endpoint) -> None:
    """Every look while all results are made anew, twice and more, finds the folder sound; the run is not disturbed."""
    done.photos(24).write()
    assert done.run().ended(0)["exit"] == 0
    endpoint.show("latency=0.02s")
    looks = 0
    with done.running("--redo", "photos/*") as run:
        while run.process.poll() is None:
            found = done.retouch("verify").ended(0)
            looks += 1
            assert found["problems"] == []
        run.process.wait()
    assert run.process.returncode == 0
    assert looks > 1
    found = done.retouch("verify").ended(0)
    assert (found["outputs"]["sound"], found["replaced"]["sound"]) == (48, 48)


def test_repair_beside_a_run_is_exit_8(done: Stage, endpoint: Endpoint) -> None:
    """It names who holds the folder, and moves nothing; without --repair it answers."""
    spoilt = min(done.pictures())
    flip(done.out / spoilt, 60)
    endpoint.show("hang=1")
    with done.running("--redo", "photos/002/*") as run:
        endpoint.seen(1)
        refused = done.retouch("verify", "--repair")
        assert f"is held by pid {run.process.pid} " in refused.ended(8)["error"]
        assert [one["path"] for one in done.retouch("verify").ended(7)["problems"]] == [spoilt]
        run.kill()
    assert done.retouch("verify", "--repair").ended(7)["problems"][0]["moved"]


def test_a_kill_leaves_nothing_that_verify_takes_for_damage(stage: Stage, endpoint: Endpoint) -> None:
    """Results without their names, an unfinished line, attempts without an end: the next run's work, no fault."""
    endpoint.show("latency=0.01s")
    stage.photos(30).write()
    with stage.running() as run:
        wait_for(lambda: stage.out.exists() and len(settled(stage.ledger())) > 10, "some results")
        run.kill()
    found = stage.retouch("verify").ended(0)
    assert found["outputs"]["sound"] + found["outputs"]["waiting"] == found["outputs"]["total"] > 10
    stage.run().ended(0)
    assert stage.retouch("verify").ended(0)["outputs"]["sound"] == 60


def test_ctrl_c_ends_it_soon_with_exit_130(done: Stage) -> None:
    """In the middle of many gigabytes, once the files are read that are being read."""
    replaced = done.out / ".retouch/replaced"
    for number in range(400):
        with (replaced / f"{number:064x}.png").open("wb") as file:
            file.truncate(30_000_000)
    before = sorted(replaced.iterdir())
    command = [str(installed()), "verify", str(done.manifest), "--repair", "--json"]
    with running(command, done.folder, done.home / "verify.log") as process:
        wait_for(lambda: sorted(replaced.iterdir()) != before, "the first file to be moved")
        process.send(signal.SIGINT)
        finished = process.finish()
    assert (finished.code, finished.stderr.strip(), finished.json["exit"]) == (130, "error: interrupted", 130)
