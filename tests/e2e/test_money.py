"""A cap on money holds against the server's own bill: at any concurrency, over kills, and over shards at once."""

from __future__ import annotations

from decimal import Decimal
from math import ceil

import pytest

from tests.e2e.command import wait_for
from tests.e2e.endpoint import Bill, Endpoint
from tests.e2e.stage import Stage, settled

TASKS = 120
PROMPT = "On white."
TEXT_IN, IMAGE_IN, IMAGE_OUT = (Decimal(price) / 10**6 for price in (5, 8, 30))
"""US dollars for a token of gpt-image-2."""


def cost(bill: Bill) -> Decimal:
    """What the server's bill comes to: it counts a quarter of the prompt's characters as tokens of text."""
    text = bill.billed * ceil(len(PROMPT) / 4)
    return text * TEXT_IN + (bill.usage.input_tokens - text) * IMAGE_IN + bill.usage.output_tokens * IMAGE_OUT


@pytest.fixture
def dear(stage: Stage, endpoint: Endpoint) -> Stage:
    """A job of 120 tasks at concurrency 64, each of which takes a while."""
    endpoint.show("latency=0.1s")
    stage.job["prompts"] = [{"name": "white", "text": PROMPT}]
    stage.job["limits"] = {"concurrency": 64}
    return stage.photos(TASKS).write()


@pytest.fixture
def price(dear: Stage, endpoint: Endpoint) -> Decimal:
    """What one task comes to on the server's bill."""
    dear.run("--limit", "1").ended(0)
    return cost(endpoint.bill)


def capped(stage: Stage, **budget: Decimal) -> Stage:
    stage.job["budget"] = {name: float(amount) for name, amount in budget.items()}
    return stage.write()


def test_a_cap_at_half_the_job_is_never_exceeded_and_a_higher_one_goes_on(
    dear: Stage, endpoint: Endpoint, price: Decimal
) -> None:
    """At concurrency 64 the bill stays within max_cost, exit 5; with a higher cap the rest is bought, nothing twice."""
    cap = price * TASKS / 2
    summary = capped(dear, max_cost=cap).run().ended(5)
    assert cap * Decimal("0.9") < cost(endpoint.bill) <= cap
    assert summary["tasks"]["pending"] == TASKS - endpoint.bill.billed
    assert Decimal(str(summary["cost"]["confirmed"])) == cost(endpoint.bill) - price
    assert capped(dear, max_cost=2 * cap * 2).run().ended(0)["tasks"]["done"] == summary["tasks"]["pending"]
    assert sorted(endpoint.bill.edits.values()) == [1] * TASKS


def test_the_cap_holds_over_a_kill(dear: Stage, endpoint: Endpoint, price: Decimal) -> None:
    """What was in flight at a kill stays reserved at its worst case, so that the next run does not pass the cap."""
    cap = price * TASKS / 2
    capped(dear, max_cost=cap)
    with dear.running() as run:
        endpoint.seen(TASKS // 4)
        run.kill()
    dear.run().ended(5)
    assert cost(endpoint.bill) <= cap
    in_doubt = [line for line in settled(dear.ledger()) if line["outcome"] == "in_doubt"]
    assert in_doubt
    usage = dear.retouch("usage").ended(0)["total"]["cost"]
    assert Decimal(str(usage["confirmed"])) + Decimal(str(usage["possible"])) <= cap
    assert Decimal(str(usage["confirmed"])) + Decimal(str(usage["possible"])) >= cost(endpoint.bill)


def test_attempts_in_doubt_keep_their_worst_case_reserved(dear: Stage, endpoint: Endpoint, price: Decimal) -> None:
    """A server that bills and resets uses up the cap too."""
    endpoint.show("reset=0.5,seed=3")
    dear.job["stop_on"] = {"in_doubt": None}
    cap = price * TASKS / 3
    capped(dear, max_cost=cap).run().ended(5)
    assert price < cost(endpoint.bill) <= cap


def test_two_shards_at_once_share_a_cap(dear: Stage, endpoint: Endpoint, price: Decimal) -> None:
    """Each gets half of what is left, so that both together stay within it."""
    cap = price * TASKS / 2
    capped(dear, max_cost=cap)
    with dear.running("--shard", "1/2") as first, dear.running("--shard", "2/2") as second:
        first.finish().ended(5)
        second.finish().ended(5)
    assert cap * Decimal("0.8") < cost(endpoint.bill) <= cap


def test_a_cap_of_one_run_begins_anew_with_the_next(dear: Stage, endpoint: Endpoint, price: Decimal) -> None:
    """--max-cost and max_cost_per_run cap a run; the next goes on from there."""
    cap = price * 20
    for number in (1, 2):
        dear.run("--max-cost", f"{cap:f}").ended(5)
        assert (cap - price * 2) * number < cost(endpoint.bill) <= price + cap * number
    capped(dear, max_cost_per_run=cap).run().ended(5)
    assert cost(endpoint.bill) <= price + cap * 3


def test_a_cap_of_a_day_names_when_it_begins_anew(dear: Stage, price: Decimal) -> None:
    """What was bought today counts, by whatever run."""
    done = capped(dear, max_cost_per_day=price * 10).run()
    done.ended(5)
    assert "budget.max_cost_per_day" in done.stderr
    assert "at 00:00 UTC" in done.stderr
    assert capped(dear, max_cost_per_day=price * 10).run().ended(5)["attempts"]["succeeded"] == 0


def test_a_cap_without_a_price_sends_nothing(dear: Stage, endpoint: Endpoint) -> None:
    """Exit 2 with the way out; `free` is one."""
    dear.job["request"]["model"] = "gpt-image-house"
    refused = capped(dear, max_cost=Decimal(5)).run()
    assert refused.code == 2
    assert "prices" in refused.stderr
    assert endpoint.bill.requests == 0


def test_the_cost_so_far_is_told_while_a_run_goes_on(dear: Stage, endpoint: Endpoint) -> None:
    """`status` in another shell knows what is paid and projects the end."""
    endpoint.show("latency=1s")
    dear.job["limits"] = {"concurrency": 8}
    with dear.write().running():
        wait_for(lambda: endpoint.bill.billed >= 16, "two rounds")
        status = dear.retouch("status").ended(0)
        assert status["running"]
        assert Decimal(str(status["usage"]["cost"]["confirmed"])) > 0
