"""What `verify` says of a folder, what `--repair` moves, and what the next run makes of that."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import JobError, LockedError, StorageError
from pipeline.ledger.codec import encode
from pipeline.ledger.lock import FolderLock
from pipeline.ledger.records import Reused, Settled
from pipeline.manifest.job import Job
from pipeline.outcome import Outcome
from pipeline.outputs.spill import SpillPart
from pipeline.run import verify_files
from pipeline.run.folders import spill_of
from pipeline.run.verify import Progress, Verification, verify
from pipeline.run.verify_output import Kind, look
from tests.run.conftest import Bench, answer, picture

pytestmark = pytest.mark.anyio

ONE, TWO = "set/white/one-1.png", "set/white/two-1.png"
Harm = Callable[[Path], object]


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time and bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def flip(path: Path, at: int = -20) -> None:
    """Another byte in the middle, as a bad disk leaves it; the size stays."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def swap(one: Path, two: Path) -> None:
    one.rename(one.with_suffix(".tmp"))
    two.rename(one)
    one.with_suffix(".tmp").rename(two)


def kept(bench: Bench) -> dict[str, bytes]:
    """What is set aside, by name; each name says what the file holds."""
    files = {path.name: path.read_bytes() for path in (bench.out / ".retouch/replaced").iterdir()}
    assert all(name.split(".")[0] == hashlib.sha256(data).hexdigest() for name, data in files.items())
    return files


def found(verification: Verification) -> dict[str, str]:
    """The faults by path."""
    return {fault.path: str(fault.kind) for fault in verification.problems}


def counts(verification: Verification) -> dict[str, int]:
    return {kind: number for kind, number in verification.outputs.items() if number}


async def made(bench: Bench, *names: str, **parts: Any) -> Job:
    """A job that was run."""
    bench.images(*(names or ("one", "two")))
    job = bench.job(**parts)
    await bench.run(job)
    return job


async def test_a_sound_folder_is_sound_and_stays_as_it_is(bench: Bench) -> None:
    """Every output and every line was read; nothing was written, with --repair either."""
    job = await made(bench)
    before = tree(bench.out)
    verification = verify(job)
    assert (verification.exit, counts(verification)) == (0, {"total": 2, "sound": 2})
    assert verification.bytes == sum((bench.out / name).stat().st_size for name in (ONE, TWO))
    (report,) = verification.ledgers
    ledger = bench.out / "ledger.jsonl"
    assert (report.lines, report.bytes) == (ledger.read_bytes().count(b"\n"), ledger.stat().st_size)
    assert (report.damaged, report.torn, verification.problems) == ((), 0, ())
    assert verify(job, repair=True).exit == 0
    after = tree(bench.out)
    del after[str(bench.out / ".lock")], before[str(bench.out / ".lock")]
    assert after == before


async def test_a_job_that_never_ran_has_nothing_to_verify(bench: Bench) -> None:
    """Exit 0, and no folder is made."""
    bench.images("one")
    for repair in (False, True):
        verification = verify(bench.job(), repair=repair)
        assert (verification.exit, verification.outputs["total"], verification.ledgers) == (0, 0, ())
    assert not bench.out.exists()


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def link_away(path: Path) -> None:
    path.rename(path.with_suffix(".bak"))
    path.symlink_to(path.with_suffix(".bak"))


def put_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_folder(path: Path) -> None:
    path.parent.rename(path.parents[1] / "elsewhere")
    path.parent.symlink_to("elsewhere")


HARMS: dict[str, tuple[Harm, str, str]] = {
    "flipped": (flip, "changed", "sha256 is "),
    "cut": (lambda path: os.truncate(path, 10), "changed", "10 bytes, and the ledger says "),
    "emptied": (lambda path: path.write_bytes(b""), "changed", "0 bytes, and the ledger says "),
    "grown": (grow, "changed", "bytes, and the ledger says "),
    "deleted": (Path.unlink, "missing", "not there"),
    "linked": (link_away, "missing", "what has its name is no regular file"),
    "a pipe": (put_pipe, "missing", "what has its name is no regular file"),
    "a folder": (put_folder, "missing", "what has its name is no regular file"),
    "a linked folder": (link_folder, "unreadable", "is a file or a symlink; expected a folder"),
}


@pytest.mark.parametrize("harm", HARMS)
async def test_every_harm_is_named(bench: Bench, harm: str) -> None:
    """What is wrong, with which file, of which task; the other output is sound; exit 7; nothing is touched."""
    do, kind, words = HARMS[harm]
    job = await made(bench, output={"folder": "out", "path": "{{ key }}/{{ key }}", "spill": "spill"})
    do(bench.out / "one/one.png")
    before = tree(bench.out)
    verification = verify(job)
    (fault,) = verification.problems
    assert (fault.path, fault.task, fault.kind, fault.moved) == ("one/one.png", "set/one/white", kind, None)
    assert words in fault.message
    assert (verification.exit, counts(verification)) == (7, {"total": 2, "sound": 1, kind: 1})
    assert tree(bench.out) == before


async def test_a_flipped_bit_is_seen_by_verify_alone_and_made_again_after_repair(bench: Bench) -> None:
    """A run looks at sizes. Repaired, the file is set aside, and the next run buys that one task again, no other."""
    job = await made(bench)
    flip(bench.out / ONE)
    spoilt = (bench.out / ONE).read_bytes()
    assert (await bench.run(job)).tasks["skipped"] == 2
    verification = verify(job, repair=True)
    (fault,) = verification.problems
    moved = f".retouch/replaced/{hashlib.sha256(spoilt).hexdigest()}.png"
    assert (verification.exit, fault.kind, fault.moved) == (7, Kind.CHANGED, moved)
    assert not (bench.out / ONE).exists()
    assert (bench.out / moved).read_bytes() == spoilt
    assert found(verify(job)) == {ONE: "missing"}
    summary = await bench.run(job)
    assert (summary.exit, summary.tasks["done"], summary.tasks["skipped"], len(bench.posts)) == (0, 1, 1, 1)
    assert verify(job).exit == 0
    assert kept(bench) == {moved.rpartition("/")[2]: spoilt}


async def test_outputs_with_swapped_names_get_them_back_for_nothing(bench: Bench) -> None:
    """Both are changed, and each is the other's picture: set aside by its digest, the next run finds it."""
    job = await made(bench)
    before = {name: (bench.out / name).read_bytes() for name in (ONE, TWO)}
    swap(bench.out / ONE, bench.out / TWO)
    assert found(verify(job, repair=True)) == {ONE: "changed", TWO: "changed"}
    summary = await bench.run(job)
    assert (summary.tasks["reused"], bench.posts) == (2, [])
    assert {name: (bench.out / name).read_bytes() for name in (ONE, TWO)} == before
    assert verify(job).exit == 0


async def test_a_twin_of_a_damaged_output_gives_its_picture_for_nothing(bench: Bench) -> None:
    """Two tasks of one request: the good copy is taken, and nothing is sent."""
    job = await made(bench, "one", prompts=[{"name": name, "text": "Same"} for name in "ab"])
    flip(bench.out / "set/a/one-1.png")
    assert found(verify(job, repair=True)) == {"set/a/one-1.png": "changed"}
    summary = await bench.run(job)
    assert (summary.tasks["reused"], bench.posts) == (1, [])
    assert verify(job).exit == 0


async def test_images_of_one_request_are_made_again_together(bench: Bench) -> None:
    """One of two is spoilt: the request is the unit that can be bought; the good one is kept aside."""
    bench.say = lambda edit: answer(picture(len(bench.posts)), picture(50 + len(bench.posts)))
    job = await made(bench, "one", request={"model": "m", "n": 2})
    good = (bench.out / "set/white/one-2.png").read_bytes()
    flip(bench.out / ONE)
    assert found(verify(job, repair=True)) == {ONE: "changed"}
    bench.say = lambda edit: answer(picture(98), picture(99))
    assert (await bench.run(job)).tasks["done"] == 1
    assert good in kept(bench).values()
    assert verify(job).exit == 0


async def test_an_output_that_was_edited_on_purpose_is_told_and_stays(bench: Bench) -> None:
    """Nobody can know the purpose: exit 7. Without --repair it stays, and goes on counting as done."""
    job = await made(bench)
    (bench.out / ONE).write_bytes(b"by hand")
    assert found(verify(job)) == {ONE: "changed"}
    assert (await bench.run(job)).tasks["skipped"] == 2
    assert (bench.out / ONE).read_bytes() == b"by hand"
    assert found(verify(job, repair=True)) == {ONE: "changed"}
    assert b"by hand" in kept(bench).values()


async def test_a_result_that_made_way_for_another_tasks_is_no_damage(bench: Bench) -> None:
    """A prompt was renamed, and the path does not hold its name: the file is the new task's, the old one is kept."""
    output = {"folder": "out", "path": "{{ key }}-{{ index }}", "spill": "spill"}
    await made(bench, "one", output=output)
    job = bench.job(prompts=[{"name": "snow", "text": "Snow"}], output=output)
    bench.say = lambda edit: answer(picture(77))
    assert (await bench.run(job)).tasks["done"] == 1
    verification = verify(job)
    assert (verification.exit, counts(verification)) == (0, {"total": 1, "sound": 1})
    assert verification.replaced == {"total": 1, "sound": 1, "changed": 0, "unreadable": 0}


async def test_replaced_results_are_held_against_their_names(bench: Bench) -> None:
    """A spoilt one cannot come back; repaired, it is named by what it holds. Other files there are nobody's."""
    await made(bench, "one")
    job = bench.job(prompts=[{"name": "white", "text": "Second"}])
    bench.say = lambda edit: answer(picture(99))
    await bench.run(job)
    (old,) = (bench.out / ".retouch/replaced").iterdir()
    (old.parent / "notes.txt").write_text("mine")
    flip(old)
    verification = verify(job, repair=True)
    path = f".retouch/replaced/{old.name}"
    assert (verification.exit, found(verification), verification.replaced["changed"]) == (7, {path: "changed"}, 1)
    (old.parent / "notes.txt").unlink()
    assert old.name not in kept(bench)
    assert verify(job).exit == 0


async def test_missing_is_no_fault_where_the_manifest_keeps_it(bench: Bench) -> None:
    """`rerun.missing: keep` says so; and --repair, whose work no run would finish, is refused with nothing moved."""
    await made(bench)
    job = bench.job(rerun={"missing": "keep"})
    (bench.out / ONE).unlink()
    verification = verify(job)
    assert (verification.exit, counts(verification)) == (0, {"total": 2, "sound": 1, "missing": 1})
    flip(bench.out / TWO)
    with pytest.raises(JobError, match=r"rerun\.missing: is keep, so that no run would make again"):
        verify(job, repair=True)
    assert (bench.out / TWO).exists()


async def test_missing_is_no_fault_where_no_task_asks_for_it(bench: Bench) -> None:
    """A product was dropped with its pictures. Where inputs are gone, or too young, nobody can tell: it is missing."""
    job = await made(bench)
    (bench.out / ONE).unlink()
    (bench.folder / "in/one.png").unlink()
    verification = verify(job)
    assert (verification.exit, counts(verification)) == (0, {"total": 2, "sound": 1, "stale": 1})
    young = bench.job(image_sets=[{"name": "set", "images": "in/*.png", "min_age": "1h"}])
    assert found(verify(young)) == {ONE: "missing"}
    (bench.folder / "in/two.png").unlink()
    assert found(verify(job)) == {ONE: "missing"}


async def test_a_result_that_has_not_its_name_yet_is_waiting(bench: Bench) -> None:
    """As a crash between the line and the name leaves it: no fault, --repair leaves it, the next run names it."""
    job = await made(bench, "one")
    (line,) = bench.lines(Settled)
    (bench.out / ONE).rename(bench.out / ".retouch/parts" / line.outputs[0].part)
    for repair in (False, True):
        verification = verify(job, repair=repair)
        assert (verification.exit, counts(verification)) == (0, {"total": 1, "waiting": 1})
    assert (await bench.run(job)).tasks["skipped"] == 1
    assert counts(verify(job)) == {"total": 1, "sound": 1}


async def test_spilled_results_are_counted_and_held_against_their_line(bench: Bench) -> None:
    """They wait outside the folder; one whose image was spoilt is a fault."""
    job = await made(bench, "one")
    (line,) = bench.lines(Settled)
    part = SpillPart(line.outputs[0].part, (bench.out / ONE).read_bytes())
    spill = spill_of(job)
    spill.store(encode(line), [part])
    verification = verify(job)
    assert (verification.exit, verification.spilled) == (0, 1)
    (image,) = spill.folder.glob("*/*.part")
    flip(image)
    assert found(verify(job)) == {str(image): "changed"}
    (image.parent / "line").write_bytes(b"{}\n")
    assert found(verify(job)) == {str(image.parent): "changed"}
    shutil.rmtree(spill.folder)
    assert verify(job).exit == 0


async def test_a_foreign_file_under_a_results_name_is_nobodys_fault(bench: Bench) -> None:
    """It came while the request was on its way: the result lies beside it, and --repair touches neither."""

    def say(edit: object) -> Any:
        (bench.out / ONE).parent.mkdir(parents=True, exist_ok=True)
        (bench.out / ONE).write_bytes(b"foreign")
        return answer(picture(1))

    bench.say = say
    job = await made(bench, "one")
    assert isinstance(bench.lines()[-2], Reused)
    before = {name: (bench.out / name).read_bytes() for name in bench.files()}
    assert len(before) == 2
    verification = verify(job, repair=True)
    assert (verification.exit, counts(verification)) == (0, {"total": 1, "sound": 1})
    # As a crash before the second line leaves it: the result is found beside the foreign file.
    ledger = bench.out / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(lines[:-2]))
    verification = verify(job, repair=True)
    assert (verification.exit, counts(verification)) == (0, {"total": 1, "waiting": 1})
    assert {name: (bench.out / name).read_bytes() for name in bench.files()} == before


def spoil_line(bench: Bench, number: int) -> tuple[int, int]:
    """Damage a line of the ledger, counted from 1; its offset and length."""
    path = bench.out / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    offset = sum(map(len, lines[: number - 1]))
    flip(path, offset + 40)
    return offset, len(lines[number - 1])


async def test_every_damaged_line_is_named_and_outputs_are_read_all_the_same(bench: Bench) -> None:
    """A run refuses at the first. Nothing is moved, for a lost line may say that a changed file is as it should be."""
    job = await made(bench, "one", "two", "three")
    flip(bench.out / ONE)
    spoilt = [spoil_line(bench, 2), spoil_line(bench, 4)]
    before = tree(bench.out)
    verification = verify(job)
    (report,) = verification.ledgers
    assert [(one.line, one.offset, one.bytes) for one in report.damaged] == [
        (number, *place) for number, place in zip((2, 4), spoilt, strict=True)
    ]
    assert (verification.exit, found(verification)) == (7, {ONE: "changed"})
    assert tree(bench.out) == before
    assert verify(job, repair=True).problems[0].moved is None
    assert (bench.out / ONE).exists()
    with pytest.raises(StorageError, match=f"the line at byte {spoilt[0][0]} is damaged.*\nhint: .*`retouch verify`"):
        await bench.run(job)


async def test_damage_alone_is_exit_7(bench: Bench) -> None:
    """Every output is sound, and the ledger is not."""
    job = await made(bench)
    spoil_line(bench, 1)
    verification = verify(job)
    assert (verification.exit, verification.problems, counts(verification)) == (7, (), {"total": 2, "sound": 2})


async def test_a_torn_tail_is_told_and_is_no_damage(bench: Bench) -> None:
    """A run writes it now, or a crash left it; it is not cut."""
    job = await made(bench)
    ledger = bench.out / "ledger.jsonl"
    torn = ledger.read_bytes() + b'{"type":"sent","sch'
    ledger.write_bytes(torn)
    for repair in (False, True):
        verification = verify(job, repair=repair)
        assert (verification.exit, verification.ledgers[0].torn) == (0, 19)
    assert ledger.read_bytes() == torn


async def test_every_shards_ledger_is_read(bench: Bench) -> None:
    """With what each names, and what is wrong in each."""
    bench.images(*"abcdefgh")
    job = bench.job()
    for shard in ((1, 2), (2, 2)):
        await bench.run(job, shard=shard)
    verification = verify(job)
    assert [Path(report.path).name for report in verification.ledgers] == ["ledger-1-of-2.jsonl", "ledger-2-of-2.jsonl"]
    assert (verification.exit, counts(verification)) == (0, {"total": 8, "sound": 8})
    for path in bench.out.glob("ledger-*"):
        flip(path, 40)
    assert [len(report.damaged) for report in verify(job).ledgers] == [1, 1]


async def test_only_narrows_to_tasks_and_a_glob_that_matches_none_is_refused(bench: Bench) -> None:
    """A mistyped glob must not look like a sound folder. Without tasks there is nothing that it could match."""
    job = await made(bench)
    flip(bench.out / ONE)
    assert counts(verify(job, only="set/two/*")) == {"total": 1, "sound": 1}
    assert found(verify(job, repair=True, only="set/one/*")) == {ONE: "changed"}
    with pytest.raises(JobError, match="--only: 'shoes/\\*' matches no task with a result"):
        verify(job, only="shoes/*")
    (bench.out / "ledger.jsonl").write_bytes(b"")
    assert verify(job, only="shoes/*").exit == 0


async def test_repair_waits_for_nobody(bench: Bench) -> None:
    """While a run holds the folder, verifying works, and repairing is refused with nothing moved; so is a shard's."""
    job = await made(bench)
    flip(bench.out / ONE)
    for shard in (None, (1, 2)):
        with FolderLock(bench.out, shard):
            assert found(verify(job)) == {ONE: "changed"}
            with pytest.raises(LockedError):
                verify(job, repair=True)
    assert (bench.out / ONE).exists()


async def test_another_jobs_folder_is_refused(bench: Bench) -> None:
    """Its results are not this job's to judge or to move."""
    await made(bench)
    flip(bench.out / ONE)
    with pytest.raises(JobError, match="belongs to the job 'job'"):
        verify(bench.job(name="other"), repair=True)
    assert (bench.out / ONE).exists()


async def test_what_cannot_be_moved_is_told_and_the_rest_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One refusal of the disk does not keep the other files from being repaired."""
    job = await made(bench)
    flip(bench.out / ONE)
    flip(bench.out / TWO)
    give = os.link

    def refuse(source: str, *args: Any, **more: Any) -> None:
        if source == "one-1.png":
            raise OSError(5, "Input/output error")
        give(source, *args, **more)

    monkeypatch.setattr(os, "link", refuse)
    faults = {fault.path: fault for fault in verify(job, repair=True).problems}
    assert (faults[ONE].moved, "Input/output error" in faults[ONE].message) == (None, True)
    assert faults[TWO].moved is not None


def settle_again(bench: Bench, data: bytes) -> None:
    """What a run beside us does: a line for a newer result of the task, then the older file makes way for it."""
    (line,) = bench.lines(Settled)
    ledger = bench.out / "ledger.jsonl"
    output = line.outputs[0]
    sha = hashlib.sha256(data).hexdigest()
    newer = type(output)(output.path, None, sha, len(data), output.width, output.height, output.format)
    record = Settled(task=line.task, fingerprint="f" * 64, attempt=1, outcome=Outcome.SUCCEEDED, outputs=[newer])
    record.run, record.at, record.group = "r", "2030-01-01T00:00:00.000Z", ledger.stat().st_size
    with ledger.open("ab") as file:
        file.write(encode(record))
    (bench.out / ONE).write_bytes(data)


async def test_a_result_that_a_run_replaces_meanwhile_is_no_damage(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is newer than the ledger was when its reading began; the line that says so is there by then."""
    job = await made(bench, "one")
    first = True

    def meanwhile(*args: Any) -> Any:
        nonlocal first
        if first:
            first = False
            settle_again(bench, picture(99))
        return look(*args)

    monkeypatch.setattr(verify_files, "look", meanwhile)
    verification = verify(job)
    assert (verification.exit, verification.problems, first) == (0, (), False)
    assert counts(verify(job)) == {"total": 1, "sound": 1}


async def test_a_look_between_two_steps_of_publishing_is_taken_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name was not there yet, and a moment later the part was not there any more."""
    job = await made(bench, "one")
    aside = bench.folder / "aside"
    (bench.out / ONE).rename(aside)
    looks = 0

    def published_after(*args: Any) -> Any:
        nonlocal looks
        looks += 1
        seen = look(*args)
        if looks == 1:
            aside.rename(bench.out / ONE)
        return seen

    monkeypatch.setattr(verify_files, "look", published_after)
    verification = verify(job)
    assert (verification.exit, counts(verification), looks) == (0, {"total": 1, "sound": 1}, 2)


async def test_progress_tells_how_far_it_is(bench: Bench) -> None:
    """Results of all, bytes, pace, faults, and the time that is left."""
    moments: list[Any] = []

    class Watching:
        interval = 0.0

        def update(self, moment: Any) -> None:
            moments.append(moment)

        def note(self, text: str) -> None:
            raise AssertionError(text)

        def close(self) -> None:
            moments.append(None)

    job = await made(bench)
    verify(job, view=Watching())
    assert [(one.finished, one.total) for one in moments[:-1]] == [(1, 2), (2, 2)]
    assert moments[-1] is None
    moment = Progress(total=200, finished=50, bytes=3_000_000, bad=2, seconds=2.0)
    assert (moment.words, moment.seconds_left, moment.unit) == ("3.0MB read, 1.5MB/s, 2 bad", 6.0, "results")
    assert Progress(200, 0, 0, 0, 0.0).words == "0B read, 0B/s"
    assert Progress(200, 0, 0, 0, 0.0).seconds_left is None
