"""In which order tasks are sent, and which are not sent at all."""

from __future__ import annotations

import hashlib
import threading

import anyio
import anyio.to_thread
import pytest

from pipeline.endpoint.form import Edit
from pipeline.endpoint.reply import Reply
from pipeline.ledger.places import Where
from pipeline.ledger.records import Record, Settled
from pipeline.ledger.state import State
from pipeline.outputs import stock
from pipeline.outputs.folder import OutputFolder
from pipeline.outputs.stock import Stored
from pipeline.run import engine, found
from pipeline.run.examine import Examined, Examiner
from pipeline.run.inputs import Look
from pipeline.tasks.task import Task
from tests.run.conftest import Bench, answer, broken, picture, refusal

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("order", ["items", "prompts"])
async def test_tasks_are_sent_in_the_manifests_order(bench: Bench, order: str) -> None:
    """At concurrency 1 an item is finished before the next, or a prompt, as the manifest says: a cap cuts there."""
    names = [f"{number:02}" for number in range(20)]
    bench.images(*names)
    prompts = [{"name": "a", "text": "A"}, {"name": "b", "text": "B"}]
    await bench.run(bench.job(prompts=prompts, order=order, limits={"concurrency": 1}))
    by_items = [f"set/{name}/{prompt}" for name in names for prompt in "ab"]
    by_prompts = [f"set/{name}/{prompt}" for prompt in "ab" for name in names]
    assert list(bench.ends) == (by_items if order == "items" else by_prompts)


async def test_tasks_of_a_changed_prompt_are_sent_in_order_too(bench: Bench) -> None:
    """Also where the ledger knows the inputs already, so that their media types are read late."""
    names = [f"{number:02}" for number in range(20)]
    bench.images(*names)
    await bench.run()
    await bench.run(bench.job(prompts=[{"name": "white", "text": "Grey"}], limits={"concurrency": 1}))
    assert list(bench.ends) == [f"set/{name}/white" for name in names]
    assert len(bench.posts) == 20


async def test_an_image_too_large_for_the_json_form_is_invalid(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data URL beyond the endpoint's limit is not sent to be refused: the task is invalid, and says what to do."""
    bench.images("one")
    monkeypatch.setattr("pipeline.endpoint.form.MAX_DATA_URL", 50)
    summary = await bench.run(bench.job(endpoint={"auth": "none", "body": "json"}))
    assert (summary.exit, bench.posts) == (3, [])
    assert bench.ends["set/one/white"].word == "invalid"
    assert "body: multipart" in str(bench.ends["set/one/white"].message)


@pytest.mark.parametrize(("reply", "word"), [(refusal(400, "invalid_value"), "failed"), (broken(), "held")])
async def test_a_request_that_failed_while_its_twin_waited_is_not_made_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, reply: Reply, word: str
) -> None:
    """The twin was looked at while the request was in flight; it begins when that has ended."""
    names = [f"{number:02}" for number in range(60)]
    bench.images(*names)
    first = hashlib.sha256((bench.folder / "in/00.png").read_bytes()).hexdigest()

    def is_first(edit: Edit) -> bool:
        return edit.images[0].sha256 == first

    in_flight, looked_at = threading.Event(), threading.Event()
    plain = Examiner.examine_to_send

    def examine_to_send(self: Examiner, task: Task, look: Look = Look.HASH) -> Examined:
        twin = task.id == "set/00/b"
        assert not twin or in_flight.wait(20)
        try:
            return plain(self, task, look)
        finally:
            if twin:
                looked_at.set()

    async def long(edit: Edit) -> None:
        if is_first(edit):
            in_flight.set()
            assert await anyio.to_thread.run_sync(looked_at.wait, 20)
            await anyio.sleep(0.1)

    monkeypatch.setattr(Examiner, "examine_to_send", examine_to_send)

    bench.before = long
    bench.say = lambda edit: reply if is_first(edit) else answer(picture(bench.number(edit)))
    twins = [{"name": "a", "text": "Same"}, {"name": "b", "text": "Same"}]
    job = bench.job(
        prompts=twins, order="prompts", limits={"concurrency": 1}, retries={"in_doubt": "hold"},
        stop_on={"failures": None, "in_doubt": None},
    )  # fmt: skip
    await bench.run(job)
    assert len([edit for edit in bench.posts if is_first(edit)]) == 1
    assert [bench.ends[f"set/00/{prompt}"].word for prompt in "ab"] == [word, word]


async def test_a_result_that_comes_while_its_twin_is_looked_at_is_not_bought_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin's picture is looked for, in vain, just before the first's is stored; the twin then takes that over.

    The request has two results already, both removed, so that the list of its results is one that grows.
    """
    bench.images("a-one", *(f"b{number:02}" for number in range(10)))
    (bench.folder / "in/z-two.png").write_bytes((bench.folder / "in/a-one.png").read_bytes())
    await bench.run()
    request = bench.ends["set/z-two/white"].fingerprint
    first = hashlib.sha256((bench.folder / "in/a-one.png").read_bytes()).hexdigest()
    for name in ("a-one-1.png", "z-two-1.png"):
        (bench.out / "set/white" / name).unlink()
    sent, looking, stored = threading.Event(), threading.Event(), threading.Event()
    find, apply, examine_to_send = stock.find, State.apply, Examiner.examine_to_send

    def in_its_turn(self: Examiner, task: Task, look: Look = Look.HASH) -> Examined:
        assert task.id != "set/z-two/white" or sent.wait(20)
        return examine_to_send(self, task, look)

    def slow_find(folder: OutputFolder, output: Stored, fingerprint: str) -> str | None:
        if sent.is_set() and fingerprint == request and not looking.is_set():
            looking.set()
            assert stored.wait(20)
        return find(folder, output, fingerprint)

    def heard(self: State, record: Record, where: Where) -> None:
        apply(self, record, where)
        if sent.is_set() and isinstance(record, Settled) and record.fingerprint == request:
            stored.set()

    async def long(edit: Edit) -> None:
        if edit.images[0].sha256 == first:
            sent.set()
            assert await anyio.to_thread.run_sync(looking.wait, 20)

    monkeypatch.setattr(Examiner, "examine_to_send", in_its_turn)
    monkeypatch.setattr(found, "find", slow_find)
    monkeypatch.setattr(State, "apply", heard)
    monkeypatch.setattr(engine, "FIRST_BATCH", 1)
    bench.before = long
    bench.say = lambda edit: answer(picture(100 + bench.number(edit)))
    await bench.run()
    assert [bench.ends[f"set/{name}/white"].word for name in ("a-one", "z-two")] == ["done", "reused"]
    assert len(bench.posts) == 1
