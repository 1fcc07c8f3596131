"""The scripted upstream, the sandbox, and the proxy before both, started once for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from pipeline.sandbox.server import Server, serve
from pipeline.sandbox.settings import Sandbox
from tests.peer import capture, proxy, upstream


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """An event loop in a thread of its own, for the servers that the tests talk to."""
    with start_blocking_portal() as running:
        yield running


@pytest.fixture(scope="session")
def server(portal: BlockingPortal) -> Iterator[upstream.Upstream]:
    """The scripted upstream."""
    with portal.wrap_async_context_manager(upstream.serve()) as running:
        yield running


@pytest.fixture(scope="session")
def sandbox(portal: BlockingPortal) -> Iterator[Server]:
    """The sandbox."""
    with portal.wrap_async_context_manager(serve(Sandbox())) as running:
        yield running


@pytest.fixture(scope="session")
def peer(server: upstream.Upstream, sandbox: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[proxy.Proxy]:
    """The LiteLLM proxy before the scripted upstream and the sandbox."""
    command = proxy.executable()
    if command is None:
        if os.environ.get("RETOUCH_REQUIRE_ALL") == "1":
            pytest.fail(proxy.ABSENT)
        pytest.skip(proxy.ABSENT)
    upstreams = {capture.MODEL: server.url, capture.SANDBOX_MODEL: sandbox.url, capture.UNREACHABLE: capture.NOWHERE}
    with proxy.run(command, tmp_path_factory.mktemp("litellm"), upstreams) as running:
        yield running
