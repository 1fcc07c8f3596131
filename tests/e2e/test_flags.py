"""Options that choose what a run is about."""

from __future__ import annotations

from tests.e2e.command import KEY
from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import Stage, task_lines


def test_redo_buys_a_new_generation_and_keeps_the_old_picture(done: Stage, endpoint: Endpoint) -> None:
    """`--redo GLOB` replaces the pictures of what matches, once; the old ones move to `.retouch/replaced`."""
    first = done.pictures()
    assert done.run("--redo", "photos/001/*").ended(0)["tasks"]["done"] == 2
    second = done.pictures()
    changed = {name for name in first if first[name].sha256 != second[name].sha256}
    assert changed == {"photos/white/001-1.png", "photos/night/001-1.png"}
    assert done.replaced() == {first[name].sha256 for name in changed}
    assert {line["generation"] for line in done.ledger() if line["type"] == "reopened"} == {1}
    assert done.run().ended(0)["tasks"]["skipped"] == 6
    assert done.pictures() == second
    assert endpoint.bill.billed == 2


def test_redo_of_redone_work_is_a_third_generation(done: Stage, endpoint: Endpoint) -> None:
    """Two calls of `--redo` keep both earlier pictures."""
    name = "photos/white/001-1.png"
    seen = [done.pictures()[name].sha256]
    for _ in range(2):
        done.run("--redo", "photos/001/white").ended(0)
        seen.append(done.pictures()[name].sha256)
    assert len(set(seen)) == 3
    assert done.replaced() == set(seen[:2])
    assert [line["generation"] for line in done.ledger() if line["type"] == "reopened"] == [1, 2]


def test_limit_goes_on_with_the_next_items(stage: Stage, endpoint: Endpoint) -> None:
    """`--limit 2` of three items does two of them with all their prompts, and the next time the third."""
    for done, skipped in ((4, 0), (2, 4)):
        tasks = stage.run("--limit", "2").ended(0)["tasks"]
        assert (tasks["done"], tasks["skipped"], tasks["pending"]) == (done, skipped, 0)
    assert endpoint.bill.requests == 6


def test_sample_takes_the_same_items_every_time(stage: Stage, endpoint: Endpoint) -> None:
    """`--sample 2` of ten photos is two items, also the second time, when nothing is sent; `plan` counts the same."""
    stage.photos(10)
    assert stage.retouch("plan", "--sample", "2").ended(0)["requests"] == 4
    assert stage.run("--sample", "2").ended(0)["tasks"]["done"] == 4
    assert stage.run("--sample", "2").ended(0)["tasks"]["skipped"] == 4
    assert endpoint.bill.requests == 4


def test_only_takes_the_tasks_whose_id_matches(stage: Stage, endpoint: Endpoint) -> None:
    """`--only '*/night'` is about that prompt alone; without it the rest follows."""
    assert stage.run("--only", "*/night").ended(0)["tasks"]["total"] == 3
    assert {line["task"].rpartition("/")[2] for line in task_lines(stage.ledger())} == {"night"}
    tasks = stage.run().ended(0)["tasks"]
    assert (tasks["done"], tasks["skipped"]) == (3, 3)
    assert endpoint.bill.requests == 6


def test_concurrency_lowers_what_the_manifest_says(stage: Stage, endpoint: Endpoint) -> None:
    """`--concurrency 2` is what the server sees at most."""
    endpoint.show("latency=0.1s")
    stage.run("--concurrency", "2").ended(0)
    assert endpoint.bill.max_in_flight == 2


def test_the_key_is_in_no_file_and_no_output(stage: Stage, endpoint: Endpoint) -> None:
    """Not in the ledger, the outputs folder, stdout or stderr, also when the endpoint refuses it."""
    endpoint.show("unauthorized=1")
    refused = stage.run()
    refused.ended(6)
    assert KEY not in refused.stdout + refused.stderr
    files = [path for path in stage.out.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
