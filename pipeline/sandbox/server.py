"""Serving the endpoint inside a running event loop, next to its client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from msgspec import Struct

from pipeline.sandbox.app import SERVICE, make_app
from pipeline.sandbox.bill import Bill
from pipeline.sandbox.faults import Faults
from pipeline.sandbox.service import Service
from pipeline.sandbox.settings import Sandbox

LEAVE_SECONDS = 0.1
"""How long requests in flight may go on when the server stops; hung ones never end by themselves."""


class Server(Struct, frozen=True):
    """A running endpoint. `root` is its address, `url` the base URL for clients."""

    root: str
    port: int
    service: Service

    @property
    def url(self) -> str:
        """The base URL, with `/v1`."""
        return f"{self.root}/v1"

    @property
    def bill(self) -> Bill:
        """The account, live."""
        return self.service.bill

    def set_faults(self, faults: Faults) -> None:
        """Show these faults from now on."""
        self.service.set_faults(faults)


@asynccontextmanager
async def serve(config: Sandbox, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Server]:
    """Serve while the context lasts, by default on a free loopback port. Raises OSError where it cannot bind."""
    app = make_app(config)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=LEAVE_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = int(runner.addresses[0][1])
        name = f"[{host}]" if ":" in host else host
        yield Server(f"http://{name}:{bound}", bound, app[SERVICE])
    finally:
        await runner.cleanup()
