"""`retouch status`, above all beside a run in another process: from its ledger alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from PIL import Image

from tests.cli.conftest import JOB, Retouch

COMMAND = [sys.executable, "-c", "from pipeline.cli import main; main()"]


@contextmanager
def process(folder: Path, environ: Mapping[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, which does not outlive the block."""
    started = subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=dict(environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with started:
        try:
            yield started
        finally:
            started.kill()


@pytest.fixture
def slow(folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """A sandbox that takes a second for each picture, as a process; its base URL."""
    with process(folder, environ, "sandbox", "--port", "0", "--latency", "1s", "--plain", "--json") as served:
        assert served.stdout is not None
        yield msgspec.json.decode(served.stdout.readline())["url"]


@pytest.fixture
def job(folder: Path, slow: str) -> Path:
    """A job of 24 photos for it, two at once, with a rate that does not hold it back."""
    for number in range(24):
        Image.new("RGB", (16, 12), (number, 9, 3)).save(folder / f"in/{number}.png")
    document = yaml.safe_load(JOB) | {"limits": {"concurrency": 2, "requests_per_minute": 600}}
    document["endpoint"] = {"base_url": slow}
    (folder / "job.yaml").write_text(yaml.safe_dump(document))
    return folder


def until(retouch: Retouch, holds: Any) -> Any:
    """Ask for the status until it is as it should be, and return it. Raises TimeoutError."""
    last = time.monotonic() + 60
    while time.monotonic() < last:
        said = retouch("status", "job.yaml", "--json")
        assert said.code == 0, said.err
        if holds(said.json):
            return said.json
    raise TimeoutError(said.out)


def test_a_running_job_is_told_from_another_shell(job: Path, environ: Mapping[str, str], retouch: Retouch) -> None:
    """Progress, pace, cost so far and at the end, share of the rate, time left; after its end only what it came to."""
    keyed = {**environ, "OPENAI_API_KEY": "sk-test"}
    with process(job, keyed, "run", "job.yaml", "--json") as running:
        found = until(retouch, lambda status: (status["now"] or {"done": 0})["done"] >= 4)
        now = found["now"]
        text = retouch("status", "job.yaml").out
        assert f"pid {running.pid} " in found["running"]
        stdout, _ = running.communicate(timeout=60)
    summary = msgspec.json.decode(stdout)

    assert found["tasks"]["total"] == 24
    assert 4 <= now["done"] < 24
    assert 0 < now["in_flight"] <= 2
    assert 20 <= now["per_minute"] <= 130
    assert 0 < now["seconds_left"] < 60
    assert 0 < now["used_share"] < 0.5
    one = summary["cost"]["confirmed"] / 24
    assert now["cost"] == {"confirmed": pytest.approx(one * now["done"], rel=0.3), "possible": 0, "currency": "USD"}
    assert now["cost_at_end"] == pytest.approx(one * 24, rel=0.3)
    assert "\nthis run: " in text
    assert " of rate, ETA " in text
    assert " of ~$" in text

    assert summary["exit"] == 0
    after = until(retouch, lambda status: True)
    assert (after["now"], after["running"], after["tasks"]["done"]) == (None, None, 24)
    assert after["usage"]["cost"] == summary["cost"]


def test_a_killed_run_is_not_told_as_one_that_goes_on(job: Path, environ: Mapping[str, str], retouch: Retouch) -> None:
    """What it left in flight is told, and counted as possible cost."""
    with process(job, {**environ, "OPENAI_API_KEY": "sk-test"}, "run", "job.yaml") as running:
        until(retouch, lambda status: status["now"] and status["now"]["done"] >= 1 and status["now"]["in_flight"] == 2)
        running.kill()
        running.wait(timeout=30)
    found = until(retouch, lambda status: True)
    assert (found["now"], found["running"]) == (None, None)
    assert found["in_flight"] >= 1
    assert found["usage"]["cost"]["possible"] > 0


def test_a_job_that_never_ran_has_a_status(call: Retouch) -> None:
    """All zero, exit 0."""
    said = call("status", "job.yaml", "--json")
    assert (said.code, said.json["now"], said.json["runs"], said.json["tasks"]["pending"]) == (0, None, 0, 2)
    assert "bought: 0 images in 0 requests, 0 tokens\n" in call("status", "job.yaml").out + "\n"
