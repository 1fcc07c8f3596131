"""A served sandbox with a raw client, as one context."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import anyio
from msgspec.structs import replace

from pipeline.sandbox.app import Sandbox
from pipeline.sandbox.faults import parse_faults
from pipeline.sandbox.latency import Latency
from pipeline.sandbox.server import Server, serve
from tests.sandbox.pictures import Client

QUICK = Sandbox(latency=Latency(seconds=0.0), plain=True)


@dataclass(frozen=True, slots=True)
class Bench:
    """A server and a client of it."""

    server: Server
    client: Client


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a state of the server. Raises TimeoutError after two seconds."""
    with anyio.fail_after(2):
        while not holds():  # noqa: ASYNC110 - the bill has no events
            await anyio.sleep(0.01)


@asynccontextmanager
async def bench(config: Sandbox = QUICK, faults: str = "") -> AsyncIterator[Bench]:
    """Serve this config with these faults."""
    config = replace(config, faults=parse_faults(faults))
    connector = aiohttp.TCPConnector(force_close=True)
    async with serve(config) as server, aiohttp.ClientSession(connector=connector) as session:
        yield Bench(server, Client(session, server.root))
