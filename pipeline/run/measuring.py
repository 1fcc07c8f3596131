"""Where a run's metrics go: a textfile for node_exporter's collector, and a port of this machine.

1. A reader of the file sees a whole one, the former or the new: it is written beside it and renamed.
2. The file's temporary name does not end in `.prom`, the only names that node_exporter reads.
3. What cannot be opened is told before anything is sent; what fails later is a note, and the run goes on.
4. Nothing of a served run is left when it has ended: no thread, no port.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import CapacityLimiter

from pipeline.errors import JobError, Problem
from pipeline.run.flags import Flags
from pipeline.run.progress import snapshot
from pipeline.threads import in_thread
from pipeline.version import __version__

if TYPE_CHECKING:
    from pipeline.run.context import Context
    from pipeline.run.metrics import Metrics
    from pipeline.run.summary import Summary

BETWEEN_LOOKS = 1.0
"""Seconds between two updates of what is served."""
BETWEEN_WRITES = 5.0
"""Seconds between two writes of the file; node_exporter reads it at each scrape, every 15 s or more."""
HOST = "127.0.0.1"
LAST_SUCCESS = "retouch_run_last_success_timestamp_seconds"


class Measured:
    """The metrics of one run on their way out; `file` None where they are only served."""

    def __init__(self, metrics: Metrics, file: Path | None, note: Callable[[str], None]) -> None:
        self._metrics = metrics
        self._file = file
        self._note = note
        self._told: set[str] = set()
        self._writing = CapacityLimiter(1)

    async def follow(self, context: Context, total: int) -> None:
        """Show the run until it is cancelled; to be started before its first request, by `begin`."""
        written, started = -BETWEEN_WRITES, context.chance.clock()
        while True:
            now = context.chance.clock() - started
            self._metrics.update(snapshot(context, total, now))
            if now - written >= BETWEEN_WRITES:
                written = now
                await self._write()
            await anyio.sleep(BETWEEN_LOOKS)

    def begin(self, context: Context) -> None:
        """Count the attempts of this run from now on."""
        self._metrics.begin(context.run, __version__, context.chance.now().timestamp())
        context.tally.listeners.append(self._metrics.attempt)

    async def finish(self, context: Context, total: int, summary: Summary) -> None:
        """Show how the run ended."""
        self._metrics.update(snapshot(context, total, summary.seconds))
        self._metrics.finish(summary, context.chance.now().timestamp())
        await self._write()

    async def _write(self) -> None:
        if self._file is None:
            return
        try:
            await in_thread(partial(write_whole, self._file, self._metrics.text()), self._writing)
        except OSError as error:
            words = f"the metrics cannot be written to {self._file}: {error.strerror or error}; the run goes on"
            if words not in self._told:
                self._told.add(words)
                self._note(words)


@asynccontextmanager
async def measuring(job: str, flags: Flags, note: Callable[[str], None]) -> AsyncIterator[Measured | None]:
    """Open what the flags ask for; None where that is nothing.

    Raises JobError where prometheus-client is missing, the file's folder does not exist or the port is taken.
    """
    if flags.metrics_file is None and flags.metrics_port is None:
        yield None
        return
    try:
        from pipeline.run.metrics import Metrics
    except ModuleNotFoundError as error:
        flag = "--metrics-file" if flags.metrics_port is None else "--metrics-port"
        hint = "expected the extra `metrics`: pip install 'retouch[metrics]'"
        raise JobError([Problem("prometheus-client is not installed", hint, flag)]) from error
    file = None if flags.metrics_file is None else _checked(Path(flags.metrics_file))
    metrics = Metrics(job, None if file is None else last_success(file, job))
    async with _served(metrics, flags, note):
        yield Measured(metrics, file, note)


def _checked(file: Path) -> Path:
    """The file as an absolute path, whatever becomes of the working folder. Raises JobError where it cannot be."""
    whole = file.absolute()
    if not whole.parent.is_dir():
        hint = "expected a file in a folder that exists, such as node_exporter's textfile folder"
        raise JobError([Problem(f"there is no folder {file.parent}", hint, "--metrics-file")])
    # A rename puts a new file in the name's place: a device, a FIFO or a link would be gone.
    if os.path.lexists(whole) and not stat.S_ISREG(whole.lstat().st_mode):
        kind = "folder" if whole.is_dir() and not whole.is_symlink() else "special file or a link"
        hint = "expected a name of its own, such as retouch.prom"
        raise JobError([Problem(f"{file} is a {kind}", hint, "--metrics-file")])
    return whole


@asynccontextmanager
async def _served(metrics: Metrics, flags: Flags, note: Callable[[str], None]) -> AsyncIterator[None]:
    if flags.metrics_port is None:
        yield
        return
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(flags.metrics_port, flags.metrics_host, metrics.registry)
    except OSError as error:
        where = f"cannot listen on {flags.metrics_host} port {flags.metrics_port}: {error.strerror or error}"
        raise JobError([Problem(where, "expected a free port; 0 takes one", "--metrics-port")]) from error
    host = f"[{flags.metrics_host}]" if ":" in flags.metrics_host else flags.metrics_host
    note(f"metrics: http://{host}:{server.server_port}/metrics")
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await in_thread(server.shutdown, CapacityLimiter(1))
            server.server_close()
            thread.join()


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file by one with this content, at once for every reader. Raises OSError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


def last_success(path: Path, job: str) -> float | None:
    """When a run of the job last exited 0, by the file that an earlier run left; None where it does not tell."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        families = list(text_string_to_metric_families(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, IndexError):  # no file yet, or somebody else's
        return None
    samples = (sample for family in families for sample in family.samples)
    return next((one.value for one in samples if one.name == LAST_SUCCESS and one.labels.get("job") == job), None)
