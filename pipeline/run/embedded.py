"""The sandbox: inside a run, on a loopback port that lives as long as the run, or alone until a signal."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio

from pipeline.errors import JobError, Problem
from pipeline.sandbox.capacity import parse_capacity
from pipeline.sandbox.faults import Faults, parse_faults
from pipeline.sandbox.latency import Latency, parse_latency, parse_seconds
from pipeline.sandbox.server import Server, serve
from pipeline.sandbox.settings import Sandbox

T = TypeVar("T")


@asynccontextmanager
async def sandbox(faults: str) -> AsyncIterator[Server]:
    """Serve until the block ends. Raises JobError for faults that do not exist."""
    async with serve(Sandbox(faults=_faults(faults))) as server:
        yield server


def settings_of(
    *, faults: str, latency: str | None, capacity: str | None, gateway_cut: str | None, **plain: Any
) -> Sandbox:
    """How a sandbox behaves, from the texts of its options; `plain` are settings that need no reading.

    Raises JobError for what cannot be read, and for an option without the one that it belongs to.
    """
    if plain.get("burst") is not None and plain.get("requests_per_minute") is None:
        raise JobError([Problem("there is no rate", "expected --requests-per-minute with it", "--burst")])
    return Sandbox(
        faults=_faults(faults),
        latency=_read("--latency", parse_latency, latency) or Latency(),
        capacity=_read("--capacity", parse_capacity, capacity),
        gateway_cut=_read("--gateway-cut", parse_seconds, gateway_cut),
        **plain,
    )


def serve_until_signal(settings: Sandbox, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready` hears the base URL once it can be used.

    Raises JobError where the port cannot be had.
    """

    async def main() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with serve(settings, host, port) as server:
                ready(server.url)
                async for _ in signals:
                    return

    try:
        anyio.run(main, backend_options={"use_uvloop": sys.platform != "win32"})
    except OSError as error:
        problem = Problem(
            f"cannot listen on {host} port {port}: {error.strerror or error}", "--port 0 takes a free one"
        )
        raise JobError([problem]) from error


def _faults(text: str) -> Faults:
    return _read("--faults", parse_faults, text) or Faults()


def _read(option: str, parse: Callable[[str], T], text: str | None) -> T | None:
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise JobError([Problem(str(error), where=option)]) from error
