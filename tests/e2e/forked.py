"""The command in processes that are forked from one which imported it already: importing is most of a short run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.e2e.command import Finished, environment
from tests.e2e.stage import Stage

_PARENT = """
import json, os, sys
import aiohttp, msgspec, pybase64, uvloop, yaml
import pipeline.cli.run, pipeline.endpoint.transport, pipeline.run.perform, pipeline.run.api
import PIL.JpegImagePlugin, PIL.PngImagePlugin, PIL.WebPImagePlugin
from pipeline.cli import main

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        for number, name in enumerate((os.devnull, order["out"], order["err"])):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.argv = order["argv"]
        main()
    _, status, used = os.wait4(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_maxrss]), flush=True)
"""


@dataclass(slots=True)
class Forked:
    """Runs jobs one after another; `peak` is the most memory that the last one used, in bytes."""

    parent: subprocess.Popen[str]
    peak: int = 0

    def run(self, stage: Stage, *options: str, environ: Mapping[str, str] | None = None) -> Finished:
        """`retouch run` on the job to its end, with --json; `environ` goes over the user's surroundings."""
        return self.call(stage, "run", "--json", *options, environ=environ)

    def call(self, stage: Stage, verb: str, *options: str, environ: Mapping[str, str] | None = None) -> Finished:
        """A verb on the job to its end."""
        out, err = stage.home / "stdout", stage.home / "stderr"
        order = {
            "argv": ["retouch", verb, str(stage.manifest), *options],
            "folder": str(stage.folder),
            "environment": environment(stage.home) | dict(environ or {}),
            "out": str(out),
            "err": str(err),
        }
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write(json.dumps(order) + "\n")
        self.parent.stdin.flush()
        code, kibibytes = json.loads(self.parent.stdout.readline())
        self.peak = kibibytes * (1 if sys.platform == "darwin" else 1024)
        return Finished(code, out.read_text(), err.read_text())


@contextmanager
def forking() -> Iterator[Forked]:
    """The parent process, while the block lasts."""
    command = [sys.executable, "-c", _PARENT]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as parent:
        try:
            yield Forked(parent)
        finally:
            # With a child that a failed test left behind.
            os.killpg(parent.pid, signal.SIGKILL)
