"""`retouch run --processes N`: one run to whoever looks at it, however many processes share it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, Signals

import pytest

from tests.e2e.command import Running, finished, wait_for
from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import Stage, photo, settled, sum_of_usage

TASKS = 48


@pytest.fixture
def many(stage: Stage, endpoint: Endpoint) -> Stage:
    """A job of 48 tasks, eight at once, whose answers take a moment."""
    endpoint.show("latency=0.1s")
    return stage.photos(TASKS // 2).write()


def children_of(run: Running) -> list[int]:
    """The processes that a run started, in the order in which it did."""
    return sorted(map(int, Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split()))


def ledgers(stage: Stage) -> list[str]:
    return sorted(path.name for path in stage.out.glob("ledger*.jsonl"))


def test_a_job_is_done_once_by_several_processes_and_told_as_one(many: Stage, endpoint: Endpoint) -> None:
    """All tasks once, never more in flight than the concurrency; one summary; a rerun sends nothing."""
    summary = many.run("--processes", "3").ended(0)
    assert summary["tasks"] == dict.fromkeys(summary["tasks"], 0) | {"total": TASKS, "done": TASKS}
    assert (summary["images"], summary["attempts"]["succeeded"]) == (TASKS, TASKS)
    assert summary["usage"]["total_tokens"] == endpoint.bill.usage.total_tokens
    assert summary["ledger"] == str(many.out / "ledger-*-of-3.jsonl")
    assert len(summary["run"].split(", ")) == 3
    assert sorted(endpoint.bill.edits.values()) == [1] * TASKS
    assert endpoint.bill.max_in_flight <= 8
    assert ledgers(many) == [f"ledger-{at}-of-3.jsonl" for at in (1, 2, 3)]
    assert len(many.pictures()) == TASKS
    for again in (["--processes", "3"], ["--processes", "2"], []):
        assert many.run(*again).ended(0)["tasks"]["skipped"] == TASKS
    assert endpoint.bill.requests == TASKS


def test_pictures_that_are_the_same_are_bought_once(many: Stage, endpoint: Endpoint) -> None:
    """Copies under other names share their request's end, whichever process has them."""
    for number in range(TASKS // 2):
        (many.folder / f"photos/{number:03}.png").write_bytes(photo(number % 4))
    tasks = many.run("--processes", "4").ended(0)["tasks"]
    assert (tasks["done"], tasks["reused"], endpoint.bill.requests) == (8, TASKS - 8, 8)


def test_there_are_no_more_processes_than_requests_in_flight(many: Stage, endpoint: Endpoint) -> None:
    """Told, and done with as many as there may be."""
    done = many.run("--processes", "5", "--concurrency", "2")
    assert done.ended(0)["tasks"]["done"] == TASKS
    assert "2 processes instead of 5" in done.stderr
    assert endpoint.bill.max_in_flight <= 2
    assert len(ledgers(many)) == 2


@pytest.mark.parametrize(
    ("options", "place"),
    [
        (["--processes", "0"], "--processes"),
        (["--processes", "65"], "--processes"),
        (["--processes", "2", "--shard", "1/2"], "--shard"),
        (["--processes", "2", "--limit", "3"], "--limit"),
        (["--processes", "2", "--sandbox"], "--sandbox"),
        (["--processes", "2", "--metrics-port", "0"], "--metrics-port"),
        (["--processes", "2", "--metrics-file", "m.prom"], "--metrics-file"),
        (["--processes", "2", "--only", "nothing"], "--only"),
    ],
)
def test_what_several_processes_cannot_do_is_refused_before_anything_is_sent(
    many: Stage, endpoint: Endpoint, options: list[str], place: str
) -> None:
    """Exit 2 with the flag, once."""
    done = many.run(*options)
    done.ended(2)
    assert done.stderr.count(place + ":") == 1
    assert not many.out.exists()
    assert endpoint.bill.requests == 0


def test_what_is_wrong_with_the_job_is_told_once(many: Stage, endpoint: Endpoint) -> None:
    """As one process tells it."""
    many.job["prompts"][0]["text"] = "On {{ nothing }}."
    one, several = many.write().run(), many.run("--processes", "3")
    one.ended(2)
    several.ended(2)
    assert several.stderr == one.stderr
    assert endpoint.bill.requests == 0


def test_where_one_process_cannot_begin_none_does(many: Stage, endpoint: Endpoint) -> None:
    """Shard 2 of 3 is held by another run: exit 8, told once, and the others send nothing."""
    endpoint.show("hang=1")
    with many.running("--shard", "2/3", "--concurrency", "1"):
        endpoint.seen(1)
        refused = many.run("--processes", "3")
        refused.ended(8)
    assert refused.stderr.count("is held by") == 1
    assert endpoint.bill.requests == 1


def test_too_much_that_would_be_bought_again_is_counted_over_all(many: Stage, endpoint: Endpoint) -> None:
    """Thirty pictures gone are too many, though no process lost twenty; nothing is sent, unless told to go on."""
    many.run("--processes", "3").ended(0)
    for path in sorted(many.pictures())[:30]:
        (many.out / path).unlink()
    refused = many.run("--processes", "3")
    refused.ended(12)
    assert f"30 of {TASKS} tasks" in refused.stderr
    assert endpoint.bill.requests == TASKS
    assert many.run("--processes", "3", "--yes").ended(0)["tasks"]["done"] == 30
    assert endpoint.bill.requests == TASKS + 30


def test_a_cap_on_money_holds_over_all(many: Stage, endpoint: Endpoint) -> None:
    """Each process has its part; together they stay within it, exit 5, and the next run goes on."""
    many.job["budget"] = {"max_images": 20}
    tasks = many.write().run("--processes", "3").ended(5)["tasks"]
    assert 15 <= tasks["done"] == endpoint.bill.billed <= 20
    assert tasks["pending"] == TASKS - tasks["done"]


@pytest.mark.parametrize("count", ["2", "7"])
def test_a_rate_that_does_not_come_out_even_is_shared_all_the_same(many: Stage, endpoint: Endpoint, count: str) -> None:
    """Each of the job's three rates, whose parts are no whole numbers."""
    many.job["limits"] |= {
        "requests_per_minute": 6001,
        "images_per_minute": 6001,
        "tokens_per_minute": 100_000_001,
    }
    assert many.write().run("--processes", count).ended(0)["tasks"]["done"] == TASKS
    assert endpoint.bill.requests == TASKS


@pytest.mark.parametrize(
    ("faults", "limit", "begin"),
    [("truncate=1", "failures", 20), ("reset=1", "in_doubt", 50)],
)
def test_what_goes_wrong_is_counted_over_all_processes(
    many: Stage, endpoint: Endpoint, faults: str, limit: str, begin: int
) -> None:
    """Each alone would go on until it has seen as many by itself: the run stops, told once, exit 10."""
    many.job |= {"retries": {"max_attempts": 1}, "stop_on": {"failures": None, "in_doubt": None} | {limit: "20%"}}
    endpoint.show(f"{faults},latency=0.5s")
    done = many.photos(80).write().run("--processes", "8")
    assert done.ended(10)["tasks"]["pending"] > 0
    assert done.stderr.count(f"more than stop_on.{limit} allows") == 1
    assert begin <= endpoint.bill.requests <= begin + 4 * 8


def test_a_result_whose_name_another_process_gave_away_has_a_name_at_the_end(many: Stage, endpoint: Endpoint) -> None:
    """As in one process: of a new picture that takes the name of a finished one, both are there, for one request."""

    def rows(*names: str) -> None:
        lines = "".join(f"r{at},photos/{at:03}.png,{name}\n" for at, name in enumerate(names))
        (many.folder / "rows.csv").write_text(f"id,file,name\n{lines}")

    rows("n0", "n1", "n2", "n3")
    table = {"name": "rows", "table": "rows.csv", "key": "{{ row.id }}", "images": "{{ row.file }}"}
    many.job |= {"image_sets": [table], "output": {"folder": "out", "path": "{{ row.name }}-{{ prompt }}-{{ index }}"}}
    many.write().run("--processes", "2").ended(0)
    rows("n1", "m1", "n2", "n3")
    (many.folder / "photos/000.png").write_bytes(photo(200))
    tasks = many.run("--processes", "2").ended(0)["tasks"]
    assert (tasks["done"], tasks["reused"], tasks["skipped"], tasks["total"]) == (2, 2, 4, 8)
    assert {"m1-white-1.png", "m1-night-1.png", "n1-white-1.png", "n1-night-1.png"} <= many.pictures().keys()
    assert endpoint.bill.requests == 8 + 2
    assert many.run("--processes", "2").ended(0)["tasks"]["skipped"] == 8


def killed_in_flight(stage: Stage, endpoint: Endpoint) -> None:
    """Two processes and their parent, killed with eight requests in flight that nobody answers."""
    endpoint.show("hang=1")
    with stage.running("--processes", "2") as run:
        endpoint.seen(8)
        for pid in (*children_of(run), run.process.pid):
            os.kill(pid, SIGKILL)
        run.process.wait()
    wait_for(lambda: endpoint.bill.in_flight == 0, "the server to notice")
    endpoint.show("")


@pytest.fixture
def stuck(many: Stage, endpoint: Endpoint) -> Iterator[tuple[Stage, Running]]:
    """The job in two processes, with eight requests in flight that nobody answers."""
    endpoint.show("hang=1")
    with many.running("--processes", "2") as run:
        endpoint.seen(8)
        children = children_of(run)
        yield many, run
        for pid in filter(alive, children):
            os.kill(pid, SIGKILL)


def finish(stage: Stage, endpoint: Endpoint, lost: int = 8) -> None:
    """The next run, in as many processes, does all that is left, and buys twice what was in flight at most."""
    wait_for(lambda: endpoint.bill.in_flight == 0, "the server to notice")
    endpoint.show("")
    tasks = stage.run("--processes", "2").ended(0)["tasks"]
    assert tasks["done"] + tasks["skipped"] == TASKS
    assert stage.open_attempts() == 0
    assert endpoint.bill.billed <= TASKS + lost
    assert len(stage.pictures()) == TASKS


@pytest.mark.parametrize(("number", "code"), [(SIGINT, 130), (SIGTERM, 143)])
def test_one_signal_drains_all(many: Stage, endpoint: Endpoint, number: Signals, code: int) -> None:
    """What is in flight is kept, nothing more is sent; also where the whole group gets the signal."""
    endpoint.show("latency=1.5s")
    with many.running("--processes", "2") as run:
        endpoint.seen(8)
        for child in children_of(run):
            os.kill(child, number)
        run.send(number)
        summary = run.finish().ended(code)
    assert endpoint.bill.requests == 8
    assert summary["tasks"] == dict.fromkeys(summary["tasks"], 0) | {"total": TASKS, "done": 8, "pending": TASKS - 8}
    finish(many, endpoint, lost=0)


def test_two_signals_cancel_all(stuck: tuple[Stage, Running], endpoint: Endpoint) -> None:
    """Eight attempts are in doubt, and told so."""
    stage, run = stuck
    run.send(SIGINT)
    run.says("once more cancels them")
    run.send(SIGINT)
    assert run.finish().ended(130)["attempts"]["in_doubt"] == 8
    assert [line["code"] for line in settled(stage.ledger())] == ["cancelled"] * 8
    finish(stage, endpoint)


def test_three_signals_end_all_at_once(stuck: tuple[Stage, Running], endpoint: Endpoint) -> None:
    """Nobody is left; the next run settles what was open."""
    stage, run = stuck
    children = children_of(run)
    run.send(SIGINT)
    run.says("once more cancels them")
    run.send(SIGINT, SIGINT)
    assert run.finish().code == 130
    wait_for(lambda: not any(map(alive, children)), "the children to end")
    finish(stage, endpoint)


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_process_costs_its_own_requests_alone(many: Stage, endpoint: Endpoint) -> None:
    """kill -9 of one of two: the other goes on to its end; exit 1 with who it was; the next run does the rest."""
    endpoint.show("latency=0.5s")
    with many.running("--processes", "2") as run:
        endpoint.seen(8)
        os.kill(children_of(run)[0], SIGKILL)
        ended = run.finish()
    summary = ended.ended(1)
    assert "process 1 of 2 ended early (by signal 9)" in ended.stderr
    assert 10 < summary["tasks"]["done"] < TASKS
    assert summary["tasks"]["done"] + summary["tasks"]["pending"] == summary["tasks"]["total"] == TASKS
    ends = settled(many.ledger())
    assert summary["attempts"]["succeeded"] == summary["images"] == len(ends)
    assert summary["usage"] == sum_of_usage(ends)
    finish(many, endpoint, lost=4)


def test_children_of_a_killed_parent_end_what_they_began(many: Stage, endpoint: Endpoint) -> None:
    """kill -9 of the parent: nothing new is sent, what is in flight is stored, and the folder is free again."""
    endpoint.show("latency=1s")
    with many.running("--processes", "2") as run:
        endpoint.seen(8)
        children = children_of(run)
        run.kill()
        wait_for(lambda: not any(map(alive, children)), "the children to end")
    assert endpoint.bill.requests == 8
    assert [line["outcome"] for line in settled(many.ledger())] == ["succeeded"] * 8
    finish(many, endpoint, lost=0)


def test_what_a_killed_run_in_one_process_left_is_brought_in_order_first(many: Stage, endpoint: Endpoint) -> None:
    """Its attempts are settled, and held where the job wants that, before any process sends."""
    many.job["retries"] = {"in_doubt": "hold"}
    endpoint.show("hang=1")
    with many.write().running() as run:
        endpoint.seen(8)
        run.kill()
    wait_for(lambda: endpoint.bill.in_flight == 0, "the server to notice")
    endpoint.show("")
    tasks = many.run("--processes", "2").ended(9)["tasks"]
    assert (tasks["held"], tasks["done"]) == (8, TASKS - 8)
    assert endpoint.bill.requests == TASKS


def test_a_result_that_got_no_name_before_the_processes_began_ends_the_run_with_7(
    many: Stage, endpoint: Endpoint
) -> None:
    """As in one process: it is told, stays, and is named for nothing once the name is free."""
    endpoint.show("latency=1s")
    with many.running() as run:
        endpoint.seen(8)
        (many.out / "photos").write_text("in the way")
        run.finish().ended(7)
    endpoint.show("")
    refused = many.run("--processes", "2")
    refused.ended(7)
    assert "8 paid results could not be named" in refused.stderr
    (many.out / "photos").unlink()
    tasks = many.run("--processes", "2").ended(0)["tasks"]
    assert (tasks["skipped"], tasks["done"], endpoint.bill.billed) == (8, TASKS - 8, TASKS)


_TIDYING_IS_KILLED = """
import os, signal
from pipeline.processes import child

async def killed(parent):
    os.kill(os.getpid(), signal.SIGKILL)

child.tidying = lambda job, flags: killed
from pipeline.cli import main
main()
"""


def test_nothing_is_sent_where_what_was_left_could_not_be_brought_in_order(many: Stage, endpoint: Endpoint) -> None:
    """The process that does it is killed: exit 1, and what is in doubt is not bought past its hold."""
    many.job["retries"] = {"in_doubt": "hold"}
    killed_in_flight(many.write(), endpoint)
    command = [sys.executable, "-c", _TIDYING_IS_KILLED, "run", str(many.manifest), "--json", "--processes", "3"]
    tasks = finished(command, many.folder, many.home).ended(1)["tasks"]
    assert (tasks["pending"], endpoint.bill.requests) == (TASKS, 8)


_ONE_FAILS_AFTER_THE_LOOK = """
from pipeline.errors import StorageError
from pipeline.run import perform

looked = perform.surveyed

async def surveyed(context, *rest):
    found = await looked(context, *rest)
    if context.run.endswith("-1of2"):
        raise StorageError("the disk is full")
    return found

perform.surveyed = surveyed
from pipeline.cli import main
main()
"""


def test_what_the_others_bought_is_told_where_one_process_cannot_go_on(many: Stage, endpoint: Endpoint) -> None:
    """Its disk is full once all may begin: exit 7 with why, and the other's requests and cost in the summary."""
    command = [sys.executable, "-c", _ONE_FAILS_AFTER_THE_LOOK, "run", str(many.manifest), "--json", "--processes", "2"]
    ended = finished(command, many.folder, many.home)
    summary = ended.ended(7)
    assert "process 1 of 2: the disk is full" in ended.stderr
    assert summary["attempts"]["succeeded"] == endpoint.bill.billed == TASKS // 2
    assert summary["usage"]["total_tokens"] == endpoint.bill.usage.total_tokens


def test_what_a_killed_run_left_is_brought_in_order_though_shares_are_others_now(
    many: Stage, endpoint: Endpoint
) -> None:
    """A photo that comes first moves all others to other processes: what was held is held, and nothing bought twice."""
    many.job["retries"] = {"in_doubt": "hold"}
    endpoint.show("hang=1")
    with many.write().running("--processes", "2") as run:
        endpoint.seen(8)
        children = children_of(run)
        for pid in children:
            os.kill(pid, SIGKILL)
        run.finish().ended(1)
    wait_for(lambda: endpoint.bill.in_flight == 0, "the server to notice")
    endpoint.show("")
    (many.folder / "photos/!.png").write_bytes(photo(999))
    tasks = many.run("--processes", "2").ended(9)["tasks"]
    assert (tasks["held"], tasks["done"]) == (8, TASKS + 2 - 8)
    assert endpoint.bill.requests == TASKS + 2
    assert many.open_attempts() == 0


@pytest.mark.parametrize("other", [["--processes", "3"], ["--shard", "1/4"], []])
def test_no_other_run_is_let_in_beside_several_processes(
    stuck: tuple[Stage, Running], endpoint: Endpoint, other: list[str]
) -> None:
    """Of whatever kind it is: exit 8 before any request."""
    stage, _ = stuck
    refused = stage.run(*other)
    refused.ended(8)
    assert "is held by" in refused.stderr
    assert endpoint.bill.requests == 8


def test_a_key_that_is_missing_is_told_once(many: Stage, endpoint: Endpoint) -> None:
    """Exit 2, before any process is started."""
    many.job["endpoint"]["api_key_env"] = "NO_SUCH_KEY"
    done = many.write().run("--processes", "2")
    done.ended(2)
    assert done.stderr.count("NO_SUCH_KEY is not set") == 1
    assert endpoint.bill.requests == 0


def test_quota_ends_every_process(many: Stage, endpoint: Endpoint) -> None:
    """Exit 6; what was not sent is pending."""
    endpoint.show("quota=1")
    tasks = many.run("--processes", "2").ended(6)["tasks"]
    assert tasks["pending"] == TASKS
    assert endpoint.bill.requests <= 8
