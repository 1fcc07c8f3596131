"""The sandbox as a server in a process of its own, seen over HTTP alone."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import msgspec

from tests.e2e.command import PATIENCE, installed, running, wait_for


class Tokens(msgspec.Struct):
    input_tokens: int
    output_tokens: int
    total_tokens: int


class Second(msgspec.Struct):
    accepted: int
    throttled: int = 0


class Bill(msgspec.Struct):
    """The server's own account."""

    requests: int
    billed: int
    images: int
    usage: Tokens
    statuses: dict[str, int]
    idempotency_keys: dict[str, int]
    edits: dict[str, int]
    in_flight: int
    max_in_flight: int
    throttled: int = 0
    by_second: list[Second] = []


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A served endpoint; `url` is the base URL for clients."""

    url: str

    @property
    def bill(self) -> Bill:
        """The bill as it is now."""
        return msgspec.json.decode(self._call("/sandbox/bill"), type=Bill)

    def show(self, faults: str) -> None:
        """Show these faults from now on; latency=0.2s is one, too."""
        self._call("/sandbox/faults", faults.encode())

    def reset(self) -> None:
        """Begin a new bill without faults, once nothing is in flight any more."""
        self.show("")
        wait_for(lambda: self.bill.in_flight == 0, "requests of an earlier client to end")
        self._call("/sandbox/reset", b"")

    def seen(self, requests: int) -> None:
        """Wait until so many requests came in."""
        wait_for(lambda: self.bill.requests >= requests, f"{requests} requests")

    def _call(self, path: str, data: bytes | None = None) -> bytes:
        with urlopen(Request(self.url.removesuffix("/v1") + path, data), timeout=PATIENCE) as answer:
            body: bytes = answer.read()
            return body


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Endpoint]:
    """Serve plain pictures, quickly unless the options say otherwise, while the block lasts."""
    command = [str(installed()), "sandbox", "--port", "0", "--latency", "0s", "--plain", "--json", *options]
    with running(command, folder, folder / "sandbox.log") as server:
        assert server.process.stdout is not None
        yield Endpoint(json.loads(server.process.stdout.readline())["url"])
        server.send(signal.SIGTERM)
        assert server.finish().code == 0


@dataclass(frozen=True, slots=True)
class Silence:
    """An address where nobody may call; `url` is a base URL."""

    url: str
    listener: socket.socket

    def was_called(self) -> bool:
        """Whether anyone connected."""
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@contextmanager
def silence() -> Iterator[Silence]:
    """Listen on a loopback port without answering."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield Silence(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", listener)
