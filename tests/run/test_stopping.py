"""When attempts are made again, and when a run stops."""

from __future__ import annotations

import asyncio
import errno
import os
from itertools import count
from typing import Any, NoReturn

import anyio
import pytest

from pipeline.endpoint.form import Edit
from pipeline.endpoint.reply import Failure, Reply
from pipeline.ledger.records import End, Sent, Settled
from pipeline.outcome import Outcome
from pipeline.run.exits import Exit
from pipeline.run.halt import Halt
from pipeline.tasks.cache import InputCache
from tests.run.conftest import Bench, answer, broken, picture, refusal

pytestmark = pytest.mark.anyio


def in_turn(*replies: Reply) -> Any:
    """Says these in turn, and good answers from then on."""
    left, number = list(replies), count(1)
    return lambda edit: left.pop(0) if left else answer(picture(next(number)))


@pytest.mark.parametrize("reply", [refusal(429), refusal(503), broken(Failure.CONNECT_REFUSED)])
async def test_throttling_never_uses_up_the_attempts(bench: Bench, reply: Reply) -> None:
    """Eight 429s, 503s or refused connections are followed by a ninth try, with the key of the first."""
    bench.images("one")
    bench.say = in_turn(*[reply] * 8)
    summary = await bench.run()
    assert (summary.exit, len(bench.posts)) == (0, 9)
    assert len({edit.idempotency_key for edit in bench.posts}) == 1
    assert [line.attempt for line in bench.lines(Sent)] == list(range(1, 10))


async def test_attempts_in_doubt_are_used_up(bench: Bench) -> None:
    """After max_attempts possibly billed attempts the task is held, in this run and in the next."""
    bench.images("one")
    bench.say = lambda edit: broken()
    summary = await bench.run()
    assert (summary.exit, summary.attempts["in_doubt"], bench.words()) == (9, 3, {"set/one/white": "held"})
    again = await bench.run()
    assert (again.exit, again.tasks["held"], bench.posts) == (9, 1, [])
    assert again.failures[0].code == "reset"


async def test_attempts_of_an_earlier_run_count(bench: Bench) -> None:
    """Where two attempts of a killed or drained run are in doubt, the next run makes one more, not three."""
    bench.images("one")
    tries = count(1)

    def say(edit: Edit) -> Reply:
        return refusal(401) if next(tries) == 3 else broken()

    bench.say = say
    assert (await bench.run()).exit == 6
    assert len(bench.posts) == 3
    bench.say = lambda edit: broken()
    await bench.run()
    assert len(bench.posts) == 1


async def test_hold_makes_no_second_attempt(bench: Bench) -> None:
    """retries.in_doubt: hold leaves it to a person, who reopens it with --retry held."""
    bench.images("one")
    job = bench.job(retries={"in_doubt": "hold"})
    bench.say = lambda edit: broken()
    assert (await bench.run(job)).exit == 9
    assert len(bench.posts) == 1
    bench.say = in_turn()
    assert (await bench.run(job, retry=frozenset({"failed"}))).exit == 9
    summary = await bench.run(job, retry=frozenset({"held"}))
    assert (summary.exit, len(bench.posts)) == (0, 1)
    assert [line.attempt for line in bench.lines(Sent)] == [1, 2]


async def test_reopening_counts_attempts_from_there(bench: Bench) -> None:
    """--retry held gives max_attempts more, under a new idempotency key."""
    bench.images("one")
    bench.say = lambda edit: broken()
    await bench.run()
    first = {edit.idempotency_key for edit in bench.posts}
    await bench.run(retry=frozenset({"held"}))
    assert len(bench.posts) == 3
    assert first.isdisjoint(edit.idempotency_key for edit in bench.posts)


async def test_unusable_is_asked_for_once_more(bench: Bench) -> None:
    """An answer without an image is billed: one more attempt, then the task failed."""
    bench.images("one")
    bench.say = lambda edit: Reply(status=200, body=b"<html>", began=True)
    summary = await bench.run(bench.job(retries={"max_attempts": 9}))
    assert (summary.exit, len(bench.posts), bench.words()) == (3, 2, {"set/one/white": "failed"})


async def test_a_wait_grows_and_is_capped(bench: Bench) -> None:
    """Half of a doubling ceiling, up to max_wait."""
    bench.images("one")
    bench.say = in_turn(*[refusal(429)] * 6)
    await bench.run(bench.job(retries={"max_wait": 8}))
    assert bench.clock.slept == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


async def test_the_servers_wait_wins(bench: Bench) -> None:
    """A Retry-After below max_wait is waited for, with a little jitter, by the task alone."""
    bench.images("one")
    bench.say = in_turn(refusal(429, retry_after="20"))
    await bench.run()
    assert bench.clock.slept == [20.5]
    assert bench.notes == []


async def test_a_retry_after_of_nothing_is_no_hot_loop(bench: Bench) -> None:
    """A server that says 0 again and again is asked less and less often."""
    bench.images("one")
    bench.say = in_turn(*[refusal(429, retry_after="0")] * 5)
    await bench.run()
    backoffs = [seconds for seconds in bench.clock.slept if seconds in (0.0, 1.0, 2.0, 4.0, 8.0)]
    assert backoffs[:5] == [0.0, 1.0, 2.0, 4.0, 8.0]


async def test_a_long_retry_after_pauses_the_run(bench: Bench) -> None:
    """Beyond max_wait nothing is sent by anybody until it has passed; the user is told once."""
    bench.images("one", "two")
    bench.say = in_turn(refusal(429, retry_after="300"))
    times: list[float] = []

    async def note(edit: Edit) -> None:
        times.append(bench.clock.now)

    bench.before = note
    summary = await bench.run(bench.job(limits={"concurrency": 1}))
    assert summary.exit == 0
    assert times[1] - times[0] >= 300
    assert bench.notes == ["the endpoint asks for a pause: nothing is sent to it for 300 s"]


@pytest.mark.parametrize(("asked", "duration"), [("3601", None), ("300", "200s")])
async def test_too_long_a_retry_after_stops_the_run(bench: Bench, asked: str, duration: str | None) -> None:
    """Longer than an hour, or than the run may still take: exit 4, and the task is pending."""
    bench.images("one")
    bench.say = lambda edit: refusal(429, retry_after=asked)
    bench.patient = {200.0}
    summary = await bench.run(bench.job(stop_on={"duration": duration}))
    assert summary.exit == 4
    assert (len(bench.posts), bench.words()) == (1, {"set/one/white": "pending"})
    assert f"asks to wait {asked} s" in bench.notes[0]


async def test_ten_minutes_of_nothing_but_failures_are_an_outage(bench: Bench) -> None:
    """Exit 4, every task pending and none failed: a rerun may succeed."""
    bench.images("one", "two")
    bench.say = lambda edit: broken(Failure.CONNECT_REFUSED)
    summary = await bench.run()
    assert (summary.exit, summary.tasks["pending"]) == (4, 2)
    assert bench.notes[0] == "127.0.0.1:1 cannot be reached: connect_refused; trying again"
    assert "seems to be down (connect_refused): one request at a time tries until it works" in bench.notes[1]
    assert "has not worked for 10 minutes (last: connect_refused)" in bench.notes[2]
    bench.say = in_turn()
    assert (await bench.run()).exit == 0


async def test_changing_inputs_are_no_outage(bench: Bench) -> None:
    """Only what the network or the server did counts towards an outage."""
    bench.images("one")
    tries = count()

    def say(edit: Edit) -> Reply:
        number = next(tries)
        bench.clock.now += 400
        if number == 2:
            return answer(picture(1))
        (bench.folder / "in/one.png").write_bytes(picture(number))
        return broken(Failure.INPUT_CHANGED)

    bench.say = say
    assert (await bench.run()).exit == 0


async def test_a_second_look_without_descriptors_stops_the_run_as_a_first_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine's lack is no bug and nothing wrong with the item: exit 7, the task pending."""
    bench.images("one")

    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def say(edit: Edit) -> Reply:
        monkeypatch.setattr(InputCache, "renew", refuse)
        return broken(Failure.INPUT_CHANGED)

    bench.say = say
    summary = await bench.run()
    assert (summary.exit, bench.words()) == (7, {"set/one/white": "pending"})
    assert "Too many open files; the run cannot go on" in bench.notes[-1]


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "invalid_api_key", "check the key"),
        (402, "", "balance"),
        (403, "", "permissions"),
        (404, "", "endpoint.base_url"),
        (429, "insufficient_quota", "quota"),
        (302, "", "endpoint.base_url"),
    ],
)
async def test_a_rejected_run_stops(bench: Bench, status: int, code: str, words: str) -> None:
    """Key, quota, billing and address concern every task: exit 6, the rest pending, a person is told what to do."""
    bench.images(*(str(number) for number in range(9)))
    bench.say = lambda edit: refusal(status, code)
    summary = await bench.run(bench.job(limits={"concurrency": 1}))
    assert (summary.exit, len(bench.posts), summary.tasks["pending"]) == (6, 1, 9)
    assert words in bench.notes[0]
    assert len(bench.notes) == 1


async def test_too_many_failures_stop_the_run(bench: Bench) -> None:
    """From the twentieth finished task on a share of failures above stop_on.failures drains: exit 10."""
    bench.images(*(f"{number:02}" for number in range(40)))
    number = count()
    bench.say = lambda edit: refusal(400, "bad") if (n := next(number)) % 4 == 0 else answer(picture(n))
    summary = await bench.run(bench.job(limits={"concurrency": 1}))
    assert (summary.exit, len(bench.posts)) == (10, 20)
    assert "5 of 20 finished tasks failed" in bench.notes[0]
    assert summary.tasks["pending"] == 20


async def test_earlier_failures_do_not_stop_a_run(bench: Bench) -> None:
    """The shares are of what this run sent."""
    bench.images(*(f"{number:02}" for number in range(30)))
    bench.say = lambda edit: refusal(400, "bad")
    await bench.run(bench.job(stop_on={"failures": None}))
    bench.images("new")
    bench.say = in_turn()
    summary = await bench.run()
    assert (summary.exit, summary.tasks["failed"], summary.tasks["done"]) == (3, 30, 1)


async def test_too_many_attempts_in_doubt_stop_the_run(bench: Bench) -> None:
    """From the fiftieth attempt on; attempts that were all cut at the same time point at a gateway."""
    bench.images(*(f"{number:02}" for number in range(60)))
    number = count()
    bench.say = lambda edit: broken(seconds=60.1) if (n := next(number)) % 5 == 0 else answer(picture(n))
    summary = await bench.run(bench.job(limits={"concurrency": 1}, retries={"in_doubt": "hold"}))
    assert (summary.exit, sum(summary.attempts.values())) == (10, 50)
    assert "10 of 50 requests ended without an answer" in bench.notes[0]
    assert "cut after 60 s each: a gateway" in bench.notes[0]


async def test_the_image_budget_holds_at_any_concurrency(bench: Bench) -> None:
    """Eight slots, five images: never a sixth request, exit 5, the rest pending; the next run buys nothing either."""
    bench.images(*(f"{number:02}" for number in range(20)))
    job = bench.job(limits={"concurrency": 8}, budget={"max_images": 5})
    summary = await bench.run(job)
    assert (summary.exit, len(bench.posts), summary.tasks["pending"]) == (5, 5, 15)
    assert (await bench.run(job)).exit == 5
    assert bench.posts == []


async def test_the_budget_counts_what_a_killed_run_left_in_flight(bench: Bench) -> None:
    """An attempt that was never settled may have been bought: it counts from the first request on."""
    bench.images("one", "two", "three")
    job = bench.job(budget={"max_images": 2}, limits={"concurrency": 1})

    def die(edit: Edit) -> Reply:
        raise RuntimeError("as good as killed")

    bench.say = die
    await bench.run(job)
    bench.say = in_turn()
    summary = await bench.run(job)
    assert (len(bench.posts), summary.exit) == (1, 5)


async def test_the_duration_ends_a_run(bench: Bench) -> None:
    """stop_on.duration drains with exit 11; what is left is for the next run."""
    bench.images("one", "two", "three")
    bench.patient = {100.0}
    job = bench.job(stop_on={"duration": 100}, limits={"concurrency": 1})
    bench.say = in_turn(*[refusal(429, retry_after="60")] * 2)
    summary = await bench.run(job)
    assert (summary.exit, summary.tasks["done"] + summary.tasks["pending"]) == (11, 3)
    assert summary.tasks["pending"]
    assert (await bench.run(job)).exit == 0


@pytest.fixture
async def flying(bench: Bench) -> anyio.Event:
    """Two requests that never end; the event is set when both are in flight."""
    bench.images("one", "two", "three")
    both = anyio.Event()

    async def hang(edit: Edit) -> None:
        if bench.in_flight == 2:
            both.set()
        await anyio.sleep_forever()

    bench.before = hang
    return both


def settled_in_order(bench: Bench) -> None:
    """What must stand in the ledger after a cancellation."""
    assert [(line.outcome, line.code) for line in bench.lines(Settled)] == [(Outcome.IN_DOUBT, "cancelled")] * 2
    (end,) = bench.lines(End)
    assert end.exit == 130
    assert end.counts["pending"] == end.counts["total"] == 3


async def test_a_scope_around_a_run_cancels_it_in_order(bench: Bench, flying: anyio.Event) -> None:
    """anyio's cancellation ends what is in flight, settles it in doubt, and appends the end."""
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(bench.run, bench.job(limits={"concurrency": 2}))
            await flying.wait()
            group.cancel_scope.cancel()
    settled_in_order(bench)


async def test_asyncios_own_cancellation_ends_a_run_in_order(bench: Bench, flying: anyio.Event) -> None:
    """`task.cancel()`, which passes through shields, does the same, also when it comes twice."""
    running = asyncio.create_task(bench.run(bench.job(limits={"concurrency": 2})))
    with anyio.fail_after(10):
        await flying.wait()
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    settled_in_order(bench)
    bench.before = None
    again = await bench.run()
    assert (again.exit, again.tasks["done"]) == (0, 3)


async def test_cancelled_while_it_opens_a_run_sends_nothing_and_ends_in_order(bench: Bench) -> None:
    """A cancellation during recovery waits for its threads; nothing is sent, and the `end` line says why."""
    bench.images("one")
    running = asyncio.create_task(bench.run())
    while not (bench.out / "ledger.jsonl").exists():  # noqa: ASYNC110 - a file has no events
        await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [type(line).__name__ for line in bench.lines()] == ["Run", "End"]
    assert (bench.lines(End)[0].exit, bench.posts) == (130, [])


async def test_our_own_interruptions_do_not_use_up_attempts(bench: Bench, flying: anyio.Event) -> None:
    """Five runs that are cancelled in flight leave the task pending, never held."""
    for _ in range(5):
        with anyio.move_on_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(bench.run, bench.job(limits={"concurrency": 2}))
                while bench.in_flight < 2:  # noqa: ASYNC110 - the event of an earlier round is spent
                    await anyio.sleep(0.005)
                group.cancel_scope.cancel()
    bench.before = None
    assert (await bench.run()).exit == 0


async def test_a_drain_ends_a_backoff_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that waits for its next try returns to pending when the run is told to stop."""
    bench.images("one")
    bench.say = lambda edit: refusal(429, retry_after="100")

    async def sleep(halt: Halt, seconds: float) -> None:
        assert seconds >= 100
        async with anyio.create_task_group() as group:
            group.start_soon(bench.plain_sleep, halt, seconds)
            await anyio.sleep(0.05)
            halt.drain(Exit.INTERRUPTED, "stop")

    monkeypatch.setattr(Halt, "sleep", sleep)
    with anyio.fail_after(5):
        summary = await bench.run()
    assert (summary.exit, len(bench.posts), bench.words()) == (130, 1, {"set/one/white": "pending"})
