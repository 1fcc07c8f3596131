"""What parent and child tell each other arrives whole and in order, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from pipeline.errors import JobError, LockedError, Problem, RetouchError
from pipeline.processes.pipes import messages, send
from pipeline.run.share import Weight

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe: where it is read, and where it is written."""
    ends = os.pipe()
    yield ends
    for fd in ends:
        with suppress(OSError):
            os.close(fd)


def heard(pipe: Pipe) -> list[Any]:
    """All that comes until nobody writes any more."""

    async def hear() -> list[Any]:
        return [message async for message in messages(pipe[0])]

    return anyio.run(hear)


def test_messages_come_whole_and_in_order(pipe: Pipe) -> None:
    """Short and long ones, up to what the pipe holds."""
    sent = ["a", Weight(3, 2), "b" * 40_000, None]
    for message in sent:
        send(pipe[1], message)
    os.close(pipe[1])
    assert heard(pipe) == sent


@pytest.mark.parametrize("cut", [1, 4, 10])
def test_what_a_killed_writer_began_is_left_out(pipe: Pipe, cut: int) -> None:
    """The last message lacks its end."""
    send(pipe[1], "whole")
    whole = os.read(pipe[0], 1000)
    os.write(pipe[1], whole + whole[:cut])
    os.close(pipe[1])
    assert heard(pipe) == ["whole"]


def test_a_message_may_come_in_many_pieces(pipe: Pipe) -> None:
    """Byte after byte."""

    async def both() -> list[Any]:
        found = list[Any]()

        async def write() -> None:
            other = os.pipe()
            send(other[1], "piece by piece")
            for byte in os.read(other[0], 1000):
                os.write(pipe[1], bytes([byte]))
                await checkpoint()
            os.close(pipe[1])

        async with anyio.create_task_group() as group:
            group.start_soon(write)
            found += [message async for message in messages(pipe[0])]
        return found

    assert anyio.run(both) == ["piece by piece"]


def test_a_reader_that_is_gone_is_survived(pipe: Pipe) -> None:
    """The parent was killed: the child goes on to its own end."""
    os.close(pipe[0])
    send(pipe[1], "nobody hears this")


def test_what_can_be_missed_never_waits(pipe: Pipe) -> None:
    """A parent that is stopped reads nothing; how far a child is does not keep it from its work."""
    for _ in range(1000):
        send(pipe[1], "x" * 1000, dispensable=True)
    os.close(pipe[1])
    assert 1 < len(heard(pipe)) < 1000


@pytest.mark.parametrize(
    "error",
    [JobError([Problem("what", "expected", "where", "file", 3, 4)]), LockedError("held"), RetouchError("odd")],
)
def test_errors_arrive_as_they_are(pipe: Pipe, error: RetouchError) -> None:
    """With their problems, so that they are told as if one process had raised them."""
    send(pipe[1], error)
    os.close(pipe[1])
    [found] = heard(pipe)
    assert (type(found), str(found), getattr(found, "problems", ())) == (
        type(error),
        str(error),
        getattr(error, "problems", ()),
    )
