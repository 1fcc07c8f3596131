"""What a start finishes that a killed run left, told from the ledger and the files alone."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.ledger.codec import encode
from pipeline.ledger.entries import Prepare
from pipeline.ledger.records import Output, Record, Reused, Sent, Settled
from pipeline.ledger.scan import split
from pipeline.outcome import Outcome
from pipeline.outputs.parts import part_name
from tests.run.conftest import Bench, answer, picture

pytestmark = pytest.mark.anyio


def cut_after(bench: Bench, kind: type[Record]) -> None:
    """Cut the ledger behind its last line of this type, as if the run had been killed then."""
    path = bench.out / "ledger.jsonl"
    records = bench.lines()
    with path.open("rb") as file:
        lines = [line.data for line in split(file, 0, path.stat().st_size)]
    keep = max(number for number, record in enumerate(records) if isinstance(record, kind)) + 1
    path.write_bytes(b"".join(lines[:keep]))


def leave_part(bench: Bench, data: bytes, index: int = 1) -> Path:
    """A part of the last `sent` attempt, as the killed run wrote it."""
    sent = bench.lines(Sent)[-1]
    path = bench.out / ".retouch/parts" / part_name(sent.run, sent.fingerprint, sent.attempt, index)
    path.write_bytes(data)
    return path


async def run_and_kill(bench: Bench, n: int = 1) -> None:
    """A run that was killed after its `sent` line."""
    bench.images("one")
    bench.say = lambda edit: answer(*(picture(number) for number in range(1, n + 1)))
    await bench.run(bench.job(request={"model": "m", "n": n}))
    for name in bench.files():
        (bench.out / name).unlink()
    cut_after(bench, Sent)


async def test_an_attempt_without_an_end_is_in_doubt(bench: Bench) -> None:
    """It is settled `interrupted`, does not use up an attempt, and is made again with its key."""
    await run_and_kill(bench)
    key = bench.lines(Sent)[0].idempotency_key
    summary = await bench.run(bench.job(request={"model": "m", "n": 1}, retries={"max_attempts": 1}))
    first, second = bench.lines(Settled)
    assert (first.outcome, first.code, second.outcome) == (Outcome.IN_DOUBT, "interrupted", Outcome.SUCCEEDED)
    assert bench.posts[0].idempotency_key == key
    assert summary.exit == 0
    # The interrupted attempt is the ledger's, not this run's.
    assert summary.attempts["in_doubt"] == 0


async def test_a_result_that_had_arrived_whole_is_salvaged(bench: Bench) -> None:
    """All parts are there and decode: published, with no usage, and not bought again."""
    await run_and_kill(bench, n=2)
    leave_part(bench, picture(1), 1)
    leave_part(bench, picture(2), 2)
    summary = await bench.run(bench.job(request={"model": "m", "n": 2}))
    (line,) = bench.lines(Settled)
    assert (line.outcome, line.salvaged, line.usage, bench.posts) == (Outcome.SUCCEEDED, True, None, [])
    assert summary.tasks["skipped"] == 1
    assert (bench.out / "set/white/one-2.png").read_bytes() == picture(2)
    assert bench.parts() == set()


@pytest.mark.parametrize("torn", [picture(1)[:-20], b""])
async def test_a_torn_part_is_in_doubt(bench: Bench, torn: bytes) -> None:
    """A part that does not decode to its end is no result; it is removed."""
    await run_and_kill(bench)
    leave_part(bench, torn)
    await bench.run(bench.job(request={"model": "m", "n": 1}))
    assert [line.outcome for line in bench.lines(Settled)] == ["in_doubt", "succeeded"]
    assert bench.parts() == set()


async def test_one_part_of_two_is_in_doubt(bench: Bench) -> None:
    """Half a result is none."""
    await run_and_kill(bench, n=2)
    leave_part(bench, picture(1), 1)
    await bench.run(bench.job(request={"model": "m", "n": 2}))
    assert bench.lines(Settled)[0].code == "interrupted"
    assert len(bench.posts) == 1


@pytest.mark.parametrize("published", [False, True])
async def test_a_settled_result_gets_its_name(bench: Bench, published: bool) -> None:
    """Killed between the line and the name, or before its part was unlinked: the next start finishes it."""
    bench.images("one")
    bench.say = lambda edit: answer(picture(1))
    await bench.run()
    cut_after(bench, Settled)
    (line,) = bench.lines(Settled)
    (bench.out / ".retouch/parts" / line.outputs[0].part).write_bytes(picture(1))
    if not published:
        (bench.out / "set/white/one-1.png").unlink()
    summary = await bench.run()
    assert (summary.exit, summary.tasks["skipped"], bench.posts) == (0, 1, [])
    assert (bench.out / "set/white/one-1.png").read_bytes() == picture(1)
    assert bench.parts() == set()
    assert len(bench.lines(Settled)) == 1


async def test_a_foreign_file_that_took_the_name_meanwhile_stays(bench: Bench) -> None:
    """The result goes beside it, and a line says so."""
    bench.images("one")
    bench.say = lambda edit: answer(picture(1))
    await bench.run()
    cut_after(bench, Settled)
    (line,) = bench.lines(Settled)
    (bench.out / ".retouch/parts" / line.outputs[0].part).write_bytes(picture(1))
    (bench.out / "set/white/one-1.png").write_bytes(b"mine")
    summary = await bench.run()
    assert (summary.exit, summary.tasks["skipped"]) == (0, 1)
    (reused,) = bench.lines(Reused)
    assert (bench.out / reused.outputs[0].path).read_bytes() == picture(1)
    assert (bench.out / "set/white/one-1.png").read_bytes() == b"mine"


async def test_results_with_the_same_bytes_are_files_of_their_own(bench: Bench) -> None:
    """Each is named from its own part: as two names of one file, an edit of one would change the other."""
    bench.images("one", "two")
    bench.say = lambda edit: answer(picture(1))
    await bench.run()
    for line in bench.lines(Settled):
        (output,) = line.outputs
        (bench.out / output.path).rename(bench.out / ".retouch/parts" / output.part)
    cut_after(bench, Settled)
    await bench.run()
    one, two = sorted(bench.out / name for name in bench.files())
    assert (one.read_bytes(), two.read_bytes()) == (picture(1), picture(1))
    assert not one.samefile(two)


async def test_a_result_taken_back_is_named_though_its_bytes_lie_among_the_replaced_files(bench: Bench) -> None:
    """Killed between the line and the name: the newer result does not stay where the older one belongs."""
    bench.images("one")
    older, newer, path = picture(1), picture(2), bench.out / "set/white/one-1.png"
    jobs = [bench.job(prompts=[{"name": "white", "text": text}]) for text in ("White.", "Black.")]
    bench.say = lambda edit: answer(older if edit.fields["prompt"] == "White." else newer)
    for job in (*jobs, jobs[0]):
        await bench.run(job)
    cut_after(bench, Reused)
    (line,) = bench.lines(Reused)
    (bench.out / ".retouch/parts" / line.outputs[0].part).write_bytes(older)
    path.write_bytes(newer)
    assert (await bench.run(jobs[0])).tasks["skipped"] == 1
    assert (path.read_bytes(), bench.parts(), bench.posts) == (older, set(), [])


async def test_a_result_that_made_way_stays_so_when_its_part_is_found_again(bench: Bench) -> None:
    """Its part was not removed before power was lost: that does not bring it back under the newer result's name."""
    bench.images("one")
    older, newer, path = picture(1), picture(2), bench.out / "set/white/one-1.png"
    jobs = [bench.job(prompts=[{"name": "white", "text": text}]) for text in ("White.", "Black.")]
    bench.say = lambda edit: answer(older if edit.fields["prompt"] == "White." else newer)
    for job in jobs:
        await bench.run(job)
    (bench.out / ".retouch/parts" / bench.lines(Settled)[0].outputs[0].part).write_bytes(older)
    assert (await bench.run(jobs[1])).tasks["skipped"] == 1
    assert (path.read_bytes(), bench.parts()) == (newer, set())


async def test_parts_of_no_line_are_removed_and_other_files_are_not(bench: Bench) -> None:
    """Only files that have a part's name are ours to remove."""
    bench.images("one")
    await bench.run()
    parts = bench.out / ".retouch/parts"
    (parts / part_name("20250101T000000Z-abcdef", "0" * 64, 1, 1)).write_bytes(b"x")
    (parts / "notes.txt").write_bytes(b"x")
    await bench.run()
    assert bench.parts() == {"notes.txt"}


async def test_recovery_twice_is_recovery_once(bench: Bench) -> None:
    """A start that finds nothing to finish appends nothing but its own beginning and end."""
    await run_and_kill(bench)
    await bench.run()
    before = [type(line).__name__ for line in bench.lines()]
    await bench.run()
    assert [type(line).__name__ for line in bench.lines()][len(before) :] == ["Run", "End"]


async def test_a_torn_tail_is_cut_and_kept_aside(bench: Bench) -> None:
    """Half a line at the end is saved below `.retouch/torn/` and does not keep the run from going on."""
    bench.images("one")
    await bench.run()
    with (bench.out / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b'{"type":"sent","sche')
    assert (await bench.run()).exit == 0
    assert [path.read_bytes() for path in (bench.out / ".retouch/torn").iterdir()] == [b'{"type":"sent","sche']


async def test_a_shard_leaves_another_shards_attempts_alone(bench: Bench) -> None:
    """Shard 2 may be running: what is open in its ledger is not shard 1's to settle; an unsharded run settles all."""
    await run_and_kill(bench)
    (bench.out / "ledger.jsonl").rename(bench.out / "ledger-2-of-2.jsonl")
    leave_part(bench, b"torn")
    await bench.run(bench.job(), shard=(1, 2))
    assert [line.code for line in bench.lines(Settled) if line.code] == []
    await bench.run(bench.job(request={"model": "m", "n": 1}))
    assert "interrupted" in [line.code for line in bench.lines(Settled)]


async def test_the_newest_of_a_tasks_results_is_its_last_whichever_ledger_has_it(bench: Bench) -> None:
    """An older attempt of another prompt, open in a ledger that comes later, must not take the name from it."""
    bench.images("one")
    for number, (text, shard) in enumerate((("First", None), ("Second", (1, 1))), start=1):
        bench.say = lambda edit, number=number: answer(picture(number))  # type: ignore[misc]  # called in this round
        await bench.run(bench.job(prompts=[{"name": "white", "text": text}]), shard=shard)
    for ledger in ("ledger.jsonl", "ledger-1-of-1.jsonl"):
        path = bench.out / ledger
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    shutil.rmtree(bench.out / "set")
    for number, sent in enumerate(bench.lines(Sent), start=1):
        name = part_name(sent.run, sent.fingerprint, sent.attempt, 1)
        (bench.out / ".retouch/parts" / name).write_bytes(picture(number))
    summary = await bench.run(bench.job(prompts=[{"name": "white", "text": "Second"}]))
    assert (summary.tasks["skipped"], bench.posts, bench.lines(Reused)) == (1, [], [])
    assert (bench.out / "set/white/one-1.png").read_bytes() == picture(2)


async def test_a_spilled_result_is_taken_in_after_a_kill(bench: Bench) -> None:
    """Its line and picture wait in the spill folder; killed again before it is forgotten, it is taken in once."""
    await run_and_kill(bench)
    sent = bench.lines(Sent)[-1]
    data = picture(42)
    line = Settled(
        task=sent.task,
        fingerprint=sent.fingerprint,
        attempt=sent.attempt,
        outcome=Outcome.SUCCEEDED,
        outputs=[
            Output(
                path="set/white/one-1.png",
                part=part_name(sent.run, sent.fingerprint, sent.attempt, 1),
                sha256=hashlib.sha256(data).hexdigest(),
                bytes=len(data),
                width=16,
                height=12,
                format="png",
            )
        ],
        run=sent.run,
        at=sent.at,
    )
    from pipeline.outputs.spill import Spill, SpillPart

    spill = Spill(bench.folder / "spill", bench.out)
    job = bench.job(request={"model": "m", "n": 1})
    for _ in range(2):
        spill.store(encode(line), [SpillPart(line.outputs[0].part or "", data)])
        summary = await bench.run(job)
        assert (summary.exit, summary.tasks["skipped"], bench.posts) == (0, 1, [])
    assert (bench.out / "set/white/one-1.png").read_bytes() == data
    assert len(bench.lines(Settled)) == 1
    assert spill.waiting() == []


async def test_the_part_of_a_held_result_is_not_deleted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the part was stored and its line was not, nor the spill: the next start leaves the paid bytes alone."""

    async def refuse(_self: object, _line: object, publish: object, prepare: Prepare, **_: object) -> None:
        prepare()()
        raise StorageError("the ledger is full")

    def nowhere(*_: object) -> None:
        raise StorageError("the spill is full")

    bench.images("one")
    with monkeypatch.context() as broken:
        broken.setattr("pipeline.ledger.committer.Committer.commit", refuse)
        broken.setattr("pipeline.outputs.spill.Spill.store", nowhere)
        assert (await bench.run()).exit == 7
    assert bench.lines(Settled)[-1].code == "storage"
    parts = bench.parts()
    assert len(parts) == 1
    assert (await bench.run()).exit == 9
    assert bench.parts() == parts
    assert (await bench.run(retry=frozenset({"held"}))).exit == 0
    assert (await bench.run()).exit == 0
    assert bench.parts() == set()
