"""Several runs in one output folder."""

from __future__ import annotations

from tests.e2e.command import wait_for
from tests.e2e.endpoint import Endpoint, silence
from tests.e2e.stage import Stage


def test_two_shards_do_each_task_once_and_an_unsharded_run_is_locked_out(stage: Stage, endpoint: Endpoint) -> None:
    """Two shards at once buy every task exactly once; a third, unsharded run exits 8 before any request."""
    endpoint.show("latency=2s")
    stage.job["limits"] = {"concurrency": 2}
    stage.photos(12).write()
    with stage.running("--shard", "1/2") as first, stage.running("--shard", "2/2") as second, silence() as nobody:
        wait_for(lambda: len(list(stage.out.glob("ledger-*-of-2.jsonl"))) == 2, "both shards' ledgers")
        stage.job["endpoint"]["base_url"] = nobody.url
        third = stage.write().run()
        third.ended(8)
        assert first.process.poll() is None
        assert second.process.poll() is None
        assert not nobody.was_called()
        endpoint.show("")
        ends = [first.finish().ended(0), second.finish().ended(0)]
    assert "shard 1-of-2" in third.stderr
    assert sorted(stage.out.glob("ledger.jsonl")) == []
    assert sum(end["tasks"]["done"] for end in ends) == 24
    assert min(end["tasks"]["done"] for end in ends) > 0
    assert sorted(endpoint.bill.edits.values()) == [1] * 24
    stage.job["endpoint"]["base_url"] = endpoint.url
    assert stage.write().run().ended(0)["tasks"]["skipped"] == 24
    assert endpoint.bill.requests == 24


def test_a_second_run_of_a_locked_folder_names_who_holds_it(stage: Stage, endpoint: Endpoint) -> None:
    """Exit 8 with the holder's process; once that is gone, however it went, the folder is free."""
    endpoint.show("hang=1")
    with stage.running() as run:
        endpoint.seen(6)
        refused = stage.run()
        assert refused.ended(8)["attempts"]["in_doubt"] == 0
        assert f"pid {run.process.pid}" in refused.stderr
        assert run.process.poll() is None
        run.kill()
    assert endpoint.bill.requests == 6
    endpoint.show("")
    assert stage.run().ended(0)["tasks"]["done"] == 6


def test_the_same_shard_twice_is_locked_out(stage: Stage, endpoint: Endpoint) -> None:
    """Shard 1 of 1 excludes another shard 1 of 1."""
    endpoint.show("hang=1")
    with stage.running("--shard", "1/1"):
        endpoint.seen(6)
        stage.run("--shard", "1/1").ended(8)
    assert endpoint.bill.requests == 6
