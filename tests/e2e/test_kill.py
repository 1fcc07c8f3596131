"""`kill -9` at any moment: the next run finishes the job, and buys twice only what was in flight."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from PIL import Image

from tests.e2e.command import Running, wait_for
from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import Stage, settled, sum_of_usage

TASKS = 200
CONCURRENCY = 16


@pytest.fixture
def big(stage: Stage, endpoint: Endpoint) -> Stage:
    """A job of 200 tasks at concurrency 16, each of which takes a while."""
    endpoint.show("latency=0.1s")
    stage.job["limits"] = {"concurrency": CONCURRENCY}
    return stage.photos(TASKS // 2).write()


def kill(stage: Stage, run: Running, earlier: int = 0) -> int:
    """Kill a run that began after so many lines of the ledger; returns how many of its requests were in flight."""
    run.kill()
    lines = stage.ledger()
    ended = {(line["fingerprint"], line["attempt"]) for line in settled(lines)}
    sent = [(line["fingerprint"], line["attempt"]) for line in lines[earlier:] if line["type"] == "sent"]
    in_flight = len([one for one in sent if one not in ended])
    assert in_flight <= CONCURRENCY
    return in_flight


def check_finished(stage: Stage, endpoint: Endpoint, *, in_flight: int) -> None:
    """Run to the end; hold server and ledger against each other and against what the kills may have cost."""
    summary = stage.run().ended(0)
    bill, lines = endpoint.bill, stage.ledger()
    assert summary["tasks"]["done"] + summary["tasks"]["skipped"] == TASKS
    assert bill.billed - TASKS <= in_flight
    assert bill.max_in_flight <= CONCURRENCY
    check_ledger_covers(bill.usage.total_tokens, lines)
    pictures = stage.pictures()
    named = {output["path"]: output["sha256"] for line in settled(lines) for output in line["outputs"]}
    assert {name: picture.sha256 for name, picture in pictures.items()} == named
    assert len(named) == TASKS
    for name in pictures:
        with Image.open(stage.out / name) as picture:
            picture.verify()
    assert list((stage.out / ".retouch/parts").iterdir()) == []
    assert stage.run().ended(0)["tasks"]["skipped"] == TASKS
    assert endpoint.bill.requests == bill.requests


def check_ledger_covers(billed_tokens: int, lines: list[dict[str, Any]]) -> None:
    """Usage in the ledger and the worst case of each attempt without usage are no less than the server's bill."""
    ends = settled(lines)
    worst = max(line["usage"]["total_tokens"] for line in ends if line["usage"])
    billed = ("succeeded", "in_doubt", "unusable")
    unknown = sum(line["outcome"] in billed and not line["usage"] for line in ends)
    assert sum_of_usage(lines)["total_tokens"] + worst * unknown >= billed_tokens
    attempts = Counter((line["fingerprint"], line["attempt"]) for line in lines if line["type"] == "sent")
    assert max(attempts.values()) == 1
    assert attempts == Counter((line["fingerprint"], line["attempt"]) for line in ends)


def test_a_rerun_after_kill_9_buys_at_most_what_was_in_flight_twice(big: Stage, endpoint: Endpoint) -> None:
    """200 tasks, 16 at once, killed in the middle: at most 16 duplicates, all in the ledger; the third run sends 0."""
    with big.running() as run:
        endpoint.seen(TASKS // 3)
        in_flight = kill(big, run)
    assert in_flight > 0
    check_finished(big, endpoint, in_flight=in_flight)


@pytest.mark.parametrize("line", ["settled", "sent"])
def test_a_kill_in_the_recovery_after_a_kill_is_no_worse(big: Stage, endpoint: Endpoint, line: str) -> None:
    """The recovering run is killed at its first lines too; what is bought twice was in flight at one of the kills."""
    with big.running() as run:
        endpoint.seen(TASKS // 3)
        in_flight = kill(big, run)
    left = len(big.ledger())
    with big.running() as run:
        wait_for(lambda: any(one["type"] == line for one in big.ledger()[left:]), f"a {line} line of the recovery")
        in_flight += kill(big, run, left)
    check_finished(big, endpoint, in_flight=in_flight)


def test_a_torn_last_line_is_set_aside_and_the_job_goes_on(done: Stage, endpoint: Endpoint) -> None:
    """A ledger that ends in half a line, as a crash leaves it, loses that half only."""
    ledger = done.out / "ledger.jsonl"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole + b'{"type":"sent","schema":1,"run":"x"')
    assert done.run().ended(0)["tasks"]["skipped"] == 6
    assert ledger.read_bytes().startswith(whole)
    assert endpoint.bill.requests == 0
