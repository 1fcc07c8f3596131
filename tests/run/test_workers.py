"""Workers: so many pieces of work at once, and no more tasks than that takes."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from pipeline.run.workers import Workers

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_no_more_are_at_work_than_there_may_be() -> None:
    """`start` waits for room, and all is done in the end."""
    at_once: list[int] = []
    done: list[int] = []

    async def do(work: int) -> None:
        at_once.append(workers.busy)
        await anyio.sleep(0.001 * (work % 3))
        done.append(work)

    async with anyio.create_task_group() as group:
        workers = Workers(group, 4, do)
        for work in range(40):
            await workers.start(work)
        workers.close()
    assert sorted(done) == list(range(40))
    assert max(at_once) == 4


async def test_work_that_comes_one_by_one_is_done_by_one_task() -> None:
    """A task takes the next piece where it is idle."""
    tasks: set[asyncio.Task[None] | None] = set()

    async def do(_: int) -> None:
        tasks.add(asyncio.current_task())

    async with anyio.create_task_group() as group:
        workers = Workers(group, 4, do)
        for work in range(10):
            await workers.start(work)
            await anyio.sleep(0.001)
        workers.close()
    assert len(tasks) == 1


async def test_closing_ends_idle_workers_and_lets_the_others_finish() -> None:
    """The group ends with the last piece of work."""
    done: list[str] = []

    async def do(work: str) -> None:
        await anyio.sleep(0.05 if work == "long" else 0)
        done.append(work)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            workers = Workers(group, 4, do)
            await workers.start("short")
            await workers.start("long")
            await anyio.sleep(0.01)
            workers.close()
    assert done == ["short", "long"]
    assert workers.busy == 0
