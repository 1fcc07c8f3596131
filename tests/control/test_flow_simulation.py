"""The rules of flow control together, against simulated servers, on a virtual clock."""

from __future__ import annotations

import pytest

from pipeline.control import concurrency
from pipeline.control.breaker import Position
from pipeline.control.rates import Rates
from pipeline.outcome import Outcome
from tests.control.simulation import Broken, Capacity, Cutting, Simulation, TokenBucket, allowance_reached

SEEDS = (1, 2, 3)


def rates(per_minute: float | None) -> Rates:
    """Rates of requests alone."""
    return Rates(per_minute, None, None, 0.0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("told", ["seconds", "ms", None])
@pytest.mark.parametrize(("burst", "delay"), [(1, 0.001), (5, 0.005), (10, 0.005), (600, 0.005)])
@pytest.mark.parametrize("headers", [False, True])
def test_an_allowance_is_learnt_from_429s_alone(
    burst: float, delay: float, told: str | None, headers: bool, seed: int
) -> None:
    """Without a rate set, 90 % of 600 a minute after the first 10 s, with at most 5 % throttled."""
    run = Simulation(TokenBucket(600, burst, told=told, headers=headers), 400, 64, seed=seed, delay=delay).run()
    assert run.of(Outcome.SUCCEEDED) == 400
    assert allowance_reached(run, 600) >= 0.90
    assert run.throttled_share <= 0.05


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("headers", [False, True])
@pytest.mark.parametrize(("burst", "delay"), [(1, 0.0), (5, 0.005), (10, 0.02), (600, 0.02)])
def test_a_set_allowance_is_used_up(burst: float, delay: float, headers: bool, seed: int) -> None:
    """With the rate set, 97 % of it after the first 10 s, with at most 1 % throttled."""
    server = TokenBucket(600, burst, headers=headers)
    run = Simulation(server, 400, 64, rates(600), seed=seed, delay=delay).run()
    assert run.of(Outcome.SUCCEEDED) == 400
    assert allowance_reached(run, 600) >= 0.97
    assert run.throttled_share <= 0.01


@pytest.mark.parametrize("service", [1.0, 2.0])
@pytest.mark.parametrize(("status", "retry_after"), [(503, 1.0), (429, None)])
def test_throughput_follows_a_capacity_that_falls_and_returns(
    service: float, status: int, retry_after: float | None
) -> None:
    """64 places, then 8, then 64: within 30 s of each change the places are in use again, and nothing fails."""
    server = Capacity(lambda now: 8 if 60 <= now < 120 else 64, service, status=status, retry_after=retry_after)
    run = Simulation(server, 100_000, 128, until=170).run()
    assert run.per_second(30, 60) >= 0.85 * 64 / service
    assert run.per_second(90, 120) >= 0.85 * 8 / service
    assert run.per_second(150, 170) >= 0.85 * 64 / service
    assert run.of(Outcome.THROTTLED) + run.of(Outcome.SUCCEEDED) == len(run.attempts)
    assert run.throttled_share <= 0.05


@pytest.mark.parametrize("after", [2.0, 60.0])
@pytest.mark.parametrize("ceiling", [16, 64])
def test_a_gateway_that_cuts_everything_costs_at_most_seventy_attempts(ceiling: int, after: float) -> None:
    """What is in doubt lets nothing grow: 50 settled and those in flight are all that may have been billed."""
    run = Simulation(Cutting(after), 1000, ceiling, stop_after=50).run()
    assert 50 <= len(run.attempts) <= 70
    assert run.most_in_flight <= ceiling


@pytest.mark.parametrize("service", [2.0, 10.0])
def test_a_high_ceiling_is_soon_in_use(service: float) -> None:
    """2,000 tasks, 512 at once, at a server that takes them all: within a second of the ideal wall time."""
    run = Simulation(Capacity(lambda now: 10**6, service, spread=0.0), 2000, 512).run()
    assert run.last_end <= 4 * service + 1.0
    assert run.most_in_flight == 512


def test_a_fast_server_is_not_held_back() -> None:
    """At 10 ms an answer and 32 at once, far more than 1,500 a second from the start."""
    run = Simulation(Capacity(lambda now: 10**6, 0.01, spread=0.0), 3000, 32).run()
    assert run.per_second(0.0, 0.5) >= 2000


def test_an_outage_costs_probes_and_no_more() -> None:
    """A server that answers 502 for five minutes gets those in flight when the breaker opens, then a few probes."""
    run = Simulation(Broken(), 1000, 64, until=300).run()
    assert 5 + 3 <= len(run.attempts) <= 16 + 12
    assert run.breaker.position is not Position.CLOSED


def test_without_the_pace_the_allowance_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation can fail: where requests are not spread out, far more than 5 % are throttled or it crawls."""
    monkeypatch.setattr(concurrency, "LEAN", 50.0)
    run = Simulation(TokenBucket(600, 1), 400, 64, delay=0.001).run()
    assert run.throttled_share > 0.05 or allowance_reached(run, 600) < 0.90


def test_without_boldness_a_returned_capacity_stays_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation can fail: without growth 64 is not reached from 8."""
    monkeypatch.setattr(concurrency, "BOLDNESS", 0.0)
    run = Simulation(Capacity(lambda now: 8 if 60 <= now < 120 else 64), 100_000, 128, until=170).run()
    assert run.per_second(150, 170) < 0.85 * 32
