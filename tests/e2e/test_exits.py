"""Every exit code of `run`, from a real cause, with what was sent and what a rerun does."""

from __future__ import annotations

import pytest

from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import Stage, settled


def stage_tasks(**ends: int) -> dict[str, int]:
    """The task counts of the job's six tasks."""
    words = ("total", "done", "skipped", "reused", "failed", "held", "invalid", "pending")
    return dict.fromkeys(words, 0) | {"total": 6} | ends


def many(stage: Stage) -> Stage:
    """The job with 60 tasks."""
    return stage.photos(30).write()


def test_0_and_3_a_refused_task_fails_once_and_for_all(stage: Stage, endpoint: Endpoint) -> None:
    """Moderation: exit 3, not sent again by a rerun, which exits 3 too; `--retry failed` sends it, and exits 0."""
    endpoint.show("moderation=1")
    failures = stage.run().ended(3)["failures"]
    assert [failure["code"] for failure in failures] == ["moderation_blocked"] * 6
    endpoint.show("")
    assert stage.run().ended(3)["tasks"]["failed"] == 6
    assert endpoint.bill.requests == 6
    assert stage.run("--retry", "failed", "--only", "*/000/*").ended(0)["tasks"]["done"] == 2
    assert stage.run("--retry", "failed").ended(0)["tasks"] | {"skipped": 2, "done": 4} == stage_tasks(
        done=4, skipped=2
    )
    assert endpoint.bill.requests == 12


def test_2_a_mistake_in_the_manifest_sends_nothing(stage: Stage, endpoint: Endpoint) -> None:
    """Two mistakes are told together with their lines; exit 2, no request, no output folder."""
    stage.job["prompts"][0]["txt"] = "x"
    stage.job["limits"]["concurrency"] = 0
    refused = stage.write().run()
    refused.ended(2)
    assert "did you mean 'text'" in refused.stderr
    assert "limits.concurrency" in refused.stderr
    assert refused.stderr.count("job.yaml:") == 2
    assert endpoint.bill.requests == 0
    assert not stage.out.exists()


@pytest.mark.parametrize("options", [("--limit", "0"), ("--retry", "done")])
def test_2_a_mistake_in_a_flag_sends_nothing(stage: Stage, endpoint: Endpoint, options: tuple[str, str]) -> None:
    """A flag that cannot be meant is named; exit 2, no request, no output folder."""
    refused = stage.run(*options)
    refused.ended(2)
    assert options[0] in refused.stderr
    assert endpoint.bill.requests == 0
    assert not stage.out.exists()


def test_3_an_unusable_image_fails_its_tasks_and_with_strict_the_run(stage: Stage, endpoint: Endpoint) -> None:
    """A broken photo is invalid and the rest is done (exit 3); `--strict` sends nothing (exit 2) and names it."""
    (stage.folder / "photos/001.png").write_bytes(b"no image")
    refused = stage.run("--strict")
    refused.ended(2)
    assert "photos/001" in refused.stderr
    assert endpoint.bill.requests == 0
    assert stage.run().ended(3)["tasks"] == stage_tasks(done=4, invalid=2)
    assert endpoint.bill.requests == 4


def test_4_an_endpoint_that_asks_for_hours(stage: Stage, endpoint: Endpoint) -> None:
    """A Retry-After beyond an hour ends the run at once, with everything pending; a rerun goes on."""
    endpoint.show("rate=1,retry-after=7200")
    assert stage.run().ended(4)["tasks"] == stage_tasks(pending=6)
    endpoint.show("")
    assert stage.run().ended(0)["tasks"] == stage_tasks(done=6)


def test_5_a_cap_on_images_is_never_overshot(stage: Stage, endpoint: Endpoint) -> None:
    """`budget.max_images` at full concurrency: exactly so many are billed, over all runs; then exit 5."""
    stage.job["budget"] = {"max_images": 4}
    endpoint.show("latency=0.1s")
    assert stage.write().run().ended(5)["tasks"] == stage_tasks(done=4, pending=2)
    assert stage.run().ended(5)["tasks"] == stage_tasks(skipped=4, pending=2)
    assert endpoint.bill.requests == 4
    stage.job["budget"] = {"max_images": 6}
    assert stage.write().run().ended(0)["tasks"] == stage_tasks(done=2, skipped=4)


@pytest.mark.parametrize("fault", ["unauthorized", "quota"])
def test_6_what_a_person_must_mend_stops_the_run(stage: Stage, endpoint: Endpoint, fault: str) -> None:
    """A wrong key or an empty account: one request, the rest pending, exit 6; once it is mended a rerun does all."""
    endpoint.show(f"{fault}=1")
    stage.job["limits"] = {"concurrency": 1}
    assert stage.write().run().ended(6)["tasks"] == stage_tasks(pending=6)
    assert endpoint.bill.requests == 1
    assert settled(stage.ledger())[0]["outcome"] == "stopped"
    endpoint.show("")
    assert stage.run().ended(0)["tasks"] == stage_tasks(done=6)


def test_7_a_damaged_ledger_is_not_trusted(done: Stage, endpoint: Endpoint) -> None:
    """One changed byte in a line before the last: exit 7 with the offset, nothing sent, nothing mended in silence."""
    ledger = done.out / "ledger.jsonl"
    content = bytearray(ledger.read_bytes())
    at = content.index(b'"succeeded"')
    content[at + 1] ^= 1
    ledger.write_bytes(content)
    refused = done.run()
    refused.ended(7)
    assert str(content.rindex(b"\n", 0, at) + 1) in refused.stderr
    assert endpoint.bill.requests == 0
    assert ledger.read_bytes() == content


def test_9_held_attempts_wait_for_a_person(stage: Stage, endpoint: Endpoint) -> None:
    """`retries.in_doubt: hold` after a reset: exit 9, not sent again by a rerun; `--retry held` sends it."""
    stage.job["retries"] = {"in_doubt": "hold"}
    endpoint.show("reset=1")
    assert stage.write().run().ended(9)["tasks"] == stage_tasks(held=6)
    endpoint.show("")
    assert stage.run().ended(9)["attempts"]["succeeded"] == 0
    assert endpoint.bill.requests == 6
    assert stage.run("--retry", "held").ended(0)["tasks"] == stage_tasks(done=6)
    assert endpoint.bill.billed == 12


def test_10_too_many_failures(stage: Stage, endpoint: Endpoint) -> None:
    """When more than 20% of at least 20 finished tasks fail, the run stops and says where to look."""
    endpoint.show("moderation=1")
    stopped = many(stage).run("--concurrency", "1")
    tasks = stopped.ended(10)["tasks"]
    assert (tasks["failed"], tasks["pending"]) == (20, 40)
    assert endpoint.bill.requests == 20
    assert "stop_on.failures" in stopped.stderr


def test_10_too_many_in_doubt(stage: Stage, endpoint: Endpoint) -> None:
    """When more than 10% of at least 50 attempts end in doubt, the run stops; nothing has failed for good by that."""
    endpoint.show("disconnect=0.4,seed=1")
    stage.job["retries"] = {"max_wait": "0.1s"}
    stopped = many(stage).run()
    summary = stopped.ended(10)
    assert summary["tasks"]["failed"] == 0
    assert 50 <= sum(summary["attempts"].values()) < 60
    assert "stop_on.in_doubt" in stopped.stderr


def test_11_a_run_that_takes_too_long(stage: Stage, endpoint: Endpoint) -> None:
    """`stop_on.duration` drains: what is in flight is kept, exit 11, and the next run goes on."""
    stage.job["stop_on"] = {"duration": "2s"}
    stage.job["limits"] = {"concurrency": 1}
    endpoint.show("latency=1.2s")
    tasks = stage.write().run().ended(11)["tasks"]
    assert tasks["done"] + tasks["pending"] == 6
    assert tasks["done"] in (1, 2)
    assert endpoint.bill.billed == tasks["done"]
    del stage.job["stop_on"]
    endpoint.show("")
    assert stage.write().run().ended(0)["tasks"]["done"] == tasks["pending"]


def test_12_too_much_to_buy_again(stage: Stage, endpoint: Endpoint) -> None:
    """More than 20 missing outputs look like an accident: nothing is sent, exit 12; `--yes` goes on."""
    many(stage).run().ended(0)
    for name in sorted(stage.pictures())[:21]:
        (stage.out / name).unlink()
    refused = stage.run()
    refused.ended(12)
    assert "21 of 60" in refused.stderr
    assert endpoint.bill.requests == 60
    assert stage.run("--yes").ended(0)["tasks"]["done"] == 21
    assert endpoint.bill.requests == 81


def test_an_unknown_verb_or_job_is_a_usage_error(stage: Stage) -> None:
    """Exit 2 with the nearest verb; exit 2 for a manifest that is not there."""
    misspelt = stage.retouch("rum")
    misspelt.ended(2)
    assert "did you mean 'run'" in misspelt.stderr
    stage.manifest.unlink()
    stage.run().ended(2)
