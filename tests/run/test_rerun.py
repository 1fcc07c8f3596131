"""What a second run does with what the first one left: changed, missing, edited, reopened, made anew."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.decode import Picture
from pipeline.endpoint.form import Edit
from pipeline.endpoint.reply import Reply
from pipeline.errors import JobError, LockedError, RebuyError
from pipeline.ledger.lock import FolderLock
from pipeline.ledger.records import Reopened, Reused, Sent, Settled
from pipeline.manifest.job import Job
from pipeline.run.plan import plan
from pipeline.run.status import status
from pipeline.tasks.inputs import Unusable
from pipeline.tasks.pictures import picture_of
from tests.run.conftest import Bench, answer, picture, refusal

pytestmark = pytest.mark.anyio

RESULT = "set/white/one-1.png"


def white(text: str, **more: Any) -> dict[str, Any]:
    return {"prompts": [{"name": "white", "text": text, **more}]}


async def test_a_changed_prompt_is_bought_and_the_old_result_kept(bench: Bench) -> None:
    """The new picture gets the name; the old one goes to `.retouch/replaced/`, and comes back for nothing."""
    bench.images("one")
    await bench.run(bench.job(**white("First")))
    first = (bench.out / RESULT).read_bytes()
    bench.say = lambda edit: answer(picture(99))
    assert (await bench.run(bench.job(**white("Second")))).tasks["done"] == 1
    assert (bench.out / RESULT).read_bytes() == picture(99)
    assert [path.read_bytes() for path in (bench.out / ".retouch/replaced").iterdir()] == [first]
    summary = await bench.run(bench.job(**white("First")))
    assert (summary.tasks["reused"], bench.posts) == (1, [])
    assert (bench.out / RESULT).read_bytes() == first
    assert (await bench.run(bench.job(**white("First")))).tasks["skipped"] == 1


def named(bench: Bench, rows: str) -> Job:
    """A job over a table of keys, inputs and names, saved as these lines."""
    (bench.folder / "names.csv").write_text("key,file,name\n" + rows)
    sets = [{"name": "set", "table": "names.csv", "key": "{{ row.key }}", "images": "in/{{ row.file }}"}]
    return bench.job(image_sets=sets, output={"folder": "out", "spill": "spill", "path": "{{ row.name }}"})


async def test_a_task_whose_name_was_given_to_another_is_not_done(bench: Bench) -> None:
    """A name was corrected in the table, and another row has the old one now: both pictures are there, for nothing."""
    bench.images("a", "b")
    bench.say = lambda edit: answer(picture(len(bench.lines(Sent))))
    await bench.run(named(bench, "1,a.png,red\n"))
    job = named(bench, "1,a.png,crimson\n2,b.png,red\n")
    summary = await bench.run(job)
    assert (summary.exit, summary.tasks["done"], summary.tasks["reused"], summary.tasks["skipped"]) == (0, 1, 1, 0)
    await settled_as(bench, job, {"crimson.png": picture(1), "red.png": picture(2)})


async def test_a_name_that_went_to_another_in_an_earlier_run_is_missed(bench: Bench) -> None:
    """That run was of other tasks only: the next one sees that the file under the name is not this task's."""
    bench.images("a", "b")
    bench.say = lambda edit: answer(picture(len(bench.lines(Sent))))
    await bench.run(named(bench, "1,a.png,red\n"))
    job = named(bench, "1,a.png,crimson\n2,b.png,red\n")
    await bench.run(job, only="set/2/*")
    assert plan(job).tasks["reused"] == status(job).tasks["pending"] == 1
    summary = await bench.run(job)
    assert (summary.exit, summary.tasks["reused"], summary.tasks["skipped"], bench.posts) == (0, 1, 1, [])
    await settled_as(bench, job, {"crimson.png": picture(1), "red.png": picture(2)})


async def settled_as(bench: Bench, job: Job, files: dict[str, bytes]) -> None:
    """These are the files, and a further run has nothing to do."""
    assert {path: (bench.out / path).read_bytes() for path in bench.files()} == files
    lines = len(bench.lines(Reused))
    assert (await bench.run(job)).tasks["skipped"] == len(files)
    assert (bench.posts, len(bench.lines(Reused)), bench.parts()) == ([], lines, set())


async def test_a_foreign_file_that_came_during_a_run_stays_when_its_task_is_made_again(bench: Bench) -> None:
    """A line names it, as the result was to get that name; the result lies beside it, and the file is not ours."""
    bench.images("one")

    def say(edit: Edit) -> Reply:
        (bench.out / RESULT).parent.mkdir(parents=True)
        (bench.out / RESULT).write_bytes(b"mine")
        return answer(picture(1))

    bench.say = say
    await bench.run()
    summary = await bench.run(bench.job(**white("Second")))
    assert (summary.tasks["invalid"], bench.posts) == (1, [])
    assert (bench.out / RESULT).read_bytes() == b"mine"
    (bench.out / RESULT).unlink()
    bench.say = lambda edit: answer(picture(2))
    assert (await bench.run(bench.job(**white("Second")))).tasks["done"] == 1
    (bench.out / RESULT).write_bytes(b"edited")
    assert (await bench.run(bench.job(**white("Third")))).tasks["done"] == 1


async def test_another_format_moves_the_old_file_away(bench: Bench) -> None:
    """one-1.png and one-1.jpg of one task never stand side by side."""
    bench.images("one")
    await bench.run(bench.job(**white("First")))
    bench.say = lambda edit: answer(picture(2, format="JPEG"))
    await bench.run(bench.job(**white("Second")))
    assert bench.files() == {"set/white/one-1.jpg"}
    assert len(list((bench.out / ".retouch/replaced").glob("*.png"))) == 1


async def test_a_changed_output_path_moves_nothing(bench: Bench) -> None:
    """A task that is done stays where its line says."""
    bench.images("one")
    await bench.run()
    moved = bench.job(output={"folder": "out", "path": "elsewhere/{{ key }}-{{ index }}", "spill": "spill"})
    assert (await bench.run(moved)).tasks["skipped"] == 1
    assert bench.files() == {RESULT}


@pytest.mark.parametrize(("changed", "sent", "word"), [("remake", 1, "done"), ("keep", 0, "skipped")])
async def test_changed_input_bytes(bench: Bench, changed: str, sent: int, word: str) -> None:
    """A photo with other bytes is made again, or kept where rerun.changed says so."""
    bench.images("one")
    await bench.run()
    (bench.folder / "in/one.png").write_bytes(picture(3, size=(9, 9)))
    await bench.run(bench.job(rerun={"changed": changed}))
    assert (len(bench.posts), bench.words()) == (sent, {"set/one/white": word})


@pytest.mark.parametrize(("missing", "sent", "word"), [("remake", 1, "done"), ("keep", 0, "skipped")])
async def test_missing_outputs(bench: Bench, missing: str, sent: int, word: str) -> None:
    """An output that was deleted is made again, or counts as done where rerun.missing says so."""
    bench.images("one")
    await bench.run()
    (bench.out / RESULT).unlink()
    await bench.run(bench.job(rerun={"missing": missing}))
    assert (len(bench.posts), bench.words()) == (sent, {"set/one/white": word})


async def test_a_touched_input_is_hashed_and_not_bought_again(bench: Bench) -> None:
    """Another mtime over the same bytes costs a reading, and nothing else."""
    bench.images("one")
    await bench.run()
    os.utime(bench.folder / "in/one.png", (1, 1))
    assert (await bench.run()).tasks["skipped"] == 1
    assert bench.posts == []


async def test_an_edited_output_stays_and_counts_as_done(bench: Bench) -> None:
    """Someone retouched the result by hand: one warning, nothing is overwritten."""
    bench.images("one")
    await bench.run()
    (bench.out / RESULT).write_bytes(b"by hand")
    summary = await bench.run()
    assert (summary.exit, summary.tasks["skipped"], bench.posts) == (0, 1, [])
    assert [note for note in bench.notes if "changed by someone" in note] == [bench.notes[-1]]
    assert (bench.out / RESULT).read_bytes() == b"by hand"


async def test_a_failed_task_is_not_sent_again(bench: Bench) -> None:
    """A refusal lasts: later runs count it, exit 3, and say why, until --retry failed reopens what --only takes."""
    bench.images("one", "two")
    bench.say = lambda edit: refusal(400, "moderation_blocked")
    await bench.run()
    summary = await bench.run()
    assert (summary.exit, summary.tasks["failed"], bench.posts) == (3, 2, [])
    assert (summary.failures[0].code, summary.failures[0].message) == ("moderation_blocked", "said moderation_blocked")
    bench.say = lambda edit: answer(picture(1))
    summary = await bench.run(retry=frozenset({"failed"}), only="set/one/*")
    assert (summary.exit, summary.tasks["total"]) == (0, 1)
    assert [line.task for line in bench.lines(Reopened)] == ["set/one/white"]
    assert (await bench.run()).tasks["failed"] == 1


async def test_retry_of_twins_appends_one_line(bench: Bench) -> None:
    """What is reopened is the request, however many tasks wait for it."""
    bench.images("one")
    job = bench.job(prompts=[{"name": name, "text": "Same"} for name in "abc"])
    bench.say = lambda edit: refusal(400, "bad")
    await bench.run(job)
    bench.say = lambda edit: answer(picture(1))
    assert (await bench.run(job, retry=frozenset({"failed"}))).tasks["reused"] == 2
    assert len(bench.lines(Reopened)) == 1


async def test_redo_buys_the_next_generation(bench: Bench) -> None:
    """--redo makes good results anew; the old one is kept, and a plain rerun has nothing to do."""
    bench.images("one", "two")
    await bench.run()
    bench.say = lambda edit: answer(picture(99))
    summary = await bench.run(redo="set/one/*")
    assert (summary.tasks["done"], summary.tasks["skipped"], len(bench.posts)) == (1, 1, 1)
    assert (bench.out / RESULT).read_bytes() == picture(99)
    assert [line.generation for line in bench.lines(Sent)] == [0, 0, 1]
    assert (await bench.run()).tasks["skipped"] == 2
    await bench.run(redo="set/one/*")
    assert bench.lines(Sent)[-1].generation == 2
    assert len({line.fingerprint for line in bench.lines(Sent)}) == 4


async def test_the_generation_belongs_to_the_request(bench: Bench) -> None:
    """A twin of a task that was made anew takes the new picture over; another prompt starts at generation 0."""
    bench.images("one")
    job = bench.job(prompts=[{"name": name, "text": "Same"} for name in "ab"])
    await bench.run(job)
    bench.say = lambda edit: answer(picture(99))
    await bench.run(job, redo="*/a")
    assert len(bench.posts) == 1
    assert (bench.out / "set/a/one-1.png").read_bytes() == (bench.out / "set/b/one-1.png").read_bytes() == picture(99)
    await bench.run(bench.job(prompts=[{"name": "a", "text": "Other"}]))
    assert bench.lines(Sent)[-1].generation == 0


async def test_redo_that_was_stopped_goes_on_without_the_flag(bench: Bench) -> None:
    """The new generation is wanted from the moment it is in the ledger."""
    bench.images("one")
    await bench.run()
    bench.say = lambda edit: refusal(401)
    assert (await bench.run(redo="*")).exit == 6
    bench.say = lambda edit: answer(picture(99))
    assert (await bench.run()).tasks["done"] == 1
    assert (bench.out / RESULT).read_bytes() == picture(99)


async def test_redo_matches_names_in_either_unicode_form(bench: Bench) -> None:
    """A glob typed with a decomposed é finds a key that is kept composed."""
    (bench.folder / "in").mkdir()
    (bench.folder / "in/caf\u00e9.png").write_bytes(picture(1))
    await bench.run()
    assert (await bench.run(redo="*cafe\u0301*")).tasks["done"] == 1


@pytest.mark.parametrize(("gone", "refused"), [(20, False), (21, True)])
async def test_buying_too_much_again_is_refused(bench: Bench, gone: int, refused: bool) -> None:
    """Twenty may always be made again; more only up to rerun.limit of the tasks done before, or with --yes."""
    bench.images(*(f"{number:03}" for number in range(50)))
    await bench.run()
    for path in sorted((bench.out / "set/white").iterdir())[:gone]:
        path.unlink()
    if refused:
        with pytest.raises(RebuyError, match=f"{gone} of 50 tasks"):
            await bench.run()
        assert bench.posts == []
        assert (await bench.run(yes=True)).exit == 0
    else:
        assert (await bench.run()).exit == 0
    assert len(bench.posts) == gone


async def test_within_the_share_many_may_be_bought_again(bench: Bench) -> None:
    """Thirty of fifty are let through where rerun.limit is 60%."""
    bench.images(*(f"{number:03}" for number in range(50)))
    await bench.run()
    for path in sorted((bench.out / "set/white").iterdir())[:30]:
        path.unlink()
    assert (await bench.run(bench.job(rerun={"limit": 0.6}))).exit == 0


async def test_changed_prompts_are_no_rebuy(bench: Bench) -> None:
    """A prompt that someone edited is meant to be bought for every image."""
    bench.images(*(f"{number:03}" for number in range(25)))
    await bench.run(bench.job(**white("First")))
    assert (await bench.run(bench.job(**white("Second")))).tasks["done"] == 25


async def test_limit_takes_the_first_items_with_something_to_send(bench: Bench) -> None:
    """Three runs with --limit 2 over five items: two, two, one; what is left out is not counted."""
    bench.images(*"abcde")
    totals = []
    for _ in range(3):
        summary = await bench.run(limit=2)
        assert summary.exit == 0
        totals.append((summary.tasks["done"], summary.tasks["total"]))
    assert totals == [(2, 2), (2, 4), (1, 5)]


async def test_strict_sends_nothing_when_one_image_is_bad(bench: Bench) -> None:
    """Every bad image is named; each file is decoded once, however many tasks it has."""
    bench.images("one", "two")
    noise = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(noise, "PNG")
    (bench.folder / "in/cut.png").write_bytes(noise.getvalue()[:-200])
    job = bench.job(prompts=[{"name": "a", "text": "A"}, {"name": "b", "text": "B"}])
    with pytest.raises(JobError) as caught:
        await bench.run(job, strict=True)
    assert len(caught.value.problems) == 1
    assert "cut.png" in str(caught.value)
    assert bench.posts == []
    assert not bench.lines(Settled)


async def test_strict_decodes_each_file_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix of prompts over one photo must not decode it once for each."""
    seen: list[str] = []

    def look(path: str) -> Picture | Unusable:
        seen.append(Path(path).name)
        return picture_of(path)

    monkeypatch.setattr("pipeline.run.decoding.picture_of", look)
    bench.images("one", "two")
    await bench.run(bench.job(prompts=[{"name": name, "text": name} for name in "abc"]), strict=True)
    assert sorted(seen) == ["one.png", "two.png"]


async def test_another_jobs_folder_is_refused(bench: Bench) -> None:
    """A folder belongs to the first job that ran there."""
    bench.images("one")
    await bench.run()
    before = (bench.out / "ledger.jsonl").read_bytes()
    with pytest.raises(JobError, match="belongs to the job 'job', and this one is 'other'"):
        await bench.run(bench.job(name="other"))
    assert (bench.out / "ledger.jsonl").read_bytes() == before


async def test_a_second_run_is_refused_while_one_goes_on(bench: Bench) -> None:
    """The lock is held by somebody: nothing is sent, nothing is written."""
    bench.images("one")
    bench.out.mkdir()
    with FolderLock(bench.out), pytest.raises(LockedError, match="Nothing was sent"):
        await bench.run()
    assert not (bench.out / "ledger.jsonl").exists()


async def test_a_moved_output_folder_is_reused_and_not_bought_again(bench: Bench) -> None:
    """The ledger's paths are relative: the folder may go elsewhere as a whole."""
    bench.images("one")
    await bench.run()
    shutil.move(bench.out, bench.folder / "new")
    summary = await bench.run(bench.job(output={"folder": "new", "spill": "spill"}))
    assert (summary.tasks["skipped"], bench.posts) == (1, [])


async def test_the_command_line_stands_in_the_ledger_and_a_scripts_does_not(bench: Bench) -> None:
    """`argv` is what the retouch command was given; the arguments of a program that uses the API are its own."""
    bench.images("one")
    await bench.run()
    await bench.run(argv=("run", "job.yaml"))
    from pipeline.ledger.records import Run

    assert [line.argv for line in bench.lines(Run)] == [[], ["run", "job.yaml"]]


async def test_plan_and_status_agree_with_the_run(bench: Bench) -> None:
    """Every task is in exactly one count, before and after a run that did part of it."""
    bench.images("one", "two", "three", "four")
    (bench.folder / "in/bad.png").write_bytes(b"no image")
    job = bench.job()
    before = plan(job)
    assert before.tasks == {
        "total": 5, "new": 4, "changed": 0, "missing": 0, "reused": 0, "done": 0, "failed": 0, "held": 0, "invalid": 1,
    }  # fmt: skip
    assert (before.requests, before.images) == (4, 4)
    assert not bench.out.exists()
    bench.say = lambda edit: (
        refusal(400, "bad") if edit.images[0].path.endswith("two.png") else answer(picture(len(bench.posts)))
    )
    await bench.run(job)
    (bench.out / RESULT).unlink()
    (bench.folder / "in/three.png").write_bytes(picture(5, size=(5, 5)))
    after = plan(job)
    assert {kind: number for kind, number in after.tasks.items() if number} == {
        "total": 5, "changed": 1, "missing": 1, "done": 1, "failed": 1, "invalid": 1,
    }  # fmt: skip
    found = status(job)
    assert found.tasks == {"total": 5, "done": 1, "failed": 1, "held": 0, "invalid": 1, "pending": 2}
    assert sorted(failure.task for failure in found.failures) == ["set/bad/white", "set/two/white"]
    summary = await bench.run(job)
    assert len(bench.posts) == after.requests == 2
    assert summary.tasks["total"] == after.tasks["total"]


async def test_a_reused_line_is_told_by_its_task(bench: Bench) -> None:
    """`from` names the task that holds the result."""
    bench.images("one")
    await bench.run(bench.job(prompts=[{"name": "old", "text": "Same"}]))
    await bench.run(bench.job(prompts=[{"name": "new", "text": "Same"}]))
    (line,) = bench.lines(Reused)
    assert (line.task, line.from_) == ("set/one/new", "set/one/old")
    assert bench.files() == {"set/old/one-1.png", "set/new/one-1.png"}
