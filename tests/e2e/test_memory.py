"""Memory does not grow with the number of tasks."""

from __future__ import annotations

import sys

import msgspec
import pytest

from tests.e2e import peak
from tests.e2e.command import finished, installed
from tests.e2e.stage import Stage

MARGIN = 60_000_000
"""Bytes that 100,000 tasks may need beyond 100."""


class Cost(msgspec.Struct):
    """What a command took."""

    code: int
    bytes: int
    seconds: float


def plan_of(stage: Stage, photos: int) -> Cost:
    """Plan photos × 10 × 10 tasks, and measure it."""
    stage.photos(photos)
    command = [sys.executable, peak.__file__, str(installed()), "plan", str(stage.manifest), "--json"]
    measured = finished(command, stage.folder, stage.home)
    cost = msgspec.json.decode(measured.stderr, type=Cost)
    assert cost.code == 0
    assert measured.json["tasks"]["new"] == measured.json["requests"] == photos * 100
    return cost


@pytest.mark.slow
def test_a_plan_of_100_000_tasks_needs_less_than_60_mb_beyond_one_of_100(stage: Stage) -> None:
    """1,000 images under a 10 × 10 matrix are planned in bounded time and nearly the memory of one image."""
    (stage.folder / "photos/001.png").unlink()
    (stage.folder / "photos/002.png").unlink()
    axis = [f"v{number}" for number in range(10)]
    stage.job["prompts"] = [
        {"name": "p", "text": "{{ matrix.a }} and {{ matrix.b }}", "matrix": {"a": axis, "b": axis}}
    ]
    stage.write()
    few, many = plan_of(stage, 1), plan_of(stage, 1000)
    assert many.bytes - few.bytes < MARGIN
    assert many.seconds < 60
