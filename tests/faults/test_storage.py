"""Storage that refuses: the run stops with exit 7, what was paid is kept or told, and is not bought again by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.endpoint import Endpoint
from tests.faults.forge import Ended, Forge
from tests.faults.invariants import Line, arrived, open_attempts, settled
from tests.faults.refusals import Refusal, RefusingForge
from tests.faults.trial import FOREIGN, Trial, wait_until

REFUSED = (0, 7)
"""A fault on something dispensable, such as the input cache, does not stop a run."""


@contextmanager
def tiny(folder: Path, options: str, leave: int) -> Iterator[Path]:
    """A small file system of its own at `folder`, filled up to `leave` bytes by a file that is yielded."""
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        words = "a tmpfs cannot be mounted here"
        pytest.fail(words) if os.environ.get("RETOUCH_REQUIRE_ALL") == "1" else pytest.skip(words)
    try:
        for path, data in FOREIGN.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        room = os.statvfs(folder)
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(room.f_bavail * room.f_bsize - leave))
        yield ballast
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def check_nothing_lost(trial: Trial) -> None:
    """Every billed request has its picture on disk or in the spill folder, or a line that says that it was lost."""
    seen = trial.seen()
    kept = sum(line["outcome"] == "succeeded" for line in settled(seen.lines)) + len(trial.spilled())
    waiting = sum(arrived(sent, seen) for sent in open_attempts(seen.lines))
    assert kept + waiting + len(held(trial)) >= seen.bill.billed


def held(trial: Trial) -> list[Line]:
    """The lines of results that could be stored nowhere."""
    return [line for line in settled(trial.lines()) if line["code"] == "storage"]


@pytest.mark.parametrize("leave", [184_320, 204_800])
def test_a_full_disk_keeps_every_paid_result(tmp_path: Path, endpoint: Endpoint, forge: Forge, leave: int) -> None:
    """ENOSPC: exit 7; once there is room the spilled results are taken in, and nothing is bought twice."""
    trial = Trial(tmp_path / "job", endpoint, forge, tasks=60)
    with tiny(trial.out, "size=4m", leave) as ballast:
        summary = trial.run().with_exit(7).summary
        assert 0 < summary["tasks"]["pending"] < 60
        assert open_attempts(trial.lines()) == [] or trial.spilled()
        check_nothing_lost(trial)
        trial.run().with_exit(7)
        check_nothing_lost(trial)
        ballast.unlink()
        trial.recover()
        assert trial.spilled() == []
        assert trial.endpoint.bill.billed == 60


def test_a_full_disk_without_a_spill_folder_holds_what_was_paid(
    tmp_path: Path, endpoint: Endpoint, forge: Forge
) -> None:
    """Nowhere to put a result: its line says so from reserved space, and only `--retry held` buys it again."""
    trial = Trial(tmp_path / "job", endpoint, forge, tasks=60)
    (trial.home / "state").write_text("no folder")
    with tiny(trial.out, "size=1m", 204_800) as ballast:
        trial.run().with_exit(7)
        check_nothing_lost(trial)
        lost = len(held(trial))
        assert lost
        ballast.unlink()
        again = trial.run().with_exit(9).summary
        assert again["tasks"]["held"] == lost
        assert endpoint.bill.billed == 60
        trial.run("--retry", "held").with_exit(0)
        assert endpoint.bill.billed == 60 + lost


def check_survived(trial: Trial, ended: Ended) -> None:
    """A run that met a fault said so or was not harmed; its rerun buys nothing again."""
    assert ended.code in REFUSED, ended.stderr
    check_nothing_lost(trial)
    if lost := len(held(trial)):
        assert trial.run().with_exit(9).summary["tasks"]["held"] == lost
        assert trial.endpoint.bill.billed == trial.tasks
        trial.watch.allowed += lost
        trial.run("--retry", "held").with_exit(0)
    trial.recover()
    assert trial.spilled() == []
    assert trial.endpoint.bill.billed == trial.tasks + lost


@pytest.mark.parametrize("point", ["fdatasync-2", "fdatasync-4", "fdatasync-6", "fsync-3", "fsync-4"])
def test_eio_on_a_sync_loses_no_paid_result(trial: Trial, strace: None, point: str) -> None:
    """A sync that fails once in every thread, of whatever file."""
    call, _, when = point.partition("-")
    check_survived(trial, trial.struck(f"inject={call}:error=EIO:when={when}"))


def test_a_machine_that_can_sync_nothing_costs_what_was_in_flight(trial: Trial, strace: None) -> None:
    """Ledger, parts and spill folder fail at once: exit 7; the bill is covered, only these requests go out again.

    strace counts calls by thread, so a last word may still reach the ledger: such a result is held, and asked for.
    """
    ended = trial.struck("inject=fdatasync:error=EIO:when=3+").with_exit(7)
    trial.watch.crashed(trial.seen())
    assert "EIO" in ended.stderr or "Input/output error" in ended.stderr
    if lost := len(held(trial)):
        trial.watch.allowed += lost
        trial.run("--retry", "held").with_exit(0)
    trial.recover()


@pytest.mark.parametrize("when", ["2", "4"])
@pytest.mark.parametrize("call", ["write:error=ENOSPC", "write:error=EIO", "fdatasync:error=EIO"])
def test_a_ledger_that_cannot_be_written_stops_the_run(trial: Trial, strace: None, call: str, when: str) -> None:
    """The ledger alone fails, once: exit 7; paid results are spilled, and taken in by the next run."""
    trial.ledger.touch()
    ended = trial.struck(f"inject={call}:when={when}", f"-P={trial.ledger}")
    check_survived(trial, ended)


@pytest.mark.parametrize("words", ["linkat:error=EIO:when=1", "linkat:error=ENOSPC:when=2+", "linkat:error=EROFS"])
def test_a_result_that_cannot_be_named_is_named_by_the_next_run(trial: Trial, strace: None, words: str) -> None:
    """A failed publish: exit 7; the line stands, the next run gives the name, and nothing is bought again."""
    ended = trial.struck(f"inject={words}")
    assert ended.code == 7
    check_survived(trial, ended)


def test_a_file_system_without_hard_links_is_served_by_renames(trial: Trial, strace: None) -> None:
    """EPERM for every link: results get their names all the same."""
    trial.struck("inject=linkat:error=EPERM").with_exit(0)
    trial.recover()
    assert trial.endpoint.bill.billed == trial.tasks


@pytest.mark.parametrize("words", ["openat:error=EMFILE:when=22", "openat:error=EMFILE:when=24+"])
def test_too_many_open_files_lose_no_paid_result(trial: Trial, strace: None, words: str) -> None:
    """EMFILE in the middle of a run: nothing that was received is lost or bought again."""
    check_survived(trial, trial.struck(f"inject={words}"))


def test_a_limit_on_file_sizes_stops_the_run(trial: Trial) -> None:
    """RLIMIT_FSIZE (EFBIG): the ledger cannot grow: exit 7, nothing is lost."""
    ended = trial.start(fsize=8192).wait()
    assert ended.code == 7
    check_survived(trial, ended)


def test_a_disk_that_turns_read_only_stops_the_run(tmp_path: Path, endpoint: Endpoint, forge: Forge) -> None:
    """EROFS in the middle: exit 7; what came in meanwhile is spilled and taken in later."""
    trial = Trial(tmp_path / "job", endpoint, forge, tasks=60)
    endpoint.show("latency=0.2s")
    with tiny(trial.out, "size=4m", 3_000_000):
        process = trial.start()
        endpoint.seen(4)
        subprocess.run(["mount", "-o", "remount,ro", str(trial.out)], check=False)
        ended = process.wait()
        subprocess.run(["mount", "-o", "remount,rw", str(trial.out)], check=False)
        endpoint.show("")
        if ended.code == 7:  # a kernel may refuse the remount while files are open for writing
            check_nothing_lost(trial)
        trial.recover()
        assert endpoint.bill.billed == 60


def test_a_disk_without_inodes_keeps_every_paid_result(tmp_path: Path, endpoint: Endpoint, forge: Forge) -> None:
    """No further file can be made, though there is room: exit 7; results are spilled, and taken in later."""
    trial = Trial(tmp_path / "job", endpoint, forge, tasks=30)
    with tiny(trial.out, "size=4m,nr_inodes=34", 3_000_000) as ballast:
        summary = trial.run().with_exit(7).summary
        assert 0 < summary["tasks"]["pending"] < 30
        check_nothing_lost(trial)
        assert held(trial) == []
        subprocess.run(["mount", "-o", "remount,nr_inodes=1000", str(trial.out)], check=True)
        ballast.unlink()
        trial.recover()
        assert trial.spilled() == []
        assert endpoint.bill.billed == 30


def test_where_nothing_can_be_synced_results_wait_as_parts(
    tmp_path: Path, endpoint: Endpoint, refusing_forge: RefusingForge
) -> None:
    """Ledger, parts and spill folder fail at once: exit 7; what the kernel still holds is kept, not bought again."""
    trial = Trial(tmp_path / "job", endpoint, refusing_forge)
    refusing_forge.refusals = (
        Refusal("sync", "ledger", "EIO", 3),
        Refusal("sync", "part", "EIO"),
        Refusal("sync", "spill", "EIO"),
    )
    trial.run().with_exit(7)
    refusing_forge.refusals = ()
    bought = endpoint.bill.billed
    assert bought
    assert (len(open_attempts(trial.lines())), held(trial), trial.spilled()) == (bought, [], [])
    trial.recover()
    assert sum(line["salvaged"] for line in settled(trial.lines())) == bought
    assert endpoint.bill.billed == trial.tasks


def test_a_link_in_place_of_the_output_folder_is_not_followed(trial: Trial) -> None:
    """Swapped for a symlink to elsewhere in mid-run: exit 7, and not one byte lands there."""
    trial.endpoint.show("latency=0.4s")
    process = trial.start()
    trial.endpoint.seen(3)
    aside, elsewhere = trial.folder / "aside", trial.folder / "elsewhere"
    elsewhere.mkdir()
    trial.out.rename(aside)
    trial.out.symlink_to(elsewhere)
    ended = process.wait().with_exit(7)
    assert list(elsewhere.iterdir()) == []
    trial.out.unlink()
    aside.rename(trial.out)
    check_survived(trial, ended)


@pytest.mark.parametrize("how", ["removed", "swapped"])
def test_an_output_folder_that_goes_away_is_not_made_again(trial: Trial, how: str) -> None:
    """Removed or swapped in the middle: exit 7, nothing recreated; back in place, the spilled results are taken in."""
    trial.endpoint.show("latency=0.4s")
    process = trial.start()
    trial.endpoint.seen(5)
    aside = trial.folder / "aside"
    trial.out.rename(aside)
    if how == "swapped":
        trial.out.mkdir()
    ended = process.wait()
    assert ended.code == 7, ended.stderr
    assert not trial.out.exists() if how == "removed" else list(trial.out.iterdir()) == []
    if how == "swapped":
        trial.out.rmdir()
    assert trial.spilled()
    aside.rename(trial.out)
    check_survived(trial, ended)


@pytest.mark.parametrize("how", ["cut", "emptied", "replaced", "removed"])
def test_a_ledger_that_is_changed_by_others_is_left_alone(trial: Trial, how: str) -> None:
    """Cut, emptied, replaced or removed in the middle: exit 7, and not one byte is written to it or made anew."""
    trial.endpoint.show("latency=0.4s")
    process = trial.start()
    trial.endpoint.seen(5)
    whole = trial.ledger.read_bytes()
    if how in ("cut", "emptied"):
        os.truncate(trial.ledger, len(whole) - 100 if how == "cut" else 0)
    else:
        trial.ledger.unlink()
    if how == "replaced":
        trial.ledger.write_bytes(whole)
    left = trial.ledger.read_bytes() if trial.ledger.exists() else None
    ended = process.wait()
    assert ended.code == 7, ended.stderr
    assert (trial.ledger.read_bytes() if trial.ledger.exists() else None) == left
    trial.ledger.write_bytes(whole)
    check_survived(trial, ended)


def kill_once_fewer_wait(trial: Trial, spilled: int) -> None:
    """Start a run, and kill it as soon as it took in one of the spilled results."""
    process = trial.start()
    wait_until(lambda: len(trial.spilled()) < spilled or process.ended())
    trial.kill(process)


def test_spilled_results_are_taken_in_once_however_often_that_is_killed(trial: Trial) -> None:
    """A recovery that is killed while it takes spilled results in leaves them for the next, and once only."""
    trial.endpoint.show("latency=0.4s")
    process = trial.start()
    trial.endpoint.seen(5)
    aside = trial.folder / "aside"
    trial.out.rename(aside)
    process.wait()
    aside.rename(trial.out)
    trial.endpoint.show("")
    spilled = len(trial.spilled())
    assert spilled >= 2
    wait_until(lambda: trial.endpoint.bill.in_flight == 0)
    for _ in range(3):
        kill_once_fewer_wait(trial, spilled)
    trial.recover()
    assert trial.spilled() == []
    assert trial.endpoint.bill.billed == trial.tasks
