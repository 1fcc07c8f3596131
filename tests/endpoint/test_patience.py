"""The time limit of an exchange, and a process that is stopped while it runs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import pytest

from pipeline.endpoint.reply import Failure, Flight, Reply
from tests.endpoint.conftest import PNG, edit_of, response, transport_to, upload_of

pytestmark = pytest.mark.anyio

LONG = b'{"data":"' + b"x" * 3_000_000 + b'"}'


@contextmanager
def answering(answer: bytes, after: float) -> Iterator[str]:
    """A server in a thread, so that it goes on while the loop stands still: `answer` comes `after` seconds."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            time.sleep(after)
            with suppress(ConnectionError):
                connection.sendall(answer)
            over.wait(20)

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            over.set()
            thread.join()


async def stopped(url: str, folder: Path, limit: float, stop: float) -> Reply:
    """Post an edit while the process stands still for `stop` seconds after the request was sent."""
    replies: list[Reply] = []
    flight = Flight()

    async def post() -> None:
        edit = edit_of(upload_of(folder / "a.png", PNG))
        async with transport_to(url, folder, limit) as transport:
            replies.append(await transport.post(edit, flight))

    async with anyio.create_task_group() as group:
        group.start_soon(post)
        while not flight.began:  # noqa: ASYNC110 - it has no event
            await anyio.sleep(0.01)
        await anyio.sleep(0.05)
        time.sleep(stop)  # noqa: ASYNC251 - the loop stands still, as in a stopped process
    return replies[0]


async def test_an_answer_that_came_while_the_process_was_stopped_is_read(tmp_path: Path) -> None:
    """Stopped for longer than `timeout`: the timer is over at once on waking, and the answer is read all the same."""
    with answering(response(LONG), after=0.2) as url:
        reply = await stopped(url, tmp_path, limit=0.5, stop=1.2)
    assert (reply.failure, reply.status, bytes(reply.body)) == (None, 200, LONG)


async def test_an_answer_that_never_comes_is_given_up_after_a_stop(tmp_path: Path) -> None:
    """The time that is left after a stop is no longer than the limit itself."""
    with answering(b"", after=0.1) as url:
        reply = await stopped(url, tmp_path, limit=0.3, stop=1)
    assert reply.failure is Failure.TIMEOUT
    assert 1 < reply.seconds < 5


async def test_without_a_stop_the_limit_is_kept(tmp_path: Path) -> None:
    """Several ticks are as long as one."""
    with answering(response(LONG), after=2) as url:
        reply = await stopped(url, tmp_path, limit=1.2, stop=0)
    assert reply.failure is Failure.TIMEOUT
    assert 1.1 < reply.seconds < 1.95
