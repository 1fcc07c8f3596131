"""How a sandbox behaves."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct, field

from pipeline.sandbox.capacity import Step
from pipeline.sandbox.faults import Faults
from pipeline.sandbox.latency import Latency


class Sandbox(Struct, frozen=True):
    """The settings of one endpoint; the defaults answer quickly and without faults.

    `key` None takes any bearer token, but demands one. `requests_per_minute` limits with 429 and sends
    x-ratelimit headers, unless `rate_headers` is off; `burst` is how many may come at once (default: a
    minute's). Above `capacity` requests in flight (a number, or steps in order of time) `overload_status` is
    answered, 503 or 429. Without `retry_after` a 429 does not say how long to wait. `gateway_cut` is
    after how many seconds a gateway in front closes a connection without an answer, while the work behind it goes
    on and is billed. `keep_log` keeps each request in the bill, which then grows;
    `bill_file` takes a durable JSON line for each billed request. `plain` answers with one-coloured
    pictures, for many requests in short time. `redirect_to` is where the fault `redirect` points.
    `threads` is how many uploads or pictures are worked on at once.
    """

    key: str | None = None
    latency: Latency = field(default_factory=Latency)
    faults: Faults = field(default_factory=Faults)
    seed: int = 0
    requests_per_minute: float | None = None
    burst: float | None = None
    rate_headers: bool = True
    retry_after: bool = True
    capacity: int | tuple[Step, ...] | None = None
    overload_status: int = 503
    gateway_cut: float | None = None
    keep_log: bool = False
    bill_file: Path | None = None
    plain: bool = False
    redirect_to: str = "http://elsewhere.invalid/v1/images/edits"
    threads: int = 2
