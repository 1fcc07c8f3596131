"""A run's numbers as Prometheus metrics, in a registry of their own: several runs of one process do not mix.

1. Labels hold the job's, endpoints' and outcomes' names, the run's id and the version: never a key, a URL or a task.
2. Money is exact in the ledger; here it is a float, as everything in Prometheus.

Needs the extra `metrics`: import this module only where metrics are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Metric, generate_latest

from pipeline.ledger.records import Settled
from pipeline.run.progress import LaneNow, Snapshot
from pipeline.run.summary import ATTEMPT_OUTCOMES, TASK_ENDS, Summary

BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0)
"""Bounds of the histogram of a request's seconds: pictures take from 8 to 300, and gateways cut at 60, 100 and 125."""
TOKEN_KINDS = {"input": "input_tokens", "output": "output_tokens"}


class Registry(CollectorRegistry):
    """A registry whose answers leave out when each series was created, which would double their number."""

    def collect(self) -> Iterator[Metric]:
        """As its parent, without `_created` samples."""
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics:
    """The metrics of one run of `job`: `attempt` and `update` while it goes on, `finish` at its end.

    `last_success` is when a run of the job last exited 0, in Unix seconds, None where that is not known.
    """

    def __init__(self, job: str, last_success: float | None = None) -> None:
        self.registry = Registry()
        self._job = job
        own, each = ["job"], ["job", "endpoint"]
        self._requests = self._counter("requests", "Requests that ended, by outcome.", [*each, "outcome"])
        self._seconds = Histogram(
            "retouch_request_seconds",
            "Seconds from sending a request to the end of its answer.",
            each,
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._images = self._counter("images", "Images received.", each)
        self._tokens = self._counter("tokens", "Tokens that the endpoint reported, by kind.", [*each, "kind"])
        self._cost = self._gauge("cost_dollars", "Cost of this run so far, confirmed and possible.", [*own, "kind"])
        self._in_flight = self._gauge("requests_in_flight", "Requests in flight.", each)
        self._limit = self._gauge("concurrency_limit", "Requests that may be in flight now.", each)
        self._share = self._gauge("rate_used_ratio", "Used share of the tightest rate limit, last minute.", each)
        self._selected = self._gauge("tasks_selected", "Tasks that this run is about.", own)
        self._queued = self._gauge("tasks_queued", "Tasks without an end that have no request in flight.", own)
        self._retrying = self._gauge("tasks_retrying", "Tasks that wait before they try again.", own)
        self._tasks = self._gauge("tasks", "Tasks that have ended, by how.", [*own, "end"])
        self._started = self._gauge("run_start_timestamp_seconds", "When this run began.", own)
        self._running = self._gauge("run_running", "1 while the run goes on, 0 when it has ended.", own)
        self._exit = self._gauge("run_exit_code", "Exit code of the run that has ended.", own)
        self._success = self._gauge("run_last_success_timestamp_seconds", "When a run last exited 0.", own)
        self._info = Info("retouch_run", "The run: its id and the version.", own, registry=self.registry)
        if last_success is not None:
            self._success.labels(job).set(last_success)

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"retouch_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: list[str]) -> Gauge:
        return Gauge(f"retouch_{name}", text, labels, registry=self.registry)

    def begin(self, run: str, version: str, at: float) -> None:
        """The run has its id and began `at` Unix seconds."""
        self._info.labels(self._job).info({"run": run, "version": version})
        self._started.labels(self._job).set(at)
        self._running.labels(self._job).set(1)

    def attempt(self, settled: Settled) -> None:
        """Count a settled attempt."""
        labels = (self._job, settled.endpoint or "")
        self._requests.labels(*labels, str(settled.outcome)).inc()
        self._images.labels(*labels).inc(len(settled.outputs))
        if settled.seconds is not None:
            self._seconds.labels(*labels).observe(settled.seconds)
        for kind, key in TOKEN_KINDS.items():
            used = (settled.usage or {}).get(key)
            self._tokens.labels(*labels, kind).inc(used if type(used) is int and used > 0 else 0)

    def update(self, moment: Snapshot) -> None:
        """Show a moment of the run."""
        job = self._job
        self._selected.labels(job).set(moment.total)
        self._queued.labels(job).set(max(0, moment.total - moment.finished - moment.in_flight))
        self._retrying.labels(job).set(moment.waiting)
        for end in TASK_ENDS:
            self._tasks.labels(job, end).set(moment.ends.get(end, 0))
        for kind, amount in (("confirmed", moment.confirmed), ("possible", moment.possible)):
            if amount is not None:
                self._cost.labels(job, kind).set(float(amount))
        for lane in moment.lanes:
            self._show(lane)

    def _show(self, lane: LaneNow) -> None:
        labels = (self._job, lane.name)
        self._in_flight.labels(*labels).set(lane.in_flight)
        self._limit.labels(*labels).set(lane.limit)
        if lane.used_share is not None:
            self._share.labels(*labels).set(lane.used_share)
        # A series that is there from the start, at 0, lets a rate see its first increase.
        for outcome in ATTEMPT_OUTCOMES:
            self._requests.labels(*labels, str(outcome))

    def finish(self, summary: Summary, at: float) -> None:
        """The run ended `at` Unix seconds."""
        self._running.labels(self._job).set(0)
        self._exit.labels(self._job).set(summary.exit)
        if summary.exit == 0:
            self._success.labels(self._job).set(at)

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self.registry)
