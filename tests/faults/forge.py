"""Processes of the real command, forked from one that has imported everything: a run starts in milliseconds.

A forked process calls the command's own `main`; it is killed, stopped and traced like any other. A held one waits until
`release`, so that a tracer sees it from its first call on. Run as a module this is the forking server: one JSON request
a line on stdin, one JSON answer a line on stdout.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

PATIENCE = 60.0
"""Seconds after which a process that is waited for will not end any more."""

KEY = "fault-key-0123456789"
"""The key that runs are given; nothing that they print or write may hold it."""

IMPORTED = (
    "anyio._backends._asyncio",
    "anyio._core._signals",
    "anyio.from_thread",
    "encodings.utf_8_sig",
    "uvloop",
    "PIL.PngImagePlugin",
    "pipeline.cli.errors",
    "pipeline.cli.progress",
    "pipeline.cli.records",
    "pipeline.cli.run",
    "pipeline.cli.verbs",
    "pipeline.manifest.load",
    "pipeline.run.api",
    "pipeline.run.perform",
)
"""What a run imports, here before the first fork, which is what the forking server is for."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended: its exit code, negative for the signal that killed it, and what it wrote."""

    code: int
    stdout: str
    stderr: str

    @property
    def killed(self) -> bool:
        """Whether `kill -9` ended it."""
        return self.code == -signal.SIGKILL

    @property
    def summary(self) -> dict[str, Any]:
        """Its one object on stdout."""
        decoded: dict[str, Any] = json.loads(self.stdout)
        return decoded

    def with_exit(self, code: int) -> Ended:
        """Itself, after it exited with this code."""
        assert self.code == code, f"exit {self.code} instead of {code}:\n{self.stderr}\n{self.stdout[-2000:]}"
        return self


class Process:
    """A forked process; `log` is the stem of the files that it writes to."""

    def __init__(self, forge: Forge, pid: int, log: Path) -> None:
        self.pid = pid
        self._forge = forge
        self._log = log
        self._code: int | None = None

    def ended(self) -> bool:
        """Whether it has ended."""
        if self._code is None:
            self._code = self._forge.ask(verb="poll", pid=self.pid)["code"]
        return self._code is not None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, where it still runs."""
        if not self.ended():
            os.kill(self.pid, number)

    def release(self) -> None:
        """Let a held process begin."""
        os.kill(self.pid, signal.SIGCONT)

    def stderr(self) -> str:
        """What it said so far."""
        return self._log.with_suffix(".err").read_text()

    def wait(self) -> Ended:
        """Wait for its end. Raises TimeoutError."""
        until = time.monotonic() + PATIENCE
        while not self.ended():
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f"the run did not end in {PATIENCE:.0f} s; it said:\n{self.stderr()}")
            time.sleep(0.005)
        assert self._code is not None
        ended = Ended(self._code, self._log.with_suffix(".out").read_text(), self.stderr())
        assert KEY not in ended.stdout + ended.stderr, "the key was printed"
        return ended


class Forge:
    """The client of the forking server."""

    def __init__(self, pipe: subprocess.Popen[str], folder: Path) -> None:
        self._pipe = pipe
        self._folder = folder
        self._count = 0

    def start(
        self,
        argv: list[str],
        home: Path,
        cwd: Path,
        *,
        hold: bool = False,
        fsize: int | None = None,
        uvloop: bool = True,
    ) -> Process:
        """Fork a `retouch` with these arguments; `fsize` is its RLIMIT_FSIZE in bytes.

        Without `uvloop` it runs in asyncio's own loop, as where uvloop is not installed.
        """
        self._count += 1
        log = self._folder / f"{self._count:06}"
        for suffix in (".out", ".err"):
            log.with_suffix(suffix).touch()
        env = {"E2E_KEY": KEY, "HOME": str(home), "XDG_STATE_HOME": str(home / "state")}
        asked = {"argv": argv, "env": env, "cwd": str(cwd), "log": str(log)}
        answer = self.ask(verb="start", **asked, hold=hold, fsize=fsize, uvloop=uvloop)
        return Process(self, answer["pid"], log)

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request to the server, and its answer."""
        assert self._pipe.stdin is not None
        assert self._pipe.stdout is not None
        print(json.dumps(request), file=self._pipe.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._pipe.stdout.readline())
        return answer


@contextmanager
def forging(folder: Path) -> Iterator[Forge]:
    """A forking server that lives as long as the block; logs go to `folder`."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-m", __name__], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as pipe:
        yield Forge(pipe, folder)
        assert pipe.stdin is not None
        pipe.stdin.close()
        pipe.wait(PATIENCE)


def _serve(requests: IO[str]) -> None:
    for module in IMPORTED:
        importlib.import_module(module)
    importlib.import_module("pipeline.manifest.models").Manifest.model_rebuild()  # else built at its first use
    gc.freeze()  # a collection in a fork would copy every page that is shared
    while line := requests.readline():
        asked = json.loads(line)
        if asked["verb"] == "start":
            print(json.dumps({"pid": _fork(asked)}), flush=True)
        else:
            print(json.dumps({"code": _code_of(asked["pid"])}), flush=True)


def _code_of(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _fork(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        if asked["hold"]:
            os.waitpid(pid, os.WUNTRACED)
        return pid
    try:
        _become(asked)
    except BaseException as error:  # the fork must never return into the server's loop
        os.write(2, repr(error).encode())
    finally:
        os._exit(70)


def _become(asked: dict[str, Any]) -> None:
    from pipeline.cli import main
    from pipeline.run import api

    api.UVLOOP = asked["uvloop"]
    os.setsid()
    for number, name in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(asked["log"] + name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(asked["cwd"])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "RETOUCH", "XDG"))}
    os.environ.clear()
    os.environ.update(kept | asked["env"])
    sys.argv = ["retouch", *asked["argv"]]
    if asked["fsize"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["fsize"], asked["fsize"]))
    if asked["hold"]:
        _let_trace()
        os.kill(os.getpid(), signal.SIGSTOP)
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 70)


def _let_trace() -> None:
    """Let a tracer that is no ancestor attach, where the kernel's Yama forbids that by default."""
    set_ptracer, anyone = 0x59616D61, ctypes.c_ulong(-1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(set_ptracer, anyone, 0, 0, 0)


if __name__ == "__main__":
    _serve(sys.stdin)
