"""Requests in flight and the limit on open files."""

from __future__ import annotations

import resource

import pytest

from pipeline.errors import StorageError
from pipeline.run import descriptors
from pipeline.run.descriptors import OWN, PER_REQUEST, PER_WORKER, slots_for, slots_within


@pytest.mark.parametrize(
    ("allowed", "concurrency", "slots"),
    [
        (1024, 16, 16),
        (1024, 5000, 314),
        (256, 64, 58),
        (24, 16, 0),
        (0, 1, 0),
        (10 + OWN + 8, 16, 0),
        (10 + OWN + 9, 16, 1),
        (10 + OWN + 4 * 9, 16, 4),
        (10 + OWN + 4 * 9 + 3, 16, 5),
        (10 + OWN + 3 * 9 + 8, 16, 3),
    ],
)
def test_requests_never_take_the_files_that_storing_needs(allowed: int, concurrency: int, slots: int) -> None:
    """With four workers and ten files open: what is left after the run's own files and those of its workers."""
    assert slots_within(allowed, 10, concurrency, workers=4) == slots
    assert not slots or 10 + OWN + min(4, slots) * PER_WORKER + slots * PER_REQUEST <= allowed


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """This process's soft and hard limit, as the code sees them; ten files are open."""
    now = [64, 1 << 20]

    def change(_: int, asked: tuple[int, int]) -> None:
        if asked[0] > now[1]:
            raise ValueError("not allowed to raise maximum limit")
        now[:] = asked

    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(now))
    monkeypatch.setattr(resource, "setrlimit", change)
    monkeypatch.setattr(descriptors, "_opened", lambda: 10)
    return now


def test_a_soft_limit_is_raised_as_far_as_is_needed(limits: list[int]) -> None:
    """No further, and nobody is told."""
    assert slots_for(32, pytest.fail) == 32
    assert 64 < limits[0] < 2000


def test_a_hard_limit_makes_fewer_slots(limits: list[int]) -> None:
    """The user is told of it once."""
    limits[:] = [100, 100]
    told: list[str] = []
    slots = slots_for(200, told.append)
    assert 0 < slots < 20
    assert told == [f"only 100 files may be open (ulimit -n): {slots} requests at once instead of 200"]


def test_a_limit_that_lets_nothing_be_stored_is_refused(limits: list[int]) -> None:
    """Better no request than one whose answer cannot be kept."""
    limits[:] = [30, 30]
    with pytest.raises(StorageError, match="may have 30 files open"):
        slots_for(1, pytest.fail)


def test_a_limit_that_is_not_set_is_no_limit(limits: list[int]) -> None:
    """RLIM_INFINITY is -1 in Python."""
    limits[:] = [resource.RLIM_INFINITY] * 2
    assert slots_for(5000, pytest.fail) == 5000
