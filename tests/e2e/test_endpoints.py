"""Several endpoints share the requests of a job: each gets its own key and its own name for a model."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import installed, running
from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import Stage, settled


@contextmanager
def server(folder: Path, name: str, key: str) -> Iterator[Endpoint]:
    """A sandbox that takes one key only."""
    command = [str(installed()), "sandbox", "--port", "0", "--latency", "0.05s", "--plain", "--json", "--key", key]
    with running(command, folder, folder / f"{name}.log") as process:
        assert process.process.stdout is not None
        yield Endpoint(json.loads(process.process.stdout.readline())["url"])
        if process.process.poll() is None:
            process.send(signal.SIGTERM)
            process.finish()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[dict[str, Endpoint]]:
    """Two servers, each with a key of its own."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(server(tmp_path, name, f"key-of-{name}-0123456789")) for name in ("a", "b")}


@pytest.fixture
def shared(stage: Stage, pair: dict[str, Endpoint], monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A job of 60 tasks over both."""
    del stage.job["endpoint"]
    stage.job["endpoints"] = [entry(name, one) for name, one in pair.items()]
    for name in pair:
        monkeypatch.setenv(f"KEY_{name.upper()}", f"key-of-{name}-0123456789")
    return stage.photos(30).write()


def entry(name: str, endpoint: Endpoint, **more: Any) -> dict[str, Any]:
    return {"name": name, "base_url": endpoint.url, "api_key_env": f"KEY_{name.upper()}", **more}


def by_endpoint(stage: Stage) -> Counter[str]:
    return Counter(line["endpoint"] for line in settled(stage.ledger()) if line["outcome"] == "succeeded")


def test_both_work_and_each_sees_its_own_key_alone(shared: Stage, pair: dict[str, Endpoint]) -> None:
    """Every task is bought once; a wrong key would be a 401, which stops a run."""
    shared.run().ended(0)
    assert by_endpoint(shared) == {name: one.bill.billed for name, one in pair.items()}
    assert sum(one.bill.billed for one in pair.values()) == 60
    assert min(one.bill.billed for one in pair.values()) >= 15
    usage = shared.retouch("usage", "--by", "endpoint").ended(0)
    assert {each["group"]["endpoint"]: each["images"] for each in usage["groups"]} == by_endpoint(shared)
    text = json.dumps(shared.ledger())
    assert "key-of-" not in text


def test_weights_share_the_work(shared: Stage, pair: dict[str, Endpoint]) -> None:
    """Three times the weight takes about three times the requests."""
    shared.job["endpoints"][0]["weight"] = 3
    shared.write().run().ended(0)
    assert 1.8 < pair["a"].bill.billed / pair["b"].bill.billed < 5


def test_a_model_has_another_name_elsewhere_and_the_same_identity(shared: Stage, pair: dict[str, Endpoint]) -> None:
    """The wire carries the endpoint's name, the fingerprint the job's: moving to another router buys nothing again."""
    shared.job["request"]["model"] = "house-model"
    shared.job["endpoints"] = [entry("a", pair["a"], models={"house-model": "gpt-image-2"})]
    shared.write().run().ended(0)
    assert pair["a"].bill.statuses == {"200": 60}
    shared.job["endpoints"] = [entry("b", pair["b"], models={"house-model": "gpt-image-1.5"})]
    assert shared.write().run().ended(0)["tasks"]["skipped"] == 60
    assert pair["b"].bill.requests == 0


def test_a_prompts_model_goes_to_who_serves_it(shared: Stage, pair: dict[str, Endpoint]) -> None:
    """Each endpoint gets only the model that it serves."""
    shared.job["prompts"][1]["request"] = {"model": "gpt-image-1.5"}
    shared.job["endpoints"] = [
        entry("a", pair["a"], models={"gpt-image-2": "gpt-image-2"}),
        entry("b", pair["b"], models={"gpt-image-1.5": "gpt-image-1.5"}),
    ]
    shared.write().run().ended(0)
    assert [one.bill.billed for one in pair.values()] == [30, 30]


def test_a_throttled_endpoint_rests_while_the_other_works(shared: Stage, pair: dict[str, Endpoint]) -> None:
    """A Retry-After of ten minutes at one of them holds up nothing."""
    pair["a"].show("rate=1,retry-after=600")
    done = shared.run()
    assert done.ended(0)["tasks"]["done"] == 60
    assert pair["b"].bill.billed == 60
    assert pair["a"].bill.requests <= 16


def test_an_endpoint_that_is_gone_rests_while_the_other_works(shared: Stage, pair: dict[str, Endpoint]) -> None:
    """Refused connections open its breaker; no task fails."""
    shared.job["endpoints"][0]["base_url"] = "http://127.0.0.1:9/v1"
    done = shared.write().run()
    assert done.ended(0)["tasks"]["done"] == 60
    assert pair["b"].bill.billed == 60
    assert "a seems to be down" in done.stderr or "a cannot be reached" in done.stderr


def test_a_key_that_is_missing_is_named_before_anything_is_sent(
    shared: Stage, pair: dict[str, Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2 names the endpoint's own variable and place."""
    monkeypatch.delenv("KEY_B")
    done = shared.run()
    assert done.code == 2
    assert "endpoints[1].api_key_env: KEY_B is not set" in done.stderr
    assert sum(one.bill.requests for one in pair.values()) == 0


def test_the_sandbox_plays_all_endpoints(shared: Stage, pair: dict[str, Endpoint]) -> None:
    """`run --sandbox` needs none of the keys and calls none of the servers."""
    for name in ("KEY_A", "KEY_B"):
        os.environ.pop(name)
    assert shared.run("--sandbox").ended(0)["tasks"]["done"] == 60
    assert sum(one.bill.requests for one in pair.values()) == 0
