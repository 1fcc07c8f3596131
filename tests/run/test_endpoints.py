"""Several endpoints, of which one is lost."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.endpoint.form import Edit
from pipeline.endpoint.reply import Failure, Reply
from tests.run.conftest import Bench, answer, broken, picture

pytestmark = pytest.mark.anyio


def serving(name: str, model: str) -> dict[str, Any]:
    """An endpoint that serves one model."""
    return {"name": name, "base_url": f"http://127.0.0.1:1/{name}", "auth": "none", "models": {model: model}}


@pytest.mark.parametrize("lost", [3, 40], ids=["few", "more than wait at once"])
async def test_tasks_that_only_a_lost_endpoint_serves_are_left_and_the_others_are_sent(bench: Bench, lost: int) -> None:
    """Nobody waits for an endpoint that the run has given up: it ends, with the exit code of an outage."""
    bench.images(*(f"{number:02}" for number in range(lost)))

    def say(edit: Edit) -> Reply:
        lost = edit.fields["model"] == "m"
        return broken(Failure.DNS, began=False) if lost else answer(picture(bench.number(edit)))

    bench.say = say
    summary = await bench.run(
        bench.job(
            endpoints=[serving("a", "m"), serving("b", "n")],
            order="prompts",
            limits={"concurrency": 1},
            prompts=[
                {"name": "p", "text": "x", "request": {"model": "m"}},
                {"name": "q", "text": "y", "request": {"model": "n"}},
            ],
        )
    )
    words = bench.words()
    assert [words[f"set/{number:02}/p"] for number in range(lost)] == ["pending"] * lost
    assert [words[f"set/{number:02}/q"] for number in range(lost)] == ["done"] * lost
    assert summary.exit == 4
    assert any("a has not worked for 10 minutes" in note and "without it" in note for note in bench.notes)
