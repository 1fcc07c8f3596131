"""In which order tasks are sent, and which are not sent at all."""

from __future__ import annotations

import pytest

from tests.run.conftest import Bench

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("order", ["items", "prompts"])
async def test_tasks_are_sent_in_the_manifests_order(bench: Bench, order: str) -> None:
    """At concurrency 1 an item is finished before the next, or a prompt, as the manifest says: a cap cuts there."""
    names = [f"{number:02}" for number in range(20)]
    bench.images(*names)
    prompts = [{"name": "a", "text": "A"}, {"name": "b", "text": "B"}]
    await bench.run(bench.job(prompts=prompts, order=order, limits={"concurrency": 1}))
    by_items = [f"set/{name}/{prompt}" for name in names for prompt in "ab"]
    by_prompts = [f"set/{name}/{prompt}" for prompt in "ab" for name in names]
    assert list(bench.ends) == (by_items if order == "items" else by_prompts)


async def test_tasks_of_a_changed_prompt_are_sent_in_order_too(bench: Bench) -> None:
    """Also where the ledger knows the inputs already, so that their media types are read late."""
    names = [f"{number:02}" for number in range(20)]
    bench.images(*names)
    await bench.run()
    await bench.run(bench.job(prompts=[{"name": "white", "text": "Grey"}], limits={"concurrency": 1}))
    assert list(bench.ends) == [f"set/{name}/white" for name in names]
    assert len(bench.posts) == 20


async def test_an_image_too_large_for_the_json_form_is_invalid(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data URL beyond the endpoint's limit is not sent to be refused: the task is invalid, and says what to do."""
    bench.images("one")
    monkeypatch.setattr("pipeline.endpoint.form.MAX_DATA_URL", 50)
    summary = await bench.run(bench.job(endpoint={"auth": "none", "body": "json"}))
    assert (summary.exit, bench.posts) == (3, [])
    assert bench.ends["set/one/white"].word == "invalid"
    assert "body: multipart" in str(bench.ends["set/one/white"].message)
