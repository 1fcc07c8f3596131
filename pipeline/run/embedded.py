"""The sandbox: inside a run, on a loopback port that lives as long as the run, or alone until a signal."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from pipeline.errors import JobError, Problem
from pipeline.sandbox.faults import Faults, parse_faults
from pipeline.sandbox.latency import Latency, parse_latency
from pipeline.sandbox.server import Server, serve
from pipeline.sandbox.settings import Sandbox


@asynccontextmanager
async def sandbox(faults: str) -> AsyncIterator[Server]:
    """Serve until the block ends. Raises JobError for faults that do not exist."""
    async with serve(Sandbox(faults=_faults(faults))) as server:
        yield server


def serve_until_signal(
    *,
    host: str,
    port: int,
    key: str | None,
    faults: str,
    latency: str | None,
    plain: bool,
    ready: Callable[[str], None],
) -> None:
    """Serve until SIGINT or SIGTERM; `ready` hears the base URL once it can be used.

    Raises JobError for settings that cannot be used.
    """
    settings = Sandbox(key=key, faults=_faults(faults), latency=_latency(latency), plain=plain)

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
    try:
        return parse_faults(text)
    except ValueError as error:
        raise JobError([Problem(str(error), where="--faults")]) from error


def _latency(text: str | None) -> Latency:
    try:
        return Latency() if text is None else parse_latency(text)
    except ValueError as error:
        raise JobError([Problem(str(error), where="--latency")]) from error
