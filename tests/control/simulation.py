"""Simulated servers and a run against them on a virtual clock: the rules of flow control without any waiting."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from math import ceil
from random import Random
from typing import Protocol

from pipeline.control.breaker import Breaker
from pipeline.control.concurrency import LiveLimit
from pipeline.control.rates import Charge, Rates
from pipeline.control.retry import wait_seconds
from pipeline.endpoint.ratelimits import NOTHING_SAID, Allowance, RateLimits
from pipeline.outcome import Outcome

ONE = Charge(1, 1, 0)
REFUSAL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Answer:
    """How a server answers: after so many seconds, with what."""

    outcome: Outcome
    status: int | None
    seconds: float
    retry_after: float | None = None
    said: RateLimits = NOTHING_SAID


class Server(Protocol):
    """A simulated endpoint."""

    def take(self, now: float, random: Random) -> Answer:
        """Answer a request that arrives now."""


def success(seconds: float, said: RateLimits = NOTHING_SAID) -> Answer:
    """A picture."""
    return Answer(Outcome.SUCCEEDED, 200, seconds, said=said)


@dataclass(slots=True)
class TokenBucket:
    """So many requests a minute; at most `burst` are kept. `told` is how a 429 says when to come back."""

    per_minute: float
    burst: float
    service: float = 2.0
    spread: float = 0.1
    told: str | None = "seconds"
    headers: bool = False
    level: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.burst

    def take(self, now: float, random: Random) -> Answer:
        """Serve the request where a token is there."""
        self.level = min(self.burst, self.level + (now - self.at) * self.per_minute / 60)
        self.at = now
        if self.level < 1 - 1e-9:
            after = (1 - self.level) * 60 / self.per_minute
            told = {"seconds": float(ceil(after)), "ms": ceil(after * 1000) / 1000, None: None}[self.told]
            return Answer(Outcome.THROTTLED, 429, REFUSAL_SECONDS, told, self._said())
        self.level -= 1
        return success(self.service * random.uniform(1 - self.spread, 1 + self.spread), self._said())

    def _said(self) -> RateLimits:
        if not self.headers:
            return NOTHING_SAID
        reset = (self.burst - self.level) * 60 / self.per_minute
        return RateLimits(requests=Allowance(self.per_minute, float(int(self.level)), reset))


@dataclass(slots=True)
class Capacity:
    """At most `places(now)` requests at once; more are turned away with `status`."""

    places: Callable[[float], int]
    service: float = 2.0
    spread: float = 0.1
    status: int = 503
    retry_after: float | None = 1.0
    ends: list[float] = field(default_factory=list)

    def take(self, now: float, random: Random) -> Answer:
        """Serve the request where a place is free."""
        while self.ends and self.ends[0] <= now:
            heapq.heappop(self.ends)
        if len(self.ends) >= self.places(now):
            return Answer(Outcome.THROTTLED, self.status, REFUSAL_SECONDS, self.retry_after)
        seconds = self.service * random.uniform(1 - self.spread, 1 + self.spread)
        heapq.heappush(self.ends, now + seconds)
        return success(seconds)


@dataclass(slots=True)
class Cutting:
    """A gateway that cuts every connection."""

    after: float = 2.0

    def take(self, now: float, random: Random) -> Answer:
        """Cut the connection."""
        return Answer(Outcome.IN_DOUBT, None, self.after)


@dataclass(slots=True)
class Broken:
    """A gateway in front of nothing."""

    def take(self, now: float, random: Random) -> Answer:
        """Answer 502 soon."""
        return Answer(Outcome.IN_DOUBT, 502, random.uniform(0.1, 0.3))


@dataclass(slots=True)
class Attempt:
    """A request as it went."""

    started: float
    ended: float
    outcome: Outcome


@dataclass(slots=True)
class Simulation:
    """A run of `tasks` tasks; `delay` is the most that a request is late from its admission to its arrival."""

    server: Server
    tasks: int
    ceiling: int
    rates: Rates = field(default_factory=lambda: Rates(None, None, None, 0.0))
    seed: int = 1
    delay: float = 0.0
    until: float = 1e9
    stop_after: int | None = None
    breaker: Breaker = field(default_factory=Breaker)
    limit: LiveLimit = field(init=False)
    attempts: list[Attempt] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    def run(self) -> Simulation:
        """Go through all events; the same admission as a run's: first come, first served, everything taken at once."""
        random, numbers = Random(self.seed), count()
        now, looking = 0.0, -1.0
        self.limit = LiveLimit(self.ceiling)
        queue = deque((task, 0) for task in range(self.tasks))
        events: list[tuple[float, int, Callable[[], None]]] = []

        def at(moment: float, act: Callable[[], None]) -> None:
            heapq.heappush(events, (moment, next(numbers), act))

        def start(task: int, tries: int) -> None:
            self.rates.take(ONE, now)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            self.limit.on_start(self.in_flight, now)
            started, probe = now, self.breaker.on_start(str(task), now)
            at(now + random.uniform(0, self.delay), lambda: arrive(task, tries, started, probe))

        def arrive(task: int, tries: int, started: float, probe: bool) -> None:
            answer = self.server.take(now, random)
            at(now + answer.seconds, lambda: end(task, tries + 1, started, answer, probe))

        def end(task: int, tries: int, started: float, answer: Answer, probe: bool) -> None:
            self.attempts.append(Attempt(started, now, answer.outcome))
            self.breaker.on_end(answer.outcome, answer.status, now, probe)
            self.limit.on_end(
                answer.outcome, answer.status, now - started, started, now, self.in_flight, answer.retry_after
            )
            if answer.outcome is Outcome.THROTTLED:
                self.rates.throttled()
            self.rates.heed(answer.said, now, started)
            self.rates.settle(ONE, ONE, now)
            self.in_flight -= 1
            if answer.outcome is Outcome.SUCCEEDED:
                self.breaker.release(str(task))
                return
            at(now + wait_seconds(tries, answer.retry_after, 120.0, random.random), lambda: ask_again(task, tries))

        def ask_again(task: int, tries: int) -> None:
            # A probe waits in no line: those before it would wait for it.
            (queue.appendleft if self.breaker.is_probe(str(task)) else queue.append)((task, tries))

        def admit() -> None:
            nonlocal looking
            while queue and not (self.stop_after and len(self.attempts) >= self.stop_after):
                if self.in_flight >= min(self.ceiling, self.limit.limit):
                    return
                wait = max(self.limit.wait(now), self.rates.wait(ONE, now), self.breaker.wait(str(queue[0][0]), now))
                if wait > 0:
                    if looking <= now or now + wait < looking:
                        looking = now + wait
                        at(looking, lambda: None)
                    return
                start(*queue.popleft())

        admit()
        while events and now < self.until:
            now, _, act = heapq.heappop(events)
            act()
            admit()
        return self

    def of(self, outcome: Outcome) -> int:
        """Attempts that ended so."""
        return sum(attempt.outcome is outcome for attempt in self.attempts)

    @property
    def throttled_share(self) -> float:
        """The share of all attempts that were throttled."""
        return self.of(Outcome.THROTTLED) / len(self.attempts)

    def per_second(self, start: float, end: float) -> float:
        """Pictures a second that came in a span of time."""
        came = sum(attempt.outcome is Outcome.SUCCEEDED and start <= attempt.ended < end for attempt in self.attempts)
        return came / (end - start)

    @property
    def last_end(self) -> float:
        """When the last attempt ended."""
        return max(attempt.ended for attempt in self.attempts)


def allowance_reached(simulation: Simulation, per_minute: float) -> float:
    """The share of an allowance that a run reached after its first ten seconds."""
    end = simulation.last_end
    return simulation.per_second(10.0, end + 1e-6) * 60 / per_minute
