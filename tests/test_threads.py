"""Work in threads, and without any."""

from __future__ import annotations

import threading

import pytest
from anyio import CapacityLimiter

from pipeline.threads import in_thread

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread can be started any more, as at a limit on processes."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


async def test_work_is_done_in_another_thread() -> None:
    """The loop goes on meanwhile."""
    assert await in_thread(threading.get_ident, CapacityLimiter(1)) != threading.get_ident()


async def test_without_threads_work_is_done_all_the_same(no_threads: None) -> None:
    """It is done in the loop's own thread, and its value comes back."""
    assert await in_thread(threading.get_ident, CapacityLimiter(1)) == threading.get_ident()


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, OSError])
async def test_what_the_work_raises_is_raised_and_the_work_not_done_twice(error: type[Exception]) -> None:
    """An error of the work is not taken for one of starting a thread."""
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        raise error("of the work")

    with pytest.raises(error, match="of the work"):
        await in_thread(work, CapacityLimiter(1))
    assert calls == [1]


async def test_an_error_without_threads_is_raised(no_threads: None) -> None:
    """As it would be from a thread."""
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0, CapacityLimiter(1))
