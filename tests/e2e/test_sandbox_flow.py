"""Real runs through the sandbox's rates, capacities and gateways: its bill and the ledger tell the same."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline import load
from pipeline.ledger.records import Settled
from pipeline.ledger.replay import Ledgers
from pipeline.outcome import Outcome
from pipeline.run.api import arun
from pipeline.run.summary import Summary
from pipeline.sandbox.bill import Bill
from pipeline.sandbox.capacity import Step
from pipeline.sandbox.latency import Latency
from pipeline.sandbox.server import serve
from pipeline.sandbox.settings import Sandbox
from pipeline.sandbox.tokens import Usage
from tests.e2e.stage import Stage

pytestmark = pytest.mark.anyio
PRICES = {"image_in": Decimal(8), "text_in": Decimal(5), "image_out": Decimal(32)}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def price_of(usage: Usage) -> Decimal:
    """What the bill's tokens cost by gpt-image-1.5's published prices, in US dollars."""
    dollars = usage.text_tokens * PRICES["text_in"] + usage.image_tokens * PRICES["image_in"]
    return (dollars + usage.output_tokens * PRICES["image_out"]) / 10**6


async def ran(folder: Path, config: Sandbox, photos: int, **sections: Any) -> tuple[Summary, Bill, Counter[str]]:
    """A run of so many tasks against this sandbox: its summary, the sandbox's bill, the ledger's outcomes."""
    async with serve(config) as server:
        secret = folder / "key"
        secret.write_text("sk-test")
        secret.chmod(0o600)
        place = folder / "job"
        place.mkdir()
        job: dict[str, Any] = {
            "version": 1,
            "name": "flow",
            "endpoint": {"base_url": server.url, "api_key_file": str(secret)},
            "request": {"model": "gpt-image-1.5", "size": "1024x1024", "quality": "low"},
            "image_sets": [{"name": "p", "images": "photos/*.png"}],
            "prompts": [{"name": "white", "text": "On white."}],
            "retries": {"max_wait": 2},
            "output": {"folder": "out"},
        }
        Stage(place, folder, job | sections).photos(photos).write()
        summary = await arun(load(place / "job.yaml"))
    lines = [entry.record for entry in Ledgers(place / "out").entries()]
    return summary, server.bill, Counter(str(line.outcome) for line in lines if isinstance(line, Settled))


@pytest.mark.parametrize("silent", [True, False])
async def test_a_hidden_rate_is_told_alike(tmp_path: Path, silent: bool) -> None:
    """From 429s alone: each is in the bill and in the ledger, none is paid, no task fails."""
    config = Sandbox(
        requests_per_minute=300, burst=3, rate_headers=False, retry_after=not silent, latency=Latency(seconds=0.2),
        plain=True,
    )  # fmt: skip
    summary, bill, outcomes = await ran(tmp_path, config, 24)
    assert (summary.exit, summary.tasks["done"]) == (0, 24)
    assert outcomes["throttled"] == bill.throttled == bill.statuses["429"] > 0
    assert sum(second.accepted for second in bill.by_second) == outcomes["succeeded"] == bill.billed == 24
    assert sum(second.throttled for second in bill.by_second) == bill.throttled
    assert summary.usage["total_tokens"] == bill.usage.total_tokens
    assert (summary.cost.confirmed, summary.cost.possible) == (price_of(bill.usage), Decimal(0))


@pytest.mark.parametrize("status", [503, 429])
async def test_a_capacity_that_falls_costs_no_task(tmp_path: Path, status: int) -> None:
    """Whatever the endpoint says above it; what was turned away is not paid for."""
    config = Sandbox(
        capacity=(Step(16), Step(2, 0.5), Step(16, 3.0)), overload_status=status, latency=Latency(seconds=0.3),
        plain=True,
    )  # fmt: skip
    summary, bill, outcomes = await ran(tmp_path, config, 40)
    assert (summary.exit, summary.tasks["done"]) == (0, 40)
    assert outcomes["throttled"] == bill.throttled == bill.statuses[str(status)] > 0
    assert (summary.cost.confirmed, summary.cost.possible) == (price_of(bill.usage), Decimal(0))


async def test_a_gateway_that_cuts_is_billed_and_stops_the_run(tmp_path: Path) -> None:
    """Each cut attempt is in doubt and on the bill, whose price the possible cost covers; the hint names the time."""
    config = Sandbox(gateway_cut=0.5, latency=Latency(seconds=30.0), plain=True)
    summary, bill, outcomes = await ran(tmp_path, config, 90, limits={"concurrency": 16})
    assert summary.exit == 10
    assert set(outcomes) == {Outcome.IN_DOUBT}
    assert outcomes["in_doubt"] == bill.billed == bill.statuses["none"] <= 70
    assert summary.cost.confirmed == 0
    assert summary.cost.possible is not None
    assert summary.cost.possible >= price_of(bill.usage)
