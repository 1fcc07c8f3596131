"""The Python API, in the ways in which scripts and notebooks call it."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.e2e.command import finished
from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import Stage

IMPORTS = """\
import asyncio, json, sys, threading
import pipeline
"""
BEGIN = IMPORTS + "job = pipeline.load(sys.argv[1])"


def script(stage: Stage, text: str, begin: str = BEGIN) -> Any:
    """What a script prints as JSON, after it ended well with warnings as errors."""
    command = [sys.executable, "-W", "error", "-c", begin + text, str(stage.manifest)]
    done = finished(command, stage.folder, stage.home)
    assert done.code == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_a_plain_script_loads_plans_and_runs(stage: Stage, endpoint: Endpoint) -> None:
    """`load`, `plan` and `run` in a row; the fields are those of `--json`."""
    text = """
plan = pipeline.plan(job)
summary = pipeline.run(job, concurrency=2, limit=2)
again = pipeline.plan(job)
print(json.dumps([plan.tasks, plan.requests, summary.tasks, summary.exit, summary.usage, again.tasks]))
"""
    planned, requests, ran, code, usage, again = script(stage, text)
    assert (planned["new"], requests, ran["done"], code) == (6, 6, 4, 0)
    assert (again["done"], again["new"]) == (4, 2)
    assert usage["total_tokens"] == endpoint.bill.usage.total_tokens
    assert endpoint.bill.billed == 4


def test_inside_a_running_loop_and_off_the_main_thread(stage: Stage, endpoint: Endpoint) -> None:
    """`run` inside a running loop, as in a notebook, `arun` awaited there, and `run` in a thread."""
    text = """
async def main():
    first = pipeline.run(job, only="*/000/*")
    second = await pipeline.arun(job, only="*/001/*")
    third = []
    thread = threading.Thread(target=lambda: third.append(pipeline.run(job)))
    thread.start()
    await asyncio.get_running_loop().run_in_executor(None, thread.join)
    return [first.tasks, second.tasks, third[0].tasks]

print(json.dumps(asyncio.run(main())))
"""
    first, second, third = script(stage, text)
    assert (first["done"], second["done"], third["done"], third["skipped"]) == (2, 2, 2, 4)
    assert endpoint.bill.billed == 6


def test_results_come_one_by_one_with_their_files(stage: Stage, endpoint: Endpoint) -> None:
    """`async for` yields each task's end, with paths that exist."""
    text = """
async def main():
    ends = {}
    async for result in pipeline.results(job):
        assert all(path.is_file() for path in result.paths)
        ends[result.task] = [result.end, result.set, result.key, result.prompt, len(result.paths)]
    return ends

print(json.dumps(asyncio.run(main())))
"""
    ends = script(stage, text)
    assert len(ends) == 6
    assert ends["photos/001/night"] == ["done", "photos", "001", "night", 1]


LEAVE_EARLY = """
from contextlib import aclosing

async def main():
    async with aclosing(pipeline.results(job, concurrency=2)) as results:
        async for result in results:
            break
    return (await pipeline.arun(job)).tasks

print(json.dumps(asyncio.run(main())))
"""


def test_results_that_are_left_early_settle_what_is_in_flight(stage: Stage, endpoint: Endpoint) -> None:
    """Where `contextlib.aclosing` ends the run has ended: all is settled, `end` is written, the lock is free."""
    endpoint.show("latency=0.3s")
    tasks = script(stage, LEAVE_EARLY)
    assert tasks["done"] + tasks["skipped"] == 6
    assert tasks["done"] >= 4
    assert [line["type"] for line in stage.ledger() if line["type"] in ("run", "end")] == ["run", "end"] * 2
    assert stage.open_attempts() == 0


CANCELLED = """
from contextlib import aclosing

import anyio
from anyio.lowlevel import checkpoint

from pipeline.ledger.lock import FolderLock

async def main():
    with anyio.CancelScope() as scope:
        async with aclosing(pipeline.results(job, concurrency=2)) as results:
            async for result in results:
                scope.cancel()
                await checkpoint()
    with FolderLock(job.output):
        pass
    return (await pipeline.arun(job)).tasks

print(json.dumps(asyncio.run(main())))
"""


def test_results_that_are_left_by_a_cancelled_scope_have_ended_too(stage: Stage, endpoint: Endpoint) -> None:
    """The scope's cancellation does not cut the wait short: the lock is free, and nothing is left in flight."""
    endpoint.show("latency=0.3s")
    tasks = script(stage, CANCELLED)
    assert tasks["done"] + tasks["skipped"] == 6
    assert [line["type"] for line in stage.ledger() if line["type"] in ("run", "end")] == ["run", "end"] * 2
    assert stage.open_attempts() == 0


def test_a_process_that_ends_within_the_results_settles_what_is_in_flight(stage: Stage, endpoint: Endpoint) -> None:
    """`return` out of `async for`, with the end of the loop right behind it, leaves no attempt unsettled."""
    check_return_within_results(stage, endpoint)
    assert stage.open_attempts() == 0
    assert stage.ledger()[-1]["type"] == "end"


def test_a_process_that_ends_within_the_results_is_recovered(stage: Stage, endpoint: Endpoint) -> None:
    """It loses no more than a kill would: the next run finishes, and buys at most the two in flight twice."""
    check_return_within_results(stage, endpoint)
    assert stage.run().ended(0)["tasks"]["skipped"] >= 1
    assert endpoint.bill.billed <= 6 + 2


def check_return_within_results(stage: Stage, endpoint: Endpoint) -> None:
    """A script that stops at the first result, in a job whose answers take a while, ends without complaint."""
    endpoint.show("latency=0.3s")
    text = """
async def main():
    async for result in pipeline.results(job, concurrency=2):
        return result.end

print(json.dumps(asyncio.run(main())))
"""
    assert script(stage, text) == "done"
    assert endpoint.bill.requests < 6


def test_a_cancelled_arun_settles_and_passes_the_cancellation_on(stage: Stage, endpoint: Endpoint) -> None:
    """`asyncio.timeout` around `arun` ends it soon, with its attempts settled in doubt and its `end` line written."""
    endpoint.show("hang=1")
    text = """
async def end_once_sent(limit):
    ledger = job.output / "ledger.jsonl"
    while not ledger.exists() or b'"type":"sent"' not in ledger.read_bytes():
        await asyncio.sleep(0.01)
    limit.reschedule(asyncio.get_running_loop().time())

async def main():
    try:
        async with asyncio.timeout(None) as limit:
            watching = asyncio.create_task(end_once_sent(limit))
            await pipeline.arun(job)
    except TimeoutError:
        return "timeout"

print(json.dumps(asyncio.run(main())))
"""
    assert script(stage, text) == "timeout"
    assert stage.open_attempts() == 0
    assert stage.ledger()[-1]["type"] == "end"


def test_a_mistake_is_an_error_of_the_package(stage: Stage) -> None:
    """A manifest that is wrong is a JobError with its problems; a locked folder is a LockedError, also in a loop."""
    text = """
import fcntl

async def main():
    with open(job.output / ".lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            await pipeline.arun(job)
        except pipeline.LockedError:
            return "locked"

pipeline.run(job)
print(json.dumps(asyncio.run(main())))
"""
    assert script(stage, text) == "locked"
    stage.job["limits"] = {"concurrency": 0}
    text = """
try:
    pipeline.load(sys.argv[1])
except pipeline.JobError as error:
    print(json.dumps([problem.where for problem in error.problems]))
"""
    assert script(stage.write(), text, begin=IMPORTS) == ["limits.concurrency"]
