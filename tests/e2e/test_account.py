"""Server, ledger, `usage` and `run --json` give the same account of one run."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import Any

import pytest

from tests.e2e.endpoint import Bill, Endpoint
from tests.e2e.stage import TOKENS, Stage, settled, sum_of_usage

KEYS = ["job", "run", "exit", "tasks", "attempts", "images", "usage", "cost", "seconds", "ledger", "failures"]
TASKS = ["total", "done", "skipped", "reused", "failed", "held", "invalid", "pending"]
ATTEMPTS = ["succeeded", "refused", "throttled", "unsent", "in_doubt", "unusable", "stopped"]


def tokens_of(bill: Bill) -> dict[str, int]:
    """The tokens on the server's bill."""
    return {name: getattr(bill.usage, name) for name in TOKENS}


@pytest.mark.parametrize("faults", ["", "rate=0.2,retry-after=0,seed=3", "error-503=0.2,seed=4"])
def test_usage_is_the_servers_bill(stage: Stage, endpoint: Endpoint, faults: str) -> None:
    """Where every request is answered, Σ usage in the ledger is the bill exactly, and no more than C are in flight."""
    endpoint.show(f"{faults},latency=0.02s")
    stage.job["retries"] = {"max_wait": "0.1s"}
    stage.photos(15).write()
    run = stage.run("--concurrency", "4").ended(0)
    bill, usage = endpoint.bill, stage.retouch("usage", "--by", "prompt").ended(0)
    assert usage["total"]["usage"] == run["usage"] == sum_of_usage(stage.ledger()) == tokens_of(bill)
    assert usage["total"]["images"] == run["images"] == bill.images == 30
    assert usage["total"]["attempts"] == run["attempts"]
    assert sum(run["attempts"].values()) == bill.requests
    assert (run["attempts"]["throttled"] > 0) == bool(faults)
    assert bill.max_in_flight <= 4
    assert sum(group["usage"]["total_tokens"] for group in usage["groups"]) == bill.usage.total_tokens
    assert [group["group"] for group in usage["groups"]] == [{"prompt": "night"}, {"prompt": "white"}]


def test_run_json_is_what_its_ledger_says(stage: Stage, endpoint: Endpoint) -> None:
    """After many kinds of ends the object has its documented keys, adds up, and equals a recount of the run's lines."""
    stage.job["stop_on"] = {"failures": None, "in_doubt": None}
    stage.job["retries"] = {"max_attempts": 2}
    stage.photos(20)
    (stage.folder / "photos/000.png").write_bytes(b"not an image")
    for number in range(3, 9):
        shutil.copy(stage.folder / f"photos/{number:03}.png", stage.folder / f"photos/twin-{number}.png")
    assert stage.write().run("--only", "*/002/*").ended(0)["tasks"]["total"] == 2
    endpoint.show("moderation=0.2,rate=0.1,retry-after=0,bad-base64=0.2,reset=0.2,seed=8")
    run = stage.run().ended(3)
    check_form(run)
    check_recount(run, [line for line in stage.ledger() if line["run"] == run["run"]])
    assert {end for end, count in run["tasks"].items() if count} >= {"done", "skipped", "reused", "failed", "invalid"}
    assert {end for end, count in run["attempts"].items() if count} >= {"succeeded", "refused", "in_doubt", "unusable"}


def check_form(run: dict[str, Any]) -> None:
    """Every documented key, no other, in its order; the counts add up."""
    assert list(run) == KEYS
    assert (list(run["tasks"]), list(run["attempts"])) == (TASKS, ATTEMPTS)
    assert run["tasks"]["total"] == sum(run["tasks"][end] for end in TASKS[1:]) == 52
    assert list(run["failures"][0]) == ["task", "code", "message"]


def check_recount(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    """Every number of the summary, counted again from the run's lines in the ledger."""
    ends, (end,) = settled(lines), [line for line in lines if line["type"] == "end"]
    assert {name: end[name] for name in ("attempts", "images", "usage", "seconds", "exit")} == {
        name: run[name] for name in ("attempts", "images", "usage", "seconds", "exit")
    }
    assert end["counts"] == run["tasks"]
    assert run["attempts"] == dict.fromkeys(ATTEMPTS, 0) | Counter(line["outcome"] for line in ends)
    assert run["images"] == sum(len(line["outputs"]) for line in ends)
    assert run["usage"] == sum_of_usage(lines)
    last = {line["task"]: line["outcome"] for line in lines if line["type"] == "settled"}
    assert run["tasks"]["done"] == sum(outcome == "succeeded" for outcome in last.values())
    assert run["tasks"]["invalid"] == sum(outcome == "invalid" for outcome in last.values())
    assert run["tasks"]["reused"] == sum(line["type"] == "reused" for line in lines)


def test_a_run_that_cannot_begin_prints_the_same_keys(stage: Stage) -> None:
    """`run --json` prints its object also when the run stops before it starts, with the error beside it."""
    stage.job["prompts"][0]["colour"] = "x"
    stopped = stage.write().run().ended(2)
    assert list(stopped) == [*KEYS, "error"]
    assert "colour" in stopped["error"]
