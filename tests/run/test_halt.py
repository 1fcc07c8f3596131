"""How a run is stopped, paused and limited."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from pipeline.errors import JobError
from pipeline.run.exits import Exit
from pipeline.run.flags import Flags, check_flags, parse_retry, parse_shard
from pipeline.run.gate import Gate
from pipeline.run.halt import Halt
from pipeline.run.limit import ItemLimit
from pipeline.tasks.task import Item, Task
from tests.run.conftest import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def halt(notes: list[str]) -> Halt:
    return Halt(notes.append)


async def test_every_reason_is_kept_and_told_once(halt: Halt, notes: list[str]) -> None:
    """A second reason is kept beside the first; the same one again says nothing."""
    for reason in (Exit.BUDGET, Exit.INTERRUPTED, Exit.BUDGET):
        halt.drain(reason, reason.name)
    assert halt.reasons == [Exit.BUDGET, Exit.INTERRUPTED]
    assert notes == ["BUDGET", "INTERRUPTED"]
    assert halt.draining


async def test_the_first_bug_is_kept_for_the_report(halt: Halt) -> None:
    """What followed from a bug does not hide it."""
    halt.bug(ValueError("first"))
    halt.bug(KeyError("second"))
    assert str(halt.error) == "first"
    assert halt.reasons == [Exit.BUG]


async def test_cancel_ends_what_is_in_flight(halt: Halt) -> None:
    """Every scope that is open is cancelled."""
    ended = 0

    async def fly() -> None:
        nonlocal ended
        with halt.cancellable() as scope:
            await anyio.sleep_forever()
        ended += scope.cancelled_caught

    async with anyio.create_task_group() as flights:
        for _ in range(3):
            flights.start_soon(fly)
        await anyio.wait_all_tasks_blocked()
        halt.cancel()
    assert ended == 3
    assert halt.draining


async def test_cancelled_before_entering(halt: Halt) -> None:
    """An attempt that begins after the cancellation is cut off at its first wait."""
    went_on: list[bool] = []
    halt.cancel()
    with halt.cancellable() as scope:
        await anyio.lowlevel.checkpoint()
        went_on.append(True)
    assert scope.cancelled_caught
    assert not went_on


async def test_cancelled_after_leaving(halt: Halt) -> None:
    """An attempt that has its answer is not touched any more."""
    with halt.cancellable() as scope:
        await anyio.lowlevel.checkpoint()
    halt.cancel()
    await anyio.lowlevel.checkpoint()
    assert not scope.cancelled_caught


async def test_cancelling_reaches_through_a_shield(halt: Halt) -> None:
    """Attempts are shielded from everything but this."""
    with anyio.fail_after(2), anyio.CancelScope(shield=True), halt.cancellable() as scope:
        halt.cancel()
        await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_drain_ends_a_sleep_at_once(halt: Halt) -> None:
    """A backoff of an hour does not keep a run from stopping."""
    with anyio.fail_after(2):
        async with anyio.create_task_group() as group:
            group.start_soon(halt.sleep, 3600.0)
            await anyio.wait_all_tasks_blocked()
            halt.drain(Exit.INTERRUPTED, "")
        await halt.wait()


async def test_a_sleep_ends_by_itself(halt: Halt) -> None:
    """Without a drain a sleep lasts as long as it says."""
    began = anyio.current_time()
    await halt.sleep(0.05)
    assert 0.04 < anyio.current_time() - began < 1


async def test_the_gate_opens_when_the_pause_is_over(halt: Halt) -> None:
    """It is closed until the end of the longest pause asked for."""
    clock = Clock()
    gate = Gate("the endpoint", halt, clock)
    gate.pause_until(clock.now + 10)
    gate.pause_until(clock.now + 5)
    clock.now += 9.5
    assert gate.closed
    clock.now += 0.5
    assert not gate.closed


async def test_many_that_are_told_to_pause_tell_the_user_once(halt: Halt, notes: list[str]) -> None:
    """Sixteen requests in flight that get the same Retry-After make one line."""
    clock = Clock()
    gate = Gate("the endpoint", halt, clock)
    for _ in range(16):
        clock.now += 0.01
        gate.pause_until(clock.now + 300)
    assert notes == ["the endpoint asks for a pause: nothing is sent to it for 300 s"]
    assert gate.seconds_left == pytest.approx(300)


async def test_a_drain_wakes_whoever_waits_for_something_else(halt: Halt) -> None:
    """Nobody waits for a pause or a place when nothing is to be sent any more."""
    event = anyio.Event()
    halt.on_drain(event.set)
    with anyio.fail_after(1):
        async with anyio.create_task_group() as group:
            group.start_soon(halt.sleep, None, event)
            await anyio.wait_all_tasks_blocked()
            halt.drain(Exit.INTERRUPTED, "")


def task(key: str, prompt: str = "p") -> Task:
    return Task(f"s/{key}/{prompt}", Item("s", key, ()), prompt, (), 1, {}, (), ("x",))


def test_the_limit_counts_items_and_not_tasks() -> None:
    """--limit 2 lets through all tasks of the first two items that ask."""
    limit = ItemLimit(2)
    asked = [task("a"), task("b"), task("c"), task("a", "q"), task("b", "q"), task("c", "q")]
    assert [limit.admits(one) for one in asked] == [True, True, False, True, True, False]


def test_without_a_limit_everything_is_let_through() -> None:
    """No limit keeps no list of items either."""
    assert all(ItemLimit(None).admits(task(str(number))) for number in range(100))


@pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), ("2/3", (2, 3)), ("10000/10000", (10_000, 10_000))])
def test_a_shard_is_read(text: str, shard: tuple[int, int]) -> None:
    """I/N counts from 1."""
    assert parse_shard(text) == shard


@pytest.mark.parametrize(
    "text", ["", "1", "0/3", "4/3", "-1/3", "1/0", "a/b", "1/3 ", "1/10001", "1/" + "9" * 5000, "١/٢"]
)
def test_what_is_no_shard_is_refused(text: str) -> None:
    """Also numbers too long for Python to read, and digits of other scripts."""
    with pytest.raises(JobError, match="is not a shard; expected I/N"):
        parse_shard(text)


@pytest.mark.parametrize(
    ("text", "states"), [("failed", {"failed"}), ("held, failed", {"failed", "held"}), ("held,held", {"held"})]
)
def test_what_to_retry_is_read(text: str, states: set[str]) -> None:
    """One state or both, with or without spaces."""
    assert parse_retry(text) == states


@pytest.mark.parametrize(
    ("text", "hint"), [("", "expected"), ("faild", "did you mean 'failed'"), ("failed,", "expected")]
)
def test_what_cannot_be_retried_is_refused(text: str, hint: str) -> None:
    """A misspelt state is named with the nearest one."""
    with pytest.raises(JobError, match=hint):
        parse_retry(text)


@pytest.mark.parametrize(
    ("flags", "where"),
    [
        ({"limit": 0}, "--limit"),
        ({"sample": -1}, "--sample"),
        ({"faults": "rate=0.1"}, "--faults"),
        ({"shard": (4, 3)}, "--shard"),
        ({"retry": "failed"}, "--retry"),
        ({"retry": frozenset({"done"})}, "--retry"),
    ],
)
def test_flags_are_checked_for_the_python_api_too(flags: dict[str, object], where: str) -> None:
    """What the command line could not say is refused where Python says it."""
    with pytest.raises(JobError, match=f"^{where}: "):
        check_flags(Flags(**flags))  # type: ignore[arg-type]  # on purpose


def test_problems_of_flags_are_told_together() -> None:
    """Two wrong flags make two problems."""
    with pytest.raises(JobError) as caught:
        check_flags(Flags(limit=0, sample=0))
    assert len(caught.value.problems) == 2
    check_flags(Flags(limit=1, sample=1, shard=(1, 2), retry=frozenset({"held"}), sandbox=True, faults="rate=0.1"))


async def test_a_reason_that_stops_nothing_is_kept_and_hides_no_later_one(halt: Halt, notes: list[str]) -> None:
    """The run goes on until something else stops it, which is told though it has the same exit code."""
    halt.blame(Exit.STORAGE, "no name")
    assert (halt.draining, halt.reasons) == (False, [Exit.STORAGE])
    halt.drain(Exit.STORAGE, "disk full")
    assert (halt.draining, halt.reasons, notes) == (True, [Exit.STORAGE], ["no name", "disk full"])
