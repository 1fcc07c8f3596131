"""What a run sends and stores, and what shares a request with what."""

from __future__ import annotations

import json
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from pipeline.endpoint.form import Edit
from pipeline.endpoint.reply import Failure, Reply
from pipeline.ledger.records import End, Reused, Sent, Settled
from pipeline.outcome import Outcome
from pipeline.outputs import publish as publishing
from pipeline.outputs.check import check
from pipeline.outputs.folder import OutputFolder
from pipeline.outputs.stock import MovedError, copy_part
from pipeline.run import engine
from tests.outputs import samples
from tests.run.conftest import Bench, answer, broken, picture, refusal

pytestmark = pytest.mark.anyio

TWINS: dict[str, Any] = {"prompts": [{"name": "a", "text": "Same"}, {"name": "b", "text": "Same"}]}


def refuse(*_: object) -> None:
    """A full disk, in place of a write."""
    raise OSError(28, "No space left on device")


async def test_a_run_from_nothing(bench: Bench) -> None:
    """Each task is sent once, stored under its name, and counted; a second run sends nothing and appends no task."""
    bench.images("one", "two", "three")
    summary = await bench.run()
    assert summary.exit == 0
    assert summary.tasks == {
        "total": 3, "done": 3, "skipped": 0, "reused": 0, "failed": 0, "held": 0, "invalid": 0, "pending": 0,
    }  # fmt: skip
    assert summary.attempts["succeeded"] == len(bench.posts) == 3
    assert summary.images == 3
    assert summary.usage == {"input_tokens": 15, "output_tokens": 21, "total_tokens": 36}
    assert bench.files() == {f"set/white/{name}-1.png" for name in ("one", "two", "three")}
    assert bench.parts() == set()
    before = len(bench.lines(Sent, Settled, Reused))
    again = await bench.run()
    assert (again.exit, again.tasks["skipped"], bench.posts) == (0, 3, [])
    assert len(bench.lines(Sent, Settled, Reused)) == before


async def test_the_end_line_is_the_summary(bench: Bench) -> None:
    """What the ledger keeps of a run is what the run reported."""
    bench.images("one", "two")
    bench.say = lambda edit: refusal(400, "bad") if len(bench.posts) == 1 else answer(picture(9))
    summary = await bench.run()
    (end,) = bench.lines(End)
    assert (end.counts, end.attempts, end.images) == (summary.tasks, summary.attempts, summary.images)
    assert (end.usage, end.exit) == (summary.usage, summary.exit)


async def test_twins_send_one_request_and_share_its_picture(bench: Bench) -> None:
    """Two tasks of one fingerprint, begun together, buy one picture; the second takes a copy."""
    bench.images("one")
    summary = await bench.run(bench.job(**TWINS))
    assert len(bench.posts) == 1
    assert bench.words() == {"set/one/a": "done", "set/one/b": "reused"}
    first, second = ((bench.out / f"set/{prompt}/one-1.png").read_bytes() for prompt in "ab")
    assert first == second == picture(1)
    assert summary.exit == 0


async def test_many_twins_send_one_request(bench: Bench) -> None:
    """However many there are, and whatever their concurrency."""
    bench.images("one")
    prompts = [{"name": f"p{number}", "text": "Same"} for number in range(20)]
    summary = await bench.run(bench.job(prompts=prompts, limits={"concurrency": 16}))
    assert len(bench.posts) == 1
    assert (summary.tasks["done"], summary.tasks["reused"]) == (1, 19)


async def test_twins_far_apart_send_one_request(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that was looked at before its twin was bought, and begins after it, looks again."""
    monkeypatch.setattr(engine, "BATCH_SECONDS", 60.0)
    bench.images(*(f"{number:02}" for number in range(60)))
    summary = await bench.run(bench.job(**TWINS, order="prompts", limits={"concurrency": 1}))
    assert len(bench.posts) == 60
    assert (summary.tasks["done"], summary.tasks["reused"]) == (60, 60)


async def test_a_picture_that_moved_is_looked_for_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between finding a picture and copying it another result took its name: no reason to stop the run."""
    bench.images("one")
    await bench.run(bench.job(prompts=[TWINS["prompts"][0]]))
    moved = [MovedError("gone")]

    def copy(*arguments: Any) -> str:
        if moved:
            raise moved.pop()
        return copy_part(*arguments)

    monkeypatch.setattr("pipeline.run.reuse.copy_part", copy)
    summary = await bench.run(bench.job(**TWINS))
    assert (summary.exit, summary.tasks["reused"], moved) == (0, 1, [])


async def test_pictures_that_move_again_and_again_are_found_in_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was copied of a result before its second picture turned out to have moved does not stand in the way."""
    bench.images("one")
    bench.say = lambda edit: answer(picture(1), picture(2))
    two = {"request": {"model": "m", "n": 2}}
    await bench.run(bench.job(prompts=[TWINS["prompts"][0]], **two))
    moved = [MovedError("gone") for _ in range(3)]

    def copy(folder: OutputFolder, source: str, sha256: str, name: str) -> str:
        if moved and name.endswith("-2.part"):
            raise moved.pop()
        return copy_part(folder, source, sha256, name)

    monkeypatch.setattr("pipeline.run.reuse.copy_part", copy)
    summary = await bench.run(bench.job(**TWINS, **two))
    assert (summary.exit, summary.tasks["reused"], moved) == (0, 1, [])
    assert bench.parts() == set()


async def test_two_tasks_may_trade_their_prompts(bench: Bench) -> None:
    """Each takes over the other's picture, though the first to do so moves the file that the second was to copy."""
    bench.images("one")
    texts = {"a": "First", "b": "Second"}
    await bench.run(bench.job(prompts=[{"name": name, "text": text} for name, text in texts.items()]))
    before = {name: (bench.out / f"set/{name}/one-1.png").read_bytes() for name in texts}
    traded = zip(texts, reversed(texts.values()), strict=True)
    summary = await bench.run(bench.job(prompts=[{"name": name, "text": text} for name, text in traded]))
    assert (summary.exit, summary.tasks["reused"], bench.posts) == (0, 2, [])
    assert {name: (bench.out / f"set/{name}/one-1.png").read_bytes() for name in "ba"} == {
        "b": before["a"],
        "a": before["b"],
    }


async def test_twins_share_a_refusal(bench: Bench) -> None:
    """A refused request fails both tasks and is not asked twice."""
    bench.images("one")
    bench.say = lambda edit: refusal(400, "moderation_blocked")
    summary = await bench.run(bench.job(**TWINS))
    assert len(bench.posts) == 1
    assert bench.words() == {"set/one/a": "failed", "set/one/b": "failed"}
    assert [failure.code for failure in summary.failures] == ["moderation_blocked"] * 2
    assert summary.exit == 3


async def test_a_follower_of_a_drained_leader_stays_pending(bench: Bench) -> None:
    """When the leader's run is stopped by a 401, the follower is not sent after it."""
    bench.images("one")
    bench.say = lambda edit: refusal(401, "invalid_api_key")
    summary = await bench.run(bench.job(**TWINS))
    assert len(bench.posts) == 1
    assert bench.words() == {"set/one/a": "pending", "set/one/b": "pending"}
    assert summary.exit == 6


async def test_repeats_are_requests_of_their_own(bench: Bench) -> None:
    """repeat: 2 asks for two independent samples."""
    bench.images("one")
    await bench.run(bench.job(prompts=[{"name": "a", "text": "Same", "repeat": 2}]))
    assert len(bench.posts) == 2


async def test_the_ceiling_of_concurrency_is_never_passed(bench: Bench) -> None:
    """With concurrency 3 at most three requests are in flight, retries included."""
    bench.images(*(str(number) for number in range(12)))
    said = count(1)
    bench.say = lambda edit: refusal(429) if (number := next(said)) % 3 == 0 else answer(picture(number))
    bench.before = lambda edit: anyio.sleep(0.05)
    summary = await bench.run(concurrency=3)
    assert summary.tasks["done"] == 12
    assert bench.most_in_flight == 3


async def test_a_bug_in_one_task_costs_no_other_its_answer(bench: Bench) -> None:
    """A worker's exception ends the run with exit 1; what is in flight is stored and counted."""
    bench.images("one", "two", "three")

    said = count(1)

    def say(edit: Edit) -> Reply:
        if (number := next(said)) == 2:
            raise RuntimeError("planted")
        return answer(picture(number))

    both = anyio.Event()

    async def meet(edit: Edit) -> None:
        if len(bench.posts) == 3:
            both.set()
        await both.wait()

    bench.say, bench.before = say, meet
    summary = await bench.run()
    assert summary.exit == 1
    assert "planted" in (summary.error or "")
    assert sorted(bench.words().values()) == ["done", "done", "pending"]
    assert len(bench.files()) == 2


async def test_a_bug_while_reading_an_answer_is_held_and_not_bought_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A received answer that a fault of ours spoils is told in the ledger, and no run pays for it by itself."""
    bench.images("one")

    def fault(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.run.receive.check", fault)
        summary = await bench.run()
    (line,) = bench.lines(Settled)
    assert (line.outcome, line.code, summary.exit) == (Outcome.UNUSABLE, "storage", 7)
    assert list((bench.out / ".retouch/unusable").iterdir())
    assert (await bench.run()).exit == 9
    assert bench.posts == []


async def test_several_images_of_one_request(bench: Bench) -> None:
    """n: 2 makes two files and one line that names both."""
    bench.images("one")
    bench.say = lambda edit: answer(picture(1), picture(2))
    summary = await bench.run(bench.job(request={"model": "m", "n": 2}))
    assert bench.files() == {"set/white/one-1.png", "set/white/one-2.png"}
    assert summary.images == 2
    assert [output.path for output in bench.ends["set/one/white"].outputs] == sorted(bench.files())


async def test_more_images_than_asked_for(bench: Bench) -> None:
    """Of three images where one was asked for the first is kept, and the difference is recorded."""
    bench.images("one")
    bench.say = lambda edit: answer(picture(1), picture(2), picture(3))
    summary = await bench.run()
    (line,) = bench.lines(Settled)
    assert (line.mismatch, summary.images, summary.exit) == (["count"], 1, 0)
    assert (bench.out / "set/white/one-1.png").read_bytes() == picture(1)


async def test_of_many_pictures_only_as_many_as_are_wanted_are_checked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is damaged is passed over; a picture may take a second to check, and an answer may hold many."""
    bench.images("one")
    bench.say = lambda edit: answer(b"no picture", *(picture(number) for number in range(1, 30)))
    looked = []

    def counted(data: bytes, how: Any) -> Any:
        looked.append(data)
        return check(data, how)

    monkeypatch.setattr("pipeline.run.receive.check", counted)
    summary = await bench.run(bench.job(request={"model": "m", "n": 2}))
    (line,) = bench.lines(Settled)
    assert (line.mismatch, summary.images, summary.exit) == (["count"], 2, 0)
    assert looked == [b"no picture", picture(1), picture(2)]


async def test_of_many_urls_only_as_many_as_are_wanted_are_fetched(bench: Bench) -> None:
    """The rest is told as another count; a URL that leads to no picture is passed over."""
    bench.images("one")
    urls = [{"url": f"/{number}.png"} for number in range(5000)]
    bench.say = lambda edit: Reply(200, body=json.dumps({"data": urls}).encode(), began=True, seconds=1.0)
    fetched = []

    async def fetch(url: str) -> Reply:
        fetched.append(url)
        return Reply(200, body=b"no picture" if url == "/0.png" else picture(5))

    bench.fetch = fetch  # type: ignore[method-assign]  # the bench's own refuses every URL
    summary = await bench.run()
    (line,) = bench.lines(Settled)
    assert (line.mismatch, summary.images, summary.exit) == (["count"], 1, 0)
    assert fetched == ["/0.png", "/1.png"]


async def test_another_size_and_format_than_asked_for(bench: Bench) -> None:
    """What was paid for is published under the extension that it has, and not bought again."""
    bench.images("one")
    bench.say = lambda edit: answer(picture(1, format="JPEG"))
    job = bench.job(request={"model": "m", "size": "1024x1024", "output_format": "png"})
    await bench.run(job)
    (line,) = bench.lines(Settled)
    assert line.mismatch == ["size", "format"]
    assert bench.files() == {"set/white/one-1.jpg"}
    assert (await bench.run(job)).tasks["skipped"] == 1


async def test_fewer_usable_images_than_asked_for(bench: Bench) -> None:
    """One good image of two is a success with a mismatch; none is unusable, and asked for once more."""
    bench.images("one")
    bench.say = lambda edit: answer(picture(1), b"no picture")
    summary = await bench.run(bench.job(request={"model": "m", "n": 2}))
    assert (summary.exit, bench.files()) == (0, {"set/white/one-1.png"})
    bench.images("two")
    bench.say = lambda edit: answer(b"no picture", b"none")
    summary = await bench.run(bench.job(request={"model": "m", "n": 2}))
    assert bench.words()["set/two/white"] == "failed"
    assert summary.attempts["unusable"] == len(bench.posts) == 2
    assert len(list((bench.out / ".retouch/unusable").iterdir())) == 2


@pytest.mark.parametrize("how", ["full", "fast"])
async def test_a_damaged_answer_is_unusable_however_it_is_checked(bench: Bench, how: str) -> None:
    """A picture that is cut, holed or of other checksums is kept aside as undecodable, and no output."""
    bench.images("one")
    whole = picture(1, (40, 30))
    start = whole.index(b"IDAT") + 12
    for damaged in (whole[:-20], whole[:start] + bytes(8) + whole[start + 8 :], picture(1, format="JPEG")[:-40]):
        said = answer(damaged)
        bench.say = partial(lambda reply, edit: reply, said)
        await bench.run(
            bench.job(output={"folder": "out", "spill": "spill", "check": how}), retry=frozenset({"failed"})
        )
        assert bench.files() == set()
        assert [settled.code for settled in bench.lines(Settled)][-1] == "undecodable"
    bench.say = lambda edit: answer(whole)
    await bench.run(bench.job(output={"folder": "out", "spill": "spill", "check": how}), retry=frozenset({"failed"}))
    assert bench.files() == {"set/white/one-1.png"}


@pytest.mark.parametrize(("how", "outcome"), [("full", "failed"), ("fast", "done")])
async def test_the_manifest_says_how_closely_results_are_looked_at(bench: Bench, how: str, outcome: str) -> None:
    """Pixel data that was compressed wrongly under right checksums is what `fast` alone lets through."""
    bench.images("one")
    parts = samples.chunks(samples.saved(samples.noise((80, 60)), "PNG"))
    packed = parts[1][1]
    spoilt = packed[:9000] + bytes(50) + packed[9050:]
    bench.say = lambda edit: answer(samples.png_of([parts[0], (b"IDAT", spoilt), *parts[2:]]))
    await bench.run(bench.job(output={"folder": "out", "spill": "spill", "check": how}))
    assert bench.words()["set/one/white"] == outcome


async def test_a_foreign_file_that_comes_before_sending(bench: Bench) -> None:
    """A file that the ledger does not know has the name: nothing is sent, and the file stays as it is."""
    bench.images("one")
    (bench.out / "set/white").mkdir(parents=True)
    (bench.out / "set/white/one-1.webp").write_bytes(b"mine")
    summary = await bench.run()
    assert (bench.posts, bench.words()) == ([], {"set/one/white": "invalid"})
    assert summary.exit == 3
    assert bench.ends["set/one/white"].code == "name_taken"
    (bench.out / "set/white/one-1.webp").unlink()
    assert (await bench.run()).exit == 0


async def test_a_foreign_file_that_comes_while_sending(bench: Bench) -> None:
    """The result goes beside it, a `reused` line says where, and the run's end and the next run know it there."""
    bench.images("one")

    async def intrude(edit: Edit) -> None:
        (bench.out / "set/white").mkdir(parents=True)
        (bench.out / "set/white/one-1.png").write_bytes(b"mine")

    bench.before = intrude
    summary = await bench.run()
    (settled,), (reused,) = bench.lines(Settled), bench.lines(Reused)
    name = f"set/white/one-1~{settled.fingerprint[:8]}.png"
    assert [output.path for output in reused.outputs] == [name]
    assert [output.path for output in bench.ends["set/one/white"].outputs] == [name]
    assert (bench.out / name).read_bytes() == picture(1)
    assert (bench.out / "set/white/one-1.png").read_bytes() == b"mine"
    assert summary.exit == 0
    again = await bench.run()
    assert (again.tasks["skipped"], bench.posts) == (1, [])


async def test_an_input_that_changes_before_it_is_sent_is_sent_as_it_is_now(bench: Bench) -> None:
    """The file is looked at again and sent under its new fingerprint; nobody waits for an outage over it."""
    bench.images("one")

    def say(edit: Edit) -> Reply:
        if len(bench.posts) == 1:
            (bench.folder / "in/one.png").write_bytes(picture(777, size=(20, 20)))
            return broken(Failure.INPUT_CHANGED)
        return answer(picture(1))

    bench.say = say
    summary = await bench.run()
    assert summary.exit == 0
    assert [line.outcome for line in bench.lines(Settled)] == ["unsent", "succeeded"]
    first, second = bench.lines(Sent)
    assert first.fingerprint != second.fingerprint


async def test_an_input_that_is_removed_before_it_is_sent_is_invalid(bench: Bench) -> None:
    """A file that is gone fails its own task, and is not waited for."""
    bench.images("one", "two")

    def say(edit: Edit) -> Reply:
        if edit.images[0].path.endswith("one.png"):
            (bench.folder / "in/one.png").unlink()
            return broken(Failure.INPUT_CHANGED)
        return answer(picture(1))

    bench.say = say
    summary = await bench.run()
    assert bench.words() == {"set/one/white": "invalid", "set/two/white": "done"}
    assert summary.exit == 3


async def test_an_input_that_never_stops_changing_does_not_keep_the_run_from_its_end(bench: Bench) -> None:
    """A webcam's latest picture: its task is invalid for this run, is told with the file's name, and is not failed."""
    bench.images("one", "two")
    photo = bench.folder / "in/one.png"
    numbers = count(100)
    still = False

    def say(edit: Edit) -> Reply:
        if still or edit.images[0].path != str(photo):
            return answer(picture(next(numbers)))
        photo.write_bytes(picture(next(numbers), size=(20, 20)))
        return replace(broken(Failure.INPUT_CHANGED), detail=f"{photo} has another content than when it was hashed")

    bench.say = say
    summary = await bench.run()
    assert bench.words() == {"set/one/white": "invalid", "set/two/white": "done"}
    assert (summary.exit, summary.attempts["unsent"]) == (3, 3)
    (failure,) = summary.failures
    assert failure.code == "unreadable"
    assert str(failure.message).startswith(str(photo))
    still = True
    assert (await bench.run()).exit == 0
    assert bench.words()["set/one/white"] == "done"


async def test_an_input_is_held_from_the_look_to_the_sending(bench: Bench) -> None:
    """A run reads a small file once."""
    bench.images("one", "two")
    taken = []

    def say(edit: Edit) -> Reply:
        (photo,) = edit.images
        assert photo.held is not None
        taken.append(photo.held.take() == Path(photo.path).read_bytes())
        return answer(picture(1))

    bench.say = say
    assert (await bench.run()).exit == 0
    assert taken == [True, True]


async def test_an_invalid_item_has_one_line(bench: Bench) -> None:
    """Three runs over the same broken file append one line; another state of the file appends another."""
    bench.images("one")
    bad = bench.folder / "in/bad.png"
    bad.write_bytes(b"no image")
    for _ in range(3):
        assert (await bench.run()).exit == 3
    assert len([line for line in bench.lines(Settled) if line.outcome is Outcome.INVALID]) == 1
    bad.write_bytes(b"no image either")
    await bench.run()
    assert len([line for line in bench.lines(Settled) if line.outcome is Outcome.INVALID]) == 2


async def test_the_result_beside_is_not_lost_when_its_name_cannot_be_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result that cannot be given its name waits as a part, also past the `end` line; the next run names it."""
    bench.images("one")

    def refuse(*_: object) -> str:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "give", refuse)
        summary = await bench.run()
    assert summary.exit == 7
    assert bench.words() == {"set/one/white": "pending"}
    assert (summary.attempts["succeeded"], summary.images) == (1, 1)
    assert (bench.files(), len(bench.parts())) == (set(), 1)
    assert bench.lines(End)
    again = await bench.run()
    assert (again.exit, again.tasks["skipped"], bench.posts) == (0, 1, [])
    assert (bench.out / "set/white/one-1.png").read_bytes() == picture(1)


async def test_a_result_that_cannot_be_stored_is_spilled_and_taken_in_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output's disk refuses parts: the result goes to the spill folder, the next run takes it in for nothing."""
    bench.images("one")
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.outputs.parts.write_all", refuse)
        summary = await bench.run()
    assert (summary.exit, bench.words()) == (7, {"set/one/white": "pending"})
    assert len(list((bench.folder / "spill").rglob("*.part"))) == 1
    again = await bench.run()
    assert (again.exit, again.tasks["skipped"], bench.posts) == (0, 1, [])
    assert (bench.out / "set/white/one-1.png").read_bytes() == picture(1)
    assert not list((bench.folder / "spill").rglob("*.part"))
    await bench.run()
    assert len(bench.lines(Settled)) == 1


async def test_what_can_be_stored_nowhere_is_held(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the spill folder full too the ledger says so, and no run buys it again by itself."""
    bench.images("one")
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.outputs.parts.write_all", refuse)
        patch.setattr("pipeline.outputs.spill.write_all", refuse)
        assert (await bench.run()).exit == 7
    assert bench.words() == {"set/one/white": "held"}
    assert (await bench.run()).exit == 9
    assert bench.posts == []
    assert (await bench.run(retry=frozenset({"held"}))).exit == 0


async def test_a_spilled_result_of_which_the_ledger_knows_nothing_is_left_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that was removed must not take the paid picture with it."""
    bench.images("one")
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.outputs.parts.write_all", refuse)
        await bench.run()
    (bench.out / "ledger.jsonl").unlink()
    await bench.run()
    assert len(list((bench.folder / "spill").rglob("*.part"))) == 1


URL_ANSWER = Reply(status=200, body=b'{"data": [{"url": "/made/1.png"}]}', began=True, seconds=1.0)


@pytest.mark.parametrize("first", [Reply(status=503), broken()])
async def test_a_picture_at_a_url_is_fetched_again_where_that_fails(bench: Bench, first: Reply) -> None:
    """The answer is paid for: a passing fault of the fetch does not lose its picture, nor buy it again."""
    bench.images("one")
    bench.say = lambda edit: URL_ANSWER
    replies = [first, Reply(status=200, body=picture(5))]

    async def fetch(url: str) -> Reply:
        assert url == "/made/1.png"
        return replies.pop(0)

    bench.fetch = fetch  # type: ignore[method-assign]  # the bench's own refuses every URL
    summary = await bench.run()
    assert (summary.exit, len(bench.posts), replies) == (0, 1, [])
    assert (bench.out / "set/white/one-1.png").read_bytes() == picture(5)


async def test_a_url_that_may_not_be_fetched_is_tried_once(bench: Bench) -> None:
    """What the manifest does not allow does not pass with time: the attempt is unusable at once."""
    bench.images("one")
    bench.say = lambda edit: URL_ANSWER
    fetched = []

    async def fetch(url: str) -> Reply:
        fetched.append(url)
        return Reply(failure=Failure.URL_NOT_ALLOWED)

    bench.fetch = fetch  # type: ignore[method-assign]  # the bench's own refuses every URL
    assert (await bench.run()).exit == 3
    assert [line.code for line in bench.lines(Settled)] == ["url_not_allowed"] * 2
    assert len(fetched) == 2
