"""Metrics as Prometheus reads them, and the file and the port on which it finds them."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from anyio import CapacityLimiter
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from pipeline.errors import JobError
from pipeline.ledger.usage import Cost
from pipeline.run.flags import Flags
from pipeline.run.measuring import last_success, measuring, write_whole
from pipeline.run.metrics import Metrics
from pipeline.run.progress import LaneNow, Snapshot
from pipeline.run.summary import Tally, summarise
from pipeline.threads import in_thread
from tests.ledger.lines import settled

JOB = 'sp"ring\\cat\nalog'
MOMENT = Snapshot(
    total=100,
    finished=40,
    failed=1,
    images=39,
    in_flight=12,
    waiting=3,
    tokens=9,
    seconds=60.0,
    sent_now=39,
    draining=False,
    confirmed=Decimal("1.25"),
    possible=Decimal("0.5"),
    limit=16,
    lanes=(LaneNow("a", 8, 10, 0.75), LaneNow("b", 4, 6, None)),
    ends={"done": 39, "failed": 1},
)


def samples(text: str) -> dict[str, float]:
    """Each sample by its name and labels but the job's, read by the real parser."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert sample.labels.pop("job") == JOB
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name.removeprefix('retouch_')}{{{labels}}}"] = sample.value
    return found


def read(metrics: Metrics) -> dict[str, float]:
    return samples(metrics.text().decode())


def test_attempts_are_counted() -> None:
    """Requests by outcome, images, tokens by kind, and the seconds in a histogram; by endpoint."""
    metrics = Metrics(JOB)
    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    for _ in range(2):
        line = settled("t", "succeeded", paths=["a", "b"], usage=usage, seconds=9.0, endpoint="a")
        metrics.attempt(line)
    metrics.attempt(settled("t", "throttled", endpoint="a", seconds=0.1))
    metrics.attempt(settled("t", "unsent", endpoint="b", seconds=None))
    found = read(metrics)
    assert {name: value for name, value in found.items() if value and "bucket" not in name} == {
        "requests_total{endpoint=a,outcome=succeeded}": 2,
        "requests_total{endpoint=a,outcome=throttled}": 1,
        "requests_total{endpoint=b,outcome=unsent}": 1,
        "images_total{endpoint=a}": 4,
        "tokens_total{endpoint=a,kind=input}": 10,
        "tokens_total{endpoint=a,kind=output}": 14,
        "request_seconds_count{endpoint=a}": 3,
        "request_seconds_sum{endpoint=a}": 18.1,
    }
    assert found["request_seconds_bucket{endpoint=a,le=5.0}"] == 1
    assert found["request_seconds_bucket{endpoint=a,le=10.0}"] == 3


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": -5}, {"input_tokens": "5"}, {"input_tokens": True}])
def test_tokens_that_are_no_count_add_nothing(usage: Mapping[str, Any] | None) -> None:
    """A counter that went down would end the run."""
    metrics = Metrics(JOB)
    metrics.attempt(settled("t", "succeeded", usage=usage, endpoint="a"))
    assert read(metrics)["tokens_total{endpoint=a,kind=input}"] == 0


def test_a_moment_is_shown() -> None:
    """Cost, in flight, live limit, rate, queue, and tasks by their ends; what is not known has no series."""
    metrics = Metrics(JOB)
    metrics.update(MOMENT)
    found = read(metrics)
    expected = {
        "cost_dollars{kind=confirmed}": 1.25,
        "cost_dollars{kind=possible}": 0.5,
        "requests_in_flight{endpoint=a}": 8,
        "requests_in_flight{endpoint=b}": 4,
        "concurrency_limit{endpoint=a}": 10,
        "concurrency_limit{endpoint=b}": 6,
        "rate_used_ratio{endpoint=a}": 0.75,
        "tasks_selected{}": 100,
        "tasks_queued{}": 48,
        "tasks_retrying{}": 3,
        "tasks{end=done}": 39,
        "tasks{end=failed}": 1,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert "rate_used_ratio{endpoint=b}" not in found
    assert found["tasks{end=held}"] == 0


def test_series_are_there_before_their_first_event() -> None:
    """`increase()` misses the step from nothing to 1."""
    metrics = Metrics(JOB)
    metrics.update(MOMENT)
    assert read(metrics)["requests_total{endpoint=a,outcome=in_doubt}"] == 0


def test_without_a_price_there_is_no_cost() -> None:
    """An alert on money must not see a zero that means nobody knows."""
    metrics = Metrics(JOB)
    metrics.update(replace(MOMENT, confirmed=None, possible=None))
    assert not any(name.startswith("cost") for name in read(metrics))


@pytest.mark.parametrize(("code", "success"), [(0, 2000.0), (3, 1000.0), (10, 1000.0)])
def test_a_run_has_an_end(code: int, success: float) -> None:
    """Its exit code, and when one last exited 0, which an earlier run's file told."""
    metrics = Metrics(JOB, last_success=1000.0)
    metrics.begin("run-1", "0.1", 1500.0)
    assert read(metrics)["run_running{}"] == 1
    assert "run_exit_code{}" not in read(metrics)
    summary = summarise(Tally(cost=Cost()), job="j", run="r", exit_code=code, seconds=1.0, ledger=None)
    metrics.finish(summary, 2000.0)
    found = read(metrics)
    assert (found["run_running{}"], found["run_exit_code{}"]) == (0, code)
    assert found["run_start_timestamp_seconds{}"] == 1500.0
    assert found["run_last_success_timestamp_seconds{}"] == success
    assert found["run_info{run=run-1,version=0.1}"] == 1


def test_two_runs_of_one_process_do_not_mix() -> None:
    """Each has a registry of its own, and none is prometheus-client's."""
    import prometheus_client

    first, second = Metrics(JOB), Metrics(JOB)
    first.attempt(settled("t", "succeeded", endpoint="a"))
    assert "images_total{endpoint=a}" not in read(second)
    assert b"retouch" not in prometheus_client.generate_latest()


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """Replaced 300 times under a reader that never stops: each reading is one of the two contents, whole."""
    path = tmp_path / "retouch.prom"
    contents = [letter * 200_000 for letter in (b"a", b"b")]
    write_whole(path, contents[0])
    over = threading.Event()
    seen: set[bytes] = set()

    def look() -> None:
        while not over.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(300):
        write_whole(path, contents[number % 2])
    over.set()
    reader.join()
    assert seen <= set(contents)
    assert [entry.name for entry in tmp_path.iterdir()] == ["retouch.prom"]


def test_a_write_that_fails_leaves_the_former_file(tmp_path: Path) -> None:
    """And nothing beside it."""
    path = tmp_path / "retouch.prom"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["retouch.prom"]


@pytest.mark.parametrize("text", [None, "", "\x00\xff", "retouch_x{", "a b c d", "other 5\n"])
def test_a_file_that_does_not_tell_the_last_success(tmp_path: Path, text: str | None) -> None:
    """None yet, or somebody else's: the run begins all the same."""
    path = tmp_path / "m.prom"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    assert last_success(path, JOB) is None


def test_the_last_success_is_read_back_by_job(tmp_path: Path) -> None:
    """From the file of an earlier run of the same job only."""
    path = tmp_path / "m.prom"
    write_whole(path, Metrics(JOB, last_success=1234.5).text())
    assert (last_success(path, JOB), last_success(path, "other")) == (1234.5, None)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def problem_of(flags: Flags) -> str:
    with pytest.raises(JobError) as caught:
        async with measuring(JOB, flags, lambda _: None):
            raise AssertionError("it began")
    return str(caught.value)


@pytest.mark.anyio
async def test_a_port_in_use_is_an_error_in_words(taken: int) -> None:
    """Before anything is sent, and with a way out."""
    words = await problem_of(Flags(metrics_port=taken))
    assert words.startswith(f"--metrics-port: cannot listen on 127.0.0.1 port {taken}")
    assert "0 takes one" in words


@pytest.mark.anyio
async def test_a_file_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    """Its folder is missing, or it is one itself."""
    assert "there is no folder" in await problem_of(Flags(metrics_file=str(tmp_path / "no/m.prom")))
    assert "is a folder" in await problem_of(Flags(metrics_file=str(tmp_path)))


@pytest.mark.anyio
async def test_a_device_a_fifo_or_a_link_is_not_replaced_by_the_metrics(tmp_path: Path) -> None:
    """As root a rename over /dev/null takes it from the whole machine."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "m.prom")
    for path in ("/dev/null", tmp_path / "fifo", tmp_path / "link"):
        assert "is a special file or a link" in await problem_of(Flags(metrics_file=str(path)))


@pytest.mark.anyio
@pytest.mark.parametrize("flags", [Flags(metrics_port=0), Flags(metrics_file="m.prom")])
async def test_without_the_extra_the_hint_says_how_to_install_it(flags: Flags, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent; the quotes keep the shell from reading the brackets."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "pipeline.run.metrics", raising=False)
    assert "pip install 'retouch[metrics]'" in await problem_of(flags)


@pytest.mark.anyio
async def test_without_the_flags_nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor imported: the extra is not needed."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with measuring(JOB, Flags(), lambda _: None) as measured:
        assert measured is None


async def fetched(url: str) -> bytes:
    """What a scrape gets."""

    def fetch() -> bytes:
        with urlopen(url) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            return bytes(answer.read())

    return await in_thread(fetch, CapacityLimiter(1))


@pytest.mark.anyio
async def test_the_port_is_told_served_and_given_back() -> None:
    """On loopback; nothing is left of it afterwards."""
    told: list[str] = []
    before = threading.active_count()
    async with measuring(JOB, Flags(metrics_port=0), told.append):
        url = told[0].removeprefix("metrics: ")
        assert url.startswith("http://127.0.0.1:")
        samples((await fetched(url)).decode())
    names = [thread.name for thread in threading.enumerate() if not thread.name.startswith("AnyIO worker")]
    assert len(names) <= before
    with pytest.raises(OSError, match=r"refused|Connection"):
        await fetched(url)


def test_metrics_are_text_that_any_locale_reads() -> None:
    """Quotes, backslashes and line ends in a job's name do not break a line."""
    metrics = Metrics(JOB)
    metrics.update(MOMENT)
    assert read(metrics)
    assert os.linesep.join(line for line in metrics.text().decode().split("\n")).isascii()
